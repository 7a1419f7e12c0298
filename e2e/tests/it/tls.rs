//! The server with a certificate of its own, and clients with theirs: real handshakes by curl, and both verifiers about what came of
//! them.

use crate::{
    harness::{Remit, Setup, succeed, text, tls_identity},
    ledger::second_opinion,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose, SanType};
use remit_model::UnixTime;
use remit_testkit::wait_until;
use remit_token::{Algorithm, PrivateKey, assertion, dpop};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

const READ: &str = "helpdesk:tickets_list";

/// A certificate with its key, in files.
struct Identity {
    certificate: PathBuf,
    key: PathBuf,
}

impl Identity {
    fn kept(folder: &Path, name: &str, certificate: &str, key: &KeyPair) -> Self {
        let one = Self { certificate: folder.join(format!("{name}.pem")), key: folder.join(format!("{name}.key")) };
        fs::write(&one.certificate, certificate).unwrap();
        fs::write(&one.key, key.serialize_pem()).unwrap();
        one
    }

    fn new(folder: &Path, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap().self_signed(&key).unwrap();
        Self::kept(folder, name, &certificate.pem(), &key)
    }
}

/// One request by curl: status, version of HTTP, and body.
fn curl(server: &Remit, shown: Option<&Identity>, path: &str, arguments: &[&str]) -> (u16, String, Value) {
    let mut command = Command::new("curl");
    command.args(["-sS", "--cacert", text(&server.folder().join("tls.pem")), "-w", "\n%{http_code} %{http_version}"]);
    if let Some(one) = shown {
        command.args(["--cert", text(&one.certificate), "--key", text(&one.key)]);
    }
    command.args(arguments).arg(format!("{}{path}", server.issuer));
    let told = String::from_utf8(succeed(command).stdout).unwrap();
    let (body, told) = told.rsplit_once('\n').unwrap();
    let (status, version) = told.split_once(' ').unwrap();
    // An answer of the gateway may be one event of a stream.
    let body = body.lines().find_map(|line| line.strip_prefix("data: ")).unwrap_or(body);
    (status.parse().unwrap(), version.to_owned(), serde_json::from_str(body).unwrap_or(Value::Null))
}

fn token(server: &Remit, agent: &str, shown: Option<&Identity>) -> (u16, Value) {
    let form =
        ["grant_type=client_credentials", &format!("client_id=agent:{agent}"), &format!("scope={READ}")].map(str::to_owned);
    let arguments: Vec<&str> = form.iter().flat_map(|field| ["-d", field]).collect();
    let (status, _, body) = curl(server, shown, "/oauth/token", &arguments);
    (status, body)
}

/// A stateless call with these headers.
fn call(server: &Remit, shown: Option<&Identity>, headers: &[String]) -> (u16, String, Value) {
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "curl", "version": "1"}});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "tickets_list", "arguments": {}, "_meta": meta}});
    let body = body.to_string();
    let mut arguments = vec![
        "-H",
        "Content-Type: application/json",
        "-H",
        "Accept: application/json, text/event-stream",
        "-H",
        "MCP-Protocol-Version: 2026-07-28",
        "-H",
        "MCP-Method: tools/call",
        "-H",
        "MCP-Name: tickets_list",
        "-d",
        &body,
    ];
    arguments.extend(headers.iter().flat_map(|header| ["-H", header.as_str()]));
    curl(server, shown, "/mcp/helpdesk", &arguments)
}

fn both_verifiers_agree(server: &mut Remit) {
    server.stop();
    succeed(server.command(&["audit", "verify", text(&server.ledger()), "--vkey", &server.vkey]));
    let theirs = second_opinion(&server.ledger(), &server.vkey, &[]);
    assert!(theirs.status.success(), "{}{}", String::from_utf8_lossy(&theirs.stdout), String::from_utf8_lossy(&theirs.stderr));
}

#[test]
fn rfc_8705_a_client_with_a_certificate_gets_a_token_and_no_other_connection_can_use_it() {
    let mut server = Setup::new().tls().start();
    let (own, other) = (Identity::new(server.folder(), "own"), Identity::new(server.folder(), "other"));
    let add = ["agent", "add", "reporter", "--autonomous", "--scope", READ, "--binding", "mtls", "--certificate"];
    let told = server.run(&[&add[..], &[text(&own.certificate)]].concat());
    assert!(told.contains("the certificate "), "{told}");
    let (status, got) = token(&server, "reporter", Some(&own));
    assert_eq!((status, &got["token_type"]), (200, &json!("Bearer")), "{got}");
    for shown in [Some(&other), None] {
        let (status, refused) = token(&server, "reporter", shown);
        assert_eq!((status, &refused["error"]), (401, &json!("invalid_client")), "{refused}");
    }
    let bearer = [format!("Authorization: Bearer {}", got["access_token"].as_str().unwrap())];
    let (status, version, answer) = call(&server, Some(&own), &bearer);
    assert_eq!((status, version.as_str()), (200, "2"), "{answer}");
    assert!(answer["result"]["structuredContent"].is_object() || answer["result"]["content"].is_array(), "{answer}");
    for (shown, code) in [(Some(&other), "certificate_mismatch"), (None, "certificate_missing")] {
        let (status, _, refused) = call(&server, shown, &bearer);
        assert!(status == 401 && refused.to_string().contains(code), "{refused}");
    }
    // What another machine could send: the header of a proxy, which this server does not have.
    let der = String::from_utf8(fs::read(&own.certificate).unwrap()).unwrap();
    let der: String = der.lines().filter(|line| !line.starts_with("-----")).collect();
    let forged = [bearer[0].clone(), format!("Client-Cert: :{der}:")];
    assert_eq!(call(&server, Some(&other), &forged).0, 401);
    both_verifiers_agree(&mut server);
}

#[test]
fn dpop_works_over_tls_and_http_2_as_before() {
    let mut server = Setup::new().tls().start();
    let pem = server.agent("planner", &[READ]);
    let key = PrivateKey::from_pkcs8_pem(&fs::read_to_string(pem).unwrap()).unwrap();
    let now = UnixTime(i64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()).unwrap());
    let bound = PrivateKey::from_seed(Algorithm::Es256, &[9; 32]).unwrap();
    let proof = |url: &str, jti: &str, token: Option<&str>| {
        let request = dpop::ProofFor { method: "POST", url, now, jti, access_token: token, ..dpop::ProofFor::default() };
        format!("DPoP: {}", dpop::create(&bound, &request).unwrap())
    };
    let signed = assertion::create(&key, "agent:planner", &server.issuer, "tls-1", now).unwrap();
    let url = format!("{}/oauth/token", server.issuer);
    let form = [
        "grant_type=client_credentials".to_owned(),
        format!("client_assertion_type={}", assertion::ASSERTION_TYPE),
        format!("client_assertion={signed}"),
        format!("scope={READ}"),
    ];
    let mut arguments: Vec<&str> = form.iter().flat_map(|field| ["-d", field]).collect();
    let header = proof(&url, "proof-1", None);
    arguments.extend(["--http2", "-H", &header]);
    let (status, version, got) = curl(&server, None, "/oauth/token", &arguments);
    assert_eq!((status, version.as_str(), &got["token_type"]), (200, "2", &json!("DPoP")), "{got}");
    let got = got["access_token"].as_str().unwrap();
    let headers = [format!("Authorization: DPoP {got}"), proof(&server.resource("helpdesk"), "proof-2", Some(got))];
    let (status, version, answer) = call(&server, None, &headers);
    assert_eq!((status, version.as_str()), (200, "2"), "{answer}");
    both_verifiers_agree(&mut server);
}

#[test]
fn a_renewed_certificate_is_served_without_a_restart_and_a_pair_that_does_not_fit_changes_nothing() {
    let server = Setup::new().tls().start();
    let first = fs::read(server.folder().join("tls.pem")).unwrap();
    let reached = |roots: &Path| {
        let mut command = Command::new("curl");
        command
            .args(["-sS", "--cacert", text(roots)])
            .arg(format!("{}/healthz", server.issuer))
            .output()
            .unwrap()
            .status
            .success()
    };
    let (old, new) = (server.folder().join("old.pem"), server.folder().join("tls.pem"));
    fs::write(&old, &first).unwrap();
    assert!(reached(&old));
    // Another certificate without its key, as between two writes.
    let half = tempfile::tempdir().unwrap();
    fs::copy(tls_identity(half.path()), &new).unwrap();
    let check = server.command(&["config", "check"]).output().unwrap();
    assert!(!check.status.success());
    assert!(String::from_utf8_lossy(&check.stderr).contains("is not the key of the first certificate"), "{check:?}");
    fs::copy(half.path().join("tls.key"), server.folder().join("tls.key")).unwrap();
    wait_until("the renewed certificate is served", || reached(&new));
    assert!(!reached(&old));
    server.run(&["config", "check"]);
}

#[test]
fn sp_03_an_x509_svid_of_a_bundle_authenticates_and_one_of_another_authority_does_not() {
    let authority = || {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    };
    let (own, foreign) = (authority(), authority());
    let setup = Setup::new().tls();
    let bundle = json!({"keys": [{"use": "x509-svid", "kty": "EC", "x5c": [STANDARD.encode(own.der())]}], "spiffe_sequence": 1});
    fs::write(setup.folder().join("bundle.json"), bundle.to_string()).unwrap();
    let mut server = setup.section("spiffe:\n  trust_domains:\n    example.org: {bundle_file: bundle.json}\n").start();
    let id = "spiffe://example.org/ns/bots/planner";
    server.run(&["agent", "add", "svid", "--autonomous", "--scope", READ, "--binding", "mtls", "--spiffe-id", id]);
    let svid = |name: &str, issuer: &CertifiedIssuer<'_, KeyPair>| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let certificate = params.signed_by(&key, issuer).unwrap();
        Identity::kept(server.folder(), name, &certificate.pem(), &key)
    };
    let (shown, forged) = (svid("svid", &own), svid("forged", &foreign));
    let (status, got) = token(&server, "svid", Some(&shown));
    assert_eq!(status, 200, "{got}");
    let bearer = [format!("Authorization: Bearer {}", got["access_token"].as_str().unwrap())];
    assert_eq!(call(&server, Some(&shown), &bearer).0, 200);
    assert_eq!(token(&server, "svid", Some(&forged)).0, 401);
    assert_eq!(call(&server, Some(&forged), &bearer).0, 401);
    both_verifiers_agree(&mut server);
}

//! Real SPIRE servers and agents: JWT-SVIDs of the Workload API, keys of a trust domain that rotate and are revoked, an entry that is
//! deleted, and two trust domains beside each other.

use super::{JWT_SPIFFE, ask, claims_of, granted, key, refused, request};
use crate::harness::{Remit, Running, Setup, text};
use remit_testkit::{wait_for, wait_until};
use serde_json::{Value, json};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};
use tempfile::TempDir;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// The identity of a workload, without its trust domain.
const PLANNER: &str = "ns/bots/planner";

/// A server and an agent of one trust domain, on loopback.
struct Domain {
    name: &'static str,
    folder: TempDir,
    /// Where the bundle endpoint is.
    endpoint: String,
    _server: Running,
    _agent: Running,
}

impl Domain {
    /// With keys of this type for JWT-SVIDs.
    fn start(name: &'static str, key_type: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let (port, endpoint) = (remit_testkit::port(), remit_testkit::port());
        let file = |name: &str| folder.path().join(name);
        certificate(folder.path());
        let server = server_conf(folder.path(), name, key_type, port, endpoint);
        fs::write(file("server.conf"), server).unwrap();
        let mut command = program("spire-server");
        command.args(["run", "-config", text(&file("server.conf"))]).current_dir(folder.path());
        let server = Running::start(command, "Starting Server APIs");
        let socket = file("server.sock");
        wait_until("the SPIRE server is ready", || cli("spire-server", &["healthcheck"], &socket).status.success());
        let id = format!("spiffe://{name}/host");
        let joined = said(&cli("spire-server", &["token", "generate", "-spiffeID", &id, "-output", "json"], &socket));
        let joined: Value = serde_json::from_str(&joined).unwrap();
        let agent = agent_conf(folder.path(), name, port, joined["value"].as_str().unwrap());
        fs::create_dir(file("agent")).unwrap();
        fs::write(file("agent.conf"), agent).unwrap();
        let mut command = program("spire-agent");
        command.args(["run", "-config", text(&file("agent.conf"))]).current_dir(folder.path());
        let agent = Running::start(command, "Starting Workload and SDS APIs");
        Self { name, folder, endpoint: format!("https://127.0.0.1:{endpoint}"), _server: server, _agent: agent }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn id(&self, path: &str) -> String {
        format!("spiffe://{}/{path}", self.name)
    }

    fn server(&self, arguments: &[&str]) -> String {
        said(&cli("spire-server", arguments, &self.file("server.sock")))
    }

    /// An entry for processes of the user who runs the test; its id.
    fn entry(&self, path: &str) -> String {
        let uid = said(&Command::new("id").arg("-u").output().unwrap());
        let (parent, id, selector) = (self.id("host"), self.id(path), format!("unix:uid:{}", uid.trim()));
        let made =
            self.server(&["entry", "create", "-parentID", &parent, "-spiffeID", &id, "-selector", &selector, "-output", "json"]);
        let made: Value = serde_json::from_str(&made).unwrap();
        made["results"][0]["entry"]["id"].as_str().unwrap().to_owned()
    }

    /// What the agent prints when it is asked for an SVID.
    fn fetch(&self, path: &str, audience: &str) -> Output {
        let id = self.id(path);
        cli(
            "spire-agent",
            &["api", "fetch", "jwt", "-audience", audience, "-spiffeID", &id, "-output", "json"],
            &self.file("agent.sock"),
        )
    }

    /// An SVID, once the agent knows the entry.
    fn svid(&self, path: &str, audience: &str) -> String {
        let fetched = wait_for("the agent gives the SVID", || {
            let output = self.fetch(path, audience);
            output.status.success().then_some(output.stdout)
        });
        let fetched: Value = serde_json::from_slice(&fetched).unwrap();
        fetched[0]["svids"][0]["svid"].as_str().unwrap().to_owned()
    }

    /// The bundle in a file, as an operator would keep it.
    fn bundle_file(&self) -> PathBuf {
        let file = self.file("bundle.json");
        fs::write(&file, self.server(&["bundle", "show", "-format", "spiffe"])).unwrap();
        file
    }

    /// One of the trust domain's authorities for JWT-SVIDs.
    fn authority(&self, verb: &[&str], of: &str) -> String {
        let said = self.server(&[&["localauthority", "jwt"], verb, &["-output", "json"]].concat());
        let said: Value = serde_json::from_str(&said).unwrap();
        said[of]["authority_id"].as_str().unwrap_or_else(|| panic!("{said}")).to_owned()
    }
}

/// A server whose bundle endpoint has a certificate as of the Web PKI.
fn server_conf(folder: &Path, name: &str, key_type: &str, port: u16, endpoint: u16) -> String {
    let folder = text(folder);
    format!(
        r#"server {{
  bind_address = "127.0.0.1"
  bind_port = "{port}"
  socket_path = "{folder}/server.sock"
  trust_domain = "{name}"
  data_dir = "{folder}"
  log_level = "INFO"
  jwt_key_type = "{key_type}"
  default_jwt_svid_ttl = "5m"
  federation {{
    bundle_endpoint {{
      address = "127.0.0.1"
      port = {endpoint}
      refresh_hint = "10s"
      profile "https_web" {{
        serving_cert_file {{
          cert_file_path = "{folder}/endpoint.pem"
          key_file_path = "{folder}/endpoint.key"
          file_sync_interval = "1h"
        }}
      }}
    }}
  }}
}}
plugins {{
  DataStore "sql" {{ plugin_data {{ database_type = "sqlite3" connection_string = "{folder}/datastore.sqlite3" }} }}
  KeyManager "memory" {{ plugin_data {{}} }}
  NodeAttestor "join_token" {{ plugin_data {{}} }}
}}
"#
    )
}

fn agent_conf(folder: &Path, name: &str, port: u16, token: &str) -> String {
    let folder = text(folder);
    format!(
        r#"agent {{
  data_dir = "{folder}/agent"
  log_level = "INFO"
  server_address = "127.0.0.1"
  server_port = "{port}"
  socket_path = "{folder}/agent.sock"
  trust_domain = "{name}"
  insecure_bootstrap = true
  join_token = "{token}"
}}
plugins {{
  KeyManager "memory" {{ plugin_data {{}} }}
  NodeAttestor "join_token" {{ plugin_data {{}} }}
  WorkloadAttestor "unix" {{ plugin_data {{}} }}
}}
"#
    )
}

/// What `cargo xtask interop` built.
fn program(name: &str) -> Command {
    let folder = env::var_os("REMIT_E2E_SPIRE").unwrap_or_else(|| panic!("cargo xtask interop runs this test"));
    let mut command = Command::new(Path::new(&folder).join(name));
    command.stdin(Stdio::null());
    command
}

fn cli(name: &str, arguments: &[&str], socket: &Path) -> Output {
    program(name).args(arguments).args(["-socketPath", text(socket)]).output().unwrap()
}

#[track_caller]
fn said(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    out.into_owned()
}

/// A certificate of the bundle endpoint, which stands for one of the Web PKI.
fn certificate(folder: &Path) {
    let (key, cert) = (folder.join("endpoint.key"), folder.join("endpoint.pem"));
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]);
    command.args(["-subj", "/CN=bundle endpoint", "-addext", "subjectAltName=IP:127.0.0.1"]);
    command.args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", text(&key), "-out", text(&cert)]);
    said(&command.output().unwrap());
}

/// A server that trusts these domains, as its configuration says; the certificates of their endpoints are trusted.
fn remit(domains: &[&Domain], section: &str) -> Remit {
    let setup = Setup::new();
    let file = setup.folder().join("authorities.pem");
    let all: String = domains.iter().map(|domain| fs::read_to_string(domain.file("endpoint.pem")).unwrap()).collect();
    fs::write(&file, all).unwrap();
    setup.section(&format!("spiffe:\n  trust_domains:\n{section}outbound:\n  ca_file: {}\n", text(&file))).start()
}

fn add(server: &Remit, name: &str, id: &str) {
    server.run(&["agent", "add", name, "--scope", "helpdesk:*", "--autonomous", "--spiffe-id", id]);
}

fn kid(token: &str) -> String {
    remit_token::Jws::parse(token).unwrap().header()["kid"].as_str().unwrap().to_owned()
}

#[test]
#[ignore = "cargo xtask interop spire"]
fn a_workload_of_a_real_spire_is_an_agent() {
    let domain = Domain::start("example.org", "ec-p256");
    let server = remit(&[&domain], &format!("    example.org: {{bundle_url: \"{}\"}}\n", domain.endpoint));
    add(&server, "planner", &domain.id(PLANNER));
    add(&server, "below", &domain.id("ns/team/*"));
    let entry = domain.entry(PLANNER);
    domain.entry("ns/bots/other");
    domain.entry("ns/team/a/b");
    let svid = domain.svid(PLANNER, &server.issuer);
    let (_, claims) = granted(ask(&server, "planner", JWT_SPIFFE, &svid));
    assert_eq!((&claims["sub"], &claims["cnf"]["jkt"]), (&json!("agent:planner"), &json!(key(9).public().thumbprint())));
    assert!(claims["exp"].as_i64() <= claims_of(&svid)["exp"].as_i64(), "SP-06");
    // Each instance has a key of its own, and none has to say which agent it is.
    let fields = [("grant_type", "client_credentials"), ("client_assertion_type", JWT_SPIFFE), ("client_assertion", &svid)];
    assert_eq!(granted(request(&server, &key(10), &fields)).1["cnf"]["jkt"], key(10).public().thumbprint());
    let (_, granted_alone) = granted(request(&server, &key(11), &[("grant_type", GRANT), ("assertion", &svid)]));
    assert_eq!(granted_alone["sub"], "agent:planner");
    granted(ask(&server, "below", JWT_SPIFFE, &domain.svid("ns/team/a/b", &server.issuer)));
    // `remit` itself, with what the agent printed.
    let file = domain.file("svid.json");
    fs::write(&file, domain.fetch(PLANNER, &server.issuer).stdout).unwrap();
    let args = ["token", "exchange", "--agent", "planner", "--server", "helpdesk", "--workload-token", text(&file)];
    assert_eq!(claims_of(server.run(&args).trim())["sub"], "agent:planner");

    // N-SP-09
    refused(ask(&server, "planner", JWT_SPIFFE, &domain.svid(PLANNER, "https://other.example")), "audience");
    let both = domain.svid(PLANNER, &format!("{},https://other.example", server.issuer));
    refused(ask(&server, "planner", JWT_SPIFFE, &both), "audience");
    refused(ask(&server, "planner", JWT_SPIFFE, &domain.svid("ns/bots/other", &server.issuer)), "SPIFFE ID is another");
    refused(ask(&server, "below", JWT_SPIFFE, &svid), "SPIFFE ID is another");
    let (head, _) = svid.rsplit_once('.').unwrap();
    let crossed = format!("{head}.{}", both.rsplit_once('.').unwrap().1);
    refused(ask(&server, "planner", JWT_SPIFFE, &crossed), "client authentication failed");
    // A deleted entry: no SVID is issued any more. The last one counts until it ends, five minutes later at most.
    domain.server(&["entry", "delete", "-entryID", &entry]);
    wait_until("the agent gives no SVID any more", || !domain.fetch(PLANNER, &server.issuer).status.success());
    granted(ask(&server, "planner", JWT_SPIFFE, &svid));
    assert!(claims_of(&svid)["exp"].as_i64().unwrap() - super::now() <= 300);
    super::both_verify(server, 6);
}

#[test]
#[ignore = "cargo xtask interop spire"]
fn sp_05_the_keys_of_a_real_trust_domain_rotate_and_are_revoked() {
    let domain = Domain::start("example.org", "ec-p384");
    let server = remit(&[&domain], &format!("    example.org: {{bundle_url: \"{}\"}}\n", domain.endpoint));
    add(&server, "planner", &domain.id(PLANNER));
    domain.entry(PLANNER);
    let old = domain.svid(PLANNER, &server.issuer);
    granted(ask(&server, "planner", JWT_SPIFFE, &old));
    let first = domain.authority(&["show"], "active");
    assert_eq!(kid(&old), first);
    // The next key is in the bundle before it signs.
    let second = domain.authority(&["prepare"], "prepared_authority");
    domain.authority(&["activate", "-authorityID", &second], "activated_authority");
    // The agent still holds an SVID of the old key, so the new one is minted.
    let minted = domain.server(&["jwt", "mint", "-spiffeID", &domain.id(PLANNER), "-audience", &server.issuer]);
    let new = minted.trim().to_owned();
    assert_eq!(kid(&new), second);
    wait_until("the new key is found", || ask(&server, "planner", JWT_SPIFFE, &new).0 == 200);
    granted(ask(&server, "planner", JWT_SPIFFE, &old));
    // Taken out of the bundle, the old key is refused once the bundle is fetched again.
    domain.authority(&["taint", "-authorityID", &first], "tainted_authority");
    domain.authority(&["revoke", "-authorityID", &first], "revoked_authority");
    wait_until("the revoked key is refused", || ask(&server, "planner", JWT_SPIFFE, &old).0 != 200);
    refused(ask(&server, "planner", JWT_SPIFFE, &old), "client authentication failed");
    granted(ask(&server, "planner", JWT_SPIFFE, &new));
}

#[test]
#[ignore = "cargo xtask interop spire"]
fn n_sp_01_two_real_trust_domains_do_not_vouch_for_each_other() {
    let (ours, partner) = (Domain::start("example.org", "ec-p256"), Domain::start("partner.example", "rsa-2048"));
    let file = partner.bundle_file();
    let server = remit(
        &[&ours],
        &format!(
            "    example.org: {{bundle_url: \"{}\"}}\n    partner.example: {{bundle_file: {}}}\n",
            ours.endpoint,
            text(&file)
        ),
    );
    add(&server, "planner", &ours.id(PLANNER));
    add(&server, "guest", &partner.id(PLANNER));
    for domain in [&ours, &partner] {
        domain.entry(PLANNER);
    }
    let (own, theirs) = (ours.svid(PLANNER, &server.issuer), partner.svid(PLANNER, &server.issuer));
    assert_eq!(remit_token::Jws::parse(&theirs).unwrap().header()["alg"], "RS256");
    granted(ask(&server, "planner", JWT_SPIFFE, &own));
    granted(ask(&server, "guest", JWT_SPIFFE, &theirs));
    // The same path in the other domain is another workload.
    refused(ask(&server, "planner", JWT_SPIFFE, &theirs), "SPIFFE ID is another");
    refused(ask(&server, "guest", JWT_SPIFFE, &own), "SPIFFE ID is another");
    let named = |token: &str| granted(request(&server, &key(9), &[("grant_type", GRANT), ("assertion", token)])).1["sub"].clone();
    assert_eq!((named(&own), named(&theirs)), (json!("agent:planner"), json!("agent:guest")));
    // A server that holds the partner's keys for our domain believes neither of them.
    let mixed = remit(&[], &format!("    example.org: {{bundle_file: {}}}\n", text(&file)));
    add(&mixed, "planner", &ours.id(PLANNER));
    for domain in [&ours, &partner] {
        refused(ask(&mixed, "planner", JWT_SPIFFE, &domain.svid(PLANNER, &mixed.issuer)), "client authentication failed");
    }
}

//! A real Kubernetes API server over etcd: tokens of its service accounts, its keys, what it says of pods that are gone, and what
//! happens when its signing key changes or it is down.

use super::{JWT_BEARER, ask, claims_of, granted, key, now, refused, request};
use crate::harness::{Remit, Running, Setup, text};
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use remit_testkit::{wait_for, wait_until};
use serde_json::{Value, json};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Instant,
};
use tempfile::TempDir;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// Longest time in seconds for which an API server answers TokenReview from its memory.
const REVIEW_MEMORY: u64 = 10;

/// What `cargo xtask interop` fetched and built.
fn program(variable: &str, name: &str) -> PathBuf {
    let named = env::var_os(variable).unwrap_or_else(|| panic!("cargo xtask interop runs this test"));
    if name.is_empty() { PathBuf::from(named) } else { Path::new(&named).join(name) }
}

/// An API server with its store, on loopback.
struct Cluster {
    folder: TempDir,
    port: u16,
    store: String,
    _etcd: Running,
    api: Option<Running>,
}

impl Cluster {
    fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let (client, peer) = (remit_testkit::port(), remit_testkit::port());
        let (store, peers) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
        let mut etcd = Command::new(program("REMIT_E2E_ETCD", ""));
        etcd.arg("--data-dir").arg(folder.path().join("etcd"));
        etcd.args(["--listen-client-urls", &store, "--advertise-client-urls", &store, "--listen-peer-urls", &peers]);
        etcd.args(["--initial-advertise-peer-urls", &peers, "--initial-cluster", &format!("default={peers}")]);
        etcd.args(["--unsafe-no-fsync", "--log-outputs", "stderr"]);
        let etcd = Running::start(etcd, "ready to serve client requests");
        fs::write(folder.path().join("tokens.csv"), "admin-token,admin,1,\"system:masters\"\n").unwrap();
        let mut cluster = Self { folder, port: remit_testkit::port(), store, _etcd: etcd, api: None };
        cluster.make_key("first");
        cluster.serve(&["first"]);
        cluster
    }

    fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// An RSA key pair for service-account tokens.
    fn make_key(&self, name: &str) {
        let (private, public) = (self.file(&format!("{name}.key")), self.file(&format!("{name}.pub")));
        let bits = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", text(&private)];
        run(Command::new("openssl").arg("genpkey").args(bits));
        run(Command::new("openssl").args(["pkey", "-pubout", "-in", text(&private), "-out", text(&public)]));
    }

    /// Starts the API server, which signs with the first of these keys and accepts all of them.
    fn serve(&mut self, keys: &[&str]) {
        self.stop();
        let url = self.url();
        let mut api = Command::new(program("REMIT_E2E_KUBE_APISERVER", "kube-apiserver"));
        api.arg(format!("--etcd-servers={}", self.store)).arg("--bind-address=127.0.0.1");
        api.arg(format!("--secure-port={}", self.port)).arg(format!("--cert-dir={}", text(&self.file("certs"))));
        api.arg(format!("--service-account-issuer={url}")).arg(format!("--api-audiences={url}"));
        // Otherwise the discovery document names an address of the machine, for which the certificate does not count.
        api.arg(format!("--service-account-jwks-uri={url}/openid/v1/jwks"));
        api.arg(format!("--service-account-signing-key-file={}", text(&self.file(&format!("{}.key", keys[0])))));
        api.args(keys.iter().map(|key| format!("--service-account-key-file={}", text(&self.file(&format!("{key}.pub"))))));
        api.arg(format!("--token-auth-file={}", text(&self.file("tokens.csv"))));
        api.args(["--service-cluster-ip-range=10.0.0.0/24", "--authorization-mode=RBAC", "--anonymous-auth=false"]);
        api.arg("--disable-admission-plugins=ServiceAccount");
        self.api = Some(Running::start(api, "Serving securely on"));
        wait_until("the API server is ready", || self.kubectl(&["get", "--raw", "/readyz"]).status.success());
        // The roles that the bindings below name are made after the start.
        wait_until("its roles are there", || self.kubectl(&["get", "clusterrole", "system:auth-delegator"]).status.success());
    }

    fn stop(&mut self) {
        if let Some(mut api) = self.api.take() {
            api.kill();
        }
    }

    /// A command of an administrator.
    fn kubectl(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(program("REMIT_E2E_KUBECTL", "kubectl"));
        command.arg(format!("--server={}", self.url())).arg(format!("--certificate-authority={}", text(&self.authority())));
        command.args(["--token=admin-token", "--kubeconfig=/dev/null"]).args(arguments).stdin(Stdio::null());
        command.output().unwrap()
    }

    fn kube(&self, line: &str) -> String {
        let output = self.kubectl(&line.split(' ').collect::<Vec<_>>());
        let (said, wrong) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "kubectl {line}: {wrong}");
        said.trim().to_owned()
    }

    /// The certificates of the API server.
    fn authority(&self) -> PathBuf {
        self.file("certs/apiserver.crt")
    }

    /// A service account; its UID.
    fn account(&self, namespace: &str, name: &str) -> String {
        if !self.kubectl(&["get", "namespace", namespace]).status.success() {
            self.kube(&format!("create namespace {namespace}"));
        }
        self.kube(&format!("create serviceaccount {name} --namespace {namespace}"));
        self.kube(&format!("get serviceaccount {name} --namespace {namespace} --output jsonpath={{.metadata.uid}}"))
    }

    /// A pod of an account that no node will ever run; it is there, and that is what its tokens are bound to.
    fn pod(&self, namespace: &str, account: &str, name: &str) {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace},
            "spec": {"serviceAccountName": account, "containers": [{"name": "main", "image": "example.invalid/none"}]},
        });
        let file = self.file("pod.json");
        fs::write(&file, pod.to_string()).unwrap();
        self.kube(&format!("create --filename {}", text(&file)));
    }

    fn token(&self, namespace: &str, account: &str, more: &str) -> String {
        let line = format!("create token {account} --namespace {namespace} --duration 10m {more}");
        self.kube(line.trim_end())
    }

    /// The account `remit/server`, which may read the keys and review tokens; the file with its token.
    fn server_account(&self) -> PathBuf {
        self.account("remit", "server");
        for (name, role) in
            [("remit-keys", "system:service-account-issuer-discovery"), ("remit-reviews", "system:auth-delegator")]
        {
            self.kube(&format!("create clusterrolebinding {name} --clusterrole={role} --serviceaccount=remit:server"));
        }
        let file = self.file("server-token");
        fs::write(&file, self.token("remit", "server", "")).unwrap();
        file
    }

    /// A server that trusts the cluster as `prod`.
    fn remit(&self, settings: &str) -> Remit {
        let token_file = self.file("server-token");
        let (url, token_file, ca_file) = (self.url(), text(&token_file), self.authority());
        let yaml = format!(
            "workload_issuers:\n  prod: {{preset: kubernetes, issuer: \"{url}\", token_file: {token_file}{settings}}}\n\
             outbound:\n  ca_file: {}\n",
            text(&ca_file)
        );
        Setup::new().section(&yaml).start()
    }

    /// The token with other claims, signed by the cluster's own key: what no API server would issue.
    fn forge(&self, token: &str, change: &Value) -> String {
        let header = remit_token::Jws::parse(token).unwrap().header().clone();
        let mut claims = claims_of(token);
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let input = format!("{}.{}", encode(&Value::Object(header)), encode(&claims));
        let pem = fs::read_to_string(self.file("first.key")).unwrap();
        let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        let der = base64::engine::general_purpose::STANDARD.decode(body).unwrap();
        let pair = RsaKeyPair::from_pkcs8(&der).unwrap();
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), input.as_bytes(), &mut signature).unwrap();
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn add(server: &Remit, name: &str, account: &str, uid: &str) {
    let credential = format!("prod/bots/{account}/{uid}");
    server.run(&["agent", "add", name, "--scope", "helpdesk:*", "--autonomous", "--kubernetes", &credential]);
}

/// Waits until the API server no longer remembers the token; how long that took, in seconds.
fn until_refused(server: &Remit, agent: &str, token: &str) -> u64 {
    let began = Instant::now();
    wait_for("the token is refused", || {
        let (status, body) = ask(server, agent, JWT_BEARER, token);
        (status != 200).then(|| refused((status, body), "does not vouch for this token any more"))
    });
    began.elapsed().as_secs()
}

#[test]
#[ignore = "cargo xtask interop kubernetes"]
fn a_service_account_of_a_real_cluster_is_an_agent() {
    let cluster = Cluster::start();
    cluster.server_account();
    let uid = cluster.account("bots", "planner");
    cluster.account("bots", "other");
    cluster.account("elsewhere", "planner");
    // The keys at a configured address, and where the discovery document says.
    let url = cluster.url();
    let server = cluster.remit(&format!(", jwks_uri: \"{url}/openid/v1/jwks\""));
    let discovering = cluster.remit("");
    add(&server, "pod", "planner", &uid);
    add(&discovering, "pod", "planner", &uid);
    for server in [&server, &discovering] {
        let token = cluster.token("bots", "planner", &format!("--audience {}", server.issuer));
        let (_, claims) = granted(ask(server, "pod", JWT_BEARER, &token));
        assert_eq!((&claims["sub"], &claims["cnf"]["jkt"]), (&json!("agent:pod"), &json!(key(9).public().thumbprint())));
        assert!(claims["exp"].as_i64() <= claims_of(&token)["exp"].as_i64(), "KS-03");
    }
    let audience = format!("--audience {}", server.issuer);
    let token = cluster.token("bots", "planner", &audience);
    // Each instance has a key of its own; the token need not be accompanied by a name, or by anything.
    let fields = [("grant_type", "client_credentials"), ("client_assertion_type", JWT_BEARER), ("client_assertion", &token)];
    let (_, second) = granted(request(&server, &key(10), &fields));
    assert_eq!(second["cnf"]["jkt"], key(10).public().thumbprint());
    let (_, third) = granted(request(&server, &key(11), &[("grant_type", GRANT), ("assertion", &token)]));
    assert_eq!((&third["sub"], &third["cnf"]["jkt"]), (&json!("agent:pod"), &json!(key(11).public().thumbprint())));
    // `remit` itself, as in a pod.
    let file = cluster.file("token");
    fs::write(&file, &token).unwrap();
    let args = ["token", "exchange", "--agent", "pod", "--server", "helpdesk", "--workload-token", text(&file)];
    let (one, two) = (server.run(&args), server.run(&args));
    assert_ne!(claims_of(one.trim())["cnf"]["jkt"], claims_of(two.trim())["cnf"]["jkt"]);

    // N-KS-01: the audience of the API server, another one, or several.
    for more in ["", "--audience https://other.example", &format!("{audience} --audience https://other.example")] {
        refused(ask(&server, "pod", JWT_BEARER, &cluster.token("bots", "planner", more)), "aud");
    }
    refused(ask(&server, "pod", JWT_BEARER, &cluster.token("bots", "other", &audience)), "`sub` is another");
    refused(ask(&server, "pod", JWT_BEARER, &cluster.token("elsewhere", "planner", &audience)), "`sub` is another");
    let ended = cluster.forge(&token, &json!({"iat": now() - 700, "nbf": now() - 700, "exp": now() - 100}));
    refused(ask(&server, "pod", JWT_BEARER, &ended), "expired");
    let long = cluster.forge(&token, &json!({"exp": now() + 7_200}));
    refused(ask(&server, "pod", JWT_BEARER, &long), "lives longer than 3600");
    granted(ask(&server, "pod", JWT_BEARER, &cluster.forge(&token, &json!({"exp": now() + 600}))));
    for iss in [format!("{url}/"), url.replace("127.0.0.1", "localhost"), url.to_uppercase()] {
        refused(ask(&server, "pod", JWT_BEARER, &cluster.forge(&token, &json!({"iss": iss}))), "client authentication failed");
    }
    let (head, signature) = token.rsplit_once('.').unwrap();
    let other = cluster.token("bots", "other", &audience);
    let crossed = format!("{head}.{}", other.rsplit_once('.').unwrap().1);
    assert_ne!(signature, other.rsplit_once('.').unwrap().1);
    refused(ask(&server, "pod", JWT_BEARER, &crossed), "client authentication failed");
    // N-KS-04: names are reused, UIDs are not. The token itself is good until it ends, because the cluster is not asked about it.
    cluster.kube("delete serviceaccount planner --namespace bots");
    granted(ask(&server, "pod", JWT_BEARER, &token));
    cluster.account("bots", "planner");
    refused(ask(&server, "pod", JWT_BEARER, &cluster.token("bots", "planner", &audience)), "UID is another");
}

#[test]
#[ignore = "cargo xtask interop kubernetes"]
fn n_ks_03_what_a_real_cluster_no_longer_vouches_for_is_refused() {
    let mut cluster = Cluster::start();
    cluster.server_account();
    let uid = cluster.account("bots", "planner");
    let scribe = cluster.account("bots", "scribe");
    let server = cluster.remit(&format!(", token_review: \"{}\"", cluster.url()));
    add(&server, "pod", "planner", &uid);
    add(&server, "scribe", "scribe", &scribe);
    let audience = format!("--audience {}", server.issuer);
    cluster.pod("bots", "planner", "one");
    cluster.pod("bots", "planner", "two");
    let bound =
        |pod: &str| cluster.token("bots", "planner", &format!("{audience} --bound-object-kind Pod --bound-object-name {pod}"));
    let (one, two, account) = (bound("one"), bound("two"), cluster.token("bots", "scribe", &audience));
    for (agent, token) in [("pod", &one), ("pod", &two), ("scribe", &account)] {
        granted(ask(&server, agent, JWT_BEARER, token));
    }
    assert_eq!(claims_of(&one)["kubernetes.io"]["pod"]["name"], "one");
    // A pod that is gone takes its own token with it, an account all of them.
    cluster.kube("delete pod one --namespace bots --grace-period=0 --force");
    let took = until_refused(&server, "pod", &one);
    println!("kubernetes: the token of a deleted pod was refused after {took} s");
    assert!(took <= REVIEW_MEMORY + 5, "{took} s");
    granted(ask(&server, "pod", JWT_BEARER, &two));
    cluster.kube("delete serviceaccount scribe --namespace bots");
    let took = until_refused(&server, "scribe", &account);
    println!("kubernetes: the token of a deleted service account was refused after {took} s");
    assert!(took <= REVIEW_MEMORY + 5, "{took} s");
    // Down, the API server vouches for nothing; up again, for what it did before.
    cluster.stop();
    refused(ask(&server, "pod", JWT_BEARER, &two), "the cluster cannot be asked about this token now");
    cluster.serve(&["first"]);
    wait_until("the cluster vouches again", || ask(&server, "pod", JWT_BEARER, &two).0 == 200);
}

#[test]
#[ignore = "cargo xtask interop kubernetes"]
fn the_signing_key_of_a_real_cluster_changes_without_a_restart_here() {
    let mut cluster = Cluster::start();
    cluster.server_account();
    let uid = cluster.account("bots", "planner");
    let settings = format!(", jwks_uri: \"{}/openid/v1/jwks\"", cluster.url());
    let mut server = cluster.remit(&settings);
    let reviewing = cluster.remit(&format!("{settings}, token_review: \"{}\"", cluster.url()));
    let audience = |server: &Remit| format!("--audience {}", server.issuer);
    for server in [&server, &reviewing] {
        add(server, "pod", "planner", &uid);
    }
    let old = cluster.token("bots", "planner", &audience(&server));
    let reviewed = cluster.token("bots", "planner", &audience(&reviewing));
    granted(ask(&server, "pod", JWT_BEARER, &old));
    granted(ask(&reviewing, "pod", JWT_BEARER, &reviewed));
    // The next key beside the old one. The server's own token is of the old key and still counts.
    cluster.make_key("second");
    cluster.serve(&["second", "first"]);
    let kid = |token: &str| remit_token::Jws::parse(token).unwrap().header()["kid"].clone();
    let new = cluster.token("bots", "planner", &audience(&server));
    assert_ne!(kid(&old), kid(&new));
    wait_until("the new key is found", || ask(&server, "pod", JWT_BEARER, &new).0 == 200);
    granted(ask(&server, "pod", JWT_BEARER, &old));
    // While the API server is down, the keys that are held go on counting; what it alone could say is refused.
    let newer = cluster.token("bots", "planner", &audience(&server));
    cluster.stop();
    granted(ask(&server, "pod", JWT_BEARER, &newer));
    refused(ask(&reviewing, "pod", JWT_BEARER, &reviewed), "cannot be asked");
    // Without the old key, what it signed ends: at once where the cluster is asked, else with the key set.
    fs::write(cluster.file("server-token"), "").unwrap();
    cluster.serve(&["second"]);
    fs::write(cluster.file("server-token"), cluster.token("remit", "server", "")).unwrap();
    until_refused(&reviewing, "pod", &reviewed);
    server.stop();
    server.restart();
    refused(ask(&server, "pod", JWT_BEARER, &old), "client authentication failed");
    granted(ask(&server, "pod", JWT_BEARER, &new));
}

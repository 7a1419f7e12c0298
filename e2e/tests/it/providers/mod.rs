//! Real identity providers beside the server: Keycloak, Ory Hydra and `oidc-provider`.
//!
//! People sign in through them in headless Chromium, consent, and the agent calls. `cargo xtask interop` runs what needs a
//! program that is fetched and built.

mod hydra;
mod keycloak;
mod oidc_provider;
mod web;

use crate::harness::{Player, Remit, Running, Setup, client, node, play, remit, succeed, text};
use remit_testkit::wait_for;
use serde_json::{Value, json};
use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};
use tempfile::TempDir;

/// A browser of one person: what it keeps (cookies) outlives the process that drives it.
struct Browser {
    kept: PathBuf,
}

impl Browser {
    fn new(folder: &Path, name: &str) -> Self {
        Self { kept: folder.join(format!("browser-{name}.json")) }
    }

    /// Opens a URL and does what `script` says, until there is nothing more to do; see `e2e/clients/providers.mjs`.
    fn opens(&self, url: &str, script: &Value) -> Value {
        let mut whole = json!({ "url": url, "kept": self.kept });
        whole.as_object_mut().unwrap().extend(script.as_object().unwrap().clone());
        node("providers.mjs", &whole)
    }
}

/// A person at a provider, as its sign-in page wants them.
fn person(provider: &str, user: &str) -> Value {
    json!({ "provider": provider, "user": user, "password": PASSWORD })
}

/// Everybody's.
const PASSWORD: &str = "correct horse battery staple";

/// `remit token exchange --login`: an agent's command, which waits for a person.
struct Login {
    child: Child,
    url: String,
}

impl Login {
    fn of(server: &Remit, agent: &str) -> Self {
        let mut command = server.command(&["token", "exchange", "--agent", agent, "--server", "helpdesk", "--login"]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let url = lines.find_map(|line| line.trim().starts_with("http").then(|| line.trim().to_owned())).unwrap();
        thread::spawn(move || lines.for_each(drop));
        Self { child, url }
    }

    /// The token that it prints after the consent.
    fn token(self) -> String {
        let output = self.child.wait_with_output().unwrap();
        assert!(output.status.success(), "the command got no token");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// The person did not consent.
    fn given_up(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A person signs in and consents: the token that the agent gets, and what the person read.
fn consents(server: &Remit, browser: &Browser, agent: &str, script: &Value) -> (String, String) {
    let login = Login::of(server, agent);
    let seen = browser.opens(&login.url, script);
    assert_eq!(seen["end"], "callback", "{seen:#}");
    (login.token(), seen["read"].as_str().unwrap().to_owned())
}

/// The same after the provider has changed its keys: a key that is not known is fetched at most once in 10 seconds, and until
/// then a sign-in fails.
fn consents_with_a_new_key(server: &Remit, folder: &str, agent: &str, script: &Value) -> (String, String) {
    let mut attempts = 0;
    wait_for("the new key is fetched", || {
        attempts += 1;
        let browser = Browser::new(server.folder(), &format!("{folder}-{attempts}"));
        let login = Login::of(server, agent);
        let seen = browser.opens(&login.url, script);
        if seen["end"] == "callback" {
            return Some((login.token(), seen["read"].as_str().unwrap().to_owned()));
        }
        login.given_up();
        assert!(seen["problem"].as_str().is_some_and(|problem| problem.contains("no key of the signer fits")), "{seen:#}");
        None
    })
}

/// A person who gets no further: the page where that ended.
fn refused(server: &Remit, browser: &Browser, agent: &str, script: &Value) -> Value {
    let login = Login::of(server, agent);
    let seen = browser.opens(&login.url, script);
    assert_ne!(seen["end"], "callback", "{seen:#}");
    login.given_up();
    seen
}

/// What `remit token inspect` shows of a token's claims.
fn claims(token: &str) -> Value {
    let output = succeed(remit(&["token", "inspect", token, "--json"]));
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    shown["claims"].clone()
}

/// The answer to a call of `tickets_read` with this token.
fn reads(server: &Remit, agent: &str, token: &str) -> Value {
    let connect = json!({
        "url": server.resource("helpdesk"), "token": token,
        "key_file": server.folder().join(format!("agents/{agent}.pem")),
    });
    let played = play(Player::TypeScriptLegacy, &connect, &json!([{ "name": "tickets_read", "arguments": { "id": "T-1001" } }]));
    played["calls"][0].clone()
}

/// A provider of `remit.yaml`.
struct Provider<'a> {
    name: &'a str,
    title: &'a str,
    issuer: &'a str,
    client: &'a str,
    proof: Proof,
    /// The rest, indented by four spaces.
    more: &'a str,
}

/// How the server proves to the provider who it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Proof {
    Key,
    Secret,
}

/// What to register at the provider.
struct Registered {
    redirect_uri: String,
    /// The public key, for [`Proof::Key`].
    jwk: Value,
    /// For [`Proof::Secret`].
    secret: &'static str,
}

impl Setup {
    /// One more identity provider, as an operator adds it: `remit provider add`.
    fn provider(self, provider: &Provider<'_>) -> (Self, Registered) {
        let config = self.folder().join("remit.yaml");
        let Provider { name, title, issuer, client, proof, more } = provider;
        let mut arguments = vec!["provider", "add", name, "--issuer", issuer, "--client-id", client, "--json"];
        arguments.extend((*proof == Proof::Key).then_some("--key"));
        arguments.extend(["-c", text(&config)]);
        let told: Value = serde_json::from_slice(&succeed(remit(&arguments)).stdout).unwrap();
        let block = told["yaml"].as_str().unwrap();
        let (block, _) = block.split_once("    entitlements:").unwrap();
        let block = format!("{block}    title: {title}\n{more}");
        let secret = "a secret of north: 50% + more";
        if *proof == Proof::Secret {
            let file = self.folder().join(format!("keys/{name}.secret"));
            fs::write(&file, secret).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        }
        let redirect_uri = told["redirect_uri"].as_str().unwrap().to_owned();
        let setup = self.replace("identity_providers:\n", &format!("identity_providers:\n{block}"));
        (setup, Registered { redirect_uri, jwk: told["jwk"].clone(), secret })
    }
}

/// A Node program of `e2e/clients` that serves until the test ends.
fn script_server(program: &str, script: &Value) -> Running {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("script.json");
    fs::write(&file, script.to_string()).unwrap();
    let mut command = Command::new("node");
    command.arg(client(program)).arg(&file);
    Running::start(command, "ready")
}

/// A program and its folder, for tests that `cargo xtask interop` runs.
fn part(variable: &str) -> PathBuf {
    env::var_os(variable).map_or_else(|| panic!("cargo xtask interop runs this test"), PathBuf::from)
}

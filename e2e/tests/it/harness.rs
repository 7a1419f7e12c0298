//! A server as a user would set one up: `remit init`, `remit serve`, `remit agent add`, in a folder of its own.

use crate::proxy::Proxy;
use remit_helpdesk::Desk;
use remit_testkit::{PATIENCE, wait_for, wait_until};
use serde_json::{Value, json};
use std::{
    env, fs,
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::OnceLock,
    thread,
    time::Instant,
};
use tempfile::TempDir;

/// The binary under test: named by `REMIT_BIN`, else built.
pub(crate) fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(named) = env::var_os("REMIT_BIN") {
            return PathBuf::from(named);
        }
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo).args(["build", "--quiet", "--package", "remit"]).current_dir(root()).status().unwrap();
        assert!(built.success(), "remit does not build");
        // This test lies in TARGET/debug/deps.
        env::current_exe().unwrap().ancestors().nth(2).unwrap().join("remit")
    })
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A file of `e2e/clients`, whose packages must be there.
pub(crate) fn client(file: &str) -> PathBuf {
    let place = root().join("e2e/clients");
    assert!(place.join("node_modules").is_dir(), "npm packages are missing: run `cargo xtask setup`");
    place.join(file)
}

/// The Python that has the packages of `e2e/clients/requirements.txt`.
pub(crate) fn python() -> PathBuf {
    let named = env::var_os("REMIT_E2E_PYTHON").map(PathBuf::from);
    let python = named.unwrap_or_else(|| env::current_exe().unwrap().ancestors().nth(3).unwrap().join("e2e-python/bin/python"));
    assert!(python.is_file(), "Python packages are missing: run `cargo xtask setup`");
    python
}

/// The Python that has the packages of `e2e/clients/requirements-sdk-1.txt`: MCP SDK 1.x, which SDK 2.x excludes.
pub(crate) fn legacy_python() -> PathBuf {
    let python = python().ancestors().nth(3).unwrap().join("e2e-python-sdk-1/bin/python");
    assert!(python.is_file(), "Python packages are missing: run `cargo xtask setup`");
    python
}

/// The Python client library, for `PYTHONPATH`.
pub(crate) fn python_library() -> PathBuf {
    root().join("clients/python/src")
}

/// The Python of one framework, for tests that `cargo xtask interop` runs.
pub(crate) fn interop_python() -> PathBuf {
    let named = env::var_os("REMIT_E2E_INTEROP_PYTHON");
    named.map_or_else(|| panic!("cargo xtask interop runs this test"), PathBuf::from)
}

/// The folder with the packages of one framework, for tests that `cargo xtask interop` runs.
pub(crate) fn interop_node() -> PathBuf {
    let named = env::var_os("REMIT_E2E_INTEROP_NODE");
    named.map_or_else(|| panic!("cargo xtask interop runs this test"), PathBuf::from)
}

/// A running program that ends with the test.
pub(crate) struct Running {
    child: Child,
    /// The line in which it said that it was ready.
    pub(crate) said: String,
}

impl Running {
    /// Starts a program and waits for a line that contains `ready`, on standard output or standard error.
    pub(crate) fn start(command: Command, ready: &str) -> Self {
        Self::start_within(command, ready, 1)
    }

    /// The same for a program that takes several times as long.
    pub(crate) fn start_within(mut command: Command, ready: &str, times: u32) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut running = Self { child, said: String::new() };
        let (tell, told) = std::sync::mpsc::channel();
        for stream in [
            Box::new(running.child.stdout.take().unwrap()) as Box<dyn Read + Send>,
            Box::new(running.child.stderr.take().unwrap()),
        ] {
            let (tell, ready) = (tell.clone(), ready.to_owned());
            thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let _ = tell.send((line.contains(&ready), line));
                }
            });
        }
        drop(tell);
        let (began, mut heard) = (Instant::now(), Vec::new());
        while let Ok((is_ready, line)) = told.recv_timeout((PATIENCE * times).saturating_sub(began.elapsed())) {
            if is_ready {
                running.said.clone_from(&line);
            }
            heard.push(line);
            if is_ready {
                // Keeps both pipes empty until the program ends.
                thread::spawn(move || told.iter().for_each(drop));
                return running;
            }
        }
        panic!("{command:?} did not say {ready:?} but:\n{}", heard.join("\n"));
    }

    /// SIGKILL: no goodbye.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal, by its name without `SIG`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether the program ended well, once it ended.
    pub(crate) fn ended(&mut self) -> Option<bool> {
        self.child.try_wait().unwrap().map(|status| status.success())
    }

    /// SIGTERM, after which the program must end well.
    pub(crate) fn stop(&mut self) {
        self.signal("TERM");
        let status = wait_for("SIGTERM stops it", || self.child.try_wait().unwrap());
        assert!(status.success(), "after SIGTERM: {status}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server's folder before it is started.
pub(crate) struct Setup {
    folder: TempDir,
    port: u16,
    password: String,
    vkey: String,
    yaml: String,
    host: &'static str,
    /// The certificate that clients have to trust, where the server speaks TLS.
    roots: Option<PathBuf>,
    entitlements: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Setup {
    /// `remit init` in a fresh folder.
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let port = remit_testkit::port();
        let listen = format!("127.0.0.1:{port}");
        let told = succeed(remit(&["init", "--dir", text(folder.path()), "--listen", &listen, "--json"]));
        let told: Value = serde_json::from_slice(&told.stdout).unwrap();
        let yaml = fs::read_to_string(folder.path().join("remit.yaml")).unwrap();
        let word = |name: &str| told[name].as_str().unwrap().to_owned();
        Self {
            port,
            password: word("password"),
            vkey: word("vkey"),
            yaml,
            host: "127.0.0.1",
            roots: None,
            folder,
            entitlements: vec!["helpdesk:*".to_owned()],
            environment: Vec::new(),
        }
    }

    /// The log's verifier key.
    pub(crate) fn vkey(&self) -> &str {
        &self.vkey
    }

    /// The folder that the server will have.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Known as `localhost`, for what needs a name.
    pub(crate) fn at_localhost(mut self) -> Self {
        self.host = "localhost";
        let url = |host: &str| format!("  public_url: http://{host}:{}\n", self.port);
        let (old, new) = (url("127.0.0.1"), url("localhost"));
        // The log keeps the name that its key was printed with.
        let origin = format!("ledger:\n  origin: 127.0.0.1:{}/log\n", self.port);
        self.replace(&old, &new).section(&origin)
    }

    /// Speaks TLS at `localhost`, with a certificate of its own, and asks clients for theirs.
    pub(crate) fn tls(self) -> Self {
        let listen = format!("  listen: 127.0.0.1:{}\n", self.port);
        let section = "  tls: {certificate_file: tls.pem, key_file: tls.key, client_certificates: optional}\n";
        let mut setup = self
            .at_localhost()
            .replace("  public_url: http://localhost", "  public_url: https://localhost")
            .replace(&listen, &format!("{listen}{section}"));
        setup.roots = Some(tls_identity(setup.folder.path()));
        setup
    }

    /// A variable in the server's environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Puts this desk in place of the built-in one, so that the test sees what reaches it.
    pub(crate) fn desk(self, url: &str) -> Self {
        self.replace("    sample: helpdesk\n", &format!("    url: {url}\n"))
    }

    /// One more upstream: the YAML of its settings, on one line each. Alice may do everything there.
    pub(crate) fn upstream(mut self, name: &str, settings: &[&str]) -> Self {
        let lines = settings.join("\n    ");
        self.entitlements.push(format!("{name}:*"));
        self.replace("mcp_servers:\n", &format!("mcp_servers:\n  {name}:\n    {lines}\n"))
    }

    /// A further section of `remit.yaml`.
    pub(crate) fn section(mut self, yaml: &str) -> Self {
        self.yaml.push_str(yaml);
        self
    }

    /// Puts a proxy before the server, which clients then know by the proxy's address.
    pub(crate) fn behind_proxy(self) -> (Self, Proxy) {
        let (public, behind) = (self.port, remit_testkit::port());
        let listen = |port: u16| format!("  listen: 127.0.0.1:{port}\n");
        (self.replace(&listen(public), &listen(behind)), Proxy::start(public, behind))
    }

    /// Changes `remit.yaml` as `remit init` wrote it.
    pub(crate) fn replace(mut self, old: &str, new: &str) -> Self {
        assert!(self.yaml.contains(old), "remit.yaml has no {old:?}:\n{}", self.yaml);
        self.yaml = self.yaml.replacen(old, new, 1);
        self
    }

    /// `remit serve`, once it says that it is ready.
    pub(crate) fn start(self) -> Remit {
        let entitlements = json!(self.entitlements).to_string();
        let setup = self.replace("entitlements: [\"helpdesk:*\"]", &format!("entitlements: {entitlements}"));
        fs::write(setup.folder.path().join("remit.yaml"), &setup.yaml).unwrap();
        let scheme = if setup.roots.is_some() { "https" } else { "http" };
        let issuer = format!("{scheme}://{}:{}", setup.host, setup.port);
        let server = serve(setup.folder.path(), &setup.environment);
        let Self { folder, password, vkey, environment, roots, .. } = setup;
        Remit { folder, issuer, password, vkey, environment, roots, server }
    }
}

/// Puts a new certificate for `localhost` and its key into the folder; the file that clients trust.
pub(crate) fn tls_identity(folder: &Path) -> PathBuf {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let (file, secret) = (folder.join("tls.pem"), folder.join("tls.key"));
    fs::write(&file, certificate.pem()).unwrap();
    fs::write(&secret, key.serialize_pem()).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    file
}

fn serve(folder: &Path, environment: &[(String, String)]) -> Running {
    let mut command = Command::new(binary());
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command.args(["serve", "-c", text(&folder.join("remit.yaml"))]);
    Running::start(command, "remit ready")
}

/// A running server.
pub(crate) struct Remit {
    folder: TempDir,
    pub(crate) issuer: String,
    /// Alice's.
    pub(crate) password: String,
    pub(crate) vkey: String,
    environment: Vec<(String, String)>,
    roots: Option<PathBuf>,
    server: Running,
}

impl Remit {
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder().join("remit.yaml")
    }

    pub(crate) fn ledger(&self) -> PathBuf {
        self.folder().join("ledger")
    }

    pub(crate) fn resource(&self, server: &str) -> String {
        format!("{}/mcp/{server}", self.issuer)
    }

    /// Runs a command against this server's configuration; it must succeed.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = succeed(self.command(arguments));
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = remit(arguments);
        command.args(["-c", text(&self.config())]);
        command.envs(self.roots.iter().map(|file| ("SSL_CERT_FILE", file)));
        command
    }

    /// `remit agent add` of an agent that may act on its own; the file with its private key.
    pub(crate) fn agent(&self, name: &str, scopes: &[&str]) -> PathBuf {
        let mut arguments = vec!["agent", "add", name, "--autonomous"];
        arguments.extend(scopes.iter().flat_map(|scope| ["--scope", scope]));
        self.run(&arguments);
        self.folder().join(format!("agents/{name}.pem"))
    }

    /// `remit agent add` with RFC 9396 authorization details as the ceiling.
    pub(crate) fn agent_with(&self, name: &str, details: &Value) -> PathBuf {
        let file = self.folder().join(format!("{name}.json"));
        fs::write(&file, details.to_string()).unwrap();
        self.run(&["agent", "add", name, "--autonomous", "--authorization-details", text(&file)]);
        self.folder().join(format!("agents/{name}.pem"))
    }

    /// Waits until the first records are in the ledger folder, which is off the path of requests.
    pub(crate) fn published(&self) {
        wait_until("there is a checkpoint", || self.ledger().join("checkpoint").is_file());
    }

    /// An access token of an agent's own for one server, bound to its key.
    pub(crate) fn token(&self, agent: &str, server: &str) -> String {
        self.run(&["token", "exchange", "--agent", agent, "--server", server]).trim().to_owned()
    }

    /// The way of [`play`] through `remit connect`.
    pub(crate) fn through_connect(&self, agent: &str, server: &str) -> Value {
        json!({ "command": binary(), "args": ["connect", server, "--agent", agent, "-c", self.config()] })
    }

    /// The way of [`play`] straight to the gateway: TypeScript with this DPoP-bound token, Python as this agent.
    pub(crate) fn directly(&self, agent: &str, server: &str) -> Value {
        let key = self.folder().join(format!("agents/{agent}.pem"));
        json!({
            "url": self.resource(server), "token": self.token(agent, server), "key_file": key,
            "issuer": self.issuer, "agent": agent,
        })
    }

    pub(crate) fn kill(&mut self) {
        self.server.kill();
    }

    /// SIGHUP reads the configuration again.
    pub(crate) fn hangup(&self) {
        self.server.signal("HUP");
    }

    /// Sends a signal, by its name without `SIG`.
    pub(crate) fn signal(&self, name: &str) {
        self.server.signal(name);
    }

    pub(crate) fn pid(&self) -> u32 {
        self.server.id()
    }

    /// Whether the server ended well, once it ended.
    pub(crate) fn ended(&mut self) -> Option<bool> {
        self.server.ended()
    }

    /// SIGTERM closes the ledger cleanly.
    pub(crate) fn stop(&mut self) {
        self.server.stop();
    }

    pub(crate) fn restart(&mut self) {
        self.server = serve(self.folder(), &self.environment);
    }
}

/// A helpdesk in this process; returns the desk and its MCP endpoint.
pub(crate) fn desk() -> (Desk, String) {
    let desk = Desk::seeded().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let router = remit_helpdesk::router(desk.clone());
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), router).await })
    });
    (desk, url)
}

/// The four official clients, each in one era.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Player {
    TypeScriptLegacy,
    TypeScriptModern,
    PythonLegacy,
    PythonModern,
}

impl Player {
    pub(crate) fn protocol(self) -> &'static str {
        match self {
            Self::TypeScriptLegacy | Self::PythonLegacy => "2025-11-25",
            Self::TypeScriptModern | Self::PythonModern => "2026-07-28",
        }
    }
}

/// Plays calls through a client in one session; see `e2e/clients/play.mjs`.
pub(crate) fn play(player: Player, connect: &Value, calls: &Value) -> Value {
    let script = json!({ "connect": connect, "calls": calls });
    match player {
        Player::TypeScriptLegacy => node("legacy.mjs", &script),
        Player::TypeScriptModern => node("modern.mjs", &script),
        Player::PythonLegacy => run_script(Command::new(python()), "client.py", &script, &["legacy"]),
        Player::PythonModern => run_script(Command::new(python()), "client.py", &script, &["modern"]),
    }
}

/// Runs a Node program of `e2e/clients` on a script; what it prints.
pub(crate) fn node(program: &str, script: &Value) -> Value {
    run_script(Command::new("node"), program, script, &[])
}

/// The same with Python.
pub(crate) fn python_script(program: &str, script: &Value) -> Value {
    run_script(Command::new(python()), program, script, &[])
}

/// The same with MCP SDK 1.x.
pub(crate) fn legacy_python_script(program: &str, script: &Value) -> Value {
    run_script(Command::new(legacy_python()), program, script, &[])
}

fn run_script(mut command: Command, program: &str, script: &Value, more: &[&str]) -> Value {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("script.json");
    fs::write(&file, script.to_string()).unwrap();
    let output = succeed({
        command.arg(client(program)).arg(&file).args(more).env("PYTHONPATH", python_library()).stdin(Stdio::null());
        command
    });
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{program}: {error}\n{}", String::from_utf8_lossy(&output.stdout)))
}

pub(crate) fn remit(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs a command that must succeed.
pub(crate) fn succeed(mut command: Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Writes a shell script that can be run.
pub(crate) fn program(file: &Path, script: &str) {
    fs::write(file, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
}

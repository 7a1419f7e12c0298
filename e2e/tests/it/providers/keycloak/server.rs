//! A Keycloak of this test's own: the distribution that `cargo xtask interop` fetched and built, with data of its own.

use super::super::{part, web::Web};
use crate::harness::Running;
use remit_testkit::{PATIENCE, port};
use serde_json::{Value, json};
use std::{
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

pub(super) struct Keycloak {
    pub(super) origin: String,
    /// Its distribution, linked, and its data.
    home: TempDir,
    ports: (u16, u16),
    pub(super) running: Running,
    pub(super) web: Web,
}

impl Keycloak {
    /// The one that tests share which do not stop it.
    pub(super) fn shared() -> &'static Self {
        static SHARED: OnceLock<Keycloak> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    pub(super) fn start() -> Self {
        let home = TempDir::new().unwrap();
        let distribution = part("REMIT_E2E_KEYCLOAK");
        for folder in ["lib", "conf", "providers", "themes"] {
            symlink(distribution.join(folder), home.path().join(folder)).unwrap();
        }
        let ports = (port(), port());
        let web = Web::new();
        let running = serve(home.path(), ports, &web);
        Self { origin: format!("http://127.0.0.1:{}", ports.0), home, ports, running, web }
    }

    /// Starts it again, with the data that it had.
    pub(super) fn restart(&mut self) {
        self.running = serve(self.home.path(), self.ports, &self.web);
    }

    pub(super) fn issuer(&self, realm: &str) -> String {
        format!("{}/realms/{realm}", self.origin)
    }

    /// A realm as [`super::realm`] describes it.
    pub(super) fn import(&self, realm: &Value) {
        self.admin("POST", "/admin/realms", realm);
    }

    /// What an administrator does through the REST interface.
    pub(super) fn admin(&self, method: &str, path: &str, body: &Value) -> Value {
        let token = self.web.form(
            &format!("{}/protocol/openid-connect/token", self.issuer("master")),
            &[],
            &[("grant_type", "password"), ("client_id", "admin-cli"), ("username", "admin"), ("password", "admin")],
        );
        let bearer = format!("Bearer {}", token.done()["access_token"].as_str().unwrap());
        let (url, headers) = (format!("{}{path}", self.origin), [("authorization", bearer.as_str())]);
        if method == "GET" { self.web.get(&url, &headers) } else { self.web.json(method, &url, &headers, body) }.done()
    }

    pub(super) fn user(&self, realm: &str, name: &str) -> Value {
        self.admin("GET", &format!("/admin/realms/{realm}/users?username={name}&exact=true"), &json!(null))[0].clone()
    }

    /// Enables or disables a person.
    pub(super) fn enable(&self, realm: &str, name: &str, enabled: bool) {
        let mut user = self.user(realm, name);
        user["enabled"] = json!(enabled);
        self.admin("PUT", &format!("/admin/realms/{realm}/users/{}", user["id"].as_str().unwrap()), &user);
    }
}

/// Starts it, and waits until it has made itself ready.
fn serve(home: &Path, (port, management): (u16, u16), web: &Web) -> Running {
    let mut java = Command::new(part("REMIT_E2E_JAVA_HOME").join("bin/java"));
    java.args(["-Xmx384m", "-XX:TieredStopAtLevel=1"]);
    for (name, value) in [
        ("kc.home.dir", home.to_str().unwrap()),
        ("jboss.server.config.dir", home.join("conf").to_str().unwrap()),
        ("java.util.logging.manager", "org.jboss.logmanager.LogManager"),
        ("picocli.disable.closures", "true"),
        (
            "java.util.concurrent.ForkJoinPool.common.threadFactory",
            "io.quarkus.bootstrap.forkjoin.QuarkusForkJoinWorkerThreadFactory",
        ),
    ] {
        java.arg(format!("-D{name}={value}"));
    }
    // `kc.sh` would be one more process, which leaves its child behind when it is killed.
    java.arg("-cp").arg(home.join("lib/quarkus-run.jar")).arg("io.quarkus.bootstrap.runner.QuarkusEntryPoint");
    java.args(["start", "--optimized", "--http-enabled=true", "--http-host=127.0.0.1", "--hostname-strict=false"]);
    java.args(["--log-level=warn,io.quarkus:info", &format!("--http-port={port}")]);
    java.arg(format!("--http-management-port={management}"));
    java.env("KC_BOOTSTRAP_ADMIN_USERNAME", "admin").env("KC_BOOTSTRAP_ADMIN_PASSWORD", "admin");
    let running = Running::start_within(java, "started in", 3);
    ends_with_us(running.id());
    let health = format!("http://127.0.0.1:{management}/health/ready");
    // It makes its first realm after it has said that it started, which a busy machine does in minutes.
    let began = Instant::now();
    let ready = || web.try_get(&health).is_some_and(|answer| answer.status == 200);
    while !ready() {
        assert!(began.elapsed() < PATIENCE * 3, "Keycloak does not become ready");
        // PAUSE: it is asked again until it is ready.
        thread::sleep(Duration::from_millis(100));
    }
    running
}

/// Ends the program when this process is gone: nothing drops what is in a static.
fn ends_with_us(id: u32) {
    let watch = "while kill -0 $PPID 2>/dev/null && kill -0 $0 2>/dev/null; do sleep 1; done; kill -TERM $0 2>/dev/null";
    let mut watcher = Command::new("sh");
    watcher.args(["-c", watch, &id.to_string()]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    thread::spawn(move || watcher.status());
}

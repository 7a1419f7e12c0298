//! Clients that speak HTTP/1.1 by hand: they see when their connections end, and hold some open on purpose.

use crate::harness::Remit;
use remit_model::UnixTime;
use remit_token::{PrivateKey, dpop};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const REVISION: &str = "2025-11-25";

/// An agent that speaks HTTP/1.1 by hand, so that it sees when its connections end.
pub(crate) struct Agent {
    pub(crate) address: String,
    path: &'static str,
    url: String,
    token: String,
    key: PrivateKey,
    /// The last nonce that the server gave; it asks for one in its first minutes.
    nonce: Mutex<Option<String>>,
}

/// An answer whose body may still be coming.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) session: Option<String>,
    length: usize,
    pub(crate) body: BufReader<TcpStream>,
}

impl Agent {
    pub(crate) fn new(server: &Remit, upstream: &str, path: &'static str) -> Self {
        let key = server.agent("caller", &[&format!("{upstream}:*")]);
        Self {
            address: server.issuer.trim_start_matches("http://").to_owned(),
            path,
            url: server.resource(upstream),
            token: server.token("caller", upstream),
            key: PrivateKey::from_pkcs8_pem(&fs::read_to_string(key).unwrap()).unwrap(),
            nonce: Mutex::new(None),
        }
    }

    fn proof(&self, method: &str) -> String {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let nonce = self.nonce.lock().unwrap().clone();
        let proof = dpop::ProofFor {
            method,
            url: &self.url,
            now: UnixTime(i64::try_from(now.as_secs()).unwrap()),
            jti: &format!("raw-{}-{}", now.as_nanos(), COUNT.fetch_add(1, Ordering::Relaxed)),
            nonce: nonce.as_deref(),
            access_token: Some(&self.token),
            delegation: None,
        };
        dpop::create(&self.key, &proof).unwrap()
    }

    /// Sends a request; the connection stays with the caller.
    pub(crate) fn send(&self, method: &str, session: Option<&str>, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let session = session.map(|id| format!("mcp-session-id: {id}\r\n")).unwrap_or_default();
        let request = format!(
            "{method} {} HTTP/1.1\r\nhost: {}\r\nauthorization: DPoP {}\r\ndpop: {}\r\ncontent-type: application/json\r\n\
             accept: application/json, text/event-stream\r\nmcp-protocol-version: {REVISION}\r\n{session}content-length: {}\r\n\r\n{body}",
            self.path,
            self.address,
            self.token,
            self.proof(method),
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    pub(crate) fn answered(&self, method: &str, session: Option<&str>, body: &str) -> Answer {
        let mut body = BufReader::new(self.send(method, session, body));
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            body.read_line(&mut line).unwrap();
            if line.trim().is_empty() {
                break;
            }
            head.push(line.trim().to_owned());
        }
        let header = |name: &str| head.iter().find_map(|line| line.strip_prefix(name).map(str::to_owned));
        if let Some(nonce) = header("dpop-nonce: ") {
            *self.nonce.lock().unwrap() = Some(nonce);
        }
        Answer {
            status: head[0].split(' ').nth(1).unwrap().parse().unwrap(),
            session: header("mcp-session-id: "),
            length: header("content-length: ").map_or(0, |length| length.parse().unwrap()),
            body,
        }
    }

    /// A tool call in a session; the text of its answer.
    pub(crate) fn call(&self, session: &str, tool: &str, arguments: &Value) -> String {
        let params = json!({"name": tool, "arguments": arguments});
        let call = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params});
        self.answered("POST", Some(session), &call.to_string()).text()
    }

    pub(crate) fn session(&self) -> String {
        let params = json!({"protocolVersion": REVISION, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params});
        let mut answer = self.answered("POST", None, &hello.to_string());
        if answer.status == 401 {
            // With the nonce that came with the refusal.
            answer = self.answered("POST", None, &hello.to_string());
        }
        assert_eq!(answer.status, 200);
        answer.session.unwrap()
    }
}

impl Answer {
    /// The body, by the length that the head states.
    pub(crate) fn text(mut self) -> String {
        let mut bytes = vec![0; self.length];
        self.body.read_exact(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }
}

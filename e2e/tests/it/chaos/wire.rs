//! One client's connection to the server, which may be gone at any moment.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, StatusCode, http::request::Builder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use remit_testkit::PATIENCE;
use serde_json::Value;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// How many requests were sent by all clients.
pub(crate) type Sent = Arc<AtomicU64>;

#[derive(Clone)]
pub(crate) struct Wire {
    client: Client<HttpConnector, Full<Bytes>>,
    pub(crate) issuer: String,
    pub(crate) sent: Sent,
}

/// An answer read whole.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) body: Value,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn text(&self, pointer: &str) -> Option<&str> {
        self.body.pointer(pointer)?.as_str()
    }
}

impl Wire {
    pub(crate) fn new(issuer: &str, sent: &Sent) -> Self {
        let client = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
        Self { client, issuer: issuer.to_owned(), sent: Arc::clone(sent) }
    }

    /// Sends a request. `None` when the server died before it had answered: then anything may have happened.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Option<Reply> {
        self.sent.fetch_add(1, Ordering::Relaxed);
        let response = self.client.request(request).await.ok()?;
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.ok()?.to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Some(Reply { status: head.status, headers: head.headers, text, body })
    }

    pub(crate) async fn post_form(&self, path: &str, form: &[(String, String)], headers: &[(&str, &str)]) -> Option<Reply> {
        let post = self.request("POST", path).header("content-type", "application/x-www-form-urlencoded");
        self.send(with_headers(post, headers).body(Full::from(encode(form))).unwrap()).await
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> Builder {
        Request::builder().method(method).uri(format!("{}{path}", self.issuer))
    }

    /// Waits until the server answers again.
    pub(crate) async fn back(&self) {
        let began = Instant::now();
        loop {
            let request = self.request("GET", "/healthz").body(Full::default()).unwrap();
            if self.client.request(request).await.is_ok_and(|response| response.status().is_success()) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "the server did not come back");
            // PAUSE: the server is asked again until it answers.
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }
}

pub(crate) fn with_headers(mut request: Builder, headers: &[(&str, &str)]) -> Builder {
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request
}

pub(crate) fn fields(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// RFC 3986 unreserved characters stay; everything else is escaped.
pub(crate) fn encode(form: &[(String, String)]) -> String {
    let escaped = |text: &str| -> String {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
    };
    let pairs: Vec<String> = form.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value))).collect();
    pairs.join("&")
}

/// The value of a parameter of a redirect's query.
pub(crate) fn parameter(location: &str, name: &str) -> Option<String> {
    let (_, query) = location.split_once('?')?;
    let value = query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")))?;
    let mut bytes = Vec::new();
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
            }
            b'+' => bytes.push(b' '),
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).ok()
}

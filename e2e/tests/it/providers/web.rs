//! A plain HTTP client for what the tests ask of providers themselves.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use tokio::runtime::Runtime;

pub(super) struct Web {
    runtime: Runtime,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// An answer read whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// The DPoP nonce that it gives.
    pub(super) nonce: Option<String>,
    /// The MCP session that it opens.
    pub(super) session: Option<String>,
    /// `null` when it is not JSON.
    pub(super) body: Value,
}

impl Answer {
    /// The body of an answer that says that it was done.
    pub(super) fn done(self) -> Value {
        assert!((200..300).contains(&self.status), "{self:#?}");
        self.body
    }
}

impl Web {
    pub(super) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { runtime, client: Client::builder(TokioExecutor::new()).build(HttpConnector::new()) }
    }

    pub(super) fn get(&self, url: &str, headers: &[(&str, &str)]) -> Answer {
        self.send("GET", url, headers, String::new())
    }

    pub(super) fn json(&self, method: &str, url: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let headers = [headers, &[("content-type", "application/json")]].concat();
        self.send(method, url, &headers, body.to_string())
    }

    pub(super) fn form(&self, url: &str, headers: &[(&str, &str)], form: &[(&str, &str)]) -> Answer {
        let headers = [headers, &[("content-type", "application/x-www-form-urlencoded")]].concat();
        let form: Vec<(String, String)> = form.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.send("POST", url, &headers, crate::chaos::encode(&form))
    }

    fn send(&self, method: &str, url: &str, headers: &[(&str, &str)], body: String) -> Answer {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::from(body)).unwrap();
        self.answered(request).unwrap_or_else(|| panic!("{url} does not answer"))
    }

    /// `None` when no server answers.
    pub(super) fn try_get(&self, url: &str) -> Option<Answer> {
        self.answered(Request::builder().uri(url).body(Full::default()).unwrap())
    }

    fn answered(&self, request: Request<Full<Bytes>>) -> Option<Answer> {
        self.runtime.block_on(async {
            let response = self.client.request(request).await.ok()?;
            let status = response.status().as_u16();
            let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
            let (nonce, session) = (header("dpop-nonce"), header("mcp-session-id"));
            let bytes = response.into_body().collect().await.unwrap().to_bytes();
            Some(Answer { status, nonce, session, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) })
        })
    }
}

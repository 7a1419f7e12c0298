//! The one HTTP client of the commands: hyper without redirects, cookies or ambient credentials, and with limits.

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, Error as ClientError, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use std::time::Duration;

/// Largest answer that is read whole, in bytes.
const ANSWER_LIMIT: usize = 16 << 20;
/// Longest wait for the head of an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether the server was not even connected to, so that it cannot have read the request.
pub(crate) fn is_connect_error(error: &anyhow::Error) -> bool {
    error.downcast_ref::<ClientError>().is_some_and(ClientError::is_connect)
}

/// A connection pool.
#[derive(Clone, Debug)]
pub(crate) struct HttpClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// An answer read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl HttpClient {
    pub(crate) fn new() -> Result<Self> {
        let tls = HttpsConnectorBuilder::new().with_native_roots().context("cannot read the system's root certificates")?;
        let connector = tls.https_or_http().enable_http1().build();
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector) })
    }

    /// Sends a request and reads the whole answer, whatever its status.
    pub(crate) async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer> {
        let answer = self.open(method, url, headers, body).await?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_LIMIT).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("cannot read the answer of {url}: {error}"))?.to_bytes();
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    /// Sends a request and hands back the answer unread, for streams.
    pub(crate) async fn open(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<http::Response<hyper::body::Incoming>> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).with_context(|| format!("`{url}` is not a URL"))?;
        match tokio::time::timeout(PATIENCE, self.client.request(request)).await {
            Ok(answer) => answer.with_context(|| format!("cannot reach {url}; is `remit serve` running?")),
            Err(_) => bail!("no answer from {url} within {} seconds", PATIENCE.as_secs()),
        }
    }

    /// Posts a form, as OAuth endpoints want it.
    pub(crate) async fn form(&self, url: &str, headers: &[(&str, &str)], fields: &[(&str, &str)]) -> Result<Answer> {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let mut all = vec![("content-type", "application/x-www-form-urlencoded")];
        all.extend_from_slice(headers);
        self.send(Method::POST, url, &all, body).await
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| {
            format!(
                "the answer (status {}) is not JSON: {}",
                self.status,
                String::from_utf8_lossy(&self.body).chars().take(200).collect::<String>()
            )
        })
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

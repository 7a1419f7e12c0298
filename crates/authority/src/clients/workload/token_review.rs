//! `TokenReview`: asks a Kubernetes API server whether a token's pod and service account still exist.
//!
//! Implements `authentication.k8s.io/v1`; rules KS-01, N-KS-03. There is no answer from a cache: it would outlive the pod.

use super::{WorkloadSource, token_file};
use axum::http::{HeaderValue, Method, StatusCode, header};
use remit_outbound::{Limit, Outbound, Request, Source};
use remit_token::workload::WorkloadToken;
use serde_json::{Value, json};

/// Whether the cluster vouches for a token that verified offline. `None` where it is not to be asked.
///
/// # Errors
/// There is no answer that can be used, for the log: then the token counts as one that the cluster does not vouch for.
pub(crate) async fn review(
    outbound: &Outbound,
    issuer: &WorkloadSource,
    audience: &str,
    compact: &str,
    token: &WorkloadToken,
) -> Result<bool, String> {
    let Some(base) = &issuer.token_review else { return Ok(true) };
    let mut headers = match &issuer.token_file {
        Some(file) => token_file::bearer(file)?,
        None => axum::http::HeaderMap::new(),
    };
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json.clone());
    headers.insert(header::ACCEPT, json);
    let url = format!("{}/apis/authentication.k8s.io/v1/tokenreviews", base.trim_end_matches('/'));
    let asked = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": compact, "audiences": [audience]},
    });
    let body = asked.to_string().into();
    let request = Request { method: Method::POST, url: &url, source: Source::Operator, headers, body, limit: Limit::METADATA };
    let answer = outbound.send(request).await.map_err(|error| error.to_string())?;
    if !matches!(answer.status, StatusCode::OK | StatusCode::CREATED) {
        return Err(format!("{url} answered with status {}", answer.status.as_u16()));
    }
    let answer = answer.json().map_err(|error| error.to_string())?;
    Ok(stands(&answer, audience, token))
}

fn stands(answer: &Value, audience: &str, token: &WorkloadToken) -> bool {
    let authenticated = answer.pointer("/status/authenticated") == Some(&Value::Bool(true));
    let audiences = answer.pointer("/status/audiences").and_then(Value::as_array);
    let ours = audiences.is_some_and(|audiences| audiences.iter().any(|one| one == audience));
    let same = answer.pointer("/status/user/username").and_then(Value::as_str) == Some(token.subject());
    let uid = answer.pointer("/status/user/uid");
    let claimed = token.claims().get("kubernetes.io").and_then(|found| found.pointer("/serviceaccount/uid"));
    authenticated && ours && same && uid.is_some() && uid == claimed
}

//! What HTTP says of a refusal: its status, and the challenge where it is about who is calling.
//!
//! SPEC: RFC 6750, RFC 9449 §7.1, RFC 9728 §5; PR-03, MG-01. Knows nothing of the body that goes with it.

use crate::road::metadata;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use remit_model::{StepUp, refusal::Code, resource::Server};
use remit_token::Algorithm;
use std::fmt::Write as _;

/// What a challenge tells the client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Challenge<'a> {
    pub(crate) server: &'a Server,
    /// Scope that would have been enough, if one is known.
    pub(crate) scope: Option<&'a str>,
    /// A fresh nonce for the next proof.
    pub(crate) nonce: Option<&'a str>,
    /// Whether tokens that are bound to no key are accepted; in a challenge about one token, whether it is such a token.
    pub(crate) bearer: bool,
}

/// The HTTP status of a refusal at an endpoint that speaks plain HTTP.
pub(crate) fn status(code: Code) -> StatusCode {
    match code {
        Code::RequestMalformed
        | Code::JsonDuplicateMember
        | Code::JsonTooDeep
        | Code::HeaderBodyMismatch
        | Code::ProtocolMetaMissing
        | Code::ProtocolVersionUnsupported => StatusCode::BAD_REQUEST,
        Code::RequestTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::MediaTypeUnsupported => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::HostNotAllowed => StatusCode::MISDIRECTED_REQUEST,
        Code::OriginNotAllowed => StatusCode::FORBIDDEN,
        Code::RpcMethodUnknown | Code::SessionUnknown | Code::SessionForeign | Code::ServerUnknown | Code::NotFound => {
            StatusCode::NOT_FOUND
        }
        Code::RateLimited | Code::LimitExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::UpstreamUnavailable | Code::UpstreamMalformed | Code::CaptureFailed => StatusCode::BAD_GATEWAY,
        Code::PolicyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        code if code.is_outage() => StatusCode::SERVICE_UNAVAILABLE,
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        code if is_authentication(code) => StatusCode::UNAUTHORIZED,
        _ => StatusCode::FORBIDDEN,
    }
}

impl Challenge<'_> {
    /// The headers of a 401: one for each scheme that can be used (PR-03); `Bearer` first, because bearer clients look there for
    /// the metadata.
    pub(crate) fn unauthenticated(&self, code: Code) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let common = format!("resource_metadata=\"{}\"{}", metadata_url(self.server), self.scope_parameter());
        let error = match code {
            Code::TokenMissing | Code::ClientUnauthenticated => None,
            Code::DpopNonceRequired => Some("use_dpop_nonce"),
            code if is_proof(code) => Some("invalid_dpop_proof"),
            _ => Some("invalid_token"),
        };
        // SPEC: RFC 6750 §3.1: the Bearer scheme has no word for a bad proof, only for a token that is not good enough.
        let bearer_error = error.map_or_else(String::new, |_| ", error=\"invalid_token\"".to_owned());
        if self.bearer {
            append(&mut headers, header::WWW_AUTHENTICATE, &format!("Bearer {common}{bearer_error}"));
        }
        let error = error.map_or_else(String::new, |error| format!(", error=\"{error}\", error_description=\"{code}\""));
        let algs = Algorithm::ACCEPTED.join(" ");
        append(&mut headers, header::WWW_AUTHENTICATE, &format!("DPoP algs=\"{algs}\", {common}{error}"));
        append(&mut headers, header::CACHE_CONTROL, "no-store");
        if let Some(nonce) = self.nonce {
            append(&mut headers, HeaderName::from_static("dpop-nonce"), nonce);
        }
        headers
    }

    /// The challenge of a 403: the scope that would have been enough, under the scheme that the token was sent with.
    /// SPEC: MG-01, RFC 6750 §3.1
    pub(crate) fn insufficient_scope(&self) -> HeaderMap {
        let url = metadata_url(self.server);
        let scheme = if self.bearer { "Bearer" } else { "DPoP" };
        let value = format!("{scheme} error=\"insufficient_scope\", resource_metadata=\"{url}\"{}", self.scope_parameter());
        let mut headers = HeaderMap::new();
        append(&mut headers, header::WWW_AUTHENTICATE, &value);
        headers
    }

    /// The challenge of a 401 to a token that is good but rests on too weak or too old a sign-in. SPEC: IJ-06, RFC 9470 §3
    pub(crate) fn insufficient_authentication(&self, enough: &StepUp) -> HeaderMap {
        let url = metadata_url(self.server);
        let scheme = if self.bearer { "Bearer" } else { "DPoP" };
        let mut value = format!("{scheme} error=\"insufficient_user_authentication\", resource_metadata=\"{url}\"");
        if !enough.acr_values.is_empty() {
            let _ = write!(value, ", acr_values=\"{}\"", quotable(&enough.acr_values.join(" ")));
        }
        if let Some(age) = enough.max_age {
            let _ = write!(value, ", max_age=\"{age}\"");
        }
        let mut headers = HeaderMap::new();
        append(&mut headers, header::WWW_AUTHENTICATE, &value);
        append(&mut headers, header::CACHE_CONTROL, "no-store");
        headers
    }

    fn scope_parameter(&self) -> String {
        self.scope.map_or_else(String::new, |scope| format!(", scope=\"{}\"", quotable(scope)))
    }
}

/// Whether the refusal is about who is calling.
fn is_authentication(code: Code) -> bool {
    is_proof(code)
        || is_certificate(code)
        || matches!(
            code,
            Code::ClientUnauthenticated
                | Code::ClientUnknown
                | Code::ClientNotAllowed
                | Code::TokenMissing
                | Code::TokenMalformed
                | Code::TokenSignatureInvalid
                | Code::TokenExpired
                | Code::TokenNotYetValid
                | Code::TokenRevoked
                | Code::TokenTypeWrong
                | Code::TokenAudienceWrong
                | Code::TokenIssuerUnknown
                | Code::AgentQuarantined
                | Code::AgentRetired
                | Code::HumanDisabled
                | Code::HumanUnknown
        )
}

fn is_proof(code: Code) -> bool {
    matches!(
        code,
        Code::DpopProofMissing
            | Code::DpopProofInvalid
            | Code::DpopProofReplayed
            | Code::DpopNonceRequired
            | Code::DpopKeyMismatch
    )
}

/// Whether the refusal is about the certificate of the connection. SPEC: RFC 8705 §3: then the token is invalid.
fn is_certificate(code: Code) -> bool {
    matches!(code, Code::CertificateMissing | Code::CertificateMismatch)
}

/// Where the metadata of a resource is: RFC 9728 §3.1, the well-known path inserted between host and path.
fn metadata_url(server: &Server) -> String {
    let location = server.location.as_str();
    let (scheme, rest) = location.split_once("://").unwrap_or(("https", location));
    let (host, path) = rest.split_once('/').map_or((rest, String::new()), |(host, path)| (host, format!("/{path}")));
    format!("{scheme}://{host}{}{path}", metadata::WELL_KNOWN)
}

/// What may stand inside a quoted string of RFC 9110 without escaping.
fn quotable(text: &str) -> String {
    text.chars().filter(|c| matches!(c, ' '..='~') && !matches!(c, '"' | '\\')).collect()
}

fn append(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.append(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use remit_model::id::ServerId;

    fn server() -> Server {
        Server {
            id: ServerId::parse("helpdesk").unwrap(),
            title: "Helpdesk".into(),
            location: "https://gw.example/mcp/helpdesk".into(),
            tools: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn n_pr_04_the_challenges_are_one_per_scheme_and_quoted() {
        let server = server();
        let challenge = Challenge { server: &server, scope: Some("helpdesk:a \"b\\"), nonce: Some("n1"), bearer: true };
        let headers = challenge.unauthenticated(Code::DpopNonceRequired);
        let challenges: Vec<_> = headers.get_all("www-authenticate").iter().map(|v| v.to_str().unwrap()).collect();
        assert_eq!(challenges.len(), 2);
        let metadata = "https://gw.example/.well-known/oauth-protected-resource/mcp/helpdesk";
        assert_eq!(
            challenges[0],
            format!("Bearer resource_metadata=\"{metadata}\", scope=\"helpdesk:a b\", error=\"invalid_token\"")
        );
        assert!(challenges[1].starts_with("DPoP algs=\"ES256 "), "{}", challenges[1]);
        assert!(challenges[1].contains("error=\"use_dpop_nonce\""));
        assert_eq!(headers["dpop-nonce"], "n1");
        assert_eq!(headers["cache-control"], "no-store");
    }

    #[test]
    fn pr_03_no_error_when_no_token_was_sent() {
        let server = server();
        let headers = Challenge { server: &server, scope: None, nonce: None, bearer: true }.unauthenticated(Code::TokenMissing);
        assert!(headers.get_all("www-authenticate").iter().all(|value| !value.to_str().unwrap().contains("error=")));
    }
}

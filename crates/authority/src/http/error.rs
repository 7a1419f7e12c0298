//! How a "no" leaves the building: the one place where our codes become OAuth errors and HTTP statuses.
//!
//! Implements RFC 6749 §5.2, RFC 8693 §2.2.2, RFC 9449 §5 and §8, RFC 9396 §5; rules, TK-07, TX-11.
//! A [`Fault`] is logged with an id here and never explained to the caller.

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Response, StatusCode, header},
};
use remit_model::{Code, Fault, Refusal};
use remit_token::Algorithm;
use serde_json::json;

pub(crate) const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// Where the request arrived; the same refusal has different OAuth spellings at different endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    Authorize,
    /// Token endpoint, before the grant type is known or for a grant other than those below.
    Token,
    ClientCredentials,
    JwtBearer,
    /// A jwt-bearer grant with a token by which an issuer vouches for the client.
    WorkloadGrant,
    /// A token exchange that asks for an ID-JAG.
    IdJag,
    Exchange,
    Introspect,
    Revoke,
    UserInfo,
    /// Client registration.
    Register,
    /// Pushed authorization requests.
    Push,
    /// Device authorization.
    Device,
    /// A provider says that a session ended.
    BackchannelLogout,
    /// A provider pushes a security event, or is polled for one.
    SecurityEvent,
    /// A provider provisions people.
    Scim,
}

impl At {
    /// The name a record uses for what was attempted.
    pub(crate) fn action(self) -> &'static str {
        match self {
            Self::Authorize => "authority.authorize",
            Self::Token => "authority.token",
            Self::ClientCredentials => "authority.client_credentials",
            Self::JwtBearer | Self::WorkloadGrant => "authority.jwt_bearer",
            Self::IdJag => "authority.id_jag",
            Self::Exchange => "authority.exchange",
            Self::Introspect => "authority.introspect",
            Self::Revoke => "authority.revoke",
            Self::UserInfo => "authority.userinfo",
            Self::Register => "authority.register",
            Self::Push => "authority.push",
            Self::Device => "authority.device",
            Self::BackchannelLogout => "authority.backchannel_logout",
            Self::SecurityEvent => "authority.security_event",
            Self::Scim => "authority.scim",
        }
    }
}

/// Why a request is not answered as it asks.
#[derive(Debug)]
pub(crate) enum Rejection {
    Refusal(Refusal),
    Fault(Fault),
    /// Another request rotated the same refresh token first.
    RotatedMeanwhile,
}

impl From<Refusal> for Rejection {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}

impl From<Fault> for Rejection {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Rejection {
    /// The refusal to show and record. A fault is logged here, and shown as nothing but "internal".
    pub(crate) fn into_refusal(self) -> Refusal {
        match self {
            Self::Refusal(refusal) => refusal,
            Self::RotatedMeanwhile => Refusal::new(Code::GrantInvalid, "other requests are using this refresh token; try again"),
            Self::Fault(fault) => {
                tracing::error!(context = %fault, "authority fault");
                Refusal::new(Code::Internal, "internal error; the server's log has the details")
            }
        }
    }
}

/// The OAuth error code and HTTP status of a refusal. SPEC: TK-07, TX-11, TK-09
pub(crate) fn outward(code: Code, at: At) -> (StatusCode, &'static str) {
    let bad = StatusCode::BAD_REQUEST;
    if let Some(answer) = special(code, at) {
        return answer;
    }
    match code {
        Code::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "invalid_request"),
        Code::MediaTypeUnsupported => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "invalid_request"),
        Code::RequestTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "invalid_request"),
        Code::RateLimited => (StatusCode::TOO_MANY_REQUESTS, "temporarily_unavailable"),
        Code::NotFound => (StatusCode::NOT_FOUND, "invalid_request"),
        Code::ClientUnauthenticated | Code::AssertionReplayed | Code::CredentialsInvalid => {
            (StatusCode::UNAUTHORIZED, "invalid_client")
        }
        Code::ClientNotAllowed => (bad, "unauthorized_client"),
        Code::GrantTypeUnsupported => (bad, "unsupported_grant_type"),
        Code::DpopNonceRequired => (bad, "use_dpop_nonce"),
        Code::DpopProofMissing | Code::DpopProofInvalid | Code::DpopProofReplayed | Code::DpopKeyMismatch => {
            (bad, "invalid_dpop_proof")
        }
        Code::GrantInvalid | Code::PkceMismatch | Code::RedirectUriMismatch | Code::CertificateMismatch => (bad, "invalid_grant"),
        Code::ConsentDenied | Code::PasskeyInvalid | Code::PasskeyRequired => (bad, "access_denied"),
        Code::LoginRequired => (bad, "login_required"),
        Code::ProviderUnreachable => (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable"),
        Code::ProviderAnswerInvalid | Code::SignInTooWeak => (StatusCode::FORBIDDEN, "access_denied"),
        Code::StepUpRequired if at == At::Authorize => (bad, "interaction_required"),
        Code::ScopeUnknown | Code::WidensScope | Code::AuthorityEmpty => (bad, "invalid_scope"),
        Code::ResourceUnknown | Code::WidensResource => (bad, "invalid_target"),
        Code::AuthorizationDetailsInvalid
        | Code::ConstraintUnknown
        | Code::WidensArgument
        | Code::WidensField
        | Code::WidensLimit
        | Code::WidensDelegation => (bad, "invalid_authorization_details"),
        // Who sends the request was authenticated before: this is another party of the chain.
        Code::ClientUnknown
        | Code::AgentQuarantined
        | Code::AgentRetired
        | Code::HumanDisabled
        | Code::HumanUnknown
        | Code::SignInEnded => match at {
            At::Exchange => (bad, "invalid_request"),
            At::ClientCredentials | At::Authorize | At::Push | At::Device => (bad, "unauthorized_client"),
            At::Introspect | At::Revoke => (StatusCode::UNAUTHORIZED, "invalid_client"),
            _ => (bad, "invalid_grant"),
        },
        Code::PolicyDenied | Code::PolicyError | Code::PolicyUnavailable | Code::StepUpRequired => match at {
            At::Exchange => (bad, "invalid_request"),
            At::ClientCredentials => (bad, "invalid_scope"),
            At::Authorize => (bad, "access_denied"),
            _ => (bad, "invalid_grant"),
        },
        code if code.is_outage() => (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable"),
        Code::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "server_error"),
        _ => (bad, "invalid_request"),
    }
}

/// What one endpoint says in words of its own.
fn special(code: Code, at: At) -> Option<(StatusCode, &'static str)> {
    match at {
        At::UserInfo => at_resource(code),
        At::Register => at_registration(code),
        At::Push => at_push(code),
        At::WorkloadGrant if code == Code::AssertionReplayed => Some((StatusCode::BAD_REQUEST, "invalid_grant")),
        At::JwtBearer | At::WorkloadGrant | At::IdJag => at_assertion(code),
        At::BackchannelLogout => at_logout(code),
        _ => at_device(code),
    }
}

/// SPEC: DR-02, RFC 7591 §3.2.2
fn at_registration(code: Code) -> Option<(StatusCode, &'static str)> {
    match code {
        Code::RedirectUriMismatch => Some((StatusCode::BAD_REQUEST, "invalid_redirect_uri")),
        Code::RequestMalformed | Code::JsonDuplicateMember | Code::JsonTooDeep => {
            Some((StatusCode::BAD_REQUEST, "invalid_client_metadata"))
        }
        _ => None,
    }
}

/// Where an assertion is redeemed or asked for. SPEC: TX-11, IJ-06, IR-01, JB-07
fn at_assertion(code: Code) -> Option<(StatusCode, &'static str)> {
    match code {
        Code::StepUpRequired => Some((StatusCode::BAD_REQUEST, "insufficient_user_authentication")),
        Code::SubjectTokenUsed => Some((StatusCode::BAD_REQUEST, "invalid_grant")),
        code if code.is_about_a_token() => Some((StatusCode::BAD_REQUEST, "invalid_grant")),
        _ => None,
    }
}

/// SPEC: OpenID Connect Back-Channel Logout 1.0 §2.8: a token that is not good is a request that is not.
fn at_logout(code: Code) -> Option<(StatusCode, &'static str)> {
    let bad = code.is_about_a_token() || code == Code::AssertionReplayed;
    bad.then_some((StatusCode::BAD_REQUEST, "invalid_request"))
}

/// SPEC: N-PAR-06, RFC 9126 §2.3
fn at_push(code: Code) -> Option<(StatusCode, &'static str)> {
    match code {
        Code::ClientUnknown => Some((StatusCode::UNAUTHORIZED, "invalid_client")),
        Code::RedirectUriMismatch => Some((StatusCode::BAD_REQUEST, "invalid_request")),
        _ => None,
    }
}

/// SPEC: DG-01, RFC 8628 §3.5
fn at_device(code: Code) -> Option<(StatusCode, &'static str)> {
    let error = match code {
        Code::AuthorizationPending => "authorization_pending",
        Code::SlowDown => "slow_down",
        Code::DeviceCodeExpired => "expired_token",
        _ => return None,
    };
    Some((StatusCode::BAD_REQUEST, error))
}

/// Where we are a resource server ourselves. SPEC: UI-04, RFC 6750 §3.1, RFC 9449 §7.1
fn at_resource(code: Code) -> Option<(StatusCode, &'static str)> {
    let unauthorized = StatusCode::UNAUTHORIZED;
    match code {
        Code::DpopNonceRequired => Some((unauthorized, "use_dpop_nonce")),
        Code::DpopProofMissing | Code::DpopProofInvalid | Code::DpopProofReplayed | Code::DpopKeyMismatch => {
            Some((unauthorized, "invalid_dpop_proof"))
        }
        Code::TokenMissing
        | Code::CertificateMissing
        | Code::CertificateMismatch
        | Code::TokenMalformed
        | Code::TokenSignatureInvalid
        | Code::TokenExpired
        | Code::TokenNotYetValid
        | Code::TokenRevoked
        | Code::TokenTypeWrong
        | Code::TokenAudienceWrong
        | Code::TokenIssuerUnknown => Some((unauthorized, "invalid_token")),
        Code::DelegationNotAllowed => Some((StatusCode::FORBIDDEN, "insufficient_scope")),
        _ => None,
    }
}

/// The JSON error of every endpoint but the browser's. SPEC
pub(crate) fn reply(refusal: &Refusal, at: At, record: Option<&str>) -> Response<Body> {
    let (status, error) = outward(refusal.code, at);
    let mut body = json!({
        "error": error,
        "error_description": printable(&refusal.reason),
        "remit_code": refusal.code.as_str(),
    });
    if let Some(members) = body.as_object_mut() {
        members.extend(record.map(|record| ("remit_record".to_owned(), json!(record))));
        // SPEC: IJ-06, RFC 9470 §3: the sign-in that would be enough.
        if let Some(enough) = &refusal.step_up {
            let classes = (!enough.acr_values.is_empty()).then(|| enough.acr_values.join(" "));
            members.extend(classes.map(|classes| ("acr_values".to_owned(), json!(classes))));
            members.extend(enough.max_age.map(|age| ("max_age".to_owned(), json!(age))));
        }
    }
    let mut response = json_response(status, &body);
    let headers = response.headers_mut();
    match status {
        StatusCode::METHOD_NOT_ALLOWED => {
            let allowed = if at == At::UserInfo { "GET, POST" } else { "POST" };
            headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
        }
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(refusal.retry_after_s.unwrap_or(5)));
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if at == At::UserInfo => {
            let challenge = format!("DPoP error=\"{error}\", algs=\"{}\"", Algorithm::ACCEPTED.join(" "));
            if let Ok(value) = HeaderValue::from_str(&challenge) {
                headers.insert(header::WWW_AUTHENTICATE, value);
            }
        }
        _ => {}
    }
    response
}

/// A JSON response that no cache may keep. SPEC: X-05
pub(crate) fn json_response(status: StatusCode, body: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Text in the alphabet of `error_description`: RFC 6749 §5.2 allows %x20-21, %x23-5B and %x5D-7E. SPEC: X-06
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .take(512)
        .map(|c| match c {
            '"' => '\'',
            '\\' => '/',
            ' '..='~' => c,
            _ => '?',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x_06_descriptions_stay_in_the_allowed_alphabet() {
        assert_eq!(printable("a \"b\" \\ \u{e9}\n"), "a 'b' / ??");
        assert_eq!(printable(&"x".repeat(600)).len(), 512);
    }

    #[test]
    fn tk_07_only_client_authentication_is_401_at_the_token_endpoint() {
        for code in Code::ALL {
            for at in [At::Token, At::ClientCredentials, At::JwtBearer, At::WorkloadGrant, At::IdJag, At::Exchange] {
                let (status, error) = outward(*code, at);
                assert_eq!(status == StatusCode::UNAUTHORIZED, error == "invalid_client", "{code}");
            }
        }
    }

    #[test]
    fn tx_11_bad_tokens_and_refused_actors_are_invalid_request_at_exchange() {
        for code in [Code::TokenExpired, Code::ActorTokenInvalid, Code::ChainSpliced, Code::DelegateNotNamed, Code::PolicyDenied]
        {
            assert_eq!(outward(code, At::Exchange), (StatusCode::BAD_REQUEST, "invalid_request"));
        }
    }
}

//! How SCIM says no. SPEC: RFC 7644 §3.12

use crate::http::error::Rejection;
use axum::http::StatusCode;
use remit_model::{Code, Refusal};

/// A refusal with what SCIM adds to it.
#[derive(Debug)]
pub(super) struct ScimError {
    pub(super) rejection: Rejection,
    /// One of table 9.
    pub(super) scim_type: Option<&'static str>,
    status: Option<StatusCode>,
}

impl ScimError {
    /// A request that cannot be done as it is.
    pub(super) fn bad(scim_type: &'static str, reason: impl Into<String>) -> Self {
        Self { rejection: Refusal::new(Code::RequestMalformed, reason).into(), scim_type: Some(scim_type), status: None }
    }

    /// Another user has what must be of one alone.
    pub(super) fn taken(reason: impl Into<String>) -> Self {
        Self { status: Some(StatusCode::CONFLICT), ..Self::bad("uniqueness", reason) }
    }

    pub(super) fn no_user() -> Self {
        Self::absent("this provider has provisioned no such user here")
    }

    pub(super) fn absent(reason: &str) -> Self {
        Refusal::new(Code::NotFound, reason).into()
    }

    /// What the standard leaves to a service provider, and this one does not have.
    pub(super) fn not_built() -> Self {
        let reason = "searches by POST and bulk requests are not supported";
        Self { status: Some(StatusCode::NOT_IMPLEMENTED), scim_type: None, ..Self::bad("", reason) }
    }

    pub(super) fn status(&self, refusal: &Refusal) -> StatusCode {
        match (self.status, refusal.code) {
            (Some(status), Code::RequestMalformed) => status,
            (_, Code::CredentialsInvalid) => StatusCode::UNAUTHORIZED,
            (_, Code::ClientNotAllowed) => StatusCode::FORBIDDEN,
            (_, Code::NotFound) => StatusCode::NOT_FOUND,
            (_, Code::MethodNotAllowed) => StatusCode::METHOD_NOT_ALLOWED,
            (_, Code::MediaTypeUnsupported) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            (_, Code::RequestTooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
            (_, Code::RateLimited) => StatusCode::TOO_MANY_REQUESTS,
            (_, Code::Internal) => StatusCode::INTERNAL_SERVER_ERROR,
            (_, code) if code.is_outage() => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

impl From<Rejection> for ScimError {
    fn from(rejection: Rejection) -> Self {
        Self { rejection, scim_type: None, status: None }
    }
}

impl From<Refusal> for ScimError {
    fn from(refusal: Refusal) -> Self {
        Rejection::from(refusal).into()
    }
}

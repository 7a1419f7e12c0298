//! The one place where a refusal or a fault of this crate becomes HTTP.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use remit_model::{Code, Fault, Refusal};
use remit_store::{ApplyError, ReadError};
use serde_json::json;

/// Why an operator's request was not done.
#[derive(Debug)]
pub(crate) enum No {
    Refused { refusal: Refusal, record: Option<String> },
    Broken(Fault),
}

impl From<Refusal> for No {
    fn from(refusal: Refusal) -> Self {
        Self::Refused { refusal, record: None }
    }
}

impl From<ApplyError> for No {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Unavailable(outage) => {
                tracing::error!(%outage, "the store is unavailable");
                outage.refusal().into()
            }
            error @ (ApplyError::Conflict(_) | ApplyError::Invalid(_)) => {
                Refusal::new(Code::RequestMalformed, error.to_string()).into()
            }
        }
    }
}

impl From<ReadError> for No {
    fn from(error: ReadError) -> Self {
        Self::Broken(Fault::new(error))
    }
}

impl IntoResponse for No {
    fn into_response(self) -> Response {
        let (refusal, record) = match self {
            Self::Refused { refusal, record } => (refusal, record),
            Self::Broken(fault) => {
                tracing::error!(%fault, "an admin request failed");
                (Refusal::new(Code::Internal, "the server failed; its log says how"), None)
            }
        };
        let status = match refusal.code {
            Code::AdminUnauthenticated => StatusCode::UNAUTHORIZED,
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Code::LegalHold => StatusCode::CONFLICT,
            code if code.is_outage() => StatusCode::SERVICE_UNAVAILABLE,
            Code::RequestTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        };
        let body = Json(json!({"error": refusal.code, "reason": refusal.reason, "record": record}));
        let mut answer = (status, [(header::CACHE_CONTROL, "no-store")], body).into_response();
        if status == StatusCode::UNAUTHORIZED {
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"remit-admin\""));
        }
        answer
    }
}

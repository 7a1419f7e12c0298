//! Our side as a client of an identity provider: the token endpoint. SPEC: RFC 6749 §2.3.1, §4.1.3; RFC 7523.

use super::{
    discovery::{Metadata, invalid, unreachable},
    settings::{ANSWER_LIMIT, ClientCredential, ProviderSettings},
};
use crate::{Server, http::error::Rejection};
use axum::http::{HeaderValue, StatusCode, header};
use base64::{Engine, engine::general_purpose::STANDARD};
use remit_model::{Code, Refusal, display};
use remit_outbound::{Request, Source};
use remit_token::assertion;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use zeroize::Zeroizing;

/// What a token endpoint answered: secrets, which are neither logged nor recorded.
#[derive(Deserialize)]
pub(crate) struct Tokens {
    pub(crate) id_token: Option<String>,
    pub(crate) access_token: Option<String>,
    pub(crate) refresh_token: Option<String>,
    /// Life of the access token, in seconds. Some state it as text; then it is not known.
    #[serde(default, deserialize_with = "seconds")]
    pub(crate) expires_in: Option<i64>,
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(Value::deserialize(deserializer)?.as_i64())
}

/// Why there are no tokens.
pub(crate) enum GrantError {
    /// The provider refuses, with its OAuth error code.
    Refused { status: StatusCode, error: Option<String> },
    /// No answer, or none that can be used.
    Other(Rejection),
}

impl GrantError {
    pub(crate) fn into_refusal(self) -> Refusal {
        match self {
            Self::Refused { status, error } => refused(status, error.as_deref()),
            Self::Other(rejection) => rejection.into_refusal(),
        }
    }
}

impl<E: Into<Rejection>> From<E> for GrantError {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

/// Sends a grant to the token endpoint.
///
/// # Errors
/// `provider_unreachable` when there is no answer, or one that says that something is wrong there; `provider_answer_invalid`
/// when the provider refuses, with its OAuth error code.
pub(crate) async fn grant(
    server: &Server,
    provider: &ProviderSettings,
    metadata: &Metadata,
    fields: &[(&str, &str)],
) -> Result<Tokens, Rejection> {
    exchange(server, provider, metadata, fields).await.map_err(|error| match error {
        GrantError::Refused { .. } => error.into_refusal().into(),
        GrantError::Other(rejection) => rejection,
    })
}

/// As [`grant`], for who has to know with what the provider refuses.
///
/// # Errors
/// As it says.
pub(crate) async fn exchange(
    server: &Server,
    provider: &ProviderSettings,
    metadata: &Metadata,
    fields: &[(&str, &str)],
) -> Result<Tokens, GrantError> {
    let url = &metadata.token_endpoint;
    let mut form: Vec<(&str, &str)> = fields.to_vec();
    let assertion;
    match &provider.credential {
        ClientCredential::Key { key, at_token_endpoint } => {
            let audience = if *at_token_endpoint { url } else { &provider.issuer };
            let (jti, now) = (server.entropy.token(16), server.now());
            assertion = assertion::create(key, &provider.client_id, audience, &jti, now)?;
            form.push(("client_assertion_type", assertion::ASSERTION_TYPE));
            form.push(("client_assertion", &assertion));
            form.push(("client_id", &provider.client_id));
        }
        ClientCredential::Secret(secret) if metadata.secret_in_body => {
            form.push(("client_id", &provider.client_id));
            form.push(("client_secret", secret));
        }
        ClientCredential::Secret(_) => {}
        ClientCredential::None => form.push(("client_id", &provider.client_id)),
    }
    let mut request = Request::form(url, Source::Operator, &form);
    request.limit = ANSWER_LIMIT;
    if let (ClientCredential::Secret(secret), false) = (&provider.credential, metadata.secret_in_body) {
        let mut value = HeaderValue::from_str(&basic(&provider.client_id, secret))
            .map_err(|_| Refusal::new(Code::Internal, "the client's secret cannot be sent"))?;
        value.set_sensitive(true);
        request.headers.insert(header::AUTHORIZATION, value);
    }
    let answer = server.outbound.send(request).await.map_err(|error| unreachable(&error))?;
    match answer.status {
        StatusCode::OK => {
            let body = answer.json().map_err(|error| invalid(&error.to_string()))?;
            Ok(serde_json::from_value(body).map_err(|_| invalid("its token endpoint answered something else than tokens"))?)
        }
        status if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
            let error = answer.json().ok().and_then(|body| Some(body.get("error")?.as_str()?.to_owned()));
            Err(GrantError::Refused { status, error })
        }
        status => Err(Refusal::new(
            Code::ProviderUnreachable,
            format!("the identity provider cannot be used now: its token endpoint answers with status {}", status.as_u16()),
        )
        .into()),
    }
}

/// A refusal by the provider, by its OAuth error code: its words are not for our pages.
fn refused(status: StatusCode, error: Option<&str>) -> Refusal {
    let named = error.map_or_else(|| format!("status {}", status.as_u16()), |error| format!("`{}`", display::excerpt(error, 64)));
    invalid(&format!("its token endpoint refuses with {named}"))
}

/// RFC 6749 §2.3.1: both parts are form-encoded first.
fn basic(id: &str, secret: &str) -> Zeroizing<String> {
    let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = Zeroizing::new(format!("{}:{}", encoded(id), encoded(secret)));
    Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_form_encoded_before_it_is_sent() {
        assert_eq!(*basic("remit", "a:b c%"), format!("Basic {}", STANDARD.encode("remit:a%3Ab+c%25")));
    }
}

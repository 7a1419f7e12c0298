//! One question to a provider: may this person still act?
//!
//! A refresh of the provider's tokens (RFC 6749 §6) is the question that every provider answers: it refuses with `invalid_grant`
//! once the person is disabled or deleted, or their session ended. Without a refresh token its userinfo endpoint is asked
//! (OpenID Connect Core §5.3), for as long as the access token lives.

use super::held::{Held, With};
use crate::{
    Server,
    signin::provider::{
        client::{self, GrantError},
        settings::{ANSWER_LIMIT, ProviderSettings},
    },
};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use remit_model::{UnixTime, display};
use remit_outbound::{Request, Source};
use serde_json::Value;

/// What the provider answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The person may act. Whether what it is asked with next has changed.
    Yes { changed: bool },
    /// They may not: its word for it.
    No(&'static str),
    /// It answers, and its word about this person is neither.
    Undecided(String),
    /// It gave no answer, or it refuses us.
    Unknown(String),
    /// There is nothing to ask with any more.
    CannotAsk,
}

/// Puts the question. `held` becomes what the next one is put with.
pub(crate) async fn put(server: &Server, provider: &ProviderSettings, held: &mut Held, now: UnixTime) -> Answer {
    let answer = put_with(server, provider, held, now).await;
    let (Answer::No(_), Some(otherwise)) = (&answer, held.otherwise.clone()) else { return answer };
    // The refresh token is of an earlier sign-in. What the last one gave may still be good.
    let mut later = Held { with: otherwise, otherwise: None, ..held.clone() };
    match put_with(server, provider, &mut later, now).await {
        Answer::Yes { .. } => {
            *held = later;
            Answer::Yes { changed: true }
        }
        Answer::CannotAsk => answer,
        other => other,
    }
}

async fn put_with(server: &Server, provider: &ProviderSettings, held: &mut Held, now: UnixTime) -> Answer {
    match &mut held.with {
        With::RefreshToken(token) => refresh(server, provider, token).await,
        // A token that is about to end says nothing when it is refused.
        With::AccessToken { token, until } if now.plus(server.settings.skew) < *until => {
            userinfo(server, provider, &held.subject, token).await
        }
        With::AccessToken { .. } | With::Nothing => Answer::CannotAsk,
    }
}

async fn refresh(server: &Server, provider: &ProviderSettings, token: &mut String) -> Answer {
    let metadata = match server.discovery.metadata(&provider.issuer).await {
        Ok(metadata) => metadata,
        Err(refusal) => return Answer::Unknown(refusal.reason),
    };
    let fields = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
    match client::exchange(server, provider, &metadata, &fields).await {
        Ok(tokens) => {
            let new = tokens.refresh_token.filter(|new| new != token);
            let changed = new.is_some();
            if let Some(new) = new {
                *token = new;
            }
            Answer::Yes { changed }
        }
        Err(error) => refused(error),
    }
}

/// SPEC: RFC 6749 §5.2. Some errors are about the client that we are there, or about the provider as a whole; others, such as
/// `interaction_required`, are about this refresh token alone.
fn refused(error: GrantError) -> Answer {
    let word = match &error {
        GrantError::Refused { error, .. } => error.as_deref(),
        GrantError::Other(_) => None,
    };
    match word {
        Some("invalid_grant") => Answer::No("invalid_grant"),
        None | Some("invalid_client" | "server_error" | "temporarily_unavailable" | "slow_down") => {
            Answer::Unknown(error.into_refusal().reason)
        }
        Some(_) => Answer::Undecided(error.into_refusal().reason),
    }
}

async fn userinfo(server: &Server, provider: &ProviderSettings, person: &str, token: &str) -> Answer {
    let metadata = match server.discovery.metadata(&provider.issuer).await {
        Ok(metadata) => metadata,
        Err(refusal) => return Answer::Unknown(refusal.reason),
    };
    let Some(url) = metadata.userinfo_endpoint.as_deref() else { return Answer::CannotAsk };
    let Ok(mut credential) = HeaderValue::from_str(&format!("Bearer {token}")) else { return Answer::CannotAsk };
    credential.set_sensitive(true);
    let mut request = Request::get(url, Source::Operator, ANSWER_LIMIT);
    request.headers.insert(header::AUTHORIZATION, credential);
    let answer = match server.outbound.send(request).await {
        Ok(answer) => answer,
        Err(error) => return Answer::Unknown(error.to_string()),
    };
    match answer.status {
        StatusCode::OK => {
            // SPEC: OpenID Connect Core §5.3.4: the `sub` is verified. A signed answer (`application/jwt`) is not read.
            let subject = answer.json().ok().and_then(|body| body.get("sub").and_then(Value::as_str).map(str::to_owned));
            match subject {
                Some(subject) if subject == person => Answer::Yes { changed: false },
                Some(subject) => Answer::Undecided(format!(
                    "its userinfo endpoint speaks of `{}`, another person",
                    display::excerpt(&subject, 64)
                )),
                None => Answer::Unknown("its userinfo endpoint answered something else than claims".to_owned()),
            }
        }
        // SPEC: RFC 6750 §3.1. Other refusals, such as the 403 of a firewall between, say nothing about the person.
        StatusCode::UNAUTHORIZED if token_is_invalid(&answer.headers) => Answer::No("userinfo_refused"),
        status => Answer::Unknown(format!("its userinfo endpoint answers with status {}", status.as_u16())),
    }
}

/// Whether a status 401 says that the token is not valid any more: by `error="invalid_token"`, or without any error, as Keycloak
/// answers about a person who is disabled.
fn token_is_invalid(headers: &HeaderMap) -> bool {
    let challenges: Vec<&str> =
        headers.get_all(header::WWW_AUTHENTICATE).iter().map(|value| value.to_str().unwrap_or("error=")).collect();
    // `error` itself, not `error_description` or `error_uri`.
    let mut errors = challenges.iter().flat_map(|challenge| challenge.split([' ', ',', '\t'])).filter_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.eq_ignore_ascii_case("error").then(|| value.trim_matches('"'))
    });
    errors.all(|error| error == "invalid_token")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_401_with_another_error_than_invalid_token_says_nothing_about_the_person() {
        for (challenge, gone) in [
            (None, true),
            (Some("Bearer realm=\"staff\""), true),
            (Some("Bearer realm=\"staff\", error=\"invalid_token\", error_description=\"Token verification failed\""), true),
            (Some("Bearer error=invalid_token"), true),
            (Some("Bearer error=\"insufficient_scope\""), false),
            (Some("Bearer realm=\"staff\",error=\"invalid_request\""), false),
            (Some("DPoP error=\"use_dpop_nonce\", error_description=\"a nonce is needed\""), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.extend(challenge.map(|challenge| (header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))));
            assert_eq!(token_is_invalid(&headers), gone, "{challenge:?}");
        }
    }

    #[test]
    fn an_error_about_one_refresh_is_not_one_of_the_provider() {
        let refused = |error: Option<&str>| {
            refused(GrantError::Refused { status: StatusCode::BAD_REQUEST, error: error.map(str::to_owned) })
        };
        assert_eq!(refused(Some("invalid_grant")), Answer::No("invalid_grant"));
        for error in ["interaction_required", "access_denied", "unauthorized_client", "consent_required", "invalid_request"] {
            assert!(matches!(refused(Some(error)), Answer::Undecided(_)), "{error}");
        }
        for error in [None, Some("invalid_client"), Some("temporarily_unavailable"), Some("server_error")] {
            assert!(matches!(refused(error), Answer::Unknown(_)), "{error:?}");
        }
    }
}

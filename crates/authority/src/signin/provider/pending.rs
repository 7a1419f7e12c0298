//! What waits for a provider's answer: sealed, in a cookie of the browser that began. It costs the server nothing, and no
//! other browser can finish it. SPEC: AZ-14, RFC 6749 §10.12
//!
//! A cookie holds 4 kB, so there are up to three for each sign-in; their names carry the beginning of the `state`, so that
//! sign-ins in two tabs do not disturb each other.

use crate::{
    Server,
    http::error::Rejection,
    signin::{
        login_page::PENDING_SECONDS,
        request::SignInFor,
        seal::Purpose,
        sessions::{self, BrowserId},
    },
};
use axum::http::HeaderMap;
use remit_model::{Code, Refusal, UnixTime};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Bytes of one cookie's value.
const PART: usize = 3_500;
/// Most cookies of one sign-in: with them and the others, a request stays within what proxies take for its headers.
const PARTS: usize = 3;

/// A sign-in that waits for its provider.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Pending {
    /// The provider's name here. SPEC: RFC 9700 §4.4: the answer of another one is not taken.
    pub(crate) provider: String,
    pub(crate) state: String,
    /// PKCE's `code_verifier`.
    pub(crate) verifier: String,
    /// Of what the `nonce` is the digest of.
    pub(crate) salt: String,
    pub(crate) begun: UnixTime,
    /// The provider was already asked to authenticate the person anew.
    pub(crate) again: bool,
    pub(crate) ask: SignInFor,
}

impl Pending {
    /// The cookies to set.
    ///
    /// # Errors
    /// `request_too_large`; a fault when the library fails.
    pub(crate) fn cookies(&self, server: &Server, browser: &BrowserId) -> Result<Vec<String>, Rejection> {
        let sealed = server.seal.seal(Purpose::Provider, browser, self, self.begun.plus(PENDING_SECONDS), &server.entropy)?;
        let parts: Vec<&str> = split(&sealed);
        if parts.len() > PARTS {
            let reason = "the request is too large to be kept while you sign in at the identity provider; ask for fewer grants";
            return Err(Refusal::new(Code::RequestTooLarge, reason).into());
        }
        let cookie = |(at, part): (usize, &&str)| {
            format!("{}; Max-Age={PENDING_SECONDS}", sessions::set_cookie(&server.issuer, &name(&self.state, at), part))
        };
        Ok(parts.iter().enumerate().map(cookie).collect())
    }

    /// The sign-in that this browser began with this `state`.
    pub(crate) fn open(server: &Server, headers: &HeaderMap, browser: &BrowserId, state: &str, now: UnixTime) -> Option<Self> {
        let part = |at| sessions::read_cookie(headers, &sessions::cookie_name(&server.issuer, &name(state, at)));
        let sealed: String = (0..PARTS).map_while(part).collect();
        let pending: Self = server.seal.open(Purpose::Provider, browser, &sealed, now)?;
        (pending.state == state).then_some(pending)
    }

    /// What the `nonce` is the digest of.
    pub(crate) fn committed(&self) -> Value {
        self.ask.committed(&self.salt)
    }

    /// What makes the browser forget it.
    pub(crate) fn forget(&self, server: &Server) -> Vec<String> {
        let gone = |at| format!("{}; Max-Age=0", sessions::set_cookie(&server.issuer, &name(&self.state, at), ""));
        (0..PARTS).map(gone).collect()
    }
}

/// The name of one of the cookies. A `state` of ours is base64url, which a cookie's name may be made of.
fn name(state: &str, at: usize) -> String {
    let begin: String = state.chars().filter(char::is_ascii_alphanumeric).take(10).collect();
    format!("remit-provider-{begin}-{at}")
}

/// The text in parts that fit a cookie. It is base64url, so any place is good.
fn split(mut text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    while let Some((part, rest)) = text.split_at_checked(PART) {
        parts.push(part);
        text = rest;
    }
    if !text.is_empty() {
        parts.push(text);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_is_split_and_put_together_again() {
        for length in [0, 1, PART - 1, PART, PART + 1, 3 * PART, 3 * PART + 1] {
            let text = "x".repeat(length);
            let parts = split(&text);
            assert_eq!(parts.concat(), text);
            assert_eq!(parts.len(), length.div_ceil(PART));
        }
    }
}

//! The proof of possession that comes with a request.
//!
//! Implements RFC 9449 §5 and §8 at our endpoints: DP-01 to DP-12. Agents prove a key at every grant; there is no
//! bearer token here.

use crate::Server;
use axum::http::HeaderMap;
use remit_model::{Code, Refusal, UnixTime};
use remit_token::dpop::{self, NonceRule, Proof};

/// The request a proof belongs to: the method and external URL it must name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) url: &'a str,
    /// Where its proof is looked up.
    pub(crate) replays: &'a dpop::ReplaySet,
    /// The header of an earlier proof of the same sender.
    pub(crate) known: Option<&'a dpop::Header>,
}

/// Verifies the one proof of a request. It is for the caller to have it remembered, once the sender's standing is known.
pub(crate) fn proof(
    server: &Server,
    headers: &HeaderMap,
    request: Request<'_>,
    access_token: Option<&[u8; 32]>,
    bound_to: Option<&str>,
    now: UnixTime,
) -> Result<Proof, Refusal> {
    let values: Vec<&str> = headers
        .get_all("dpop")
        .iter()
        .map(|value| value.to_str().map_err(|_| Refusal::new(Code::DpopProofInvalid, "the `DPoP` header is not ASCII")))
        .collect::<Result<_, _>>()?;
    let nonce =
        if server.settings.require_nonce { NonceRule::Required(&server.nonces) } else { NonceRule::Optional(&server.nonces) };
    dpop::verify(
        &values,
        &dpop::Expect {
            method: request.method,
            url: request.url,
            access_token,
            bound_to,
            known: request.known,
            nonce,
            replay: Some(request.replays),
            now,
            window_secs: server.settings.dpop_window,
        },
    )
}

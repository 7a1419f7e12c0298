//! Server nonces without state. SPEC: RFC 9449 §8, §9, DP-07, N-DP-13, N-DP-14.
//!
//! A nonce is the number of a time slot and an HMAC over it, under a secret that lives as long as the process. Two
//! slots are good at any time, so a rotation never fails a client. The authorization server and the resource servers of
//! one origin share the nonces: clients keep one nonce for each origin, so a nonce of either is good at the other.

use crate::base64url::{decode, encode};
use aws_lc_rs::hmac;
use remit_model::{Code, Refusal, UnixTime};
use std::fmt;
use subtle::ConstantTimeEq as _;

/// How long a slot lasts unless configured otherwise; a nonce is good for one to two of them.
pub const PERIOD_SECS: i64 = 150;

/// Issues and checks the nonces of one process.
pub struct Nonces {
    key: hmac::Key,
    period: i64,
    /// Proofs made until then may have been accepted by an earlier process.
    doubtful_until: Option<UnixTime>,
}

impl Nonces {
    /// `secret` must be fresh for every process: then a good nonce also shows that the proof is younger than the process.
    pub fn new(secret: &[u8; 32], period_secs: i64) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret), period: period_secs.max(1), doubtful_until: None }
    }

    /// For a process that follows another one, started at `start`, over the same store: demands a nonce of every proof that
    /// the earlier process may have accepted. A proof may be dated ahead by the acceptance window, so its memory of used
    /// proofs is missed for that long. SPEC: DP-09
    #[must_use]
    pub fn after_restart(self, start: UnixTime, window_secs: i64) -> Self {
        Self { doubtful_until: Some(start.plus(window_secs)), ..self }
    }

    /// The nonce to send now.
    pub fn issue(&self, now: UnixTime) -> String {
        let slot = self.slot(now).to_be_bytes();
        encode(&[slot.as_slice(), self.tag(slot).as_slice()].concat())
    }

    /// # Errors
    /// `dpop_nonce_required`: not of this process, or older than two slots.
    pub fn check(&self, nonce: &str, now: UnixTime) -> Result<(), Refusal> {
        let stale =
            || Refusal::new(Code::DpopNonceRequired, "the proof's nonce is not one of the current ones; use the fresh one");
        let bytes = decode(nonce).filter(|bytes| bytes.len() == 24).ok_or_else(stale)?;
        let (slot, tag) = bytes.split_first_chunk::<8>().ok_or_else(stale)?;
        let age = self.slot(now).wrapping_sub(i64::from_be_bytes(*slot));
        let genuine: bool = self.tag(*slot).as_slice().ct_eq(tag).into();
        if genuine && (0..=1).contains(&age) { Ok(()) } else { Err(stale()) }
    }

    /// Whether a proof made at `iat` may have been accepted before this process started.
    fn is_doubtful(&self, iat: UnixTime) -> bool {
        self.doubtful_until.is_some_and(|until| iat <= until)
    }

    fn slot(&self, now: UnixTime) -> i64 {
        now.0.div_euclid(self.period)
    }

    fn tag(&self, slot: [u8; 8]) -> Vec<u8> {
        let mut message = b"remit dpop nonce v2\0".to_vec();
        message.extend_from_slice(&slot);
        hmac::sign(&self.key, &message).as_ref().iter().copied().take(16).collect()
    }
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nonces").field("doubtful_until", &self.doubtful_until).finish_non_exhaustive()
    }
}

/// Whether a proof needs a server nonce.
#[derive(Clone, Copy, Debug, Default)]
pub enum NonceRule<'a> {
    /// Nonces are not looked at.
    #[default]
    Ignored,
    /// A nonce may be absent, except of a proof that an earlier process may have accepted; one that is there must be good.
    Optional(&'a Nonces),
    Required(&'a Nonces),
}

impl NonceRule<'_> {
    pub(crate) fn check(self, nonce: Option<&str>, iat: UnixTime, now: UnixTime) -> Result<(), Refusal> {
        let (nonces, required) = match self {
            Self::Ignored => return Ok(()),
            Self::Optional(nonces) => (nonces, nonces.is_doubtful(iat)),
            Self::Required(nonces) => (nonces, true),
        };
        match nonce {
            Some(nonce) => nonces.check(nonce, now),
            None if required => Err(Refusal::new(Code::DpopNonceRequired, "the proof needs a nonce of this server")),
            None => Ok(()),
        }
    }
}

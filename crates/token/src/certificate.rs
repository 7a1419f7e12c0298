//! Client certificates: the thumbprint by which a token is bound to one, and what one says of itself.
//!
//! Implements RFC 8705 §3.1 (`x5t#S256`) and RFC 5280 as far as it names a holder. Whether a certificate may be trusted is
//! decided for each agent: by its registered thumbprint, or by the bundle of a SPIFFE trust domain. It deliberately does not
//! know what TLS is: that the client holds the private key was proved before a [`PeerCertificate`] is made.

use crate::{base64url, claims};
use remit_model::{UnixTime, json::sha256};
use std::{fmt, sync::Arc};
use x509_cert::{Certificate, der::Decode as _};

/// Most certificates that a client may send, its own included.
pub const CHAIN_LIMIT: usize = 8;

/// The certificate of the client of a connection, whose private key it has proved to hold. Copies share it.
#[derive(Clone, PartialEq, Eq)]
pub struct PeerCertificate(Arc<Presented>);

#[derive(PartialEq, Eq)]
struct Presented {
    leaf: Vec<u8>,
    others: Vec<Vec<u8>>,
    thumbprint: String,
}

impl PeerCertificate {
    /// The client's own certificate, and those that it sent with it, all in DER.
    pub fn new(leaf: Vec<u8>, others: Vec<Vec<u8>>) -> Self {
        let thumbprint = thumbprint(&leaf);
        Self(Arc::new(Presented { leaf, others, thumbprint }))
    }

    /// The SHA-256 of the DER, in base64url: the `x5t#S256` of RFC 8705.
    pub fn thumbprint(&self) -> &str {
        &self.0.thumbprint
    }

    /// The client's own certificate in DER.
    pub fn der(&self) -> &[u8] {
        &self.0.leaf
    }

    /// The certificates sent with it, in DER: a path to an authority, as the client sees it.
    pub fn others(&self) -> &[Vec<u8>] {
        &self.0.others
    }
}

impl PeerCertificate {
    /// The certificates as one text, as the ledger keeps them: each DER in base64url, joined by `.`, the client's own first.
    pub fn to_text(&self) -> String {
        let others = self.0.others.iter().map(Vec::as_slice);
        let all: Vec<String> = std::iter::once(self.0.leaf.as_slice()).chain(others).map(base64url::encode).collect();
        all.join(".")
    }

    /// Reads [`to_text`](Self::to_text)'s text.
    pub fn from_text(text: &str) -> Option<Self> {
        let mut all: Vec<Vec<u8>> = text.split('.').take(CHAIN_LIMIT + 1).map(base64url::decode).collect::<Option<_>>()?;
        let leaf = (all.len() <= CHAIN_LIMIT).then(|| all.remove(0))?;
        Some(Self::new(leaf, all))
    }
}

impl fmt::Debug for PeerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PeerCertificate").field(&self.0.thumbprint).finish()
    }
}

/// The SHA-256 of a certificate in DER, in base64url. SPEC: RFC 8705 §3.1.
pub fn thumbprint(der: &[u8]) -> String {
    base64url::encode(&sha256(der))
}

/// Whether a text has the form of a thumbprint.
pub fn is_thumbprint(text: &str) -> bool {
    claims::is_thumbprint(text)
}

/// From when and until when a certificate in DER is valid; `None` when it cannot be read.
pub fn validity(der: &[u8]) -> Option<(UnixTime, UnixTime)> {
    let certificate = Certificate::from_der(der).ok()?;
    let validity = certificate.tbs_certificate().validity();
    let seconds = |time: &x509_cert::time::Time| i64::try_from(time.to_unix_duration().as_secs()).ok().map(UnixTime);
    Some((seconds(&validity.not_before)?, seconds(&validity.not_after)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_has_no_validity() {
        for bytes in [&b""[..], b"nonsense", &[0x30, 0x82, 0xff, 0xff]] {
            assert_eq!(validity(bytes), None);
        }
    }

    #[test]
    fn rfc_8705_the_thumbprint_is_the_digest_of_the_der_in_base64url() {
        assert_eq!(thumbprint(b""), "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU");
    }
}

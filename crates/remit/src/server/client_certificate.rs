//! The client certificate that a proxy proved, as its headers state it.
//!
//! Implements RFC 9440 §2 (`Client-Cert`, `Client-Cert-Chain`). What comes from anyone but a trusted proxy is never read: `proxies`
//! decides that.

use axum::http::HeaderMap;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use remit_token::{
    PeerCertificate,
    certificate::{self, CHAIN_LIMIT},
};

pub(super) const CERTIFICATE: &str = "client-cert";
pub(super) const CHAIN: &str = "client-cert-chain";

/// The certificate that the headers state; `None` when the client showed none.
///
/// # Errors
/// The headers are not what RFC 9440 defines. Then it is not clear who the client is.
pub(super) fn read(headers: &HeaderMap) -> Result<Option<PeerCertificate>, &'static str> {
    let mut stated = headers.get_all(CERTIFICATE).iter();
    let chain = headers.get_all(CHAIN);
    let leaf = match (stated.next(), stated.next()) {
        (None, _) if chain.iter().next().is_some() => return Err("`Client-Cert-Chain` comes without `Client-Cert`"),
        (None, _) => return Ok(None),
        (Some(_), Some(_)) => return Err("there is more than one `Client-Cert`"),
        (Some(value), None) => value.to_str().ok().and_then(certificate).ok_or("`Client-Cert` is no certificate")?,
    };
    let mut others = Vec::new();
    for value in chain {
        let list = value.to_str().map_err(|_| "`Client-Cert-Chain` is not ASCII")?;
        for element in list.split(',') {
            if others.len() + 1 >= CHAIN_LIMIT {
                return Err("`Client-Cert-Chain` has too many certificates");
            }
            others.push(certificate(element).ok_or("`Client-Cert-Chain` has an element that is no certificate")?);
        }
    }
    Ok(Some(PeerCertificate::new(leaf, others)))
}

/// The DER of a certificate in a structured-field byte sequence: `:BASE64:`.
fn certificate(element: &str) -> Option<Vec<u8>> {
    let der = STANDARD.decode(element.trim().strip_prefix(':')?.strip_suffix(':')?).ok()?;
    certificate::validity(&der).map(|_| der)
}

//! X.509-SVIDs: certificates that name a workload of a trust domain.
//!
//! Implements SPIFFE X509-SVID §2 to §5; rules SP-01, SP-03. The trust domain is that of the SPIFFE ID in the certificate, and only an
//! authority of its own bundle counts (N-SP-01): the caller finds the bundle by [`SvidCertificate::id`]. A path is built by webpki,
//! which honours validity, path lengths, extended key usage and name constraints; a path with a constraint on URIs is refused. It
//! deliberately looks at no revocation list: SVIDs live for an hour or so.

use crate::certificate::{PeerCertificate, validity};
use remit_model::{Code, Refusal, SpiffeId, UnixTime};
use rustls_pki_types::{CertificateDer, UnixTime as PathTime};
use std::{collections::BTreeSet, time::Duration};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage as Usage, anchor_from_trusted_cert};
use x509_cert::{
    Certificate,
    der::{Decode, oid::AssociatedOid},
    ext::pkix::{BasicConstraints, KeyUsage, SubjectAltName, name::GeneralName},
};

/// What a leaf certificate says of itself, which has the form of an X.509-SVID. Nothing vouches for it yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SvidCertificate {
    id: SpiffeId,
    from: UnixTime,
    until: UnixTime,
}

impl SvidCertificate {
    /// Reads a leaf certificate in DER. SPEC: SP-03, N-SP-03
    ///
    /// # Errors
    /// `client_unauthenticated`, with the rule that it breaks.
    pub fn read(der: &[u8]) -> Result<Self, Refusal> {
        let certificate = Certificate::from_der(der).map_err(|_| wrong("it cannot be read"))?;
        refuse_twice(&certificate)?;
        if extension::<BasicConstraints>(&certificate)?.is_some_and(|(_, constraints)| constraints.ca) {
            return Err(wrong("it is that of an authority"));
        }
        let Some((critical, usage)) = extension::<KeyUsage>(&certificate)? else { return Err(wrong("it has no key usage")) };
        if !critical || !usage.digital_signature() || usage.key_cert_sign() || usage.crl_sign() {
            return Err(wrong("its key usage is not critical, lacks `digitalSignature`, or has `keyCertSign` or `cRLSign`"));
        }
        let names = extension::<SubjectAltName>(&certificate)?.map(|(_, SubjectAltName(names))| names).unwrap_or_default();
        // Not every verifier can read these, and no workload needs one.
        if names.iter().any(|name| matches!(name, GeneralName::EdiPartyName(_))) {
            return Err(wrong("one of its alternative names is an `ediPartyName`"));
        }
        let mut uris = names.iter().filter_map(|name| match name {
            GeneralName::UniformResourceIdentifier(uri) => Some(uri.as_str()),
            _ => None,
        });
        let (Some(uri), None) = (uris.next(), uris.next()) else {
            return Err(wrong("it does not have exactly one URI as its alternative name"));
        };
        let id = SpiffeId::parse(uri).map_err(|refusal| wrong(&refusal.reason))?;
        let (from, until) = validity(der).ok_or_else(|| wrong("its validity cannot be read"))?;
        Ok(Self { id, from, until })
    }

    /// The workload that it names.
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// When it ends.
    pub fn until(&self) -> UnixTime {
        self.until
    }

    /// Whether it is valid at a time, within a tolerance in seconds.
    pub fn is_valid(&self, now: UnixTime, tolerance: i64) -> bool {
        self.from <= now.plus(tolerance) && now < self.until.plus(tolerance)
    }
}

/// Checks that a path leads from a certificate of the form of an SVID to one of these authorities (certificates in DER) of its trust
/// domain. SPEC: SP-03, N-SP-01
///
/// # Errors
/// `client_unauthenticated`: no path does, or a certificate of the only one is not valid now.
pub fn vouched(shown: &PeerCertificate, authorities: &[Vec<u8>], now: UnixTime) -> Result<(), Refusal> {
    let no_path = || wrong("no path leads from it to an authority of its trust domain");
    let roots: Vec<CertificateDer<'_>> = authorities.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let anchors: Vec<_> = roots.iter().filter_map(|root| anchor_from_trusted_cert(root).ok()).collect();
    let others: Vec<CertificateDer<'_>> =
        shown.others().iter().filter(|der| signs_certificates(der)).map(|der| CertificateDer::from(der.as_slice())).collect();
    let leaf = CertificateDer::from(shown.der());
    let leaf = EndEntityCert::try_from(&leaf).map_err(|_| no_path())?;
    let seconds = u64::try_from(now.0).map_err(|_| no_path())?;
    let time = PathTime::since_unix_epoch(Duration::from_secs(seconds));
    let path = leaf.verify_for_usage(ALL_VERIFICATION_ALGS, &anchors, &others, time, Usage::client_auth(), None, None);
    path.map(drop).map_err(|error| match error {
        webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. } => {
            wrong("it, or one on its path, is not valid now")
        }
        webpki::Error::NameConstraintViolation => wrong("the name constraints of its path do not allow it, or are about URIs"),
        _ => no_path(),
    })
}

/// Whether a certificate may stand between a leaf and an authority: webpki does not look at the key usage.
fn signs_certificates(der: &[u8]) -> bool {
    let Ok(certificate) = Certificate::from_der(der) else { return false };
    matches!(extension::<KeyUsage>(&certificate), Ok(Some((_, usage))) if usage.key_cert_sign())
}

/// SPEC: RFC 5280 §4.2
fn refuse_twice(certificate: &Certificate) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    let all = certificate.tbs_certificate().extensions().into_iter().flatten();
    match all.map(|extension| &extension.extn_id).find(|oid| !seen.insert(*oid)) {
        Some(_) => Err(wrong("it has an extension twice")),
        None => Ok(()),
    }
}

/// One extension, and whether it is critical.
fn extension<'c, T: Decode<'c> + AssociatedOid>(certificate: &'c Certificate) -> Result<Option<(bool, T)>, Refusal> {
    certificate.tbs_certificate().get_extension::<T>().map_err(|_| wrong("one of its extensions cannot be read"))
}

fn wrong(reason: &str) -> Refusal {
    Refusal::new(Code::ClientUnauthenticated, format!("the certificate is no X.509-SVID that counts here: {reason}"))
}

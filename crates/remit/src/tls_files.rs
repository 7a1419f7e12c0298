//! The listener's certificate and private key: read from PEM files and held against each other.

use crate::{bounded_read, keys};
use anyhow::{Context as _, Result, bail};
use remit_model::UnixTime;
use remit_token::certificate;
use rustls::{
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};
use std::path::{Path, PathBuf};

/// Largest file of certificates, in bytes.
const CERTIFICATES_LIMIT: usize = 256 << 10;
/// How long before a certificate ends its operator is reminded, in seconds.
const REMINDER: i64 = 7 * 86_400;

/// Where a certificate and its key are.
#[derive(Clone, Debug)]
pub(crate) struct TlsFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// A certificate with its key, which fit each other.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) key: CertifiedKey,
    /// From when and until when the certificate is valid.
    validity: (UnixTime, UnixTime),
    /// The certificate's `x5t#S256`, by which a reload is recognised and recorded.
    pub(crate) thumbprint: String,
}

impl TlsFiles {
    /// Reads both files.
    ///
    /// # Errors
    /// One cannot be read, is not PEM, or the key is not that of the certificate. The key file must be closed to others, as
    /// every secret.
    pub(crate) fn read(&self) -> Result<Identity> {
        let file = self.certificate.display();
        let text = bounded_read::read(&self.certificate, CERTIFICATES_LIMIT)?;
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&text)
            .collect::<Result<_, _>>()
            .map_err(|error| anyhow::anyhow!("{file} is no PEM file of certificates: {error}"))?;
        let Some(leaf) = chain.first().cloned() else { bail!("{file} holds no certificate in PEM") };
        let validity = certificate::validity(&leaf).with_context(|| format!("the first certificate of {file} cannot be read"))?;
        let text = keys::read_secret(&self.key)?;
        let file = self.key.display();
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes())
            .map_err(|error| anyhow::anyhow!("{file} holds no private key in PEM: {error}"))?;
        let key = CertifiedKey::from_der(chain, key, &default_provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                anyhow::anyhow!("{file} is not the key of the first certificate in {}", self.certificate.display())
            }
            error => anyhow::anyhow!("{file} cannot be used: {error}"),
        })?;
        Ok(Identity { key, validity, thumbprint: certificate::thumbprint(&leaf) })
    }
}

impl Identity {
    /// What is wrong with the certificate at a time, which keeps no server from starting.
    pub(crate) fn warning(&self, file: &Path, now: UnixTime) -> Option<String> {
        let (from, until) = self.validity;
        let file = file.display();
        if now < from {
            return Some(format!("the certificate in {file} is not valid before {}", from.utc()));
        }
        if now >= until {
            return Some(format!("the certificate in {file} has expired on {}", until.utc()));
        }
        (until.since(now) <= REMINDER).then(|| format!("the certificate in {file} expires on {}", until.utc()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use std::{fs, os::unix::fs::PermissionsExt as _};

    fn files(dir: &Path, certificate: &str, key: &str) -> TlsFiles {
        let files = TlsFiles { certificate: dir.join("tls.pem"), key: dir.join("tls.key") };
        fs::write(&files.certificate, certificate).unwrap();
        fs::write(&files.key, key).unwrap();
        fs::set_permissions(&files.key, fs::Permissions::from_mode(0o600)).unwrap();
        files
    }

    fn made(last_year: i32) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(last_year, 1, 1));
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn refused(files: &TlsFiles, why: &str) {
        let error = format!("{:#}", files.read().unwrap_err());
        assert!(error.contains(why), "{error}");
    }

    #[test]
    fn x_01_a_certificate_comes_with_its_own_key() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (made(2090), made(2090));
        assert!(files(dir.path(), &one.0, &one.1).read().is_ok());
        refused(&files(dir.path(), &one.0, &other.1), "is not the key of the first certificate");
        refused(&files(dir.path(), &one.1, &one.1), "holds no certificate");
        refused(&files(dir.path(), "", &one.1), "holds no certificate");
        refused(&files(dir.path(), &one.0, &one.0), "holds no private key");
        refused(
            &files(dir.path(), "-----BEGIN CERTIFICATE-----\nbm9uc2Vuc2U=\n-----END CERTIFICATE-----\n", &one.1),
            "cannot be read",
        );
        let missing = files(dir.path(), &one.0, &one.1);
        fs::remove_file(&missing.certificate).unwrap();
        refused(&missing, "tls.pem");
        let open = files(dir.path(), &one.0, &one.1);
        fs::set_permissions(&open.key, fs::Permissions::from_mode(0o644)).unwrap();
        refused(&open, "is open to everyone");
    }

    #[test]
    fn an_operator_hears_of_an_end_before_it_comes() {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = made(2026);
        let files = files(dir.path(), &certificate, &key);
        let identity = files.read().unwrap();
        let (from, until) = identity.validity;
        let said = |now: UnixTime| identity.warning(&files.certificate, now).unwrap_or_default();
        assert!(said(from.plus(-1)).contains("is not valid before 2020-01-01"), "{}", said(from.plus(-1)));
        assert_eq!(said(from), "");
        assert_eq!(said(until.plus(-REMINDER - 1)), "");
        assert!(said(until.plus(-REMINDER)).contains("expires on 2026-01-01"));
        assert!(said(until).contains("has expired on 2026-01-01"));
    }
}

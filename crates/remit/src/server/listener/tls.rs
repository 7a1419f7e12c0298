//! TLS of the listener: its certificate, which can be replaced while it serves, and the certificates of clients.
//!
//! Implements X-01 and the TLS part of RFC 8705 (§2, §3): a client proves that it holds the key of the certificate it shows, and
//! any certificate is taken, self-signed ones too. Whether one is trusted is decided for each agent, by what it is registered
//! with. It deliberately does not check names or paths here.

use arc_swap::ArcSwap;
use remit_token::{PeerCertificate, certificate::CHAIN_LIMIT};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, UnixTime},
    server::{
        ClientHello, NoServerSessionStorage, ResolvesServerCert,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};
use std::{io, sync::Arc};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// How connections are taken over TLS.
#[derive(Clone)]
pub(crate) struct Tls {
    acceptor: TlsAcceptor,
    certificate: Arc<Replaceable>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// The certificate in force.
#[derive(Debug)]
struct Replaceable(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Replaceable {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// The one cryptographic provider of this program.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

impl Tls {
    /// TLS 1.3 and 1.2 with this certificate; clients are asked for theirs when `ask` says so, and may go without.
    ///
    /// # Errors
    /// Only when the library cannot do what it was built for.
    pub(crate) fn new(certificate: CertifiedKey, ask: bool) -> Result<Self, Error> {
        let certificate = Arc::new(Replaceable(ArcSwap::from_pointee(certificate)));
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        let builder = if ask {
            builder.with_client_cert_verifier(Arc::new(AnyCertificate(provider())))
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder.with_cert_resolver(Arc::clone(&certificate) as Arc<dyn ResolvesServerCert>);
        if ask {
            // A certificate belongs to the connection on which it was proved: none is taken over from an earlier one.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), certificate })
    }

    /// Has later handshakes use another certificate. Connections that are open stay as they are.
    pub(crate) fn replace(&self, certificate: CertifiedKey) {
        self.certificate.0.store(Arc::new(certificate));
    }

    /// The handshake of one connection, and the certificate that the client proved.
    ///
    /// # Errors
    /// The handshake fails, or the client sent more certificates than are looked at.
    pub(super) async fn accept(&self, socket: TcpStream) -> io::Result<(TlsStream<TcpStream>, Option<PeerCertificate>)> {
        let stream = self.acceptor.accept(socket).await?;
        let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
        if shown.len() > CHAIN_LIMIT {
            return Err(io::Error::other(format!("the client sent more than {CHAIN_LIMIT} certificates")));
        }
        let certificate = shown.split_first().map(|(leaf, others)| {
            PeerCertificate::new(leaf.to_vec(), others.iter().map(|certificate| certificate.to_vec()).collect())
        });
        Ok((stream, certificate))
    }
}

/// Takes any client certificate whose key the client proves.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // INVARIANT: this is no statement of trust. What a certificate is worth is decided for each agent.
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

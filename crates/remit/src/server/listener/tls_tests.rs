//! The listener over TLS, on real sockets.

use super::{Tls, serve, tls::provider};
use axum::{Extension, Router, routing::get};
use rcgen::{CertificateParams, KeyPair};
use remit_model::bounds;
use remit_token::{PeerCertificate, certificate::CHAIN_LIMIT};
use rustls::{
    ClientConfig, RootCertStore, SignatureScheme,
    client::ResolvesClientCert,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
    sign::CertifiedKey,
};
use std::{io::Result, net::SocketAddr, sync::Arc};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// A self-signed certificate with its key.
struct Made {
    der: CertificateDer<'static>,
    key: KeyPair,
}

impl Made {
    fn of(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        Self { der: CertificateParams::new([name.to_owned()]).unwrap().self_signed(&key).unwrap().der().clone(), key }
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).unwrap()
    }

    fn certified(&self) -> CertifiedKey {
        CertifiedKey::from_der(vec![self.der.clone()], self.key(), &provider()).unwrap()
    }

    fn thumbprint(&self) -> String {
        PeerCertificate::new(self.der.to_vec(), Vec::new()).thumbprint().to_owned()
    }
}

struct Served {
    address: SocketAddr,
    tls: Tls,
    server: Made,
    _stop: watch::Sender<bool>,
}

async fn start(ask: bool) -> Served {
    let server = Made::of("localhost");
    let tls = Tls::new(server.certified(), ask).unwrap();
    let who = async |certificate: Option<Extension<PeerCertificate>>| {
        certificate.map_or_else(|| "nobody".to_owned(), |Extension(certificate)| certificate.thumbprint().to_owned())
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, (stop, stopped)) = (listener.local_addr().unwrap(), watch::channel(false));
    tokio::spawn(serve(listener, Some(tls.clone()), Router::new().route("/who", get(who)), stopped));
    Served { address, tls, server, _stop: stop }
}

/// What a client offers: protocols, and certificates that it shows with a key that may not be theirs.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesClientCert for Shows {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl Served {
    async fn connect(&self, trusted: &Made, protocol: &str, shows: Option<CertifiedKey>) -> Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.der.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let mut config = match shows {
            Some(shows) => builder.with_client_cert_resolver(Arc::new(Shows(Arc::new(shows)))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let socket = TcpStream::connect(self.address).await?;
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), socket).await
    }

    /// Whom the server sees, asked over HTTP/1.1.
    async fn who(&self, shows: Option<CertifiedKey>) -> Result<String> {
        asked(&mut self.connect(&self.server, "http/1.1", shows).await?, true).await
    }
}

async fn asked(stream: &mut TlsStream<TcpStream>, close: bool) -> Result<String> {
    let connection = if close { "close" } else { "keep-alive" };
    stream.write_all(format!("GET /who HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    let mut part = [0; 1024];
    // The name is the last of the answer.
    while !answer.contains("\r\n\r\n") {
        let count = stream.read(&mut part).await?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        answer.push_str(&String::from_utf8_lossy(&part[..count]));
    }
    Ok(answer.rsplit("\r\n").next().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn x_01_both_versions_of_http_are_served_over_tls() {
    let served = start(false).await;
    let stream = served.connect(&served.server, "h2", None).await.unwrap();
    assert_eq!(stream.get_ref().1.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut requests, connection) = hyper::client::conn::http2::handshake::<_, _, http_body_util::Empty<bytes::Bytes>>(
        hyper_util::rt::TokioExecutor::new(),
        io,
    )
    .await
    .unwrap();
    tokio::spawn(connection);
    let request = hyper::Request::get("https://localhost/who").body(http_body_util::Empty::new()).unwrap();
    assert_eq!(requests.send_request(request).await.unwrap().status(), 200);
    assert_eq!(served.who(None).await.unwrap(), "nobody");
}

#[tokio::test]
async fn rfc_8705_any_certificate_is_taken_whose_key_the_client_holds() {
    let (served, client) = (start(true).await, Made::of("client"));
    assert_eq!(served.who(Some(client.certified())).await.unwrap(), client.thumbprint(), "self-signed");
    assert_eq!(served.who(None).await.unwrap(), "nobody", "and none is needed");
}

#[tokio::test]
async fn rfc_8705_a_certificate_without_its_key_is_refused() {
    let (served, stolen, thief) = (start(true).await, Made::of("client"), Made::of("client"));
    let key = thief.certified().key;
    assert!(served.who(Some(CertifiedKey::new(vec![stolen.der.clone()], Arc::clone(&key)))).await.is_err());
    let nonsense = CertificateDer::from(b"nonsense".to_vec());
    assert!(served.who(Some(CertifiedKey::new(vec![nonsense], Arc::clone(&key)))).await.is_err());
    let long = vec![thief.der.clone(); CHAIN_LIMIT + 1];
    assert!(served.who(Some(CertifiedKey::new(long, key))).await.is_err(), "more certificates than are looked at");
    assert_eq!(served.who(Some(thief.certified())).await.unwrap(), thief.thumbprint());
}

#[tokio::test]
async fn a_server_that_does_not_ask_sees_no_certificate() {
    let (served, client) = (start(false).await, Made::of("client"));
    assert_eq!(served.who(Some(client.certified())).await.unwrap(), "nobody");
}

#[tokio::test]
async fn x_01_plain_http_is_not_answered_where_tls_is_served() {
    let served = start(false).await;
    let mut socket = TcpStream::connect(served.address).await.unwrap();
    socket.write_all(b"GET /who HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(bounds::HANDSHAKE_TIME.time(), socket.read_to_end(&mut answer)).await.expect("still open");
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP"), "{answer:?}");
}

#[tokio::test]
async fn handshakes_that_do_not_come_keep_no_one_out_and_are_cut() {
    let served = start(true).await;
    let mut silent = Vec::new();
    for at in 0..1_100 {
        let mut socket = TcpStream::connect(served.address).await.unwrap();
        // Nothing, or the beginning of a ClientHello.
        socket.write_all(if at % 2 == 0 { b"" } else { b"\x16\x03\x01\x02\x00\x01" }).await.unwrap();
        silent.push(socket);
    }
    assert_eq!(served.who(None).await.unwrap(), "nobody");
    for mut socket in [silent.swap_remove(0), silent.pop().unwrap()] {
        let mut answer = Vec::new();
        let _ = timeout(bounds::HANDSHAKE_TIME.time() * 2, socket.read_to_end(&mut answer)).await.expect("still open");
    }
    assert_eq!(served.who(None).await.unwrap(), "nobody");
}

#[tokio::test]
async fn a_renewed_certificate_is_used_without_a_restart() {
    let (served, renewed) = (start(false).await, Made::of("localhost"));
    let mut before = served.connect(&served.server, "http/1.1", None).await.unwrap();
    assert_eq!(asked(&mut before, false).await.unwrap(), "nobody");
    served.tls.replace(renewed.certified());
    assert!(served.connect(&served.server, "http/1.1", None).await.is_err(), "the old one is not shown any more");
    let mut after = served.connect(&renewed, "http/1.1", None).await.unwrap();
    assert_eq!(asked(&mut after, true).await.unwrap(), "nobody");
    assert_eq!(asked(&mut before, true).await.unwrap(), "nobody", "what was open stays open");
}

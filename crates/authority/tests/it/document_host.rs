//! A host of client metadata documents: real TLS, and answers that tests change.

use remit_outbound::{Outbound, Rules};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use serde_json::Value;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

const AUTHORITY: &[u8] = include_bytes!("tls/ca.pem");
const CERTIFICATE: &[u8] = include_bytes!("tls/cert.pem");
const KEY: &[u8] = include_bytes!("tls/key.pem");

type Answers = Arc<Mutex<HashMap<String, String>>>;

/// The host, which answers 404 until it is told otherwise.
pub(crate) struct DocumentHost {
    at: String,
    answers: Answers,
    asked: Arc<AtomicUsize>,
}

impl DocumentHost {
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = format!("localhost:{}", listener.local_addr().unwrap().port());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let chain = vec![CertificateDer::from_pem_slice(CERTIFICATE).unwrap()];
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::from_pem_slice(KEY).unwrap())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let (answers, asked) = (Answers::default(), Arc::new(AtomicUsize::new(0)));
        let (known, counted) = (Arc::clone(&answers), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, known, counted) = (acceptor.clone(), Arc::clone(&known), Arc::clone(&counted));
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut head = vec![0; 4_096];
                    let read = stream.read(&mut head).await.unwrap_or(0);
                    let head = String::from_utf8_lossy(&head[..read]).into_owned();
                    let path = head.split(' ').nth(1).unwrap_or_default();
                    counted.fetch_add(1, Ordering::SeqCst);
                    let answer = known.lock().unwrap().get(path).cloned().unwrap_or_else(|| reply("404 Not Found", "{}"));
                    stream.write_all(answer.as_bytes()).await.ok();
                    stream.shutdown().await.ok();
                });
            }
        });
        Self { at, answers, asked }
    }

    /// How a server fetches that may reach this host.
    pub(crate) fn outbound(&self) -> Outbound {
        Outbound::new(Rules { allow: vec![self.at.clone()], trusted: AUTHORITY.to_vec() }).unwrap()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.at)
    }

    pub(crate) fn serve(&self, path: &str, document: &Value) {
        self.answer(path, &reply("200 OK", &document.to_string()));
    }

    pub(crate) fn answer(&self, path: &str, answer: &str) {
        self.answers.lock().unwrap().insert(path.to_owned(), answer.to_owned());
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

pub(crate) fn reply(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

//! A proxy between a client and the server that loses answers, and counts what it sees.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// Passes on bytes both ways.
#[derive(Clone)]
pub(crate) struct Proxy {
    seen: Arc<Mutex<Vec<u8>>>,
    /// The answer to the next request that contains this text is lost.
    lose: Arc<Mutex<Option<String>>>,
}

impl Proxy {
    /// Listens on one port and passes everything to the other.
    pub(crate) fn start(from: u16, to: u16) -> Self {
        let proxy = Self { seen: Arc::default(), lose: Arc::default() };
        let listener = TcpListener::bind(("127.0.0.1", from)).unwrap();
        let all = proxy.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // While the server restarts it passes on nothing.
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else { continue };
                all.clone().pass(client, server);
            }
        });
        proxy
    }

    pub(crate) fn lose_answer_to(&self, text: &str) {
        *self.lose.lock().unwrap() = Some(text.to_owned());
    }

    /// Whether an answer still has to be lost.
    pub(crate) fn still_to_lose(&self) -> bool {
        self.lose.lock().unwrap().is_some()
    }

    /// How often clients sent this text.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.seen.lock().unwrap().windows(text.len()).filter(|window| *window == text.as_bytes()).count()
    }

    fn pass(self, client: TcpStream, server: TcpStream) {
        let lost = Arc::new(AtomicBool::new(false));
        let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let losing = Arc::clone(&lost);
        thread::spawn(move || {
            let mut request = Vec::new();
            while let Some(bytes) = some(&mut from) {
                self.seen.lock().unwrap().extend(&bytes);
                let mut lose = self.lose.lock().unwrap();
                // What this connection sent before an answer was to be lost is another request.
                if lose.is_none() {
                    request.clear();
                }
                request.extend(&bytes);
                if lose.as_ref().is_some_and(|text| String::from_utf8_lossy(&request).contains(text)) {
                    *lose = None;
                    losing.store(true, Ordering::SeqCst);
                }
                drop(lose);
                if to.write_all(&bytes).is_err() {
                    break;
                }
            }
            let _ = to.shutdown(Shutdown::Write);
        });
        let (mut from, mut to) = (server, client);
        thread::spawn(move || {
            while let Some(bytes) = some(&mut from) {
                // The server has answered, and so has done what it was asked.
                if lost.load(Ordering::SeqCst) || to.write_all(&bytes).is_err() {
                    break;
                }
            }
            let _ = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
        });
    }
}

fn some(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 16 << 10];
    let read = stream.read(&mut bytes).ok().filter(|read| *read > 0)?;
    bytes.truncate(read);
    Some(bytes)
}

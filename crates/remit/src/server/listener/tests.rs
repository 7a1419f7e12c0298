//! The listener against clients that mean harm, on real sockets.

use super::serve;
use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    http::StatusCode,
    routing::{get, post},
};
use remit_model::bounds;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{Instant, timeout},
};

struct Served {
    address: std::net::SocketAddr,
    stop: watch::Sender<bool>,
    serving: tokio::task::JoinHandle<()>,
}

async fn start() -> Served {
    let router = Router::new()
        .route("/healthz", get(async || "ok"))
        .route(
            "/read",
            post(async |body: Body| match to_bytes(body, 1 << 20).await {
                Ok(bytes) => (StatusCode::OK, bytes.len().to_string()),
                Err(error) => (StatusCode::BAD_REQUEST, bounds::body_refusal(&error, 1 << 20).reason),
            }),
        )
        .route("/refuse", post(async || StatusCode::UNAUTHORIZED))
        .route("/large", get(async || Bytes::from(vec![b'x'; 64 << 20])));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, (stop, stopped)) = (listener.local_addr().unwrap(), watch::channel(false));
    Served { address, stop, serving: tokio::spawn(serve(listener, None, router, stopped)) }
}

impl Served {
    async fn connect(&self, first: &str) -> TcpStream {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        socket.write_all(first.as_bytes()).await.unwrap();
        socket
    }

    async fn healthy(&self) {
        let began = Instant::now();
        let mut socket = self.connect("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        let mut answer = String::new();
        timeout(Duration::from_secs(5), socket.read_to_string(&mut answer)).await.expect("no answer").unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?} after {:?}", began.elapsed());
    }
}

/// What came until the peer closed, and how long that took.
async fn until_closed(mut socket: TcpStream, most: Duration) -> (String, Duration) {
    let (began, mut all) = (Instant::now(), Vec::new());
    let read = timeout(most, socket.read_to_end(&mut all)).await;
    assert!(read.is_ok(), "still open after {most:?}, read {:?}", String::from_utf8_lossy(&all));
    (String::from_utf8_lossy(&all).into_owned(), began.elapsed())
}

#[tokio::test]
async fn a_stop_waits_for_no_one_who_does_nothing() {
    let served = start().await;
    let (idle, half) = (served.connect("").await, served.connect("GET / HT").await);
    served.healthy().await;
    served.stop.send(true).unwrap();
    timeout(bounds::DRAIN_TIME.time() / 2, served.serving).await.unwrap().unwrap();
    drop((idle, half));
}

#[tokio::test]
async fn health_answers_while_a_thousand_bodies_do_not_come_and_their_connections_are_cut() {
    let served = start().await;
    let mut slow = Vec::new();
    for at in 0..1_100 {
        slow.push(served.connect("POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\nx").await);
        if at % 100 == 0 {
            served.healthy().await;
        }
    }
    let (first, last) = (slow.swap_remove(0), slow.pop().unwrap());
    served.healthy().await;
    let most = bounds::BODY_WINDOW.time() * 2;
    for socket in [first, last] {
        let (answer, _) = until_closed(socket, most).await;
        // The oldest may have had to make room where descriptors are few.
        assert!(answer.is_empty() || answer.contains("slower than 1 KiB in 10 s"), "{answer}");
    }
    served.healthy().await;
}

#[tokio::test]
async fn a_body_in_drips_has_its_time_and_no_more() {
    let served = start().await;
    let mut socket = served.connect("POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n").await;
    let began = Instant::now();
    // Enough for the least progress, too little for the time.
    while socket.write_all(&[b'x'; 1 << 10]).await.is_ok() && began.elapsed() < bounds::BODY_TIME.time() * 2 {
        let mut answer = [0; 512];
        match timeout(Duration::from_secs(1), socket.read(&mut answer)).await {
            Ok(Ok(count)) if count > 0 => {
                let answer = String::from_utf8_lossy(&answer[..count]).into_owned();
                assert!(answer.contains("the body did not come within 30 s"), "{answer}");
                assert!(began.elapsed() >= bounds::BODY_TIME.time());
                return;
            }
            _ => {}
        }
    }
    panic!("the body was waited for longer than {}", bounds::BODY_TIME);
}

/// Python's clients send the body in a packet of its own, which comes after the head was refused.
#[tokio::test]
async fn a_refusal_by_the_head_leaves_a_connection_that_can_be_used_again() {
    let served = start().await;
    let mut socket = served.connect("POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n").await;
    served.healthy().await;
    socket.write_all(b"later").await.unwrap();
    let mut answer = [0; 1024];
    let count = socket.read(&mut answer).await.unwrap();
    let refused = String::from_utf8_lossy(&answer[..count]).into_owned();
    assert!(refused.starts_with("HTTP/1.1 401") && !refused.to_lowercase().contains("connection: close"), "{refused}");
    socket.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let (answer, _) = until_closed(socket, Duration::from_secs(5)).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
}

#[tokio::test]
async fn a_refusal_by_the_head_says_that_it_does_not_wait_for_the_body() {
    let served = start().await;
    let large = format!("POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n{}", "x".repeat(100_000));
    let silent = "POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n".to_owned();
    let expecting = "POST /refuse HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n".to_owned();
    for first in [large, silent, expecting] {
        let mut socket = served.connect(&first).await;
        let mut answer = [0; 1024];
        let count = timeout(bounds::UNREAD_TIME.time() * 5, socket.read(&mut answer)).await.unwrap().unwrap();
        let refused = String::from_utf8_lossy(&answer[..count]).to_lowercase();
        assert!(refused.starts_with("http/1.1 401") && refused.contains("connection: close"), "{refused}");
    }
}

#[tokio::test]
async fn slow_heads_and_silent_connections_are_cut() {
    let served = start().await;
    let first = ["", "GET /healthz HTTP/1.1\r\nHost: x", "PRI * HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n"];
    let mut waiting = Vec::new();
    for first in first {
        waiting.push(served.connect(first).await);
    }
    for socket in waiting {
        until_closed(socket, bounds::HEAD_TIME.time() * 2).await;
    }
    // A second head on a connection that was answered once.
    let mut socket = served.connect("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut answer = [0; 1024];
    assert!(socket.read(&mut answer).await.unwrap() > 0);
    socket.write_all(b"GET /").await.unwrap();
    until_closed(socket, bounds::HEAD_TIME.time() * 2).await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut() {
    let served = start().await;
    let socket = served.connect("GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await;
    served.healthy().await;
    // Its end is seen without reading: an error is pending once the server has closed.
    let closed = async {
        loop {
            if socket.writable().await.is_err() || socket.try_write(b"x").is_err() {
                return;
            }
            // PAUSE: between two looks.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    timeout(bounds::SEND_TIME.time() * 2, closed).await.expect("still open");
}

#[tokio::test]
async fn an_http2_client_that_opens_no_window_is_cut() {
    let served = start().await;
    let socket = TcpStream::connect(served.address).await.unwrap();
    let (mut requests, connection) = hyper::client::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new())
        .initial_stream_window_size(1 << 10)
        .handshake(hyper_util::rt::TokioIo::new(socket))
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let request = hyper::Request::get("http://x/large").body(http_body_util::Empty::<Bytes>::new()).unwrap();
    let unread = requests.send_request(request).await.unwrap();
    served.healthy().await;
    assert!(timeout(bounds::SEND_TIME.time() * 2, connection).await.is_ok(), "still open");
    drop(unread);
}

#[tokio::test]
async fn an_http2_connection_without_streams_is_cut_though_it_answers_pings() {
    let served = start().await;
    let socket = TcpStream::connect(served.address).await.unwrap();
    let (request, connection) = hyper::client::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new())
        .timer(hyper_util::rt::TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(1))
        .keep_alive_while_idle(true)
        .handshake::<_, http_body_util::Empty<Bytes>>(hyper_util::rt::TokioIo::new(socket))
        .await
        .unwrap();
    let began = Instant::now();
    let ended = timeout(bounds::IDLE_TIME.time() * 2, connection).await;
    assert!(ended.is_ok(), "still open");
    assert!(began.elapsed() >= bounds::IDLE_TIME.time());
    drop(request);
}

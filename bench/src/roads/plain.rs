//! A bare HTTP/1.1 server on one thread: what the upstream, the proxy and the floor programs stand on.

use super::machine;
use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    client::conn::http1::SendRequest,
    header::{CONTENT_TYPE, HeaderMap},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use std::{cell::RefCell, io::Write as _, rc::Rc};
use tokio::{
    net::{TcpListener, TcpStream},
    task::LocalSet,
};

pub(crate) type Body = UnsyncBoxBody<Bytes, hyper::Error>;
pub(crate) type Answer = Response<Body>;

/// Listens until the process ends; every connection gets a handler of its own from `handler`.
pub(crate) fn serve<H, F>(port: u16, handler: impl Fn() -> H) -> Result<()>
where
    H: Fn(Request<Incoming>) -> F + 'static,
    F: Future<Output = Result<Answer>> + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async move {
        let listener = TcpListener::bind(machine::local(port)).await.with_context(|| format!("port {port} is taken"))?;
        let mut out = std::io::stdout();
        writeln!(out, "ready")?;
        out.flush()?;
        loop {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            let handler = Rc::new(handler());
            tokio::task::spawn_local(async move {
                let service = service_fn(move |request| {
                    let handler = Rc::clone(&handler);
                    async move { handler(request).await.or_else(|fault| Ok::<_, hyper::Error>(failed(&fault))) }
                });
                let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
            });
        }
    })
}

fn failed(fault: &anyhow::Error) -> Answer {
    eprintln!("{fault:#}");
    json(StatusCode::INTERNAL_SERVER_ERROR, fault.to_string())
}

pub(crate) fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

pub(crate) fn json(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(whole(text));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
    answer
}

/// One connection to an upstream, opened with the first request.
#[derive(Debug, Default)]
pub(crate) struct Upstream(RefCell<Option<SendRequest<Full<Bytes>>>>);

impl Upstream {
    /// Posts a body with the headers that MCP wants, and hands back the answer unread.
    pub(crate) async fn post(&self, port: u16, headers: &HeaderMap, body: Bytes) -> Result<Response<Incoming>> {
        let mut request = Request::post("/mcp").header("host", format!("127.0.0.1:{port}")).body(Full::new(body))?;
        for name in ["content-type", "accept", "mcp-protocol-version", "mcp-method", "mcp-name"] {
            if let Some(value) = headers.get(name) {
                request.headers_mut().insert(name, value.clone());
            }
        }
        let open = self.0.borrow_mut().take();
        let mut sender = match open {
            Some(sender) => sender,
            None => dial(port).await?,
        };
        sender.ready().await?;
        let answer = sender.send_request(request).await?;
        *self.0.borrow_mut() = Some(sender);
        Ok(answer)
    }
}

async fn dial(port: u16) -> Result<SendRequest<Full<Bytes>>> {
    let socket = TcpStream::connect(machine::local(port)).await.with_context(|| format!("no upstream on {port}"))?;
    socket.set_nodelay(true)?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
    tokio::task::spawn_local(connection);
    Ok(sender)
}

/// The plain reverse proxy: everything goes on as it came, and back as it comes.
pub(crate) fn proxy(port: u16, upstream: u16) -> Result<()> {
    serve(port, || {
        let link = Rc::new(Upstream::default());
        move |request: Request<Incoming>| {
            let link = Rc::clone(&link);
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await?.to_bytes();
                Ok(link.post(upstream, &head.headers, body).await?.map(http_body_util::BodyExt::boxed_unsync))
            }
        }
    })
}

/// Answers everything with the same few bytes: what the load generator itself can do at most.
pub(crate) fn echo(port: u16) -> Result<()> {
    serve(port, || {
        |request: Request<Incoming>| async move {
            request.into_body().collect().await?;
            Ok(json(StatusCode::OK, r#"{"result":{}}"#))
        }
    })
}

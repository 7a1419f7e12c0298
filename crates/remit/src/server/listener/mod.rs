//! The listener: accepts connections, bounds what each may hold and wait for, and drains them at a stop.
//!
//! Every number comes from `remit_model::bounds`. It knows nothing of what is served, except that health and the admin API
//! answer when nothing else does.

mod address;
mod bodies;
mod connection;
mod registry;
mod service;
mod socket;
mod ticket;
mod tls;

use axum::Router;
use connection::{Connection, Cut};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use registry::Registry;
use remit_model::bounds;
use service::Service;
use socket::Socket;
use std::{future::poll_fn, pin::pin, sync::Arc, time::Duration};
pub(crate) use tls::Tls;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};

/// How long a client may take to read that its connection ends.
const GOODBYE: Duration = Duration::from_secs(1);

/// Accepts connections until told to stop, then waits for the requests under way, for a bounded time. Without `tls` it speaks
/// plain HTTP.
pub(crate) async fn serve(listener: TcpListener, tls: Option<Tls>, router: Router, mut stopped: watch::Receiver<bool>) {
    let (registry, builder) = (Arc::new(Registry::new(connections())), Arc::new(builder()));
    let mut tasks = JoinSet::new();
    while !*stopped.borrow() {
        tokio::select! {
            _ = stopped.changed() => {}
            Some(_) = tasks.join_next() => {}
            (room, accepted) = async { (registry.room().await, listener.accept().await) } => match accepted {
                Ok((socket, peer)) => {
                    let _ = socket.set_nodelay(true);
                    let (connection, lane) = registry.admit(peer.ip());
                    let service = Service::new(router.clone(), peer, lane, Arc::clone(&connection), Arc::clone(&registry));
                    let (registry, builder, stopped) = (Arc::clone(&registry), Arc::clone(&builder), stopped.clone());
                    let tls = tls.clone();
                    tasks.spawn(async move {
                        match tls {
                            None => run(&builder, socket, service, &connection, stopped).await,
                            Some(tls) => over_tls(&tls, &builder, socket, service, &connection, stopped).await,
                        }
                        registry.ended(&connection);
                        drop(room);
                    });
                }
                Err(error) => {
                    // Out of file descriptors, most likely: waiting lets some close.
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    drop(listener);
    let drained = timeout(bounds::DRAIN_TIME.time(), async { while tasks.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::warn!(connections = tasks.len(), "requests were still under way and were cut");
    }
}

/// How many connections there may be: as many as the process may have descriptors for, with some kept for other things.
fn connections() -> usize {
    let most = bounds::CONNECTIONS.size();
    let Some(descriptors) = raised_descriptors() else { return most };
    usize::try_from(descriptors.saturating_mul(bounds::DESCRIPTORS.value()) / 100)
        .unwrap_or(most)
        .saturating_sub(bounds::SPARE.size())
        .clamp(1, most)
}

/// Asks for as many file descriptors as the operator allows; how many there are. `None` when there is no limit.
fn raised_descriptors() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current != limit.maximum && setrlimit(Resource::Nofile, wanted).is_ok() {
        return limit.maximum;
    }
    limit.current
}

fn builder() -> Builder<TokioExecutor> {
    let head = bounds::HEAD_BYTES.size();
    let mut builder = Builder::new(TokioExecutor::new());
    // The time of a head is bounded by `connection`, which knows of idle connections, too.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(head);
    let streams = u32::try_from(bounds::STREAMS.value()).unwrap_or(u32::MAX);
    builder.http2().timer(TokioTimer::new()).max_header_list_size(u32::try_from(head).unwrap_or(u32::MAX));
    builder.http2().max_concurrent_streams(streams).max_send_buf_size(head);
    // A client that went away without a word holds its connection no longer than this.
    builder.http2().keep_alive_interval(bounds::SEND_TIME.time()).keep_alive_timeout(bounds::HEAD_TIME.time());
    builder
}

/// Serves one connection over TLS. Until its handshake is done it has made no request, so it is the first to make room.
async fn over_tls(
    tls: &Tls,
    builder: &Builder<TokioExecutor>,
    socket: TcpStream,
    service: Service,
    connection: &Arc<Connection>,
    mut stopped: watch::Receiver<bool>,
) {
    let accepted = tokio::select! {
        accepted = timeout(bounds::HANDSHAKE_TIME.time(), tls.accept(socket)) => accepted,
        () = connection.must_go() => return,
        _ = stopped.wait_for(|stop| *stop) => return,
    };
    match accepted {
        Ok(Ok((stream, certificate))) => run(builder, stream, service.of(certificate), connection, stopped).await,
        Ok(Err(error)) => tracing::debug!(%error, address = %connection.address, "a TLS handshake failed"),
        Err(_) => tracing::debug!(bound = bounds::HANDSHAKE_TIME.name, address = %connection.address, "a connection was closed"),
    }
}

/// Serves one connection until it ends, breaks a bound or has to make room.
async fn run<S: AsyncRead + AsyncWrite + Unpin + 'static>(
    builder: &Builder<TokioExecutor>,
    socket: S,
    service: Service,
    connection: &Arc<Connection>,
    mut stopped: watch::Receiver<bool>,
) {
    let io = TokioIo::new(Socket::new(socket, Arc::clone(connection)));
    let mut serving = pin!(builder.serve_connection(io, service));
    let mut draining = *stopped.borrow_and_update();
    if draining {
        serving.as_mut().graceful_shutdown();
    }
    let mut look = pin!(sleep_until(Instant::now()));
    let cut = loop {
        tokio::select! {
            ended = serving.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended badly");
                }
                return;
            }
            () = connection.must_go() => break Cut::Shed,
            _ = stopped.changed(), if !draining => {
                draining = true;
                serving.as_mut().graceful_shutdown();
                look.as_mut().reset(Instant::now() + GOODBYE);
            }
            () = look.as_mut() => match connection.look(Instant::now()) {
                // A stop waits for our work, not for the client's.
                Ok(_) if draining && connection.spare().is_some() => break Cut::Stop,
                Ok(next) if draining => look.as_mut().reset(next.min(Instant::now() + GOODBYE)),
                Ok(next) => look.as_mut().reset(next),
                Err(cut) => break cut,
            },
        }
    };
    tracing::debug!(bound = cut.bound().name, address = %connection.address, "a connection was closed");
    if cut == Cut::Idle {
        serving.as_mut().graceful_shutdown();
        let _ = timeout(GOODBYE, poll_fn(|context| serving.as_mut().poll(context))).await;
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_tests;

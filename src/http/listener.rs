//! Connections: accepted, bounded in time, ended in order.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::http::linger::Lingering;
use crate::http::tls::Tls;

/// How long a client may take over the header of a request, and how long until it begins its first one.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to leave the listener alone when it cannot accept, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How connections are served.
#[derive(Clone)]
pub struct Terms {
    /// So many at a time.
    pub most: usize,
    /// `None` speaks HTTP in the clear.
    pub tls: Option<Arc<Tls>>,
}

/// Serves until `stop`, then takes no more connections and returns once every one has had its answer.
///
/// Dropping the future cuts off what is still open, with the requests on it.
pub async fn serve(listener: TcpListener, router: Router, terms: Terms, stop: CancellationToken) {
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept(), if connections.len() < terms.most => accepted,
            Some(_) = connections.join_next() => continue,
            () = stop.cancelled() => break,
        };
        match stream {
            Ok((stream, _)) => {
                let (tls, stop) = (terms.tls.clone(), stop.clone());
                let watcher = graceful.watcher();
                connections.spawn(connection(stream, router.clone(), tls, watcher, stop))
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
    }
    drop(listener);
    graceful.shutdown().await;
    while connections.join_next().await.is_some() {}
}

/// Serves a connection from its first byte to its end.
async fn connection(
    stream: TcpStream,
    router: Router,
    tls: Option<Arc<Tls>>,
    watcher: Watcher,
    stop: CancellationToken,
) {
    // Without it, small answers wait up to 40 ms for the client's delayed acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let Some(tls) = tls else { return requests(stream, router, watcher).await };
    match stop.run_until_cancelled(tls.accept(stream)).await {
        Some(Ok(stream)) => requests(stream, router, watcher).await,
        Some(Err(error)) => tracing::debug!(%error, "a handshake failed"),
        None => {}
    }
}

/// Answers a connection's requests until its end, or until its current answer once `watcher` is told to
/// shut down.
async fn requests<S>(stream: S, router: Router, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let begun = Arc::new(AtomicBool::new(false));
    let begins = Arc::clone(&begun);
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        begins.store(true, Ordering::Relaxed);
        let answer = router.clone().oneshot(request.map(Lingering::new));
        async move { Ok::<_, Infallible>(answer.await.unwrap_or_else(|never| match never {})) }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    // A client that is gone, or only pretends to be there, does not answer.
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(HEADER_TIMEOUT);
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    let mut watched = pin!(watcher.watch(connection));
    let ended = tokio::select! {
        ended = &mut watched => ended,
        () = tokio::time::sleep(HEADER_TIMEOUT) => {
            if !begun.load(Ordering::Relaxed) {
                // The header's timeout begins once it is clear which version of HTTP this is.
                return;
            }
            watched.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

//! Connections: how many, how slow they may be, and how they end.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::front::{Front, TurnedAway};
use super::limits::Limits;
use super::stall::Impatient;

/// How long nothing is accepted after an accept failed (mostly: no file descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown` is done and the connections have ended or their grace is over.
///
/// From then on nothing is accepted, answers under way are finished, and idle connections are closed. Waiters
/// are told by the engine, which is asked to stop at the same time.
pub async fn serve(listener: TcpListener, front: Front, shutdown: impl Future<Output = ()>) {
    let limits = *front.limits();
    let room = Arc::new(Semaphore::new(limits.max_connections as usize));
    let beyond = Arc::new(Semaphore::new(limits.max_turned_away));
    let (closing, cut) = (CancellationToken::new(), CancellationToken::new());
    let mut shutdown = std::pin::pin!(shutdown);
    let mut is_full = false;
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (place, welcome) = if let Ok(place) = Arc::clone(&room).try_acquire_owned() {
            (place, Welcome::Served)
        } else {
            if !is_full {
                tracing::warn!(
                    limit = limits.max_connections,
                    "connections beyond the limit are turned away"
                );
            }
            is_full = true;
            let Ok(place) = Arc::clone(&beyond).try_acquire_owned() else { continue };
            (place, Welcome::TurnedAway)
        };
        is_full &= welcome == Welcome::TurnedAway;
        prepare(&stream, &limits);
        let conversation = converse(stream, front.clone(), limits, welcome, closing.clone());
        let cut = cut.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = conversation => {}
                () = cut.cancelled() => tracing::debug!("a connection was cut at shutdown"),
            }
            drop(place);
        });
    }
    drop(listener);
    closing.cancel();
    let all_ended = room.acquire_many(limits.max_connections);
    if tokio::time::timeout(limits.shutdown_grace, all_ended).await.is_err() {
        cut.cancel();
    }
}

/// What the kernel does for a connection.
fn prepare(stream: &TcpStream, limits: &Limits) {
    // Answers are small and each is a whole message: nothing is won by waiting for more.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps Nagle's algorithm");
    }
    // A client that is gone without a word would be sent to for a quarter of an hour.
    let patience = u32::try_from(limits.stall_timeout.as_millis()).unwrap_or(u32::MAX);
    if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(stream, patience) {
        tracing::debug!(%error, "a connection keeps the kernel's patience");
    }
}

/// What a connection is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Welcome {
    /// Answers to all its requests.
    Served,
    /// One answer: mostly, to come later.
    TurnedAway,
}

/// Answers the requests of one connection until it ends.
pub(super) async fn converse<S>(
    stream: S,
    front: Front,
    limits: Limits,
    welcome: Welcome,
    closing: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let served = welcome == Welcome::Served;
    let stream = Impatient::new(stream, limits.stall_timeout);
    let stalled = stream.stalled();
    let service = service_fn(move |mut request: Request<Incoming>| {
        let front = front.clone();
        request.extensions_mut().insert(stalled.clone());
        if !served {
            request.extensions_mut().insert(TurnedAway);
        }
        async move { Ok::<_, Infallible>(front.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(served)
        .header_read_timeout(if served { limits.head_timeout } else { limits.turned_away_timeout })
        .max_buf_size(limits.max_head_bytes)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

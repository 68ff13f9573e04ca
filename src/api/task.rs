//! The accept loop and its connections: the one file of this room that starts tasks.
//!
//! What a client can hold, and for how long:
//!
//! | bound | value | at the bound |
//! |---|---|---|
//! | connections of one listener | [`CONNECTIONS_MAX`] | the oldest that never sent a request we accept gives way; if there is none, the new one gets 503 |
//! | request head, and idle between requests | [`HEAD_PATIENCE`] | closed |
//! | request body | [`BODY_PATIENCE`] | 408 |
//! | a response nobody reads | [`WRITE_PATIENCE`] | closed |
//! | requests in flight after shutdown was asked for | [`GRACE`] | closed |
//!
//! Each listener has a table of its own: a flood on TCP cannot lock out the Unix socket.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Sleep;
use tracing::{debug, warn};

use super::listen::{Listener, Socket};
use super::routes::{self, Context};
use crate::acm::switch::InspectableSwitch;

/// Connections of one listener.
pub const CONNECTIONS_MAX: usize = 256;
/// How long a request's head may take, and how long a connection may be idle.
pub const HEAD_PATIENCE: Duration = Duration::from_secs(5);
/// How long a request's body may take.
pub const BODY_PATIENCE: Duration = Duration::from_secs(10);
/// How long a client may take no byte of a response.
pub const WRITE_PATIENCE: Duration = Duration::from_secs(20);
/// How long requests in flight may go on after shutdown was asked for.
pub const GRACE: Duration = Duration::from_secs(3);

/// Said to a client that finds every place taken; written without waiting.
const NO_PLACE: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// Serves a switch on these listeners until `shutdown` resolves; then ends the streams, finishes requests in flight
/// and returns. Works on any Tokio runtime with I/O and time; a current-thread one is enough.
pub async fn serve(switch: Arc<dyn InspectableSwitch>, listeners: Vec<Listener>, shutdown: impl Future<Output = ()>) {
    let (stop, stopping) = watch::channel(false);
    let mut loops = JoinSet::new();
    for Listener { socket, tokens } in listeners {
        let context = Arc::new(Context { switch: Arc::clone(&switch), tokens, stopping: stopping.clone() });
        loops.spawn(accept_loop(socket, context));
    }
    shutdown.await;
    stop.send_replace(true);
    while loops.join_next().await.is_some() {}
}

/// A place in a listener's table.
struct Place {
    id: tokio::task::Id,
    shown: Arc<Standing>,
}

/// What a connection has shown of itself.
#[derive(Default)]
struct Standing {
    /// It has sent a request that we accept.
    accepted: AtomicBool,
    /// It shall give way.
    yields: Notify,
}

async fn accept_loop(mut socket: Socket, context: Arc<Context>) {
    let mut connections: JoinSet<()> = JoinSet::new();
    let mut places: VecDeque<Place> = VecDeque::new();
    let mut stopping = context.stopping.clone();
    loop {
        let stream = tokio::select! {
            stream = socket.accept() => stream,
            Some(ended) = connections.join_next_with_id(), if !connections.is_empty() => {
                let id = match ended {
                    Ok((id, ())) => id,
                    Err(failure) => {
                        warn!(%failure, "a connection of the API ended abnormally");
                        failure.id()
                    }
                };
                places.retain(|place| place.id != id);
                continue;
            }
            _ = stopping.wait_for(|stopping| *stopping) => break,
        };
        match stream {
            Ok(stream) if places.len() < CONNECTIONS_MAX || make_room(&mut places) => {
                let shown = Arc::new(Standing::default());
                let task = connections.spawn(converse(stream, Arc::clone(&context), Arc::clone(&shown)));
                places.push_back(Place { id: task.id(), shown });
            }
            Ok(stream) => stream.refuse(),
            Err(failure) => {
                // Out of descriptors, or the peer was gone already: go on, but not in a busy loop.
                debug!(%failure, "accept");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    drop(socket);
    let finished = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, finished).await.is_err() {
        debug!("requests were still in flight and are cut");
    }
    connections.shutdown().await;
}

/// Sends the oldest connection away that has shown nothing yet. False if every one has.
fn make_room(places: &mut VecDeque<Place>) -> bool {
    let newcomer = places.iter().position(|place| !place.shown.accepted.load(Ordering::Relaxed));
    match newcomer.and_then(|at| places.remove(at)) {
        Some(place) => {
            place.shown.yields.notify_one();
            true
        }
        None => false,
    }
}

async fn converse(stream: Stream, context: Arc<Context>, shown: Arc<Standing>) {
    let service = {
        let (context, shown) = (Arc::clone(&context), Arc::clone(&shown));
        service_fn(move |request| {
            let (context, shown) = (Arc::clone(&context), Arc::clone(&shown));
            async move { Ok::<_, Infallible>(routes::answer(&context, &shown.accepted, request).await) }
        })
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(64 * 1024)
        .half_close(false)
        .serve_connection(TokioIo::new(Patient::new(stream)), service);
    let mut connection = pin!(connection);
    let mut stopping = context.stopping.clone();
    let stop = tokio::select! {
        ended = connection.as_mut() => return log_end(ended),
        () = shown.yields.notified() => return,
        stop = stopping.wait_for(|stopping| *stopping) => stop.is_ok(),
    };
    debug!(stop, "finishing a connection");
    connection.as_mut().graceful_shutdown();
    log_end(connection.await);
}

fn log_end(ended: hyper::Result<()>) {
    if let Err(failure) = ended {
        // The peer's doing: slow, gone or not speaking HTTP.
        debug!(%failure, "a connection of the API ended");
    }
}

/// An accepted connection of either kind.
enum Stream {
    Unix(tokio::net::UnixStream),
    Tcp(tokio::net::TcpStream),
}

impl Socket {
    async fn accept(&mut self) -> io::Result<Stream> {
        match self {
            Socket::Unix(listener, _) => Ok(Stream::Unix(listener.accept().await?.0)),
            Socket::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Answers are small and awaited; waiting to fill a segment would cost 40 ms.
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
        }
    }
}

impl Stream {
    /// Says that there is no place, as far as the socket's buffer takes it, and hangs up.
    fn refuse(self) {
        let said = match &self {
            Stream::Unix(stream) => stream.try_write(NO_PLACE),
            Stream::Tcp(stream) => stream.try_write(NO_PLACE),
        };
        debug!(?said, "every place of the API is taken");
    }

    fn io(&mut self) -> Pin<&mut dyn ReadWrite> {
        match self {
            Stream::Unix(stream) => Pin::new(stream),
            Stream::Tcp(stream) => Pin::new(stream),
        }
    }
}

trait ReadWrite: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> ReadWrite for T {}

/// A stream whose writes fail when the peer takes nothing for [`WRITE_PATIENCE`].
struct Patient {
    stream: Stream,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    fn new(stream: Stream) -> Patient {
        Patient { stream, stalled: None }
    }

    fn judge<T>(&mut self, cx: &mut TaskContext<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(WRITE_PATIENCE)));
        match stalled.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Patient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.stream.io().poll_read(cx, buf)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.stream.io().poll_write(cx, bytes);
        self.judge(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.stream.io().poll_write_vectored(cx, slices);
        self.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        // Sockets have nothing to flush: a stall shows in writing.
        self.stream.io().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        self.stream.io().poll_shutdown(cx)
    }
}

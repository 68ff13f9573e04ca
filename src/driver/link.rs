//! One HTTP/1.1 connection to a switch, driven by whoever uses it.
//!
//! hyper's client wants its connection polled while a request is under way. Here the call itself does that, so there
//! is no task in the background, and a connection that went stale while idle shows it when it is taken up again.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use http_body_util::Full;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use super::target::{Target, Wire};
use crate::acm::error::AcmError;

/// The longest answer accepted, in bytes: a List of every binding a switch can hold, at 1 KiB a row.
const ANSWER_MAX: usize = 256 * 1024 * 1024;

type Outgoing = Full<Bytes>;

/// A connection.
pub(super) struct Link {
    sender: http1::SendRequest<Outgoing>,
    connection: http1::Connection<TokioIo<Pin<Box<dyn Wire>>>, Outgoing>,
    state: Running,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Running {
    Open,
    Closed,
}

/// Why there is no response.
pub(super) enum Failure {
    /// Not a byte of the request left: it can be sent again on another connection.
    Unsent(Box<Request<Outgoing>>),
    /// It may have arrived.
    Unknown(AcmError),
}

impl Link {
    /// Connects.
    ///
    /// # Errors
    /// `Unreachable`.
    pub(super) async fn open(target: &Target) -> Result<Link, AcmError> {
        let wire = target.connect().await?;
        let (sender, connection) = http1::handshake(TokioIo::new(wire))
            .await
            .map_err(|why| AcmError::Unreachable { why: format!("{target}: {why}") })?;
        Ok(Link { sender, connection, state: Running::Open })
    }

    /// Lets the connection make progress.
    fn drive(&mut self, cx: &mut Context<'_>) {
        // Its end and its errors show in the response that then does not come.
        if self.state == Running::Open && Pin::new(&mut self.connection).poll(cx).is_ready() {
            self.state = Running::Closed;
        }
    }

    /// Resolves when the next request can be sent; false when the other end has hung up.
    pub(super) async fn is_usable(&mut self) -> bool {
        poll_fn(|cx| {
            self.drive(cx);
            match self.state {
                Running::Closed => Poll::Ready(false),
                Running::Open => self.sender.poll_ready(cx).map(|ready| ready.is_ok()),
            }
        })
        .await
    }

    /// Sends a request and waits for the head of the response.
    pub(super) async fn send(&mut self, request: Request<Outgoing>) -> Result<Response<Incoming>, Failure> {
        let mut answer = pin!(self.sender.try_send_request(request));
        let outcome = poll_fn(|cx| {
            if self.state == Running::Open && Pin::new(&mut self.connection).poll(cx).is_ready() {
                self.state = Running::Closed;
            }
            answer.as_mut().poll(cx)
        })
        .await;
        outcome.map_err(|mut failure| match failure.take_message() {
            Some(request) => Failure::Unsent(Box::new(request)),
            None => Failure::Unknown(AcmError::Unreachable { why: failure.error().to_string() }),
        })
    }

    /// The next piece of a response's body; `None` at its end.
    pub(super) fn poll_piece(
        &mut self,
        body: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, AcmError>>> {
        self.drive(cx);
        loop {
            return match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(None) => Poll::Ready(None),
                Poll::Ready(Some(Err(why))) => Poll::Ready(Some(Err(AcmError::Unreachable { why: why.to_string() }))),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(bytes) => Poll::Ready(Some(Ok(bytes))),
                    // Trailers: nothing we asked for.
                    Err(_) => continue,
                },
            };
        }
    }

    /// The whole body of a response.
    ///
    /// # Errors
    /// `Unreachable` when it breaks off or is longer than any answer of a switch.
    pub(super) async fn whole(&mut self, mut body: Incoming) -> Result<Vec<u8>, AcmError> {
        let mut whole = Vec::new();
        while let Some(piece) = poll_fn(|cx| self.poll_piece(&mut body, cx)).await {
            let piece = piece?;
            if whole.len() + piece.len() > ANSWER_MAX {
                return Err(AcmError::Unreachable { why: format!("the answer is longer than {ANSWER_MAX} bytes") });
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole)
    }
}

//! Response bodies: whole ones, the event stream and a running capture.
//!
//! The streams end when the API shuts down, and a stream whose switch is gone ends too; a reader that does not read
//! is closed by the connection's write patience (`task.rs`), so none of them can hold more than one event or one
//! piece of capture.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::Response;
use hyper::body::{Bytes, Frame, SizeHint};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior};

use super::refusal::Refusal;
use super::schema::sse;
use crate::acm::switch::{CaptureStream, EventStream};

/// A response.
pub(super) type Answer = Response<Body>;

/// How often an event stream says that it is alive.
pub(super) const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);

/// A response body.
pub(super) enum Body {
    /// All of it.
    Whole(Option<Bytes>),
    /// Events as they happen.
    Events(Box<Events>),
    /// Pieces of a capture file.
    Capture { pieces: CaptureStream, stop: Stop },
}

/// Resolves when the API shuts down.
pub(super) struct Stop(Pin<Box<dyn Future<Output = ()> + Send>>);

impl Stop {
    pub(super) fn new(mut stopping: watch::Receiver<bool>) -> Stop {
        // An error means that the server is gone altogether, which is as good a reason to end.
        Stop(Box::pin(async move { drop(stopping.wait_for(|stopping| *stopping).await) }))
    }
}

/// The event stream as a body.
pub(super) struct Events {
    events: EventStream,
    heartbeat: Interval,
    stop: Stop,
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Body {
        Body::Whole(Some(bytes.into()))
    }
}

impl Body {
    pub(super) fn events(events: EventStream, stop: Stop) -> Body {
        let mut heartbeat = tokio::time::interval(HEARTBEAT_EVERY);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Body::Events(Box::new(Events { events, heartbeat, stop }))
    }
}

impl Events {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.stop.0.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(event) = self.events.as_mut().poll_next(cx) {
            // An event that cannot be written would be a gap the reader cannot see: end, it will resume.
            return Poll::Ready(event.and_then(|event| sse::encode(&event).ok()).map(Bytes::from));
        }
        // The first tick is at once: it tells the subscriber that it is connected.
        ready!(self.heartbeat.poll_tick(cx));
        Poll::Ready(Some(Bytes::from_static(sse::HEARTBEAT.as_bytes())))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = match self.get_mut() {
            Body::Whole(bytes) => bytes.take(),
            Body::Events(events) => ready!(events.poll_next(cx)),
            Body::Capture { pieces, stop } => match stop.0.as_mut().poll(cx) {
                Poll::Ready(()) => None,
                Poll::Pending => ready!(pieces.as_mut().poll_next(cx)).map(Bytes::from),
            },
        };
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Body::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Body::Events(_) | Body::Capture { .. } => SizeHint::default(),
        }
    }
}

/// 200 with a body of this type; answers of a switch are never to be cached.
pub(super) fn of_type(media_type: &'static str, body: Body) -> Answer {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// 200 with JSON.
pub(super) fn json<T: Serialize>(value: &T) -> Result<Answer, Refusal> {
    let bytes = serde_json::to_vec(value)
        .map_err(|why| Refusal::Http { status: 500, detail: format!("the answer cannot be written as JSON: {why}") })?;
    Ok(of_type("application/json", Body::from(bytes)))
}

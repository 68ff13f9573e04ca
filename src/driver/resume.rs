//! The event stream of a switch, which survives lost connections: it comes back with the last event's id, so that
//! nothing is missed and nothing is told twice.
//!
//! It ends only when the switch refuses it (a token that is not accepted any more). A subscriber that had seen no
//! event when the connection was lost cannot say where it was; it gets `Lost` and lists again.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use hyper::body::Incoming;
use tokio::time::Interval;
use tracing::{info, warn};

use super::link::Link;
use super::native::Inner;
use crate::acm::error::AcmError;
use crate::acm::event::{Event, EventId};
use crate::api::schema::path;
use crate::api::schema::sse::Decoder;

/// A switch says something every 15 s, if only that it is alive; after two of those and some, it is not.
const SILENCE_MAX: Duration = Duration::from_secs(40);
/// The first pause before coming back; it doubles to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest pause before coming back.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// An event of no switch: whoever is asked for what came after it answers `Lost`.
const NOWHERE: EventId = EventId { boot: 0, number: 0 };

type Opening = Pin<Box<dyn Future<Output = Result<(Link, Incoming), AcmError>> + Send>>;

/// The stream.
pub(super) struct Resumed {
    client: Arc<Inner>,
    /// The last event handed out, or what the subscriber began with.
    last: Option<EventId>,
    pause: Duration,
    phase: Phase,
}

enum Phase {
    Reading(Box<Reading>),
    Opening(Opening),
    Ended,
}

struct Reading {
    link: Link,
    body: Incoming,
    decoder: Decoder,
    ready: VecDeque<Event>,
    silence: Interval,
}

impl Resumed {
    pub(super) async fn open(client: Arc<Inner>, after: Option<EventId>) -> Result<Resumed, AcmError> {
        let (link, body) = subscribe(Arc::clone(&client), after).await?;
        let phase = Phase::Reading(Box::new(Reading::new(link, body)));
        Ok(Resumed { client, last: after, pause: PAUSE_MIN, phase })
    }

    /// Leaves the connection and tries again after the pause.
    fn come_back(&mut self, why: &str) {
        info!(switch = %self.client.target, why, "the event stream is interrupted; coming back");
        let (client, after, pause) = (Arc::clone(&self.client), self.last.unwrap_or(NOWHERE), self.pause);
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        self.phase = Phase::Opening(Box::pin(async move {
            tokio::time::sleep(pause).await;
            subscribe(client, Some(after)).await
        }));
    }
}

async fn subscribe(client: Arc<Inner>, after: Option<EventId>) -> Result<(Link, Incoming), AcmError> {
    match after {
        Some(after) => client.stream(&format!("{}?after={after}", path::EVENTS)).await,
        None => client.stream(path::EVENTS).await,
    }
}

impl Reading {
    fn new(link: Link, body: Incoming) -> Reading {
        let mut silence = tokio::time::interval(SILENCE_MAX);
        // An interval's first tick is at once; this one counts from the last word heard.
        silence.reset();
        Reading { link, body, decoder: Decoder::default(), ready: VecDeque::new(), silence }
    }

    /// The next event, or why there will be none on this connection.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, String>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Poll::Ready(Ok(event));
            }
            match self.link.poll_piece(&mut self.body, cx) {
                Poll::Ready(Some(Ok(bytes))) => {
                    self.silence.reset();
                    match self.decoder.push(&bytes) {
                        Ok(events) => self.ready.extend(events),
                        Err(why) => return Poll::Ready(Err(why.to_string())),
                    }
                }
                Poll::Ready(Some(Err(why))) => return Poll::Ready(Err(why.to_string())),
                Poll::Ready(None) => return Poll::Ready(Err("the switch ended it".into())),
                Poll::Pending => {
                    ready!(self.silence.poll_tick(cx));
                    return Poll::Ready(Err(format!("nothing heard for {SILENCE_MAX:?}")));
                }
            }
        }
    }
}

impl Stream for Resumed {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let this = self.get_mut();
        loop {
            match &mut this.phase {
                Phase::Ended => return Poll::Ready(None),
                Phase::Reading(reading) => match ready!(reading.poll_event(cx)) {
                    Ok(event) => {
                        this.last = Some(event.id);
                        this.pause = PAUSE_MIN;
                        return Poll::Ready(Some(event));
                    }
                    Err(why) => this.come_back(&why),
                },
                Phase::Opening(opening) => match ready!(opening.as_mut().poll(cx)) {
                    Ok((link, body)) => this.phase = Phase::Reading(Box::new(Reading::new(link, body))),
                    Err(AcmError::Unreachable { why } | AcmError::Timeout { waited_for: why }) => this.come_back(&why),
                    Err(refused) => {
                        warn!(switch = %this.client.target, %refused, "the event stream ends");
                        this.phase = Phase::Ended;
                    }
                },
            }
        }
    }
}

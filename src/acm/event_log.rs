//! The event log: what happened lately, in one order, and subscribers that may come back.
//!
//! A ring of the last [`EVENTS_KEPT`] events, and streams that read from it at their own pace. A stream that falls
//! behind the ring, or asks for an event that is not there, is told so by one [`EventKind::Lost`] and goes on with
//! what there is: memory stays bounded whatever subscribers do. Runtime-independent: only wakers. Callers: switches.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;

use super::event::{Event, EventId, EventKind};
use super::switch::EventStream;
use crate::base::id::Generation;
use crate::base::limits::EVENTS_KEPT;
use crate::base::time::WallMillis;

/// The log of one run of a switch. Dropping it ends its streams.
#[derive(Debug)]
pub struct EventLog {
    boot: u32,
    ring: Arc<Mutex<Ring>>,
}

#[derive(Debug, Default)]
struct Ring {
    events: VecDeque<Event>,
    /// The number of the next event.
    next: u64,
    /// Streams that wait for it.
    waiting: Vec<Waker>,
    ended: bool,
}

fn lock(ring: &Mutex<Ring>) -> MutexGuard<'_, Ring> {
    // Pushing leaves the ring whole at every step, so a panic elsewhere spoils nothing.
    ring.lock().unwrap_or_else(PoisonError::into_inner)
}

impl EventLog {
    /// An empty log. `boot` distinguishes this run of the switch from others.
    pub fn new(boot: u32) -> EventLog {
        EventLog { boot, ring: Arc::new(Mutex::new(Ring { next: 1, ..Ring::default() })) }
    }

    /// Something happened.
    pub fn push(&self, at: WallMillis, generation: Generation, kind: EventKind) {
        let mut ring = lock(&self.ring);
        let id = EventId { boot: self.boot, number: ring.next };
        ring.next += 1;
        if ring.events.len() == EVENTS_KEPT {
            ring.events.pop_front();
        }
        ring.events.push_back(Event { id, at, generation, kind });
        let waiting = std::mem::take(&mut ring.waiting);
        drop(ring);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Events from now on, or those after `after`. When that event is of another run, or forgotten, the first is
    /// [`EventKind::Lost`], followed by what is still known.
    pub fn subscribe(&self, after: Option<EventId>) -> EventStream {
        let ring = lock(&self.ring);
        let next = match after {
            None => ring.next,
            Some(id) if id.boot == self.boot && id.number < ring.next => id.number + 1,
            // From the beginning of what never was: the stream finds the gap and says so.
            Some(_) => 0,
        };
        Box::pin(Subscription { ring: Arc::clone(&self.ring), boot: self.boot, next })
    }
}

impl Drop for EventLog {
    fn drop(&mut self) {
        let mut ring = lock(&self.ring);
        ring.ended = true;
        let waiting = std::mem::take(&mut ring.waiting);
        drop(ring);
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// One subscriber's place in the log.
struct Subscription {
    ring: Arc<Mutex<Ring>>,
    boot: u32,
    /// The number it reads next.
    next: u64,
}

impl Stream for Subscription {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        let ring = Arc::clone(&self.ring);
        let mut ring = lock(&ring);
        let first = ring.next - ring.events.len() as u64;
        if self.next < first || self.next == 0 {
            // The id of the loss is that of the last event lost, so that resuming from it continues rightly.
            let id = EventId { boot: self.boot, number: first - 1 };
            self.next = first;
            let (at, generation) = ring.events.front().map_or((0, Generation(0)), |event| (event.at, event.generation));
            return Poll::Ready(Some(Event { id, at, generation, kind: EventKind::Lost }));
        }
        if let Some(event) = ring.events.get((self.next - first) as usize) {
            self.next += 1;
            return Poll::Ready(Some(event.clone()));
        }
        if ring.ended {
            return Poll::Ready(None);
        }
        if !ring.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            ring.waiting.push(context.waker().clone());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(stream: &mut EventStream) -> Vec<(u64, bool)> {
        let mut context = Context::from_waker(Waker::noop());
        let mut seen = Vec::new();
        while let Poll::Ready(Some(event)) = stream.as_mut().poll_next(&mut context) {
            seen.push((event.id.number, event.kind == EventKind::Lost));
        }
        seen
    }

    fn push(log: &EventLog, count: usize) {
        for _ in 0..count {
            let service = "10.0.0.100:80".parse().unwrap();
            log.push(0, Generation(1), EventKind::ServiceCreated { service });
        }
    }

    #[test]
    fn a_subscriber_resumes_where_it_was() {
        let log = EventLog::new(7);
        push(&log, 3);
        let mut live = log.subscribe(None);
        let mut back = log.subscribe(Some(EventId { boot: 7, number: 1 }));
        assert_eq!(drain(&mut back), [(2, false), (3, false)]);
        push(&log, 1);
        assert_eq!(drain(&mut back), [(4, false)]);
        assert_eq!(drain(&mut live), [(4, false)]);
    }

    #[test]
    fn the_unknown_is_lost_and_said_once() {
        let log = EventLog::new(7);
        push(&log, 2);
        for stranger in [EventId { boot: 8, number: 1 }, EventId { boot: 7, number: 99 }] {
            assert_eq!(drain(&mut log.subscribe(Some(stranger))), [(0, true), (1, false), (2, false)]);
        }
    }

    #[test]
    fn a_slow_subscriber_loses_events_and_memory_stays_bounded() {
        let log = EventLog::new(7);
        let mut slow = log.subscribe(None);
        push(&log, EVENTS_KEPT + 10);
        let seen = drain(&mut slow);
        assert_eq!(seen[0], (10, true));
        assert_eq!(seen.len(), EVENTS_KEPT + 1);
    }

    #[test]
    fn streams_end_with_the_log() {
        let log = EventLog::new(7);
        let mut stream = log.subscribe(None);
        drop(log);
        let mut context = Context::from_waker(Waker::noop());
        assert!(matches!(stream.as_mut().poll_next(&mut context), Poll::Ready(None)));
    }
}

//! Publishing: the table in force, made ready for workers once, and the acknowledgement that every worker uses it.
//!
//! A worker asks for the generation once per batch, one plain atomic load, and fetches the table only when it
//! changed. A worker parked in poll counts as switched: it reloads after waking and before its first frame.
//!
//! The order that makes this right: the publisher stores the table, then the generation, then reads `parked`; a
//! worker that wakes clears `parked`, then reads the generation, then fetches the table. All four accesses are
//! sequentially consistent, so a publisher that still saw `parked` is sure that the worker will see its generation.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::acm::table::ServiceTable;
use crate::base::id::Generation;
use crate::plane::prepare::Prepared;

/// The table in force and how far each worker has taken it up.
#[derive(Debug)]
pub struct Publication {
    prepared: ArcSwap<Prepared>,
    generation: AtomicU64,
    seats: Box<[Seat]>,
    /// Publishers that wait for a running worker; workers notify only if there are any.
    waiting: AtomicUsize,
    taken_up: Notify,
}

/// One worker's place.
#[derive(Debug)]
struct Seat {
    parked: AtomicBool,
    seen: AtomicU64,
}

impl Publication {
    /// An empty table for this many workers, all parked until they start.
    pub fn new(workers: usize) -> Publication {
        Publication {
            prepared: ArcSwap::default(),
            generation: AtomicU64::new(0),
            seats: (0..workers).map(|_| Seat { parked: AtomicBool::new(true), seen: AtomicU64::new(0) }).collect(),
            waiting: AtomicUsize::new(0),
            taken_up: Notify::new(),
        }
    }

    /// The table in force.
    pub fn table(&self) -> Arc<ServiceTable> {
        Arc::clone(self.prepared.load().table())
    }

    /// Makes a table ready and puts it in force. Publishers take turns (the control's lock); generations grow.
    pub fn publish(&self, table: Arc<ServiceTable>) {
        let generation = table.generation();
        let prepared = self.prepared.load().after(table);
        self.prepared.store(Arc::new(prepared));
        self.generation.store(generation.0, SeqCst);
    }

    /// True when every worker uses this generation or a later one, or is parked.
    pub fn is_taken_up(&self, generation: Generation) -> bool {
        self.seats.iter().all(|seat| seat.parked.load(SeqCst) || seat.seen.load(SeqCst) >= generation.0)
    }

    /// Waits until every worker uses this generation or a later one. Immediate on an idle switch.
    pub async fn acknowledged(&self, generation: Generation) {
        if self.is_taken_up(generation) {
            return;
        }
        self.waiting.fetch_add(1, SeqCst);
        let _guard = Waiting(&self.waiting);
        loop {
            // Registered before looking, so that a worker's notice between the two is not lost.
            let mut notified = std::pin::pin!(self.taken_up.notified());
            notified.as_mut().enable();
            if self.is_taken_up(generation) {
                return;
            }
            notified.await;
        }
    }

    /// For a worker, once per batch: the table, if it changed since `known`.
    pub fn newer_than(&self, known: Generation) -> Option<Arc<Prepared>> {
        (self.generation.load(SeqCst) != known.0).then(|| self.prepared.load_full())
    }

    /// For a worker: it uses this generation now.
    pub fn take_up(&self, worker: usize, generation: Generation) {
        self.seats[worker].seen.store(generation.0, SeqCst);
        self.tell();
    }

    /// For a worker about to park. False if a newer table than `known` is in force: take it up first.
    pub fn park(&self, worker: usize, known: Generation) -> bool {
        self.seats[worker].parked.store(true, SeqCst);
        self.tell();
        if self.generation.load(SeqCst) == known.0 {
            return true;
        }
        self.unpark(worker);
        false
    }

    /// For a worker that woke: from here on it must ask for a newer table before its first frame.
    pub fn unpark(&self, worker: usize) {
        self.seats[worker].parked.store(false, SeqCst);
    }

    fn tell(&self) {
        if self.waiting.load(SeqCst) > 0 {
            self.taken_up.notify_waiters();
        }
    }
}

/// Counts one waiting publisher for as long as it waits, also when it gives up.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::task::{Context, Poll, Waker};

    fn table(generations: u64) -> Arc<ServiceTable> {
        let mut table = ServiceTable::default();
        for n in 0..generations {
            let key = format!("10.0.0.{}:80", n + 1).parse().unwrap();
            let mut draft = table.edit();
            draft.put_service(crate::acm::words::Service::new(crate::base::id::ServiceId(n), key)).unwrap();
            table = draft.finish();
        }
        Arc::new(table)
    }

    #[test]
    fn parked_workers_count_and_running_ones_are_waited_for() {
        let publication = Publication::new(2);
        publication.unpark(1);
        publication.publish(table(1));
        let mut answer = std::pin::pin!(publication.acknowledged(Generation(1)));
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(answer.as_mut().poll(&mut context), Poll::Pending, "worker 1 runs on the old table");
        assert_eq!(publication.newer_than(Generation(0)).unwrap().table().generation(), Generation(1));
        publication.take_up(1, Generation(1));
        assert_eq!(answer.as_mut().poll(&mut context), Poll::Ready(()));
    }

    #[test]
    fn parking_is_refused_on_an_old_table() {
        let publication = Publication::new(1);
        publication.unpark(0);
        publication.publish(table(1));
        assert!(!publication.park(0, Generation(0)));
        assert!(!publication.is_taken_up(Generation(1)));
        publication.take_up(0, Generation(1));
        assert!(publication.park(0, Generation(1)));
        publication.publish(table(2));
        assert!(publication.is_taken_up(Generation(2)), "a parked worker reloads before its first frame");
    }
}

//! Who may be connected: a bounded number, and an administrator always finds room.
//!
//! A connection first *knocks* (it sits at the login dialogue, or has never typed anything) and then is *in*. Whoever
//! knocks longest makes room for a newcomer, first among the peer's own connections. Whoever is in stays.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::terminal::who;
use crate::time::Time;

/// How many connections are held. The default leaves room below the usual limit of 1,024 open files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotLimits {
    /// All of them.
    pub total: usize,
    /// Those of one peer that still knock.
    pub knocking_per_peer: usize,
}

impl Default for SlotLimits {
    fn default() -> Self {
        Self { total: 512, knocking_per_peer: 256 }
    }
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// At the login dialogue.
    AtLogin,
    /// At a prompt for which no password was asked, and it has typed nothing.
    Silent,
    /// A session that is used.
    In,
}

/// A device at its limit of sessions hangs up on one that has been silent for this long before it refuses another.
const SILENT_FOR: Duration = Duration::from_secs(1);

/// The connections of one server.
#[derive(Debug, Clone)]
pub(crate) struct Slots {
    book: Arc<Mutex<Book>>,
}

#[derive(Debug)]
struct Book {
    limits: SlotLimits,
    next: u64,
    seats: BTreeMap<u64, Seat>,
}

#[derive(Debug)]
struct Seat {
    peer: IpAddr,
    since: Time,
    standing: Standing,
    /// Dropped: the connection is to go.
    _stays: oneshot::Sender<()>,
}

/// A connection's place. It is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Slots,
    number: u64,
}

/// Resolves when a connection has to make room.
pub(crate) type Evicted = oneshot::Receiver<()>;

impl Slots {
    pub(crate) fn new(limits: SlotLimits) -> Self {
        Self { book: Arc::new(Mutex::new(Book { limits, next: 0, seats: BTreeMap::new() })) }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds a place, at the cost of another that knocks if need be; `None` when all that are held are in.
    pub(crate) fn take(&self, peer: IpAddr, now: Time) -> Option<(Slot, Evicted)> {
        let peer = who(Some(peer));
        let mut book = self.book();
        if book.knocking(peer) >= book.limits.knocking_per_peer {
            book.evict(|seat| seat.peer == peer);
        }
        if book.seats.len() >= book.limits.total && !book.evict(|seat| seat.peer == peer) && !book.evict(|_| true) {
            return None;
        }
        let (stays, evicted) = oneshot::channel();
        let number = book.next;
        book.next += 1;
        book.seats.insert(number, Seat { peer, since: now, standing: Standing::AtLogin, _stays: stays });
        Some((Slot { slots: self.clone(), number }, evicted))
    }

    /// Hangs up on the session that has been silent longest; false if there is none.
    pub(crate) fn evict_silent(&self, now: Time) -> bool {
        self.book().evict(|seat| seat.standing == Standing::Silent && now.since(seat.since) >= SILENT_FOR)
    }
}

impl Book {
    fn knocking(&self, peer: IpAddr) -> usize {
        self.seats.values().filter(|seat| seat.peer == peer && seat.standing != Standing::In).count()
    }

    /// Removes the oldest of these that knock.
    fn evict(&mut self, which: impl Fn(&Seat) -> bool) -> bool {
        let oldest = self.seats.iter().find(|(_, seat)| seat.standing != Standing::In && which(seat));
        let Some(number) = oldest.map(|(number, _)| *number) else { return false };
        self.seats.remove(&number).is_some()
    }
}

impl Slot {
    /// The connection has come this far; it does not fall back, whatever another shell on it does.
    pub(crate) fn stands(&self, standing: Standing) {
        if let Some(seat) = self.slots.book().seats.get_mut(&self.number) {
            seat.standing = seat.standing.max(standing);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.book().seats.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEW: SlotLimits = SlotLimits { total: 4, knocking_per_peer: 2 };

    fn peer(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn evicted(of: &mut Evicted) -> bool {
        matches!(of.try_recv(), Err(oneshot::error::TryRecvError::Closed))
    }

    #[test]
    fn a_peers_oldest_knock_makes_room_for_its_next() {
        let slots = Slots::new(FEW);
        let take = |last| slots.take(peer(last), Time::ZERO).expect("room");
        let (mut first, mut second, mut other) = (take(1), take(1), take(2));
        let mut third = take(1);
        assert!(evicted(&mut first.1));
        assert!(!evicted(&mut second.1) && !evicted(&mut third.1) && !evicted(&mut other.1));
    }

    #[test]
    fn whoever_is_in_stays_and_a_full_house_of_them_is_full() {
        let slots = Slots::new(FEW);
        let mut inside: Vec<_> = (0..4).filter_map(|_| slots.take(peer(1), Time::ZERO)).collect();
        inside.iter().for_each(|(slot, _)| slot.stands(Standing::In));
        // The first two made room for the others before they were in.
        inside.retain_mut(|(_, gone)| !evicted(gone));
        assert_eq!(inside.len(), 2);
        for _ in 0..2 {
            let taken = slots.take(peer(2), Time::ZERO).expect("room");
            taken.0.stands(Standing::In);
            inside.push(taken);
        }
        assert!(slots.take(peer(3), Time::ZERO).is_none());
        inside.pop();
        assert!(slots.take(peer(3), Time::ZERO).is_some());
    }

    #[test]
    fn a_newcomer_displaces_a_strangers_knock_when_all_is_taken() {
        let slots = Slots::new(FEW);
        let mut held: Vec<_> = [1, 1, 2, 2].iter().filter_map(|last| slots.take(peer(*last), Time::ZERO)).collect();
        let _new = slots.take(peer(3), Time::ZERO).expect("an administrator finds room");
        let gone: Vec<bool> = held.iter_mut().map(|(_, gone)| evicted(gone)).collect();
        assert_eq!(gone, [true, false, false, false]);
    }

    #[test]
    fn a_silent_session_goes_after_a_second() {
        let slots = Slots::new(FEW);
        let (slot, mut gone) = slots.take(peer(1), Time::ZERO).expect("room");
        slot.stands(Standing::Silent);
        assert!(!slots.evict_silent(Time::after(Duration::from_millis(999))));
        assert!(slots.evict_silent(Time::after(Duration::from_secs(1))));
        assert!(evicted(&mut gone));
    }
}

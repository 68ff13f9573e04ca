//! Clients that come back: whom of a group a request's cookie leads to, and what is to be remembered or said so that the
//! next one does.
//!
//! A [`Keeper`] is one worker's memory for one group. With cookies of our own it is nothing but the members' tokens; with
//! the servers' own it remembers what they set, bounded: what was not used for the group's idle time is forgotten, and
//! beyond [`LEARNT_MAX`] values the older half. Clients are led only to members that may take new connections: a cookie
//! never overrides Remove. Not here: requests and responses (`splice`), and who else is chosen (`schedule`).

use std::time::Duration;

use ahash::{AHashMap, RandomState};

use super::schedule::Member;
use crate::acm::rules::Persistence;
use crate::acm::words::ServiceKey;
use crate::base::time::Time;
use crate::content::token::{Keys, Tokens, write_set_cookie};

/// Values of one group that are remembered, in 40 bytes each.
const LEARNT_MAX: usize = 1 << 16;

/// One group's.
pub(super) struct Keeper {
    persist: Persistence,
    way: Way,
    /// By share, the member that has it; and back.
    seats: AHashMap<u64, u32>,
    shares: AHashMap<u32, u64>,
}

enum Way {
    Insert(Tokens),
    Learn(Learnt),
}

/// Whom a cookie leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Led {
    /// The member.
    pub(super) slot: u32,
    /// The cookie need not be set anew.
    pub(super) is_current: bool,
}

impl Keeper {
    /// For a group that keeps its clients in this manner; `None` if it does not.
    pub(super) fn new(persist: &Persistence, service: &ServiceKey, keys: &Keys, hash: [u64; 2]) -> Option<Keeper> {
        let way = match persist {
            Persistence::None => return None,
            Persistence::Insert(insert) => Way::Insert(Tokens::new(keys, service, &insert.name)),
            Persistence::Learn(learn) => Way::Learn(Learnt::new(learn.idle.0, hash)),
        };
        Some(Keeper { persist: persist.clone(), way, seats: AHashMap::new(), shares: AHashMap::new() })
    }

    /// True if it keeps clients in this manner.
    pub(super) fn is_for(&self, persist: &Persistence) -> bool {
        self.persist == *persist
    }

    /// These members may take new connections.
    pub(super) fn set_members(&mut self, members: &[Member]) {
        let able = || members.iter().filter(|member| member.weight > 0);
        self.seats = able().map(|member| (member.share, member.slot)).collect();
        self.shares = able().map(|member| (member.slot, member.share)).collect();
        if let Way::Insert(tokens) = &mut self.way {
            tokens.set_members(&able().map(|member| member.share).collect::<Vec<_>>());
        }
    }

    /// The member that a cookie's value leads to.
    pub(super) fn lead(&mut self, value: &[u8], now: Time) -> Option<Led> {
        let (share, is_current) = match &mut self.way {
            Way::Insert(tokens) => {
                let share = tokens.read(value)?;
                (share, tokens.of(share).map(str::as_bytes) == Some(value))
            }
            Way::Learn(learnt) => (learnt.recall(value, now)?, true),
        };
        Some(Led { slot: *self.seats.get(&share)?, is_current })
    }

    /// True if what servers set is to be learnt.
    pub(super) fn learns(&self) -> Option<&str> {
        match &self.persist {
            Persistence::Learn(learn) => Some(&learn.name),
            _ => None,
        }
    }

    /// The line that tells a client the cookie of this member, if there is one to be told.
    pub(super) fn line(&self, slot: u32) -> Option<Box<[u8]>> {
        let (Way::Insert(tokens), Persistence::Insert(insert)) = (&self.way, &self.persist) else { return None };
        let mut line = Vec::with_capacity(160);
        write_set_cookie(insert, tokens.of(*self.shares.get(&slot)?)?, &mut line);
        Some(line.into())
    }

    /// This member has set a cookie to this value.
    pub(super) fn learn(&mut self, value: &[u8], slot: u32, now: Time) {
        if let (Way::Learn(learnt), Some(share)) = (&mut self.way, self.shares.get(&slot)) {
            learnt.remember(value, *share, now);
        }
    }
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper")
            .field("persist", &self.persist)
            .field("members", &self.seats.len())
            .finish_non_exhaustive()
    }
}

/// Values of a cookie, by a keyed hash of 128 bits: whoever chooses values cannot choose hashes.
///
/// Two generations: what is used moves to the young one; when that one is full, or as old as values may become, it is the
/// old one, and what was old is forgotten. So nothing is ever searched for what is too old.
struct Learnt {
    idle: Duration,
    hashes: [RandomState; 2],
    young: AHashMap<u128, Value>,
    old: AHashMap<u128, Value>,
    born: Time,
}

#[derive(Clone, Copy)]
struct Value {
    share: u64,
    used: Time,
}

impl Learnt {
    fn new(idle: Duration, hash: [u64; 2]) -> Learnt {
        let state = |n: u64| RandomState::with_seeds(hash[0] ^ n, hash[1], !hash[0], hash[1].rotate_left(32) ^ n);
        let (young, old) = (AHashMap::new(), AHashMap::new());
        Learnt { idle, hashes: [state(1), state(2)], young, old, born: Time::ZERO }
    }

    fn key(&self, value: &[u8]) -> u128 {
        let [high, low] = [0, 1].map(|n: usize| u128::from(self.hashes[n].hash_one(value)));
        high << 64 | low
    }

    fn recall(&mut self, value: &[u8], now: Time) -> Option<u64> {
        let key = self.key(value);
        let known = self.young.get(&key).or_else(|| self.old.get(&key))?;
        let share = Some(known.share).filter(|_| known.used + self.idle >= now)?;
        self.put(key, share, now);
        Some(share)
    }

    fn remember(&mut self, value: &[u8], share: u64, now: Time) {
        self.put(self.key(value), share, now);
    }

    fn put(&mut self, key: u128, share: u64, now: Time) {
        if self.young.len() >= LEARNT_MAX / 2 || self.born + self.idle < now {
            self.old = std::mem::take(&mut self.young);
            self.born = now;
        }
        self.young.insert(key, Value { share, used: now });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acm::rules::LearnCookie;
    use crate::base::id::BindingId;
    use crate::base::span::Span;

    const SECOND: Duration = Duration::from_secs(1);

    fn learning() -> Keeper {
        let persist = Persistence::Learn(LearnCookie { name: "sid".into(), idle: Span::secs(10) });
        let keys = Keys { current: crate::content::token::Key { id: 1, secret: [1; 32] }, previous: None };
        let mut keeper = Keeper::new(&persist, &"10.0.0.100:80".parse().unwrap(), &keys, [1, 2]).unwrap();
        keeper.set_members(&members(&[(7, 11), (8, 12)]));
        keeper
    }

    fn members(seats: &[(u32, u64)]) -> Vec<Member> {
        seats.iter().map(|(slot, share)| Member { id: BindingId(1), share: *share, weight: 1, slot: *slot }).collect()
    }

    fn led(keeper: &mut Keeper, value: &str, now: Time) -> Option<u32> {
        keeper.lead(value.as_bytes(), now).map(|led| led.slot)
    }

    #[test]
    fn what_is_used_is_remembered_and_what_is_not_is_forgotten() {
        let (mut keeper, start) = (learning(), Time::ZERO + SECOND);
        keeper.learn(b"a", 7, start);
        keeper.learn(b"b", 8, start);
        for n in 1..20 {
            assert_eq!(led(&mut keeper, "a", start + n * 5 * SECOND), Some(7), "used every five seconds");
        }
        assert_eq!(led(&mut keeper, "b", start + 11 * SECOND), None);
        assert_eq!(led(&mut keeper, "a", start + (95 + 11) * SECOND), None);
    }

    #[test]
    fn a_share_is_followed_to_where_it_is_now() {
        let mut keeper = learning();
        let now = Time::ZERO + SECOND;
        keeper.learn(b"a", 7, now);
        keeper.set_members(&members(&[(8, 12)]));
        assert_eq!(led(&mut keeper, "a", now), None, "removed");
        keeper.set_members(&members(&[(8, 12), (9, 11)]));
        assert_eq!(led(&mut keeper, "a", now), Some(9), "back on another port");
    }

    #[test]
    fn it_is_bounded_and_forgets_the_older() {
        let mut keeper = learning();
        let now = Time::ZERO + SECOND;
        for n in 0..4 * LEARNT_MAX {
            keeper.learn(n.to_string().as_bytes(), 7, now);
        }
        let Way::Learn(learnt) = &keeper.way else { panic!() };
        assert!(learnt.young.len() + learnt.old.len() <= LEARNT_MAX);
        assert_eq!(led(&mut keeper, "0", now), None);
        assert_eq!(led(&mut keeper, &(4 * LEARNT_MAX - LEARNT_MAX / 2).to_string(), now), Some(7));
    }
}

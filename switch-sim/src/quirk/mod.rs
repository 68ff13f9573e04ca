//! Quirks and faults on demand: what real boxes do wrong, ordered by name.
//!
//! ```text
//!  NAME[=VALUE][@after=SPAN][@for=SPAN][@every=SPAN][@count=N][@chance=P]
//!
//!  slow-output=100ms              every piece of output comes 100 ms late
//!  swallow-input=1%               one typed line of a hundred vanishes
//!  login-refused@count=2          the first two logins are refused
//!  changed-behind@after=5s@every=10s
//! ```
//!
//! A *standing* quirk ([`Quirks::is_on`]) is a property of the device, such as CR and LF both being an Enter. A
//! *striking* one ([`Quirks::fires`]) is asked at each occasion and answers with its schedule and its seeded chance.
//! The terminal and the chassis hold clones of one [`Quirks`]: counts and chances are the device's, not a session's.
//!
//! Not here: the effect of a quirk. It stands where the device does the thing that goes wrong.

mod kinds;
mod order;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use kinds::{Amount, Quirk, Takes};
pub use order::{Order, OrderError, parse_file};

use crate::time::Time;

/// The quirks of one device. Clones share their counts and their chances.
#[derive(Debug, Clone)]
pub struct Quirks {
    shared: Arc<Mutex<Book>>,
}

#[derive(Debug)]
struct Book {
    entries: BTreeMap<Quirk, Entry>,
    chance: fastrand::Rng,
}

#[derive(Debug)]
struct Entry {
    order: Order,
    fired: u64,
    last: Option<Time>,
}

impl Quirks {
    /// A device without any.
    pub fn none() -> Self {
        Self::with(BTreeMap::new(), 0)
    }

    /// A device with these. The same seed and the same occasions give the same faults.
    ///
    /// # Errors
    /// [`OrderError::Twice`] when a quirk is ordered more than once.
    pub fn new(orders: impl IntoIterator<Item = Order>, seed: u64) -> Result<Self, OrderError> {
        let mut entries = BTreeMap::new();
        for order in orders {
            let quirk = order.quirk;
            if entries.insert(quirk, Entry { order, fired: 0, last: None }).is_some() {
                return Err(OrderError::Twice(quirk));
            }
        }
        Ok(Self::with(entries, seed))
    }

    /// A device with the quirks written like this, for tests: `Quirks::of(&["cr-and-lf", "half-open=100"])`.
    ///
    /// # Errors
    /// The first order that does not parse, or is a repetition.
    pub fn of(orders: &[&str]) -> Result<Self, OrderError> {
        let orders = orders.iter().map(|text| text.parse()).collect::<Result<Vec<Order>, _>>()?;
        Self::new(orders, 0)
    }

    fn with(entries: BTreeMap<Quirk, Entry>, seed: u64) -> Self {
        let book = Book { entries, chance: fastrand::Rng::with_seed(seed) };
        Self { shared: Arc::new(Mutex::new(book)) }
    }

    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        // The book is whole between any two statements that change it: a panic elsewhere leaves nothing half done.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the device has this property at the moment: ordered, and inside `after` and `for`.
    pub fn is_on(&self, quirk: Quirk, now: Time) -> bool {
        self.book().entries.get(&quirk).is_some_and(|entry| entry.order.covers(now))
    }

    /// Whether the quirk strikes at this occasion. A strike counts against `count` and starts the pause of `every`.
    pub fn fires(&self, quirk: Quirk, now: Time) -> bool {
        let Book { entries, chance } = &mut *self.book();
        entries.get_mut(&quirk).is_some_and(|entry| entry.strikes(now, chance))
    }

    /// Its length of time: as ordered, else the default that [`Quirk::takes`] shows. Zero for a quirk without one.
    pub fn span(&self, quirk: Quirk) -> Duration {
        match self.amount_of(quirk) {
            Some(Amount::Span(span)) => span,
            _ => Duration::ZERO,
        }
    }

    /// Its number (bytes, lines, users): as ordered, else the default. Zero for a quirk without one.
    pub fn number(&self, quirk: Quirk) -> u64 {
        match self.amount_of(quirk) {
            Some(Amount::Number(number)) => number,
            _ => 0,
        }
    }

    fn amount_of(&self, quirk: Quirk) -> Option<Amount> {
        let ordered = self.book().entries.get(&quirk).and_then(|entry| entry.order.amount);
        ordered.or(quirk.takes().default_amount())
    }

    /// A number below `bound` from the device's seeded chance, for the effect of a quirk (which row, which byte). 0 if `bound` is.
    pub fn pick(&self, bound: usize) -> usize {
        if bound == 0 { 0 } else { self.book().chance.usize(..bound) }
    }

    /// When a quirk that strikes of its own accord (`changed-behind`) may do so next; `None` when it never will again.
    pub fn next_strike(&self, quirk: Quirk, now: Time) -> Option<Time> {
        self.book().entries.get(&quirk).and_then(|entry| entry.next_strike(now))
    }

    /// What was ordered, in the order of [`Quirk::ALL`].
    pub fn orders(&self) -> Vec<Order> {
        self.book().entries.values().map(|entry| entry.order.clone()).collect()
    }
}

impl Entry {
    fn strikes(&mut self, now: Time, chance: &mut fastrand::Rng) -> bool {
        let due = self.next_strike(now).is_some_and(|at| at <= now);
        // The die is cast only for an occasion that counts, so that a schedule does not shift the chances of others.
        let struck = due && (self.order.chance >= 1.0 || chance.f64() < self.order.chance);
        if struck {
            self.fired += 1;
            self.last = Some(now);
        }
        struck
    }

    fn next_strike(&self, now: Time) -> Option<Time> {
        if self.order.count.is_some_and(|count| self.fired >= count) {
            return None;
        }
        let begin = Time::ZERO + self.order.after;
        let rested = match (self.last, self.order.every) {
            (Some(last), Some(every)) => last + every,
            _ => begin,
        };
        let at = now.max(begin).max(rested);
        self.order.covers(at).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::after(Duration::from_millis(millis))
    }

    fn quirks(orders: &[&str]) -> Quirks {
        Quirks::of(orders).expect("orders as a user writes them")
    }

    #[test]
    fn nothing_is_wrong_unless_ordered() {
        let none = Quirks::none();
        for quirk in Quirk::ALL {
            assert!(!none.is_on(*quirk, at(0)) && !none.fires(*quirk, at(0)), "{quirk}");
        }
        assert_eq!(none.span(Quirk::LateDeletion), Duration::from_millis(300), "a default holds without an order");
    }

    #[test]
    fn a_count_ends_and_a_period_rests() {
        let twice = quirks(&["login-refused@count=2"]);
        let struck: Vec<bool> = (0..4).map(|n| twice.fires(Quirk::LoginRefused, at(n))).collect();
        assert_eq!(struck, [true, true, false, false]);

        let paced = quirks(&["blank-lines=1@after=5s@every=10s"]);
        let moments = [0, 4_999, 5_000, 5_001, 14_999, 15_000];
        let struck: Vec<bool> = moments.iter().map(|n| paced.fires(Quirk::BlankLines, at(*n))).collect();
        assert_eq!(struck, [false, false, true, false, false, true]);
        assert_eq!(paced.next_strike(Quirk::BlankLines, at(15_001)), Some(at(25_000)));
    }

    #[test]
    fn a_window_opens_and_closes() {
        let window = quirks(&["cr-and-lf@after=1s@for=2s"]);
        let on: Vec<bool> = [999, 1_000, 2_999, 3_000].iter().map(|n| window.is_on(Quirk::CrAndLf, at(*n))).collect();
        assert_eq!(on, [false, true, true, false]);
        assert_eq!(window.next_strike(Quirk::CrAndLf, at(3_000)), None);
    }

    #[test]
    fn a_seed_repeats_and_a_clone_shares() {
        let strikes =
            |quirks: &Quirks| -> Vec<bool> { (0..200).map(|n| quirks.fires(Quirk::SwallowInput, at(n))).collect() };
        let order: Order = "swallow-input=20%".parse().expect("an order");
        let seeded = |seed| Quirks::new([order.clone()], seed).expect("one order");
        assert_eq!(strikes(&seeded(7)), strikes(&seeded(7)));
        assert_ne!(strikes(&seeded(7)), strikes(&seeded(8)));
        let hits = strikes(&seeded(7)).iter().filter(|hit| **hit).count();
        assert!((15..=70).contains(&hits), "about 40 of 200: {hits}");

        let once = quirks(&["login-hung@count=1"]);
        assert!(once.clone().fires(Quirk::LoginHung, at(0)));
        assert!(!once.fires(Quirk::LoginHung, at(1)));
    }

    #[test]
    fn a_quirk_is_ordered_once() {
        let twice = Quirks::of(&["cr-and-lf", "cr-and-lf"]).expect_err("ordered twice");
        assert_eq!(twice.to_string(), "quirk `cr-and-lf` is ordered twice: give it once, with one schedule");
    }
}

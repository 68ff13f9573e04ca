//! `Chaos`: any switch, misbehaving on purpose, for testing those who drive it.
//!
//! Seeded: the same seed and calls misbehave in the same way. It fails calls before or after they took effect, both
//! as `Unreachable`, since a caller cannot tell them apart either; and it cuts lists short. Not here: slowness, which
//! needs a clock. Callers: tests of managers and drivers.

use std::sync::{Mutex, PoisonError};

use super::error::AcmError;
use super::event::EventId;
use super::list::{Filter, Listing};
use super::primitive::{Caller, Outcome, Primitive, Tenure};
use super::switch::{AcmSwitch, Answer, EventStream};
use crate::base::fraction::Fraction;
use crate::base::id::Name;

/// A wrapper that misbehaves.
#[derive(Debug)]
pub struct Chaos<S> {
    inner: S,
    coins: Mutex<fastrand::Rng>,
    before: Fraction,
    after: Fraction,
    short_list: Fraction,
}

impl<S: AcmSwitch> Chaos<S> {
    /// Wraps a switch; it behaves until told otherwise.
    pub fn wrap(inner: S, seed: u64) -> Chaos<S> {
        let coins = Mutex::new(fastrand::Rng::with_seed(seed));
        Chaos { inner, coins, before: Fraction::ZERO, after: Fraction::ZERO, short_list: Fraction::ZERO }
    }

    /// This share of changing calls never reaches the switch.
    #[must_use]
    pub fn lose_calls(self, share: Fraction) -> Chaos<S> {
        Chaos { before: share, ..self }
    }

    /// This share of changing calls takes effect, and the answer is lost.
    #[must_use]
    pub fn lose_answers(self, share: Fraction) -> Chaos<S> {
        Chaos { after: share, ..self }
    }

    /// This share of lists lacks its last rows.
    #[must_use]
    pub fn cut_lists(self, share: Fraction) -> Chaos<S> {
        Chaos { short_list: share, ..self }
    }

    /// The switch inside.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn hits(&self, share: Fraction) -> bool {
        share.hits(self.coins.lock().unwrap_or_else(PoisonError::into_inner).u32(..))
    }
}

fn lost(what: &str) -> AcmError {
    AcmError::Unreachable { why: format!("the {what} was lost on purpose") }
}

impl<S: AcmSwitch> AcmSwitch for Chaos<S> {
    fn apply<'a>(&'a self, caller: &'a Caller, list: Vec<Primitive>) -> Answer<'a, Result<Vec<Outcome>, AcmError>> {
        Box::pin(async move {
            if self.hits(self.before) {
                return Err(lost("call"));
            }
            let outcomes = self.inner.apply(caller, list).await?;
            if self.hits(self.after) { Err(lost("answer")) } else { Ok(outcomes) }
        })
    }

    fn list<'a>(&'a self, filter: &'a Filter) -> Answer<'a, Result<Listing, AcmError>> {
        Box::pin(async move {
            let mut listing = self.inner.list(filter).await?;
            if self.hits(self.short_list) {
                listing.bindings.truncate(listing.bindings.len() / 2);
            }
            Ok(listing)
        })
    }

    fn events(&self, after: Option<EventId>) -> Answer<'_, Result<EventStream, AcmError>> {
        self.inner.events(after)
    }

    fn claim<'a>(&'a self, manager: &'a Name) -> Answer<'a, Result<Tenure, AcmError>> {
        self.inner.claim(manager)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acm::model::ModelSwitch;
    use crate::acm::primitive::Add;
    use std::task::{Context, Poll, Waker};

    /// The model answers at once.
    fn now<T>(mut answer: Answer<'_, T>) -> T {
        match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("the model never waits"),
        }
    }

    fn add(switch: &dyn AcmSwitch) -> Result<Vec<Outcome>, AcmError> {
        let add = Add::new("10.0.0.100:80".parse().unwrap(), "10.0.0.11:80".parse().unwrap());
        now(switch.apply(&Caller::default(), vec![Primitive::Add(add)]))
    }

    fn rows(switch: &dyn AcmSwitch) -> usize {
        now(switch.list(&Filter::default())).unwrap().bindings.len()
    }

    #[test]
    fn a_lost_call_changes_nothing_and_a_lost_answer_everything() {
        let call = Chaos::wrap(ModelSwitch::new(1), 7).lose_calls(Fraction::ONE);
        assert!(matches!(add(&call), Err(AcmError::Unreachable { .. })));
        assert_eq!(rows(call.inner()), 0);
        let answer = Chaos::wrap(ModelSwitch::new(1), 7).lose_answers(Fraction::ONE);
        assert!(matches!(add(&answer), Err(AcmError::Unreachable { .. })));
        assert_eq!(rows(answer.inner()), 1);
    }

    #[test]
    fn lists_are_cut() {
        let switch = Chaos::wrap(ModelSwitch::new(1), 7).cut_lists(Fraction::ONE);
        add(&switch).unwrap().pop().unwrap().unwrap();
        assert_eq!((rows(&switch), rows(switch.inner())), (0, 1));
    }

    #[test]
    fn the_same_seed_misbehaves_in_the_same_way() {
        let run = || {
            let switch = Chaos::wrap(ModelSwitch::new(1), 7).lose_calls(Fraction::new(0.5).unwrap());
            (0..50).map(|_| add(&switch).is_ok()).collect::<Vec<_>>()
        };
        assert_eq!(run(), run());
        assert!(run().contains(&true) && run().contains(&false));
    }
}

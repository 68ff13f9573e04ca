//! What is to be done about the bindings somebody asked about, and about those a pass found other than wanted.

use std::time::Duration;

use super::super::cache::{Absence, Want};
use super::super::lacks::Adapted;
use super::super::reconcile::{self, Held, Row, is_as_wished};
use super::{Context, Desk, Fencing, News, Scope};
use crate::acm::list::State;
use crate::acm::primitive::{ForceRemove, Primitive};
use crate::acm::words::BindingKey;
use crate::base::time::Time;
use crate::beacon::message::Answer;
use crate::beacon::words::Words;

/// A batch takes about this long, so that what is asked meanwhile waits no longer.
const BATCH_FOR: Duration = Duration::from_millis(500);
/// The largest batch.
const BATCH_MAX: usize = 1024;
/// A primitive on its way.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) key: BindingKey,
    pub(super) primitive: Primitive,
    /// Somebody may wait for it.
    pub(super) asked: bool,
    /// What is done instead of what was wanted, and why.
    pub(super) note: Option<Words>,
    /// What is left after this long is to be cut.
    pub(super) cut_after: Option<Duration>,
}

impl Task {
    fn new(key: BindingKey, adapted: Adapted, asked: bool) -> Task {
        let Adapted { primitive, note, cut_after } = adapted;
        Task { key, primitive, asked, note, cut_after }
    }
}

/// What is to be done about a binding that somebody asked about. Short-lived: nobody keeps one.
#[allow(clippy::large_enum_variant, reason = "made and taken apart in one expression")]
enum Step {
    /// This.
    Do(Adapted),
    /// Nothing: this is the answer.
    Answer(Answer, Option<Words>),
    /// It goes by the rules of removal, which need the whole service.
    Judge,
    /// Nobody wants anything of it any more.
    Nothing,
}

impl Desk {
    /// The next primitives: first what was asked, then what the last pass found.
    pub(super) fn batch(&mut self, context: &Context<'_>, news: &mut Vec<News>, now: Time) -> Vec<Task> {
        let most = (BATCH_FOR.as_micros() / self.pace.as_micros().max(1)).clamp(1, BATCH_MAX as u128) as usize;
        let seen = self.fresh.filter(|_| self.fencing == Fencing::None).unwrap_or(Scope::All);
        let asked: Vec<_> = self.asked.iter().filter(|key| seen.holds(key)).take(most).copied().collect();
        let mut tasks = Vec::new();
        for key in asked {
            self.asked.remove(&key);
            self.planned.retain(|(other, _)| *other != key);
            let is_due = self.cuts.get(&key).is_some_and(|at| *at <= now);
            let step = if is_due { self.cut(&key, context) } else { self.step(&key, context) };
            match step {
                Step::Do(adapted) => tasks.push(Task::new(key, adapted, true)),
                Step::Answer(answer, note) => news.push(News::Answered(key, answer, note)),
                Step::Judge => drop(self.looks.insert(key.service)),
                Step::Nothing => {}
            }
        }
        while tasks.len() < most
            && let Some((key, primitive)) = self.planned.pop_front()
        {
            if is_still_right(&primitive, context.cache.want(&key)) {
                tasks.push(Task::new(key, self.lacks.adapt(primitive), false));
            }
        }
        // Adds first, so that capacity never dips; otherwise in order.
        tasks.sort_by_key(|task| !matches!(task.primitive, Primitive::Add(_)));
        tasks
    }

    /// The deadline of a binding that drains has come: what is left is cut, if it is ours and unwanted still.
    fn cut(&mut self, key: &BindingKey, context: &Context<'_>) -> Step {
        self.cuts.remove(key);
        let drains = |row: &&Row| row.owner == *context.rules.owner && row.state == State::Draining;
        let is_wanted = matches!(context.cache.want(key), Some(Want::Present(_)));
        match self.observed.get(key).filter(drains) {
            Some(_) if !is_wanted => {
                let force = ForceRemove { service: key.service, real: key.real };
                Step::Do(self.lacks.adapt(Primitive::ForceRemove(force)))
            }
            _ => self.step(key, context),
        }
    }

    fn step(&self, key: &BindingKey, context: &Context<'_>) -> Step {
        let row = self.observed.get(key);
        if let Some(row) = row.filter(|row| row.owner != *context.rules.owner) {
            let why = Held::Foreign(row.owner.clone()).to_string();
            return Step::Answer(Answer::Exists, Some(Words::clip(&why)));
        }
        match (context.cache.want(key), row) {
            (Some(Want::Present(wish)), Some(row)) if is_as_wished(row, &wish, &context.rules) => {
                Step::Answer(Answer::Done, None)
            }
            (Some(Want::Present(wish)), row) => {
                Step::Do(self.lacks.adapt(Primitive::Add(reconcile::add(key, &wish, row, &context.rules))))
            }
            (Some(Want::Absent(Absence::Asked(_))), None) => Step::Answer(Answer::NotFound, None),
            (Some(Want::Absent(Absence::Asked(how))), Some(_)) => {
                Step::Do(self.lacks.adapt(reconcile::withdrawal(key, how)))
            }
            (Some(Want::Absent(_)), _) => Step::Judge,
            (None, _) => Step::Nothing,
        }
    }
}

/// True if what a pass found to do is still what is wanted.
fn is_still_right(primitive: &Primitive, want: Option<Want>) -> bool {
    match (primitive, want) {
        (Primitive::Add(_), Some(Want::Present(_))) => true,
        (Primitive::Add(_), _) => false,
        (_, want) => !matches!(want, Some(Want::Present(_))),
    }
}

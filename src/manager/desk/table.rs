//! What the switch has, as it was listed, and as acknowledgements and events say since.

use super::super::cache::{Cache, Want};
use super::super::reconcile::{self, Observed, Row};
use super::answers::answer_of;
use super::steps::Task;
use super::{Context, Desk, News, Scope};
use crate::acm::error::AcmError;
use crate::acm::event::EventKind;
use crate::acm::list::{Listing, State};
use crate::acm::primitive::{Add, Outcome, Primitive};
use crate::acm::words::{BindingKey, HealthProfile, ServiceKey, default_group};
use crate::base::id::{BindingId, Name};
use crate::base::time::Time;
use crate::beacon::message::Answer;
use crate::beacon::words::Words;

/// The options of a row, as far as an Add can change them.
pub(super) type Options = (Name, u16, Option<u32>, bool, HealthProfile);

impl Desk {
    pub(super) fn listed(
        &mut self,
        scope: Scope,
        listing: Listing,
        context: &Context<'_>,
        news: &mut Vec<News>,
        now: Time,
    ) {
        let rows = reconcile::observed(listing).into_iter().filter(|(key, _)| self.owns(&key.service));
        let rows: Observed = rows.collect();
        self.observed.retain(|key, _| !scope.holds(key));
        self.observed.extend(rows.iter().map(|(key, row)| (*key, row.clone())));
        self.fresh = Some(scope);
        if scope == Scope::All {
            self.list_at = now + context.reconcile;
            self.looks.clear();
        }
        let owns = |service: &ServiceKey| match scope {
            Scope::All => self.owns(service),
            Scope::Service(only) => only == *service,
        };
        let plan = reconcile::plan(&context.cache.wanted(owns, now), &rows, &context.rules);
        self.held.retain(|key, _| !scope.holds(key));
        self.held.extend(plan.held);
        self.planned.retain(|(key, _)| !scope.holds(key));
        for (key, primitive) in plan.steps {
            if !self.is_stubborn(&key, &primitive, rows.get(&key), context.cache) {
                self.planned.push_back((key, primitive));
            }
        }
        if !self.planned.is_empty() {
            self.behind.get_or_insert(now);
        }
        if !plan.probes.is_empty() {
            news.push(News::Probe(plan.probes));
        }
    }

    /// True if the box was told the same before and kept what it has: telling it again would change nothing.
    fn is_stubborn(&mut self, key: &BindingKey, primitive: &Primitive, row: Option<&Row>, cache: &Cache) -> bool {
        let (Primitive::Add(_), Some(row), Some(Want::Present(wish))) = (primitive, row, cache.want(key)) else {
            return false;
        };
        if row.state == State::Draining {
            return false;
        }
        let options = (row.group.clone(), row.weight, row.max_conns, row.leased, row.health.clone());
        let told = (wish, options);
        self.stubborn.insert(*key, told.clone()).is_some_and(|before| before == told)
    }

    pub(super) fn applied(
        &mut self,
        tasks: Vec<Task>,
        outcomes: Vec<Outcome>,
        since: Time,
        context: &Context<'_>,
        news: &mut Vec<News>,
        now: Time,
    ) {
        let each = now.since(since) / u32::try_from(tasks.len()).unwrap_or(1).max(1);
        self.pace = (self.pace * 3 + each) / 4;
        for (task, outcome) in tasks.into_iter().zip(outcomes) {
            match outcome {
                Ok(_) => {
                    self.observe(&task, context, now);
                    if task.asked {
                        news.push(News::Answered(task.key, Answer::Done, task.note));
                    } else {
                        news.push(News::Repaired(task.primitive));
                    }
                }
                Err(AcmError::Unsupported { feature, .. }) if self.lacks.learn(feature, &task.primitive) => {
                    // Once more, without what it lacks.
                    self.asked.insert(task.key);
                }
                Err(why) => self.refused(task, why, news),
            }
        }
    }

    fn refused(&mut self, task: Task, why: AcmError, news: &mut Vec<News>) {
        match &why {
            AcmError::NotFound { .. } => {
                self.observed.remove(&task.key);
            }
            AcmError::Exists { .. } => {
                self.looks.insert(task.key.service);
            }
            _ => {}
        }
        if task.asked {
            news.push(News::Answered(task.key, answer_of(&why), Some(Words::clip(&why.to_string()))));
        }
        news.push(News::Refused(task.primitive, why));
    }

    /// What an acknowledged primitive made of the table, until it is listed again.
    fn observe(&mut self, task: &Task, context: &Context<'_>, now: Time) {
        match &task.primitive {
            Primitive::Add(add) => {
                self.cuts.remove(&task.key);
                let row = row_after(add, self.observed.get(&task.key), context);
                self.observed.insert(task.key, row);
            }
            Primitive::Remove(_) => {
                if let Some(after) = task.cut_after {
                    self.cuts.entry(task.key).or_insert(now + after);
                }
                if let Some(row) = self.observed.get_mut(&task.key) {
                    row.state = State::Draining;
                }
            }
            Primitive::ForceRemove(_) => {
                self.observed.remove(&task.key);
            }
            _ => {}
        }
    }

    /// Something happened at the switch.
    pub fn happened(&mut self, event: &EventKind, cache: &Cache, now: Time) {
        let is_wanted = |key: &BindingKey| matches!(cache.want(key), Some(Want::Present(_)));
        match event {
            // It forgot, or we missed something.
            EventKind::Lost => self.list_at = now,
            EventKind::Drained { binding, .. } | EventKind::ForceRemoved { binding, .. } => {
                self.observed.remove(binding);
                if is_wanted(binding) && self.owns(&binding.service) {
                    self.ask(*binding, now);
                }
            }
            EventKind::State { binding, to, .. } => {
                if let Some(row) = self.observed.get_mut(binding) {
                    row.state = *to;
                }
                if *to == State::Draining && is_wanted(binding) && self.owns(&binding.service) {
                    self.ask(*binding, now);
                }
            }
            EventKind::ServiceRemoved { service } if self.owns(service) => self.look(*service, now),
            // Others' changes of options, and others' Adds, are found by the next List.
            _ => {}
        }
    }
}

fn row_after(add: &Add, before: Option<&Row>, context: &Context<'_>) -> Row {
    let before_or = |row: Option<&Row>| row.cloned();
    let mut row = before_or(before).unwrap_or_else(|| Row {
        id: BindingId(0),
        owner: context.rules.owner.clone(),
        state: State::Pending,
        group: default_group(),
        weight: 1,
        max_conns: None,
        leased: false,
        health: Default::default(),
    });
    row.state = if row.state == State::Draining { State::Pending } else { row.state };
    row.leased = false;
    row.group = add.group.clone().unwrap_or(row.group);
    row.weight = add.weight.unwrap_or(row.weight);
    row.max_conns = add.max_conns.or(row.max_conns);
    row.health = add.health.clone().unwrap_or(row.health);
    row
}

//! What a desk answers to agents and operators, in the words of the wire.

use std::collections::BTreeSet;
use std::time::Duration;

use super::steps::Task;
use super::{Desk, Fencing, Link, News};
use crate::acm::error::AcmError;
use crate::acm::words::BindingKey;
use crate::base::time::Time;
use crate::beacon::message::{Answer, SwitchRow};
use crate::beacon::words::Words;

impl Desk {
    /// How it is, for people.
    pub fn status(&self, now: Time) -> SwitchRow {
        let epoch = match &self.fencing {
            Fencing::Held(tenure) => Some(tenure.epoch),
            _ => None,
        };
        let held = self.held.iter().next().map(|(key, held)| {
            let more = if self.held.len() > 1 { format!(", and {} more", self.held.len() - 1) } else { String::new() };
            format!("{key}: {held}{more}")
        });
        let why = match &self.link {
            Link::Down { why: Some(why), .. } => Some(why.to_string()),
            Link::Down { why: None, .. } => None,
            Link::Up => held.or_else(|| self.lacks.words()),
        };
        SwitchRow {
            name: self.name.clone(),
            epoch,
            lag: self.behind.map_or(Duration::ZERO, |since| now.since(since)),
            waiting: (self.asked.len() + self.planned.len()) as u32,
            bindings: self.observed.len() as u32,
            why: why.map(|why| Words::clip(&why)),
        }
    }
}

/// A switch that is out of reach answers nobody.
pub(super) fn answer_asked(asked: &mut BTreeSet<BindingKey>, why: &AcmError, news: &mut Vec<News>) {
    for key in std::mem::take(asked) {
        news.push(News::Answered(key, answer_of(why), Some(Words::clip(&why.to_string()))));
    }
}

pub(super) fn answer_all(tasks: &[Task], why: &AcmError, news: &mut Vec<News>) {
    for task in tasks.iter().filter(|task| task.asked) {
        news.push(News::Answered(task.key, answer_of(why), Some(Words::clip(&why.to_string()))));
    }
}

/// An error in the words of the wire.
pub(super) fn answer_of(error: &AcmError) -> Answer {
    match error {
        AcmError::NotFound { .. } => Answer::NotFound,
        AcmError::Exists { .. } => Answer::Exists,
        AcmError::Full { .. } => Answer::Full,
        AcmError::Unsupported { .. } => Answer::Unsupported,
        AcmError::StaleEpoch { .. } => Answer::Stale,
        AcmError::Forbidden { .. } => Answer::Forbidden,
        AcmError::Invalid { .. } => Answer::Invalid,
        AcmError::Unreachable { .. } => Answer::Unreachable,
        AcmError::Timeout { .. } => Answer::Timeout,
    }
}

//! What a box was found to lack, and what is done instead.

use std::collections::BTreeSet;

use crate::acm::error::Feature;
use crate::acm::primitive::{Primitive, Remove};
use crate::beacon::words::Words;

/// What a box lacks.
#[derive(Debug, Clone, Default)]
pub(super) struct Lacks(BTreeSet<&'static str>);

const FORCE: &str = "force remove";
const OPTIONS: &str = "options";

impl Lacks {
    /// It refused this for want of a feature. True if that is news and there is something else to try.
    pub(super) fn learn(&mut self, feature: Feature, refused: &Primitive) -> bool {
        let lack = match (feature, refused) {
            (Feature::ForceRemove, Primitive::ForceRemove(_)) => FORCE,
            (Feature::ForceRemove | Feature::Option, Primitive::Remove(Remove { deadline: Some(_), .. })) => FORCE,
            (Feature::Option, Primitive::Add(add)) if has_options(add) => OPTIONS,
            _ => return false,
        };
        self.0.insert(lack)
    }

    /// What is asked instead of a primitive, and what to tell about it.
    pub(super) fn adapt(&self, primitive: Primitive) -> (Primitive, Option<Words>) {
        match primitive {
            Primitive::ForceRemove(force) if self.0.contains(FORCE) => {
                let remove = Remove { service: force.service, real: force.real, deadline: None };
                let note = "this switch cannot cut connections: removed, those there are finish";
                (Primitive::Remove(remove), Some(Words::clip(note)))
            }
            Primitive::Remove(Remove { deadline: Some(_), service, real }) if self.0.contains(FORCE) => {
                let note = "this switch cannot cut connections: those left at the deadline finish";
                (Primitive::Remove(Remove { service, real, deadline: None }), Some(Words::clip(note)))
            }
            Primitive::Add(add) if self.0.contains(OPTIONS) && has_options(&add) => {
                let note = "this switch has no such options: added without group, weight, limit and check";
                let bare = crate::acm::primitive::Add {
                    owner: add.owner,
                    ..crate::acm::primitive::Add::new(add.service, add.real)
                };
                (Primitive::Add(bare), Some(Words::clip(note)))
            }
            other => (other, None),
        }
    }

    /// In words, for people.
    pub(super) fn words(&self) -> Option<String> {
        let all: Vec<_> = self.0.iter().copied().collect();
        (!all.is_empty()).then(|| format!("it lacks: {}", all.join(", ")))
    }
}

fn has_options(add: &crate::acm::primitive::Add) -> bool {
    add.group.is_some() || add.weight.is_some() || add.max_conns.is_some() || add.health.is_some()
}

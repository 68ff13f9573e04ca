//! What a box was found to lack, and what is done instead.
//!
//! | it lacks | instead |
//! |---|---|
//! | Force Remove | Remove: those there are finish |
//! | deadlines | Remove, and when the deadline comes and something is left, Force Remove by the manager |
//! | both | Remove, and nothing is cut |
//! | the check asked for | Add without it: the box checks in its own way |
//! | another option of a binding | Add that binding without options |
//!
//! Each is said in the answer to the agent, and in the switch's row for people.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::acm::error::Feature;
use crate::acm::primitive::{Add, Primitive, Remove};
use crate::acm::words::BindingKey;
use crate::beacon::words::Words;

/// What a box lacks.
#[derive(Debug, Clone, Default)]
pub(super) struct Lacks {
    whole: BTreeSet<&'static str>,
    /// Adds it refused for their options: these are not tried again, others of the same binding are.
    refused: BTreeMap<BindingKey, Add>,
}

const FORCE: &str = "force remove";
const DEADLINE: &str = "deadlines";
const CHECK: &str = "checks as asked for";

/// What is asked of a box.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Adapted {
    /// This.
    pub(super) primitive: Primitive,
    /// What is done instead of what was wanted, and why.
    pub(super) note: Option<Words>,
    /// What is left after this long, the manager is to cut.
    pub(super) cut_after: Option<Duration>,
}

impl From<Primitive> for Adapted {
    fn from(primitive: Primitive) -> Adapted {
        Adapted { primitive, note: None, cut_after: None }
    }
}

impl Lacks {
    /// It refused this for want of a feature. True if that is news and there is something else to try.
    pub(super) fn learn(&mut self, feature: Feature, refused: &Primitive) -> bool {
        let lack = match (feature, refused) {
            (Feature::ForceRemove, Primitive::ForceRemove(_)) => FORCE,
            (Feature::ForceRemove | Feature::Option, Primitive::Remove(Remove { deadline: Some(_), .. })) => DEADLINE,
            (Feature::Option, Primitive::Add(Add { health: Some(_), .. })) => CHECK,
            (Feature::Option, Primitive::Add(add)) if has_options(add) => {
                return self.refused.insert(add.key(), add.clone()).as_ref() != Some(add);
            }
            _ => return false,
        };
        self.whole.insert(lack)
    }

    /// A new tenure: what single bindings were refused is tried again.
    pub(super) fn forget(&mut self) {
        self.refused.clear();
    }

    /// What is asked instead of a primitive.
    pub(super) fn adapt(&self, primitive: Primitive) -> Adapted {
        let with = |primitive, note, cut_after| Adapted { primitive, note: Some(Words::clip(note)), cut_after };
        match primitive {
            Primitive::ForceRemove(force) if self.whole.contains(FORCE) => {
                let remove = Remove { service: force.service, real: force.real, deadline: None };
                let note = "this switch cannot cut connections: removed, those there are finish";
                with(Primitive::Remove(remove), note, None)
            }
            Primitive::Remove(Remove { deadline: Some(deadline), service, real }) if self.whole.contains(DEADLINE) => {
                let remove = Primitive::Remove(Remove { service, real, deadline: None });
                match self.whole.contains(FORCE) {
                    true => with(remove, "this switch cannot cut connections: those left at the deadline finish", None),
                    false => with(remove, "this switch keeps no deadline: the manager does", Some(deadline.0)),
                }
            }
            Primitive::Add(add) => self.adapt_add(add),
            other => other.into(),
        }
    }

    fn adapt_add(&self, mut add: Add) -> Adapted {
        let mut note = None;
        if self.whole.contains(CHECK) && add.health.take().is_some() {
            note = Some("this switch checks in its own way");
        }
        if self.refused.get(&add.key()) == Some(&add) {
            add = Add { owner: add.owner, ..Add::new(add.service, add.real) };
            note = Some("this switch has no such options: added without group, weight, limit and check");
        }
        Adapted { primitive: Primitive::Add(add), note: note.map(Words::clip), cut_after: None }
    }

    /// In words, for people.
    pub(super) fn words(&self) -> Option<String> {
        let mut all: Vec<_> = self.whole.iter().map(|lack| (*lack).to_owned()).collect();
        match self.refused.len() {
            0 => {}
            1 => all.push("options of 1 binding".into()),
            more => all.push(format!("options of {more} bindings")),
        }
        (!all.is_empty()).then(|| format!("it lacks: {}", all.join(", ")))
    }
}

fn has_options(add: &Add) -> bool {
    add.group.is_some() || add.weight.is_some() || add.max_conns.is_some() || add.health.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acm::primitive::ForceRemove;
    use crate::base::span::Span;

    fn remove(deadline: Option<Span>) -> Primitive {
        Primitive::Remove(Remove {
            service: "10.0.0.100:80".parse().unwrap(),
            real: "10.1.0.11:80".parse().unwrap(),
            deadline,
        })
    }

    fn force() -> Primitive {
        Primitive::ForceRemove(ForceRemove {
            service: "10.0.0.100:80".parse().unwrap(),
            real: "10.1.0.11:80".parse().unwrap(),
        })
    }

    #[test]
    fn a_deadline_is_kept_for_a_box_that_can_cut_and_not_for_one_that_cannot() {
        let (timed, plain) = (remove(Some(Span::secs(5))), remove(None));
        let mut lacks = Lacks::default();
        assert_eq!(lacks.adapt(timed.clone()), timed.clone().into());
        assert!(lacks.learn(Feature::Option, &timed) && !lacks.learn(Feature::Option, &timed), "news only once");
        let adapted = lacks.adapt(timed.clone());
        assert_eq!((adapted.primitive, adapted.cut_after), (plain.clone(), Some(Duration::from_secs(5))));
        assert!(lacks.learn(Feature::ForceRemove, &force()));
        let adapted = lacks.adapt(timed);
        assert_eq!((adapted.primitive, adapted.cut_after), (plain.clone(), None));
        assert!(adapted.note.is_some());
        assert_eq!(lacks.adapt(force()).primitive, plain);
    }

    #[test]
    fn the_check_goes_first_and_options_go_one_binding_at_a_time() {
        use crate::acm::words::HealthProfile;
        let add = |n: u8, weight| Add {
            weight: Some(weight),
            health: Some(HealthProfile::default()),
            ..Add::new("10.0.0.100:80".parse().unwrap(), std::net::SocketAddr::from(([10, 1, 0, n], 80)))
        };
        let mut lacks = Lacks::default();
        assert!(lacks.learn(Feature::Option, &Primitive::Add(add(1, 3))));
        let without_check = Primitive::Add(Add { health: None, ..add(1, 3) });
        assert_eq!(lacks.adapt(Primitive::Add(add(1, 3))).primitive, without_check);
        assert!(lacks.learn(Feature::Option, &without_check));
        let bare = Add::new(add(1, 3).service, add(1, 3).real);
        assert_eq!(lacks.adapt(Primitive::Add(add(1, 3))).primitive, Primitive::Add(bare));
        for other in [add(1, 4), add(2, 3)] {
            let kept = Primitive::Add(Add { health: None, ..other.clone() });
            assert_eq!(lacks.adapt(Primitive::Add(other)).primitive, kept, "what was not refused is asked for");
        }
        assert!(!lacks.learn(Feature::Option, &without_check), "and once is enough");
    }

    #[test]
    fn what_cannot_be_made_up_is_not_tried_again() {
        let mut lacks = Lacks::default();
        let bare = Primitive::Add(Add::new("10.0.0.100:80".parse().unwrap(), "10.1.0.11:80".parse().unwrap()));
        assert!(!lacks.learn(Feature::Ipv6, &bare) && !lacks.learn(Feature::Option, &bare));
        assert!(!lacks.learn(Feature::Option, &remove(None)));
    }
}

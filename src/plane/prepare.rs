//! A table made ready for workers: what takes long is done here, once for all of them, by whoever publishes it.
//!
//! A service's rules take milliseconds to be made ready when they are a thousand, and packets cannot wait for that. So the
//! control side makes each table a [`Prepared`] one from the one before, at a cost in proportion to what changed, and
//! [`Plane::take_table`](super::Plane::take_table) takes it up as it is. Not here: choosers, which each worker builds when
//! it next needs them.

use std::sync::Arc;

use imbl::OrdMap;

use crate::acm::rules::{Action, Content, Rule};
use crate::acm::table::ServiceTable;
use crate::acm::words::{Service, ServiceKey};
use crate::content::rules::Ruleset;

/// A table, and what of it was made ready. Cheap to clone; versions share structure.
#[derive(Debug, Clone, Default)]
pub struct Prepared {
    table: Arc<ServiceTable>,
    rules: OrdMap<ServiceKey, Arc<Rules>>,
}

/// A service's rules, made ready.
#[derive(Debug)]
pub(super) struct Rules {
    /// Ready.
    pub(super) set: Ruleset,
    /// What they were made from.
    pub(super) source: (Arc<[Rule]>, Action),
}

impl Prepared {
    /// The table that comes after this one. Milliseconds where a thousand rules have changed; not for the packet path.
    pub fn after(&self, table: Arc<ServiceTable>) -> Prepared {
        let mut rules = self.rules.clone();
        for change in table.services_since(&self.table) {
            match (change.old, change.new) {
                (_, Some(row)) => {
                    let known = rules.get(&row.key);
                    let ready = Rules::of(row, known);
                    let is_same = ready.as_ref().map(Arc::as_ptr) == known.map(Arc::as_ptr);
                    if let Some(ready) = ready.filter(|_| !is_same) {
                        rules.insert(row.key, ready);
                    }
                }
                (Some(gone), None) => {
                    rules.remove(&gone.key);
                }
                (None, None) => {}
            }
        }
        Prepared { table, rules }
    }

    /// The table.
    pub fn table(&self) -> &Arc<ServiceTable> {
        &self.table
    }

    /// The rules of a service that looks into what clients send, or did so since it is there.
    pub(super) fn rules(&self, key: &ServiceKey) -> Option<&Arc<Rules>> {
        self.rules.get(key)
    }
}

impl Rules {
    /// A service's rules: those it has, if they are the same, else made anew. A service that once looked into requests
    /// keeps them ready: connections that began so keep their mode.
    fn of(row: &Service, known: Option<&Arc<Rules>>) -> Option<Arc<Rules>> {
        if known.is_none() && row.content == Content::None {
            return None;
        }
        let (rules, default) = (&row.rules, &row.default_action);
        let is_same = |known: &&Arc<Rules>| Arc::ptr_eq(&known.source.0, rules) && known.source.1 == *default;
        if let Some(known) = known.filter(is_same) {
            return Some(Arc::clone(known));
        }
        // Texts are bounded by the contract far below what an automaton holds; were it otherwise, the default action serves.
        let set = Ruleset::compile(rules, default).or_else(|_| Ruleset::compile(&[], default)).ok()?;
        Some(Arc::new(Rules { set, source: (Arc::clone(rules), default.clone()) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acm::rules::{Case, Condition, Switching, TextMatch};
    use crate::base::id::ServiceId;

    fn service(content: Content) -> Service {
        let key = "10.0.0.100:80".parse().unwrap();
        let rule = Rule {
            name: "r".parse().unwrap(),
            when: vec![Condition::Path(TextMatch::Prefix("/a".into()))],
            case: Case::Sensitive,
            then: Action::Reset,
        };
        Service { content, rules: [rule].into(), ..Service::new(ServiceId(1), key) }
    }

    fn with(table: &ServiceTable, service: Service) -> Arc<ServiceTable> {
        let mut draft = table.edit();
        draft.put_service(service).unwrap();
        Arc::new(draft.finish())
    }

    #[test]
    fn rules_are_made_ready_once() {
        let service = service(Content::Http);
        let key = service.key;
        let first = Prepared::default().after(with(&ServiceTable::default(), service.clone()));
        let made = Arc::clone(first.rules(&key).unwrap());
        // Something else of the service changes: the same rules serve.
        let other = Service { switching: Switching::FirstRequest, ..service.clone() };
        let second = first.after(with(first.table(), other));
        assert!(Arc::ptr_eq(second.rules(&key).unwrap(), &made));
        // Others are others.
        let third = second.after(with(second.table(), Service { rules: [].into(), ..service }));
        assert!(!Arc::ptr_eq(third.rules(&key).unwrap(), &made));
        assert!(Arc::ptr_eq(first.rules(&key).unwrap(), &made), "an older table keeps its own");
    }

    #[test]
    fn rules_are_ready_for_as_long_as_connections_may_need_them() {
        let key = service(Content::None).key;
        let plain = Prepared::default().after(with(&ServiceTable::default(), service(Content::None)));
        assert!(plain.rules(&key).is_none());
        let http = plain.after(with(plain.table(), service(Content::Http)));
        let plain = http.after(with(http.table(), service(Content::None)));
        assert!(plain.rules(&key).is_some(), "connections keep their mode");
        let mut draft = plain.table().edit();
        draft.remove_service(&key).unwrap();
        assert!(plain.after(Arc::new(draft.finish())).rules(&key).is_none());
    }
}

//! Changing a list of rules in place: what every switch that keeps one does with a [`RuleEdit`].

use super::{Rule, RuleEdit};
use crate::acm::error::AcmError;
use crate::base::id::Name;

/// The rules after the edit.
///
/// # Errors
/// `NotFound` for a rule that is not there, `Invalid` for a second one of the same name.
pub fn edited(rules: &[Rule], edit: &RuleEdit) -> Result<Vec<Rule>, AcmError> {
    let place = |name: &Name| rules.iter().position(|rule| rule.name == *name);
    let known = |name: &Name| place(name).ok_or_else(|| AcmError::not_found(format!("rule {name}")));
    let mut after = rules.to_vec();
    match edit {
        RuleEdit::Insert { rule, at } => match place(&rule.name) {
            Some(there) if rules[there] == *rule => {}
            Some(_) => {
                let why = format!("there is another rule {}; remove it first, or choose another name", rule.name);
                return Err(AcmError::invalid("edit.insert.rule.name", why));
            }
            None => after.insert(index(at.unwrap_or(usize::MAX), rules.len()), rule.clone()),
        },
        RuleEdit::Remove { name } => {
            after.remove(known(name)?);
        }
        RuleEdit::Move { name, at } => {
            let rule = after.remove(known(name)?);
            after.insert(index(*at, after.len()), rule);
        }
    }
    Ok(after)
}

/// A place counted from 1, in a list that has `len` others.
fn index(place: usize, len: usize) -> usize {
    place.saturating_sub(1).min(len)
}

#[cfg(test)]
mod tests {
    use super::super::Action;
    use super::*;

    fn rule(name: &str) -> Rule {
        Rule { name: name.parse().unwrap(), when: vec![], case: Default::default(), then: Action::Reset }
    }

    fn names(rules: &[Rule]) -> String {
        rules.iter().map(|rule| rule.name.as_str()).collect()
    }

    #[test]
    fn rules_go_where_they_are_put() {
        let rules = ["a", "b", "c"].map(rule);
        let insert = |at| RuleEdit::Insert { rule: rule("x"), at };
        let moved = |name: &str, at| RuleEdit::Move { name: name.parse().unwrap(), at };
        for (edit, want) in [
            (insert(None), "abcx"),
            (insert(Some(1)), "xabc"),
            (insert(Some(3)), "abxc"),
            (insert(Some(99)), "abcx"),
            (moved("a", 3), "bca"),
            (moved("a", 99), "bca"),
            (moved("c", 1), "cab"),
            (moved("b", 2), "abc"),
            (RuleEdit::Remove { name: "b".parse().unwrap() }, "ac"),
            (RuleEdit::Insert { rule: rule("b"), at: Some(1) }, "abc"),
        ] {
            assert_eq!(names(&edited(&rules, &edit).unwrap()), want, "{edit:?}");
        }
    }

    #[test]
    fn what_is_not_there_is_said() {
        let other = Rule { then: Action::default_action(), ..rule("a") };
        let refused = edited(&[rule("a")], &RuleEdit::Insert { rule: other, at: None });
        assert!(matches!(refused, Err(AcmError::Invalid { field, .. }) if field == "edit.insert.rule.name"));
        let gone = RuleEdit::Remove { name: "x".parse().unwrap() };
        assert!(matches!(edited(&[rule("a")], &gone), Err(AcmError::NotFound { .. })));
    }
}

//! The names of what is ours: rules, policies, maps, and the rules that remember groups.
//!
//! | what | name |
//! |---|---|
//! | a rule | `acm-NAME-HASH`: its name in the contract, and a hash of its words |
//! | a part of a rule with several conditions | `acm--HASH` |
//! | a policy | `acm-HASH` |
//! | a map, which is one rule | `acm-NAME-HASH`; of no rule: `acm--HASH` |
//! | what a number stands for | `acmgroup-NUMBER-NAME` |
//!
//! HASH is eight digits of base 32 (RFC 4648, "base32hex", in lower case): 40 bits of the fixed hash. Two wordings with one hash on
//! one box are as good as excluded; should it happen, the one written last is the one that counts.

use crate::base::hash::fixed;
use crate::base::id::Name;

const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
const HASH_LENGTH: usize = 8;
const PREFIX: &str = "acm-";
const GROUP_PREFIX: &str = "acmgroup-";

/// The longest name of a map on the older boxes, and what is left of it for the rule's own.
pub const MAP_NAME_MAX: usize = 32;

fn hash(text: &str) -> String {
    let bits = fixed(text.as_bytes());
    (0..HASH_LENGTH).map(|place| char::from(DIGITS[(bits >> (5 * place)) as usize & 31])).collect()
}

fn is_hash(text: &str) -> bool {
    text.len() == HASH_LENGTH && text.bytes().all(|byte| DIGITS.contains(&byte))
}

/// The name of a rule, or of a map with that rule, that says this; `rule` is empty for parts.
pub fn of_rule(rule: &str, says: &str) -> String {
    format!("{PREFIX}{rule}-{}", hash(says))
}

/// The name of a policy with these lines. `salt` makes another one where somebody has changed what bears the first.
pub fn of_policy(lines: &[String], salt: u32) -> String {
    let salt = if salt == 0 { String::new() } else { salt.to_string() };
    format!("{PREFIX}{}", hash(&format!("{}{salt}", lines.join("\n"))))
}

/// The name of the rule that remembers a group.
pub fn of_group(number: u16, group: &Name) -> String {
    format!("{GROUP_PREFIX}{number}-{group}")
}

/// The group that a rule remembers.
pub fn read_group(name: &str) -> Option<(u16, Name)> {
    let (number, group) = name.strip_prefix(GROUP_PREFIX)?.split_once('-')?;
    let (number, group) = (number.parse().ok().filter(|number| *number <= super::GROUP_MAX)?, group.parse().ok()?);
    (of_group(number, &group) == name).then_some((number, group))
}

/// The contract's name in a name of ours; `None` if it is not ours, or a part.
pub fn read_rule(name: &str) -> Option<Name> {
    let (rule, hash) = name.strip_prefix(PREFIX)?.rsplit_once('-')?;
    if is_hash(hash) { rule.parse().ok() } else { None }
}

/// Whether a rule, a policy or a map is ours by its name.
pub fn is_ours(name: &str) -> bool {
    let hash = name.strip_prefix(PREFIX).map(|rest| rest.rsplit_once('-').map_or(rest, |(_, hash)| hash));
    hash.is_some_and(is_hash) || read_group(name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_they_stand_for() {
        let name = of_rule("im-ages", "url suffix \".png\"");
        assert_eq!(name, of_rule("im-ages", "url suffix \".png\""));
        assert_ne!(name, of_rule("im-ages", "url suffix \".gif\""));
        assert_eq!(read_rule(&name).as_ref().map(Name::as_str), Some("im-ages"));
        let part = of_rule("", "x");
        assert!(is_ours(&name) && is_ours(&part) && is_ours(&of_policy(&[], 0)) && read_rule(&part).is_none());
        assert_ne!(of_policy(&[], 0), of_policy(&[], 1));
        let images: Name = "7-images".parse().unwrap();
        assert_eq!(read_group(&of_group(7, &images)), Some((7, images)));
        let longest: Name = "n".repeat(64).parse().unwrap();
        assert!(of_rule(longest.as_str(), "x").len() <= super::super::TEXT_MAX);
        assert!(of_group(super::super::GROUP_MAX, &longest).len() <= super::super::TEXT_MAX);
    }

    #[test]
    fn others_names_are_not_ours() {
        for name in
            ["", "img", "acm", "acm-", "acm-img", "acm-img-xyz", "acm-img-0123456z", "acmgroup-07-a", "acmgroup-1024-a"]
        {
            assert!(!is_ours(name) && read_rule(name).is_none() && read_group(name).is_none(), "{name}");
        }
    }
}

//! Content switching in the ServerIron's words, both ways: one table, read by whoever has such a configuration and written by
//! whoever wants one.
//!
//! | contract | ServerIron ADX, and the command line of our own switch | ServerIron XL |
//! |---|---|---|
//! | rules of a service | `csw-policy`, attached by `port P csw-policy` | a chain of `url-map`, by `port P url-map` |
//! | content `http` | `port P csw` | `port P url-switch` |
//! | path exact, prefix, suffix, contains | `csw-rule R url equals, prefix, suffix, pattern` | `method prefix, suffix, pattern` |
//! | host; `*.` and a host | `csw-rule R header "host" equals, suffix ... case-insensitive` | |
//! | header; present | `csw-rule R header "N" equals, ...; exists` | |
//! | method | `csw-rule R method eq M` | |
//! | several conditions; none | `csw-rule R nested-rule "A && B"`; `url exists` | |
//! | group | `match R forward N`, `default forward N` | `match T N`, `default N` |
//! | reset, redirect (302) | `match R reset-client`, `match R redirect "D" "U" [ssl]` | |
//! | `url-hash` of a group; of the default group | `match R hash-persist url PART`; `port P url-hash` | `port P url-hash` |
//! | `cookie-hash` of the default group | `port P cookie-hash`, `port P cookie-name "N"` | the same |
//! | a cookie of the switch's own | `match R rewrite insert-cookie "N"`, `default rewrite ...` | |
//!
//! What is not in the table has no word: cookies and TLS as conditions, Drop, other redirects, loads that are bounded, rules that
//! send to the default group, `first-request`. Writing says so ([`Unsaid`]), naming the field and what would do, before a line is
//! typed; what is written is read again and must be what it was. Reading says what it cannot read ([`Unread`]).
//!
//! **What is ours never changes** ([`name`]): a rule, a policy and a map are named by a hash of what they say, so that another list
//! of rules is another policy beside the one in force, and one line, `port P csw-policy`, goes from one to the other. What
//! nothing leads to any more is swept up ([`sweep`]).
//!
//! **Groups** are numbers on the box, 0 to 1023. A group whose name is such a number is it; any other is given a free one, and
//! a rule that no policy uses remembers it: `csw-rule "acmgroup-7-images" url exists` ([`book`]). An XL has no place for that.
//! Servers without a group are the default group, and what no rule decides goes there: no `default` line.
//!
//! Pure, and without any knowledge of sessions. Callers: `driver::foundry`, which types and reads such lines, and `console`,
//! which obeys and shows them.

pub mod book;
mod line;
pub mod name;
pub mod read;
mod rule;
pub mod say;
pub mod sweep;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

/// The lines of a virtual server's port that are about content, by their first word behind `port P`; each begins with it.
pub type PortLines = BTreeMap<String, String>;

/// The keys of [`PortLines`].
pub const PORT_KEYS: [&str; 7] =
    ["csw", "csw-policy", "url-switch", "url-map", "url-hash", "cookie-hash", "cookie-name"];

/// The longest text in a line, as the device takes it (vendor's manual), and the longest name of a rule.
pub const TEXT_MAX: usize = 80;

/// The largest number of a server group; larger ones are servers by their id.
pub const GROUP_MAX: u16 = 1023;

/// Maps that name one another as default are followed so far.
pub const MAPS_MAX: usize = 64;

/// Which words a box has for rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grammar {
    /// `csw-rule` and `csw-policy`.
    Csw,
    /// `url-map` alone.
    UrlMap,
}

/// Why words mean nothing in the contract's terms.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// The contract has no equivalent.
    #[error("{0}")]
    NoWord(String),
    /// They contradict themselves, or what they name is not there.
    #[error("{0}")]
    Wrong(String),
}

/// A wish that the box has no words for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct Unsaid {
    /// The field of the call, as JSON has it.
    pub field: String,
    /// What is missing, and what would do.
    pub why: String,
}

impl Unsaid {
    /// Shorthand.
    pub fn new(field: impl Into<String>, why: impl Into<String>) -> Unsaid {
        Unsaid { field: field.into(), why: why.into() }
    }
}

/// The words of a line; what is in quotes is one.
pub fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (n, part) in line.split('"').enumerate() {
        if n % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_ascii_whitespace().map(str::to_owned));
        }
    }
    words
}

fn as_strs(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

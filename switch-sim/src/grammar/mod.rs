//! The grammar of a command line, as tables of rows. A row is a line of the manual:
//!
//! ```text
//!  row("server real <name> [<ip>]", "Real server", ...)
//! ```
//!
//! What is typed is read with the rows, `?` and Tab answer from the same rows, and the `no` forms come from them too. Words
//! may be shortened to any beginning that only one word has. This room knows nothing of what commands do.

mod pattern;
mod tree;
pub mod word;

use std::fmt;

pub use tree::{Grammar, Table};

use word::Value;

/// A command: its syntax and what it does.
#[derive(Debug)]
pub struct Row<A: 'static> {
    /// The syntax; see the `pattern` module.
    pub pattern: &'static str,
    /// What `?` says behind its last keyword.
    pub help: &'static str,
    /// Whether it can be undone with `no` in front and its values left out.
    pub undo: Undo,
    /// What it does, and who may.
    pub action: A,
}

/// Whether a row has a `no` form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undo {
    /// The same words behind `no`, the values optional.
    WithNo,
    /// None, or rows of its own.
    Never,
}

/// Which form of a row was typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As the row stands.
    Plain,
    /// With `no` in front.
    No,
}

/// A line that is a command.
#[derive(Debug)]
pub struct Found<A: 'static> {
    /// Its row.
    pub row: &'static Row<A>,
    /// Which form of it.
    pub form: Form,
    /// The rank of its table: 0 is the mode's own.
    pub rank: u8,
    /// The words as they were typed.
    pub typed: Vec<String>,
    /// The values of its arguments and choices.
    pub arguments: Arguments,
    /// The line in full words, as the configuration prints it; without `no`.
    pub line: String,
    /// The part of `line` that says what it is about: another line with the same key takes its place.
    pub key: String,
}

/// Why a line is no command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotACommand {
    /// Nothing was typed.
    Empty,
    /// The line from the first word on that fits nowhere.
    Invalid(String),
    /// The line from the first word on that fits several.
    Ambiguous(String),
    /// It ends too early.
    Incomplete,
}

/// The values of a line, by kind and in their order: `name(0)` is the first name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arguments(Vec<Value>);

macro_rules! getters {
    ($($(#[$doc:meta])* $get:ident $kind:ident -> $type:ty;)*) => {
        impl Arguments {
            $(
                $(#[$doc])*
                pub fn $get(&self, n: usize) -> Option<&$type> {
                    self.0.iter().filter_map(|value| match value { Value::$kind(inner) => Some(inner), _ => None }).nth(n)
                }
            )*
        }
    };
}

getters! {
    /// The n-th text.
    text Text -> String;
    /// The n-th address.
    ip Ip -> std::net::IpAddr;
    /// The n-th port.
    port Port -> crate::slb::words::Port;
    /// The n-th number.
    number Number -> u32;
    /// The n-th chosen keyword.
    choice Choice -> &'static str;
}

impl Arguments {
    /// The n-th name.
    ///
    /// # Errors
    /// The word at its place, if it is no name.
    pub fn name(&self, n: usize) -> Option<Result<&crate::slb::words::Name, &word::BadName>> {
        let names = self.0.iter().filter_map(|value| match value {
            Value::Name(name) => Some(name.as_ref()),
            _ => None,
        });
        names.into_iter().nth(n)
    }

    /// All values.
    pub fn values(&self) -> &[Value] {
        &self.0
    }
}

/// A line of help: what may be typed, and what it means.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hint {
    /// The word, or how an argument is shown.
    pub word: String,
    /// What it means.
    pub means: &'static str,
    /// Whether `word` can be typed as it stands.
    pub literal: bool,
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {:<21} {}", self.word, self.means)
    }
}

//! The deciding half of content switching from outside: against payloads that smuggle, against other parsers, against
//! slow references, and against the bars for hashing.

#![allow(missing_docs, unreachable_pub)]

mod drive;
mod hashing;
mod oracles;
mod paths;
mod rules;
mod smuggling;

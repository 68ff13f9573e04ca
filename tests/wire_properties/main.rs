//! Properties of the wire room, against etherparse as an oracle that shares no code with it.
//!
//! * `parsing`: never panics; what both parsers accept they read alike; whatever only one accepts is one of the
//!   differences listed there.
//! * `rewriting`: field for field what summing the whole packet again gives, complete and partial.
//! * `quoting`: what an ICMP error quotes, rewritten like the packet itself.
//! * `building`: what we write, etherparse reads, checksums included.
//! * `frames`: the frames that all of them are tried with.

mod building;
mod frames;
mod parsing;
mod quoting;
mod rewriting;

use proptest::test_runner::Config;

/// Enough cases to meet the rare ones in a second or two; `PROPTEST_CASES` overrides. A failing case is printed, not kept
/// in a file.
fn config() -> Config {
    Config { cases: 4000, failure_persistence: None, ..Config::default() }
}

//! What beacons cost the manager: `cargo bench --bench beacons`.
//!
//! First in memory, one core: a beacon of an agent not met before, with its Add; one that repeats; junk. Then a real
//! `acm manager` process on the loopback of a namespace of its own, with a switch behind the native driver: a burst of
//! ten thousand at once, fifty thousand servers, 24,000 and 240,000 instances that change. Its share of a core is what
//! the kernel says it used, system calls included.

#![allow(missing_docs, clippy::disallowed_methods)]

mod crowd;
#[path = "../../tests/support/netns.rs"]
mod netns;
mod pure;
mod real;

use std::time::Duration;

/// Prints one result beside its bar.
fn report(what: &str, measured: &str, met: Option<(bool, &str)>) {
    let bar = match met {
        None => String::new(),
        Some((true, bar)) => format!("bar: {bar} met"),
        Some((false, bar)) => format!("bar: {bar} MISSED"),
    };
    println!("{what:<58} {measured:>22}   {bar}");
}

fn micros(each: Duration) -> String {
    format!("{:.2} us", each.as_secs_f64() * 1e6)
}

fn main() {
    // Before any thread exists.
    let namespace = netns::prepare();
    pure::run();
    match namespace.map_err(std::io::Error::other).and_then(|()| netns::Namespace::new()) {
        Ok(space) => space.run(real::run),
        Err(why) => println!("SKIPPED: the real manager: {why}"),
    }
}

//! Us and the peers on the same namespaces in one run, alternating, medians and spread.
//!
//! `cargo bench --bench peers` (as root; `-- --seconds 5 --rounds 3`). It installs what it needs from the
//! distribution (haproxy, nftables, wrk, nginx, iproute2), makes three network namespaces in a row,
//!
//! ```text
//! client 10.0.0.1 ──veth── middle ──veth── server 10.0.0.11 (nginx, one worker, port 8080)
//! ```
//!
//! puts one *way* at a time into the middle and lets `wrk` (one thread, 64 connections) measure at the receiver:
//! keep-alive requests, new connections (`Connection: close`), and bulk bytes (1 MiB bodies). The server and the
//! client never change; only the middle does. One real server, so that the way that balances nothing can be a row.
//!
//! `-- --content` measures the ways that choose by the request instead: by URL hash over two real servers, also for a
//! thousand URLs in turn on each connection, with our two ways of switching, and behind a thousand rules.

#![allow(missing_docs, unreachable_pub, clippy::disallowed_methods)]

mod content;
mod load;
mod rig;
mod table;
mod ways;

use std::process::ExitCode;

use load::Metric;
use rig::Rig;
use table::Results;
use ways::Way;

/// What the command line asks for.
struct Options {
    seconds: u32,
    rounds: u32,
    only: Option<String>,
    content: bool,
}

fn options() -> Result<Options, String> {
    let mut options = Options { seconds: 5, rounds: 3, only: None, content: false };
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        match arg.as_str() {
            "--seconds" => options.seconds = value()?.parse().map_err(|_| "--seconds needs a number")?,
            "--rounds" => options.rounds = value()?.parse().map_err(|_| "--rounds needs a number")?,
            "--content" => options.content = true,
            "--only" => options.only = Some(value()?),
            other => {
                return Err(format!(
                    "unknown argument {other}; known: --content --seconds N --rounds N --only WAY,WAY"
                ));
            }
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    // The reference forwarder is this program again, inside the middle namespace.
    if std::env::var_os(ways::FORWARDER_ROLE).is_some() {
        return ways::run_forwarder();
    }
    match measure() {
        Ok(results) => {
            println!("{results}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("peers: {why}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<Results, String> {
    let options = options()?;
    rig::install_peers()?;
    let rig = Rig::up()?;
    let chosen = |way: &&Way| options.only.as_deref().is_none_or(|list| list.split(',').any(|name| name == way.name()));
    let (all, metrics): (&[Way], &[Metric]) = match options.content {
        true => (&Way::CONTENT, &Metric::CONTENT),
        false => (&Way::ALL, &Metric::ALL),
    };
    let ways: Vec<&Way> = all.iter().filter(chosen).collect();
    let (first, bars) = if options.content { ("acm-content", table::CONTENT_BARS) } else { ("acm", table::BARS) };
    let mut results = Results::new(rig::machine(), first, metrics, bars);
    for round in 0..options.rounds {
        for way in &ways {
            let running = way.start(&rig)?;
            rig.wait_until_served(way.target())?;
            for metric in metrics.iter().copied() {
                let value = load::measure(&rig, way.target(), metric, options.seconds)?;
                eprintln!(
                    "round {}/{} {:<12} {:<16} {}",
                    round + 1,
                    options.rounds,
                    way.name(),
                    metric.name(),
                    metric.show(value)
                );
                results.add(way.name(), metric, value);
            }
            drop(running);
            rig.reset_middle()?;
        }
    }
    Ok(results)
}

//! Ways through a port, compared: `recvmmsg`/`sendmmsg` (what `port::af_packet` does) with and without the queueing
//! discipline and with a short spin before sleeping, and the kernel's mapped rings.
//!
//! `cargo bench --bench port_ways` (as root or with user namespaces; `-- --seconds 2 --rounds 3 --only WAY,WAY`). It
//! makes three network namespaces in a row by itself and needs no other program:
//!
//! ```text
//! client ──veth── middle: a thread that passes frames one of these ways ──veth── server
//! ```
//!
//! Client and server are one thread each, on plain sockets with offloads on. Measured at the client: requests a second
//! over 64 connections that each wait for their answer, the round trip of one connection alone, and bulk bytes a second
//! over 4 connections; and the processor time of the thread for a frame of the first. All ways in every round, in turn; medians, and the lowest and highest.

// A measuring program reads the clock.
#![allow(clippy::disallowed_methods)]
#![allow(unreachable_pub)] // in a program, every `pub` is

#[path = "../../tests/support/netns.rs"]
mod netns;

mod load;
mod ring;
mod ways;

use std::process::ExitCode;
use std::time::Duration;

use netns::Namespace;
use ways::Way;

/// What the command line asks for.
struct Options {
    time: Duration,
    rounds: usize,
    only: Option<String>,
}

fn options() -> Result<Options, String> {
    let mut options = Options { time: Duration::from_secs(2), rounds: 3, only: None };
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        match arg.as_str() {
            "--seconds" => {
                let seconds = value()?.parse().map_err(|_| "--seconds needs a number")?;
                options.time = Duration::try_from_secs_f64(seconds).map_err(|_| "--seconds needs a time")?;
            }
            "--rounds" => options.rounds = value()?.parse().map_err(|_| "--rounds needs a number")?,
            "--only" => options.only = Some(value()?),
            other => return Err(format!("unknown argument {other}; known: --seconds N --rounds N --only WAY,WAY")),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    match netns::prepare().and_then(|()| measure()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("port_ways: {why}");
            ExitCode::FAILURE
        }
    }
}

/// A column of the table.
const COLUMNS: [&str; 5] = ["64 conns, req/s", "p99 us", "its CPU, ns/frame", "1 conn, us/round trip", "bulk, GB/s"];

fn measure() -> Result<(), String> {
    let options = options()?;
    let ways: Vec<Way> = Way::ALL
        .into_iter()
        .filter(|way| options.only.as_deref().is_none_or(|only| only.split(',').any(|name| name == way.name())))
        .collect();
    let mut values = vec![[const { Vec::new() }; COLUMNS.len()]; ways.len()];
    for round in 0..options.rounds {
        for (way, values) in ways.iter().zip(&mut values) {
            let row = one(*way, options.time).map_err(|error| format!("{}: {error}", way.name()))?;
            eprintln!("round {}/{}: {:<12} {row:.2?}", round + 1, options.rounds, way.name());
            values.iter_mut().zip(row).for_each(|(column, value): (&mut Vec<f64>, f64)| column.push(value));
        }
    }
    println!("\nmedian (lowest-highest) of {} rounds of {:?} each\n", options.rounds, options.time);
    println!(
        "| {:<12} | {} |\n|---|---|---|---|---|---|",
        "way",
        COLUMNS.map(|name| format!("{name:<24}")).join(" | ")
    );
    for (way, values) in ways.iter().zip(values) {
        println!("| {:<12} | {} |", way.name(), values.map(|column| format!("{:<24}", cell(column))).join(" | "));
    }
    Ok(())
}

fn cell(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let (Some(low), Some(high)) = (values.first(), values.last()) else { return "-".into() };
    let show = |value: f64| if value < 10.0 { format!("{value:.2}") } else { format!("{value:.0}") };
    format!("{} ({}-{})", show(values[values.len() / 2]), show(*low), show(*high))
}

/// One way, all columns, in namespaces of its own.
fn one(way: Way, time: Duration) -> std::io::Result<[f64; COLUMNS.len()]> {
    let (client, middle, server) = (Namespace::new()?, Namespace::new()?, Namespace::new()?);
    middle.cable("m0", &client, "c0")?;
    middle.cable("m1", &server, "s0")?;
    client.address("c0", load::CLIENT.octets(), 24)?;
    server.address("s0", load::SERVER.octets(), 24)?;
    let forwarder = middle.run(|| way.start(["m0", "m1"]))?;
    let _server = server.run(load::serve)?;
    let before = forwarder.work();
    let many = client.run(|| load::request_response(64, time))?;
    let after = forwarder.work();
    let a_frame = (after.time - before.time).as_nanos() as f64 / (after.frames - before.frames).max(1) as f64;
    let alone = client.run(|| load::request_response(1, time / 2))?;
    let bulk = client.run(|| load::bulk(4, time))?;
    Ok([many.per_second, many.p99.as_secs_f64() * 1e6, a_frame, 1e6 / alone.per_second, bulk / 1e9])
}

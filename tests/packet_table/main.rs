//! The packet table: services, frames in, frames out, counters moved; all other counters stand still.
//!
//! A row is a function from nothing to a verdict by assertion; every row runs, and the failing ones are named.

#![allow(missing_docs, unreachable_pub)]

mod belief;
mod bridge;
mod content;
mod content_errors;
mod errors;
mod force;
mod hostile;
mod rig;
mod talk;
mod tcp_rows;
mod udp_rows;

/// A row's name and what it does.
type Row = (&'static str, fn());

fn run(rows: &[Row]) {
    let mut failed = Vec::new();
    for (name, row) in rows {
        if std::panic::catch_unwind(row).is_err() {
            failed.push(*name);
        }
    }
    assert!(failed.is_empty(), "{} of {} rows failed: {failed:#?}", failed.len(), rows.len());
}

#[test]
fn bridging_arp_and_echo() {
    run(bridge::ROWS);
}

#[test]
fn tcp_services() {
    run(tcp_rows::ROWS);
}

#[test]
fn udp_services() {
    run(udp_rows::ROWS);
}

#[test]
fn content_services() {
    run(content::ROWS);
}

#[test]
fn errors_about_content_connections() {
    run(content_errors::ROWS);
}

#[test]
fn removal_and_force() {
    run(force::ROWS);
}

#[test]
fn what_is_believed() {
    run(belief::ROWS);
}

#[test]
fn icmp_errors() {
    run(errors::ROWS);
}

#[test]
fn malformed_and_hostile() {
    run(hostile::ROWS);
}

#[test]
fn the_table_is_long_enough_to_mean_something() {
    let all = [
        belief::ROWS,
        bridge::ROWS,
        content::ROWS,
        errors::ROWS,
        tcp_rows::ROWS,
        udp_rows::ROWS,
        force::ROWS,
        hostile::ROWS,
    ];
    let rows: usize = all.iter().map(|rows| rows.len()).sum();
    assert!(rows >= 60, "{rows} rows");
}

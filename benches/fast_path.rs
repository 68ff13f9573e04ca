//! What a packet of an established connection costs, in memory, on one core.
//!
//! Prints each figure with the bar it is held against. Frames are processed in batches of 64, as a port delivers them,
//! and are taken back to their first state outside the measured time.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use acm_switch::base::addr::Mac;
use acm_switch::base::seq::Seq;
use acm_switch::wire::build::{self, Link, Segment};
use acm_switch::wire::frame::{Batch, FrameBuf};
use acm_switch::wire::parse::{Payload, TcpFlags, Transport, parse};
use acm_switch::wire::rewrite;
use criterion::{Criterion, Throughput};

const BATCH: usize = 64;
const CLIENT_LINK: Link = Link { src: Mac([2, 0, 0, 0, 0, 0xc1]), dst: Mac([2, 0, 0, 0, 0, 0xfe]) };
const REAL_MAC: Mac = Mac([2, 0, 0, 0, 0, 0x51]);
const OWN_MAC: Mac = Mac([2, 0, 0, 0, 0, 0xfe]);

fn client(n: u32) -> SocketAddr {
    SocketAddr::new(std::net::Ipv4Addr::from(0x0a01_0000 + n / 50_000).into(), 10_000 + (n % 50_000) as u16)
}

fn segment(out: &mut FrameBuf, from: SocketAddr, to: SocketAddr, flags: TcpFlags) {
    let payload = [0x55; 10];
    let segment =
        Segment { from, to, seq: Seq(1000), ack: Seq(2000), flags, window: 512, mss: None, payload: &payload };
    assert!(build::tcp(out, CLIENT_LINK, &segment));
}

fn wire(c: &mut Criterion) {
    let mut group = c.benchmark_group("wire");
    group.throughput(Throughput::Elements(BATCH as u64));
    let vip = "10.0.0.100:80".parse().unwrap();
    let real: SocketAddr = "10.0.0.11:8080".parse().unwrap();
    let mut batch = Batch::new(BATCH, 2048);
    for n in 0..BATCH as u32 {
        segment(batch.next_free().unwrap(), client(n), vip, TcpFlags::ACK);
    }
    group.bench_function("parse", |b| {
        b.iter(|| {
            for frame in batch.frames() {
                std::hint::black_box(parse(frame.bytes()).is_ok());
            }
        });
    });
    group.bench_function("parse+rewrite", |b| {
        b.iter(|| {
            for frame in batch.frames_mut() {
                let Ok(parsed) = parse(frame.bytes()) else { continue };
                let Payload::Ip(ip) = parsed.payload else { continue };
                let Transport::Tcp(tcp) = ip.transport else { continue };
                std::hint::black_box((ip.src, tcp.src_port, ip.dst, tcp.dst_port, tcp.seq, tcp.flags));
                rewrite::set_destination(frame, &ip, std::hint::black_box(real));
                rewrite::set_macs(frame, Some(REAL_MAC), Some(OWN_MAC));
            }
        });
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    let begun = Instant::now();
    wire(&mut criterion);
    criterion.final_summary();
    println!("in {:?}", begun.elapsed());
}

//! In-place rewriting against summing again.

use std::net::SocketAddr;

use acm_switch::wire::frame::{Checksum, FrameBuf};
use acm_switch::wire::parse::{Ip, Transport};
use acm_switch::wire::{checksum, rewrite};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use proptest::prelude::*;

use crate::config;
use crate::frames::*;

/// The transport checksum that etherparse computes for the packet as it stands.
pub(crate) fn recomputed(bytes: &[u8]) -> u16 {
    let packet = SlicedPacket::from_ethernet(bytes).expect("a good frame");
    let payload = packet.ip_payload().expect("an IP packet").payload;
    match (packet.net.as_ref().unwrap(), packet.transport.as_ref().unwrap()) {
        (NetSlice::Ipv4(ip), TransportSlice::Tcp(tcp)) => {
            tcp.calc_checksum_ipv4(ip.header().source(), ip.header().destination()).unwrap()
        }
        (NetSlice::Ipv6(ip), TransportSlice::Tcp(tcp)) => {
            tcp.calc_checksum_ipv6(ip.header().source(), ip.header().destination()).unwrap()
        }
        (NetSlice::Ipv4(ip), TransportSlice::Udp(udp)) => {
            let (from, to) = (ip.header().source(), ip.header().destination());
            udp.to_header().calc_checksum_ipv4_raw(from, to, udp.payload()).unwrap()
        }
        (NetSlice::Ipv6(ip), TransportSlice::Udp(udp)) => {
            let (from, to) = (ip.header().source(), ip.header().destination());
            udp.to_header().calc_checksum_ipv6_raw(from, to, udp.payload()).unwrap()
        }
        (NetSlice::Ipv4(_), TransportSlice::Icmpv4(icmp)) => icmp.icmp_type().calc_checksum(&payload[8..]),
        (NetSlice::Ipv6(ip), TransportSlice::Icmpv6(icmp)) => {
            icmp.icmp_type().calc_checksum(ip.header().source(), ip.header().destination(), &payload[8..]).unwrap()
        }
        other => panic!("{other:?}"),
    }
}

pub(crate) fn stored(bytes: &[u8], ip: &Ip) -> u16 {
    let at = usize::from(ip.l4) + offset(ip);
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn offset(ip: &Ip) -> usize {
    match ip.transport {
        Transport::Tcp(_) => 16,
        Transport::Udp(_) => 6,
        _ => 2,
    }
}

fn store(frame: &mut FrameBuf, ip: &Ip, value: u16) {
    let at = usize::from(ip.l4) + offset(ip);
    frame.bytes_mut()[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// The IPv4 header's checksum summed again by etherparse, and as stored.
pub(crate) fn ipv4_checksums(bytes: &[u8]) -> (u16, u16) {
    match SlicedPacket::from_ethernet(bytes).unwrap().net {
        Some(NetSlice::Ipv4(ip)) => (ip.header().to_header().calc_header_checksum(), ip.header().header_checksum()),
        _ => (0, 0),
    }
}

#[derive(Debug, Clone, Copy)]
enum End {
    Source,
    Destination,
}

fn rewrite_end(frame: &mut FrameBuf, ip: &Ip, end: End, to: SocketAddr) {
    match end {
        End::Source => rewrite::set_source(frame, ip, to),
        End::Destination => rewrite::set_destination(frame, ip, to),
    }
}

/// What the frame must say afterwards: every field but the rewritten ones as before.
fn assert_rewritten(valid: &Valid, before: &Ip, after: &Ip, end: End, to: SocketAddr) {
    let mut wanted = valid.clone();
    match end {
        End::Source => wanted.from = to,
        End::Destination => wanted.to = to,
    }
    if valid.kind == Kind::Echo {
        // No ports there; `Valid` keeps identifier and sequence number in them.
        wanted.from.set_port(valid.from.port());
        wanted.to.set_port(valid.to.port());
    }
    assert_eq!(*after, ip_of(&wanted.bytes()));
    assert_eq!((after.l4, after.end), (before.l4, before.end));
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Source), Just(End::Destination)]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_complete_checksum_is_what_summing_again_gives((valid, to) in valid_and_new(), end in end(), verified: bool) {
        let mut frame = frame_of(&valid.bytes());
        if verified {
            frame.offload.checksum = Checksum::Verified;
        }
        let before = ip_of(frame.bytes());
        rewrite_end(&mut frame, &before, end, to);
        let after = ip_of(frame.bytes());
        assert_rewritten(&valid, &before, &after, end, to);
        prop_assert_eq!(stored(frame.bytes(), &after), recomputed(frame.bytes()));
        let (right, is) = ipv4_checksums(frame.bytes());
        prop_assert_eq!(is, right);
        frame.offload.checksum = Checksum::Complete;
        prop_assert!(checksum::l4_is_correct(&frame, &after) && checksum::ipv4_header_ok(frame.bytes(), &after));
    }

    #[test]
    fn a_partial_checksum_finishes_right((valid, to) in valid_and_new(), end in end()) {
        let valid = Valid { kind: if valid.kind == Kind::Echo { Kind::Udp } else { valid.kind }, ..valid };
        // As a kernel sends: no padding yet, the folded pseudo-header sum in the field.
        let valid = Valid { padding: 0, ..valid };
        let mut frame = frame_of(&valid.bytes());
        let before = ip_of(frame.bytes());
        let protocol = if valid.kind == Kind::Tcp { 6 } else { 17 };
        let pseudo = checksum::pseudo(before.src, before.dst, protocol, before.end - u32::from(before.l4));
        store(&mut frame, &before, checksum::fold(pseudo));
        frame.offload.checksum = Checksum::Partial { start: before.l4, offset: offset(&before) as u16 };
        prop_assert!(checksum::l4_is_correct(&frame, &before));
        rewrite_end(&mut frame, &before, end, to);
        let after = ip_of(frame.bytes());
        assert_rewritten(&valid, &before, &after, end, to);
        prop_assert!(checksum::l4_is_correct(&frame, &after), "the pseudo-header's part");
        checksum::finish(&mut frame);
        prop_assert_eq!(frame.offload.checksum, Checksum::Complete);
        prop_assert_eq!(stored(frame.bytes(), &after), recomputed(frame.bytes()));
        checksum::finish(&mut frame);
        prop_assert_eq!(stored(frame.bytes(), &after), recomputed(frame.bytes()), "finished is finished");
    }

    #[test]
    fn a_wrong_checksum_stays_as_wrong((valid, to) in valid_and_new(), end in end(), error in 1..=0xfffeu16) {
        let mut frame = frame_of(&valid.bytes());
        let before = ip_of(frame.bytes());
        let off = checksum::fold(u64::from(recomputed(frame.bytes())) + u64::from(error));
        prop_assume!(off != 0 || valid.kind != Kind::Udp);
        store(&mut frame, &before, off);
        prop_assert!(!checksum::l4_is_correct(&frame, &before));
        rewrite_end(&mut frame, &before, end, to);
        let after = ip_of(frame.bytes());
        prop_assert!(!checksum::l4_is_correct(&frame, &after));
        // The error is the same, modulo 0xffff.
        let now = checksum::fold(u64::from(stored(frame.bytes(), &after)) + u64::from(!recomputed(frame.bytes())));
        prop_assert_eq!(now % 0xffff, error % 0xffff);
    }

    #[test]
    fn udp_without_a_checksum_stays_without((valid, to) in valid_and_new(), end in end()) {
        let valid = Valid { kind: Kind::Udp, ..valid };
        let mut frame = frame_of(&valid.bytes());
        let before = ip_of(frame.bytes());
        store(&mut frame, &before, 0);
        rewrite_end(&mut frame, &before, end, to);
        let after = ip_of(frame.bytes());
        assert_rewritten(&valid, &before, &after, end, to);
        prop_assert_eq!(stored(frame.bytes(), &after), 0);
        prop_assert_eq!(checksum::l4_is_correct(&frame, &after), after.dst.is_ipv4(), "legal over IPv4 only");
    }

    #[test]
    fn there_and_back_is_the_same_frame((valid, to) in valid_and_new(), end in end()) {
        let bytes = valid.bytes();
        let mut frame = frame_of(&bytes);
        let before = ip_of(&bytes);
        rewrite_end(&mut frame, &before, end, to);
        let back = match end {
            End::Source => valid.from,
            End::Destination => valid.to,
        };
        let there = ip_of(frame.bytes());
        rewrite_end(&mut frame, &there, end, back);
        prop_assert_eq!(frame.bytes(), &bytes[..]);
    }

    #[test]
    fn an_address_of_the_other_family_changes_nothing((valid, _) in valid_and_new(), end in end()) {
        let bytes = valid.bytes();
        let mut frame = frame_of(&bytes);
        let other = if valid.to.is_ipv4() { "[2001:db8::1]:1" } else { "10.0.0.1:1" }.parse().unwrap();
        rewrite_end(&mut frame, &ip_of(&bytes), end, other);
        prop_assert_eq!(frame.bytes(), &bytes[..]);
    }
}

/// Every destination port, so that every value the checksum can take is met, the zero of UDP among them.
#[test]
fn every_port_gives_the_right_checksum() {
    for kind in [Kind::Tcp, Kind::Udp] {
        let from = "192.0.2.1:1025".parse().unwrap();
        let to: SocketAddr = "198.51.100.7:0".parse().unwrap();
        let valid = Valid { kind, from, to, payload: b"odd".to_vec(), padding: 0, options: 0 };
        let bytes = valid.bytes();
        let ip = ip_of(&bytes);
        let mut of_all_ones = 0;
        for port in 0..=u16::MAX {
            let mut frame = frame_of(&bytes);
            rewrite::set_destination(&mut frame, &ip, SocketAddr::new(to.ip(), port));
            let is = stored(frame.bytes(), &ip);
            assert_eq!(is, recomputed(frame.bytes()), "{kind:?} port {port}");
            of_all_ones += u32::from(is == 0xffff);
        }
        assert_eq!(of_all_ones, u32::from(kind == Kind::Udp), "{kind:?}: 0xffff stands for zero, in UDP only");
    }
}

/// Every old word against the words where carries begin and end, and every sum against the same words.
#[test]
fn updates_of_every_word_are_exact() {
    let slow = |words: &[u16]| {
        let mut sum = 0u32;
        for word in words {
            sum += u32::from(*word);
            if sum > 0xffff {
                sum = (sum & 0xffff) + 1;
            }
        }
        !(sum as u16)
    };
    const EDGES: [u16; 8] = [0, 1, 0x7fff, 0x8000, 0x8001, 0xfffd, 0xfffe, 0xffff];
    for word in 0..=u16::MAX {
        for other in EDGES {
            for rest in EDGES {
                // A constant word that is not zero, as every header has one.
                let (old, new) = ([0x0045, rest, word], [0x0045, rest, other]);
                let to = checksum::update(slow(&old), checksum::replace16(word, other));
                assert_eq!(to, slow(&new), "{old:04x?} -> {new:04x?}");
                let back = checksum::update(slow(&new), checksum::replace16(other, word));
                assert_eq!(back, slow(&old), "{new:04x?} -> {old:04x?}");
            }
        }
    }
}

#[test]
fn sums_of_any_length_and_content() {
    let slow = |bytes: &[u8]| {
        let mut sum = 0u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    };
    for fill in [0u8, 1, 0x80, 0xff] {
        for length in (0..70).chain([1459, 1460, 65_534, 65_535]) {
            let bytes: Vec<u8> = (0..length).map(|n| if fill == 1 { n as u8 } else { fill }).collect();
            assert_eq!(checksum::fold(checksum::sum(&bytes)), slow(&bytes), "{length} of {fill:#x}");
        }
    }
}

/// A 64 KB super-frame as a kernel hands it over.
#[test]
fn a_super_frame_finishes_right() {
    let payload: Vec<u8> = (0..65_483u32).map(|n| (n * 7) as u8).collect();
    let (from, to) = ("10.0.0.1:40000".parse().unwrap(), "10.0.0.100:80".parse().unwrap());
    let valid = Valid { kind: Kind::Tcp, from, to, payload, padding: 0, options: 3 };
    let mut frame = frame_of(&valid.bytes());
    let ip = ip_of(frame.bytes());
    assert_eq!(ip.end, 14 + 65_535);
    store(&mut frame, &ip, checksum::fold(checksum::pseudo(ip.src, ip.dst, 6, ip.end - u32::from(ip.l4))));
    frame.offload.checksum = Checksum::Partial { start: ip.l4, offset: 16 };
    rewrite::set_destination(&mut frame, &ip, "10.0.0.11:8080".parse().unwrap());
    checksum::finish(&mut frame);
    assert_eq!(stored(frame.bytes(), &ip), recomputed(frame.bytes()));
}

/// A tunnel's inner checksum may be the partial one; the outer is then complete and is treated so.
#[test]
fn a_partial_checksum_of_an_inner_packet_is_left_alone() {
    let (from, to) = ("10.0.0.1:40000".parse().unwrap(), "10.0.0.100:4789".parse().unwrap());
    let valid = Valid { kind: Kind::Udp, from, to, payload: vec![9; 80], padding: 0, options: 0 };
    let mut frame = frame_of(&valid.bytes());
    let ip = ip_of(frame.bytes());
    frame.offload.checksum = Checksum::Partial { start: ip.l4 + 50, offset: 16 };
    rewrite::set_destination(&mut frame, &ip, "10.0.0.11:8080".parse().unwrap());
    assert_eq!(stored(frame.bytes(), &ip), recomputed(frame.bytes()));
}

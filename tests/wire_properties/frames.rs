//! Frames: valid, mutated, with chains of extension headers, and arbitrary bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use acm_switch::base::addr::Mac;
use acm_switch::wire::build::Link;
use acm_switch::wire::frame::FrameBuf;
use acm_switch::wire::parse::{Ip, Payload, parse};
use etherparse::PacketBuilder;
use proptest::prelude::*;

pub(crate) const LINK: Link = Link { src: Mac([2, 0, 0, 0, 0, 1]), dst: Mac([2, 0, 0, 0, 0, 2]) };

pub(crate) fn ip_of(bytes: &[u8]) -> Ip {
    match parse(bytes).expect("a good frame").payload {
        Payload::Ip(ip) => ip,
        other => panic!("not IP: {other:?}"),
    }
}

pub(crate) fn frame_of(bytes: &[u8]) -> FrameBuf {
    let mut frame = FrameBuf::with_capacity(bytes.len().max(60));
    assert!(frame.fill(bytes));
    frame
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Tcp,
    Udp,
    Echo,
}

/// A valid frame, made by etherparse.
#[derive(Debug, Clone)]
pub(crate) struct Valid {
    pub(crate) kind: Kind,
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) payload: Vec<u8>,
    /// Zero bytes behind the IP packet.
    pub(crate) padding: usize,
    /// TCP options, in words of no-operation.
    pub(crate) options: usize,
}

impl Valid {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let link = PacketBuilder::ethernet2(LINK.src.0, LINK.dst.0);
        let net = match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => link.ipv4(from.octets(), to.octets(), 61),
            (IpAddr::V6(from), IpAddr::V6(to)) => link.ipv6(from.octets(), to.octets(), 61),
            _ => unreachable!("one family"),
        };
        let mut bytes = Vec::new();
        let (from, to) = (self.from.port(), self.to.port());
        match self.kind {
            Kind::Tcp => {
                let tcp = net.tcp(from, to, 0xffff_fff0, 4096).ack(7).psh();
                let options = vec![etherparse::TcpOptionElement::Noop; 4 * self.options];
                tcp.options(&options).unwrap().write(&mut bytes, &self.payload).unwrap();
            }
            Kind::Udp => net.udp(from, to).write(&mut bytes, &self.payload).unwrap(),
            Kind::Echo if self.from.is_ipv4() => {
                net.icmpv4_echo_request(from, to).write(&mut bytes, &self.payload).unwrap()
            }
            Kind::Echo => net.icmpv6_echo_request(from, to).write(&mut bytes, &self.payload).unwrap(),
        }
        bytes.resize(bytes.len() + self.padding, 0);
        bytes
    }
}

/// Endpoints of one family, with the ends of the ranges often: there the carries are.
pub(crate) fn endpoints() -> impl Strategy<Value = [SocketAddr; 3]> {
    let port = || prop_oneof![Just(0u16), Just(0xffff), any::<u16>()];
    let v4 = || prop_oneof![Just(0u32), Just(u32::MAX), any::<u32>()].prop_map(|bits| IpAddr::V4(Ipv4Addr::from(bits)));
    let v6 =
        || prop_oneof![Just(0u128), Just(u128::MAX), any::<u128>()].prop_map(|bits| IpAddr::V6(Ipv6Addr::from(bits)));
    let addresses = prop_oneof![[v4(), v4(), v4()], [v6(), v6(), v6()]];
    (addresses, [port(), port(), port()]).prop_map(|(ips, ports)| [0, 1, 2].map(|n| SocketAddr::new(ips[n], ports[n])))
}

pub(crate) fn valid_and_new() -> impl Strategy<Value = (Valid, SocketAddr)> {
    let kind = prop_oneof![Just(Kind::Tcp), Just(Kind::Udp), Just(Kind::Echo)];
    let byte = prop_oneof![Just(0u8), Just(0xff), any::<u8>()];
    (kind, endpoints(), prop::collection::vec(byte, 0..90), 0..9usize, 0..11usize).prop_map(
        |(kind, [from, to, new], payload, padding, options)| (Valid { kind, from, to, payload, padding, options }, new),
    )
}

/// A valid frame with some bytes changed, or its end cut off or moved.
pub(crate) fn mutated() -> impl Strategy<Value = Vec<u8>> {
    // Mostly the headers: that is where lies matter.
    let at = prop_oneof![4 => 12..64usize, 1 => 0..200usize];
    let change = (at, any::<u8>());
    (valid_and_new(), prop::collection::vec(change, 0..4), prop::option::of(0..120usize)).prop_map(
        |((valid, _), changes, length)| {
            let mut bytes = valid.bytes();
            for (at, value) in changes {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
            if let Some(length) = length {
                bytes.resize(length, 0);
            }
            bytes
        },
    )
}

/// IPv6 with a chain of extension headers in any order, ending in a UDP header.
pub(crate) fn chained() -> impl Strategy<Value = Vec<u8>> {
    let header = (prop_oneof![Just(0u8), Just(43), Just(44), Just(51), Just(60)], 0..3u8, any::<[u8; 2]>());
    prop::collection::vec(header, 0..9).prop_map(|headers| {
        let mut body = Vec::new();
        for (index, (kind, words, word)) in headers.iter().enumerate() {
            let next = headers.get(index + 1).map_or(17, |(kind, ..)| *kind);
            let length = match kind {
                44 => 8,
                // An authentication header counts in words of four, less two (RFC 4302, 2.2).
                51 => 4 * (usize::from(*words) + 3),
                _ => 8 * (usize::from(*words) + 1),
            };
            let mut bytes = vec![0; length];
            bytes[0] = next;
            bytes[1] = if *kind == 51 { words + 1 } else { *words };
            if *kind == 44 {
                bytes[2..4].copy_from_slice(&[word[0] & 1, word[1]]);
            }
            body.extend(bytes);
        }
        body.extend([0x12, 0x34, 0x00, 0x50, 0, 12, 0, 0, 1, 2, 3, 4]);
        let mut bytes = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x86, 0xdd, 0x60, 0, 0, 0];
        bytes.extend((body.len() as u16).to_be_bytes());
        bytes.extend([headers.first().map_or(17, |(kind, ..)| *kind), 64]);
        bytes.extend([7; 32]);
        bytes.extend(body);
        bytes
    })
}

/// Bytes with a plausible beginning, or none.
pub(crate) fn arbitrary() -> impl Strategy<Value = Vec<u8>> {
    let ethertype = prop_oneof![Just([8u8, 0]), Just([8, 6]), Just([0x86, 0xdd]), Just([0x81, 0]), any::<[u8; 2]>()];
    let first = prop_oneof![Just(0x45u8), Just(0x60), Just(0x4f), any::<u8>()];
    (prop::collection::vec(any::<u8>(), 0..200), ethertype, first, any::<bool>()).prop_map(
        |(mut bytes, ethertype, first, plausible)| {
            if plausible && bytes.len() > 30 {
                bytes[6] &= 0xfe;
                bytes[12..14].copy_from_slice(&ethertype);
                bytes[14] = first;
                let total = (bytes.len() - 14) as u16 - u16::from(bytes[20] & 3);
                bytes[16..18].copy_from_slice(&total.to_be_bytes());
                bytes[23] = [1, 6, 17, 58][usize::from(bytes[23] & 3)];
            }
            bytes
        },
    )
}

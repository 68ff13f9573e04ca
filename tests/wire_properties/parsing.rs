//! The parser against etherparse.

use std::net::IpAddr;

use acm_switch::base::addr::Protocol;
use acm_switch::wire::frame::{Checksum, FrameBuf};
use acm_switch::wire::parse::{ArpOp, Fragment, Icmp, Ip, Malformed, Parsed, Payload, TcpFlags, Transport, parse};
use acm_switch::wire::{build, checksum, plain, rewrite};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use proptest::prelude::*;

use crate::config;
use crate::frames::*;

/// Frames that etherparse accepts and we refuse, on purpose.
fn only_they_accept(why: Malformed, theirs: &SlicedPacket) -> bool {
    let fragment = theirs.is_ip_payload_fragmented();
    // Etherparse reads an IPv6 payload length of 0 as "to the end of the frame" (jumbograms, RFC 2675); we take none.
    let endless = matches!(&theirs.net, Some(NetSlice::Ipv6(ip)) if ip.header().payload_length() == 0);
    if endless {
        return true;
    }
    match why {
        // A source no station can have, and ARP senders likewise or for other than Ethernet and IPv4.
        Malformed::SourceMac | Malformed::ArpFormat => true,
        // Etherparse does not look into fragments; we want a first one's transport header whole and consistent.
        Malformed::Truncated | Malformed::TcpHeaderLength | Malformed::UdpLength | Malformed::IcmpLength
            if fragment =>
        {
            true
        }
        // ARP whose address lengths are not ours can be shorter than ours is.
        Malformed::Truncated => matches!(theirs.net, Some(NetSlice::Arp(_))),
        // More extension headers than a packet has reason for.
        Malformed::Ipv6Extension => true,
        // Likewise a UDP length of 0; no host takes that from IPv4.
        Malformed::UdpLength => matches!(&theirs.transport, Some(TransportSlice::Udp(udp)) if udp.length() == 0),
        Malformed::TcpHeaderLength | Malformed::IcmpLength => false,
        Malformed::IpVersion | Malformed::IpHeaderLength | Malformed::IpTotalLength => false,
    }
}

/// Frames that we accept and etherparse refuses: things a switch passes on without looking into them.
fn only_we_accept(ours: &Parsed) -> bool {
    match ours.payload {
        // Tags and MACsec are walked by etherparse, and may be broken inside.
        Payload::Other(_) => true,
        Payload::Arp(_) => false,
        // An authentication header that is cut short; ICMP timestamps of the wrong length.
        Payload::Ip(ip) => {
            matches!(ip.transport, Transport::Other(_) | Transport::Icmp(Icmp::Other) | Transport::Fragment)
        }
    }
}

/// What is read as plain, `parse` reads the same.
fn assert_plain_agrees(bytes: &[u8]) {
    let Some(plain) = plain::read(bytes) else { return };
    let parsed = parse(bytes).expect("a plain packet is well formed");
    let Payload::Ip(ip) = parsed.payload else { panic!("not IP: {parsed:?}") };
    assert_eq!((plain.dst_mac, plain.src_mac), (parsed.dst_mac.bits(), parsed.src_mac.bits()));
    assert_eq!((IpAddr::V4(plain.src), IpAddr::V4(plain.dst)), (ip.src, ip.dst));
    assert_eq!((usize::from(ip.l4), ip.fragment), (plain::L4, Fragment::Whole));
    match ip.transport {
        Transport::Tcp(tcp) => {
            assert_eq!(plain.protocol, Protocol::Tcp);
            assert_eq!((plain.src_port, plain.dst_port), (tcp.src_port, tcp.dst_port));
            assert_eq!((plain.seq, plain.ack, plain.payload), (tcp.seq, tcp.ack, tcp.payload));
            let telling = TcpFlags::SYN | TcpFlags::FIN | TcpFlags::RST;
            assert!(tcp.flags.contains(TcpFlags::ACK) && !tcp.flags.intersects(telling));
        }
        Transport::Udp(udp) => {
            assert_eq!(plain.protocol, Protocol::Udp);
            assert_eq!((plain.src_port, plain.dst_port, plain.payload), (udp.src_port, udp.dst_port, udp.payload));
        }
        other => panic!("not plain: {other:?}"),
    }
}

#[test]
fn an_ordinary_data_segment_is_plain() {
    let addr = |text: &str| text.parse().unwrap();
    let (from, to) = (addr("10.0.0.1:1234"), addr("10.0.0.100:80"));
    for kind in [Kind::Tcp, Kind::Udp] {
        let valid = Valid { kind, from, to, payload: vec![7; 20], padding: 0, options: 0 };
        assert!(plain::read(&valid.bytes()).is_some(), "{kind:?}");
    }
}

pub(crate) fn assert_agreement(bytes: &[u8]) {
    assert_plain_agrees(bytes);
    match (parse(bytes), SlicedPacket::from_ethernet(bytes)) {
        (Err(_), Err(_)) => {}
        (Err(why), Ok(theirs)) => assert!(only_they_accept(why, &theirs), "{why:?} but {theirs:?}"),
        (Ok(ours), Err(why)) => assert!(only_we_accept(&ours), "{ours:?} but {why:?}"),
        (Ok(ours), Ok(theirs)) => assert_same(&ours, &theirs, bytes),
    }
}

fn assert_same(ours: &Parsed, theirs: &SlicedPacket, bytes: &[u8]) {
    assert_eq!((&ours.dst_mac.0[..], &ours.src_mac.0[..]), (&bytes[..6], &bytes[6..12]));
    match (&ours.payload, &theirs.net) {
        (Payload::Ip(ip), Some(net)) => {
            let (src, dst, ttl) = match net {
                NetSlice::Ipv4(v4) => {
                    let h = v4.header();
                    (h.source_addr().into(), h.destination_addr().into(), h.ttl())
                }
                NetSlice::Ipv6(v6) => {
                    let h = v6.header();
                    (IpAddr::V6(h.source_addr()), IpAddr::V6(h.destination_addr()), h.hop_limit())
                }
                NetSlice::Arp(_) => panic!("{ip:?} is not ARP"),
            };
            assert_eq!((ip.src, ip.dst, ip.ttl), (src, dst, ttl));
            let payload = theirs.ip_payload().expect("an IP packet has a payload");
            // We do not walk authentication headers: no NAT gets behind one.
            if ip.transport != Transport::Other(51) {
                assert_eq!(ip.fragment != Fragment::Whole, payload.fragmented);
            }
            // Etherparse takes bytes in the middle of a fragmented datagram for extension headers; nothing is known of them.
            if ip.transport != Transport::Other(51) && ip.fragment != Fragment::Later {
                assert_eq!(usize::from(ip.l4), payload.payload.as_ptr() as usize - bytes.as_ptr() as usize);
                assert_eq!(ip.end as usize, usize::from(ip.l4) + payload.payload.len());
                assert_same_transport(ip, theirs.transport.as_ref());
            }
        }
        (Payload::Arp(arp), Some(NetSlice::Arp(theirs))) => {
            assert_eq!(arp.sender_mac.0, theirs.sender_hw_addr());
            assert_eq!(arp.sender_ip.octets(), theirs.sender_protocol_addr());
            assert_eq!(arp.target_mac.0, theirs.target_hw_addr());
            assert_eq!(arp.target_ip.octets(), theirs.target_protocol_addr());
            let op = if arp.op == ArpOp::Request { 1 } else { 2 };
            assert_eq!(op, theirs.operation().0);
        }
        (Payload::Other(ethertype), _) => {
            assert_eq!(*ethertype, u16::from_be_bytes([bytes[12], bytes[13]]));
        }
        (ours, theirs) => panic!("{ours:?} is not {theirs:?}"),
    }
}

fn assert_same_transport(ip: &Ip, theirs: Option<&TransportSlice>) {
    match (ip.transport, theirs) {
        (Transport::Tcp(ours), Some(TransportSlice::Tcp(theirs))) => {
            assert_eq!((ours.src_port, ours.dst_port), (theirs.source_port(), theirs.destination_port()));
            assert_eq!((ours.seq.0, ours.ack.0), (theirs.sequence_number(), theirs.acknowledgment_number()));
            assert_eq!((ours.window, ours.payload as usize), (theirs.window_size(), theirs.payload().len()));
            let flags = [
                (TcpFlags::FIN, theirs.fin()),
                (TcpFlags::SYN, theirs.syn()),
                (TcpFlags::RST, theirs.rst()),
                (TcpFlags::PSH, theirs.psh()),
                (TcpFlags::ACK, theirs.ack()),
                (TcpFlags::URG, theirs.urg()),
                (TcpFlags::ECE, theirs.ece()),
                (TcpFlags::CWR, theirs.cwr()),
            ];
            for (flag, set) in flags {
                assert_eq!(ours.flags.contains(flag), set, "{flag:?}");
            }
            let more = usize::from(theirs.syn()) + usize::from(theirs.fin());
            assert_eq!(ours.seq_len() as usize, theirs.payload().len() + more);
        }
        (Transport::Udp(ours), Some(TransportSlice::Udp(theirs))) => {
            assert_eq!((ours.src_port, ours.dst_port), (theirs.source_port(), theirs.destination_port()));
            assert_eq!(ours.payload as usize, theirs.payload().len());
        }
        (Transport::Icmp(ours), Some(TransportSlice::Icmpv4(theirs))) => {
            assert_same_icmp(ours, theirs.type_u8(), theirs.code_u8(), theirs.bytes5to8(), [8, 0]);
        }
        (Transport::Icmp(ours), Some(TransportSlice::Icmpv6(theirs))) => {
            assert_same_icmp(ours, theirs.type_u8(), theirs.code_u8(), theirs.bytes5to8(), [128, 129]);
        }
        // Etherparse leaves first fragments alone; IGMP is nothing we look into.
        (Transport::Tcp(_) | Transport::Udp(_) | Transport::Icmp(_), None) => assert_eq!(ip.fragment, Fragment::First),
        (Transport::Fragment, None) => assert_eq!(ip.fragment, Fragment::Later),
        (Transport::Other(number), _) => assert!(![6, 17].contains(&number), "{number}"),
        (ours, theirs) => panic!("{ours:?} is not {theirs:?}"),
    }
}

fn assert_same_icmp(ours: Icmp, kind: u8, code: u8, word: [u8; 4], [request, reply]: [u8; 2]) {
    let word = (u16::from_be_bytes([word[0], word[1]]), u16::from_be_bytes([word[2], word[3]]));
    match ours {
        Icmp::EchoRequest { id, seq } => assert_eq!((request, word), (kind, (id, seq))),
        Icmp::EchoReply { id, seq } => assert_eq!((reply, word), (kind, (id, seq))),
        Icmp::Error { kind: ours, code: our_code, .. } => assert_eq!((ours, our_code), (kind, code)),
        Icmp::Other => assert!(![request, reply, if request == 8 { 3 } else { 1 }].contains(&kind)),
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn valid_frames_are_read_alike((valid, _) in valid_and_new()) {
        let bytes = valid.bytes();
        let ip = ip_of(&bytes);
        prop_assert_eq!((ip.src, ip.dst), (valid.from.ip(), valid.to.ip()));
        prop_assert_eq!(ip.end as usize + valid.padding, bytes.len());
        let payload = match ip.transport {
            Transport::Tcp(tcp) => tcp.payload as usize,
            Transport::Udp(udp) => udp.payload as usize,
            _ => valid.payload.len(),
        };
        prop_assert_eq!(payload, valid.payload.len());
        prop_assert!(checksum::ipv4_header_ok(&bytes, &ip) && checksum::l4_is_correct(&frame_of(&bytes), &ip));
        assert_agreement(&bytes);
    }

    #[test]
    fn mutated_frames_are_read_alike(bytes in mutated()) {
        assert_agreement(&bytes);
    }

    #[test]
    fn extension_headers_are_walked_alike(bytes in chained()) {
        assert_agreement(&bytes);
    }

    #[test]
    fn arbitrary_bytes_are_read_alike(bytes in arbitrary()) {
        assert_agreement(&bytes);
    }

    /// Nothing in the room panics on a frame and a description that do not belong together, whatever the offload says.
    #[test]
    fn nothing_panics(
        described in prop_oneof![arbitrary(), mutated(), chained()],
        bytes in prop_oneof![arbitrary(), mutated()],
        to in endpoints(),
        start: u16,
        offset in 0..200u16,
        partial: bool,
    ) {
        let mut frame = frame_of(&bytes);
        if partial {
            frame.offload.checksum = Checksum::Partial { start: start % 250, offset };
        }
        let length = frame.len();
        match parse(&described).map(|parsed| parsed.payload) {
            Ok(Payload::Ip(ip)) => {
                checksum::ipv4_header_ok(frame.bytes(), &ip);
                checksum::l4_is_correct(&frame, &ip);
                rewrite::set_destination(&mut frame, &ip, to[0]);
                rewrite::set_source(&mut frame, &ip, to[1]);
                build::answer_echo_in_place(&mut frame, &ip, LINK.src);
            }
            Ok(Payload::Arp(arp)) => build::answer_arp_in_place(&mut frame, &arp, LINK.src),
            _ => {}
        }
        rewrite::set_macs(&mut frame, Some(LINK.dst), None);
        checksum::finish(&mut frame);
        build::port_unreachable(&mut FrameBuf::with_capacity(1500), LINK, to[0].ip(), &bytes);
        prop_assert_eq!(frame.len(), length);
    }
}

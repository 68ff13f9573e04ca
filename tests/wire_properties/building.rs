//! What we build, read back by etherparse.

use acm_switch::base::addr::{Mac, Protocol};
use acm_switch::base::seq::Seq;
use acm_switch::wire::build::{self, Segment};
use acm_switch::wire::checksum;
use acm_switch::wire::frame::FrameBuf;
use acm_switch::wire::parse::{Arp, ArpOp, Embedded, Icmp, Ip, Payload, TcpFlags, Transport, parse};
use etherparse::{SlicedPacket, TransportSlice};
use proptest::prelude::*;

use crate::config;
use crate::frames::*;
use crate::parsing::assert_agreement;
use crate::rewriting::{ipv4_checksums, recomputed, stored};

fn assert_built(frame: &FrameBuf) -> Ip {
    let bytes = frame.bytes();
    assert!(bytes.len() >= 60, "Ethernet's minimum");
    let ip = ip_of(bytes);
    assert_agreement(bytes);
    assert_eq!(stored(bytes, &ip), recomputed(bytes));
    let (right, is) = ipv4_checksums(bytes);
    assert_eq!(is, right);
    assert!(bytes[ip.end as usize..].iter().all(|b| *b == 0), "padded with zeroes");
    ip
}

fn options_of(bytes: &[u8]) -> Vec<etherparse::TcpOptionElement> {
    match SlicedPacket::from_ethernet(bytes).unwrap().transport {
        Some(TransportSlice::Tcp(tcp)) => tcp.options_iterator().map(|option| option.unwrap()).collect(),
        other => panic!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_we_build_is_read_back(
        [from, to, _] in endpoints(),
        payload in prop::collection::vec(any::<u8>(), 0..100),
        seq: u32,
        ack: u32,
        flags: u8,
        mss in prop::option::of(any::<u16>()),
    ) {
        // Built into a buffer that was used before: nothing of that may show.
        let mut out = FrameBuf::with_capacity(300);
        prop_assert!(out.fill(&[0xee; 300]));
        let segment =
            Segment { from, to, seq: Seq(seq), ack: Seq(ack), flags: TcpFlags(flags), window: 77, mss, payload: &payload };
        prop_assert!(build::tcp(&mut out, LINK, &segment));
        let ip = assert_built(&out);
        prop_assert_eq!(ip.endpoints(), Some((from, to)));
        let Transport::Tcp(tcp) = ip.transport else { panic!("{ip:?}") };
        prop_assert_eq!((tcp.seq.0, tcp.ack.0, tcp.flags.0, tcp.window), (seq, ack, flags, 77));
        prop_assert_eq!(&out.bytes()[ip.end as usize - payload.len()..ip.end as usize], &payload[..]);
        assert_eq!(options_of(out.bytes()), mss.map(etherparse::TcpOptionElement::MaximumSegmentSize).as_slice());

        prop_assert!(out.fill(&[0xee; 300]) && build::udp(&mut out, LINK, from, to, &payload));
        prop_assert_eq!(assert_built(&out).endpoints(), Some((from, to)));

        prop_assert!(build::port_unreachable(&mut FrameBuf::with_capacity(600), LINK, to.ip(), &out.bytes()[14..]));
        let mut error = FrameBuf::with_capacity(1500);
        let packet = out.bytes()[14..].to_vec();
        prop_assert!(error.fill(&[0xee; 900]) && build::port_unreachable(&mut error, LINK, to.ip(), &packet));
        let ip = assert_built(&error);
        prop_assert_eq!((ip.src, ip.dst), (to.ip(), from.ip()));
        let about = Embedded { src: from, dst: to, protocol: Protocol::Udp };
        let (kind, code) = if to.is_ipv4() { (3, 3) } else { (1, 4) };
        prop_assert_eq!(ip.transport, Transport::Icmp(Icmp::Error { kind, code, embedded: Some(about) }));

        let (id, number) = (from.port(), to.port());
        prop_assert!(out.fill(&[0xee; 300]) && build::echo_request(&mut out, LINK, from.ip(), to.ip(), id, number, &payload));
        let asked = assert_built(&out);
        prop_assert_eq!(asked.transport, Transport::Icmp(Icmp::EchoRequest { id, seq: number }));
        build::answer_echo_in_place(&mut out, &asked, LINK.dst);
        let reply = ip_of(out.bytes());
        prop_assert!(checksum::ipv4_header_ok(out.bytes(), &reply) && checksum::l4_is_correct(&out, &reply));
        // Zero has two names, and a reply of nothing but zeroes needs the one that etherparse gives it.
        prop_assert_eq!(stored(out.bytes(), &reply) % 0xffff, recomputed(out.bytes()) % 0xffff);
        prop_assert_eq!((reply.src, reply.dst), (to.ip(), from.ip()));
        prop_assert_eq!(reply.transport, Transport::Icmp(Icmp::EchoReply { id, seq: number }));
    }

    #[test]
    fn arp_is_read_back(request: bool, macs: [[u8; 6]; 2], ips: [u32; 2]) {
        let sender_mac = Mac::locally_administered(u64::from_be_bytes([macs[0][0], macs[0][1], macs[0][2], 0, 1, 2, 3, 4]));
        let arp = Arp {
            op: if request { ArpOp::Request } else { ArpOp::Reply },
            sender_mac,
            sender_ip: ips[0].into(),
            target_mac: Mac(macs[1]),
            target_ip: ips[1].into(),
        };
        let mut out = FrameBuf::with_capacity(60);
        prop_assert!(out.fill(&[0xee; 60]) && build::arp(&mut out, LINK, &arp));
        prop_assert_eq!(parse(out.bytes()).unwrap().payload, Payload::Arp(arp));
        assert_agreement(out.bytes());
        prop_assert!(out.bytes()[42..].iter().all(|b| *b == 0));
    }
}

//! Rewriting the packet that an ICMP error quotes, against rewriting that packet itself and quoting it then.

use acm_switch::wire::icmp;
use acm_switch::wire::rewrite::{self, End};
use etherparse::PacketBuilder;
use proptest::prelude::*;

use crate::config;
use crate::frames::*;
use crate::rewriting::{ipv4_checksums, recomputed, stored};

/// An error of the quoted packet's family about it.
fn error(quoted: &[u8]) -> Vec<u8> {
    let link = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    let mut frame = Vec::new();
    match quoted[0] >> 4 {
        4 => link.ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64).icmpv4_raw(3, 4, [0, 0, 5, 0]).write(&mut frame, quoted),
        _ => link.ipv6([0x21; 16], [0x22; 16], 64).icmpv6_raw(2, 0, [0, 0, 5, 0]).write(&mut frame, quoted),
    }
    .unwrap();
    frame
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Source), Just(End::Destination)]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_quoted_packet_is_rewritten_like_a_whole_one((valid, to) in valid_and_new(), end in end(), more in 0..160usize) {
        let valid = Valid { kind: if valid.kind == Kind::Echo { Kind::Tcp } else { valid.kind }, ..valid };
        let mut whole = frame_of(&valid.bytes());
        let inner = ip_of(whole.bytes());
        // The headers and the 8 bytes that are promised, and some more.
        let cut = (usize::from(inner.l4) + 8 + more).min(inner.end as usize);
        // Half a checksum cannot be brought up to date, and nobody reads it.
        prop_assume!(cut != usize::from(inner.l4) + 17);
        let mut frame = frame_of(&error(&whole.bytes()[14..cut]));
        match end {
            End::Source => rewrite::set_source(&mut whole, &inner, to),
            End::Destination => rewrite::set_destination(&mut whole, &inner, to),
        }
        let ip = ip_of(frame.bytes());
        let quoted = icmp::quoted(frame.bytes(), &ip).expect("enough of a packet");
        prop_assert_eq!((quoted.src, quoted.dst), (valid.from, valid.to));
        prop_assert_eq!(quoted.seq.map(|seq| seq.0), (valid.kind == Kind::Tcp).then_some(0xffff_fff0));
        icmp::set_quoted(&mut frame, &ip, &quoted, end, to);
        icmp::seal(&mut frame, &ip, ip.src, ip.dst);
        prop_assert_eq!(&frame.bytes()[usize::from(ip.l4) + 8..ip.end as usize], &whole.bytes()[14..cut]);
        prop_assert_eq!(stored(frame.bytes(), &ip), recomputed(frame.bytes()));
        if ip.dst.is_ipv4() {
            let (computed, kept) = ipv4_checksums(frame.bytes());
            prop_assert_eq!(computed, kept);
        }
    }

    #[test]
    fn whatever_is_quoted_nothing_outside_the_message_changes(
        junk in mutated(), end in end(), to in endpoints(), cut in 0..200usize,
    ) {
        let junk: Vec<u8> = junk.into_iter().skip(14).take(cut).chain([0x45]).collect();
        let mut frame = frame_of(&error(&junk));
        let before = frame.bytes().to_vec();
        let ip = ip_of(&before);
        if let Some(quoted) = icmp::quoted(&before, &ip) {
            icmp::set_quoted(&mut frame, &ip, &quoted, end, to[0]);
            icmp::seal(&mut frame, &ip, ip.src, ip.dst);
        }
        let l4 = usize::from(ip.l4);
        prop_assert_eq!(&frame.bytes()[..l4 + 2], &before[..l4 + 2]);
        prop_assert_eq!(&frame.bytes()[l4 + 4..l4 + 8], &before[l4 + 4..l4 + 8]);
        prop_assert_eq!(frame.len(), before.len());
    }
}

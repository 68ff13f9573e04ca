//! Bytes that are no message change nothing and are counted by their cause.

use acm_switch::base::time::Time;
use acm_switch::beacon::counters::Cause;
use acm_switch::beacon::datagram::{DATAGRAM_MAX, HEAD_LEN};
use acm_switch::beacon::field::CRITICAL;
use acm_switch::beacon::gate::Gate;
use acm_switch::beacon::key::TAG_LEN;
use acm_switch::beacon::message::{Envelope, Message};
use hmac::{Hmac, KeyInit, Mac};
use proptest::prelude::*;

use super::messages::{every_message, speaker_of};
use super::{gate, sealer, secret};

const NOW: Time = Time::from_secs(100);

fn sealed(gate: &mut Gate, message: Message) -> Vec<u8> {
    let (node, key) = speaker_of(&message);
    let envelope = Envelope { challenge: Some(5), echoes: vec![gate.challenge(NOW)], message };
    sealer(node, 4, key, NOW).seal(&envelope, NOW).unwrap()
}

/// Signs bytes whatever they are, as somebody who has the key but not our code.
fn sign(mut bytes: Vec<u8>) -> Vec<u8> {
    let key = u16::from_be_bytes([bytes[6], bytes[7]]);
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret(key).expose().as_bytes()).unwrap();
    mac.update(&bytes);
    bytes.extend_from_slice(&mac.finalize().into_bytes()[..TAG_LEN]);
    bytes
}

fn unsigned(bytes: &[u8]) -> Vec<u8> {
    bytes[..bytes.len() - TAG_LEN].to_vec()
}

fn cause(gate: &mut Gate, bytes: &[u8]) -> Cause {
    let before = gate.counters().clone();
    let cause = gate.open(bytes, NOW).expect_err("refused").cause;
    let moved: Vec<_> = gate.counters().iter().filter(|(cause, count)| before.refused(*cause) != *count).collect();
    assert_eq!(moved, [(cause, before.refused(cause) + 1)], "one counter moves");
    cause
}

#[test]
fn no_bit_may_differ() {
    for message in every_message() {
        let mut gate = gate(1);
        let good = sealed(&mut gate, message);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(gate.open(&bad, NOW).is_err(), "bit {bit}");
        }
        for length in 0..good.len() {
            assert!(gate.open(&good[..length], NOW).is_err(), "cut to {length}");
        }
        assert_eq!(gate.senders(), 0, "nothing was remembered");
        assert!(gate.open(&good, NOW).is_ok(), "and the good one still counts");
    }
}

#[test]
fn each_cause_is_counted() {
    let mut gate = gate(1);
    let good = sealed(&mut gate, Message::Leave);
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let resigned = |at: usize, byte: u8| sign(unsigned(&with(at, byte)));
    assert_eq!(cause(&mut gate, &[]), Cause::Short);
    assert_eq!(cause(&mut gate, &good[..HEAD_LEN + TAG_LEN - 1]), Cause::Short);
    assert_eq!(cause(&mut gate, &vec![0; DATAGRAM_MAX + 1]), Cause::Long);
    assert_eq!(cause(&mut gate, &with(0, b'X')), Cause::Magic);
    assert_eq!(cause(&mut gate, &with(4, 2)), Cause::Version);
    assert_eq!(cause(&mut gate, &with(8, !good[8])), Cause::Group);
    assert_eq!(cause(&mut gate, &with(7, 99)), Cause::UnknownKey);
    assert_eq!(cause(&mut gate, &with(20, 9)), Cause::BadTag);
    assert_eq!(cause(&mut gate, &resigned(5, 200)), Cause::UnknownKind);
    assert_eq!(cause(&mut gate, &resigned(5, 1)), Cause::NotAllowed, "an agent's key leads nobody");
    let own = sealer(1, 1000, 1, NOW).seal(&Envelope::plain(Message::Prove), NOW).unwrap();
    assert_eq!(cause(&mut gate, &own), Cause::Own);
    let mut cut = unsigned(&good);
    cut.extend_from_slice(&[0x40, 0, 0, 9, 1]);
    assert_eq!(cause(&mut gate, &sign(cut)), Cause::Malformed);
    let critical = (0x4000 | CRITICAL).to_be_bytes();
    let mut unknown = unsigned(&good);
    unknown.extend_from_slice(&[critical[0], critical[1], 0, 0]);
    assert_eq!(cause(&mut gate, &sign(unknown)), Cause::UnknownCritical);
    assert_eq!(gate.counters().accepted, 0);
    gate.open(&good, NOW).unwrap();
    assert_eq!(cause(&mut gate, &good), Cause::Replayed);
}

#[test]
fn an_unknown_field_is_skipped() {
    for message in every_message() {
        let mut gate = gate(1);
        let mut bytes = unsigned(&sealed(&mut gate, message.clone()));
        bytes.extend_from_slice(&[0x40, 0x01, 0, 3, 1, 2, 3]);
        assert_eq!(gate.open(&sign(bytes), NOW).unwrap().message, message);
    }
}

#[test]
fn a_number_needs_its_key() {
    let mut gate = gate(1);
    let challenge = gate.challenge(NOW);
    for (node, key) in [(0, 1), (4, 1), (0, 2), (1, 2), (1, 3)] {
        let envelope = Envelope { challenge: None, echoes: vec![challenge], message: Message::Claim { term: 99 } };
        let bytes = sealer(node, 4, key, NOW).seal(&envelope, NOW).unwrap();
        assert_eq!(cause(&mut gate, &bytes), Cause::NotAllowed, "node {node} with key {key}");
    }
    assert_eq!(gate.senders(), 0);
}

proptest! {
    /// Somebody with a key says anything at all, in place of the fields of any kind.
    #[test]
    fn signed_nonsense_never_panics(kind in 0u8..40, fields in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut gate = gate(1);
        for key in [1, 2, 3] {
            let mut bytes = unsigned(&sealed(&mut gate, Message::Leave))[..HEAD_LEN].to_vec();
            (bytes[5], bytes[7]) = (kind, key);
            bytes.extend_from_slice(&fields);
            let _ = gate.open(&sign(bytes), NOW);
        }
    }

    /// Real fields, shuffled, doubled, cut and with other types.
    #[test]
    fn nearly_messages_never_panic(which in 0usize..16, at in 0usize..400, byte in any::<u8>(), cut in 0usize..400) {
        let mut gate = gate(1);
        let message = every_message().swap_remove(which);
        let mut bytes = unsigned(&sealed(&mut gate, message));
        let fields = bytes.len() - HEAD_LEN;
        if fields > 0 {
            bytes[HEAD_LEN + at % fields] = byte;
        }
        if cut < fields {
            bytes.truncate(bytes.len() - cut);
        }
        let _ = gate.open(&sign(bytes), NOW);
    }
}

//! Recordings, backlogs, restarts, and clocks that lie.

use std::time::Duration;

use acm_switch::base::time::Time;
use acm_switch::beacon::CHALLENGE_LIFE;
use acm_switch::beacon::counters::Cause;
use acm_switch::beacon::gate::{Gate, Heard, Refused, SENDERS_MAX};
use acm_switch::beacon::message::{Envelope, Message};
use acm_switch::beacon::sealer::Sealer;

use super::{gate, sealer};

fn secs(secs: u64) -> Time {
    Time::from_secs(secs)
}

fn say(from: &mut Sealer, echo: Option<u64>, now: Time) -> Vec<u8> {
    let envelope = Envelope { challenge: None, echoes: echo.into_iter().collect(), message: Message::Leave };
    from.seal(&envelope, now).unwrap()
}

fn meet(gate: &mut Gate, from: &mut Sealer, ours: Time, theirs: Time) -> Result<Heard, Refused> {
    let unproven = gate.open(&say(from, None, theirs), ours).unwrap_err().prove.expect("asked for proof");
    gate.open(&say(from, Some(unproven.challenge), theirs), ours)
}

#[test]
fn the_first_word_needs_proof_and_later_ones_do_not() {
    let (mut gate, mut agent) = (gate(1), sealer(77, 4, 2, secs(0)));
    assert_eq!(gate.open(&say(&mut agent, Some(12345), secs(1)), secs(1)).unwrap_err().cause, Cause::Unproven);
    assert!(meet(&mut gate, &mut agent, secs(1), secs(1)).is_ok());
    assert!(gate.open(&say(&mut agent, None, secs(2)), secs(2)).is_ok());
}

#[test]
fn an_hour_of_recordings_is_worth_nothing() {
    let (mut gate_before, mut agent) = (gate(1), sealer(77, 4, 2, secs(0)));
    meet(&mut gate_before, &mut agent, secs(1), secs(1)).unwrap();
    let recorded: Vec<_> = (1..360)
        .map(|n| {
            let now = secs(n * 10);
            let challenge = gate_before.challenge(now);
            let bytes = say(&mut agent, Some(challenge), now);
            gate_before.open(&bytes, now).unwrap();
            bytes
        })
        .collect();
    let replay = |gate: &mut Gate, now| recorded.iter().filter(|bytes| gate.open(bytes, now).is_ok()).count();
    assert_eq!(replay(&mut gate_before, secs(3600)), 0);
    // Restarted: everything is forgotten, the challenges too.
    let mut gate_after = gate(2);
    assert_eq!(replay(&mut gate_after, secs(3600)), 0);
    assert_eq!(gate_after.senders(), 0);
    // The agent restarts; what its former run said stays worthless.
    let mut reborn = sealer(77, 5, 2, secs(3601));
    meet(&mut gate_before, &mut reborn, secs(3602), secs(3602)).unwrap();
    assert_eq!(replay(&mut gate_before, secs(3603)), 0);
    assert!(gate_before.open(&say(&mut reborn, None, secs(3604)), secs(3604)).is_ok());
}

#[test]
fn a_former_run_does_not_come_back_with_a_challenge_it_never_used() {
    let (mut gate, mut old) = (gate(1), sealer(77, 4, 2, secs(0)));
    meet(&mut gate, &mut old, secs(1), secs(1)).unwrap();
    let challenge = gate.challenge(secs(10));
    let withheld = say(&mut old, Some(challenge), secs(10));
    let mut new = sealer(77, 5, 2, secs(11));
    meet(&mut gate, &mut new, secs(14), secs(14)).unwrap();
    assert_eq!(gate.open(&withheld, secs(15)).unwrap_err().cause, Cause::Unproven);
}

#[test]
fn overtaken_within_the_window() {
    let (mut gate, mut agent) = (gate(1), sealer(77, 4, 2, secs(0)));
    meet(&mut gate, &mut agent, secs(1), secs(1)).unwrap();
    let said: Vec<_> = (0..5).map(|_| say(&mut agent, None, secs(2))).collect();
    for n in [4, 0, 2, 3, 1] {
        assert!(gate.open(&said[n], secs(2)).is_ok());
    }
    for bytes in &said {
        assert_eq!(gate.open(bytes, secs(2)).unwrap_err().cause, Cause::Replayed);
    }
}

#[test]
fn a_backlog_is_discarded() {
    let (mut gate, mut agent) = (gate(1), sealer(77, 4, 2, secs(0)));
    meet(&mut gate, &mut agent, secs(1), secs(1)).unwrap();
    let old = say(&mut agent, None, secs(5));
    let young = say(&mut agent, None, secs(12));
    assert_eq!(gate.open(&old, secs(20)).unwrap_err().cause, Cause::Late);
    assert!(gate.open(&young, secs(20)).is_ok());
}

/// The two clocks need not agree on anything: days apart, ten years apart.
#[test]
fn clocks_need_not_agree() {
    for (ours, theirs) in [(0, 86_400), (86_400, 0), (315_360_000, 1)] {
        let (mut gate, mut agent) = (gate(1), sealer(77, 4, 2, secs(0)));
        meet(&mut gate, &mut agent, secs(ours + 1), secs(theirs + 1)).unwrap();
        for n in 2..100 {
            assert!(gate.open(&say(&mut agent, None, secs(theirs + n * 10)), secs(ours + n * 10)).is_ok());
        }
    }
}

/// 500 parts in a million, both ways, for a week.
#[test]
fn clocks_drift() {
    for drift in [9_995, 10_005] {
        let (mut gate, mut agent) = (gate(1), sealer(77, 4, 2, secs(0)));
        meet(&mut gate, &mut agent, secs(1), secs(1)).unwrap();
        for n in 1..60_480u64 {
            let (ours, theirs) = (secs(1 + n * 10), Time::from_millis(1000 + n * drift));
            assert!(gate.open(&say(&mut agent, None, theirs), ours).is_ok(), "beacon {n}");
        }
    }
}

#[test]
fn a_clock_that_stood_still_recovers_with_one_proof() {
    let (mut gate, mut agent) = (gate(1), sealer(77, 4, 2, secs(0)));
    meet(&mut gate, &mut agent, secs(1), secs(1)).unwrap();
    // The agent's machine slept for an hour, and its clock with it.
    let late = gate.open(&say(&mut agent, None, secs(2)), secs(3602)).unwrap_err();
    assert_eq!(late.cause, Cause::Late);
    let challenge = late.prove.expect("asked for proof").challenge;
    assert!(gate.open(&say(&mut agent, Some(challenge), secs(3)), secs(3603)).is_ok());
    assert!(gate.open(&say(&mut agent, None, secs(13)), secs(3613)).is_ok());
}

#[test]
fn an_old_challenge_proves_nothing() {
    let (mut gate, mut agent) = (gate(1), sealer(77, 4, 2, secs(0)));
    let challenge = gate.challenge(secs(1));
    let after = secs(1) + CHALLENGE_LIFE + Duration::from_secs(1);
    assert_eq!(gate.open(&say(&mut agent, Some(challenge), after), after).unwrap_err().cause, Cause::Unproven);
}

/// Somebody replays recordings to wear our challenges out: an honest answer within a second still counts.
#[test]
fn challenges_cannot_be_worn_out() {
    let (mut gate, mut stranger) = (gate(1), sealer(78, 4, 2, secs(0)));
    let recorded: Vec<_> = (0..20_000).map(|_| say(&mut stranger, None, secs(1))).collect();
    let mut agent = sealer(77, 4, 2, secs(0));
    let challenge = gate.open(&say(&mut agent, None, secs(1)), secs(1)).unwrap_err().prove.unwrap().challenge;
    for (n, bytes) in recorded.iter().enumerate() {
        let _ = gate.open(bytes, secs(1) + Duration::from_micros(50 * n as u64));
    }
    assert!(gate.open(&say(&mut agent, Some(challenge), secs(2)), secs(2)).is_ok());
}

#[test]
fn a_flood_of_strangers_is_answered_in_moderation() {
    let (mut gate, mut stranger) = (gate(1), sealer(78, 4, 2, secs(0)));
    let asked =
        (0..20_000).filter(|_| gate.open(&say(&mut stranger, None, secs(1)), secs(1)).unwrap_err().prove.is_some());
    assert_eq!(asked.count(), 5_000);
    assert_eq!(gate.senders(), 0);
}

#[test]
fn a_full_table_forgets_the_silent_and_keeps_managers() {
    let mut gate = gate(1);
    let challenge = gate.challenge(secs(1));
    for node in 0..SENDERS_MAX as u64 {
        gate.open(&say(&mut sealer(node, 4, 2, secs(0)), Some(challenge), secs(1)), secs(1)).unwrap();
    }
    let mut late = sealer(u64::MAX, 4, 2, secs(0));
    let full = gate.open(&say(&mut late, Some(challenge), secs(1)), secs(1)).unwrap_err();
    assert_eq!(full.cause, Cause::SendersFull);
    let claim = Envelope { challenge: None, echoes: vec![challenge], message: Message::Claim { term: 1 } };
    assert!(gate.open(&sealer(2, 4, 1, secs(0)).seal(&claim, secs(1)).unwrap(), secs(1)).is_ok());
    let after = secs(2) + CHALLENGE_LIFE;
    assert!(meet(&mut gate, &mut late, after, after).is_ok());
    assert!(gate.senders() < 10);
}

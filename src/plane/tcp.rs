//! Following TCP from the middle: far enough for ageing, for counting live connections, and for resets that both
//! ends accept.
//!
//! The switch forwards; it never decides whether a segment is acceptable, with one exception: what it believes.
//!
//! * A RST ends a flow here only if its sequence number is exactly the next byte expected (RFC 5961, section 3.2), so that
//!   a forged one cannot make us forget a connection that lives on.
//! * What is expected next grows only by bytes that join on: a forged segment somewhere ahead followed by the RST that
//!   would be exact behind it changes nothing. Bytes we never saw in order (an earlier segment was lost on its way
//!   to us) are caught up with when the other side acknowledges them.
//! * A segment further from what is expected than any window in use says nothing.
//!
//! Checksums are not looked at here; the caller lets nothing in that changes a state and has a wrong one.

use std::time::Duration;

use super::flow_table::{Side, TcpNumbers};
use crate::base::seq::Seq;
use crate::wire::parse::{Tcp, TcpFlags};

/// How far from the next byte expected a segment may begin and still be believed: more than hosts give as a window
/// (Linux: 6 MiB unless told otherwise), and 1/128 of all sequence numbers. A connection with more than this in flight
/// and a loss on its way to us is still forwarded, but its end may be missed, and then it ages.
const PLAUSIBLE: u32 = 1 << 24;

/// Where a flow stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum TcpState {
    /// UDP.
    NotTcp,
    /// The client's SYN was forwarded.
    SynSent,
    /// The server's SYN-ACK was forwarded.
    SynReceived,
    /// The client has acknowledged it.
    Established,
    /// The client has sent FIN.
    ClientClosed,
    /// The server has sent FIN.
    ServerClosed,
    /// Both have, or one has sent an exact RST: not a live connection any more; the last segments still pass.
    Closed,
    /// Of a content connection, whose state is elsewhere (`splice`).
    Content,
    /// Cut by force: segments that still come are answered with a RST.
    Tombstone,
}

impl TcpState {
    /// True if it counts as a connection of its binding.
    pub fn is_live(self) -> bool {
        !matches!(self, TcpState::Closed | TcpState::Tombstone)
    }

    /// True before the handshake is complete.
    pub fn is_embryonic(self) -> bool {
        matches!(self, TcpState::SynSent | TcpState::SynReceived)
    }
}

/// How long a silent flow is remembered, by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Handshake not complete.
    pub embryonic: Duration,
    /// Established, also when one side has closed.
    pub established: Duration,
    /// After both FINs, or an exact RST.
    pub closed: Duration,
    /// After being cut by force.
    pub tombstone: Duration,
    /// UDP.
    pub udp: Duration,
    /// UDP of a draining binding, idle.
    pub udp_draining_idle: Duration,
    /// UDP of a draining binding, at most.
    pub udp_draining: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            embryonic: Duration::from_secs(60),
            established: Duration::from_secs(30 * 60),
            closed: Duration::from_secs(10),
            tombstone: Duration::from_secs(5),
            udp: Duration::from_secs(5 * 60),
            udp_draining_idle: Duration::from_secs(30),
            udp_draining: Duration::from_secs(60),
        }
    }
}

impl Timeouts {
    /// The one for a state.
    pub fn of(&self, state: TcpState) -> Duration {
        match state {
            TcpState::NotTcp => self.udp,
            TcpState::SynSent | TcpState::SynReceived => self.embryonic,
            TcpState::Established | TcpState::ClientClosed | TcpState::ServerClosed => self.established,
            TcpState::Closed => self.closed,
            // Those have a clock of their own.
            TcpState::Content => Duration::MAX,
            TcpState::Tombstone => self.tombstone,
        }
    }
}

/// What a segment meant for its flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// Nothing that matters beyond the numbers.
    Ordinary,
    /// An exact RST.
    Reset,
    /// A RST that is not exact: forwarded, not believed, and no sign of life either.
    InexactReset,
    /// Too far from what the connection expects to be of it: forwarded, not believed.
    Implausible,
}

/// The numbers after the client's SYN.
pub fn first_syn(syn: &Tcp) -> TcpNumbers {
    after_syn(syn.seq.0)
}

fn after_syn(first: u32) -> TcpNumbers {
    let next = first.wrapping_add(1);
    let (client_first, client_again) = (first, first);
    TcpNumbers { client_first, client_again, client_next: next, server_next: 0, client_ack: 0, server_ack: next }
}

/// What a server says to the SYN of a client that has begun anew on the ends of a connection that we believe in. One that
/// believes in it too acknowledges what it has, and the client resets that (RFC 5961, section 4); these do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anew {
    /// There is no such connection, nor anybody to take a new one.
    Refused,
    /// The old one is over there; this is the new one.
    Accepted,
}

/// The server's answer to the client's latest SYN, if that is not the one the connection began with.
pub(super) fn answer_anew(numbers: &TcpNumbers, segment: &Tcp) -> Option<Anew> {
    let answers = numbers.client_again != numbers.client_first
        && segment.flags.contains(TcpFlags::ACK)
        && segment.ack.0 == numbers.client_again.wrapping_add(1);
    match (segment.flags.contains(TcpFlags::RST), segment.flags.contains(TcpFlags::SYN)) {
        _ if !answers => None,
        (true, _) => Some(Anew::Refused),
        (false, true) => Some(Anew::Accepted),
        (false, false) => None,
    }
}

/// The numbers after the client's latest SYN, when nothing else is left of its connection.
pub(super) fn begun_anew(numbers: &TcpNumbers) -> TcpNumbers {
    after_syn(numbers.client_again)
}

/// Follows one segment.
#[inline]
pub fn follow(state: &mut TcpState, numbers: &mut TcpNumbers, side: Side, segment: &Tcp) -> Meaning {
    if segment.flags.contains(TcpFlags::RST) {
        return follow_rst(state, numbers, side, segment);
    }
    if !is_plausible(*state, numbers, side, segment) {
        return Meaning::Implausible;
    }
    let own_next = advance(*state, numbers, side, segment);
    let fin = segment.flags.contains(TcpFlags::FIN) && segment.seq + segment.seq_len() >= own_next;
    *state = match (*state, side) {
        (TcpState::SynSent, Side::Server) => TcpState::SynReceived,
        (TcpState::SynReceived, Side::Client) if fin && acknowledges_syn(numbers, segment) => TcpState::ClientClosed,
        (TcpState::SynReceived, Side::Client) if acknowledges_syn(numbers, segment) => TcpState::Established,
        (TcpState::SynReceived | TcpState::Established, Side::Server) if fin => TcpState::ServerClosed,
        (TcpState::Established, Side::Client) if fin => TcpState::ClientClosed,
        (TcpState::ClientClosed, Side::Server) | (TcpState::ServerClosed, Side::Client) if fin => TcpState::Closed,
        (state, _) => state,
    };
    Meaning::Ordinary
}

/// Whether the SYN on the ends of a connection that is over is that connection's own, come late: it has its number, which
/// the next connection's has not (RFC 6528). Who got no further than the SYN was refused, and may try again with it.
pub(super) fn is_of_the_past(numbers: &TcpNumbers, syn: &Tcp) -> bool {
    syn.seq.0 == numbers.client_first && Seq(numbers.client_next).after(syn.seq) > 1
}

/// The client acknowledges the server's SYN; `client_ack` is the number after it from the SYN-ACK on.
fn acknowledges_syn(numbers: &TcpNumbers, segment: &Tcp) -> bool {
    segment.flags.contains(TcpFlags::ACK)
        && segment.ack >= Seq(numbers.client_ack)
        && segment.ack <= Seq(numbers.server_next)
}

/// Whether a segment can be of this connection: it begins near the byte expected next. What a server says first must
/// answer the client's SYN.
#[inline]
fn is_plausible(state: TcpState, numbers: &TcpNumbers, side: Side, segment: &Tcp) -> bool {
    let near = |number: Seq, expected: u32| number.after(Seq(expected)).unsigned_abs() <= PLAUSIBLE;
    match side {
        Side::Client => near(segment.seq, numbers.client_next),
        Side::Server if state == TcpState::SynSent => {
            segment.flags.contains(TcpFlags::SYN | TcpFlags::ACK) && near(segment.ack, numbers.client_next)
        }
        Side::Server => near(segment.seq, numbers.server_next),
    }
}

/// What a segment of one side moves: its side's next byte, its side's last acknowledgement, the other side's next byte.
#[inline(always)] // the side is most often known when this is compiled
fn moved_by(side: Side, numbers: &mut TcpNumbers) -> (&mut u32, &mut u32, &mut u32) {
    let TcpNumbers { client_next, server_next, client_ack, server_ack, .. } = numbers;
    match side {
        Side::Client => (client_next, client_ack, server_next),
        Side::Server => (server_next, server_ack, client_next),
    }
}

/// Moves the numbers on, never back. Returns what is expected next from this side.
fn advance(state: TcpState, numbers: &mut TcpNumbers, side: Side, segment: &Tcp) -> Seq {
    if side == Side::Server && state == TcpState::SynSent {
        // The server's numbers begin here: the byte after its SYN is what the client will expect. Data may come with the
        // SYN (RFC 7413), and the client need not take it.
        numbers.server_next = segment.seq.0;
        numbers.client_ack = (segment.seq + 1).0;
    }
    let (own_next, acked, other_next) = moved_by(side, numbers);
    if segment.seq <= Seq(*own_next) {
        *own_next = Seq(*own_next).max(segment.seq + segment.seq_len()).0;
    }
    if segment.flags.contains(TcpFlags::ACK) && segment.ack.after(Seq(*other_next)) <= PLAUSIBLE as i32 {
        *acked = Seq(*acked).max(segment.ack).0;
        // Acknowledged, so it was sent, whether or not it came by here in order.
        *other_next = Seq(*other_next).max(segment.ack).0;
    }
    Seq(*own_next)
}

/// [`follow`] for nearly every segment of an established connection, which opens and ends nothing: one that joins on
/// to what its side sent, and acknowledges what came by here. False, and nothing is changed, for every other.
#[inline(always)] // into the short way
pub(super) fn follow_in_order(numbers: &mut TcpNumbers, side: Side, seq: Seq, ack: Seq, payload: u32) -> bool {
    let (own_next, acked, other_next) = moved_by(side, numbers);
    let in_order = own_next.wrapping_sub(seq.0) <= PLAUSIBLE && other_next.wrapping_sub(ack.0) <= PLAUSIBLE;
    if in_order {
        *own_next = Seq(*own_next).max(seq + payload).0;
        *acked = Seq(*acked).max(ack).0;
    }
    in_order
}

fn follow_rst(state: &mut TcpState, numbers: &TcpNumbers, side: Side, segment: &Tcp) -> Meaning {
    let seq = segment.seq.0;
    let exact = match (side, *state) {
        // Nothing of the server's is known yet: the RST must acknowledge the SYN (RFC 9293, section 3.5.2).
        (Side::Server, TcpState::SynSent) => {
            segment.flags.contains(TcpFlags::ACK) && segment.ack.0 == numbers.client_next
        }
        // What was forwarded last, or what the receiver acknowledged last: either may be the next byte expected.
        (Side::Client, _) => seq == numbers.client_next || seq == numbers.server_ack,
        (Side::Server, _) => seq == numbers.server_next || seq == numbers.client_ack,
    };
    if !exact {
        return Meaning::InexactReset;
    }
    *state = TcpState::Closed;
    Meaning::Reset
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(flags: u8, seq: u32, ack: u32, payload: u32) -> Tcp {
        Tcp { src_port: 1, dst_port: 2, seq: Seq(seq), ack: Seq(ack), flags: TcpFlags(flags), payload, window: 1000 }
    }

    const SYN: u8 = 2;
    const ACK: u8 = 16;
    const FIN: u8 = 1;
    const RST: u8 = 4;

    fn established() -> (TcpState, TcpNumbers) {
        let syn = segment(SYN, u32::MAX, 0, 0);
        let (mut state, mut numbers) = (TcpState::SynSent, first_syn(&syn));
        follow(&mut state, &mut numbers, Side::Server, &segment(SYN | ACK, 500, 0, 0));
        assert_eq!(state, TcpState::SynReceived);
        follow(&mut state, &mut numbers, Side::Client, &segment(ACK, 0, 501, 0));
        assert_eq!(state, TcpState::Established);
        (state, numbers)
    }

    #[test]
    fn a_client_may_leave_the_data_of_a_syn_ack() {
        let (mut state, mut numbers) = (TcpState::SynSent, first_syn(&segment(SYN, 0, 0, 0)));
        follow(&mut state, &mut numbers, Side::Server, &segment(SYN | ACK, 500, 1, 6));
        follow(&mut state, &mut numbers, Side::Client, &segment(ACK, 1, 501, 0));
        assert_eq!(state, TcpState::Established);
    }

    #[test]
    fn a_life() {
        let (mut state, mut numbers) = established();
        follow(&mut state, &mut numbers, Side::Client, &segment(ACK, 0, 501, 100));
        follow(&mut state, &mut numbers, Side::Server, &segment(ACK, 501, 100, 1000));
        assert_eq!((numbers.client_next, numbers.server_next, numbers.server_ack), (100, 1501, 100));
        follow(&mut state, &mut numbers, Side::Server, &segment(FIN | ACK, 1501, 100, 0));
        assert_eq!(state, TcpState::ServerClosed);
        assert!(state.is_live());
        follow(&mut state, &mut numbers, Side::Client, &segment(FIN | ACK, 100, 1502, 0));
        assert_eq!(state, TcpState::Closed);
    }

    #[test]
    fn only_an_exact_rst_is_believed() {
        for (seq, meaning) in [(0, Meaning::Reset), (1, Meaning::InexactReset), (u32::MAX, Meaning::InexactReset)] {
            let (mut state, mut numbers) = established();
            assert_eq!(follow(&mut state, &mut numbers, Side::Client, &segment(RST, seq, 0, 0)), meaning);
            assert_eq!(state == TcpState::Closed, meaning == Meaning::Reset);
        }
        let (mut state, mut numbers) = (TcpState::SynSent, first_syn(&segment(SYN, 9, 0, 0)));
        assert_eq!(
            follow(&mut state, &mut numbers, Side::Server, &segment(RST | ACK, 0, 11, 0)),
            Meaning::InexactReset
        );
        assert_eq!(follow(&mut state, &mut numbers, Side::Server, &segment(RST | ACK, 0, 10, 0)), Meaning::Reset);
    }

    #[test]
    fn a_segment_ahead_does_not_make_the_rst_behind_it_exact() {
        for ahead in [1, 1000, PLAUSIBLE, PLAUSIBLE + 1, 1 << 30] {
            let (mut state, mut numbers) = established();
            follow(&mut state, &mut numbers, Side::Client, &segment(ACK, ahead, 501, 10));
            let rst = segment(RST, ahead + 10, 0, 0);
            assert_eq!(follow(&mut state, &mut numbers, Side::Client, &rst), Meaning::InexactReset, "{ahead}");
            assert_eq!(state, TcpState::Established);
        }
    }

    #[test]
    fn what_was_lost_on_its_way_here_is_caught_up_with() {
        let (mut state, mut numbers) = established();
        // 0..100 is lost before us, 100..200 is not; then 0..100 comes again.
        follow(&mut state, &mut numbers, Side::Client, &segment(ACK, 100, 501, 100));
        assert_eq!(numbers.client_next, 0);
        follow(&mut state, &mut numbers, Side::Client, &segment(ACK, 0, 501, 100));
        assert_eq!(numbers.client_next, 100);
        follow(&mut state, &mut numbers, Side::Server, &segment(ACK, 501, 200, 0));
        assert_eq!((numbers.client_next, numbers.server_ack), (200, 200));
        assert_eq!(follow(&mut state, &mut numbers, Side::Client, &segment(RST, 200, 0, 0)), Meaning::Reset);
    }

    #[test]
    fn a_fin_behind_a_loss_still_ends_its_side() {
        let (mut state, mut numbers) = established();
        follow(&mut state, &mut numbers, Side::Client, &segment(FIN | ACK, 1460, 501, 0));
        assert_eq!((state, numbers.client_next), (TcpState::ClientClosed, 0));
    }

    #[test]
    fn a_fin_in_the_middle_of_what_was_sent_is_none() {
        let (mut state, mut numbers) = established();
        follow(&mut state, &mut numbers, Side::Client, &segment(ACK, 0, 501, 1000));
        follow(&mut state, &mut numbers, Side::Client, &segment(FIN | ACK, 500, 501, 0));
        assert_eq!(state, TcpState::Established);
        follow(&mut state, &mut numbers, Side::Client, &segment(FIN | ACK, 900, 501, 100));
        assert_eq!(state, TcpState::ClientClosed, "a retransmission that carries it");
    }

    #[test]
    fn what_is_far_from_any_window_says_nothing() {
        let far = PLAUSIBLE + 1;
        for seq in [far, 0u32.wrapping_sub(far)] {
            let (mut state, mut numbers) = established();
            let before = (numbers.client_next, numbers.client_ack, numbers.server_next, numbers.server_ack);
            for flags in [FIN | ACK, ACK, SYN] {
                let strange = segment(flags, seq, 502, 5);
                assert_eq!(follow(&mut state, &mut numbers, Side::Client, &strange), Meaning::Implausible);
            }
            let after = (numbers.client_next, numbers.client_ack, numbers.server_next, numbers.server_ack);
            assert_eq!((state, after), (TcpState::Established, before));
        }
        let (mut state, mut numbers) = (TcpState::SynSent, first_syn(&segment(SYN, 9, 0, 0)));
        follow(&mut state, &mut numbers, Side::Server, &segment(SYN | ACK, 500, 10 + far, 0));
        assert_eq!(state, TcpState::SynSent, "a SYN-ACK that does not answer this SYN");
    }

    #[test]
    fn acknowledgements_far_beyond_what_was_sent_count_for_nothing() {
        let (mut state, mut numbers) = established();
        follow(&mut state, &mut numbers, Side::Client, &segment(ACK, 0, 502 + PLAUSIBLE, 0));
        assert_eq!((numbers.client_ack, numbers.server_next), (501, 501));
    }
}

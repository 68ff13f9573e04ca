//! ICMP errors about segments of content connections (see `plane/errors.rs` for those of L4 flows).
//!
//! ```text
//! client's side, about a segment that a server sent -> to that server, its own number in the quotation
//! server's side, about a segment that the client sent -> to the client, likewise
//! either side, about what the switch itself sent (replayed heads, answers) -> its segments there become smaller
//! ```
//!
//! As everywhere, only what is under way is believed (RFC 5927, section 4.1), and nothing ever ends for an error. Too big
//! counts for the switch as well when it is passed on: what it sends on that side later must fit too. A segment size only
//! shrinks, not below what every host takes, and only a size that has shrunk has anything sent again before its time.

use super::super::counters::Counter;
use super::super::flow_table::{FlowId, Side};
use super::super::forward::Rewrite;
use super::super::{Out, Plane, Verdict};
use super::CLIENT_SIDE;
use super::connection::Connection;
use super::send::CLOCKS;
use crate::base::seq::Seq;
use crate::base::time::Time;
use crate::wire::frame::FrameBuf;
use crate::wire::icmp::{self, Quoted};
use crate::wire::ip::Family;
use crate::wire::parse::{Ip, Parsed};

/// The segment size that fits packets of this many bytes, but at least what every host takes (RFC 9293, section 3.7.1).
fn fitting(mtu: u16, family: Family) -> u16 {
    let (headers, least) = match family {
        Family::V4 => (40, 536),
        Family::V6 => (60, 1220),
    };
    mtu.saturating_sub(headers).max(least)
}

impl Plane {
    /// An error about a packet of one side of a content connection.
    #[allow(clippy::too_many_arguments)] // see Plane::forward
    pub(in crate::plane) fn splice_error(
        &mut self,
        frame: &mut FrameBuf,
        parsed: &Parsed,
        ip: &Ip,
        id: FlowId,
        quoted: &Quoted,
        now: Time,
        out: &mut Out,
    ) -> Verdict {
        let numbers = self.flows.get(id).tcp;
        let (place, leg) = (numbers.client_next, numbers.server_next);
        let (Some(seq), Some(mut connection)) = (quoted.seq, self.splices.take(place)) else {
            return Verdict::Dropped(Counter::IcmpError);
        };
        let verdict = match leg {
            CLIENT_SIDE => self.error_about_response(&mut connection, frame, ip, (quoted, seq), now),
            leg => self.error_about_request(&mut connection, leg, frame, (parsed, ip), (quoted, seq), now),
        };
        self.settle(connection, now, out);
        verdict
    }

    /// From the client's side, about a segment to the client.
    fn error_about_response(
        &mut self,
        connection: &mut Connection,
        frame: &mut FrameBuf,
        ip: &Ip,
        (quoted, seq): (&Quoted, Seq),
        now: Time,
    ) -> Verdict {
        if seq < connection.server_acked || seq >= connection.server_next {
            return Verdict::Dropped(Counter::IcmpError);
        }
        let mtu = icmp::next_hop_mtu(frame.bytes(), ip);
        let is_smaller = mtu.is_some_and(|mtu| shrink(&mut connection.abilities.mss, fitting(mtu, ip.family())));
        if is_smaller {
            self.counters.add(Counter::ContentSmaller);
        }
        if connection.answer.is_some() {
            if is_smaller {
                connection.resend_at = Some(now);
            }
            return Verdict::Held;
        }
        let Some(leg) = connection.active().filter(|leg| leg.is_up) else {
            return Verdict::Dropped(Counter::IcmpError);
        };
        let own = leg.shift.back(seq);
        if own < leg.floor || own >= leg.next {
            return Verdict::Dropped(Counter::IcmpError);
        }
        let binding = self.services.binding(leg.binding);
        let (Some(mac), Some(egress)) = (binding.mac, binding.port) else {
            return Verdict::Dropped(Counter::RealPortUnknown);
        };
        let rewrite =
            Rewrite { side: Side::Client, endpoint: binding.socket, dst_mac: Some(mac), src_mac: None, egress };
        icmp::set_quoted_seq(frame, ip, quoted, own);
        if let Some(mtu) = mtu.filter(|_| connection.abilities.timestamps && !leg.timestamps) {
            // What the server sends is that much longer when it leaves here.
            icmp::set_next_hop_mtu(frame, ip, mtu.saturating_sub(CLOCKS));
        }
        self.error_to_real(frame, ip, &rewrite, quoted)
    }

    /// From a server's side, about a segment to that server.
    fn error_about_request(
        &mut self,
        connection: &mut Connection,
        id: u32,
        frame: &mut FrameBuf,
        (parsed, ip): (&Parsed, &Ip),
        (quoted, seq): (&Quoted, Seq),
        now: Time,
    ) -> Verdict {
        let is_active = connection.active == Some(id);
        let Some(leg) = connection.leg_mut(id) else { return Verdict::Dropped(Counter::IcmpError) };
        let first = if leg.is_up { leg.acked } else { leg.sent - 1 };
        if !is_active || seq < first || seq >= leg.sent {
            return Verdict::Dropped(Counter::IcmpError);
        }
        let mtu = icmp::next_hop_mtu(frame.bytes(), ip);
        let is_smaller = mtu.is_some_and(|mtu| shrink(&mut leg.mss, fitting(mtu, ip.family())));
        let (is_up, own) = (leg.is_up, seq - leg.delta);
        if is_smaller {
            self.counters.add(Counter::ContentSmaller);
        }
        if !is_up || connection.is_held(own) {
            // Ours. Whether there is a server at all the SYN's own patience tells.
            if is_smaller && is_up {
                connection.resend_at = Some(now);
            }
            return Verdict::Held;
        }
        icmp::set_quoted_seq(frame, ip, quoted, own);
        let service = connection.ends.service.socket();
        self.error_to_client(frame, parsed, ip, service, quoted, now)
    }
}

/// Makes a segment size smaller, if it is larger than this. True if it was.
fn shrink(mss: &mut u16, to: u16) -> bool {
    let is_larger = *mss > to;
    *mss = (*mss).min(to);
    is_larger
}

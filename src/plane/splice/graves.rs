//! Connections that the switch has ended, to servers and to clients. A RST is acknowledged by nobody, and where it is lost a
//! server holds on to a connection that is no more, and a client waits: so the RST is sent again a few times. Meanwhile the entry in the flow table stays, as a
//! tombstone: what of the connection still comes is answered with an exact RST, and it makes way for another connection on
//! the same ends. Bounded: beyond [`GRAVES_MAX`] the first RST is the only one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::super::flow_table::{Endpoint, Flow, FlowId, Side};
use super::super::process::FlowKey;
use super::super::services::NOBODY;
use super::super::tcp::TcpState;
use super::super::{Out, Plane, tick};
use super::connection::{Connection, Leg};
use crate::base::addr::Protocol;
use crate::base::seq::Seq;
use crate::base::time::Time;

/// Tombstones that send at a time; 24 bytes each besides their entries in the flow table.
const GRAVES_MAX: usize = 65_536;

/// The waits before the RST goes out again, and at last before the end is forgotten: five seconds together.
const WAITS: [Duration; 6] = [
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(800),
    Duration::from_millis(1400),
    Duration::from_millis(2000),
    Duration::from_millis(200),
];

/// Frames that a tombstone may need.
const FRAMES: usize = 2;

/// What is still to be done for ended connections.
#[derive(Debug, Default)]
pub(super) struct Graves {
    /// When, of which number, where in the flow table, after how many waits.
    due: BinaryHeap<Reverse<(Time, u32, FlowId, u8)>>,
    /// Tells a tombstone from a later one in the same place.
    numbered: u32,
}

impl Graves {
    /// When the next is due.
    pub(super) fn next(&self) -> Option<Time> {
        self.due.peek().map(|Reverse((at, ..))| *at)
    }
}

impl Plane {
    /// Ends a server connection as far as counts go; its entry becomes a tombstone, if there is room for one.
    pub(super) fn bury_leg(&mut self, leg: &Leg, now: Time, out: &mut Out) {
        self.leave(&mut leg.clone(), out);
        // Where no server ever answered there may be none: it is told only if it speaks.
        let rest = if leg.is_up { WAITS[0] } else { WAITS.iter().sum() };
        let waits = if leg.is_up { 0 } else { WAITS.len() as u8 - 1 };
        if !self.bury(leg.flow, Side::Client, [leg.acked, leg.sent, leg.next], (now, now + rest, waits)) {
            self.forget_leg(&Leg { is_live: false, ..leg.clone() }, out);
        }
    }

    /// The same for a client, which was told by a RST.
    pub(super) fn bury_client(&mut self, connection: &Connection, now: Time) {
        let numbers = [connection.server_acked, connection.server_next, connection.client_next];
        self.bury(connection.flow, Side::Server, numbers, (now, now + WAITS[0], 0));
    }

    /// Makes an entry a tombstone, from which RSTs go in the direction of `side`'s packets: at the first two numbers, with the
    /// third acknowledged, `due` next, after so many waits. False if there is no room to remember when.
    fn bury(&mut self, id: FlowId, side: Side, numbers: [Seq; 3], (now, due, waits): (Time, Time, u8)) -> bool {
        let has_room = self.splices.graves.due.len() < GRAVES_MAX;
        let flow = self.flows.get_mut(id);
        (flow.state, flow.seen) = (TcpState::Tombstone, tick(now));
        if has_room {
            let graves = &mut self.splices.graves;
            graves.numbered = graves.numbered.wrapping_add(1);
            graves.due.push(Reverse((due, graves.numbered, id, waits)));
            *place_of_number(flow, side) = graves.numbered;
            let [acked, sent, next] = numbers.map(|seq| seq.0);
            match side {
                Side::Client => (flow.tcp.server_ack, flow.tcp.client_next, flow.tcp.server_next) = (acked, sent, next),
                Side::Server => (flow.tcp.client_ack, flow.tcp.server_next, flow.tcp.client_next) = (acked, sent, next),
            }
        }
        has_room
    }

    /// Sends RSTs again where it is time.
    pub(super) fn poll_graves(&mut self, now: Time, out: &mut Out) {
        while self.splices.graves.next().is_some_and(|at| at <= now) && out.frames.room() >= FRAMES {
            let Some(Reverse((_, number, id, waits))) = self.splices.graves.due.pop() else { return };
            let Some(side) = self.side_of_grave(id, number) else { continue };
            let Some(wait) = WAITS.get(usize::from(waits) + 1) else {
                self.remove_flow(id, out);
                continue;
            };
            let flow = self.flows.get_mut(id);
            flow.seen = tick(now);
            let numbers = flow.tcp;
            let (seqs, ack) = match side {
                Side::Client => ([numbers.server_ack, numbers.client_next], numbers.server_next),
                Side::Server => ([numbers.client_ack, numbers.server_next], numbers.client_next),
            };
            self.send_reset_pair(id, side, seqs, ack, out);
            self.splices.graves.due.push(Reverse((now + *wait, number, id, waits + 1)));
        }
    }

    /// Whose RSTs a tombstone sends; `None` if it is another than the one of this number, or none.
    fn side_of_grave(&mut self, id: FlowId, number: u32) -> Option<Side> {
        if !self.flows.holds(id) {
            return None;
        }
        let flow = self.flows.get_mut(id);
        let side = match (flow.service, flow.binding) {
            (NOBODY, _) => Side::Client,
            (_, NOBODY) => Side::Server,
            _ => return None,
        };
        (flow.state == TcpState::Tombstone && *place_of_number(flow, side) == number).then_some(side)
    }

    /// A connection between these ends is to begin: a tombstone makes way.
    pub(super) fn clear_grave(&mut self, client: Endpoint, real: Endpoint, hash: u64, out: &mut Out) {
        let key = FlowKey { side: Side::Server, client, other: real, protocol: Protocol::Tcp };
        if let Some(id) = self.find_flow(hash, &key)
            && self.flows.get(id).state == TcpState::Tombstone
        {
            self.remove_flow(id, out);
        }
    }
}

/// Where a tombstone has its number: in the one of the four that its RSTs do not need.
fn place_of_number(flow: &mut Flow, side: Side) -> &mut u32 {
    match side {
        Side::Client => &mut flow.tcp.client_ack,
        Side::Server => &mut flow.tcp.server_ack,
    }
}

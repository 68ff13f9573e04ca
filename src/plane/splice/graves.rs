//! Server connections that the switch has ended. A RST is acknowledged by nobody, and where it is lost the server holds on
//! to a connection that is no more: so the RST is sent again a few times. Meanwhile the entry in the flow table stays, as a
//! tombstone: what of the connection still comes is answered with an exact RST, and it makes way for another connection on
//! the same ends. Bounded: beyond [`GRAVES_MAX`] server connections are forgotten at once.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::super::flow_table::{Endpoint, FlowId, Side};
use super::super::process::FlowKey;
use super::super::services::NOBODY;
use super::super::tcp::TcpState;
use super::super::{Out, Plane, tick};
use super::connection::Leg;
use crate::base::addr::Protocol;
use crate::base::time::Time;

/// Tombstones of server connections at a time; 24 bytes each besides their entries in the flow table.
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

/// What is still to be done for ended server connections.
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
        if self.splices.graves.due.len() >= GRAVES_MAX {
            self.forget_leg(leg, out);
            return;
        }
        self.leave(&mut leg.clone(), out);
        let graves = &mut self.splices.graves;
        graves.numbered = graves.numbered.wrapping_add(1);
        let number = graves.numbered;
        graves.due.push(Reverse((now + WAITS[0], number, leg.flow, 0)));
        let flow = self.flows.get_mut(leg.flow);
        (flow.state, flow.seen) = (TcpState::Tombstone, tick(now));
        (flow.tcp.client_next, flow.tcp.server_ack) = (leg.sent.0, leg.acked.0);
        (flow.tcp.server_next, flow.tcp.client_ack) = (leg.next.0, number);
    }

    /// Sends RSTs again where it is time.
    pub(super) fn poll_graves(&mut self, now: Time, out: &mut Out) {
        while self.splices.graves.next().is_some_and(|at| at <= now) && out.frames.room() >= FRAMES {
            let Some(Reverse((_, number, id, waits))) = self.splices.graves.due.pop() else { return };
            if !self.is_grave(id, number) {
                continue;
            }
            let Some(wait) = WAITS.get(usize::from(waits) + 1) else {
                self.remove_flow(id, out);
                continue;
            };
            let numbers = self.flows.get(id).tcp;
            self.flows.get_mut(id).seen = tick(now);
            let seqs = [numbers.server_ack, numbers.client_next];
            self.send_reset_pair(id, Side::Client, seqs, numbers.server_next, out);
            self.splices.graves.due.push(Reverse((now + *wait, number, id, waits + 1)));
        }
    }

    fn is_grave(&self, id: FlowId, number: u32) -> bool {
        self.flows.holds(id) && {
            let flow = self.flows.get(id);
            flow.state == TcpState::Tombstone && flow.service == NOBODY && flow.tcp.client_ack == number
        }
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

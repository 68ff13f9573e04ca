//! Taking up a new table, at a cost in proportion to what changed.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use super::counters::Counter;
use super::prepare::Prepared;
use super::{Notice, Out, Plane};
use crate::acm::table::ServiceChange;
use crate::base::addr::Mac;
use crate::base::time::Time;
use crate::wire::build::{self, Link};
use crate::wire::frame::Egress;
use crate::wire::parse::{Arp, ArpOp};

/// The second gratuitous ARP, for stations that missed the first.
const ANNOUNCE_AGAIN: Duration = Duration::from_secs(1);

impl Plane {
    /// Uses this table from now on: new virtual addresses are announced, drains and cuts begin.
    pub fn take_table(&mut self, prepared: &Prepared, now: Time, out: &mut Out) {
        let table = Arc::clone(prepared.table());
        let before = std::mem::replace(&mut self.table, Arc::clone(&table));
        for vip in table.vips_since(&before) {
            if let IpAddr::V4(vip) = vip {
                self.announcements.push_back((now, vip));
                self.announcements.push_back((now + ANNOUNCE_AGAIN, vip));
            }
        }
        for change in table.services_since(&before) {
            self.take_service(change, prepared, out);
        }
        self.announcements.make_contiguous().sort_by_key(|(at, _)| *at);
        self.announce(now, out);
    }

    fn take_service(&mut self, change: ServiceChange<'_>, prepared: &Prepared, out: &mut Out) {
        for binding in change.bindings() {
            match (binding.old, binding.new) {
                (_, Some(row)) => {
                    let was_draining = binding.old.is_some_and(|old| old.is_draining());
                    let slot = self.services.put_binding(row);
                    let live = self.services.binding(slot).live;
                    if row.is_draining() && !was_draining && live == 0 {
                        out.notices.push(Notice::Drained { binding: row.id });
                    }
                    if row.is_draining() && !was_draining && live > 0 && self.content_connections() > 0 {
                        self.begin_cutting();
                    }
                }
                (Some(gone), None) => match self.services.remove_binding(gone.id) {
                    Some(_) => self.begin_cutting(),
                    None => out.notices.push(Notice::Cut { binding: gone.id, cut: 0 }),
                },
                (None, None) => {}
            }
        }
        match (change.old, change.new) {
            (_, Some(row)) => self.services.put_service(row, prepared.rules(&row.key)),
            (Some(gone), None) => self.services.remove_service(&gone.key),
            (None, None) => {}
        }
    }

    /// Sends the gratuitous ARP that is due (RFC 5227, section 3: a request that asks for the sender's own address).
    pub(super) fn announce(&mut self, now: Time, out: &mut Out) {
        while self.announcements.front().is_some_and(|(at, _)| *at <= now) && out.frames.room() > 0 {
            let Some((_, vip)) = self.announcements.pop_front() else { return };
            if self.table.is_vip(IpAddr::V4(vip)) {
                self.send_gratuitous(vip, out);
            }
        }
    }

    fn send_gratuitous(&mut self, vip: Ipv4Addr, out: &mut Out) {
        let mac = self.config.mac;
        let arp = Arp { op: ArpOp::Request, sender_mac: mac, sender_ip: vip, target_mac: Mac::ZERO, target_ip: vip };
        if let Some(frame) = out.frames.next_free()
            && build::arp(frame, Link { src: mac, dst: Mac::BROADCAST }, &arp)
        {
            frame.egress = Egress::All;
            self.counters.add(Counter::ArpAnnounced);
        }
    }
}

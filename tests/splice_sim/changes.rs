//! Bindings that are removed, at once or when they are empty, and come back, in the middle of whatever happens.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use acm_switch::acm::words::*;
use acm_switch::base::id::{BindingId, Name};
use acm_switch::base::time::Time;
use acm_switch::plane::Notice;

use super::segment::{SYN, be16, be32, parts};
use super::world::{Place, server_ip, server_mac};

/// What is done to a server's binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Remove: nothing new goes there.
    Drain,
    /// Force Remove: what there is ends.
    Cut,
    /// Add.
    Add,
}

/// One server's binding, and what was promised about it.
#[derive(Debug)]
pub(crate) struct Bond {
    pub(crate) binding: Option<Binding>,
    /// The connections begun there: the client's port and the number of its SYN.
    begun: BTreeSet<(u16, u32)>,
    /// The binding there is, or was last.
    id: BindingId,
    /// It was said to have no connection any more.
    is_empty: bool,
    wrong: Vec<String>,
}

impl Bond {
    /// Bound from the beginning.
    pub(crate) fn new(n: usize, place: &Place) -> Bond {
        let will = Will {
            admin: AdminState::Up,
            group: place.group.parse::<Name>().expect("a name"),
            weight: 1,
            max_conns: None,
            owner: operator(),
            identity: None,
            lease: None,
            health: Arc::default(),
        };
        let tcp = place.is_known.then_some(TcpAbilities {
            mss: (place.manner.frame_max - 54) as u16,
            scale: place.manner.scale,
            sack: true,
            timestamps: place.manner.timestamps,
        });
        let observed = Observed { health: Health::Passing, mac: Some(server_mac(n)), lapsed: false, tcp };
        let real = SocketAddr::from((server_ip(n), 8080));
        let id = BindingId(n as u64 + 1);
        let binding = Binding { id, real, will, observed };
        Bond { binding: Some(binding), begun: BTreeSet::new(), id, is_empty: false, wrong: vec![] }
    }

    /// The binding as it is from now on.
    pub(crate) fn change(&mut self, change: Change, n: usize, place: &Place, now: Time) {
        let bound = self.binding.take();
        self.binding = match (change, bound) {
            (Change::Cut | Change::Drain, None) => None,
            (Change::Cut, Some(_)) => {
                self.is_empty = false;
                None
            }
            (Change::Drain, Some(mut binding)) => {
                self.is_empty &= binding.is_draining();
                binding.will.admin = AdminState::Draining { since: now, deadline: None };
                Some(binding)
            }
            (Change::Add, Some(mut binding)) => {
                binding.will.admin = AdminState::Up;
                Some(binding)
            }
            (Change::Add, None) => {
                let mut binding = Bond::new(n, place).binding.expect("bound");
                // Another one than before.
                binding.id = BindingId(1000 + now.micros());
                (self.id, self.is_empty) = (binding.id, false);
                Some(binding)
            }
        };
    }

    fn takes_new(&self) -> bool {
        self.binding.as_ref().is_some_and(Binding::takes_new)
    }

    /// Looks at a frame that goes to the server, where nothing new was promised to. Last segments of what is over may.
    pub(crate) fn watch(&mut self, frame: &[u8]) {
        let Some(at) = parts(frame) else { return };
        let begun = (be16(frame, at.tcp), be32(frame, at.tcp + 4));
        if at.flags == SYN && self.begun.insert(begun) && !self.takes_new() {
            self.wrong.push(format!("a SYN from {begun:?} to a server that was removed"));
        }
    }

    /// Takes a notice, if it is about this binding.
    pub(crate) fn notice(&mut self, notice: Notice) {
        let (Notice::Drained { binding } | Notice::Cut { binding, .. }) = notice;
        self.is_empty |= binding == self.id;
    }

    /// What was wrong in the end, when nobody is connected to anyone.
    pub(crate) fn wrong(&mut self, n: usize) -> Vec<String> {
        if !self.is_empty && self.binding.as_ref().is_none_or(Binding::is_draining) {
            self.wrong.push(format!("nobody was told that server {} is empty", n + 1));
        }
        std::mem::take(&mut self.wrong)
    }
}

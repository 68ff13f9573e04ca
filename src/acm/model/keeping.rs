//! Clients that come back, in the most obvious form: everything ever said in a cookie is written down.

use std::net::SocketAddr;

use super::world::World;
use crate::acm::rules::Persistence;
use crate::acm::rules::request::{Reply, Request, SAYS_COOKIE, Served};
use crate::acm::rules::share::shares;
use crate::acm::words::{Binding, Group, ServiceKey};
use crate::base::id::{BindingId, Name};
use crate::base::time::Time;

/// A cookie as a client brings it: of which service, its name, its value.
pub(super) type Said = (ServiceKey, String, String);

/// Whom a cookie leads to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    share: u64,
    /// Not any more after that.
    until: Option<Time>,
}

impl World {
    /// The eligible member that a request's cookie leads back to.
    pub(super) fn keeper(
        &mut self,
        key: ServiceKey,
        group: &Name,
        eligible: &[Binding],
        request: &Request,
    ) -> Option<(SocketAddr, BindingId)> {
        let name = self.keeping(key, group).persist.cookie()?.to_owned();
        let said = (key, name.clone(), request.cookie(&name)?.to_owned());
        let now = self.now;
        let kept = self.kept.get(&said).filter(|kept| kept.until.is_none_or(|until| now <= until))?.share;
        let found = self.members(key, group).into_iter().find(|(_, share)| *share == kept)?.0;
        self.keep(key, group, said, kept);
        eligible.iter().find(|binding| binding.id == found).map(|binding| (binding.real, binding.id))
    }

    /// What the client hears of a request that this binding got: the cookies the server sets, and ours.
    pub(super) fn reply(
        &mut self,
        key: ServiceKey,
        group: &Name,
        (real, binding): (SocketAddr, BindingId),
        request: &Request,
    ) -> Reply {
        let says = request.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(SAYS_COOKIE));
        let mut reply = Reply { served: Served::By(real), cookies: says.map(|(_, value)| value.clone()).collect() };
        let share = self.members(key, group).into_iter().find(|(id, _)| *id == binding).map(|(_, share)| share);
        let (persist, Some(share)) = (self.keeping(key, group).persist, share) else { return reply };
        match persist {
            Persistence::None => {}
            Persistence::Learn(learn) => {
                if let Some(value) = reply.cookie(&learn.name).map(str::to_owned) {
                    self.keep(key, group, (key, learn.name, value), share);
                }
            }
            Persistence::Insert(insert) => {
                // Any text that nobody can guess would do.
                let token = format!("{:016x}", self.token_key ^ share);
                if request.cookie(&insert.name) != Some(&token) {
                    reply.cookies.insert(0, format!("{}={token}", insert.name));
                }
                self.keep(key, group, (key, insert.name, token), share);
            }
        }
        reply
    }

    fn keep(&mut self, key: ServiceKey, group: &Name, said: Said, share: u64) {
        let until = match self.keeping(key, group).persist {
            Persistence::Learn(learn) => Some(self.now + learn.idle.0),
            _ => None,
        };
        self.kept.insert(said, Kept { share, until });
    }

    fn keeping(&self, key: ServiceKey, group: &Name) -> Group {
        self.services.get(&key).and_then(|service| service.groups.get(group)).cloned().unwrap_or_default()
    }

    /// The bindings of a group with their shares.
    fn members(&self, key: ServiceKey, group: &Name) -> Vec<(BindingId, u64)> {
        let Some(service) = self.services.get(&key) else { return Vec::new() };
        let of_group = || service.bindings.values().filter(|binding| binding.will.group == *group);
        of_group().map(|binding| binding.id).zip(shares(of_group().map(Binding::claim))).collect()
    }
}

//! The schedulers, each in its most obvious form.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;

use super::requests::normal_path;
use super::world::World;
use crate::acm::rules::UrlPart;
use crate::acm::rules::request::Request;
use crate::acm::rules::share::{Claim, shares};
use crate::acm::words::{Binding, Group, Scheduler, ServiceKey};
use crate::base::id::{BindingId, Name};

impl World {
    /// Chooses among the eligible members of a group.
    pub(super) fn choose(
        &mut self,
        client: SocketAddr,
        key: ServiceKey,
        group: &Name,
        eligible: &[Binding],
        request: Option<&Request>,
    ) -> Option<(SocketAddr, BindingId)> {
        let group = self.services.get(&key)?.groups.get(group).cloned().unwrap_or_default();
        let (scheduler, hashed) = match request.and_then(|request| hashed_text(&group, request)) {
            None if group.scheduler.needs_content() => (group.hash.fallback, String::new()),
            text => (group.scheduler, text.unwrap_or_default()),
        };
        let chosen = match scheduler {
            Scheduler::RoundRobin => in_turn(self.services.get(&key)?.last, eligible),
            Scheduler::Weighted => self.by_credit(key, eligible),
            Scheduler::LeastConn => self.least_loaded(key, eligible),
            Scheduler::Random => self.at_random(eligible),
            Scheduler::SourceHash => by_hash(&client.ip().to_string(), eligible),
            Scheduler::UrlHash | Scheduler::CookieHash => by_hash(&hashed, eligible),
        }?;
        self.services.get_mut(&key)?.last = Some(chosen.real);
        Some((chosen.real, chosen.id))
    }

    /// Smooth weighted round-robin: each gains its weight, the richest is chosen and pays for all.
    fn by_credit<'a>(&mut self, key: ServiceKey, eligible: &'a [Binding]) -> Option<&'a Binding> {
        let credit = &mut self.services.get_mut(&key)?.credit;
        for binding in eligible {
            *credit.entry(binding.id).or_default() += i64::from(binding.will.weight);
        }
        let chosen = eligible.iter().max_by_key(|binding| credit.get(&binding.id).copied())?;
        let total: i64 = eligible.iter().map(|binding| i64::from(binding.will.weight)).sum();
        *credit.entry(chosen.id).or_default() -= total;
        Some(chosen)
    }

    fn least_loaded<'a>(&self, key: ServiceKey, eligible: &'a [Binding]) -> Option<&'a Binding> {
        let load = |binding: &Binding| self.live(binding.id) * 1_000_000 / u64::from(binding.will.weight.max(1));
        let least = eligible.iter().map(load).min()?;
        let ties: Vec<_> = eligible.iter().filter(|binding| load(binding) == least).cloned().collect();
        let chosen = in_turn(self.services.get(&key)?.last, &ties)?.id;
        eligible.iter().find(|binding| binding.id == chosen)
    }

    fn at_random<'a>(&mut self, eligible: &'a [Binding]) -> Option<&'a Binding> {
        let total: u64 = eligible.iter().map(|binding| u64::from(binding.will.weight)).sum();
        if total == 0 {
            return None;
        }
        let mut ticket = self.coins.u64(..total);
        eligible.iter().find(|binding| {
            let weight = u64::from(binding.will.weight);
            let mine = ticket < weight;
            ticket = ticket.saturating_sub(weight);
            mine
        })
    }
}

/// The next after the last chosen, in order of their addresses, and round again.
fn in_turn(last: Option<SocketAddr>, eligible: &[Binding]) -> Option<&Binding> {
    eligible.iter().find(|binding| last.is_none_or(|last| binding.real > last)).or_else(|| eligible.first())
}

/// Rendezvous hashing of a text and the bindings' shares: the highest draw of as many as its weight says. (Bounded load
/// is not modelled: without a hot key it is no difference.)
fn by_hash<'a>(text: &str, eligible: &'a [Binding]) -> Option<&'a Binding> {
    let claims = eligible.iter().map(|binding| Claim {
        real: binding.real,
        identity: binding.will.identity.as_ref(),
        stays: true,
    });
    let draw = |share: u64, weight: u16| (0..weight).map(|ticket| fixed_hash(&(text, share, ticket))).max();
    let drawn = eligible.iter().zip(shares(claims)).max_by_key(|(binding, share)| draw(*share, binding.will.weight));
    drawn.map(|(binding, _)| binding)
}

/// What a group hashes of a request, if it is there.
fn hashed_text(group: &Group, request: &Request) -> Option<String> {
    if group.scheduler == Scheduler::CookieHash {
        let value = request.cookie(group.hash.cookie.as_deref()?)?;
        return (!value.is_empty()).then(|| value.to_owned());
    }
    let path = String::from_utf8_lossy(&normal_path(request.path())?).into_owned();
    let query = request.query().map(|query| format!("?{query}")).unwrap_or_default();
    Some(match group.hash.url {
        UrlPart::Full => format!("{} {path}{query}", request.host_name()),
        UrlPart::Path => path + &query,
        UrlPart::PathOnly => path,
        UrlPart::HostPath => format!("{} {path}", request.host_name()),
    })
}

/// The same in every run.
fn fixed_hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

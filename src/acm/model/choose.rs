//! The schedulers, each in its most obvious form.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;

use super::world::World;
use crate::acm::words::{Binding, Scheduler, ServiceKey, default_group};
use crate::base::id::BindingId;

impl World {
    /// Chooses among the eligible.
    pub(super) fn choose(
        &mut self,
        client: SocketAddr,
        key: ServiceKey,
        eligible: &[Binding],
    ) -> Option<(SocketAddr, BindingId)> {
        let scheduler = self.services.get(&key)?.groups.get(&default_group()).copied().unwrap_or_default();
        let chosen = match scheduler {
            Scheduler::RoundRobin => in_turn(self.services.get(&key)?.last, eligible),
            Scheduler::Weighted => self.by_credit(key, eligible),
            Scheduler::LeastConn => self.least_loaded(key, eligible),
            Scheduler::Random => self.at_random(eligible),
            Scheduler::SourceHash => by_hash(client, eligible),
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

/// Rendezvous hashing by the client's address and the bindings' ids: the highest draw of as many as its weight says.
fn by_hash(client: SocketAddr, eligible: &[Binding]) -> Option<&Binding> {
    let draw = |binding: &Binding| {
        let one = |ticket| fixed_hash(&(client.ip(), binding.id, ticket));
        (0..binding.will.weight).map(one).max()
    };
    eligible.iter().max_by_key(|binding| draw(binding))
}

/// The same in every run.
fn fixed_hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

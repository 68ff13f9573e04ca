//! A backend in the words of the contract: which servers are ours, in what state, and the rows of List.

use std::net::SocketAddr;

use super::answer::{Seen, SeenBackend};
use super::name::{Check, ServerName};
use super::profile::{Mapped, Removal};
use crate::acm::list::{BindingRow, GroupRow, ServiceRow, State};
use crate::acm::rules::{Action, Content, Strangers, Switching};
use crate::acm::words::{BindingKey, HealthProfile, Refusal, Scheduler, ServiceKey, default_group};
use crate::base::id::{BindingId, Name, ServiceId};

/// Bits of `srv_admin_state` that keep a server in maintenance: forced, inherited, from the configuration, for want of
/// a DNS answer, for a name that cannot be resolved (management guide, `show servers state`).
const MAINTENANCE: u32 = 0x01 | 0x02 | 0x04 | 0x20 | 0x40;
/// Forced maintenance alone, which is what a command sets.
const FORCED_MAINTENANCE: u32 = 0x01;
/// Bits that keep it in drain: forced, inherited.
const DRAIN: u32 = 0x08 | 0x10;
/// Forced drain alone.
const FORCED_DRAIN: u32 = 0x08;

/// The owner of servers that are none of ours. Nobody can add under this name.
pub(super) fn foreign() -> Name {
    "foreign".parse().expect("`foreign` is a legal name")
}

/// A backend that stands for a service.
#[derive(Debug, Clone)]
pub(super) struct Backend {
    pub(super) service: ServiceKey,
    pub(super) name: String,
    pub(super) removal: Removal,
    id: u32,
    algorithm: String,
    total: u64,
    servers: Vec<Server>,
}

/// A server of it.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) seen: Seen,
    /// What its name says, if it is ours: if the name decodes, and the server is where its name says.
    pub(super) ours: Option<ServerName>,
}

impl Server {
    /// True if a command, ours or somebody's, put it into maintenance.
    pub(super) fn is_in_maintenance(&self) -> bool {
        self.seen.admin & FORCED_MAINTENANCE != 0
    }

    /// As after `state ready`.
    pub(super) fn be_ready(&mut self) {
        self.seen.admin &= !(FORCED_MAINTENANCE | DRAIN);
    }

    /// As after a Remove.
    pub(super) fn be_removed(&mut self, removal: Removal) {
        self.seen.admin |= match removal {
            Removal::Drain => FORCED_DRAIN,
            Removal::Maintenance => FORCED_MAINTENANCE,
        };
    }
}

impl Backend {
    /// What was seen of the backend mapped to a service.
    pub(super) fn new(mapped: &Mapped, removal: Removal, seen: SeenBackend) -> Backend {
        let SeenBackend { id, algorithm, total, servers } = seen;
        let mut servers: Vec<_> = servers
            .into_iter()
            .map(|seen| {
                let ours = ServerName::decode(&seen.name).filter(|name| Some(name.real) == seen.address);
                Server { seen, ours }
            })
            .collect();
        // Of two with one address the binding is ours, and the older one. Those without an address come first.
        servers.sort_by_key(|server| (server.seen.address, server.ours.is_none(), server.seen.id));
        Backend { service: mapped.service, name: mapped.backend.clone(), removal, id, algorithm, total, servers }
    }

    /// The server at an address.
    pub(super) fn at(&self, real: SocketAddr) -> Option<&Server> {
        self.servers.get(self.place(real)).filter(|server| server.seen.address == Some(real))
    }

    /// True if a server that is not ours has this name.
    pub(super) fn has_foreign(&self, name: &str) -> bool {
        self.servers.iter().any(|server| server.ours.is_none() && server.seen.name == name)
    }

    /// Where the first server at this address is, or would be.
    fn place(&self, real: SocketAddr) -> usize {
        self.servers.partition_point(|server| server.seen.address < Some(real))
    }

    /// A server as it is after a change, or a new one.
    pub(super) fn put(&mut self, server: Server) {
        let Some(real) = server.seen.address else { return };
        let place = self.place(real);
        match self.servers.get_mut(place).filter(|known| known.seen.id == server.seen.id) {
            Some(known) => *known = server,
            None => self.servers.insert(place, server),
        }
    }

    /// What a command calls it.
    pub(super) fn path(&self, server: &Server) -> String {
        format!("{}/{}", self.name, server.seen.name)
    }

    /// Every server of ours that was removed and has nothing left to do.
    pub(super) fn drained(&self) -> impl Iterator<Item = &Server> {
        let is_empty = |server: &&Server| server.seen.sessions == 0 && server.seen.queued == 0;
        self.servers.iter().filter(|server| server.ours.is_some() && self.is_removed(server)).filter(is_empty)
    }

    /// Forgets a server that was deleted.
    pub(super) fn forget(&mut self, name: &str) {
        self.servers.retain(|server| server.seen.name != name);
    }

    /// How many servers there are.
    pub(super) fn len(&self) -> usize {
        self.servers.len()
    }

    /// A binding's identity. HAProxy numbers servers within a backend; the driver gives each a number of its own.
    pub(super) fn binding_id(&self, server: u32) -> BindingId {
        BindingId(u64::from(self.id) << 32 | u64::from(server))
    }

    /// True after Remove.
    pub(super) fn is_removed(&self, server: &Server) -> bool {
        match self.removal {
            _ if server.seen.admin & DRAIN != 0 => true,
            Removal::Maintenance => server.is_in_maintenance(),
            Removal::Drain => false,
        }
    }

    /// The rows of its bindings in order of the reals. A server without an address, or a second one at the same
    /// address, cannot be named in the contract and has none.
    pub(super) fn rows(&self) -> Vec<BindingRow> {
        let mut rows: Vec<BindingRow> = Vec::with_capacity(self.servers.len());
        for server in &self.servers {
            let Some(real) = server.seen.address else { continue };
            if rows.last().is_none_or(|row| row.key.real != real) {
                rows.push(self.row(server, real));
            }
        }
        rows
    }

    fn row(&self, server: &Server, real: SocketAddr) -> BindingRow {
        let (state, reason) = self.state(server);
        let (owner, check) = match &server.ours {
            Some(name) => (name.owner.clone(), name.check),
            None if server.seen.check.is_empty() => (foreign(), Check::None),
            // How often HAProxy checks it cannot be read; its default is as good a guess as any.
            None => (foreign(), Check::default()),
        };
        BindingRow {
            key: BindingKey { service: self.service, real },
            id: self.binding_id(server.seen.id),
            group: default_group(),
            state,
            reason,
            connections: server.seen.sessions,
            total: server.seen.total,
            weight: server.seen.weight,
            max_conns: server.seen.max_conns,
            owner,
            identity: None,
            lease: None,
            lease_left: None,
            deadline_left: None,
            mac: None,
            health: check.profile(),
        }
    }

    /// The will first, then what was observed.
    fn state(&self, server: &Server) -> (State, Option<String>) {
        let seen = &server.seen;
        let says = if seen.check_words.is_empty() { &seen.check } else { &seen.check_words };
        if self.is_removed(server) {
            return (State::Draining, Some("removed; existing connections finish".into()));
        }
        if seen.admin & MAINTENANCE != 0 {
            return (State::Failed, Some("in maintenance, set in HAProxy".into()));
        }
        match seen.operation {
            1 | 2 => (State::Active, None),
            0 if matches!(seen.check.as_str(), "INI" | "UNK") => {
                (State::Pending, Some(format!("waiting for HAProxy's check of {}", seen.name)))
            }
            0 => (State::Failed, Some(format!("HAProxy's check: {says}"))),
            _ => (State::Failed, Some(format!("it asked HAProxy for no more connections: {says}"))),
        }
    }

    /// The service's own row.
    pub(super) fn service_row(&self) -> ServiceRow {
        let scheduler = match self.algorithm.as_str() {
            "roundrobin" | "static-rr" => Some(Scheduler::Weighted),
            "leastconn" => Some(Scheduler::LeastConn),
            "random" => Some(Scheduler::Random),
            "source" => Some(Scheduler::SourceHash),
            // `first`, `uri`, `hdr`: the contract has no word for them.
            _ => None,
        };
        let group = |scheduler| GroupRow::plain(default_group(), scheduler);
        ServiceRow {
            service: self.service,
            id: ServiceId(self.id.into()),
            content: Content::None,
            switching: Switching::default(),
            default_action: Action::default_action(),
            strangers: Strangers::Default,
            groups: scheduler.map(group).into_iter().collect(),
            drops: vec![],
            rules: vec![],
            health: self.default_health(),
            // It takes the connection and closes it.
            when_none: Refusal::Reset,
            admitted: self.total,
            dropped: 0,
            // HAProxy counts these with its frontends, which may serve other backends too.
            refused: 0,
        }
    }

    /// The profile of bindings that name none.
    pub(super) fn default_health(&self) -> HealthProfile {
        Check::default().profile()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(id: u32, name: &str, address: &str) -> Seen {
        Seen { id, name: name.into(), address: address.parse().ok(), operation: 2, weight: 1, ..Seen::default() }
    }

    fn backend(removal: Removal, servers: Vec<Seen>) -> Backend {
        let mapped = Mapped { service: "10.0.0.100:80".parse().unwrap(), backend: "web".into() };
        let seen = SeenBackend { id: 3, algorithm: "leastconn".into(), total: 0, servers };
        Backend::new(&mapped, removal, seen)
    }

    #[test]
    fn ours_is_what_is_where_its_name_says() {
        let servers = vec![
            seen(9, "acm-10.0.0.13-80", "10.0.0.13:80"),
            seen(1, "web1", "10.0.0.11:80"),
            seen(2, "acm-10.0.0.12-80:web", "10.0.0.99:80"),
            seen(3, "acm-10.0.0.13-80:late", "10.0.0.13:80"),
            seen(4, "somebody", "10.0.0.13:80"),
            seen(5, "unresolved", ""),
        ];
        let rows = backend(Removal::Drain, servers).rows();
        let found: Vec<_> = rows.iter().map(|row| (row.key.real.to_string(), row.owner.as_str(), row.id.0)).collect();
        let id = |n| 3u64 << 32 | n;
        assert_eq!(
            found,
            [
                ("10.0.0.11:80".to_owned(), "foreign", id(1)),
                ("10.0.0.13:80".to_owned(), "late", id(3)),
                ("10.0.0.99:80".to_owned(), "foreign", id(2)),
            ]
        );
    }

    #[test]
    fn states_say_why() {
        let name = "acm-10.0.0.11-80";
        let state = |removal, change: &dyn Fn(&mut Seen)| {
            let mut server = seen(1, name, "10.0.0.11:80");
            change(&mut server);
            let row = backend(removal, vec![server]).rows().remove(0);
            (row.state, row.reason.unwrap_or_default())
        };
        let drain = Removal::Drain;
        assert_eq!(state(drain, &|_| {}), (State::Active, String::new()));
        assert_eq!(state(drain, &|seen| seen.admin = 8).0, State::Draining);
        let (maintenance, why) = state(drain, &|seen| seen.admin = 1);
        assert!(maintenance == State::Failed && why.contains("maintenance"), "{why}");
        assert_eq!(state(Removal::Maintenance, &|seen| seen.admin = 1).0, State::Draining);
        assert_eq!(state(Removal::Maintenance, &|seen| seen.admin = 0x20).0, State::Failed);
        let (failed, why) = state(drain, &|seen| {
            (seen.operation, seen.check, seen.check_words) = (0, "L4CON".into(), "Layer4 connection problem".into());
        });
        assert!(failed == State::Failed && why.contains("Layer4"), "{why}");
        let (pending, why) = state(drain, &|seen| (seen.operation, seen.check) = (0, "INI".into()));
        assert!(pending == State::Pending && why.contains(name), "{why}");
    }

    #[test]
    fn drained_is_removed_ours_and_empty() {
        let mut servers: Vec<_> = ["acm-10.0.0.11-80", "acm-10.0.0.12-80", "acm-10.0.0.13-80", "web1"]
            .iter()
            .zip(["10.0.0.11:80", "10.0.0.12:80", "10.0.0.13:80", "10.0.0.14:80"])
            .map(|(name, address)| Seen { admin: 8, ..seen(1, name, address) })
            .collect();
        (servers[0].sessions, servers[1].queued) = (1, 1);
        let backend = backend(Removal::Drain, servers);
        let drained: Vec<_> = backend.drained().map(|server| server.seen.name.as_str()).collect();
        assert_eq!(drained, ["acm-10.0.0.13-80"]);
    }
}

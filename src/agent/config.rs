//! The agent's configuration: strict, validated whole, every error names its key.
//!
//! ```toml
//! sign_with = 2                       # may be left out if only one key is not an operator's
//!
//! [services]
//! web = "10.0.0.100:80"
//!
//! [[key]]
//! id = 2
//! secret_file = "/etc/acm/keys/web"
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::machine::{PERIOD_MIN, Setup};
use crate::acm::words::{BindingKey, HealthDepth, ServiceKey};
use crate::base::id::Name;
use crate::base::limits::WEIGHT_MAX;
use crate::base::span::Span;
use crate::beacon::config::{KeyConfig, NetworkConfig, Wrong, in_line, random, ring, wrong};
use crate::beacon::key::{KeyId, KeyRing};
use crate::beacon::message::{NodeId, Statement};
use crate::beacon::socket::{Reach, source_address};

/// Where the configuration is when nothing else is said.
pub const DEFAULT_PATH: &str = "/etc/acm/agent.toml";

/// A whole file, with every default.
pub const EXAMPLE: &str = include_str!("example.toml");

/// The environment variable that says otherwise.
pub const PATH_VARIABLE: &str = "ACM_CONFIG";

/// How fast an agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// A beacon every 10 s.
    #[default]
    Normal,
    /// A beacon every 250 ms, for managers with the profile of that name.
    Fast,
}

impl Profile {
    fn period(self) -> Duration {
        match self {
            Profile::Normal => Duration::from_secs(10),
            Profile::Fast => Duration::from_millis(250),
        }
    }
}

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentConfig {
    /// The group of managers and agents.
    #[serde(default = "comics")]
    pub group: Name,
    /// This agent's number, unique among the holders of its key; absent: a random one at each start.
    #[serde(default)]
    pub node: Option<NodeId>,
    /// The key it signs with; absent: the only one that is not an operator's.
    #[serde(default)]
    pub sign_with: Option<KeyId>,
    /// How fast it is.
    #[serde(default)]
    pub profile: Profile,
    /// From one beacon to the next, instead of the profile's.
    #[serde(default)]
    pub period: Option<Span>,
    /// What is left of connections this long after a withdrawal is cut.
    #[serde(default = "drain")]
    pub drain: Span,
    /// The address that is announced; absent: the one from which the managers are spoken to.
    #[serde(default)]
    pub address: Option<IpAddr>,
    /// What it serves: names, and virtual services.
    #[serde(default)]
    pub services: BTreeMap<Name, ServiceConfig>,
    /// How `acm run` judges whether its command is well.
    #[serde(default)]
    pub health: HealthConfig,
    /// How all are reached.
    #[serde(default)]
    pub network: NetworkConfig,
    /// Whom it believes, and how it signs.
    #[serde(default, rename = "key")]
    pub keys: Vec<KeyConfig>,
}

fn comics() -> Name {
    "comics".parse().expect("`comics` is a legal name")
}

fn drain() -> Span {
    Span::secs(30)
}

/// A line of `[services]`: `"10.0.0.100:80"`, or a table with more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceConfig {
    /// The virtual service.
    pub service: ServiceKey,
    /// Its group on the switch.
    pub group: Option<Name>,
    /// Its weight, 0 to 1000.
    pub weight: Option<u16>,
    /// Its limit of connections, at least 1.
    pub max_conns: Option<u32>,
    /// How deep the switch checks it.
    pub depth: Option<HealthDepth>,
}

impl From<ServiceKey> for ServiceConfig {
    fn from(service: ServiceKey) -> Self {
        ServiceConfig { service, group: None, weight: None, max_conns: None, depth: None }
    }
}

impl ServiceConfig {
    /// What is said of it when it is served at `real`.
    pub fn statement(&self, name: &Name, real: SocketAddr) -> Statement {
        Statement {
            name: Some(name.clone()),
            group: self.group.clone(),
            weight: self.weight,
            max_conns: self.max_conns,
            depth: self.depth,
            ..Statement::new(BindingKey { service: self.service, real })
        }
    }
}

impl<'de> Deserialize<'de> for ServiceConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            service: ServiceKey,
            group: Option<Name>,
            weight: Option<u16>,
            max_conns: Option<u32>,
            depth: Option<HealthDepth>,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = ServiceConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"VIP:PORT\", \"VIP:PORT/udp\", or a table with service, group, weight, max_conns, depth")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ServiceConfig, E> {
                text.parse::<ServiceKey>().map(ServiceConfig::from).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ServiceConfig, A::Error> {
                let Table { service, group, weight, max_conns, depth } =
                    Table::deserialize(MapAccessDeserializer::new(map))?;
                Ok(ServiceConfig { service, group, weight, max_conns, depth })
            }
        }
        from.deserialize_any(Either)
    }
}

/// `[health]`: how `acm run` judges whether its command is well.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HealthConfig {
    /// A line for `/bin/sh`; 0 is well. Absent: the command is well once its ports can be connected to.
    pub command: Option<String>,
    /// From the end of one check to the next.
    pub interval: Span,
    /// How long a check may take.
    pub timeout: Span,
    /// Failed checks in a row after which it fails.
    pub fall: u32,
    /// How long it may take from its start until it is well; then it is started anew.
    pub start_within: Span,
}

impl Default for HealthConfig {
    fn default() -> Self {
        HealthConfig {
            command: None,
            interval: Span::secs(2),
            timeout: Span::secs(1),
            fall: 2,
            start_within: Span::secs(60),
        }
    }
}

/// Spans accepted for the health checks.
const CHECK_RANGE: (Span, Span) = (Span::millis(10), Span::secs(600));
/// Beacons slower than this are not believed by managers anyway.
const PERIOD_MAX: Duration = Duration::from_secs(60);
/// No drain is longer.
const DRAIN_MAX: Span = Span::secs(24 * 3600);

impl AgentConfig {
    /// Where the configuration is: as named, or by [`PATH_VARIABLE`], or [`DEFAULT_PATH`].
    pub fn path(named: Option<PathBuf>) -> PathBuf {
        named.or_else(|| std::env::var_os(PATH_VARIABLE).map(PathBuf::from)).unwrap_or_else(|| DEFAULT_PATH.into())
    }

    /// Reads and validates a file, without the secrets.
    ///
    /// # Errors
    /// [`Wrong`], naming file and key.
    pub fn read(path: &Path) -> Result<AgentConfig, Wrong> {
        let name = path.display().to_string();
        let text = crate::beacon::config::read_text(path).map_err(|why| {
            wrong(
                &name,
                format!(
                    "{why}; name another file with --config or {PATH_VARIABLE}; `acm run --print-config` shows one"
                ),
            )
        })?;
        AgentConfig::parse(&name, &text)
    }

    /// Reads and validates the text of such a file.
    ///
    /// # Errors
    /// As [`AgentConfig::read`].
    pub fn parse(name: &str, text: &str) -> Result<AgentConfig, Wrong> {
        let config: AgentConfig = toml::from_str(text).map_err(|why| in_line(name, text, &why))?;
        config.validate().map_err(|why| wrong(format!("{name}: {}", why.key), why.why))?;
        Ok(config)
    }

    fn validate(&self) -> Result<(), Wrong> {
        self.network.reach()?;
        self.key()?;
        let period = self.period();
        if !(PERIOD_MIN..=PERIOD_MAX).contains(&period) {
            return Err(wrong("period", format!("must be {} to {}", Span(PERIOD_MIN), Span(PERIOD_MAX))));
        }
        if self.drain > DRAIN_MAX {
            return Err(wrong("drain", format!("must be at most {DRAIN_MAX}")));
        }
        for (name, service) in &self.services {
            let at = |key: &str| format!("services.{name}.{key}");
            if service.weight.is_some_and(|weight| weight > WEIGHT_MAX) {
                return Err(wrong(at("weight"), format!("must be 0 to {WEIGHT_MAX}")));
            }
            if service.max_conns == Some(0) {
                return Err(wrong(at("max_conns"), "must be at least 1; leave it out for no limit"));
            }
        }
        let HealthConfig { interval, timeout, start_within, fall, .. } = self.health;
        for (key, span) in [("interval", interval), ("timeout", timeout), ("start_within", start_within)] {
            if !(CHECK_RANGE.0..=CHECK_RANGE.1).contains(&span) {
                let why = format!("{span} is not from {} to {}", CHECK_RANGE.0, CHECK_RANGE.1);
                return Err(wrong(format!("health.{key}"), why));
            }
        }
        if fall == 0 {
            return Err(wrong("health.fall", "must be at least 1"));
        }
        Ok(())
    }

    /// From one beacon to the next.
    pub fn period(&self) -> Duration {
        self.period.map_or(self.profile.period(), |period| period.0)
    }

    /// The key it signs with.
    fn key(&self) -> Result<KeyId, Wrong> {
        if let Some(id) = self.sign_with {
            let there_is = self.keys.iter().any(|key| key.id == id);
            return if there_is { Ok(id) } else { Err(wrong("sign_with", format!("there is no key {id}"))) };
        }
        let mut own = self.keys.iter().filter(|key| !key.operator);
        match (own.next(), own.next()) {
            (Some(key), None) => Ok(key.id),
            (None, _) => Err(wrong("key", "there is none to sign with; add [[key]] with id and secret_file")),
            (Some(_), Some(_)) => Err(wrong("sign_with", "there are several keys; name the one to sign with")),
        }
    }

    /// The service of this name.
    ///
    /// # Errors
    /// [`Wrong`].
    pub fn service(&self, name: &Name) -> Result<&ServiceConfig, Wrong> {
        self.services.get(name).ok_or_else(|| {
            let why = format!("there is no such service; add {name} = \"VIP:PORT\" below [services]");
            wrong(format!("services.{name}"), why)
        })
    }

    /// The address to announce.
    ///
    /// # Errors
    /// [`Wrong`].
    pub fn own_address(&self, reach: &Reach) -> Result<IpAddr, Wrong> {
        let found = || {
            source_address(reach).map_err(|why| {
                wrong("address", format!("this machine's own cannot be found ({why}); name it, or network.interface"))
            })
        };
        self.address.map_or_else(found, Ok)
    }

    /// How to open the sockets.
    ///
    /// # Errors
    /// [`Wrong`].
    pub fn reach(&self) -> Result<Reach, Wrong> {
        self.network.reach()
    }

    /// The keys, from their files and the environment, and the one to sign with.
    ///
    /// # Errors
    /// [`Wrong`].
    pub fn keys(&self) -> Result<(Arc<KeyRing>, KeyId), Wrong> {
        Ok((ring(&self.group, &self.keys)?, self.key()?))
    }

    /// Everything the machine is told, with the secrets.
    ///
    /// # Errors
    /// [`Wrong`].
    pub fn setup(&self) -> Result<Setup, Wrong> {
        let random = || random().map_err(|why| wrong("/dev/urandom", why.to_string()));
        Ok(Setup {
            node: self.node.map_or_else(|| random().map(NodeId), Ok)?,
            ring: ring(&self.group, &self.keys)?,
            sign_with: self.key()?,
            period: self.period(),
            boot: random()?,
            seed: random()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "[[key]]\nid = 2\nsecret_file = \"/k\"\n";

    fn parse(head: &str, more: &str) -> Result<AgentConfig, Wrong> {
        AgentConfig::parse("agent.toml", &format!("{head}{KEY}{more}"))
    }

    #[test]
    fn the_shortest_file_and_the_example() {
        let short = parse("[services]\nweb = \"10.0.0.100:80\"\n", "").unwrap();
        let web: Name = "web".parse().unwrap();
        assert_eq!(short.service(&web).unwrap().service, "10.0.0.100:80".parse().unwrap());
        assert_eq!(
            (short.key().unwrap(), short.period(), short.drain),
            (KeyId(2), Duration::from_secs(10), Span::secs(30))
        );
        assert!(short.service(&"dns".parse().unwrap()).unwrap_err().to_string().starts_with("services.dns"));
        let example = AgentConfig::parse("example", EXAMPLE).unwrap();
        assert_eq!(example.service(&web).unwrap(), short.service(&web).unwrap());
        let udp = &example.services[&"dns".parse::<Name>().unwrap()];
        assert_eq!((udp.service, udp.weight), ("10.0.0.100:53/udp".parse().unwrap(), Some(10)));
        // With every default written out it is the same.
        let is_default = |line: &str| line.strip_prefix("# ").is_some_and(|rest| rest.contains("# default"));
        let written: Vec<_> = EXAMPLE.lines().map(|line| if is_default(line) { &line[2..] } else { line }).collect();
        let explicit = AgentConfig::parse("explicit", &written.join("\n")).unwrap();
        assert_eq!(explicit.period(), example.period());
        assert_eq!((explicit.drain, explicit.health, explicit.group), (example.drain, example.health, example.group));
        assert_eq!(explicit.network.reach(), example.network.reach());
    }

    #[test]
    fn errors_name_the_key() {
        for (head, more, key) in [
            ("service = 1\n", "", "service"),
            ("sign_with = 9\n", "", "sign_with"),
            ("", "[[key]]\nid = 3\nsecret_file = \"/k\"\n", "sign_with"),
            ("period = \"1ms\"\n", "", "period"),
            ("drain = \"9days\"\n", "", "drain"),
            ("[services]\nweb = \"10.0.0.100\"\n", "", "agent.toml: line 2: web: "),
            ("[services]\nweb = 7\n", "", "agent.toml: line 2: web: "),
            ("[services]\nweb = { service = \"10.0.0.100:80\", weight = 1001 }\n", "", "services.web.weight"),
            ("[services]\nweb = { service = \"10.0.0.100:80\", max_conns = 0 }\n", "", "services.web.max_conns"),
            ("[services]\nweb = { service = \"10.0.0.100:80\", wait = 1 }\n", "", "agent.toml: line 2: web: "),
            ("[health]\ninterval = \"1ms\"\n", "", "health.interval"),
            ("[health]\nfall = 0\n", "", "health.fall"),
            ("[network]\nttl = 0\n", "", "network.ttl"),
        ] {
            let error = parse(head, more).unwrap_err().to_string();
            assert!(error.contains(key) && !error.contains('\n'), "{head}{more}: {error}");
        }
        let none = AgentConfig::parse("agent.toml", "").unwrap_err().to_string();
        assert!(none.contains("key: "), "{none}");
    }
}

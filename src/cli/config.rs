//! What a switch is told at its start: the configuration file, or the few options that replace it.
//!
//! Everything is validated together before a port is opened, and every error names the key. A restarted switch has
//! what its configuration says and nothing else.
//!
//! ```toml
//! ports = ["eth1", "eth2"]
//! addresses = ["10.0.0.2/24"]         # the switch's own; health checks come from them
//! mac = "02:00:00:00:00:01"           # optional; default: stable for this machine and these ports
//! cookie_key_files = ["/etc/acm/cookie-key"]   # for persistence cookies; default: made up at each start
//!
//! [api]
//! listen = ["unix:/run/acm/switch.sock", "http://10.0.0.2:8800"]
//! token_file = "/etc/acm/tokens"      # needed for http://
//!
//! [cli]                               # the ServerIron's command line
//! telnet = "127.0.0.1:2323"
//! config = "/etc/acm/serveriron.cfg"
//!
//! [flows]
//! max = 1048576
//!
//! [timeouts]
//! established = "30m"
//! embryonic = "60s"
//! closing = "10s"
//! udp = "5m"
//!
//! [[service]]
//! service = "10.0.0.100:80"
//! scheduler = "least-conn"
//! content = "http"                    # look into requests, so that rules are in force
//! strangers = "reset"                 # who does not speak HTTP/1 does not get past them
//!
//! [[service.rules]]
//! name = "images"
//! when = [{ path = { suffix = ".png" } }, { method = "GET" }]
//! then = { group = "images" }
//!
//! [[service]]                         # one entry more for each further group of a service
//! service = "10.0.0.100:80"
//! group = "images"
//! scheduler = "url-hash"
//! hash = { url = "path-only", bounded_load = 1.25 }
//!
//! [[binding]]
//! service = "10.0.0.100:80"
//! real = "10.0.0.11:8080"
//! ```

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::Deserialize;

use super::console::CliConfig;
use super::ports::{PortFault, PortKind};
use crate::acm::error::AcmError;
use crate::acm::primitive::{Add, Primitive, SetService};
use crate::acm::validate;
use crate::api::listen::Endpoint;
use crate::base::addr::{Mac, is_host_address};
use crate::base::limits::{BATCH_MAX, PORTS_MAX};
use crate::base::span::Span;
use crate::base::text::quoted;
use crate::beacon;
use crate::beacon::config::in_line;
use crate::content::token::{Key, Keys};

/// Where the API listens when nothing else is said.
pub const DEFAULT_SOCKET: &str = "/run/acm/switch.sock";

/// Flow table sizes accepted: fewer is not a switch, more is more memory than one table may take (128 B a flow).
pub const FLOWS_RANGE: (u32, u32) = (1024, 16 * 1024 * 1024);

/// Fewest bytes of a secret that cookies are made with.
const COOKIE_SECRET_MIN: usize = 32;

/// Timeouts accepted: shorter ones end living connections, longer ones never end dead ones.
pub const TIMEOUT_RANGE: (Span, Span) = (Span::secs(1), Span::secs(7 * 24 * 3600));

/// A switch's configuration, valid as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwitchConfig {
    /// Interfaces to take as ports, in order.
    pub ports: Vec<String>,
    /// The switch's own addresses with the prefix of their segment.
    pub addresses: Vec<IpNet>,
    /// The MAC that answers for its own and all virtual addresses; [`SwitchConfig::mac_or_default`] if absent.
    #[serde(default)]
    pub mac: Option<Mac>,
    /// How frames are taken from the interfaces.
    #[serde(default)]
    pub port_kind: PortKind,
    /// Trouble made on purpose; only on the command line.
    #[serde(skip)]
    pub faults: Vec<PortFault>,
    /// The API.
    #[serde(default)]
    pub api: ApiConfig,
    /// The flow table.
    #[serde(default)]
    pub flows: FlowsConfig,
    /// When flows end by themselves.
    #[serde(default)]
    pub timeouts: TimeoutsConfig,
    /// The ServerIron's command line.
    #[serde(default)]
    pub cli: CliConfig,
    /// Files of secrets that persistence cookies are made with, mode 0600: the one in use, and the one before it. Without
    /// one a secret is made up at each start, and older cookies are worth nothing then.
    #[serde(default)]
    pub cookie_key_files: Vec<PathBuf>,
    /// Services to have at the start.
    #[serde(default, rename = "service")]
    pub services: Vec<SetService>,
    /// Bindings to have at the start.
    #[serde(default, rename = "binding")]
    pub bindings: Vec<Add>,
}

/// The API of a switch.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiConfig {
    /// Where it listens; default [`DEFAULT_SOCKET`].
    pub listen: Vec<Endpoint>,
    /// Tokens for TCP.
    pub token_file: Option<PathBuf>,
}

impl Default for ApiConfig {
    fn default() -> Self {
        ApiConfig { listen: vec![Endpoint::Unix(DEFAULT_SOCKET.into())], token_file: None }
    }
}

/// The flow table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlowsConfig {
    /// How many flows it holds.
    pub max: u32,
}

impl Default for FlowsConfig {
    fn default() -> Self {
        FlowsConfig { max: 1 << 20 }
    }
}

/// When flows end by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TimeoutsConfig {
    /// An established TCP connection without a packet.
    pub established: Span,
    /// A TCP connection whose handshake is not complete.
    pub embryonic: Span,
    /// A TCP connection after FIN both ways or an exact RST.
    pub closing: Span,
    /// A UDP flow without a datagram.
    pub udp: Span,
}

impl Default for TimeoutsConfig {
    fn default() -> Self {
        TimeoutsConfig {
            established: Span::secs(30 * 60),
            embryonic: Span::secs(60),
            closing: Span::secs(10),
            udp: Span::secs(5 * 60),
        }
    }
}

/// Why a configuration is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: {why}")]
    Unreadable {
        /// Which.
        path: String,
        /// The system's words.
        why: String,
    },
    /// A line is not TOML, or a value is not acceptable.
    #[error("{key}: {why}")]
    Key {
        /// The place: file and line, or the key, such as `binding[2].weight`.
        key: String,
        /// What is wrong with it and what would be right.
        why: String,
    },
}

impl From<beacon::config::Wrong> for ConfigError {
    fn from(wrong: beacon::config::Wrong) -> ConfigError {
        ConfigError::Key { key: wrong.key, why: wrong.why }
    }
}

impl ConfigError {
    /// The same, told with the file it is in.
    pub(super) fn within(self, path: &str) -> ConfigError {
        match self {
            ConfigError::Key { key, why } => ConfigError::Key { key: format!("{path}: {key}"), why },
            unreadable => unreadable,
        }
    }
}

pub(super) fn wrong(key: impl Into<String>, why: impl Into<String>) -> ConfigError {
    ConfigError::Key { key: key.into(), why: why.into() }
}

impl SwitchConfig {
    /// A configuration with everything at its default.
    ///
    /// # Errors
    /// As [`SwitchConfig::validate`].
    pub fn new(ports: Vec<String>, addresses: Vec<IpNet>) -> Result<SwitchConfig, ConfigError> {
        let config = SwitchConfig {
            port_kind: PortKind::default(),
            faults: Vec::new(),
            ports,
            addresses,
            mac: None,
            api: ApiConfig::default(),
            flows: FlowsConfig::default(),
            timeouts: TimeoutsConfig::default(),
            cli: CliConfig::default(),
            cookie_key_files: Vec::new(),
            services: Vec::new(),
            bindings: Vec::new(),
        };
        config.validate()?;
        Ok(config)
    }

    /// Reads and validates a file.
    ///
    /// # Errors
    /// [`ConfigError`], naming file, line and key.
    pub fn read(path: &Path) -> Result<SwitchConfig, ConfigError> {
        let name = path.display().to_string();
        let text = beacon::config::read_text(path)
            .map_err(|why| ConfigError::Unreadable { path: name.clone(), why: why.to_string() })?;
        SwitchConfig::parse(&name, &text)
    }

    /// Reads and validates the text of such a file.
    ///
    /// # Errors
    /// As [`SwitchConfig::read`].
    pub fn parse(name: &str, text: &str) -> Result<SwitchConfig, ConfigError> {
        let config: SwitchConfig = toml::from_str(text).map_err(|why| in_line(name, text, &why))?;
        config.validate().map_err(|why| why.within(name))?;
        Ok(config)
    }

    /// Checks everything that can be judged without opening a port.
    ///
    /// # Errors
    /// The first key that is wrong.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_ports()?;
        self.validate_addresses()?;
        self.validate_api()?;
        self.cli.validate()?;
        self.validate_sizes()?;
        if self.cookie_key_files.len() > 2 {
            return Err(wrong("cookie_key_files", "name two at most: the one in use, and the one before it"));
        }
        self.validate_services()
    }

    fn validate_ports(&self) -> Result<(), ConfigError> {
        if self.ports.is_empty() || self.ports.len() > PORTS_MAX {
            return Err(wrong("ports", format!("name 1 to {PORTS_MAX} interfaces (with --port or ports = [...])")));
        }
        let mut seen = BTreeSet::new();
        for port in &self.ports {
            // Linux: IFNAMSIZ is 16 with the final NUL; `/`, `:` and white space are refused (dev_valid_name).
            let legal = |b: u8| b.is_ascii_graphic() && b != b'/' && b != b':';
            if port.is_empty() || port.len() > 15 || !port.bytes().all(legal) || port == "." || port == ".." {
                return Err(wrong("ports", format!("{} is not the name of an interface", quoted(port))));
            }
            if !seen.insert(port) {
                return Err(wrong("ports", format!("{port} is named twice")));
            }
        }
        Ok(())
    }

    fn validate_addresses(&self) -> Result<(), ConfigError> {
        if self.addresses.is_empty() {
            return Err(wrong("addresses", "name the switch's own address, such as 10.0.0.2/24 (with --address)"));
        }
        let mut seen = BTreeSet::new();
        for address in &self.addresses {
            if !is_host_address(address.addr()) {
                return Err(wrong("addresses", format!("{} is not an address that a host can own", address.addr())));
            }
            if address.prefix_len() < address.max_prefix_len() && address.addr() == address.network() {
                return Err(wrong("addresses", format!("{address} is a network; name the switch's own address in it")));
            }
            if !seen.insert(address.addr()) {
                return Err(wrong("addresses", format!("{} is named twice", address.addr())));
            }
        }
        match self.mac {
            Some(mac) if !mac.is_station() => Err(wrong("mac", format!("{mac} is not an address one station can own"))),
            _ => Ok(()),
        }
    }

    fn validate_api(&self) -> Result<(), ConfigError> {
        let mut seen = BTreeSet::new();
        for endpoint in &self.api.listen {
            if !seen.insert(endpoint.to_string()) {
                return Err(wrong("api.listen", format!("{endpoint} is named twice")));
            }
            if matches!(endpoint, Endpoint::Tcp(_)) && self.api.token_file.is_none() {
                let why = format!("is needed for {endpoint} (with --token-file): a file of tokens, mode 0600");
                return Err(wrong("api.token_file", why));
            }
        }
        Ok(())
    }

    fn validate_sizes(&self) -> Result<(), ConfigError> {
        if !(FLOWS_RANGE.0..=FLOWS_RANGE.1).contains(&self.flows.max) {
            return Err(wrong("flows.max", format!("must be {} to {}", FLOWS_RANGE.0, FLOWS_RANGE.1)));
        }
        let TimeoutsConfig { established, embryonic, closing, udp } = self.timeouts;
        for (key, span) in [("established", established), ("embryonic", embryonic), ("closing", closing), ("udp", udp)]
        {
            if !(TIMEOUT_RANGE.0..=TIMEOUT_RANGE.1).contains(&span) {
                let why = format!("{span} is not from {} to {}", TIMEOUT_RANGE.0, TIMEOUT_RANGE.1);
                return Err(wrong(format!("timeouts.{key}"), why));
            }
        }
        Ok(())
    }

    fn validate_services(&self) -> Result<(), ConfigError> {
        if self.services.len() + self.bindings.len() > BATCH_MAX {
            return Err(wrong("binding", format!("a file holds at most {BATCH_MAX} services and bindings")));
        }
        let own: BTreeSet<IpAddr> = self.addresses.iter().map(IpNet::addr).collect();
        for (key, primitive) in self.start() {
            let judged = validate::check(&primitive).and_then(|()| not_ours(&primitive, &own));
            judged.map_err(|refused| at_key(&key, refused))?;
        }
        Ok(())
    }

    /// The keys of persistence cookies, if files of secrets are named.
    ///
    /// # Errors
    /// A file is not there, others may read it, or it holds no secret of at least 32 bytes.
    pub fn cookie_keys(&self) -> Result<Option<Keys>, ConfigError> {
        let at = |n: usize| format!("cookie_key_files[{n}]");
        let key = |(n, path): (usize, &PathBuf)| {
            let text = beacon::config::private_line(path).map_err(|why| wrong(at(n), why))?;
            match text.expose().len() < COOKIE_SECRET_MIN {
                true => {
                    let remedy = "make one with: openssl rand -hex 32";
                    Err(wrong(at(n), format!("the secret has fewer than {COOKIE_SECRET_MIN} bytes; {remedy}")))
                }
                false => Ok(Key::of_secret(text.expose().as_bytes())),
            }
        };
        let mut keys = self.cookie_key_files.iter().enumerate().map(key);
        let Some(current) = keys.next().transpose()? else { return Ok(None) };
        let previous = keys.next().transpose()?;
        if previous.as_ref().is_some_and(|previous| previous.id == current.id) {
            return Err(wrong(at(1), "cannot be told from the other; take another secret"));
        }
        Ok(Some(Keys { current, previous }))
    }

    /// What the switch is to be told at its start, in order, each with its key in the file.
    pub fn start(&self) -> impl Iterator<Item = (String, Primitive)> + '_ {
        let services = self.services.iter().cloned().map(Primitive::SetService).enumerate();
        let bindings = self.bindings.iter().cloned().map(Primitive::Add).enumerate();
        let services = services.map(|(index, primitive)| (format!("service[{index}]"), primitive));
        services.chain(bindings.map(|(index, primitive)| (format!("binding[{index}]"), primitive)))
    }

    /// The MAC it names, or one that is the same at every start of these ports on this machine (`machine` is any
    /// text that tells machines apart, such as `/etc/machine-id`).
    pub fn mac_or_default(&self, machine: &str) -> Mac {
        self.mac.unwrap_or_else(|| {
            let words = std::iter::once(machine).chain(self.ports.iter().map(String::as_str));
            let bytes = words.flat_map(|word| word.bytes().chain([0]));
            // FNV-1a, 64 bits: any fixed hash will do, as long as it never changes between versions.
            let hash = bytes.fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
            });
            Mac::locally_administered(hash)
        })
    }
}

/// A virtual or real address must not be the switch's own.
fn not_ours(primitive: &Primitive, own: &BTreeSet<IpAddr>) -> Result<(), AcmError> {
    let service = ("service", primitive.service().vip());
    let real = match primitive {
        Primitive::Add(add) => Some(("real", add.real.ip())),
        _ => None,
    };
    match std::iter::once(service).chain(real).find(|(_, ip)| own.contains(ip)) {
        None => Ok(()),
        Some((field, ip)) => Err(AcmError::invalid(field, format!("{ip} is the switch's own address"))),
    }
}

/// A refusal of the contract, with its key in the file.
pub(super) fn at_key(key: &str, refused: AcmError) -> ConfigError {
    match refused {
        AcmError::Invalid { field, why } => wrong(format!("{key}.{field}"), why),
        other => wrong(key, other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acm::rules::Content;

    const SMALL: &str = "ports = [\"eth1\", \"eth2\"]\naddresses = [\"10.0.0.2/24\"]\n";

    fn parse(more: &str) -> Result<SwitchConfig, ConfigError> {
        SwitchConfig::parse("switch.toml", &format!("{SMALL}{more}"))
    }

    #[test]
    fn the_example_is_accepted() {
        let source = include_str!("config.rs");
        let example: String = source
            .lines()
            .skip_while(|line| *line != "//! ```toml")
            .skip(1)
            .take_while(|line| *line != "//! ```")
            .map(|line| line.trim_start_matches("//!").to_owned() + "\n")
            .collect();
        let config = SwitchConfig::parse("example", &example).unwrap();
        assert_eq!(config.ports, ["eth1", "eth2"]);
        assert_eq!(config.api.listen.len(), 2);
        assert_eq!(config.timeouts, TimeoutsConfig::default());
        let start: Vec<_> = config.start().map(|(key, primitive)| (key, primitive.name())).collect();
        let words = [("service[0]", "set-service"), ("service[1]", "set-service"), ("binding[0]", "add")];
        assert_eq!(start, words.map(|(key, name)| (key.to_owned(), name)));
        let rules = config.services[0].rules.as_deref().unwrap();
        assert_eq!((rules.len(), rules[0].when.len(), config.services[0].content), (1, 2, Some(Content::Http)));
        assert!(config.services[1].rules.is_none(), "the second entry leaves the rules of the first");
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let config = parse("").unwrap();
        assert_eq!(config.api.listen, [Endpoint::Unix(DEFAULT_SOCKET.into())]);
        assert_eq!(config.flows.max, 1 << 20);
        assert_eq!(config, SwitchConfig::new(config.ports.clone(), config.addresses.clone()).unwrap());
    }

    #[test]
    fn errors_name_the_key() {
        let rules =
            |rule: &str| format!("[[service]]\nservice = \"10.0.0.100:80\"\n[[service.rules]]\nname = \"r\"\n{rule}\n");
        for (more, key) in [
            ("prots = 1\n", "line 3"),
            ("mac = \"x\"\n", "mac"),
            ("mac = \"ff:ff:ff:ff:ff:ff\"\n", "mac"),
            ("[api]\nlisten = [\"http://127.0.0.1:80\"]\n", "api.token_file"),
            ("[api]\nlisten = [\"ftp://127.0.0.1:80\"]\n", "listen"),
            ("[api]\nlisten = [\"unix:/a\", \"unix:/a\"]\n", "api.listen"),
            ("[flows]\nmax = 5\n", "flows.max"),
            ("[flows]\nmax = -5\n", "max"),
            ("[timeouts]\nudp = \"1ms\"\n", "timeouts.udp"),
            ("[timeouts]\nupd = \"1m\"\n", "upd"),
            ("[[binding]]\nservice = \"10.0.0.100:80\"\nreal = \"10.0.0.11:0\"\n", "binding[0].real"),
            ("[[binding]]\nservice = \"10.0.0.100:80\"\nreal = \"10.0.0.2:80\"\n", "binding[0].real"),
            ("[[binding]]\nservice = \"10.0.0.2:80\"\nreal = \"10.0.0.11:80\"\n", "binding[0].service"),
            ("[[binding]]\nservice = \"10.0.0.100:80\"\nreal = \"10.0.0.11:80\"\nweight = 5000\n", "binding[0].weight"),
            ("[[service]]\nservice = \"10.0.0.100:80\"\n[service.health]\nrise = 0\n", "service[0].health.rise"),
            ("[[service]]\nservice = \"10.0.0.100:80\"\ncontent = \"html\"\n", "content"),
            (&rules("when = [{ path = { prefix = \"img\" } }]\nthen = \"reset\""), "service[0].rules[0].when[0].path"),
            (&rules("then = { drop = { fraction = 0 } }"), "service[0].rules[0].then.drop.fraction"),
            (&rules("wehn = []\nthen = \"reset\""), "wehn"),
            (&rules("then = \"group\""), "then"),
            ("= 1\n", "line 3"),
        ] {
            let error = parse(more).unwrap_err().to_string();
            assert!(error.contains(key) && !error.contains('\n'), "{more:?}: {error}");
        }
    }

    #[test]
    fn ports_and_addresses_are_checked() {
        let new = |ports: &[&str], addresses: &[&str]| {
            SwitchConfig::new(
                ports.iter().map(|port| (*port).to_owned()).collect(),
                addresses.iter().map(|address| address.parse().unwrap()).collect(),
            )
        };
        assert!(new(&["eth1"], &["10.0.0.2/24", "2001:db8::2/64"]).is_ok());
        for (ports, addresses) in [
            (&[][..], &["10.0.0.2/24"][..]),
            (&["eth1", "eth1"], &["10.0.0.2/24"]),
            (&["a-name-too-long-x"], &["10.0.0.2/24"]),
            (&["../etc"], &["10.0.0.2/24"]),
            (&["eth1"], &[]),
            (&["eth1"], &["10.0.0.0/24"]),
            (&["eth1"], &["127.0.0.1/8"]),
            (&["eth1"], &["10.0.0.2/24", "10.0.0.2/16"]),
        ] {
            assert!(new(ports, addresses).is_err(), "{ports:?} {addresses:?}");
        }
    }

    #[test]
    fn the_default_mac_is_stable() {
        let config = parse("").unwrap();
        assert_eq!(config.mac_or_default("m1"), config.mac_or_default("m1"));
        assert_ne!(config.mac_or_default("m1"), config.mac_or_default("m2"));
        assert!(config.mac_or_default("m1").is_station());
        let named = parse("mac = \"02:00:00:00:00:07\"\n").unwrap();
        assert_eq!(named.mac_or_default("m1").to_string(), "02:00:00:00:00:07");
    }

    #[test]
    fn cookie_keys_are_read_strictly() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str, mode: u32| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
            path
        };
        let long = "0123456789abcdef0123456789abcdef";
        let (new, old) = (file("new", long, 0o600), file("old", &long.replace('0', "x"), 0o600));
        let keys = |files: &[&PathBuf]| {
            let mut config = parse("").unwrap();
            config.cookie_key_files = files.iter().map(|path| (*path).clone()).collect();
            config.cookie_keys().map_err(|why| why.to_string())
        };
        assert!(keys(&[]).unwrap().is_none());
        let both = keys(&[&new, &old]).unwrap().unwrap();
        assert_ne!(both.current.id, both.previous.unwrap().id);
        for (files, why) in [
            (vec![&file("open", long, 0o644)], "chmod 600"),
            (vec![&file("short", "abc", 0o600)], "cookie_key_files[0]: the secret has fewer than 32 bytes"),
            (vec![&new, &new], "cookie_key_files[1]: cannot be told"),
            (vec![&directory.path().join("missing")], "No such file"),
        ] {
            let refused = keys(&files).unwrap_err();
            assert!(refused.contains(why) && !refused.contains(long), "{refused}");
        }
        let three =
            SwitchConfig::parse("x", &format!("cookie_key_files = [\"a\", \"b\", \"c\"]\n{SMALL}")).unwrap_err();
        assert!(three.to_string().contains("two at most"), "{three}");
    }
}

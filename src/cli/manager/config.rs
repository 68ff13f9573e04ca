//! The manager's configuration file: strict, validated whole, every error names its key.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::super::config::{ConfigError, wrong};
use crate::acm::connect::{Credentials, SwitchProfile};
use crate::acm::error::AcmError;
use crate::base::id::Name;
use crate::base::span::Span;
use crate::base::text::cut;
use crate::beacon::config::{self as control_plane, KeyConfig, NetworkConfig};
use crate::beacon::key::{KeyId, KeyRing, VipRange};
use crate::beacon::message::NodeId;
use crate::beacon::socket::Reach;
use crate::driver::Driver;
use crate::driver::url::DriverUrl;
use crate::manager::machine::SWITCHES_MAX;
use crate::manager::timing::Timing;

/// How fast a manager is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::cli) enum Profile {
    /// The values of the study behind COMICS.
    #[default]
    Normal,
    /// Beats of 250 ms.
    Fast,
}

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::cli) struct ManagerConfig {
    /// Owner of the bindings, and group of the datagrams.
    #[serde(default = "comics")]
    pub(in crate::cli) group: Name,
    /// This manager's number.
    pub(in crate::cli) node: NodeId,
    /// The key it signs with.
    pub(in crate::cli) sign_with: KeyId,
    /// How fast it is.
    #[serde(default)]
    pub(in crate::cli) profile: Profile,
    /// How all are reached.
    #[serde(default)]
    pub(in crate::cli) network: NetworkConfig,
    /// What differs from the profile.
    #[serde(default)]
    pub(in crate::cli) timers: TimersConfig,
    /// Whom it believes.
    #[serde(default, rename = "key")]
    pub(in crate::cli) keys: Vec<KeyConfig>,
    /// The switches.
    #[serde(default, rename = "switch")]
    pub(in crate::cli) switches: Vec<SwitchConfig>,
}

fn comics() -> Name {
    "comics".parse().expect("`comics` is a legal name")
}

/// `[timers]`: what differs from the profile.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::cli) struct TimersConfig {
    heartbeat: Option<Span>,
    beacon: Option<Span>,
    reconcile: Option<Span>,
    drain: Option<Span>,
    unclaimed: Option<Span>,
}

/// `[[switch]]`: one switch.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::cli) struct SwitchConfig {
    /// What people call it.
    pub(in crate::cli) name: Name,
    /// Where it is and who speaks to it.
    pub(in crate::cli) url: String,
    /// The virtual addresses it has.
    pub(in crate::cli) vips: Vec<VipRange>,
    #[serde(default)]
    token_file: Option<PathBuf>,
    #[serde(default)]
    token_env: Option<String>,
    #[serde(default)]
    password_file: Option<PathBuf>,
    #[serde(default)]
    password_env: Option<String>,
    #[serde(default)]
    enable_password_file: Option<PathBuf>,
    #[serde(default)]
    enable_password_env: Option<String>,
}

/// Timers accepted: faster ones are lost in a busy machine's own pauses, slower ones are a typing mistake.
const TIMER_RANGE: (Span, Span) = (Span::millis(50), Span::secs(600));
/// How long an unclaimed binding may be kept.
const UNCLAIMED_MAX: Span = Span::secs(30 * 24 * 3600);

impl ManagerConfig {
    /// Reads and validates a file, without the secrets.
    ///
    /// # Errors
    /// [`ConfigError`], naming file, line and key.
    pub(in crate::cli) fn read(path: &Path) -> Result<ManagerConfig, ConfigError> {
        let name = path.display().to_string();
        let text = control_plane::read_text(path)
            .map_err(|why| ConfigError::Unreadable { path: name.clone(), why: why.to_string() })?;
        ManagerConfig::parse(&name, &text)
    }

    /// Reads and validates the text of such a file.
    ///
    /// # Errors
    /// As [`ManagerConfig::read`].
    pub(in crate::cli) fn parse(name: &str, text: &str) -> Result<ManagerConfig, ConfigError> {
        let config: ManagerConfig = toml::from_str(text).map_err(|why| control_plane::in_line(name, text, &why))?;
        config.validate().map_err(|why| why.within(name))?;
        Ok(config)
    }

    fn validate(&self) -> Result<(), ConfigError> {
        self.network.reach()?;
        self.timing()?;
        let own = self.keys.iter().find(|key| key.id == self.sign_with);
        let own = own.ok_or_else(|| wrong("sign_with", format!("there is no key {}", self.sign_with)))?;
        if !own.managers.contains(&self.node) {
            let why = format!("key {} does not grant manager {}; add it to its managers", own.id, self.node);
            return Err(wrong("node", why));
        }
        self.validate_switches()
    }

    fn validate_switches(&self) -> Result<(), ConfigError> {
        if self.switches.is_empty() || self.switches.len() > SWITCHES_MAX {
            return Err(wrong("switch", format!("name 1 to {SWITCHES_MAX} with [[switch]]")));
        }
        let mut names = BTreeSet::new();
        for (n, switch) in self.switches.iter().enumerate() {
            let at = |key: &str| format!("switch[{n}].{key}");
            if !names.insert(&switch.name) {
                return Err(wrong(at("name"), format!("{} is named twice", switch.name)));
            }
            if switch.vips.is_empty() {
                return Err(wrong(at("vips"), "name at least one virtual address, such as \"10.0.0.100\""));
            }
            switch.url_for(&self.group).map_err(|why| wrong(at("url"), why))?;
        }
        Ok(())
    }

    /// The timers.
    ///
    /// # Errors
    /// [`ConfigError`], naming the key.
    pub(in crate::cli) fn timing(&self) -> Result<Timing, ConfigError> {
        let mut timing = match self.profile {
            Profile::Normal => Timing::normal(),
            Profile::Fast => Timing::fast(),
        };
        let timers = &self.timers;
        let places: [(&str, Option<Span>, &mut Duration); 4] = [
            ("heartbeat", timers.heartbeat, &mut timing.heartbeat),
            ("beacon", timers.beacon, &mut timing.beacon),
            ("reconcile", timers.reconcile, &mut timing.reconcile),
            ("drain", timers.drain, &mut timing.drain),
        ];
        for (key, value, place) in places {
            let Some(value) = value else { continue };
            if !(TIMER_RANGE.0..=TIMER_RANGE.1).contains(&value) {
                let why = format!("{value} is not from {} to {}", TIMER_RANGE.0, TIMER_RANGE.1);
                return Err(wrong(format!("timers.{key}"), why));
            }
            *place = value.0;
        }
        if let Some(unclaimed) = timers.unclaimed {
            if unclaimed.0 < timing.hold_down() || unclaimed > UNCLAIMED_MAX {
                let hold_down = Span(timing.hold_down());
                let why = format!("{unclaimed} is not from the hold-down of {hold_down} to {UNCLAIMED_MAX}");
                return Err(wrong("timers.unclaimed", why));
            }
            timing.unclaimed_after = unclaimed.0.as_millis().div_ceil(timing.beacon.as_millis()) as u32;
        }
        Ok(timing)
    }

    /// The keys, from their files and the environment.
    ///
    /// # Errors
    /// [`ConfigError`], naming the key.
    pub(in crate::cli) fn ring(&self) -> Result<Arc<KeyRing>, ConfigError> {
        Ok(control_plane::ring(&self.group, &self.keys)?)
    }

    /// How to open the sockets.
    ///
    /// # Errors
    /// [`ConfigError`], naming the key.
    pub(in crate::cli) fn reach(&self) -> Result<Reach, ConfigError> {
        Ok(self.network.reach()?)
    }

    /// How to reach the switches, with their secrets.
    ///
    /// # Errors
    /// [`ConfigError`], naming the key.
    pub(in crate::cli) fn profiles(&self) -> Result<Vec<SwitchProfile>, ConfigError> {
        self.switches
            .iter()
            .enumerate()
            .map(|(n, switch)| switch.profile(&format!("switch[{n}]"), &self.group))
            .collect()
    }
}

impl SwitchConfig {
    /// The address, as the driver is given it. A box that keeps no owners is told that what is named in our way is the
    /// group's: otherwise the manager would take its own bindings for somebody else's.
    fn url_for(&self, group: &Name) -> Result<String, String> {
        let url: DriverUrl = self.url.parse().map_err(|why: AcmError| why.to_string())?;
        let driver = Driver::of(&url).map_err(|why| why.to_string())?;
        match (driver, url.option("owner")) {
            (Driver::Foundry, None) => {
                let sign = if self.url.contains('?') { '&' } else { '?' };
                Ok(format!("{}{sign}owner={group}", self.url))
            }
            (Driver::Foundry, Some(owner)) if owner != group.as_str() => {
                Err(format!("owner={} is not this manager's group `{group}`; leave it out", cut(owner)))
            }
            _ => Ok(self.url.clone()),
        }
    }

    fn profile(&self, place: &str, group: &Name) -> Result<SwitchProfile, ConfigError> {
        let secret = |what, file: &Option<PathBuf>, env: &Option<String>| {
            Ok::<_, ConfigError>(control_plane::secret(place, what, file.as_deref(), env.as_deref())?)
        };
        let credentials = Credentials {
            token: secret("token", &self.token_file, &self.token_env)?,
            password: secret("password", &self.password_file, &self.password_env)?,
            enable_password: secret("enable_password", &self.enable_password_file, &self.enable_password_env)?,
        };
        let url = self.url_for(group).map_err(|why| wrong(format!("{place}.url"), why))?;
        Ok(SwitchProfile { credentials, ..SwitchProfile::new(self.name.clone(), url) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "node = 1\nsign_with = 1\n";
    const KEY: &str = "[[key]]\nid = 1\nsecret_file = \"/k\"\nmanagers = [1]\n";
    const SWITCH: &str = "[[switch]]\nname = \"sw-1\"\nurl = \"unix:/s\"\nvips = [\"10.0.0.100\"]\n";

    fn parse(head: &str, more: &str) -> Result<ManagerConfig, ConfigError> {
        ManagerConfig::parse("manager.toml", &format!("{SMALL}{head}{KEY}{SWITCH}{more}"))
    }

    #[test]
    fn the_example_is_accepted_and_shows_the_defaults() {
        let example = include_str!("example.toml");
        let config = ManagerConfig::parse("example", example).unwrap();
        assert_eq!((config.switches.len(), config.keys.len()), (1, 3));
        // With every default written out it is the same.
        let is_default = |line: &str| {
            [
                "multicast =",
                "ttl =",
                "receive_buffer =",
                "profile =",
                "force =",
                "[timers]",
                "heartbeat =",
                "beacon =",
                "reconcile =",
                "drain =",
                "unclaimed =",
                "listen =",
            ]
            .iter()
            .any(|key| line.starts_with(&format!("# {key}")))
        };
        let written: Vec<_> = example.lines().map(|line| if is_default(line) { &line[2..] } else { line }).collect();
        let explicit = ManagerConfig::parse("explicit", &written.join("\n")).unwrap();
        assert_eq!(explicit.timing().unwrap(), config.timing().unwrap());
        assert_eq!(explicit.reach().unwrap(), config.reach().unwrap());
    }

    #[test]
    fn errors_name_the_key() {
        for (head, more, key) in [
            ("nodes = 1\n", "", "nodes"),
            ("profile = \"faster\"\n", "", "profile"),
            ("[network]\nmulticast = \"10.0.0.1:7946\"\n", "", "network.multicast"),
            ("[network]\nmulticast = \"239.9.9.9:1\"\npeers = [\"10.0.0.1:1\"]\n", "", "network.peers"),
            ("[network]\nttl = 0\n", "", "network.ttl"),
            ("[network]\nreceive_buffer = 1\n", "", "network.receive_buffer"),
            ("[network]\nlisten = \"[::]:0\"\n", "", "network.listen"),
            ("[timers]\nheartbeat = \"1ms\"\n", "", "timers.heartbeat"),
            ("[timers]\nunclaimed = \"1s\"\n", "", "timers.unclaimed"),
            ("", "[[key]]\nid = 2\nvips = [\"x\"]\n", "vips"),
            ("", "[[switch]]\nname = \"sw-1\"\nurl = \"unix:/s\"\nvips = [\"10.0.0.1\"]\n", "switch[1].name"),
            ("", "[[switch]]\nname = \"sw-2\"\nurl = \"unix:/s\"\nvips = []\n", "switch[1].vips"),
            ("", "[[switch]]\nname = \"sw-2\"\nurl = \"ftp://s\"\nvips = [\"10.0.0.1\"]\n", "switch[1].url"),
            (
                "",
                "[[switch]]\nname = \"sw-2\"\nurl = \"telnet://s?owner=me\"\nvips = [\"10.0.0.1\"]\n",
                "switch[1].url",
            ),
        ] {
            let error = parse(head, more).unwrap_err().to_string();
            assert!(error.contains(key) && !error.contains('\n'), "{head}{more}: {error}");
        }
        let other = |text: &str| ManagerConfig::parse("m", text).unwrap_err().to_string();
        assert!(other(&format!("node = 1\nsign_with = 9\n{KEY}{SWITCH}")).starts_with("m: sign_with: "));
        assert!(other(&format!("node = 9\nsign_with = 1\n{KEY}{SWITCH}")).starts_with("m: node: "));
        assert!(other(&format!("{SMALL}{KEY}")).starts_with("m: switch: "));
    }

    #[test]
    fn what_a_command_line_calls_ours_is_the_groups() {
        for (url, given) in [
            ("telnet://lb-5", "telnet://lb-5?owner=comics"),
            ("ssh://admin@lb-5?trust-new=yes", "ssh://admin@lb-5?trust-new=yes&owner=comics"),
            ("telnet://lb-5?owner=comics", "telnet://lb-5?owner=comics"),
            ("unix:/s", "unix:/s"),
        ] {
            let switch = format!("[[switch]]\nname = \"sw-2\"\nurl = \"{url}\"\nvips = [\"10.0.0.1\"]\n");
            assert_eq!(parse("", &switch).unwrap().profiles().unwrap()[1].url, given);
        }
    }

    #[test]
    fn secrets_are_read_strictly_and_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str, mode| {
            use std::os::unix::fs::PermissionsExt as _;
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        let good = file("good", "canary-canary-canary-canary-canary\n", 0o600);
        let config = |path: &Path| {
            let text = format!("{SMALL}{SWITCH}{}", KEY.replace("/k", &path.display().to_string()));
            ManagerConfig::parse("m", &text).unwrap()
        };
        assert!(!format!("{:?}", config(&good).ring().unwrap()).contains("canary"));
        for (name, text, mode) in [("open", "canary-canary-canary-canary-canary", 0o644), ("short", "canary", 0o600)] {
            let refused = config(&file(name, text, mode)).ring().unwrap_err().to_string();
            assert!(refused.starts_with("key[0].secret_file") && !refused.contains("canary-canary"), "{refused}");
        }
        assert!(config(Path::new("/nowhere")).ring().is_err());
    }
}

//! What managers, agents and operators are told about the network between them: how all are reached, and the keys.
//! The same tables in every configuration file. Reads the files of secrets, and nothing else. Callers: `agent`, `cli`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::IpNet;
use serde::Deserialize;

use super::key::{Grant, Key, KeyId, KeyRing, SECRET_MIN, VipRange};
use super::message::NodeId;
use super::socket::{DEFAULT_BUFFER, DEFAULT_GROUP, Reach, Way};
use crate::base::id::Name;
use crate::base::secret::Secret;
use crate::base::text::{cut, with_cut};

/// A value that is not acceptable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {why}")]
pub struct Wrong {
    /// The key, such as `key[2].secret_file`.
    pub key: String,
    /// What is wrong with it and what would be right.
    pub why: String,
}

/// An error about a key.
pub fn wrong(key: impl Into<String>, why: impl Into<String>) -> Wrong {
    Wrong { key: key.into(), why: why.into() }
}

/// toml's error in one line, with the place in the file: `FILE: line 3: key`.
pub fn in_line(path: &str, text: &str, why: &toml::de::Error) -> Wrong {
    let span = why.span().unwrap_or_default();
    let before = text.get(..span.start.min(text.len())).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let key = text.lines().nth(line - 1).and_then(|line| line.split_once('='));
    let key = key.map(|(key, _)| format!(": {}", cut(key.trim()))).unwrap_or_default();
    let said = why.message().split_whitespace().collect::<Vec<_>>().join(" ");
    let at_fault = text.get(span).unwrap_or_default().trim_matches(['"', '\'']);
    wrong(format!("{path}: line {line}{key}"), with_cut(&said, at_fault))
}

/// A configuration file is not larger than this: 1 MiB.
const FILE_MAX: u64 = 1 << 20;

/// The text of a configuration file.
///
/// # Errors
/// The system's; [`InvalidData`](std::io::ErrorKind::InvalidData) for what is larger than 1 MiB, or no UTF-8.
pub fn read_text(path: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_MAX {
        return Err(std::io::Error::new(
            std::io::ErrorKind::InvalidData,
            "larger than 1 MiB: not a configuration file",
        ));
    }
    Ok(text)
}

/// `[network]`: how all are reached.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkConfig {
    /// Group and port; default [`DEFAULT_GROUP`].
    pub multicast: Option<SocketAddr>,
    /// Instead of a group: where the others listen.
    pub peers: Vec<SocketAddr>,
    /// Where this process listens; default any address, any port with multicast.
    pub listen: Option<SocketAddr>,
    /// The interface of the group; default: as the routes say.
    pub interface: Option<String>,
    /// How many routers a multicast datagram may pass, plus one: 1 to 255.
    pub ttl: u32,
    /// Bytes of receive buffer to ask for.
    pub receive_buffer: usize,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        NetworkConfig {
            multicast: None,
            peers: Vec::new(),
            listen: None,
            interface: None,
            ttl: 1,
            receive_buffer: DEFAULT_BUFFER,
        }
    }
}

/// Receive buffers accepted, in bytes.
const BUFFER_RANGE: std::ops::RangeInclusive<usize> = 4096..=(1 << 30);

impl NetworkConfig {
    /// How to open the sockets.
    ///
    /// # Errors
    /// [`Wrong`], naming the key.
    pub fn reach(&self) -> Result<Reach, Wrong> {
        if self.multicast.is_some() && !self.peers.is_empty() {
            return Err(wrong("network.peers", "are instead of network.multicast; give one of the two"));
        }
        let group = self.multicast.unwrap_or(DEFAULT_GROUP);
        if !group.ip().is_multicast() || group.port() == 0 {
            let why = format!("{group} is not a multicast group and port such as {DEFAULT_GROUP}");
            return Err(wrong("network.multicast", why));
        }
        if let Some(bad) = self.peers.iter().find(|peer| peer.ip().is_multicast() || peer.port() == 0) {
            return Err(wrong("network.peers", format!("{bad} is not the address and port of one host")));
        }
        if !(1..=255).contains(&self.ttl) {
            return Err(wrong("network.ttl", "must be 1 to 255"));
        }
        if !BUFFER_RANGE.contains(&self.receive_buffer) {
            let why = format!("must be {} to {} bytes", BUFFER_RANGE.start(), BUFFER_RANGE.end());
            return Err(wrong("network.receive_buffer", why));
        }
        let way = if self.peers.is_empty() { Way::Multicast(group) } else { Way::Peers(self.peers.clone()) };
        let of_family = match &way {
            Way::Multicast(group) => group.is_ipv4(),
            Way::Peers(peers) => peers.iter().all(SocketAddr::is_ipv4),
        };
        let any = if of_family { ([0u8; 4], 0).into() } else { ([0u16; 8], 0).into() };
        let listen = self.listen.unwrap_or(any);
        if listen.is_ipv4() != of_family {
            return Err(wrong("network.listen", format!("{listen} is of another address family than the others")));
        }
        let (interface, ttl, buffer) = (self.interface.clone(), self.ttl, self.receive_buffer);
        Ok(Reach { way, listen, interface, ttl, buffer })
    }
}

/// `[[key]]`: a key, and what its holder may say.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyConfig {
    /// Its number in datagrams.
    pub id: KeyId,
    /// The file that holds the secret, mode 0600.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// The environment variable that holds it.
    #[serde(default)]
    pub secret_env: Option<String>,
    /// The manager numbers it may speak as.
    #[serde(default)]
    pub managers: BTreeSet<NodeId>,
    /// The virtual services it may announce.
    #[serde(default)]
    pub vips: Vec<VipRange>,
    /// The servers it may announce; absent: those at the sender's own address.
    #[serde(default)]
    pub reals: Vec<IpNet>,
    /// May it cut connections?
    #[serde(default)]
    pub force: bool,
    /// May it ask and command as an operator?
    #[serde(default)]
    pub operator: bool,
}

/// The ring of these keys.
///
/// # Errors
/// [`Wrong`], naming the key.
pub fn ring(group: &Name, keys: &[KeyConfig]) -> Result<Arc<KeyRing>, Wrong> {
    if keys.is_empty() {
        return Err(wrong("key", "there is none: every datagram is signed; add [[key]] with id and secret_file"));
    }
    let keys = keys.iter().enumerate().map(|(n, key)| key.load(&format!("key[{n}]")));
    let keys = keys.collect::<Result<Vec<_>, _>>()?;
    KeyRing::new(group, keys).map(Arc::new).map_err(|why| wrong("key", why.to_string()))
}

impl KeyConfig {
    fn load(&self, place: &str) -> Result<Key, Wrong> {
        let secret = secret(place, "secret", self.secret_file.as_deref(), self.secret_env.as_deref())?;
        let secret = secret.ok_or_else(|| {
            let why = "or secret_env is needed; make one with: openssl rand -hex 32 > FILE; chmod 600 FILE";
            wrong(format!("{place}.secret_file"), why)
        })?;
        let grant = Grant {
            managers: self.managers.clone(),
            vips: self.vips.clone(),
            reals: self.reals.clone(),
            force: self.force,
            operator: self.operator,
        };
        let short = |_| wrong(format!("{place}.secret_file"), format!("the secret has fewer than {SECRET_MIN} bytes"));
        Key::new(self.id, &secret, grant).map_err(short)
    }
}

/// The one line of a file that nobody else may read.
///
/// # Errors
/// What is wrong with the file, which is named.
pub fn private_line(path: &Path) -> Result<Secret, String> {
    let at = |why: String| format!("{}: {why}", path.display());
    let metadata = std::fs::metadata(path).map_err(|why| at(why.to_string()))?;
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(at("others may read it; chmod 600 it".into()));
    }
    let text = std::fs::read_to_string(path).map_err(|why| at(why.to_string()))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    if line.is_empty() || line.len() > 512 || line.chars().any(char::is_control) {
        return Err(at("must hold one line of 1 to 512 characters".into()));
    }
    Ok(Secret::from(line))
}

/// A secret from a file that nobody else may read, or from the environment; at most one of the two.
///
/// # Errors
/// [`Wrong`], naming `place.WHAT_file` or `place.WHAT_env`.
pub fn secret(place: &str, what: &str, file: Option<&Path>, env: Option<&str>) -> Result<Option<Secret>, Wrong> {
    let from_file = |path: &Path| private_line(path).map_err(|why| wrong(format!("{place}.{what}_file"), why));
    let from_env = |name: &str| match std::env::var(name) {
        Ok(text) if !text.is_empty() => Ok(Secret::from(text)),
        _ => Err(wrong(format!("{place}.{what}_env"), format!("the environment has no {name}"))),
    };
    match (file, env) {
        (None, None) => Ok(None),
        (Some(path), None) => from_file(path).map(Some),
        (None, Some(name)) => from_env(name).map(Some),
        (Some(_), Some(_)) => Err(wrong(format!("{place}.{what}_env"), format!("give {what}_file or this, not both"))),
    }
}

/// Bits that nobody outside can guess.
///
/// # Errors
/// The system's.
pub fn random() -> std::io::Result<u64> {
    use std::io::Read;
    let mut bytes = [0; 8];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

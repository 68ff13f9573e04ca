//! An operator's voice: asks and commands managers and agents over the control plane, and hears what they answer.

#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::config::{ConfigError, wrong};
use super::failure::Failure;
use crate::base::id::Name;
use crate::base::text::cut;
use crate::base::time::Time;
use crate::beacon::config::{self as control_plane, KeyConfig, NetworkConfig, random};
use crate::beacon::datagram::DATAGRAM_MAX;
use crate::beacon::gate::{Config, Gate, Heard, Sender};
use crate::beacon::key::{KeyId, KeyRing};
use crate::beacon::message::{Envelope, Message, NodeId};
use crate::beacon::sealer::Sealer;
use crate::beacon::socket::{Reach, Sockets, Way};

/// What an operator needs of a configuration: group, network, and the keys with `operator = true`. A manager's and an
/// agent's file has it, too; a file of his own has nothing else.
#[derive(Debug, Clone, Deserialize)]
struct OperatorConfig {
    #[serde(default = "comics")]
    group: Name,
    #[serde(default)]
    network: NetworkConfig,
    #[serde(default, rename = "key")]
    keys: Vec<KeyConfig>,
    #[serde(flatten)]
    others: BTreeMap<String, toml::Value>,
}

fn comics() -> Name {
    "comics".parse().expect("`comics` is a legal name")
}

/// What the files of managers and agents have besides.
const OTHERS: [&str; 10] =
    ["node", "sign_with", "profile", "timers", "switch", "period", "drain", "address", "services", "health"];

impl OperatorConfig {
    fn read(path: &Path) -> Result<OperatorConfig, ConfigError> {
        let name = path.display().to_string();
        let text = crate::beacon::config::read_text(path)
            .map_err(|why| ConfigError::Unreadable { path: name.clone(), why: why.to_string() })?;
        OperatorConfig::parse(&name, &text)
    }

    fn parse(name: &str, text: &str) -> Result<OperatorConfig, ConfigError> {
        let config: OperatorConfig = toml::from_str(text).map_err(|why| control_plane::in_line(name, text, &why))?;
        match config.others.keys().find(|key| !OTHERS.contains(&key.as_str())) {
            Some(key) => {
                let why = "there is no such key; an operator needs group, [network] and [[key]]";
                Err(wrong(cut(key), why).within(name))
            }
            None => Ok(config),
        }
    }

    /// His keys only: others' files may not be his to read.
    fn ring(&self) -> Result<Arc<KeyRing>, ConfigError> {
        let own: Vec<_> = self.keys.iter().filter(|key| key.operator).cloned().collect();
        if own.is_empty() {
            return Err(wrong(
                "key",
                "none is an operator's; add one with operator = true, here and where it is to be believed",
            ));
        }
        Ok(control_plane::ring(&self.group, &own)?)
    }

    fn reach(&self) -> Result<Reach, ConfigError> {
        let mut reach = self.network.reach()?;
        // A fixed port is that of the manager or agent whose file this is.
        reach.listen.set_port(0);
        if let (Way::Peers(peers), Some(own)) = (&mut reach.way, self.network.listen) {
            peers.push(own);
        }
        Ok(reach)
    }
}

/// See the module's documentation.
pub(super) struct Operator {
    sockets: Sockets,
    keys: Vec<KeyId>,
    sealer: Sealer,
    gate: Gate,
    began: Instant,
}

/// Something that was heard.
pub(super) enum Word {
    /// Somebody answers.
    Answer(Heard, SocketAddr),
    /// Somebody does not believe us yet, or we not him: say it to him once more.
    Again(Sender, SocketAddr),
}

impl Operator {
    /// Reads the configuration and opens the sockets.
    ///
    /// # Errors
    /// [`Failure::Setup`], naming file and key.
    pub(super) fn open(path: &Path) -> Result<Operator, Failure> {
        let setup = |why: &dyn std::fmt::Display| Failure::Setup(why.to_string());
        let config = OperatorConfig::read(path).map_err(|why| setup(&why))?;
        let ring = config.ring().map_err(|why| setup(&why))?;
        let keys: Vec<_> = ring.keys().map(|key| key.id).collect();
        let (node, boot) = (NodeId(random()?), random()?);
        let own = Config { own: (node, boot), late_after: Duration::from_secs(10), seed: random()? };
        let sockets = Sockets::open(&config.reach().map_err(|why| setup(&why))?).map_err(|why| setup(&why))?;
        let sealer = Sealer::new(Arc::clone(&ring), node, boot, keys[0], Time::ZERO).map_err(|why| setup(&why))?;
        Ok(Operator { sockets, keys, sealer, gate: Gate::new(ring, own), began: Instant::now() })
    }

    /// The time since its start.
    pub(super) fn now(&self) -> Time {
        Time::from_micros(self.began.elapsed().as_micros() as u64)
    }

    /// The moment of this time.
    pub(super) fn instant(&self, at: Time) -> tokio::time::Instant {
        // Far enough for ever, and no overflow.
        let after = at.since(Time::ZERO).min(Duration::from_secs(365 * 24 * 3600));
        (self.began + after).into()
    }

    /// Says something to everybody, under each of the operator's keys.
    pub(super) fn say_to_all(&mut self, message: &Message) {
        for key in self.keys.clone() {
            let now = self.now();
            let envelope = self.envelope(message, self.gate.echoes(), now);
            if let Ok(bytes) = self.sealer.seal_with(key, &envelope, now) {
                self.sockets.send_to_all(&bytes);
            }
        }
    }

    /// Says something to one, under the key he speaks with.
    pub(super) fn say_to(&mut self, to: Sender, at: SocketAddr, message: &Message) {
        let now = self.now();
        let echoes = self.gate.echo_for(to).into_iter().collect();
        let envelope = self.envelope(message, echoes, now);
        if let Ok(bytes) = self.sealer.seal_with(to.key, &envelope, now) {
            self.sockets.send_to(&bytes, at);
        }
    }

    fn envelope(&mut self, message: &Message, echoes: Vec<u64>, now: Time) -> Envelope {
        Envelope { challenge: Some(self.gate.challenge(now)), echoes, message: message.clone() }
    }

    /// Returns when there may be something to hear.
    pub(super) async fn readable(&self) {
        self.sockets.readable().await;
    }

    /// What was said to us since.
    pub(super) fn hear(&mut self) -> Vec<Word> {
        let mut buffer = [0; DATAGRAM_MAX + 1];
        let mut words = Vec::new();
        while words.len() < WORDS_AT_ONCE {
            let Some((bytes, from)) = self.sockets.receive(words.len(), &mut buffer) else { break };
            let now = self.now();
            match self.gate.open(bytes, now) {
                Ok(Heard { message: Message::Prove, sender, .. }) => words.push(Word::Again(sender, from)),
                Ok(heard) => words.push(Word::Answer(heard, from)),
                Err(refused) => words.extend(refused.prove.map(|unproven| Word::Again(unproven.sender, from))),
            }
        }
        words
    }
}

/// Datagrams heard before something else is looked at.
const WORDS_AT_ONCE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_others_are_read_and_typing_mistakes_are_not() {
        let manager = OperatorConfig::parse("m", include_str!("manager/example.toml")).unwrap();
        assert_eq!(manager.keys.iter().filter(|key| key.operator).count(), 1);
        let small = "[[key]]\nid = 3\nsecret_file = \"/k\"\noperator = true\n";
        assert!(OperatorConfig::parse("o", small).is_ok());
        for (text, says) in
            [("groop = \"x\"\n", "groop"), ("group = 7\n", "line 1: group"), ("[network]\nttl = \"x\"\n", "ttl")]
        {
            let refused = OperatorConfig::parse("o", &format!("{text}{small}")).unwrap_err().to_string();
            assert!(refused.contains(says) && !refused.contains('\n'), "{refused}");
        }
        let none = OperatorConfig::parse("o", "[[key]]\nid = 3\nsecret_file = \"/k\"\n").unwrap();
        assert!(none.ring().unwrap_err().to_string().contains("operator = true"));
    }
}

//! The wire protocol from outside: every message survives its bytes, no other bytes do, and a recording is worth
//! nothing.

mod bytes;
mod freshness;
mod messages;

use std::sync::Arc;

use acm_switch::base::secret::Secret;
use acm_switch::base::time::Time;
use acm_switch::beacon::gate::{Config, Gate};
use acm_switch::beacon::key::{Grant, Key, KeyId, KeyRing};
use acm_switch::beacon::message::NodeId;
use acm_switch::beacon::sealer::Sealer;

/// The secret of key `n` in these tests and in `docs/wire-protocol.md`.
fn secret(n: u16) -> Secret {
    format!("0123456789abcdef0123456789abcde{}", n % 10).into()
}

/// Key 1 is the managers' (1 to 3), key 2 an agent's, key 3 an operator's.
fn ring() -> Arc<KeyRing> {
    let manager = Grant { managers: [NodeId(1), NodeId(2), NodeId(3)].into(), ..Grant::default() };
    let agent = Grant { vips: vec!["10.0.0.100".parse().unwrap()], ..Grant::default() };
    let operator = Grant { operator: true, ..Grant::default() };
    let keys = [(1, manager), (2, agent), (3, operator)];
    let keys = keys.map(|(id, grant)| Key::new(KeyId(id), &secret(id), grant).unwrap());
    Arc::new(KeyRing::new(&"comics".parse().unwrap(), keys).unwrap())
}

fn sealer(node: u64, boot: u64, key: u16, began: Time) -> Sealer {
    Sealer::new(ring(), NodeId(node), boot, KeyId(key), began).unwrap()
}

fn gate(seed: u64) -> Gate {
    let own = (NodeId(1), 1000);
    Gate::new(ring(), Config { own, late_after: std::time::Duration::from_secs(10), seed })
}

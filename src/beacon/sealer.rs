//! The sending side: numbers every datagram and signs it.

use std::sync::Arc;

use super::datagram::{self, Head, TooLong};
use super::key::{Key, KeyError, KeyId, KeyRing};
use super::message::{Envelope, NodeId, Stamp};
use crate::base::time::Time;

/// One run of one sender. Every datagram it seals has a higher counter than those before, whatever the key.
#[derive(Debug)]
pub struct Sealer {
    ring: Arc<KeyRing>,
    own: Key,
    node: NodeId,
    boot: u64,
    counter: u64,
    began: Time,
}

impl Sealer {
    /// A sender whose run begins now. `boot` must differ from that of every earlier run: 64 random bits, or the wall
    /// clock in microseconds.
    ///
    /// # Errors
    /// [`KeyError::NoSuchKey`] if `sign_with` is not in the ring.
    pub fn new(ring: Arc<KeyRing>, node: NodeId, boot: u64, sign_with: KeyId, now: Time) -> Result<Sealer, KeyError> {
        let own = ring.key(sign_with).cloned().ok_or(KeyError::NoSuchKey(sign_with))?;
        Ok(Sealer { ring, own, node, boot, counter: 0, began: now })
    }

    /// Uses another ring from now on, and signs with this key of it: one step of a rotation.
    ///
    /// # Errors
    /// [`KeyError::NoSuchKey`]; nothing is changed then.
    pub fn rotate(&mut self, ring: Arc<KeyRing>, sign_with: KeyId) -> Result<(), KeyError> {
        self.own = ring.key(sign_with).cloned().ok_or(KeyError::NoSuchKey(sign_with))?;
        self.ring = ring;
        Ok(())
    }

    /// Who it is.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Which run.
    pub fn boot(&self) -> u64 {
        self.boot
    }

    /// The key it signs with.
    pub fn key(&self) -> KeyId {
        self.own.id
    }

    /// The stamp that the next datagram will have, for matching the answer to it.
    pub fn next_stamp(&self) -> Stamp {
        Stamp { boot: self.boot, counter: self.counter + 1 }
    }

    /// Seals with its own key.
    ///
    /// # Errors
    /// [`TooLong`]; the counter is used up all the same.
    pub fn seal(&mut self, envelope: &Envelope, now: Time) -> Result<Vec<u8>, TooLong> {
        self.seal_with(self.own.id, envelope, now)
    }

    /// Seals with the key somebody asked with, so that he can read the answer; with its own if that has left the ring.
    ///
    /// # Errors
    /// As [`Sealer::seal`].
    pub fn seal_with(&mut self, key: KeyId, envelope: &Envelope, now: Time) -> Result<Vec<u8>, TooLong> {
        self.counter += 1;
        let key = self.ring.key(key).unwrap_or(&self.own);
        let head = Head {
            kind: envelope.message.kind() as u8,
            key: key.id,
            node: self.node,
            stamp: Stamp { boot: self.boot, counter: self.counter },
            written: now.since(self.began).as_millis() as u64,
        };
        datagram::seal(&self.ring, key, head, envelope)
    }
}

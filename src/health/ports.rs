//! Our source ports: 32768 to 65535, each used by one probe at a time.
//!
//! A shuffled queue: a port given back goes to the end, so that it rests for as long as possible (a late answer to
//! its last use then finds nobody), and an attacker who cannot see our frames has 15 bits to guess beside the
//! 32 of the sequence number (RFC 6056).

use std::collections::VecDeque;

/// The ports that are free, next one first.
#[derive(Debug)]
pub(super) struct Ports {
    free: VecDeque<u16>,
}

impl Ports {
    /// The lowest port that is ever used.
    pub(super) const FIRST: u16 = 32_768;

    /// All of them, shuffled.
    pub(super) fn new(rng: &mut fastrand::Rng) -> Ports {
        let mut free: Vec<u16> = (Self::FIRST..=u16::MAX).collect();
        rng.shuffle(&mut free);
        Ports { free: free.into() }
    }

    /// Takes the one that rested longest; `None` when every port is in use.
    pub(super) fn take(&mut self) -> Option<u16> {
        self.free.pop_front()
    }

    /// Gives one back.
    pub(super) fn give_back(&mut self, port: u16) {
        debug_assert!(port >= Self::FIRST && self.free.len() < 32_768, "port {port} was not taken");
        self.free.push_back(port);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_port_rests_until_all_others_were_used() {
        let mut ports = Ports::new(&mut fastrand::Rng::with_seed(1));
        let first = ports.take().unwrap();
        ports.give_back(first);
        let mut seen = HashSet::new();
        while let Some(port) = ports.take() {
            assert!(port >= Ports::FIRST && seen.insert(port));
        }
        assert_eq!(seen.len(), 32_768, "every port once, then none");
        ports.give_back(first);
        assert_eq!(ports.take(), Some(first));
    }
}

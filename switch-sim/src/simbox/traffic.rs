//! Connections that come and go: counters in steps of [`STEP`], not single connections, so that ten thousand bindings cost
//! little and hours can be skipped.

use std::time::Duration;

use crate::slb::report::Counters;

/// The counters move this often.
pub const STEP: Duration = Duration::from_millis(250);

/// How busy the clients are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traffic {
    /// New connections a second to each active port that is bound.
    pub per_second: u32,
    /// How long a connection lasts on average.
    pub lasts: Duration,
}

impl Traffic {
    /// Nobody comes.
    pub const NONE: Traffic = Traffic { per_second: 0, lasts: Duration::from_secs(2) };
}

/// The connections of one binding.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Flow {
    pub(super) counters: Counters,
    /// Of the current connections those that do not end by themselves.
    pub(super) held: u64,
}

impl Flow {
    /// `steps` steps pass. New connections come only if `open` says how many the server may have.
    pub(super) fn pass(&mut self, steps: u32, traffic: Traffic, open: Option<u64>, chance: &mut fastrand::Rng) {
        let seconds = STEP.as_secs_f64() * f64::from(steps);
        let passing = self.counters.current - self.held;
        let stay = (-seconds / traffic.lasts.as_secs_f64().max(0.001)).exp();
        // Rounded down, so that the last one goes too.
        let staying = rounded(passing as f64 * stay, chance).min(passing.saturating_sub(1));
        self.counters.current = self.held + staying;
        if let Some(room) = open {
            let arrived = rounded(f64::from(traffic.per_second) * seconds, chance);
            // Those that came and went within these steps are counted, and are not there any more.
            let present = arrived.min(u64::from(traffic.per_second).saturating_mul(traffic.lasts.as_secs().max(1)));
            self.arrive(arrived, present.min(room.saturating_sub(self.counters.current)));
        }
    }

    /// Connections come, `present` of which are still there.
    pub(super) fn arrive(&mut self, arrived: u64, present: u64) {
        let counters = &mut self.counters;
        counters.total += arrived;
        counters.current += present;
        counters.peak = counters.peak.max(counters.current);
        // A short request and its answer: SYN to FIN, some 600 bytes in and 8 kB out.
        counters.tx_packets += 6 * arrived;
        counters.rx_packets += 9 * arrived;
        counters.tx_octets += 640 * arrived;
        counters.rx_octets += 8_400 * arrived;
    }
}

/// The number, up or down by chance so that the mean is right.
fn rounded(value: f64, chance: &mut fastrand::Rng) -> u64 {
    let whole = value.floor();
    // Truncation is meant; the values are far below 2^53.
    whole as u64 + u64::from(chance.f64() < value - whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_come_and_all_go() {
        let traffic = Traffic { per_second: 8, lasts: Duration::from_secs(2) };
        let mut chance = fastrand::Rng::with_seed(1);
        let mut flow = Flow::default();
        for _ in 0..400 {
            flow.pass(1, traffic, Some(u64::MAX), &mut chance);
        }
        let counters = flow.counters;
        assert!((700..=900).contains(&counters.total), "about 800: {counters:?}");
        assert!((5..=30).contains(&counters.current), "about 16 at a time: {counters:?}");
        assert!(counters.peak >= counters.current);
        let mut steps = 0;
        while flow.counters.current > 0 {
            flow.pass(1, traffic, None, &mut chance);
            steps += 1;
            assert!(steps < 400, "{:?}", flow.counters);
        }
        assert_eq!(flow.counters.total, counters.total);
    }

    #[test]
    fn a_bound_and_held_connections() {
        let traffic = Traffic { per_second: 100, lasts: Duration::from_secs(60) };
        let mut chance = fastrand::Rng::with_seed(2);
        let mut flow = Flow::default();
        for _ in 0..40 {
            flow.pass(1, traffic, Some(7), &mut chance);
            assert!(flow.counters.current <= 7);
        }
        flow.held = 3;
        flow.pass(100_000, traffic, None, &mut chance);
        flow.pass(100_000, traffic, None, &mut chance);
        assert_eq!(flow.counters.current, 3);
    }
}

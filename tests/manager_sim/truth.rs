//! What must hold, judged from what happened at the switches.

use acm_switch::acm::primitive::Caller;
use acm_switch::acm::words::BindingKey;
use acm_switch::base::id::Name;
use acm_switch::base::time::Time;

/// What was seen so far, and what was wrong.
pub(crate) struct Truth {
    seed: u64,
    /// By switch: the newest epoch accepted, and whose.
    epochs: Vec<Option<(u64, Name)>>,
    pub(crate) wrong: Vec<String>,
    pub(crate) removed_healthy: u64,
}

impl Truth {
    pub(crate) fn new(seed: u64, switches: usize) -> Truth {
        Truth { seed, epochs: vec![None; switches], wrong: Vec::new(), removed_healthy: 0 }
    }

    /// A switch has accepted a call: never of an epoch older than one it accepted before, and an epoch is one manager's.
    pub(crate) fn accepted(&mut self, switch: usize, caller: &Caller, at: Time) {
        let Some(tenure) = &caller.tenure else {
            return self.wrong(at, format!("sw-{switch} keeps epochs and was told none"));
        };
        if let Some((epoch, manager)) = &self.epochs[switch] {
            if tenure.epoch < *epoch {
                self.wrong(at, format!("sw-{switch} accepted epoch {} after {epoch}", tenure.epoch));
            } else if tenure.epoch == *epoch && tenure.manager != *manager {
                self.wrong(at, format!("sw-{switch}: epoch {epoch} is {manager}'s and {}'s", tenure.manager));
            }
        }
        self.epochs[switch] = Some((tenure.epoch, tenure.manager.clone()));
    }

    /// A switch that forgot everything forgot its epoch too.
    pub(crate) fn reset(&mut self, switch: usize) {
        self.epochs[switch] = None;
    }

    /// A manager removed a binding whose agent lives and wants it, and whose server answers.
    pub(crate) fn removed_healthy(&mut self, manager: usize, switch: usize, key: BindingKey, at: Time, since: Time) {
        self.removed_healthy += 1;
        self.wrong(
            at,
            format!("manager {} removed {key} from sw-{switch}, which is well since {since:?}", manager + 1),
        );
    }

    pub(crate) fn wrong(&mut self, at: Time, what: String) {
        self.wrong.push(format!("at {:.3} s: {what}", at.micros() as f64 / 1e6));
    }

    /// Fails with everything that was wrong and the command that shows it again.
    pub(crate) fn must_hold(&self) {
        assert!(
            self.wrong.is_empty(),
            "seed {seed}:\n  {wrong}\nreplay: ACM_SIM_SEED={seed} cargo test --test manager_sim one_seed -- --nocapture",
            seed = self.seed,
            wrong = self.wrong.join("\n  ")
        );
    }
}

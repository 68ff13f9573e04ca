//! Rise and fall: how check results become a verdict. Pure counting; no time, no words.

/// Where a check stands after the results so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It never passed, and has not failed often enough to be called down.
    New,
    /// In.
    Up,
    /// Out.
    Down,
}

/// The standing, and how many results in a row speak for changing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    standing: Standing,
    run: u8,
}

impl Verdict {
    /// Nothing known yet.
    pub(super) const NEW: Verdict = Verdict { standing: Standing::New, run: 0 };
    /// Taken over from an earlier profile of a binding that was in.
    pub(super) const UP: Verdict = Verdict { standing: Standing::Up, run: 0 };

    /// Where it stands.
    pub(super) fn standing(&self) -> Standing {
        self.standing
    }

    /// Counts a passing check: a new one is up at once, a failed one after `rise` in a row.
    pub(super) fn pass(&mut self, rise: u8) {
        match self.standing {
            Standing::New => *self = Verdict::UP,
            Standing::Up => self.run = 0,
            Standing::Down => {
                self.run = self.run.saturating_add(1);
                if self.run >= rise {
                    *self = Verdict::UP;
                }
            }
        }
    }

    /// Counts a failing check: a new one and one that is up are down after `fall` in a row.
    pub(super) fn fail(&mut self, fall: u8) {
        match self.standing {
            Standing::New | Standing::Up => {
                self.run = self.run.saturating_add(1);
                if self.run >= fall {
                    *self = Verdict { standing: Standing::Down, run: 0 };
                }
            }
            Standing::Down => self.run = 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `+` (pass) and `-` (fail) and writes the standing after each: `n`, `u`, `d`.
    fn story(rise: u8, fall: u8, results: &str) -> String {
        let mut verdict = Verdict::NEW;
        let mut standings = String::new();
        for result in results.chars() {
            match result {
                '+' => verdict.pass(rise),
                _ => verdict.fail(fall),
            }
            standings.push(match verdict.standing() {
                Standing::New => 'n',
                Standing::Up => 'u',
                Standing::Down => 'd',
            });
        }
        standings
    }

    #[test]
    fn rise_and_fall() {
        assert_eq!(story(2, 3, "+"), "u", "one success activates");
        assert_eq!(story(2, 3, "--+"), "nnu", "a new one needs one success until it is down");
        assert_eq!(story(2, 3, "---++"), "nnddu");
        assert_eq!(story(2, 3, "+--+---+-++"), "uuuuuudddd".to_owned() + "u");
        assert_eq!(story(1, 1, "+-+-"), "udud");
        assert_eq!(story(3, 1, "-++-+++"), "ddddddu");
    }
}

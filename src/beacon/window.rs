//! A sliding window over the counters of one run of one sender (RFC 6479 in its simplest form): each counter is
//! accepted once, in any order within the window.

/// How far a datagram may be overtaken by later ones.
pub(super) const WINDOW: u64 = 128;

/// Which counters were seen.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Window {
    highest: u64,
    /// Bit n: `highest - n` was seen.
    seen: u128,
}

impl Window {
    /// True if this counter was not seen yet and is not too old to know.
    pub(super) fn is_new(&self, counter: u64) -> bool {
        match self.highest.checked_sub(counter) {
            None => true,
            Some(behind) => behind < WINDOW && self.seen & (1 << behind) == 0,
        }
    }

    /// Remembers it.
    pub(super) fn mark(&mut self, counter: u64) {
        match counter.checked_sub(self.highest) {
            Some(ahead) => {
                self.seen = if ahead < WINDOW { self.seen << ahead } else { 0 };
                self.seen |= 1;
                self.highest = counter;
            }
            None => {
                let behind = self.highest - counter;
                if behind < WINDOW {
                    self.seen |= 1 << behind;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        /// Against a set of everything seen.
        #[test]
        fn each_counter_once(counters in prop::collection::vec(prop_oneof![0u64..400, 0u64..40], 1..400)) {
            let (mut window, mut seen, mut highest) = (Window::default(), BTreeSet::new(), 0u64);
            for counter in counters {
                let expected = !seen.contains(&counter) && highest.saturating_sub(counter) < WINDOW;
                // Counter 0 is never sent; an empty window takes it for seen or not, as long as it does not panic.
                if counter > 0 {
                    prop_assert_eq!(window.is_new(counter), expected, "{} after {}", counter, highest);
                }
                if window.is_new(counter) {
                    window.mark(counter);
                    seen.insert(counter);
                    highest = highest.max(counter);
                }
            }
        }
    }

    #[test]
    fn the_ends_of_the_range() {
        let mut window = Window::default();
        window.mark(u64::MAX);
        assert!(!window.is_new(u64::MAX) && window.is_new(u64::MAX - 1) && !window.is_new(1));
    }
}

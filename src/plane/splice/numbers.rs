//! Sequence numbers of one side as the other sees them: a distance, or two with a position where the second begins.
//!
//! A byte that the switch itself put into a stream moves everything behind it. What lies before it keeps its distance, also
//! when it is sent again afterwards; acknowledgements of the inserted bytes are acknowledgements of what lies before them.
//! (Linux keeps the same three numbers for its conntrack helpers: `offset_before`, `offset_after`, `correction_pos`.)

use crate::base::seq::Seq;

/// How one side's numbers become the other's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Shift {
    before: u32,
    after: u32,
    /// The first number that `after` holds for, as the sender counts.
    at: Seq,
}

impl Shift {
    /// The shift that turns `from` into `to`, and everything else by the same distance.
    pub(super) fn between(from: Seq, to: Seq) -> Shift {
        let by = to.0.wrapping_sub(from.0);
        Shift { before: by, after: by, at: from }
    }

    /// The same with so many bytes more put in before the sender's number `at`.
    pub(super) fn inserting(self, at: Seq, bytes: u32) -> Shift {
        Shift { before: self.after, after: self.after.wrapping_add(bytes), at }
    }

    /// The same once the receiver has all that was put in: one distance, whatever is sent again. What lies before the
    /// position is then of the past, and stays so.
    pub(super) fn settled(self) -> Shift {
        Shift { before: self.after, ..self }
    }

    /// A sender's number as the receiver sees it. At the position itself: behind what was put in.
    #[inline]
    pub(super) fn forth(&self, seq: Seq) -> Seq {
        seq + if seq >= self.at { self.after } else { self.before }
    }

    /// A number that ends something, such as a block's right edge: at the position itself, before what was put in.
    #[inline]
    pub(super) fn forth_end(&self, seq: Seq) -> Seq {
        seq + if seq > self.at { self.after } else { self.before }
    }

    /// A receiver's number (an acknowledgement, an edge) as the sender counts.
    #[inline]
    pub(super) fn back(&self, seq: Seq) -> Seq {
        let behind = seq - self.after;
        if behind > self.at {
            return behind;
        }
        let ahead = seq - self.before;
        if ahead < self.at { ahead } else { self.at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_goes_forth_comes_back(from: u32, to: u32, ahead in 0..1u32 << 24, bytes in 0..4096u32, offset in -(1i32 << 24)..1 << 24) {
            let at = Seq(from) + ahead;
            let shift = Shift::between(Seq(from), Seq(to)).inserting(at, bytes);
            let seq = Seq(from.wrapping_add(offset as u32));
            prop_assert_eq!(shift.back(shift.forth(seq)), seq);
            prop_assert_eq!(shift.back(shift.forth_end(seq)), seq);
        }

        #[test]
        fn what_was_put_in_belongs_to_the_position(from: u32, to: u32, bytes in 1..4096u32, within in 0..4096u32) {
            let shift = Shift::between(Seq(from), Seq(to)).inserting(Seq(from), bytes);
            prop_assert_eq!(shift.back(Seq(to) + within.min(bytes)), Seq(from));
        }
    }
}

//! TCP sequence numbers: they wrap by construction (RFC 9293, section 3.4).

use std::cmp::Ordering;
use std::ops::{Add, Sub};

/// A 32-bit sequence number, compared and added modulo 2³².
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Seq(pub u32);

impl Seq {
    /// How far `self` is after `earlier`, negative if before; exact while the two are less than 2³¹ apart.
    pub fn after(self, earlier: Seq) -> i32 {
        self.0.wrapping_sub(earlier.0) as i32
    }

    /// The later of two numbers.
    pub fn max(self, other: Seq) -> Seq {
        if other.after(self) > 0 { other } else { self }
    }
}

impl Add<u32> for Seq {
    type Output = Seq;
    fn add(self, bytes: u32) -> Seq {
        Seq(self.0.wrapping_add(bytes))
    }
}

impl Sub<u32> for Seq {
    type Output = Seq;
    fn sub(self, bytes: u32) -> Seq {
        Seq(self.0.wrapping_sub(bytes))
    }
}

impl PartialOrd for Seq {
    /// Sequence order (RFC 1982): partial, because numbers exactly 2³¹ apart have none.
    fn partial_cmp(&self, other: &Seq) -> Option<Ordering> {
        match self.after(*other) {
            i32::MIN => None,
            distance => Some(distance.cmp(&0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_wraps() {
        assert!(Seq(5) > Seq(u32::MAX - 5));
        assert_eq!(Seq(u32::MAX) + 2, Seq(1));
        assert_eq!(Seq(1) - 2, Seq(u32::MAX));
        assert_eq!(Seq(u32::MAX).max(Seq(3)), Seq(3));
        assert_eq!(Seq(0).partial_cmp(&Seq(1 << 31)), None);
    }
}

//! A fraction of new connections, from 0 to 1, and the coin that decides by it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::text::cut;

/// A number from 0 to 1 with a resolution of 2⁻³². `Fraction::ZERO` never says yes, `Fraction::ONE` always.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, utoipa::ToSchema)]
#[schema(value_type = f64, minimum = 0, maximum = 1, example = 0.5)]
pub struct Fraction(u64);

/// What was wrong with a number that should have been a fraction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a fraction from 0 to 1")]
pub struct NotAFraction(pub String);

impl Fraction {
    const ONE_BITS: u64 = 1 << 32;
    /// Nothing.
    pub const ZERO: Fraction = Fraction(0);
    /// Everything.
    pub const ONE: Fraction = Fraction(Self::ONE_BITS);

    /// Takes a number from 0 to 1; NaN, negative and larger numbers are refused.
    pub fn new(value: f64) -> Result<Fraction, NotAFraction> {
        if !(0.0..=1.0).contains(&value) {
            return Err(NotAFraction(value.to_string()));
        }
        // In range, so the product is at most 2^32 and the cast is exact to the resolution.
        Ok(Fraction((value * Self::ONE_BITS as f64).round() as u64))
    }

    /// The fraction as a number from 0 to 1.
    pub fn get(self) -> f64 {
        self.0 as f64 / Self::ONE_BITS as f64
    }

    /// True for exactly 0.
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Decides with 32 uniformly distributed bits: true with this probability.
    pub fn hits(self, uniform: u32) -> bool {
        u64::from(uniform) < self.0
    }
}

impl fmt::Display for Fraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nine digits hold every value apart; trailing noise of the binary form is not shown.
        let text = format!("{:.9}", self.get());
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl fmt::Debug for Fraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fraction {
    type Err = NotAFraction;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let value: f64 = text.trim().parse().map_err(|_| NotAFraction(cut(text)))?;
        Fraction::new(value).map_err(|_| NotAFraction(cut(text)))
    }
}

/// In JSON a fraction is a number.
impl Serialize for Fraction {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        // Rounded as shown, so that 0.1 comes back as 0.1.
        to.serialize_f64((self.get() * 1e9).round() / 1e9)
    }
}

impl<'de> Deserialize<'de> for Fraction {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Fraction::new(f64::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_are_certain() {
        assert!(!Fraction::ZERO.hits(0));
        assert!(Fraction::ONE.hits(u32::MAX));
        assert!(Fraction::new(0.5).unwrap().hits(0x7fff_ffff));
        assert!(!Fraction::new(0.5).unwrap().hits(0x8000_0000));
    }

    #[test]
    fn only_fractions_parse() {
        for bad in ["1.5", "-0.1", "NaN", "inf", "", "half"] {
            assert!(bad.parse::<Fraction>().is_err(), "{bad}");
        }
        assert_eq!("0.1".parse::<Fraction>().unwrap().to_string(), "0.1");
        assert_eq!(serde_json::to_string(&Fraction::new(0.9).unwrap()).unwrap(), "0.9");
    }
}

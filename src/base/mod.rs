//! Words everyone shares: addresses, sequence numbers, time, identifiers, fractions, hashes, limits.
//!
//! No I/O, no clock and no randomness live here, and nothing here imports another room of the crate.
//! Everything is a small value type that can only hold legal values.

pub mod addr;
pub mod fraction;
pub mod hash;
pub mod id;
pub mod limits;
pub mod secret;
pub mod seq;
pub mod span;
pub mod text;
pub mod time;

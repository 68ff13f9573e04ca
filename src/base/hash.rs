//! Hashes that are the same on every machine, in every version, at every start: for what switches must agree about.
//!
//! SipHash-1-3 under a fixed key. Whoever can choose keys can make them collide; where that would harm, use a hash with a
//! secret of this start instead (`ahash`).

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

/// The hash of a text.
pub fn fixed(text: &[u8]) -> u64 {
    let mut hasher = fixed_hasher();
    hasher.write(text);
    hasher.finish()
}

/// The same hash for a text that comes in pieces: how it is cut makes no difference.
pub fn fixed_hasher() -> SipHasher13 {
    // Any key will do, as long as it never changes.
    SipHasher13::new_with_keys(0x4163_6d20_7377_6974, 0x6368_2073_6861_7265)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_changes() {
        assert_eq!(fixed(b""), 0x05ad_a48f_2f7b_159a);
        assert_eq!(fixed(b"10.0.0.11"), 0x0fba_722b_5978_ac70);
        let mut pieces = fixed_hasher();
        pieces.write(b"10.0");
        pieces.write(b".0.11");
        assert_eq!(pieces.finish(), fixed(b"10.0.0.11"));
    }
}

//! SYN cookies: what would have to be remembered of a SYN, put into the numbers of the answer (RFC 4987, section 3.6).
//!
//! ```text
//! sequence number = mask + ( slot parity (1) | maximum segment size (3) | MAC (28) )
//! timestamp       = our clock, its low six bits: selective acknowledgements (1) | spare (1) | window scale (4)
//! ```
//!
//! The MAC and the mask are SipHash-2-4 over both ends, the client's initial sequence number and the time slot, under a key
//! that changes every hour and is made from the secret of this start. A cookie is good for its own slot of 64 s and the next
//! one. A guess succeeds with a probability of 2^-28. Window scale and selective acknowledgements are kept for clients
//! that send timestamps only: there is no other room. Pure: the time is an argument.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use super::super::flow_table::Endpoint;
use crate::base::seq::Seq;
use crate::base::time::Time;
use crate::wire::tcp_options::SCALE_MAX;

/// How long a slot is, in seconds.
const SLOT: u64 = 64;

/// Slots a key is used for: 68 minutes.
const SLOTS_PER_KEY: u64 = 64;

/// Maximum segment sizes a cookie can say; a client's is rounded down. The default of IPv4 and IPv6, tunnels, Ethernet with
/// and without timestamps and IPv6, jumbo frames.
const SIZES: [u16; 8] = [536, 1220, 1300, 1380, 1428, 1440, 1460, 8900];

/// No window scale.
const NO_SCALE: u32 = 15;

/// What a client can do, as far as a cookie tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Abilities {
    /// Its maximum segment size, rounded down.
    pub(super) mss: u16,
    /// Its window scale.
    pub(super) scale: Option<u8>,
    /// It understands selective acknowledgements.
    pub(super) sack: bool,
    /// It sends timestamps.
    pub(super) timestamps: bool,
}

/// Who speaks with whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) client: Endpoint,
    pub(super) service: Endpoint,
}

/// Makes and reads cookies.
#[derive(Debug, Clone)]
pub(super) struct Cookies {
    secret: [u64; 2],
}

impl Cookies {
    /// Under a secret of this start.
    pub(super) fn new(secret: [u64; 2]) -> Cookies {
        Cookies { secret }
    }

    /// The number that answers a SYN.
    pub(super) fn make(&self, ends: &Ends, isn: Seq, mss: Option<u16>, now: Time) -> Seq {
        let slot = slot(now);
        let (mask, _) = self.hashes(ends, isn, slot, 0);
        let size = size_index(mss.unwrap_or(SIZES[0]));
        let (_, mac) = self.hashes(ends, isn, slot, size);
        mask + ((slot as u32 & 1) << 31 | size << 28 | mac)
    }

    /// The client's maximum segment size, if this is a cookie of ours that is still good.
    pub(super) fn read(&self, ends: &Ends, isn: Seq, cookie: Seq, now: Time) -> Option<u16> {
        let current = slot(now);
        [Some(current), current.checked_sub(1)].into_iter().flatten().find_map(|slot| {
            let (mask, _) = self.hashes(ends, isn, slot, 0);
            let value = cookie.0.wrapping_sub(mask.0);
            let size = value >> 28 & 7;
            let (_, mac) = self.hashes(ends, isn, slot, size);
            (value == ((slot as u32 & 1) << 31 | size << 28 | mac)).then_some(SIZES[size as usize])
        })
    }

    /// Our clock as this client sees it, in milliseconds: from another origin for each pair of ends.
    pub(super) fn clock(&self, ends: &Ends, now: Time) -> u32 {
        let mut hasher = SipHasher24::new_with_keys(self.secret[0], self.secret[1] ^ 0x7473);
        write(&mut hasher, ends);
        (hasher.finish() as u32).wrapping_add(now.millis() as u32)
    }

    /// The timestamp of the answer: never ahead of the clock.
    pub(super) fn stamp(&self, ends: &Ends, scale: Option<u8>, sack: bool, now: Time) -> u32 {
        let clock = self.clock(ends, now);
        let scale = scale.map_or(NO_SCALE, |scale| u32::from(scale.min(SCALE_MAX)));
        let stamp = clock & !63 | u32::from(sack) << 5 | scale;
        match stamp.wrapping_sub(clock) as i32 > 0 {
            true => stamp.wrapping_sub(64),
            false => stamp,
        }
    }
}

/// What a client can do, from its maximum segment size and the echo of our timestamp, if it sent one.
pub(super) fn abilities(mss: u16, echo: Option<u32>) -> Abilities {
    let scale = echo.map(|echo| echo & 15).filter(|scale| *scale != NO_SCALE).map(|scale| scale as u8);
    Abilities { mss, scale, sack: echo.is_some_and(|echo| echo >> 5 & 1 == 1), timestamps: echo.is_some() }
}

impl Cookies {
    /// The mask (which does not depend on the size) and the MAC.
    fn hashes(&self, ends: &Ends, isn: Seq, slot: u64, size: u32) -> (Seq, u32) {
        let epoch = slot / SLOTS_PER_KEY;
        let hash = |purpose: u64, data: u64| {
            let mut hasher = SipHasher24::new_with_keys(self.secret[0] ^ epoch, self.secret[1].wrapping_add(purpose));
            write(&mut hasher, ends);
            hasher.write_u64(u64::from(isn.0) << 32 | data);
            hasher.write_u64(slot);
            hasher.finish()
        };
        (Seq((hash(1, 0) >> 32) as u32), (hash(2, u64::from(size)) & 0x0fff_ffff) as u32)
    }
}

fn write(hasher: &mut SipHasher24, ends: &Ends) {
    for end in [ends.client, ends.service] {
        let socket = end.socket();
        match socket.ip() {
            std::net::IpAddr::V4(ip) => hasher.write(&ip.octets()),
            std::net::IpAddr::V6(ip) => hasher.write(&ip.octets()),
        }
        hasher.write_u16(socket.port());
    }
}

fn slot(now: Time) -> u64 {
    now.micros() / (SLOT * 1_000_000)
}

fn size_index(mss: u16) -> u32 {
    SIZES.iter().rposition(|size| *size <= mss).unwrap_or(0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ends(port: u16) -> Ends {
        let at = |text: &str| Endpoint::from(text.parse::<std::net::SocketAddr>().unwrap());
        Ends { client: Endpoint::new([10, 0, 0, 1].into(), port), service: at("10.0.0.100:80") }
    }

    proptest! {
        #[test]
        fn a_cookie_is_good_for_its_slot_and_the_next(isn: u32, port: u16, mss: u16, at in 0..1u64 << 40) {
            let (cookies, ends, now) = (Cookies::new([7, 9]), ends(port), Time::from_micros(at));
            let cookie = cookies.make(&ends, Seq(isn), Some(mss), now);
            let read = |now| cookies.read(&ends, Seq(isn), cookie, now);
            let size = read(now).unwrap();
            prop_assert!(size <= mss.max(SIZES[0]));
            prop_assert_eq!(read(now + std::time::Duration::from_secs(SLOT)), Some(size));
            prop_assert_eq!(read(now + std::time::Duration::from_secs(2 * SLOT)), None);
            prop_assert_eq!(cookies.read(&ends, Seq(isn.wrapping_add(1)), cookie, now), None);
            prop_assert_eq!(Cookies::new([7, 10]).read(&ends, Seq(isn), cookie, now), None);
        }

        #[test]
        fn stamps_say_what_the_client_can_do(scale in proptest::option::of(0..=14u8), sack: bool, at in 0..1u64 << 40) {
            let (cookies, now) = (Cookies::new([7, 9]), Time::from_micros(at));
            let stamp = cookies.stamp(&ends(5), scale, sack, now);
            prop_assert!(cookies.clock(&ends(5), now).wrapping_sub(stamp) < 128);
            let wanted = Abilities { mss: 1460, scale, sack, timestamps: true };
            prop_assert_eq!(abilities(1460, Some(stamp)), wanted);
        }
    }

    #[test]
    fn guesses_fail() {
        let cookies = Cookies::new([3, 4]);
        let good = (0..1_000_000u32).filter(|n| {
            let guess = Seq(n.wrapping_mul(0x9e37_79b9));
            cookies.read(&ends(80), Seq(1), guess, Time::from_secs(1000)).is_some()
        });
        assert_eq!(good.count(), 0);
    }

    #[test]
    fn answers_look_random() {
        let cookies = Cookies::new([3, 4]);
        let numbers: Vec<u32> =
            (0..10_000).map(|n| cookies.make(&ends(1000 + n), Seq(77), Some(1460), Time::from_secs(9)).0).collect();
        for bit in 0..32 {
            let ones = numbers.iter().filter(|number| *number >> bit & 1 == 1).count();
            assert!((4_800..5_200).contains(&ones), "bit {bit}: {ones} of 10000");
        }
    }
}

//! The flow table: fixed capacity, one 64-byte entry a flow and two index slots, one for each direction.
//!
//! ```text
//! index:   buckets of 16 slots (one cache line); a slot is 8 bits of the hash, its tag, and 24 bits of a flow's place.
//!          The tags of a bucket stand together, so that they are compared eight at a time
//! flows:   one entry a line; which service and which binding by number, the rewrite is derived from them
//! ```
//!
//! A look-up reads one bucket and one entry. A bucket that is full overflows into the next ones, at most
//! `PROBES` of them; each home bucket counts what overflowed from it, so that removal simply clears a slot and a
//! look-up in a bucket that never overflowed stops there. Keys are compared in full; the hash is keyed with a
//! per-boot secret, so nobody outside can aim at a bucket. Not here: what the states mean (`tcp.rs`), when flows end.
//!
//! Memory, all in, for a capacity of 2^20: 64 MiB of entries, 16 MiB of index, 0.25 MiB of overflow counts.

use std::hash::{BuildHasher, Hasher};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ahash::RandomState;

use super::tcp::TcpState;
use crate::base::addr::{Mac, Protocol};
use crate::base::id::PortId;

/// Slots of a bucket: one cache line.
const BUCKET: usize = 16;
/// Buckets looked at for one key. Full: the flow is refused, as if the table were.
const PROBES: usize = 8;
/// The most flows that 24 bits can name.
pub const CAPACITY_MAX: usize = (1 << 24) - 2;

/// An address and port in one size for both families: IPv4 addresses are mapped (RFC 4291, 2.5.5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Endpoint {
    ip: u128,
    port: u16,
}

impl Endpoint {
    /// From an address and a port.
    #[inline]
    pub fn new(ip: IpAddr, port: u16) -> Endpoint {
        let ip = match ip {
            IpAddr::V4(ip) => 0xffff_0000_0000 | u128::from(ip.to_bits()),
            IpAddr::V6(ip) => ip.to_bits(),
        };
        Endpoint { ip, port }
    }

    /// The address.
    pub fn ip(self) -> IpAddr {
        let ip = Ipv6Addr::from_bits(self.ip);
        ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4)
    }

    #[inline]
    fn v4_bits(self) -> Option<u32> {
        (self.ip >> 32 == 0xffff).then_some(self.ip as u32)
    }

    /// Both.
    pub fn socket(self) -> SocketAddr {
        SocketAddr::new(self.ip(), self.port)
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(addr: SocketAddr) -> Endpoint {
        Endpoint::new(addr.ip(), addr.port())
    }
}

/// Which direction a packet of a flow goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// From the client to the virtual address.
    Client,
    /// From the real to the client.
    Server,
}

/// One flow. What it is translated to is derived from its service and binding.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub struct Flow {
    client_ip: u128,
    /// Where the client's packets come from.
    whereabouts: Whereabouts,
    /// The service's slot.
    pub service: u32,
    /// The binding's slot.
    pub binding: u32,
    /// When a packet was last seen, in ticks.
    pub seen: u32,
    /// TCP numbers.
    pub tcp: TcpNumbers,
    client_port: u16,
    /// Where it stands.
    pub state: TcpState,
    /// TCP or UDP.
    pub protocol: Protocol,
}

/// A station and the switch's port it is behind, in one word: compared with every packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Whereabouts(u64);

impl Whereabouts {
    /// From a station, as [`Mac::bits`], and a port.
    #[inline]
    pub fn new(mac: u64, port: PortId) -> Whereabouts {
        Whereabouts(mac | u64::from(port.0) << 48)
    }

    /// The station.
    pub fn mac(self) -> Mac {
        Mac::from_bits(self.0 << 16 >> 16)
    }

    /// True if this is the station.
    #[inline]
    pub fn is_of(self, mac: u64) -> bool {
        (self.0 ^ mac) << 16 == 0
    }

    /// The port.
    #[inline]
    pub fn port(self) -> PortId {
        PortId((self.0 >> 48) as u16)
    }
}

/// What is remembered of a TCP connection's numbers.
#[derive(Debug, Clone, Copy, Default)]
pub struct TcpNumbers {
    /// The client's SYN.
    pub client_first: u32,
    /// Its latest SYN: another one if it has begun anew on the same ends.
    pub client_again: u32,
    /// The byte after the highest the client sent.
    pub client_next: u32,
    /// The byte after the highest the server sent.
    pub server_next: u32,
    /// The client's last acknowledgement.
    pub client_ack: u32,
    /// The server's last acknowledgement.
    pub server_ack: u32,
}

impl Flow {
    /// A flow of this client, last seen at `seen`.
    pub fn new(client: Endpoint, protocol: Protocol, service: u32, binding: u32, seen: u32) -> Flow {
        Flow {
            client_ip: client.ip,
            client_port: client.port,
            whereabouts: Whereabouts::default(),
            service,
            binding,
            seen,
            tcp: TcpNumbers::default(),
            state: TcpState::NotTcp,
            protocol,
        }
    }

    /// The client.
    #[inline]
    pub fn client(&self) -> Endpoint {
        Endpoint { ip: self.client_ip, port: self.client_port }
    }

    /// Where the client's packets come from: its own station or its router's.
    #[inline]
    pub fn whereabouts(&self) -> Whereabouts {
        self.whereabouts
    }

    /// Notes where the client's packets come from.
    pub fn seen_from(&mut self, mac: Mac, port: PortId) {
        self.whereabouts = Whereabouts::new(mac.bits(), port);
    }
}

/// Where a flow is in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId(u32);

/// Why a flow was not inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// No entry, or no slot within reach, is free.
    Full,
}

/// Slots, a cache line of them. A place is counted from 1 and little-endian; 0 is an empty slot, whatever its tag.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Bucket {
    tags: [u8; BUCKET],
    places: [[u8; 3]; BUCKET],
}

impl Bucket {
    const EMPTY: Bucket = Bucket { tags: [0; BUCKET], places: [[0; 3]; BUCKET] };

    /// What is in a slot.
    #[inline]
    fn place(&self, slot: usize) -> Option<FlowId> {
        let [a, b, c] = self.places[slot % BUCKET];
        u32::from_le_bytes([a, b, c, 0]).checked_sub(1).map(FlowId)
    }

    /// Fills a slot, or with `None` empties it.
    fn set(&mut self, slot: usize, tag: u8, place: Option<FlowId>) {
        let [a, b, c, _] = place.map_or(0, |id| id.0 + 1).to_le_bytes();
        self.tags[slot] = tag;
        self.places[slot] = [a, b, c];
    }

    /// The slot that holds exactly this.
    fn slot_of(&self, tag: u8, place: Option<FlowId>) -> Option<usize> {
        (0..BUCKET).find(|slot| self.place(*slot) == place && (place.is_none() || self.tags[*slot] == tag))
    }

    /// The slots that bear a tag. Now and then one that does not, too: whoever asks compares the whole key.
    #[inline]
    fn matching(&self, tag: u8) -> Matching {
        const ONES: u64 = 0x0101_0101_0101_0101;
        const HIGHS: u64 = 0x8080_8080_8080_8080;
        // A byte is zero where the tags agree; subtracting one then borrows into its high bit (Mycroft 1987). The
        // borrow may run on into the byte above, but only above a true zero.
        let zeroes = |tags: u64| {
            let differ = tags ^ (ONES * u64::from(tag));
            differ.wrapping_sub(ONES) & !differ & HIGHS
        };
        let [low, high] =
            [0, 8].map(|at| self.tags[at..at + 8].first_chunk().map_or(0, |tags| u64::from_le_bytes(*tags)));
        Matching { low: zeroes(low), high: zeroes(high) }
    }
}

/// Slots still to be looked at: the high bit of a byte each.
struct Matching {
    low: u64,
    high: u64,
}

impl Iterator for Matching {
    type Item = usize;
    #[inline]
    fn next(&mut self) -> Option<usize> {
        let (half, base) = if self.low != 0 { (&mut self.low, 0) } else { (&mut self.high, 8) };
        if *half == 0 {
            return None;
        }
        let slot = base + half.trailing_zeros() as usize / 8;
        *half &= *half - 1;
        Some(slot)
    }
}

/// The table.
#[derive(Debug)]
pub struct FlowTable {
    index: Box<[Bucket]>,
    overflowed: Box<[u8]>,
    flows: Vec<Flow>,
    used: Vec<u64>,
    free: Vec<u32>,
    capacity: usize,
    len: usize,
    keys: RandomState,
}

impl FlowTable {
    /// An empty table for `capacity` flows (at most [`CAPACITY_MAX`]), hashed under a secret.
    pub fn new(capacity: usize, secret: [u64; 2]) -> FlowTable {
        let capacity = capacity.clamp(1, CAPACITY_MAX);
        // Two slots a flow, at most half full.
        let buckets = (capacity * 4 / BUCKET).next_power_of_two().max(1);
        FlowTable {
            index: vec![Bucket::EMPTY; buckets].into_boxed_slice(),
            overflowed: vec![0; buckets].into_boxed_slice(),
            flows: Vec::with_capacity(capacity),
            used: vec![0; capacity.div_ceil(64)],
            free: Vec::new(),
            capacity,
            len: 0,
            keys: RandomState::with_seeds(secret[0], secret[1], secret[0].rotate_left(32), !secret[1]),
        }
    }

    /// The hash of one direction's key: the client and, beyond it, the virtual address or the real.
    #[inline]
    pub fn hash(&self, side: Side, client: Endpoint, other: Endpoint, protocol: Protocol) -> u64 {
        let mut hasher = self.keys.build_hasher();
        // Two IPv4 addresses fit in one word, which halves the work; no IPv6 pair hashes as that word alone.
        match (client.v4_bits(), other.v4_bits()) {
            (Some(client), Some(other)) => hasher.write_u64(u64::from(client) << 32 | u64::from(other)),
            _ => {
                hasher.write_u128(client.ip);
                hasher.write_u128(other.ip);
            }
        }
        let rest = u64::from(client.port) << 48 | u64::from(other.port) << 32;
        hasher.write_u64(rest | u64::from(protocol.number()) << 8 | side as u64);
        hasher.finish()
    }

    /// A keyed hash of anything else the plane decides by.
    pub fn hash_words(&self, words: [u64; 4]) -> u64 {
        let mut hasher = self.keys.build_hasher();
        words.iter().for_each(|word| hasher.write_u64(*word));
        hasher.finish()
    }

    #[inline]
    fn home(&self, hash: u64) -> usize {
        hash as usize & (self.index.len() - 1)
    }

    #[inline]
    fn tag(hash: u64) -> u8 {
        (hash >> 56) as u8
    }

    /// Reads the bucket of a hash, so that it is near when the look-up comes: independent loads of a batch overlap.
    #[inline]
    pub fn touch_index(&self, hash: u64) -> u8 {
        self.index[self.home(hash)].tags[0]
    }

    /// Reads the entry that the home bucket of a hash points to with its tag, for the same reason. Returns its place,
    /// which is most often the flow looked for: [`FlowTable::check`] it before a [`FlowTable::find`].
    #[inline]
    pub fn touch_flow(&self, hash: u64) -> Option<FlowId> {
        let bucket = &self.index[self.home(hash)];
        let id = bucket.place(bucket.matching(Self::tag(hash)).next()?)?;
        std::hint::black_box(self.flows.get(id.0 as usize)?.seen);
        Some(id)
    }

    /// The place, if it holds a flow for which `is_it` says yes.
    #[inline(always)]
    pub fn check(&self, place: Option<FlowId>, is_it: impl FnOnce(&Flow) -> bool) -> Option<FlowId> {
        match place {
            Some(id) if self.holds(id) && is_it(self.get(id)) => Some(id),
            _ => None,
        }
    }

    /// [`FlowTable::find`] where it is seldom needed.
    #[cold]
    #[inline(never)]
    pub fn find_slowly(&self, hash: u64, is_it: impl FnMut(&Flow) -> bool) -> Option<FlowId> {
        self.find(hash, is_it)
    }

    /// The flow with this hash for which `is_it` says yes.
    #[inline]
    pub fn find(&self, hash: u64, mut is_it: impl FnMut(&Flow) -> bool) -> Option<FlowId> {
        let tag = Self::tag(hash);
        let home = self.home(hash);
        let reach = if self.overflowed[home] == 0 { 1 } else { PROBES };
        for probe in 0..reach {
            let bucket = &self.index[(home + probe) & (self.index.len() - 1)];
            let found = bucket.matching(tag).filter_map(|slot| bucket.place(slot)).find(|id| is_it(self.get(*id)));
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// Inserts a flow under the hashes of its two directions. The two go in together or not at all.
    ///
    /// # Errors
    /// [`Refused::Full`].
    pub fn insert(&mut self, flow: Flow, client_hash: u64, server_hash: u64) -> Result<FlowId, Refused> {
        let place = self.next_place().ok_or(Refused::Full)?;
        if !self.link(client_hash, place) {
            return Err(Refused::Full);
        }
        if !self.link(server_hash, place) {
            self.unlink(client_hash, place);
            return Err(Refused::Full);
        }
        Ok(self.fill(place, flow))
    }

    /// Inserts a flow that is found from one side only.
    ///
    /// # Errors
    /// [`Refused::Full`].
    pub fn insert_one(&mut self, flow: Flow, hash: u64) -> Result<FlowId, Refused> {
        let place = self.next_place().ok_or(Refused::Full)?;
        if !self.link(hash, place) {
            return Err(Refused::Full);
        }
        Ok(self.fill(place, flow))
    }

    /// Removes a flow that was inserted by [`FlowTable::insert_one`].
    pub fn remove_one(&mut self, id: FlowId, hash: u64) {
        self.unlink(hash, id.0);
        self.empty(id);
    }

    fn next_place(&self) -> Option<u32> {
        match self.free.last() {
            Some(place) => Some(*place),
            None if self.flows.len() < self.capacity => Some(self.flows.len() as u32),
            None => None,
        }
    }

    /// Puts a flow in the next place.
    fn fill(&mut self, place: u32, flow: Flow) -> FlowId {
        if self.free.pop().is_none() {
            self.flows.push(flow);
        } else {
            self.flows[place as usize] = flow;
        }
        self.used[place as usize / 64] |= 1 << (place % 64);
        self.len += 1;
        FlowId(place)
    }

    fn empty(&mut self, id: FlowId) {
        self.used[id.0 as usize / 64] &= !(1 << (id.0 % 64));
        self.free.push(id.0);
        self.len -= 1;
    }

    fn link(&mut self, hash: u64, place: u32) -> bool {
        let home = self.home(hash);
        for probe in 0..PROBES {
            let bucket = (home + probe) & (self.index.len() - 1);
            let Some(slot) = self.index[bucket].slot_of(0, None) else { continue };
            if probe > 0 {
                // 128 slots are in reach, so the count of those away from home fits.
                self.overflowed[home] += 1;
            }
            self.index[bucket].set(slot, Self::tag(hash), Some(FlowId(place)));
            return true;
        }
        false
    }

    fn unlink(&mut self, hash: u64, place: u32) {
        let (tag, id) = (Self::tag(hash), Some(FlowId(place)));
        let home = self.home(hash);
        for probe in 0..PROBES {
            let bucket = (home + probe) & (self.index.len() - 1);
            if let Some(slot) = self.index[bucket].slot_of(tag, id) {
                self.index[bucket].set(slot, 0, None);
                if probe > 0 {
                    self.overflowed[home] -= 1;
                }
                return;
            }
        }
        debug_assert!(false, "a flow is indexed under the hashes it was inserted with");
    }

    /// Removes a flow that was inserted under these hashes.
    pub fn remove(&mut self, id: FlowId, client_hash: u64, server_hash: u64) {
        self.unlink(client_hash, id.0);
        self.unlink(server_hash, id.0);
        self.empty(id);
    }

    /// A flow.
    #[inline]
    pub fn get(&self, id: FlowId) -> &Flow {
        &self.flows[id.0 as usize]
    }

    /// A flow, to be changed.
    #[inline]
    pub fn get_mut(&mut self, id: FlowId) -> &mut Flow {
        &mut self.flows[id.0 as usize]
    }

    /// Whether a place holds a flow now.
    pub fn holds(&self, id: FlowId) -> bool {
        self.used.get(id.0 as usize / 64).is_some_and(|word| word >> (id.0 % 64) & 1 == 1)
    }

    /// The flow at a place, counted from 0 to [`FlowTable::places`].
    pub fn at(&self, place: usize) -> Option<FlowId> {
        let id = FlowId(u32::try_from(place).ok()?);
        self.holds(id).then_some(id)
    }

    /// Places that have ever been used: what a sweep has to walk.
    pub fn places(&self) -> usize {
        self.flows.len()
    }

    /// Live flows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many fit.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes the table takes at its capacity.
    pub fn bytes(&self) -> usize {
        let per_flow = size_of::<Flow>() + size_of::<u32>();
        self.capacity * per_flow + self.used.len() * 8 + self.index.len() * size_of::<Bucket>() + self.overflowed.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_million_flows_fit_in_128_mib() {
        assert_eq!(size_of::<Flow>(), 64);
        let table = FlowTable::new(1 << 20, [1, 2]);
        assert!(table.bytes() <= 128 << 20, "{} MiB", table.bytes() >> 20);
    }

    #[test]
    fn both_directions_go_in_and_out_together() {
        let mut table = FlowTable::new(4, [3, 4]);
        let client = Endpoint::from("10.0.0.1:1000".parse::<SocketAddr>().unwrap());
        let flow = Flow::new(client, Protocol::Tcp, 0, 0, 0);
        let id = table.insert(flow, 11, 22).unwrap();
        assert_eq!(table.find(11, |_| true), Some(id));
        assert_eq!(table.find(22, |_| true), Some(id));
        table.remove(id, 11, 22);
        assert_eq!((table.find(11, |_| true), table.find(22, |_| true), table.len()), (None, None, 0));
    }

    #[test]
    fn a_full_table_refuses() {
        let mut table = FlowTable::new(2, [3, 4]);
        let flow = Flow::new(Endpoint::default(), Protocol::Udp, 0, 0, 0);
        let hash = |n: u64| n << 56 | n;
        assert!(table.insert(flow, hash(1), hash(2)).is_ok() && table.insert(flow, hash(3), hash(4)).is_ok());
        assert_eq!(table.insert(flow, hash(5), hash(6)), Err(Refused::Full));
        assert_eq!(table.find(hash(5), |_| true), None, "nothing is left behind");
    }

    #[test]
    fn endpoints_keep_their_family() {
        for text in ["10.0.0.1:80", "[2001:db8::1]:80"] {
            let addr: SocketAddr = text.parse().unwrap();
            assert_eq!(Endpoint::from(addr).socket(), addr);
        }
    }
}

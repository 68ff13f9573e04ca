//! The forwarding plane: pure. Frames and the time go in, verdicts and frames come out; one [`Plane`] per worker.
//!
//! Inline topology, as a hardware web switch: it bridges its ports, answers ARP and echo for virtual addresses, and
//! for a virtual service rewrites destination address, port and MAC towards the chosen real, and source address,
//! port and MAC on the way back.
//!
//! ```text
//! process: plain, of an established flow: rewrite -> egress                           (quick.rs)
//!          else parse -> ours? -- ARP, echo, own address: answer or deliver            (answer.rs)
//!                     |----- flow known? -> follow -> rewrite -> egress            (forward.rs, reopen.rs)
//!                     |----- new: Drop? -> schedule -> insert -> rewrite           (admit.rs)
//!                     |----- of a content service: delayed binding                 (splice/)
//!                     |----- an ICMP error about a packet of a flow: translate     (errors.rs)
//!                     `----- not ours: learn and bridge                            (bridge.rs)
//! ```
//!
//! Its whole face: [`Plane::take_table`], [`Plane::process`] and [`Plane::process_batch`], [`Plane::poll`],
//! [`Plane::next_deadline`], [`Plane::originate`] and the counters. Commands are table changes: a binding that turns to
//! draining is reported [`Notice::Drained`] when its last flow ends; a binding that disappears from the table is cut, in
//! slices, and reported [`Notice::Cut`]. Not here: sockets, clocks, health checks (frames for the switch's own address
//! come out as [`Verdict::Delivered`]), and when a table changes (`switch`).

mod admit;
mod answer;
pub mod bridge;
pub mod counters;
mod cut;
mod errors;
pub mod flow_table;
pub mod forward;
mod keeping;
mod maglev;
pub mod prepare;
mod process;
mod quick;
mod reopen;
pub mod schedule;
mod services;
pub mod splice;
mod sweep;
mod table;
pub mod tcp;
mod turns;

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crate::acm::table::ServiceTable;
use crate::base::addr::Mac;
use crate::base::id::{BindingId, Name, ServiceId};
use crate::base::time::Time;
use crate::content::token::{Key, Keys};
use crate::wire::frame::Batch;
use bridge::Bridge;
use counters::{Counter, Counters};
use flow_table::{FlowId, FlowTable};
use services::Services;
use splice::{ContentConfig, Splices};
use tcp::Timeouts;

/// Flows a plane holds unless told otherwise: 81 MiB.
pub const FLOWS_DEFAULT: usize = 1 << 20;

/// Frames of our own that can wait to be sent. Answers and resets are short; nothing longer is originated.
const OUT_FRAMES: usize = 1024;
const OUT_FRAME_MAX: usize = 2048;

/// What a plane is told once.
#[derive(Debug, Clone)]
pub struct PlaneConfig {
    /// The MAC that answers for the switch's own addresses and all virtual ones.
    pub mac: Mac,
    /// The switch's own addresses.
    pub addresses: Vec<IpAddr>,
    /// Flows held, at most [`flow_table::CAPACITY_MAX`].
    pub flows_max: usize,
    /// Bounds of content services.
    pub content: ContentConfig,
    /// How long silent flows are remembered.
    pub timeouts: Timeouts,
    /// Keys the hashes; random, new at each start.
    pub secret: [u64; 2],
    /// Make the persistence cookies of content services. Random, or the same on every switch of a site.
    pub cookie_keys: Keys,
    /// Seeds the coins of Drop and of random scheduling; random.
    pub seed: u64,
}

impl PlaneConfig {
    /// Defaults for a switch with this MAC and these addresses, its hashes and coins from one random number.
    pub fn new(mac: Mac, addresses: Vec<IpAddr>, random: u64) -> PlaneConfig {
        let mut seeds = fastrand::Rng::with_seed(random);
        PlaneConfig {
            mac,
            addresses,
            flows_max: FLOWS_DEFAULT,
            content: ContentConfig::default(),
            timeouts: Timeouts::default(),
            secret: [seeds.u64(..), seeds.u64(..)],
            seed: seeds.u64(..),
            cookie_keys: Keys { current: Key { id: 0, secret: std::array::from_fn(|_| seeds.u8(..)) }, previous: None },
        }
    }
}

/// What happened to a frame. Where it shall go is in the frame's `egress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Of a virtual service: rewritten in place.
    Forwarded,
    /// Not ours: sent on as it is.
    Bridged,
    /// Answered: the frame has become the answer, or an answer is in [`Out`].
    Answered,
    /// Of a content connection, and taken in: what comes of it is in [`Out`], now or later.
    Held,
    /// For the switch's own address: the caller hands it to the health checks.
    Delivered,
    /// Nowhere, and why.
    Dropped(Counter),
}

/// What the plane reports to the control side besides frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// A draining binding has no flow left in this plane.
    Drained {
        /// Which.
        binding: BindingId,
    },
    /// A binding that left the table has no flow left in this plane; `cut` of them were ended for it.
    Cut {
        /// Which.
        binding: BindingId,
        /// Flows ended.
        cut: u64,
    },
}

/// What comes out besides the frame that went in.
#[derive(Debug)]
pub struct Out {
    /// Frames of our own, with their egress. The caller sends and clears them.
    pub frames: Batch,
    /// Notices, in order. The caller takes them.
    pub notices: Vec<Notice>,
}

impl Out {
    /// Room for as many frames as the plane makes between two sends.
    pub fn new() -> Out {
        Out { frames: Batch::new(OUT_FRAMES, OUT_FRAME_MAX), notices: Vec::new() }
    }
}

impl Default for Out {
    fn default() -> Out {
        Out::new()
    }
}

/// The plane of one worker.
pub struct Plane {
    config: PlaneConfig,
    table: Arc<ServiceTable>,
    services: Services,
    flows: FlowTable,
    splices: Splices,
    bridge: Bridge,
    counters: Counters,
    coins: fastrand::Rng,
    /// Embryonic flows, oldest first, with the tick they began: entries that are not embryonic any more are stale.
    embryonic: VecDeque<(FlowId, u32)>,
    /// Places still to be walked for bindings being cut.
    cut_left: usize,
    cut_at: usize,
    sweep_at: usize,
    sweep_time: Time,
    /// Gratuitous ARP still to be sent.
    announcements: VecDeque<(Time, Ipv4Addr)>,
    /// What of the batch at hand may go the short way.
    quick: Vec<Option<quick::Quick>>,
}

impl Plane {
    /// A plane with an empty table.
    pub fn new(config: PlaneConfig) -> Plane {
        Plane {
            table: Arc::default(),
            services: Services::new(config.cookie_keys.clone(), config.secret),
            flows: FlowTable::new(config.flows_max, config.secret),
            splices: Splices::new(config.content.clone(), config.secret),
            bridge: Bridge::new(config.secret),
            counters: Counters::default(),
            coins: fastrand::Rng::with_seed(config.seed),
            embryonic: VecDeque::new(),
            cut_left: 0,
            cut_at: 0,
            sweep_at: 0,
            sweep_time: Time::ZERO,
            announcements: VecDeque::new(),
            quick: Vec::new(),
            config,
        }
    }

    /// What was counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The caller had no room for a frame that was [`Verdict::Delivered`].
    pub fn note_undelivered(&mut self) {
        self.counters.add(Counter::Undelivered);
    }

    /// Flows held.
    pub fn flows(&self) -> usize {
        self.flows.len()
    }

    /// Flows that fit.
    pub fn flows_max(&self) -> usize {
        self.flows.capacity()
    }

    /// Bytes the flow table takes at its capacity.
    pub fn flow_bytes(&self) -> usize {
        self.flows.bytes()
    }

    /// Live and total connections of each binding.
    pub fn binding_counts(&self) -> impl Iterator<Item = (BindingId, (u64, u64))> + '_ {
        self.services.bindings().map(|binding| (binding.id, (u64::from(binding.live), binding.total)))
    }

    /// Admitted, dropped and refused of each service.
    pub fn service_counts(&self) -> impl Iterator<Item = (ServiceId, (u64, u64, u64))> + '_ {
        self.services.services().map(|service| (service.id, (service.admitted, service.dropped, service.refused)))
    }

    /// Of each service that looks into requests, how many each of its rules decided about.
    pub fn rule_hits(&self) -> impl Iterator<Item = (ServiceId, &Name, u64)> + '_ {
        let of = |service: &'_ services::ServiceSlot| service.id;
        self.services
            .services()
            .flat_map(move |service| service.rule_hits().map(move |(rule, hits)| (of(service), rule, hits)))
    }

    /// Bindings that left the table and still have connections to be cut; [`Notice::Cut`] will follow for each.
    pub fn cutting(&self) -> impl Iterator<Item = BindingId> + '_ {
        self.services.bindings().filter(|slot| slot.cutting.is_some()).map(|slot| slot.id)
    }

    /// True for an address this switch answers for: a virtual one or its own.
    fn is_own(&self, ip: IpAddr) -> bool {
        self.config.addresses.contains(&ip) || self.table.is_vip(ip)
    }
}

/// Time as flows remember it: 65.5 ms to the tick, 8.9 years to the wrap.
fn tick(now: Time) -> u32 {
    (now.micros() >> 16) as u32
}

/// A duration in ticks, rounded up.
fn ticks(duration: std::time::Duration) -> u32 {
    u32::try_from(duration.as_micros().div_ceil(1 << 16)).unwrap_or(u32::MAX)
}

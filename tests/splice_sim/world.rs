//! A world: one plane, its clients behind port 0 and a server behind each other port, and virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use acm_switch::acm::table::ServiceTable;
use acm_switch::acm::words::*;
use acm_switch::base::addr::Mac;
use acm_switch::base::id::{PortId, ServiceId};
use acm_switch::base::time::Time;
use acm_switch::plane::prepare::Prepared;
use acm_switch::plane::splice::ContentConfig;
use acm_switch::plane::tcp::Timeouts;
use acm_switch::plane::{Out, Plane, PlaneConfig};
use acm_switch::wire::frame::{Batch, Egress};

use super::browser::Browser;
use super::changes::{Bond, Change};
use super::client::{Carrier, Client};
use super::dialogue::Errand;
use super::host::Manner;
use super::narrow;
use super::raw::Raw;
use super::road::{Packet, Trouble, finish};
use super::segment::{ACK, SYN, be32, describe, is_right, parts};
use super::web::{FIRST_PORT, Web};

pub(crate) const SWITCH: Mac = Mac([2, 0xac, 0, 0, 0, 1]);
pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
pub(crate) const PORT: u16 = 80;
const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

/// When every client must have finished. Virtual, so generous: a lost segment costs a second and doubles.
const PATIENCE: Duration = Duration::from_secs(3600);

/// A server to be.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) group: &'static str,
    pub(crate) manner: Manner,
    /// Health checks have found out what its TCP has.
    pub(crate) is_known: bool,
    /// Bound, but nobody is there.
    pub(crate) is_absent: bool,
    /// Bound, but nobody listens.
    pub(crate) is_shut: bool,
    pub(crate) aborts: Option<(u32, usize)>,
}

/// Everything a seed decides.
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// Which of the tests it belongs to.
    pub(crate) kind: &'static str,
    pub(crate) front: Trouble,
    pub(crate) back: Trouble,
    pub(crate) places: Vec<Place>,
    pub(crate) clients: Vec<(Errand, Carrier)>,
    /// What happens to which binding, and when; in order.
    pub(crate) changes: Vec<(Time, usize, Change)>,
    /// How long a head may take.
    pub(crate) patience: Duration,
    /// The servers that may see a path at all.
    pub(crate) allowed: fn(&str, &[Place]) -> Vec<u32>,
    /// One path, one server.
    pub(crate) hashes: fn(&str) -> bool,
    /// Settings of the service, before anything is bound.
    pub(crate) service: Service,
    /// The largest packets that reach clients, and servers, if routers on their way take no longer ones.
    pub(crate) narrow: (Option<usize>, Option<usize>),
    /// Frames reach the plane in batches, as from a worker.
    pub(crate) in_batches: bool,
    /// Super-frames reach hosts whole.
    pub(crate) whole: bool,
}

/// A service without content, round robin.
pub(crate) fn plain_service() -> Service {
    let key = ServiceKey::tcp(SocketAddr::from((VIP, PORT)));
    Service { groups: Default::default(), ..Service::new(ServiceId(1), key) }
}

/// Something on its way: when it arrives, a number that keeps the order, where.
struct Arrival {
    at: Time,
    order: u64,
    to: To,
    packet: Packet,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    /// The plane, by this port.
    Plane(u16),
    Client(usize),
    Web(usize),
}

impl PartialEq for Arrival {
    fn eq(&self, other: &Arrival) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl Eq for Arrival {}
impl PartialOrd for Arrival {
    fn partial_cmp(&self, other: &Arrival) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Arrival {
    fn cmp(&self, other: &Arrival) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) now: Time,
    pub(crate) plane: Plane,
    pub(crate) clients: Vec<Client>,
    /// `None`: nobody is there.
    pub(crate) webs: Vec<Option<Web>>,
    /// The bindings, one for each server.
    bonds: Vec<Bond>,
    table: ServiceTable,
    prepared: Prepared,
    /// Changes made.
    changed: usize,
    pub(crate) wrong: Vec<String>,
    pub(crate) trace: bool,
    /// Frames that crossed the plane.
    pub(crate) frames: u64,
    road: BinaryHeap<Reverse<Arrival>>,
    order: u64,
    coins: fastrand::Rng,
    batch: Batch,
    out: Out,
    client_wakes: Vec<Option<Time>>,
    web_wakes: Vec<Option<Time>>,
}

/// A question for the station of an address.
fn arp(to: [u8; 6], (from, ip): (Mac, [u8; 4]), target: [u8; 4]) -> Vec<u8> {
    let mut frame = to.to_vec();
    frame.extend(from.0);
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(from.0);
    frame.extend(ip);
    frame.extend([0; 6]);
    frame.extend(target);
    frame.resize(60, 0);
    frame
}

pub(crate) fn client_ip(n: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 1, 0, 1 + n as u8)
}

pub(crate) fn server_mac(n: usize) -> Mac {
    Mac([2, 0, 0, 0, 1, n as u8 + 1])
}

pub(crate) fn server_ip(n: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, 11 + n as u8)
}

pub(crate) fn client_mac(n: usize) -> Mac {
    Mac([2, 0, 0, 0, 2, n as u8])
}

impl World {
    pub(crate) fn new(plan: Plan, trace: bool) -> World {
        let now = Time::from_secs(1);
        // smoltcp waits up to a minute before it sends again.
        let timeouts = Timeouts {
            closed: Duration::from_secs(150),
            established: Duration::from_secs(1000),
            ..Timeouts::default()
        };
        let content = ContentConfig {
            connections_max: 16,
            held_max: 1 << 20,
            head_deadline: plan.patience,
            ..ContentConfig::default()
        };
        let config =
            PlaneConfig { flows_max: 128, timeouts, content, ..PlaneConfig::new(SWITCH, vec![OWN.into()], plan.seed) };
        let client = |(n, (errand, carrier)): (usize, &(Errand, Carrier))| {
            let (own, errand) = ((client_mac(n), client_ip(n), FIRST_PORT as u16 + n as u16), errand.clone());
            match *carrier {
                Carrier::Smoltcp(manner) => {
                    Client::Browser(Box::new(Browser::new(own, (VIP, PORT), errand, manner, now)))
                }
                Carrier::Raw(style) => {
                    Client::Raw(Box::new(Raw::new(own, (VIP, PORT), errand, style, plan.seed ^ n as u64)))
                }
            }
        };
        let lies = plan.clients.iter().any(|(errand, _)| errand.anything_goes);
        let server = |(n, place): (usize, &Place)| {
            let port = if place.is_shut { 9 } else { 8080 };
            let mut web = Web::new(n as u32 + 1, server_mac(n), server_ip(n), port, place.manner, now);
            web.aborts.extend(place.aborts);
            web.hears_lies = lies;
            (!place.is_absent).then_some(web)
        };
        let mut world = World {
            now,
            plane: Plane::new(config),
            clients: plan.clients.iter().enumerate().map(client).collect(),
            webs: plan.places.iter().enumerate().map(server).collect(),
            bonds: plan.places.iter().enumerate().map(|(n, place)| Bond::new(n, place)).collect(),
            table: ServiceTable::default(),
            prepared: Prepared::default(),
            changed: 0,
            wrong: vec![],
            trace,
            frames: 0,
            road: BinaryHeap::new(),
            order: 0,
            coins: fastrand::Rng::with_seed(plan.seed ^ 0x0ad5),
            batch: Batch::new(8, 17_000),
            out: Out::new(),
            client_wakes: vec![Some(now); plan.clients.len()],
            web_wakes: plan.places.iter().map(|place| (!place.is_absent).then_some(now)).collect(),
            plan,
        };
        world.publish();
        world.introduce();
        world
    }

    /// Puts the bindings in force as they are now.
    fn publish(&mut self) {
        let key = self.plan.service.key;
        let mut draft = self.table.edit();
        if self.table.service(&key).is_none() {
            draft.put_service(self.plan.service.clone()).expect("a valid service");
        }
        for (n, bond) in self.bonds.iter().enumerate() {
            let real = SocketAddr::from((server_ip(n), 8080));
            match &bond.binding {
                Some(binding) => draft.put_binding(&key, binding.clone()).expect("a valid binding"),
                None => drop(draft.remove_binding(&BindingKey { service: key, real })),
            };
        }
        self.table = draft.finish();
        self.prepared = self.prepared.after(Arc::new(self.table.clone()));
        self.plane.take_table(&self.prepared, self.now, &mut self.out);
        self.collect();
    }

    /// Makes the changes whose time has come.
    fn change(&mut self) {
        while let Some((_, n, change)) = self.plan.changes.get(self.changed).filter(|(at, ..)| *at <= self.now) {
            self.bonds[*n].change(*change, *n, &self.plan.places[*n], self.now);
            if self.trace {
                eprintln!("{:>10} {change:?} server {}", self.now.micros(), n + 1);
            }
            self.changed += 1;
            self.publish();
        }
    }

    /// Every station is heard now and then, as by its health checks; and servers know the clients', as smoltcp asks for one station a
    /// second, and a switch would take another server meanwhile.
    fn introduce(&mut self) {
        let front = (0..self.clients.len()).map(|n| (0, client_mac(n)));
        let back = (0..self.webs.len()).map(|n| (1 + n as u16, server_mac(n)));
        for (port, mac) in front.chain(back).collect::<Vec<_>>() {
            let frame = arp([0xff; 6], (mac, [10, 9, 9, 1]), [10, 9, 9, 2]);
            for minute in 0..PATIENCE.as_secs() / 60 {
                self.send(To::Plane(port), minute * 60_000_000, Packet::plain(frame.clone()));
            }
        }
        for (n, web) in self.webs.iter_mut().enumerate() {
            let Some(web) = web else { continue };
            for client in 0..self.clients.len() {
                let asks = (client_mac(client), client_ip(client).octets());
                web.hear(arp(server_mac(n).0, asks, server_ip(n).octets()), self.now);
            }
            // The answers went past the switch.
            web.host.sent().for_each(drop);
        }
    }

    fn send(&mut self, to: To, way: u64, packet: Packet) {
        self.order += 1;
        let at = self.now + Duration::from_micros(way);
        self.road.push(Reverse(Arrival { at, order: self.order, to, packet }));
    }

    /// Lets everything happen until this time, or until `enough`.
    pub(crate) fn run_until(&mut self, end: Time, enough: impl Fn(&World) -> bool) {
        while !enough(self) {
            let arrives = self.road.peek().map(|Reverse(first)| first.at);
            let wakes = self.client_wakes.iter().chain(&self.web_wakes).flatten().min().copied();
            let changes = self.plan.changes.get(self.changed).map(|(at, ..)| *at);
            let Some(next) = [arrives, wakes, changes, self.plane.next_deadline()].into_iter().flatten().min() else {
                break;
            };
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            self.step();
        }
    }

    fn step(&mut self) {
        self.change();
        self.arrive();
        if self.plane.next_deadline().is_some_and(|at| at <= self.now) {
            self.plane.poll(self.now, &mut self.out);
            self.collect();
        }
        for n in 0..self.clients.len() {
            if self.client_wakes[n].is_some_and(|at| at <= self.now) {
                let sent = self.clients[n].turn(self.now).into_iter().map(Packet::plain).collect();
                self.client_wakes[n] = self.clients[n].wake(self.now);
                self.hand_over(0, sent);
            }
        }
        for n in 0..self.webs.len() {
            if let Some(web) = &mut self.webs[n]
                && self.web_wakes[n].is_some_and(|at| at <= self.now)
            {
                web.turn(self.now);
                let sent: Vec<_> = web.host.sent().map(Packet::plain).collect();
                self.web_wakes[n] = web.host.wake(self.now);
                self.hand_over(1 + n as u16, sent);
            }
        }
    }

    fn hand_over(&mut self, port: u16, sent: Vec<Packet>) {
        let trouble = if port == 0 { self.plan.front } else { self.plan.back };
        for (way, packet) in trouble.carry(sent, &mut self.coins) {
            self.send(To::Plane(port), way, packet);
        }
    }

    /// What arrives now.
    fn arrive(&mut self) {
        while self.road.peek().is_some_and(|Reverse(first)| first.at <= self.now) {
            let Some(Reverse(Arrival { to, packet, .. })) = self.road.pop() else { return };
            match to {
                To::Plane(port) => self.hand_in(port, packet),
                To::Client(n) => {
                    self.clients[n].hear(packet.bytes, self.now);
                    self.client_wakes[n] = Some(self.now);
                }
                To::Web(n) => {
                    self.webs[n].as_mut().expect("only to those who are there").hear(packet.bytes, self.now);
                    self.web_wakes[n] = Some(self.now);
                }
            }
            let next_is_more = self.road.peek().is_some_and(|Reverse(next)| {
                next.at <= self.now && matches!(next.to, To::Plane(_)) && self.batch.room() > 0
            });
            let waits = self.plan.in_batches && next_is_more;
            if !waits && !self.batch.is_empty() {
                self.process();
            }
        }
    }

    fn hand_in(&mut self, port: u16, packet: Packet) {
        assert!(self.batch.push(&packet.bytes, Egress::None), "a frame too long, or too many");
        let frame = self.batch.frames_mut().last_mut().expect("pushed");
        (frame.offload, frame.ingress) = (packet.offload, PortId(port));
        self.frames += 1;
    }

    /// The plane takes what is in the batch.
    fn process(&mut self) {
        if self.trace {
            for frame in self.batch.frames() {
                eprintln!("{:>10} in  {} {}", self.now.micros(), frame.ingress.0, describe(frame.bytes()));
            }
        }
        if self.plan.in_batches {
            let mut verdicts = Vec::with_capacity(8);
            self.plane.process_batch(&mut self.batch, self.now, &mut verdicts, &mut self.out);
        } else {
            for frame in self.batch.frames_mut() {
                self.plane.process(frame, self.now, &mut self.out);
            }
        }
        let batch = std::mem::replace(&mut self.batch, Batch::new(0, 0));
        let mut leaving = vec![];
        for frame in batch.frames().iter().filter(|frame| frame.egress != Egress::None) {
            leaving.push((frame.egress, Packet { bytes: frame.bytes().to_vec(), offload: frame.offload }));
        }
        self.batch = batch;
        self.batch.clear();
        self.leave(leaving);
        self.collect();
    }

    /// Sends what the plane made itself.
    fn collect(&mut self) {
        let mut leaving = vec![];
        for frame in self.out.frames.frames().iter().filter(|frame| frame.egress != Egress::None) {
            leaving.push((frame.egress, Packet { bytes: frame.bytes().to_vec(), offload: frame.offload }));
        }
        self.out.frames.clear();
        self.leave(leaving);
        for notice in std::mem::take(&mut self.out.notices) {
            self.bonds.iter_mut().for_each(|bond| bond.notice(notice));
        }
    }

    fn leave(&mut self, frames: Vec<(Egress, Packet)>) {
        for port in 0..=self.webs.len() as u16 {
            let goes = |egress: &Egress| match egress {
                Egress::None => false,
                Egress::Port(id) => id.0 == port,
                Egress::AllBut(id) => id.0 != port,
                Egress::All => true,
            };
            let burst: Vec<Packet> = frames.iter().filter(|(egress, _)| goes(egress)).map(|(_, p)| p.clone()).collect();
            if burst.is_empty() {
                continue;
            }
            if self.trace {
                for packet in &burst {
                    eprintln!("{:>10} out {port} {}", self.now.micros(), describe(&packet.bytes));
                }
            }
            let mtu = if port == 0 { self.plan.narrow.0 } else { self.plan.narrow.1 };
            let whole = self.plan.whole && mtu.is_none();
            let burst: Vec<Packet> = burst.into_iter().flat_map(|packet| finish(packet, !whole)).collect();
            if let Some(bond) = usize::from(port).checked_sub(1).and_then(|n| self.bonds.get_mut(n)) {
                burst.iter().for_each(|packet| bond.watch(&packet.bytes));
            }
            if let Some(packet) = burst.iter().find(|packet| !is_right(&packet.bytes)) {
                self.wrong.push(format!("a wrong checksum: {}", describe(&packet.bytes)));
            }
            let trouble = if port == 0 { self.plan.front } else { self.plan.back };
            let (burst, errors) = self.route(burst, mtu);
            for (way, packet) in trouble.carry(errors, &mut self.coins) {
                self.send(To::Plane(port), way, packet);
            }
            let trouble = Trouble { merge: 0.0, ..trouble };
            for (way, packet) in trouble.carry(burst, &mut self.coins) {
                self.deliver(port, way, packet);
            }
        }
    }

    /// What passes a router, and what it says about the rest.
    fn route(&self, burst: Vec<Packet>, mtu: Option<usize>) -> (Vec<Packet>, Vec<Packet>) {
        let Some(mtu) = mtu else { return (burst, vec![]) };
        let mut errors = vec![];
        let fits = |packet: &Packet| match narrow::refused(&packet.bytes, mtu) {
            Some(error) => {
                errors.push(Packet::plain(error));
                false
            }
            None => true,
        };
        (burst.into_iter().filter(fits).collect(), errors)
    }

    fn deliver(&mut self, port: u16, way: u64, packet: Packet) {
        let is_for = |mac: Mac| packet.bytes[0] & 1 != 0 || packet.bytes[..6] == mac.0;
        let stations: Vec<To> = match port {
            0 => (0..self.clients.len()).filter(|n| is_for(client_mac(*n))).map(To::Client).collect(),
            n => {
                let n = usize::from(n) - 1;
                (self.webs[n].is_some() && is_for(server_mac(n))).then_some(To::Web(n)).into_iter().collect()
            }
        };
        for to in stations {
            self.send(to, way, packet.clone());
        }
    }

    fn is_over(&self) -> bool {
        self.clients.iter().all(|client| client.dialogue().is_over())
    }

    /// Lives the whole life of the world and checks it.
    pub(crate) fn live(&mut self) {
        self.run_until(self.now + PATIENCE, World::is_over);
        for (n, client) in self.clients.iter_mut().enumerate().filter(|(_, client)| !client.dialogue().is_over()) {
            let errand = &client.dialogue().errand;
            if errand.may_hear_nothing {
                client.quit();
            } else if !errand.anything_goes {
                let (answered, all) = (client.dialogue().answered, errand.asks.len());
                self.wrong.push(format!("client {n} still waits: {answered} of {all} requests answered"));
            }
        }
        // What is still on its way to those who have gone, whose own FIN comes behind it.
        let end = self.now + Duration::from_secs(250);
        while self.now < end && self.clients.iter_mut().any(Client::is_open) {
            self.run_until(self.now + Duration::from_secs(1), |_| false);
            self.now = self.now + Duration::from_secs(1);
        }
        // The last FINs, and what hosts keep after them; shorter than hosts have patience with a silent end.
        self.run_until(self.now + Duration::from_secs(800), |_| false);
        self.check_connections();
        self.check_requests();
        // Who lied may be waited for without end, and wait.
        self.clients.iter_mut().filter(|client| client.dialogue().errand.anything_goes).for_each(Client::quit);
        self.age();
        if self.plane.flows() > 0 {
            self.wrong.push(format!("{} flows left behind", self.plane.flows()));
        }
        if self.trace {
            let moved: Vec<_> = self.plane.counters().iter().filter(|(_, count)| *count > 0).collect();
            eprintln!("{moved:?}");
        }
        self.wrong.extend(self.bonds.iter_mut().enumerate().flat_map(|(n, bond)| bond.wrong(n)));
        let (connections, held) = (self.plane.content_connections(), self.plane.content_held());
        if connections > 0 || held > 0 {
            self.wrong.push(format!("{connections} content connections and {held} held bytes left behind"));
        }
        for client in &mut self.clients {
            let found = client.wrong();
            if !client.dialogue().errand.anything_goes {
                self.wrong.extend(found);
            }
        }
        let webs = self.webs.iter_mut().flatten();
        self.wrong.extend(webs.flat_map(|web| [&mut web.wrong, &mut web.host.wrong].map(std::mem::take).concat()));
    }

    /// The number of the switch's answer to a SYN.
    pub(crate) fn cookie_for(&mut self, syn: &[u8]) -> Option<u32> {
        self.hand_in(0, Packet::plain(syn.to_vec()));
        self.plane.process(&mut self.batch.frames_mut()[0], self.now, &mut self.out);
        let frames = self.batch.frames().iter().chain(self.out.frames.frames());
        let answer =
            frames.map(|frame| frame.bytes()).find(|frame| parts(frame).is_some_and(|at| at.flags == SYN | ACK));
        let number = answer.map(|frame| be32(frame, 38));
        self.batch.clear();
        self.out.frames.clear();
        number
    }

    /// Longer than any flow is remembered.
    fn age(&mut self) {
        let end = self.now + Duration::from_secs(2500);
        while self.now < end && self.plane.flows() > 0 {
            // A worker sleeps until the deadline; a late one must do as well, and is cheaper here.
            self.now = self.now + Duration::from_secs(1);
            self.plane.poll(self.now, &mut self.out);
            self.collect();
            self.step();
        }
    }
}

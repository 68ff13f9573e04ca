//! Sequences of segments through a plane with a content service: one client address with a few ports, two servers, any
//! numbers, flags, options and payloads in any order, and time that passes.
//!
//! The bytes are a script. Numbers in it are small distances from what would be right, since numbers at random get no
//! further than the first check.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use acm_switch::acm::rules::{Action, Case, Condition, Content, Rule, TextMatch};
use acm_switch::acm::table::ServiceTable;
use acm_switch::acm::words::*;
use acm_switch::base::addr::Mac;
use acm_switch::base::id::{BindingId, PortId, ServiceId};
use acm_switch::base::time::Time;
use acm_switch::plane::prepare::Prepared;
use acm_switch::plane::splice::ContentConfig;
use acm_switch::plane::tcp::Timeouts;
use acm_switch::plane::{Out, Plane, PlaneConfig};
use acm_switch::wire::frame::{Egress, FrameBuf};

const SWITCH: Mac = Mac([2, 0xac, 0, 0, 0, 1]);
const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
const CLIENT: (Mac, Ipv4Addr) = (Mac([2, 0, 0, 0, 0, 1]), Ipv4Addr::new(10, 1, 0, 1));
const CONNECTIONS: usize = 3;
const CONNECTIONS_MAX: usize = 2;
const HELD_MAX: usize = 20_000;

/// What a payload may be; the script says which, and which part of it.
const TEXTS: [&[u8]; 8] = [
    b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /b HTTP/1.1\r\nHost: a\r\n\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789",
    b"POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    b"\x16\x03\x01\x00\x05hello\r\n\r\n\0\xff",
];

fn server(n: usize) -> (Mac, Ipv4Addr) {
    (Mac([2, 0, 0, 0, 1, n as u8]), Ipv4Addr::new(10, 0, 0, 11 + n as u8))
}

fn plane() -> Plane {
    let content = ContentConfig { connections_max: CONNECTIONS_MAX, held_max: HELD_MAX, ..ContentConfig::default() };
    let timeouts = Timeouts { established: Duration::from_secs(60), ..Timeouts::default() };
    let config = PlaneConfig { flows_max: 16, content, timeouts, ..PlaneConfig::new(SWITCH, vec![], 7) };
    let mut plane = Plane::new(config);
    let key = ServiceKey::tcp(SocketAddr::from((VIP, 80)));
    let rule = Rule {
        name: "b".parse().expect("a name"),
        when: vec![Condition::Path(TextMatch::Prefix("/b".into()))],
        case: Case::Sensitive,
        then: Action::Group("b".parse().expect("a name")),
    };
    let mut service = Service { content: Content::Http, rules: [rule].into(), ..Service::new(ServiceId(1), key) };
    service.groups.insert("b".parse().expect("a name"), Group::default());
    let mut draft = ServiceTable::default().edit();
    draft.put_service(service).expect("a valid service");
    for n in 0..2 {
        let will = Will {
            admin: AdminState::Up,
            group: if n == 0 { default_group() } else { "b".parse().expect("a name") },
            weight: 1,
            max_conns: None,
            owner: operator(),
            identity: None,
            lease: None,
            health: Arc::default(),
        };
        let observed = Observed { health: Health::Passing, mac: Some(server(n).0), lapsed: false, tcp: None };
        let real = SocketAddr::from((server(n).1, 8080));
        draft.put_binding(&key, Binding { id: BindingId(n as u64), real, will, observed }).expect("a valid binding");
    }
    plane.take_table(&Prepared::default().after(Arc::new(draft.finish())), Time::ZERO, &mut Out::new());
    plane
}

/// One end of a connection as the script's author would keep it.
#[derive(Default, Clone, Copy)]
struct End {
    /// The next number it would send.
    next: u32,
    /// What it would acknowledge.
    expects: u32,
}

struct Script<'a> {
    bytes: &'a [u8],
}

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        let [first, rest @ ..] = self.bytes else { return 0 };
        self.bytes = rest;
        *first
    }

    /// Mostly 0, sometimes a little off, seldom far.
    fn distance(&mut self) -> u32 {
        match self.byte() {
            0..=159 => 0,
            near @ 160..=239 => (i32::from(near) - 200) as u32,
            far => u32::from(far) << 20,
        }
    }
}

struct World {
    plane: Plane,
    out: Out,
    now: Time,
    clients: [End; CONNECTIONS],
    servers: [[End; 2]; CONNECTIONS],
    frame: FrameBuf,
}

/// Checks what must hold for any script.
pub fn check(data: &[u8]) {
    let mut world = World {
        plane: plane(),
        out: Out::new(),
        now: Time::from_secs(1),
        clients: [End { next: u32::MAX - 40, expects: 0 }; CONNECTIONS],
        servers: [[End { next: u32::MAX - 60, expects: 0 }; 2]; CONNECTIONS],
        frame: FrameBuf::with_capacity(2048),
    };
    for n in 0..3 {
        let (mac, ip) = if n == 0 { CLIENT } else { server(n - 1) };
        world.introduce(n as u16, mac, ip);
    }
    let mut script = Script { bytes: data };
    for _ in 0..400 {
        if script.bytes.is_empty() {
            break;
        }
        match script.byte() % 8 {
            0 => world.pass([1, 100, 1_000, 6_000][usize::from(script.byte() % 4)]),
            1..=4 => world.client_sends(&mut script),
            _ => world.server_sends(&mut script),
        }
        assert!(world.plane.content_connections() <= CONNECTIONS_MAX, "no more connections than fit");
        assert!(world.plane.content_held() <= HELD_MAX + 4096, "no more held than may be");
    }
    for _ in 0..200 {
        world.pass(1_000);
    }
    let left = (world.plane.flows(), world.plane.content_connections(), world.plane.content_held());
    assert_eq!(left, (0, 0, 0), "flows, connections and held bytes left behind");
}

impl World {
    fn introduce(&mut self, port: u16, mac: Mac, ip: Ipv4Addr) {
        let mut bytes = vec![0xff; 6];
        bytes.extend(mac.0);
        bytes.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
        bytes.extend(mac.0);
        bytes.extend(ip.octets());
        bytes.extend([0; 6]);
        bytes.extend([10, 9, 9, 9]);
        bytes.resize(60, 0);
        self.hear(port, &bytes);
    }

    /// Time passes; what is due is done.
    fn pass(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        for _ in 0..10_000 {
            match self.plane.next_deadline().filter(|at| *at <= end) {
                Some(at) => self.now = self.now.max(at),
                None => {
                    self.now = end;
                    return;
                }
            }
            self.plane.poll(self.now, &mut self.out);
            self.collect();
        }
        panic!("the plane never rests");
    }

    fn hear(&mut self, port: u16, bytes: &[u8]) {
        assert!(self.frame.fill(bytes), "short frames only");
        self.frame.ingress = PortId(port);
        self.plane.process(&mut self.frame, self.now, &mut self.out);
        if self.frame.egress != Egress::None {
            let bytes = self.frame.bytes().to_vec();
            self.note(&bytes);
        }
        self.collect();
    }

    fn collect(&mut self) {
        let sent: Vec<Vec<u8>> = self.out.frames.frames().iter().map(|frame| frame.bytes().to_vec()).collect();
        self.out.frames.clear();
        self.out.notices.clear();
        sent.iter().for_each(|frame| self.note(frame));
    }

    /// What a frame that left tells its receiver.
    fn note(&mut self, frame: &[u8]) {
        if frame.len() < 54 || frame[23] != 6 {
            return;
        }
        let number = |at: usize| u32::from_be_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]]);
        let length = usize::from(u16::from_be_bytes([frame[16], frame[17]])) - 20 - 4 * usize::from(frame[46] >> 4);
        let after = number(38).wrapping_add(length as u32 + u32::from(frame[47] & 3 != 0));
        let port = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
        let to_client = frame[30..34] == CLIENT.1.octets();
        let connection = usize::from(if to_client { port(36) } else { port(34) }.wrapping_sub(1000));
        if connection >= CONNECTIONS {
            return;
        }
        let end = match to_client {
            true => &mut self.clients[connection],
            false => &mut self.servers[connection][usize::from(frame[33].wrapping_sub(11) & 1)],
        };
        end.expects = after;
    }

    fn client_sends(&mut self, script: &mut Script<'_>) {
        let connection = usize::from(script.byte()) % CONNECTIONS;
        let mut end = self.clients[connection];
        let frame = segment(script, &mut end, CLIENT, 1000 + connection as u16, (SWITCH, VIP), 80);
        self.clients[connection] = end;
        self.hear(0, &frame);
    }

    fn server_sends(&mut self, script: &mut Script<'_>) {
        let which = script.byte();
        let (connection, n) = (usize::from(which >> 1) % CONNECTIONS, usize::from(which & 1));
        let mut end = self.servers[connection][n];
        let frame = segment(script, &mut end, server(n), 8080, CLIENT, 1000 + connection as u16);
        self.servers[connection][n] = end;
        self.hear(1 + n as u16, &frame);
    }
}

/// A segment as the script says, from this end; the end moves on if its numbers were right.
fn segment(
    script: &mut Script<'_>,
    end: &mut End,
    from: (Mac, Ipv4Addr),
    from_port: u16,
    to: (Mac, Ipv4Addr),
    to_port: u16,
) -> Vec<u8> {
    // SYN, SYN-ACK, ACK, data, FIN, RST, or anything.
    let kind = script.byte();
    let flags = [0x02, 0x12, 0x10, 0x18, 0x18, 0x11, 0x14, script.byte()][usize::from(kind % 8)];
    let (off, acked_off) = (script.distance(), script.distance());
    let mut payload: &[u8] = &[];
    if flags & 0x08 != 0 {
        let text = TEXTS[usize::from(script.byte()) % TEXTS.len()];
        let (start, length) = (usize::from(script.byte()), usize::from(script.byte()));
        // Mostly all of it.
        let start = if start < 128 { 0 } else { start % text.len() };
        let stop = if length < 128 { text.len() } else { (start + length - 127).min(text.len()) };
        payload = &text[start..stop];
    }
    let options: &[u8] = match script.byte() % 4 {
        0 => &[],
        1 => &[2, 4, 5, 180, 1, 3, 3, 7, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 1, 1, 1],
        2 => &[1, 1, 8, 10, 255, 255, 255, 250, 0, 0, 0, 1],
        _ => &[1, 1, 5, 10, 0, 0, 0, 9, 0, 0, 1, 0],
    };
    let (seq, ack) = (end.next.wrapping_add(off), end.expects.wrapping_add(acked_off));
    if off == 0 {
        end.next = end.next.wrapping_add(payload.len() as u32 + u32::from(flags & 3 != 0));
    }
    let total = 40 + options.len() + payload.len();
    let mut frame = Vec::with_capacity(14 + total);
    frame.extend(to.0.0);
    frame.extend(from.0.0);
    frame.extend([8, 0, 0x45, 0]);
    frame.extend((total as u16).to_be_bytes());
    frame.extend([0, 0, 0, 0, 64, 6, 0, 0]);
    frame.extend(from.1.octets());
    frame.extend(to.1.octets());
    frame.extend(from_port.to_be_bytes());
    frame.extend(to_port.to_be_bytes());
    frame.extend(seq.to_be_bytes());
    frame.extend(ack.to_be_bytes());
    frame.extend([((20 + options.len()) * 4) as u8, flags, 255, 255, 0, 0, 0, 0]);
    frame.extend(options);
    frame.extend(payload);
    let sum = |bytes: &[u8], start: u32| {
        let words = bytes.chunks(2).map(|two| u32::from(two[0]) << 8 | u32::from(two.get(1).copied().unwrap_or(0)));
        let sum = words.fold(start, |sum, word| sum + word);
        let sum = (sum >> 16) + (sum & 0xffff);
        !((sum >> 16) + (sum & 0xffff)) as u16
    };
    let ip = sum(&frame[14..34], 0);
    frame[24..26].copy_from_slice(&ip.to_be_bytes());
    let l4 = sum(&frame[26..], 6 + (total - 20) as u32);
    frame[50..52].copy_from_slice(&l4.to_be_bytes());
    frame
}

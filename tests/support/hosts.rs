//! A client machine and server machines, as state machines: a frame in, frames out.
//!
//! A machine answers ARP for its addresses, echo, SYNs on its open ports, and keeps every connection's numbers well
//! enough to tell a reset that a real stack would accept (RFC 5961, section 3.2: SEQ is exactly the next byte
//! expected) from one it would not.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddrV4};

use acm_switch::acm::rules::request::SAYS_COOKIE;
use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TcpSlice, TransportSlice};

/// The two ends of a connection, as one machine sees them.
pub type Tuple = (SocketAddrV4, SocketAddrV4);

/// What became of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// SYN sent, nothing heard.
    Opening,
    /// Both directions work.
    Open,
    /// Ended by a reset that a real stack accepts.
    Reset,
    /// Both FINs were exchanged.
    Closed,
}

/// One end of a connection.
#[derive(Debug, Clone)]
pub struct Connection {
    pub fate: Fate,
    /// Next byte to send.
    pub snd_nxt: u32,
    /// Next byte expected.
    pub rcv_nxt: u32,
    /// Data received, in order.
    pub received: Vec<u8>,
    /// How much of it are requests that were answered.
    pub answered: usize,
    /// Resets that a real stack would not have accepted.
    pub bogus_resets: u32,
}

/// A machine on one wire.
pub struct Machine {
    pub mac: [u8; 6],
    pub addresses: HashSet<Ipv4Addr>,
    /// TCP and UDP ports that are open.
    pub open_tcp: HashSet<u16>,
    pub open_udp: HashSet<u16>,
    pub connections: HashMap<Tuple, Connection>,
    /// Datagrams received: from, to, payload.
    pub datagrams: Vec<(SocketAddrV4, SocketAddrV4, Vec<u8>)>,
    /// Who has which MAC, learnt from ARP.
    pub neighbours: HashMap<Ipv4Addr, [u8; 6]>,
    /// SYNs that reached a listening port.
    pub syns: u64,
    /// Frames that were not for this machine's MAC.
    pub strays: u64,
    /// Checksums found wrong.
    pub bad_checksums: u64,
    isn: u32,
}

impl Machine {
    pub fn new(mac: [u8; 6], addresses: impl IntoIterator<Item = Ipv4Addr>) -> Machine {
        Machine {
            mac,
            addresses: addresses.into_iter().collect(),
            open_tcp: HashSet::new(),
            open_udp: HashSet::new(),
            connections: HashMap::new(),
            datagrams: Vec::new(),
            neighbours: HashMap::new(),
            syns: 0,
            strays: 0,
            bad_checksums: 0,
            isn: u32::from_be_bytes([mac[2], mac[3], mac[4], mac[5]]).wrapping_mul(0x9e37_79b1),
        }
    }

    /// An ARP request for an address.
    pub fn ask(&self, from: Ipv4Addr, whom: Ipv4Addr) -> Vec<u8> {
        self.arp(1, [0xff; 6], from, [0; 6], whom)
    }

    fn arp(&self, op: u8, to: [u8; 6], from_ip: Ipv4Addr, target_mac: [u8; 6], target_ip: Ipv4Addr) -> Vec<u8> {
        let mut frame = Vec::with_capacity(60);
        frame.extend(to);
        frame.extend(self.mac);
        frame.extend([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, op]);
        frame.extend(self.mac);
        frame.extend(from_ip.octets());
        frame.extend(target_mac);
        frame.extend(target_ip.octets());
        frame.resize(60, 0);
        frame
    }

    fn segment(&self, tuple: &Tuple, flags: &str, seq: u32, ack: u32, payload: &[u8]) -> Vec<u8> {
        let (own, peer) = tuple;
        let mac = self.neighbours.get(peer.ip()).copied().unwrap_or([0xff; 6]);
        let mut tcp = PacketBuilder::ethernet2(self.mac, mac).ipv4(own.ip().octets(), peer.ip().octets(), 64).tcp(
            own.port(),
            peer.port(),
            seq,
            64_240,
        );
        for flag in flags.chars() {
            tcp = match flag {
                'S' => tcp.syn(),
                'A' => tcp.ack(ack),
                'F' => tcp.fin(),
                'P' => tcp.psh(),
                other => panic!("no flag {other}"),
            };
        }
        let mut frame = Vec::with_capacity(64 + payload.len());
        tcp.write(&mut frame, payload).expect("a Vec takes every frame");
        frame
    }

    /// A SYN; the connection is remembered as opening.
    pub fn open(&mut self, tuple: Tuple) -> Vec<u8> {
        self.isn = self.isn.wrapping_add(64_000);
        let isn = self.isn;
        self.connections.insert(
            tuple,
            Connection {
                fate: Fate::Opening,
                snd_nxt: isn.wrapping_add(1),
                rcv_nxt: 0,
                received: vec![],
                answered: 0,
                bogus_resets: 0,
            },
        );
        self.segment(&tuple, "S", isn, 0, &[])
    }

    /// The same SYN again.
    pub fn retry(&self, tuple: &Tuple) -> Vec<u8> {
        let isn = self.connections[tuple].snd_nxt.wrapping_sub(1);
        self.segment(tuple, "S", isn, 0, &[])
    }

    /// Data on an open connection.
    pub fn send(&mut self, tuple: &Tuple, payload: &[u8]) -> Vec<u8> {
        let connection = &self.connections[tuple];
        let frame = self.segment(tuple, "PA", connection.snd_nxt, connection.rcv_nxt, payload);
        let connection = self.connections.get_mut(tuple).expect("looked up above");
        connection.snd_nxt = connection.snd_nxt.wrapping_add(payload.len() as u32);
        frame
    }

    /// A FIN.
    pub fn close(&mut self, tuple: &Tuple) -> Vec<u8> {
        let connection = &self.connections[tuple];
        let frame = self.segment(tuple, "FA", connection.snd_nxt, connection.rcv_nxt, &[]);
        let connection = self.connections.get_mut(tuple).expect("looked up above");
        connection.snd_nxt = connection.snd_nxt.wrapping_add(1);
        connection.fate = Fate::Closed;
        frame
    }

    /// The answers to HTTP requests without a body that have come whole: each names the real that gives it, and sets the
    /// cookie that the request told it to.
    pub fn answer_requests(&mut self) -> Vec<Vec<u8>> {
        let asks = |connection: &Connection| {
            connection.fate == Fate::Open && connection.received[connection.answered..].ends_with(b"\r\n\r\n")
        };
        let asked: Vec<Tuple> =
            self.connections.iter().filter(|(_, connection)| asks(connection)).map(|(tuple, _)| *tuple).collect();
        let answer = |machine: &mut Machine, tuple: Tuple| {
            let connection = machine.connections.get_mut(&tuple).expect("found above");
            let request = String::from_utf8_lossy(&connection.received[connection.answered..]).into_owned();
            connection.answered = connection.received.len();
            let says = request.lines().filter_map(|line| line.strip_prefix(SAYS_COOKIE)?.strip_prefix(": "));
            let cookies: String = says.map(|cookie| format!("Set-Cookie: {cookie}\r\n")).collect();
            let body = tuple.0.to_string();
            let head = format!("HTTP/1.1 200 OK\r\n{cookies}Content-Length: {}\r\n\r\n", body.len());
            machine.send(&tuple, (head + &body).as_bytes())
        };
        asked.into_iter().map(|tuple| answer(self, tuple)).collect()
    }

    /// A datagram.
    pub fn datagram(&self, own: SocketAddrV4, peer: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
        let mac = self.neighbours.get(peer.ip()).copied().unwrap_or([0xff; 6]);
        let builder = PacketBuilder::ethernet2(self.mac, mac)
            .ipv4(own.ip().octets(), peer.ip().octets(), 64)
            .udp(own.port(), peer.port());
        let mut frame = Vec::new();
        builder.write(&mut frame, payload).expect("a Vec takes every frame");
        frame
    }

    /// A frame from the wire; returns the answers.
    pub fn hear(&mut self, frame: &[u8]) -> Vec<Vec<u8>> {
        if frame.len() < 14 || (frame[..6] != self.mac && frame[0] & 1 == 0) {
            self.strays += 1;
            return vec![];
        }
        if frame[12..14] == [0x08, 0x06] {
            return self.hear_arp(frame).into_iter().collect();
        }
        let Ok(packet) = SlicedPacket::from_ethernet(frame) else { return vec![] };
        let Some(NetSlice::Ipv4(ip)) = &packet.net else { return vec![] };
        let (from, to) = (ip.header().source_addr(), ip.header().destination_addr());
        if !self.addresses.contains(&to) {
            self.strays += 1;
            return vec![];
        }
        if frame[0] & 1 == 0 {
            // Like a kernel that keeps a neighbour entry fresh; ours never asks twice.
            self.neighbours.entry(from).or_insert_with(|| frame[6..12].try_into().expect("six bytes"));
        }
        match &packet.transport {
            Some(TransportSlice::Tcp(tcp)) => {
                let sum = tcp.calc_checksum_ipv4(ip.header().source(), ip.header().destination()).unwrap_or(0);
                self.bad_checksums += u64::from(sum != tcp.checksum());
                let tuple = (SocketAddrV4::new(to, tcp.destination_port()), SocketAddrV4::new(from, tcp.source_port()));
                self.hear_tcp(tuple, tcp).into_iter().collect()
            }
            Some(TransportSlice::Udp(udp)) => {
                let own = SocketAddrV4::new(to, udp.destination_port());
                let peer = SocketAddrV4::new(from, udp.source_port());
                self.datagrams.push((peer, own, udp.payload().to_vec()));
                match self.open_udp.contains(&own.port()) {
                    true => vec![self.datagram(own, peer, udp.payload())],
                    false => vec![],
                }
            }
            Some(TransportSlice::Icmpv4(icmp)) if icmp.slice()[0] == 8 => {
                let mut reply = frame.to_vec();
                let mac = reply[6..12].to_vec();
                reply[..6].copy_from_slice(&mac);
                reply[6..12].copy_from_slice(&self.mac);
                reply[26..30].copy_from_slice(&to.octets());
                reply[30..34].copy_from_slice(&from.octets());
                reply[34] = 0;
                // RFC 1624: the type went from 8 to 0, the sum grows by 0x0800.
                let sum = u32::from(u16::from_be_bytes([reply[36], reply[37]])) + 0x0800;
                let sum = (sum & 0xffff) + (sum >> 16);
                reply[36..38].copy_from_slice(&(sum as u16).to_be_bytes());
                vec![reply]
            }
            _ => vec![],
        }
    }

    fn hear_arp(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        if frame.len() < 42 {
            return None;
        }
        let ip = |at: usize| Ipv4Addr::new(frame[at], frame[at + 1], frame[at + 2], frame[at + 3]);
        let sender: [u8; 6] = frame[22..28].try_into().ok()?;
        let (sender_ip, target_ip) = (ip(28), ip(38));
        self.neighbours.insert(sender_ip, sender);
        (frame[21] == 1 && self.addresses.contains(&target_ip))
            .then(|| self.arp(2, sender, target_ip, sender, sender_ip))
    }

    fn hear_tcp(&mut self, tuple: Tuple, tcp: &TcpSlice<'_>) -> Option<Vec<u8>> {
        let seq = tcp.sequence_number();
        if tcp.rst() {
            let connection = self.connections.get_mut(&tuple)?;
            let exact = match connection.fate {
                Fate::Opening => tcp.ack() && tcp.acknowledgment_number() == connection.snd_nxt,
                _ => seq == connection.rcv_nxt,
            };
            match exact {
                true => connection.fate = Fate::Reset,
                false => connection.bogus_resets += 1,
            }
            return None;
        }
        if tcp.syn() && !tcp.ack() {
            return self.hear_syn(tuple, seq);
        }
        let connection = self.connections.get_mut(&tuple)?;
        if tcp.syn() && tcp.ack() {
            if connection.fate != Fate::Opening || tcp.acknowledgment_number() != connection.snd_nxt {
                return None;
            }
            connection.fate = Fate::Open;
            connection.rcv_nxt = seq.wrapping_add(1);
            let (seq, ack) = (connection.snd_nxt, connection.rcv_nxt);
            return Some(self.segment(&tuple, "A", seq, ack, &[]));
        }
        if connection.fate == Fate::Opening {
            connection.fate = Fate::Open;
        }
        let payload = tcp.payload();
        if seq != connection.rcv_nxt || (payload.is_empty() && !tcp.fin()) {
            return None;
        }
        connection.received.extend_from_slice(payload);
        connection.rcv_nxt = connection.rcv_nxt.wrapping_add(payload.len() as u32 + u32::from(tcp.fin()));
        let (nxt, ack, answers_fin) =
            (connection.snd_nxt, connection.rcv_nxt, tcp.fin() && connection.fate == Fate::Open);
        if answers_fin {
            connection.fate = Fate::Closed;
            connection.snd_nxt = nxt.wrapping_add(1);
        }
        Some(self.segment(&tuple, if answers_fin { "FA" } else { "A" }, nxt, ack, &[]))
    }

    fn hear_syn(&mut self, tuple: Tuple, seq: u32) -> Option<Vec<u8>> {
        if !self.open_tcp.contains(&tuple.0.port()) {
            let mac = self.neighbours.get(tuple.1.ip()).copied().unwrap_or([0xff; 6]);
            let builder = PacketBuilder::ethernet2(self.mac, mac)
                .ipv4(tuple.0.ip().octets(), tuple.1.ip().octets(), 64)
                .tcp(tuple.0.port(), tuple.1.port(), 0, 0)
                .rst()
                .ack(seq.wrapping_add(1));
            let mut frame = Vec::new();
            builder.write(&mut frame, &[]).expect("a Vec takes every frame");
            return Some(frame);
        }
        self.syns += 1;
        self.isn = self.isn.wrapping_add(64_000);
        let isn = self.isn;
        let connection = Connection {
            fate: Fate::Opening,
            snd_nxt: isn.wrapping_add(1),
            rcv_nxt: seq.wrapping_add(1),
            received: vec![],
            answered: 0,
            bogus_resets: 0,
        };
        self.connections.insert(tuple, connection);
        Some(self.segment(&tuple, "SA", isn, seq.wrapping_add(1), &[]))
    }
}

//! A client with a TCP of its own making, for what a well-behaved one never sends: its stream goes out in pieces of any
//! size, in any order, late, twice, overlapping; it may say two different things about one byte; it ends in any way at any
//! moment. What it receives it takes in order, with selective acknowledgements, and it is as strict as Linux about
//! timestamps that go back (RFC 7323, section 5).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use acm_switch::base::addr::Mac;
use acm_switch::base::time::Time;
use etherparse::PacketBuilder;

use super::dialogue::{Dialogue, Ending, Errand, Fate};
use super::narrow::{self, TooBig};
use super::segment::{ACK, FIN, RST, SYN, be16, be32, is_right, nonsense, parts, read_options};

/// What its SYN offers, and how it sends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    pub(crate) isn: u32,
    pub(crate) mss: u16,
    pub(crate) scale: Option<u8>,
    pub(crate) sack: bool,
    pub(crate) timestamps: bool,
    /// What its clock shows at time 0.
    pub(crate) clock: u32,
    pub(crate) window: u16,
    /// The longest piece of its stream.
    pub(crate) piece: usize,
    /// How long a piece may be kept back.
    pub(crate) spread: Duration,
    /// One piece in so many is sent twice or overlaps another.
    pub(crate) again: u8,
    /// It says something else about some byte of its first request.
    pub(crate) lies: bool,
    /// Its first segment carries no data, or all it has.
    pub(crate) eager: bool,
}

/// Sends again what was not acknowledged.
const RESEND: Duration = Duration::from_millis(700);
/// After so long without a word it asks whether the other end is still there.
const SILENCE: Duration = Duration::from_secs(40);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Opening,
    Open,
    /// Over; a FIN that comes again is acknowledged again.
    TimeWait,
    /// Every further segment is answered with a RST, as a host does that remembers nothing.
    Gone,
}

pub(crate) struct Raw {
    mac: Mac,
    ends: ((Ipv4Addr, u16), (Ipv4Addr, u16)),
    style: Style,
    pub(crate) dialogue: Dialogue,
    state: Option<State>,
    /// Everything it has to say, from its first byte.
    stream: Vec<u8>,
    /// Pieces to be sent: when, from where to where in the stream, and whether as a lie.
    pieces: BTreeMap<(Time, u64), (usize, usize, bool)>,
    order: u64,
    coins: fastrand::Rng,
    /// Stream bytes acknowledged; one more for a FIN.
    acked: usize,
    /// Stream bytes sent at least once.
    sent: usize,
    their_window: usize,
    their_scale: u8,
    /// The FIN was sent.
    fin: bool,
    wants_fin: bool,
    resend_at: Option<Time>,
    resends: u32,
    /// The next byte expected.
    next: u32,
    /// Segments behind a gap.
    ahead: BTreeMap<u32, Vec<u8>>,
    /// Where their FIN is, once it was heard of; and whether everything before it has come.
    fin_at: Option<u32>,
    their_fin: bool,
    their_clock: u32,
    /// When it heard of the other end, or asked after it.
    heard: Time,
    uses_timestamps: bool,
    uses_sack: bool,
    /// The largest packet that fits its path, as far as it has heard.
    path_max: usize,
    outbox: Vec<Vec<u8>>,
}

impl Raw {
    pub(crate) fn new(
        (mac, ip, port): (Mac, Ipv4Addr, u16),
        vip: (Ipv4Addr, u16),
        errand: Errand,
        style: Style,
        seed: u64,
    ) -> Raw {
        Raw {
            mac,
            ends: ((ip, port), vip),
            style,
            dialogue: Dialogue::new(errand),
            state: None,
            stream: vec![],
            pieces: BTreeMap::new(),
            order: 0,
            coins: fastrand::Rng::with_seed(seed),
            acked: 0,
            sent: 0,
            their_window: 0,
            their_scale: 0,
            fin: false,
            wants_fin: false,
            resend_at: None,
            resends: 0,
            next: 0,
            ahead: BTreeMap::new(),
            fin_at: None,
            their_fin: false,
            their_clock: 0,
            heard: Time::ZERO,
            uses_timestamps: false,
            uses_sack: false,
            path_max: 1500,
            outbox: vec![],
        }
    }

    /// What it has sent.
    pub(crate) fn sent(&mut self) -> impl Iterator<Item = Vec<u8>> + '_ {
        let path_max = self.path_max;
        self.outbox.drain(..).flat_map(move |frame| narrow::fitted(frame, path_max))
    }

    /// True while it remembers the connection.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, Some(State::Opening | State::Open))
    }

    pub(crate) fn wake(&self, now: Time) -> Option<Time> {
        let piece = self.pieces.keys().next().map(|(at, _)| *at);
        let probe = (self.state == Some(State::Open)).then_some(self.heard + SILENCE);
        [self.dialogue.wake(now), piece, self.resend_at, probe].into_iter().flatten().min()
    }

    fn clock(&self, now: Time) -> u32 {
        self.style.clock.wrapping_add(now.millis() as u32)
    }

    fn segment(&mut self, flags: u8, seq: u32, payload: &[u8], now: Time) {
        let ((ip, port), (vip, vip_port)) = self.ends;
        let mut options = vec![];
        if flags & SYN != 0 {
            options.extend([2, 4]);
            options.extend(self.style.mss.to_be_bytes());
            options.extend(self.style.scale.map(|scale| [3, 3, scale]).into_iter().flatten());
            options.extend(if self.style.sack { &[4, 2][..] } else { &[] });
        }
        if (flags & SYN != 0 && self.style.timestamps) || (self.uses_timestamps && flags & RST == 0) {
            options.extend([8, 10]);
            options.extend(self.clock(now).to_be_bytes());
            options.extend(self.their_clock.to_be_bytes());
        }
        if self.uses_sack
            && flags & (SYN | RST) == 0
            && let Some((from, bytes)) = self.ahead.first_key_value()
        {
            options.extend([5, 10]);
            options.extend(from.to_be_bytes());
            options.extend(from.wrapping_add(bytes.len() as u32).to_be_bytes());
        }
        options.resize(options.len().next_multiple_of(4), 1);
        let mut tcp = etherparse::TcpHeader::new(port, vip_port, seq, self.style.window);
        tcp.set_options_raw(&options).expect("fewer than 40 bytes");
        (tcp.syn, tcp.fin, tcp.rst) = (flags & SYN != 0, flags & FIN != 0, flags & RST != 0);
        tcp.ack = flags & ACK != 0;
        tcp.psh = !payload.is_empty();
        tcp.acknowledgment_number = if tcp.ack { self.next } else { 0 };
        let mut frame = Vec::with_capacity(100 + payload.len());
        PacketBuilder::ethernet2(self.mac.0, super::world::SWITCH.0)
            .ipv4(ip.octets(), vip.octets(), 64)
            .tcp_header(tcp)
            .write(&mut frame, payload)
            .expect("a Vec takes every frame");
        self.outbox.push(frame);
    }

    fn acknowledge(&mut self, now: Time) {
        self.segment(ACK, self.number(self.sent + usize::from(self.fin)), &[], now);
    }

    /// The number of a byte of its stream.
    fn number(&self, at: usize) -> u32 {
        self.style.isn.wrapping_add(1).wrapping_add(at as u32)
    }

    pub(crate) fn turn(&mut self, now: Time) {
        if self.dialogue.fate == Fate::Waiting && now >= self.dialogue.errand.starts {
            self.dialogue.fate = Fate::Talking;
            self.state = Some(State::Opening);
            self.segment(SYN, self.style.isn, &[], now);
            self.resend_at = Some(now + RESEND);
        }
        if self.dialogue.aborts_at().is_some_and(|at| now >= at) && self.dialogue.fate == Fate::Talking {
            self.dialogue.fate = Fate::Broken;
            self.reset(now);
        }
        if self.state == Some(State::Open) {
            self.say(now);
        }
        if self.resend_at.is_some_and(|at| now >= at) {
            self.resend(now);
        }
        if self.state == Some(State::Open) && now >= self.heard + SILENCE {
            self.heard = now;
            self.segment(ACK, self.number(self.sent + usize::from(self.fin)).wrapping_sub(1), &[], now);
        }
    }

    /// Ends by a RST, as a host whose program was killed.
    fn reset(&mut self, now: Time) {
        if self.state == Some(State::Open) {
            // What was sent last, or what was acknowledged last: either may be exact.
            let at = if self.coins.bool() { self.acked } else { self.sent + usize::from(self.fin) };
            self.segment(RST | ACK, self.number(at), &[], now);
        } else if self.state == Some(State::Opening) {
            self.segment(RST, self.style.isn.wrapping_add(1), &[], now);
        }
        self.leave();
    }

    /// Forgets the connection, as a host that was started again: it refuses what still comes.
    pub(crate) fn quit(&mut self) {
        self.dialogue.fate = Fate::Broken;
        self.leave();
    }

    fn leave(&mut self) {
        self.state = Some(State::Gone);
        self.pieces.clear();
        self.resend_at = None;
    }

    /// Makes pieces of what is new to be said, and sends those whose time has come.
    fn say(&mut self, now: Time) {
        let before = self.stream.len();
        if self.dialogue.fate == Fate::Talking {
            self.dialogue.ask(now, &mut self.stream);
        }
        self.cut_up(before, now);
        while let Some(piece) = self.pieces.first_entry().filter(|piece| piece.key().0 <= now) {
            let (from, to, is_lie) = piece.remove();
            self.resend_at.get_or_insert(now + RESEND);
            if to > self.acked + self.their_window {
                self.order += 1;
                self.pieces.insert((now + Duration::from_millis(20), self.order), (from, to, is_lie));
                continue;
            }
            let mut bytes = self.stream[from..to].to_vec();
            if is_lie {
                let at = self.coins.usize(0..bytes.len());
                bytes[at] ^= 1;
            }
            self.segment(ACK, self.number(from), &bytes, now);
            self.sent = self.sent.max(to);
        }
        let has_said_all = self.sent == self.stream.len();
        let half_closes = self.dialogue.has_asked_all() && self.dialogue.errand.ending == Ending::HalfCloses;
        if (self.wants_fin || half_closes) && has_said_all && !self.fin {
            self.fin = true;
            self.segment(FIN | ACK, self.number(self.sent), &[], now);
            self.resend_at.get_or_insert(now + RESEND);
        }
    }

    fn cut_up(&mut self, before: usize, now: Time) {
        let mut at = before;
        let end = self.stream.len();
        // A few hundred pieces are enough.
        let piece = self.style.piece.max((end - before) / 200);
        while at < end {
            let to = (at + self.coins.usize(1..=piece)).min(end);
            self.plan(now, at, to, false);
            if self.coins.u8(0..self.style.again) == 0 {
                let from = at.saturating_sub(self.coins.usize(0..piece));
                let to = (to + self.coins.usize(0..piece)).min(end).min(from + 1000);
                self.plan(now, from, to, false);
            }
            if self.style.lies && before == 0 && self.coins.u8(0..4) == 0 {
                self.plan(now, at, to, true);
            }
            at = to;
        }
    }

    fn plan(&mut self, now: Time, from: usize, to: usize, is_lie: bool) {
        let late = self.coins.u64(0..=self.style.spread.as_micros() as u64);
        self.order += 1;
        self.pieces.insert((now + Duration::from_micros(late), self.order), (from, to, is_lie));
    }

    fn resend(&mut self, now: Time) {
        self.resends += 1;
        self.resend_at = Some(now + RESEND * (1 << self.resends.min(6)));
        match self.state {
            // After a quarter of an hour, as Linux, it gives up.
            _ if self.resends > 25 => {
                self.dialogue.read(now, true, true);
                self.leave();
            }
            Some(State::Opening) => self.segment(SYN, self.style.isn, &[], now),
            Some(State::Open) if self.acked < self.stream.len() => {
                let room = self.their_window.clamp(1, usize::from(self.style.mss).min(1000));
                let to = (self.acked + room).min(self.stream.len());
                let bytes = self.stream[self.acked..to].to_vec();
                self.segment(ACK, self.number(self.acked), &bytes, now);
                self.sent = self.sent.max(to);
            }
            Some(State::Open) if self.fin && self.acked == self.stream.len() => {
                self.segment(FIN | ACK, self.number(self.acked), &[], now);
            }
            _ => self.resend_at = None,
        }
    }

    pub(crate) fn hear(&mut self, frame: &[u8], now: Time) {
        if frame[12..14] == [8, 6] && frame[21] == 1 && frame[38..42] == self.ends.0.0.octets() {
            return self.answer_arp(frame);
        }
        if let Some(error) = narrow::read(frame) {
            return self.hear_too_big(error);
        }
        let Some(at) = parts(frame) else { return };
        let own_port = self.ends.0.1;
        if be16(frame, at.tcp + 2) != own_port || !is_right(frame) {
            return;
        }
        self.heard = now;
        let (seq, ack) = (be32(frame, at.tcp + 4), be32(frame, at.tcp + 8));
        if frame[26..30] != self.ends.1.0.octets() {
            return self.refuse(frame);
        }
        match self.state {
            None => {}
            Some(State::TimeWait) if at.flags & FIN != 0 => self.acknowledge(now),
            Some(State::TimeWait) => {}
            Some(State::Gone) if at.flags & RST != 0 || self.dialogue.errand.ending == Ending::Vanishes => {}
            Some(State::Gone) => self.segment(RST, if at.flags & ACK != 0 { ack } else { 0 }, &[], now),
            Some(State::Opening) => self.hear_opening(frame, at.flags, seq, ack, now),
            Some(State::Open) => {
                let clock = self.uses_timestamps.then(|| self.clock(now));
                self.dialogue.wrong.extend(nonsense(frame, clock));
                self.hear_open(frame, now);
            }
        }
        if self.state == Some(State::Open) {
            self.say(now);
        }
    }

    /// What it sent was too big for a router. It must be something that it did send.
    fn hear_too_big(&mut self, error: TooBig) {
        let ends = |(ip, port): (Ipv4Addr, u16)| (ip.octets(), port);
        let is_its = error.from == ends(self.ends.0) && error.to == ends(self.ends.1);
        if !is_its || error.seq.wrapping_sub(self.style.isn) as usize > self.sent + 1 {
            self.dialogue.wrong.push(format!("{error:?}, but {} is next", self.number(self.sent)));
        }
        self.path_max = self.path_max.min(error.mtu);
    }

    /// A segment of a connection that this host knows nothing of.
    fn refuse(&mut self, frame: &[u8]) {
        let Some(at) = parts(frame).filter(|at| at.flags & (RST | ACK) == ACK) else { return };
        let address = |from: usize| [frame[from], frame[from + 1], frame[from + 2], frame[from + 3]];
        let mut refusal = Vec::new();
        PacketBuilder::ethernet2(self.mac.0, frame[6..12].try_into().expect("six bytes"))
            .ipv4(address(30), address(26), 64)
            .tcp(be16(frame, at.tcp + 2), be16(frame, at.tcp), be32(frame, at.tcp + 8), 0)
            .rst()
            .write(&mut refusal, &[])
            .expect("a Vec takes every frame");
        self.outbox.push(refusal);
    }

    fn answer_arp(&mut self, question: &[u8]) {
        let mut answer = question.to_vec();
        answer[..6].copy_from_slice(&question[6..12]);
        answer[6..12].copy_from_slice(&self.mac.0);
        answer[21] = 2;
        answer[22..28].copy_from_slice(&self.mac.0);
        answer[28..32].copy_from_slice(&question[38..42]);
        answer[32..42].copy_from_slice(&question[22..32]);
        self.outbox.push(answer);
    }

    fn hear_opening(&mut self, frame: &[u8], flags: u8, seq: u32, ack: u32, now: Time) {
        if ack != self.number(0) || flags & ACK == 0 {
            return;
        }
        if flags & RST != 0 {
            self.dialogue.read(now, true, true);
            return self.leave();
        }
        if flags & SYN == 0 {
            return;
        }
        let at = parts(frame).expect("TCP, as before");
        let options = read_options(&frame[at.tcp + 20..at.payload]);
        self.next = seq.wrapping_add(1);
        self.uses_timestamps = self.style.timestamps && options.clock.is_some();
        self.their_clock = options.clock.map_or(0, |clock| clock.0);
        self.uses_sack = self.style.sack && options.sack;
        self.their_scale = match (self.style.scale, options.scale) {
            (Some(_), Some(scale)) => scale,
            _ => 0,
        };
        self.their_window = usize::from(be16(frame, at.tcp + 14));
        self.state = Some(State::Open);
        (self.resends, self.resend_at) = (0, None);
        if !self.style.eager {
            self.segment(ACK, self.number(0), &[], now);
        }
    }

    fn hear_open(&mut self, frame: &[u8], now: Time) {
        let at = parts(frame).expect("TCP, as before");
        let (seq, payload) = (be32(frame, at.tcp + 4), &frame[at.payload..at.end]);
        if at.flags & RST != 0 {
            if seq == self.next {
                self.dialogue.read(now, true, true);
                self.leave();
            } else if seq.wrapping_sub(self.next) < u32::from(self.style.window) {
                // Meant, perhaps: whoever means it says so exactly (RFC 5961, section 3.2).
                self.acknowledge(now);
            }
            return;
        }
        if self.uses_timestamps {
            let Some((clock, _)) = read_options(&frame[at.tcp + 20..at.payload]).clock else { return };
            if (clock.wrapping_sub(self.their_clock) as i32) < 0 {
                return self.acknowledge(now);
            }
            if seq.wrapping_sub(self.next) as i32 <= 0 {
                self.their_clock = clock;
            }
        }
        if at.flags & SYN != 0 {
            return self.acknowledge(now);
        }
        self.hear_ack(be32(frame, at.tcp + 8), be16(frame, at.tcp + 14), now);
        if !payload.is_empty() || at.flags & FIN != 0 {
            self.take(seq, payload, at.flags & FIN != 0);
            self.dialogue.read(now, self.their_fin, false);
            self.acknowledge(now);
            self.react(now);
        }
        self.end_if_all_is_said();
    }

    fn hear_ack(&mut self, ack: u32, window: u16, now: Time) {
        let acked = ack.wrapping_sub(self.number(0)) as usize;
        let most = self.sent + usize::from(self.fin);
        if acked > most {
            if acked < 1 << 31 {
                self.dialogue.wrong.push(format!("{acked} acknowledged, {most} sent"));
            }
            return;
        }
        if acked > self.acked {
            (self.acked, self.resends, self.resend_at) = (acked, 0, Some(now + RESEND));
        }
        if acked == self.acked {
            self.their_window = usize::from(window) << self.their_scale;
        }
        if self.acked == self.stream.len() + usize::from(self.fin) {
            self.resend_at = None;
        }
    }

    fn take(&mut self, seq: u32, payload: &[u8], fin: bool) {
        let ahead = seq.wrapping_sub(self.next) as i32;
        if !(-(1 << 20)..1 << 20).contains(&ahead) {
            self.dialogue.wrong.push(format!("a segment at {seq}, {} expected", self.next));
            return;
        }
        let end = seq.wrapping_add(payload.len() as u32);
        if fin {
            self.fin_at = Some(end);
        }
        let is_new = end.wrapping_sub(self.next) as i32 > 0;
        if is_new && self.ahead.get(&seq).is_none_or(|known| known.len() < payload.len()) {
            self.ahead.insert(seq, payload.to_vec());
        }
        loop {
            let next = self.next;
            let fits = |from: &u32| (from.wrapping_sub(next) as i32) <= 0;
            let Some(from) = self.ahead.keys().copied().find(fits) else { break };
            let bytes = self.ahead.remove(&from).expect("found");
            let new = bytes.get(next.wrapping_sub(from) as usize..).unwrap_or_default();
            self.next = next.wrapping_add(new.len() as u32);
            self.dialogue.feed(new);
        }
        if self.fin_at == Some(self.next) && !self.their_fin {
            self.their_fin = true;
            self.next = self.next.wrapping_add(1);
        }
    }

    /// What follows from what was read.
    fn react(&mut self, now: Time) {
        match self.dialogue.fate {
            Fate::Done if self.dialogue.errand.ending == Ending::Vanishes => self.leave(),
            Fate::Done => self.wants_fin = true,
            Fate::Broken => self.reset(now),
            Fate::Waiting | Fate::Talking => {}
        }
    }

    fn end_if_all_is_said(&mut self) {
        if self.fin && self.acked > self.stream.len() && self.their_fin {
            self.leave();
            self.state = Some(State::TimeWait);
        }
    }
}

//! Segments of content connections as tests say them: with payload, options and windows.

use acm_switch::base::addr::Mac;
use acm_switch::base::id::PortId;
use acm_switch::plane::Verdict;
use acm_switch::wire::frame::Egress;
use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TcpOptionElement, TransportSlice};

use crate::rig::*;

pub const VIP80: &str = "10.0.0.100:80";
pub const C: &str = "10.0.0.1:40000";

/// A segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seg {
    pub from: String,
    pub to: String,
    pub flags: String,
    pub seq: u32,
    pub ack: u32,
    pub window: u16,
    pub mss: Option<u16>,
    pub scale: Option<u8>,
    pub sack_permitted: bool,
    pub clocks: Option<(u32, u32)>,
    pub sack: Vec<(u32, u32)>,
    pub data: Vec<u8>,
}

pub fn seg(from: &str, to: &str, flags: &str, seq: u32, ack: u32, data: &str) -> Seg {
    Seg {
        from: from.into(),
        to: to.into(),
        flags: flags.into(),
        seq,
        ack,
        window: 1000,
        mss: None,
        scale: None,
        sack_permitted: false,
        clocks: None,
        sack: vec![],
        data: data.as_bytes().to_vec(),
    }
}

impl Seg {
    pub fn build(&self, src: Mac, dst: Mac) -> Vec<u8> {
        let (from, to) = (at(&self.from), at(&self.to));
        let mut options = vec![];
        options.extend(self.mss.map(TcpOptionElement::MaximumSegmentSize));
        options.extend(self.scale.map(TcpOptionElement::WindowScale));
        options.extend(self.sack_permitted.then_some(TcpOptionElement::SelectiveAcknowledgementPermitted));
        options.extend(self.clocks.map(|(value, echo)| TcpOptionElement::Timestamp(value, echo)));
        if let [first, rest @ ..] = &self.sack[..] {
            let mut more = [None; 3];
            more.iter_mut().zip(rest).for_each(|(slot, block)| *slot = Some(*block));
            options.push(TcpOptionElement::SelectiveAcknowledgement(*first, more));
        }
        let mut builder = PacketBuilder::ethernet2(src.0, dst.0)
            .ipv4(from.ip().octets(), to.ip().octets(), 64)
            .tcp(from.port(), to.port(), self.seq, self.window)
            .options(&options)
            .unwrap();
        for flag in self.flags.chars() {
            builder = match flag {
                'S' => builder.syn(),
                'A' => builder.ack(self.ack),
                'F' => builder.fin(),
                'R' => builder.rst(),
                'P' => builder.psh(),
                other => panic!("no flag {other}"),
            };
        }
        let mut frame = Vec::new();
        builder.write(&mut frame, &self.data).unwrap();
        frame
    }

    /// What a frame says; its checksums must be right.
    pub fn read(frame: &[u8]) -> Seg {
        let packet = SlicedPacket::from_ethernet(frame).unwrap();
        let Some(NetSlice::Ipv4(ip)) = &packet.net else { panic!("IPv4") };
        let Some(TransportSlice::Tcp(tcp)) = &packet.transport else { panic!("TCP") };
        let header = ip.header().to_header();
        assert_eq!(ip.header().header_checksum(), header.calc_header_checksum(), "IP checksum");
        let sum = tcp.calc_checksum_ipv4(ip.header().source(), ip.header().destination()).unwrap();
        assert_eq!(tcp.checksum(), sum, "TCP checksum");
        let set = [('S', tcp.syn()), ('F', tcp.fin()), ('R', tcp.rst()), ('P', tcp.psh()), ('A', tcp.ack())];
        let mut seg = Seg {
            from: format!("{}:{}", ip.header().source_addr(), tcp.source_port()),
            to: format!("{}:{}", ip.header().destination_addr(), tcp.destination_port()),
            flags: set.iter().filter(|(_, is_set)| *is_set).map(|(flag, _)| *flag).collect(),
            seq: tcp.sequence_number(),
            ack: tcp.acknowledgment_number(),
            window: tcp.window_size(),
            mss: None,
            scale: None,
            sack_permitted: false,
            clocks: None,
            sack: vec![],
            data: tcp.payload().to_vec(),
        };
        for option in tcp.options_iterator() {
            match option.unwrap() {
                TcpOptionElement::MaximumSegmentSize(mss) => seg.mss = Some(mss),
                TcpOptionElement::WindowScale(scale) => seg.scale = Some(scale),
                TcpOptionElement::SelectiveAcknowledgementPermitted => seg.sack_permitted = true,
                TcpOptionElement::Timestamp(value, echo) => seg.clocks = Some((value, echo)),
                TcpOptionElement::SelectiveAcknowledgement(first, more) => {
                    seg.sack = std::iter::once(first).chain(more.into_iter().flatten()).collect();
                }
                TcpOptionElement::Noop => {}
            }
        }
        seg
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.data).unwrap()
    }
}

impl Rig {
    /// A content service 10.0.0.100:80 with this many servers, 10.0.0.11:8080 and so on, behind ports 1, 2, ...
    pub fn content(servers: u8) -> Rig {
        Rig::new().serving_content(servers)
    }

    pub fn serving_content(self, servers: u8) -> Rig {
        let mut rig = self.serving_web(servers);
        rig.service(VIP80, |service| service.content = acm_switch::acm::rules::Content::Http);
        // Until all is announced.
        rig.pass(std::time::Duration::from_secs(2));
        rig.settle();
        rig
    }

    pub fn c(&mut self, seg: Seg) -> Verdict {
        self.hear(0, &seg.build(CLIENT, SWITCH))
    }

    pub fn s(&mut self, n: u8, seg: Seg) -> Verdict {
        self.hear(u16::from(n), &seg.build(server_mac(n), CLIENT))
    }

    /// Everything sent since, by port.
    pub fn heard(&mut self) -> Vec<(u16, Seg)> {
        let sent = std::mem::take(&mut self.sent);
        let port = |egress| match egress {
            Egress::Port(PortId(port)) => port,
            other => panic!("{other:?}"),
        };
        sent.iter().map(|sent| (port(sent.egress), Seg::read(&sent.bytes))).collect()
    }

    /// Exactly one segment was sent, by this port.
    pub fn heard_one(&mut self, port: u16) -> Seg {
        let mut heard = self.heard();
        assert_eq!(heard.len(), 1, "{heard:#?}");
        let (by, seg) = heard.remove(0);
        assert_eq!(by, port, "{seg:?}");
        seg
    }

    /// The handshake of a client with number 100; returns the switch's number behind its SYN.
    pub fn shake(&mut self, syn: Seg) -> Seg {
        assert_eq!(self.c(syn), Verdict::Answered);
        let answer = self.heard_one(0);
        assert_eq!(answer.flags, "SA");
        answer
    }
}

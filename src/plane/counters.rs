//! What happened, counted: every verdict and every reason has a name.

use crate::content::refusal::Refusal;

/// Declares the counters once: their variants, their names, their meaning.
macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A counter of the plane.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Counter { $($(#[$doc])* $variant,)* }

        impl Counter {
            /// Every counter.
            pub const ALL: &'static [Counter] = &[$(Counter::$variant,)*];

            /// Its dotted name.
            pub fn name(self) -> &'static str {
                match self { $(Counter::$variant => $name,)* }
            }
        }
    };
}

counters! {
    /// Frames of a virtual service, rewritten and sent on.
    Forwarded = "verdict.forwarded",
    /// Frames that are not ours, sent on as they are.
    Bridged = "verdict.bridged",
    /// Frames answered here: ARP and echo for our addresses, resets of cut connections.
    Answered = "verdict.answered",
    /// Frames for the switch's own address, handed to the health checks.
    Delivered = "verdict.delivered",
    /// Segments of content connections that were taken in; what comes of them goes out as frames of our own.
    Held = "verdict.held",
    /// Frames that went nowhere; the reasons below add up to this.
    Dropped = "verdict.dropped",
    /// The bytes end before a header does.
    Truncated = "drop.truncated",
    /// The source MAC is a group address or zero.
    SourceMac = "drop.source_mac",
    /// The IP version does not match the EtherType.
    IpVersion = "drop.ip_version",
    /// Impossible IP header length.
    IpHeaderLength = "drop.ip_header_length",
    /// The IP length is larger than the frame or smaller than its header.
    IpTotalLength = "drop.ip_total_length",
    /// IPv6 extension headers run past the end or are too many.
    Ipv6Extension = "drop.ipv6_extension",
    /// The TCP header is impossible or cut off.
    TcpHeaderLength = "drop.tcp_header_length",
    /// The UDP header is impossible or cut off.
    UdpLength = "drop.udp_length",
    /// The ICMP header is cut off.
    IcmpLength = "drop.icmp_length",
    /// Not ARP for IPv4 over Ethernet, or cut off.
    ArpFormat = "drop.arp_format",
    /// The IPv4 header checksum of a packet for us, or of one that ends a flow, is wrong.
    IpChecksum = "drop.ip_checksum",
    /// The TCP, UDP or ICMP checksum of a packet that we would have answered, or that opens or ends a flow, is wrong.
    L4Checksum = "drop.l4_checksum",
    /// Our own MAC as the source: a loop, or somebody pretends to be us.
    OwnMacSource = "drop.own_mac_source",
    /// To our MAC, but not to any address of ours.
    NotOurs = "drop.not_ours",
    /// The bridge knows that the destination is where the frame came from.
    SamePort = "drop.same_port",
    /// ARP that claims one of our addresses for another MAC.
    ArpSpoof = "drop.arp_spoof",
    /// For the switch's own address, from a host that is no real server: nobody asked it anything.
    Unasked = "drop.unasked",
    /// A connection to a virtual address from an address or port that no client can have: one of our own, a group's,
    /// loopback, port 0 of TCP.
    SourceAddress = "drop.source_address",
    /// A fragment for a virtual address, or of a flow.
    Fragment = "drop.fragment",
    /// For a virtual address, but neither TCP, UDP nor echo.
    Protocol = "drop.protocol",
    /// An ICMP error for a virtual address or about a flow that is of no use to whom it is for: about no packet under way
    /// now, or a redirect or the like.
    IcmpError = "drop.icmp_error",
    /// For a virtual address, but no service has this port.
    NoService = "drop.no_service",
    /// Not a SYN, and no connection is known.
    NoFlow = "drop.no_flow",
    /// Refused by a Drop policy.
    Policy = "drop.policy",
    /// No real takes new connections.
    NoReal = "drop.no_real",
    /// Every real that takes new connections is on the client's own segment, or is the client.
    SameSegment = "drop.same_segment",
    /// Every real that takes new connections is at its connection limit.
    MaxConns = "drop.max_conns",
    /// It is not known behind which port the real is.
    RealPortUnknown = "drop.real_port_unknown",
    /// The client's address and port are in use towards every real that would do.
    TupleCollision = "drop.tuple_collision",
    /// The flow table is full of established connections.
    FlowTableFull = "drop.flow_table_full",
    /// A connection of a binding that was removed by force, before its own reset was sent.
    BeingCut = "drop.being_cut",
    /// A SYN of a connection that is over, come late.
    OldSyn = "drop.old_syn",
    /// A server's refusal of a SYN that only came to it because its flow was stale: the client tries again, and another
    /// real is chosen.
    StaleReset = "drop.stale_reset",
    /// An acknowledgement to a content service that carries no good cookie.
    Cookie = "drop.cookie",
    /// As many content connections as fit are there, and none is over.
    ContentFull = "drop.content_full",
    /// Requests hold as much memory as they may.
    ContentHeldFull = "drop.content_held_full",
    /// A segment that says something else than an earlier one about the same bytes of a request.
    ContentOverlap = "drop.content_overlap",
    /// A segment too far from what its content connection expects.
    ContentImplausible = "drop.content_implausible",
    /// A server's segment behind a gap, where every byte must be read.
    ContentGap = "drop.content_gap",
    /// Connections that their server did not know any more when the client began anew on the same ends.
    FlowStale = "flow.stale",
    /// Handshakes that got no answer, and datagrams, whose real had failed: given to another.
    FlowMoved = "flow.moved",
    /// SYNs of content services answered with a cookie.
    CookieSent = "content.cookie_sent",
    /// Content connections made: a good cookie came back.
    ContentAccepted = "content.accepted",
    /// Those over that made room for new ones.
    ContentEvicted = "content.evicted",
    /// Heads read to their end.
    ContentRequest = "content.requests",
    /// Clients that do not speak HTTP/1.
    ContentStranger = "content.strangers",
    /// Server connections opened.
    ContentSpliced = "content.spliced",
    /// Requests for which another server connection had to be opened.
    ContentRebound = "content.rebound",
    /// Requests for which a server connection that had been set aside was taken again.
    ContentReused = "content.reused",
    /// Segments that came while an earlier request was in progress, and waited.
    ContentPipelined = "content.pipelined",
    /// Servers that were set aside and spoke, or left: let go.
    ContentUnparked = "content.unparked",
    /// Servers that refused a connection.
    ContentRefusedBy = "content.server_refused",
    /// Servers that did not answer a SYN.
    ContentUnanswered = "content.server_silent",
    /// Servers that remembered another connection on the same ends.
    ContentHalfOpen = "content.server_half_open",
    /// Requests for which there was no server.
    ContentNoServer = "content.no_server",
    /// Responses whose end could not be told: the connection stays with its server.
    ContentLost = "content.lost",
    /// Requests refused; `content.refused.*` says why.
    ContentRefused = "content.refused",
    /// Requests dropped by a rule.
    ContentDropped = "content.dropped",
    /// Requests reset by a rule.
    ContentReset = "content.reset",
    /// Requests redirected by a rule.
    ContentRedirected = "content.redirected",
    /// Requests that a persistence cookie led to a server.
    ContentCookieLed = "content.cookie_led",
    /// Persistence cookies put into responses.
    ContentCookieSet = "content.cookie_set",
    /// Cookies of servers learnt, or learnt again.
    ContentCookieLearnt = "content.cookie_learnt",
    /// Answers given by the switch itself.
    ContentAnswered = "content.answered",
    /// Connections whose client asked nothing in time.
    ContentUnused = "content.unused",
    /// Connections reset because two segments of theirs contradict each other.
    ContentConflict = "content.conflict",
    /// SYNs on the ends of a connection, questioned.
    ContentChallenged = "content.challenged",
    /// Bare acknowledgements sent to clients for what is held here.
    ContentAck = "content.acknowledged",
    /// Times that something of the switch's own was sent again.
    ContentResent = "content.resent",
    /// Times that segments of the switch's own became smaller, because a router said that they were too big.
    ContentSmaller = "content.made_smaller",
    /// Connections given up because nobody acknowledged.
    ContentGivenUp = "content.given_up",
    /// Flows made.
    FlowInserted = "flow.inserted",
    /// Flows ended by age.
    FlowExpired = "flow.expired",
    /// Embryonic flows evicted for new ones.
    FlowEvicted = "flow.evicted",
    /// Flows ended because their tuple was used anew.
    FlowReused = "flow.reused",
    /// Connections reset by both sides' exact RST or the like.
    FlowReset = "flow.reset",
    /// RSTs that were not exact: forwarded, not believed.
    InexactRst = "flow.inexact_rst",
    /// Segments too far from what their connection expects: forwarded, not believed.
    Implausible = "flow.implausible",
    /// Flows cut by force.
    FlowCut = "flow.cut",
    /// ICMP errors about packets of flows, translated and passed on.
    IcmpTranslated = "icmp.translated",
    /// ARP requests answered.
    ArpAnswered = "arp.answered",
    /// Gratuitous ARP sent.
    ArpAnnounced = "arp.announced",
    /// Echo requests answered.
    EchoAnswered = "echo.answered",
    /// Resets and unreachables sent.
    ResetSent = "reset.sent",
    /// MAC addresses learnt or moved.
    MacLearnt = "bridge.learnt",
    /// MAC addresses not learnt because the table is full.
    MacTableFull = "bridge.table_full",
    /// Frames the switch itself sent (health checks).
    Originated = "originated",
    /// Frames of our own that found no room.
    OutFull = "out.full",
    /// Frames for the health checks that found no room.
    Undelivered = "delivered.lost",
}

/// The counters of one plane.
#[derive(Debug, Clone)]
pub struct Counters {
    counts: [u64; Counter::ALL.len()],
    refusals: [u64; Refusal::ALL.len()],
}

impl Default for Counters {
    fn default() -> Counters {
        Counters { counts: [0; Counter::ALL.len()], refusals: [0; Refusal::ALL.len()] }
    }
}

impl Counters {
    /// One more.
    #[inline]
    pub fn add(&mut self, counter: Counter) {
        self.counts[counter as usize] += 1;
    }

    /// One more request refused for this reason.
    pub fn add_refusal(&mut self, why: Refusal) {
        self.refusals[why as usize] += 1;
    }

    /// The count.
    pub fn get(&self, counter: Counter) -> u64 {
        self.counts[counter as usize]
    }

    /// Every counter's name and count.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let refusals = Refusal::ALL.iter().zip(self.refusals).map(|(why, count)| (why.counter(), count));
        Counter::ALL.iter().map(|counter| (counter.name(), self.get(*counter))).chain(refusals)
    }
}

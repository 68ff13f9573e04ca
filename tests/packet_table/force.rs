//! Remove and Force Remove.

use std::time::Duration;

use acm_switch::base::id::{BindingId, PortId};
use acm_switch::plane::{Notice, Verdict};
use acm_switch::wire::frame::Egress;

use crate::Row;
use crate::rig::*;

const C: &str = "10.0.0.1:40000";
const V: &str = "10.0.0.100:80";
const R: &str = "10.0.0.11:8080";
const DRAINED: Notice = Notice::Drained { binding: BindingId(1) };

fn cut(rig: &mut Rig) {
    rig.settle();
    rig.unbind(V, R);
    rig.poll();
}

pub const ROWS: &[Row] = &[
    ("an empty binding is drained at once", || {
        let mut rig = Rig::web(1);
        rig.drain(V, R, 1);
        assert_eq!(rig.notices, [DRAINED]);
    }),
    ("a draining binding gets nothing new, keeps what it has, and is drained when that ends", || {
        let mut rig = Rig::web(2);
        rig.established(C);
        rig.drain(V, R, 1);
        for port in 1..=4 {
            rig.client(tcp(&format!("10.0.0.1:{port}"), V, "S", 1, 0, 0));
        }
        assert_eq!((rig.live(1), rig.live(2)), (1, 4));
        rig.client(tcp(C, V, "FA", 101, 501, 0));
        assert!(rig.notices.is_empty());
        rig.server(1, tcp(R, C, "FA", 501, 102, 0));
        assert_eq!(rig.notices, [DRAINED]);
    }),
    ("a SYN forwarded before Remove counts as existing", || {
        let mut rig = Rig::web(1);
        rig.client(tcp(C, V, "S", 100, 0, 0));
        rig.drain(V, R, 1);
        assert!(rig.notices.is_empty());
        rig.settle();
        rig.client(tcp(C, V, "S", 100, 0, 0));
        rig.moved(&["verdict.forwarded"]);
    }),
    ("persistence never overrides Remove", || {
        use acm_switch::acm::words::{Group, Scheduler, default_group};
        let mut rig = Rig::web(2);
        rig.service(V, |service| {
            service.groups.insert(default_group(), Group::scheduled_by(Scheduler::SourceHash));
        });
        rig.client(tcp(C, V, "S", 100, 0, 0));
        let first = if rig.live(1) == 1 { (1, R) } else { (2, "10.0.0.12:8080") };
        rig.drain(V, first.1, first.0);
        for port in 1..=4 {
            rig.client(tcp(&format!("10.0.0.1:{port}"), V, "S", 1, 0, 0));
        }
        assert_eq!(rig.live(u64::from(first.0)), 1);
    }),
    ("a binding added again takes connections again", || {
        use acm_switch::acm::words::AdminState;
        let mut rig = Rig::web(1);
        rig.established(C);
        rig.drain(V, R, 1);
        rig.bind(V, R, 1, |binding| binding.will.admin = AdminState::Up);
        rig.client(tcp("10.0.0.1:5", V, "S", 1, 0, 0));
        assert_eq!(rig.live(1), 2);
        rig.settle();
        rig.client(tcp(C, V, "R", 101, 0, 0));
        assert!(rig.notices.is_empty(), "not draining any more");
    }),
    ("Force Remove resets both sides at exactly the next byte they expect", || {
        let mut rig = Rig::web(1);
        rig.established(C);
        cut(&mut rig);
        assert_eq!(rig.sent.len(), 2);
        let (to_client, to_server) = (rig.sent.remove(0), rig.sent.remove(0));
        assert_eq!((to_client.egress, to_server.egress), (Egress::Port(PortId(0)), Egress::Port(PortId(1))));
        check_tcp(&to_client.bytes, tcp(V, C, "RA", 501, 101, 0), SWITCH, CLIENT);
        check_tcp(&to_server.bytes, tcp(C, R, "RA", 101, 501, 0), CLIENT, server_mac(1));
        assert_eq!(rig.notices, [Notice::Cut { binding: BindingId(1), cut: 1 }]);
        rig.moved(&["flow.cut", "reset.sent", "reset.sent"]);
    }),
    ("with data in flight each side gets a RST at its last ACK and one at the highest byte sent to it", || {
        let mut rig = Rig::web(1);
        rig.established(C);
        rig.server(1, tcp(R, C, "PA", 501, 101, 1000));
        rig.client(tcp(C, V, "PA", 101, 501, 10));
        cut(&mut rig);
        assert_eq!(rig.sent.len(), 4);
        check_tcp(&rig.sent[0].bytes, tcp(V, C, "RA", 501, 111, 0), SWITCH, CLIENT);
        check_tcp(&rig.sent[1].bytes, tcp(V, C, "RA", 1501, 111, 0), SWITCH, CLIENT);
        check_tcp(&rig.sent[2].bytes, tcp(C, R, "RA", 101, 1501, 0), CLIENT, server_mac(1));
        check_tcp(&rig.sent[3].bytes, tcp(C, R, "RA", 111, 1501, 0), CLIENT, server_mac(1));
    }),
    ("a client that waits for its SYN-ACK is reset too", || {
        let mut rig = Rig::web(1);
        rig.client(tcp(C, V, "S", 100, 0, 0));
        cut(&mut rig);
        check_tcp(&rig.sent[0].bytes, tcp(V, C, "RA", 0, 101, 0), SWITCH, CLIENT);
    }),
    ("whoever still sends is reset at his ACK number, for 5 s", || {
        let mut rig = Rig::web(1);
        rig.established(C);
        cut(&mut rig);
        rig.settle();
        assert_eq!(rig.client(tcp(C, V, "PA", 101, 700, 20)), Verdict::Answered);
        rig.one_tcp(0, tcp(V, C, "R", 700, 0, 0), SWITCH, CLIENT);
        rig.server(1, tcp(R, C, "PA", 501, 333, 20));
        rig.one_tcp(1, tcp(C, R, "R", 333, 0, 0), CLIENT, server_mac(1));
        rig.moved(&["verdict.answered", "verdict.answered", "reset.sent", "reset.sent"]);
        rig.client(tcp(C, V, "R", 101, 0, 0));
        rig.nothing_sent();
        rig.moved(&["verdict.dropped", "drop.being_cut"]);
        rig.pass(Duration::from_secs(8));
        assert_eq!(rig.plane.flows(), 0);
    }),
    ("a new SYN on a cut tuple is a new connection", || {
        let mut rig = Rig::web(2);
        rig.established(C);
        cut(&mut rig);
        rig.settle();
        rig.client(tcp(C, V, "S", 9000, 0, 0));
        rig.one_tcp(2, tcp(C, "10.0.0.12:8080", "S", 9000, 0, 0), CLIENT, server_mac(2));
        rig.moved(&["verdict.forwarded", "flow.inserted"]);
    }),
    ("other connections are untouched", || {
        let mut rig = Rig::web(2);
        rig.established(C);
        let other = "10.0.0.1:5";
        rig.client(tcp(other, V, "S", 100, 0, 0));
        rig.server(2, tcp("10.0.0.12:8080", other, "SA", 900, 101, 0));
        cut(&mut rig);
        rig.settle();
        rig.client(tcp(other, V, "PA", 101, 901, 10));
        rig.one_tcp(2, tcp(other, "10.0.0.12:8080", "PA", 101, 901, 10), CLIENT, server_mac(2));
        rig.moved(&["verdict.forwarded"]);
    }),
    ("a thousand connections are cut, all counted", || {
        let mut rig = Rig::with_flows(4096);
        rig.service(V, |_| {});
        rig.bind(V, R, 1, |_| {});
        for port in 0..1000 {
            rig.client(tcp(&format!("10.0.0.1:{}", 10_000 + port), V, "S", 1, 0, 0));
        }
        cut(&mut rig);
        assert_eq!(rig.notices, [Notice::Cut { binding: BindingId(1), cut: 1000 }]);
        assert_eq!(rig.sent.len(), 2000, "one RST to each side");
    }),
    ("a binding without connections is cut at once", || {
        let mut rig = Rig::web(1);
        cut(&mut rig);
        assert_eq!(rig.notices, [Notice::Cut { binding: BindingId(1), cut: 0 }]);
        rig.client(tcp(C, V, "S", 1, 0, 0));
        rig.moved(&["verdict.dropped", "drop.no_real"]);
    }),
    ("what comes before its slice is not forwarded", || {
        let mut rig = Rig::web(1);
        rig.established(C);
        rig.unbind(V, R);
        rig.settle();
        rig.client(tcp(C, V, "PA", 101, 501, 10));
        assert!(rig.sent.iter().all(|sent| sent.bytes[47] & 4 == 4), "resets only");
        rig.moved(&["verdict.dropped", "drop.being_cut", "flow.cut", "reset.sent", "reset.sent", "reset.sent"]);
    }),
];

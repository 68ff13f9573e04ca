//! The ways through the middle: ours, the peers, and two that balance nothing.

use std::process::ExitCode;
use std::time::Duration;

use acm_switch::base::id::PortId;
use acm_switch::base::time::Time;
use acm_switch::port::Port;
use acm_switch::port::af_packet::AfPacket;
use acm_switch::port::wait::Waiter;
use acm_switch::wire::frame::{Batch, FrameBuf};

use crate::content::{self, Setup};
use crate::rig::{Rig, Running, sh};

/// Set in the environment of the copy of this program that is the reference forwarder.
pub const FORWARDER_ROLE: &str = "ACM_PEERS_FORWARDER";

/// The virtual service.
pub const VIP: &str = "10.0.0.100:80";
const REAL: &str = "10.0.0.11:8080";

/// A way through the middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The ACM switch.
    Acm,
    /// A plain `recvmmsg`/`sendmmsg` forwarder with offloads that does no balancing.
    Forwarder,
    /// HAProxy in TCP mode, two threads.
    Haproxy,
    /// nftables DNAT in the kernel.
    Nftables,
    /// Kernel routing, no balancer.
    Routing,
    /// The ACM switch by URL hash, each request.
    AcmContent,
    /// The same, the first request of a connection only.
    AcmFirst,
    /// Each request, behind a thousand rules that do not match.
    AcmRules,
    /// HAProxy in HTTP mode, `balance uri`, two threads.
    HaproxyHttp,
    /// nginx, `hash $request_uri consistent`, two workers.
    Nginx,
}

impl Way {
    /// In the order of the table.
    pub const ALL: [Way; 5] = [Way::Acm, Way::Forwarder, Way::Haproxy, Way::Nftables, Way::Routing];

    /// Those that choose by the request.
    pub const CONTENT: [Way; 5] = [Way::AcmContent, Way::AcmFirst, Way::AcmRules, Way::HaproxyHttp, Way::Nginx];

    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Way::Acm => "acm",
            Way::Forwarder => "forwarder",
            Way::Haproxy => "haproxy",
            Way::Nftables => "nftables",
            Way::Routing => "routing",
            Way::AcmContent => "acm-content",
            Way::AcmFirst => "acm-first",
            Way::AcmRules => "acm-rules",
            Way::HaproxyHttp => "haproxy-http",
            Way::Nginx => "nginx",
        }
    }

    /// Where the client goes.
    pub fn target(self) -> &'static str {
        match self {
            Way::Forwarder | Way::Routing => REAL,
            _ => VIP,
        }
    }

    /// Puts it into the middle; it leaves with the handles, except for kernel settings, which the rig resets.
    pub fn start(self, rig: &Rig) -> Result<Vec<Running>, String> {
        match self {
            Way::Acm => start_acm(rig),
            Way::Forwarder => start_forwarder(rig),
            Way::Haproxy => start_haproxy(rig),
            Way::Nftables => start_nftables(rig).map(|()| Vec::new()),
            Way::Routing => route(rig).map(|()| Vec::new()),
            Way::AcmContent => content::start_acm(rig, Setup { switching: "per-request", rules: 0 }),
            Way::AcmFirst => content::start_acm(rig, Setup { switching: "first-request", rules: 0 }),
            Way::AcmRules => content::start_acm(rig, Setup { switching: "per-request", rules: 1000 }),
            Way::HaproxyHttp => content::start_haproxy(rig),
            Way::Nginx => content::start_nginx(rig),
        }
    }
}

/// Starts our switch and waits until it answers.
pub fn start_switch(rig: &Rig, socket: &str) -> Result<Running, String> {
    let acm = env!("CARGO_BIN_EXE_acm");
    let switch = [acm, "switch", "--port", "client", "--port", "server", "--address", "10.0.0.2/24", "--api", socket];
    let running = rig.start(&rig.middle, &switch, &[])?;
    let mut last = String::new();
    for _ in 0..50 {
        match sh(&format!("{acm} list --switch {socket}")) {
            Ok(_) => return Ok(running),
            Err(why) => last = why,
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Err(last)
}

fn start_acm(rig: &Rig) -> Result<Vec<Running>, String> {
    let acm = env!("CARGO_BIN_EXE_acm");
    let socket = format!("unix:{}/acm.sock", rig.dir.display());
    let running = start_switch(rig, &socket)?;
    sh(&format!("{acm} add --switch {socket} {VIP} {REAL} --wait 5s"))?;
    Ok(vec![running])
}

fn start_forwarder(rig: &Rig) -> Result<Vec<Running>, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    Ok(vec![rig.start(&rig.middle, &[&own.to_string_lossy()], &[(FORWARDER_ROLE, "1")])?])
}

/// Routes between the two neighbours, answering ARP for each on the other's side, so that they keep their addresses.
pub fn route(rig: &Rig) -> Result<(), String> {
    rig.run(
        &rig.middle,
        "ip addr add 10.0.0.2/32 dev client && ip route add 10.0.0.1/32 dev client src 10.0.0.2 && \
         ip route add 10.0.0.11/32 dev server src 10.0.0.2 && \
         sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.client.proxy_arp=1 net.ipv4.conf.server.proxy_arp=1",
    )
    .map(|_| ())
}

fn start_nftables(rig: &Rig) -> Result<(), String> {
    route(rig)?;
    let rules = "table ip balance { chain prerouting { type nat hook prerouting priority dstnat; \
                 ip daddr 10.0.0.100 tcp dport 80 dnat to 10.0.0.11:8080; }; }";
    rig.run(&rig.middle, &format!("ip addr add 10.0.0.100/32 dev lo && nft \"{rules}\"")).map(|_| ())
}

fn start_haproxy(rig: &Rig) -> Result<Vec<Running>, String> {
    route(rig)?;
    rig.run(&rig.middle, "ip addr add 10.0.0.100/32 dev lo")?;
    let config = format!(
        "global\n  nbthread 2\n  maxconn 4000\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
         listen web\n  bind {VIP}\n  server s1 {REAL}\n"
    );
    let file = rig.dir.join("haproxy.cfg");
    std::fs::write(&file, config).map_err(|error| error.to_string())?;
    Ok(vec![rig.start(&rig.middle, &["haproxy", "-db", "-q", "-f", &file.to_string_lossy()], &[])?])
}

/// The reference forwarder: whatever comes in on one port leaves on the other.
pub fn run_forwarder() -> ExitCode {
    match forward() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("forwarder: {why}");
            ExitCode::FAILURE
        }
    }
}

fn forward() -> Result<(), String> {
    let open = |name: &str| AfPacket::open(name, Default::default()).map_err(|error| error.to_string());
    let mut ports = [open("client")?, open("server")?];
    let mut waiter = Waiter::new(ports.iter().map(|port| port.readable())).map_err(|error| error.to_string())?;
    let mut batch = Batch::new(64, FrameBuf::LARGEST);
    let all: Vec<u16> = (0..64).collect();
    loop {
        let mut received = 0;
        for index in 0..2 {
            batch.clear();
            let count = ports[index].recv(&mut batch, Time::ZERO).map_err(|error| error.to_string())?;
            for frame in batch.frames_mut() {
                frame.ingress = PortId(index as u16);
            }
            if count > 0 {
                ports[1 - index].send(&mut batch, &all[..count], Time::ZERO).map_err(|error| error.to_string())?;
            }
            received += count;
        }
        if received == 0 {
            waiter.wait(None);
        }
    }
}

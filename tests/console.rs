//! The ServerIron's command line on a switch: what is configured there is what List shows, and the other way round.
//!
//! The switch is the model, whose connections can be opened and closed at will; the device is driven line by line.

#![allow(missing_docs, clippy::disallowed_methods)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use acm_switch::acm::list::{Filter, State};
use acm_switch::acm::model::{FlowId, ModelSwitch, Opened};
use acm_switch::acm::primitive::{Add, Caller, DropNew, Primitive, Remove, SetService};
use acm_switch::acm::switch::{AcmSwitch, perform};
use acm_switch::acm::words::{DropMode, Refusal, Scheduler, ServiceKey};
use acm_switch::base::fraction::Fraction;
use acm_switch::base::span::Span;
use acm_switch::console::AcmBox;
use switch_sim::chassis::{Chassis, Settings};
use switch_sim::personality::Personality;
use switch_sim::shell::{Origin, Reply, SessionId, Shell, Transport};
use switch_sim::time::Time;

const V: &str = "10.0.0.100:80";

fn service(text: &str) -> ServiceKey {
    text.parse().unwrap()
}

/// A person at the device's terminal, and the switch behind it.
struct Desk {
    model: ModelSwitch,
    chassis: Chassis,
    session: SessionId,
    started: Instant,
    clients: u16,
}

impl Desk {
    fn new() -> Desk {
        let model = ModelSwitch::default();
        let balancer = AcmBox::new(Arc::new(model.clone()), tokio::runtime::Handle::current());
        let mut chassis = Chassis::new(Settings::new(Personality::Acm), Box::new(balancer));
        let origin = Origin { transport: Transport::Telnet, peer: None };
        let session = chassis.connect(origin, Time::ZERO).unwrap();
        Desk { model, chassis, session, started: Instant::now(), clients: 1000 }
    }

    async fn at_config() -> Desk {
        let mut desk = Desk::new();
        desk.quiet("enable").await;
        desk.says("configure terminal", &[]).await;
        desk
    }

    fn now(&self) -> Time {
        Time::after(self.started.elapsed())
    }

    async fn line(&mut self, text: &str) -> Vec<String> {
        let now = self.now();
        let mut reply = self.chassis.submit(self.session, text, now);
        for _ in 0..5_000 {
            match reply {
                Reply::Done(text) => return text,
                Reply::Close(text) => panic!("closed: {text:?}"),
                Reply::Ask { question, .. } => panic!("asked: {question}"),
                Reply::Pending => {}
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
            let now = self.now();
            reply = self.chassis.poll(self.session, now).unwrap_or(Reply::Pending);
        }
        panic!("no answer to `{text}`");
    }

    async fn says(&mut self, line: &str, expected: &[&str]) {
        assert_eq!(self.line(line).await, expected, "{line}");
    }

    /// A line whose answer does not matter.
    async fn quiet(&mut self, line: &str) {
        self.line(line).await;
    }

    /// Lines that all succeed in silence.
    async fn configure(&mut self, lines: &[&str]) {
        for line in lines {
            self.says(line, &[]).await;
        }
    }

    /// One service with two servers.
    async fn web() -> Desk {
        let mut desk = Desk::at_config().await;
        desk.configure(&[
            "server real rs1 10.0.0.11",
            "port 8080",
            "server real rs2 10.0.0.12",
            "port 8080",
            "server virtual v1 10.0.0.100",
            "port http",
            "bind http rs1 8080 rs2 8080",
        ])
        .await;
        desk
    }

    async fn config(&mut self) -> String {
        self.line("show running-config").await.join("\n")
    }

    /// `10.0.0.11:8080 active` and so on.
    async fn rows(&self) -> Vec<String> {
        let listing = self.model.list(&Filter::default()).await.unwrap();
        listing.bindings.iter().map(|row| format!("{} {}", row.key.real, row.state)).collect()
    }

    async fn perform(&self, primitive: Primitive) {
        perform(&self.model, &Caller::default(), primitive).await.unwrap();
    }

    fn open(&mut self) -> FlowId {
        self.clients += 1;
        match self.model.open(([10, 1, 0, 1], self.clients).into(), service(V)) {
            Opened::To(flow, _) => flow,
            other => panic!("{other:?}"),
        }
    }

    /// Nobody types; the terminal still listens.
    async fn idle(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            let now = self.now();
            self.chassis.poll(self.session, now);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Asks for the configuration until it is as it should be.
    async fn comes_to(&mut self, what: impl Fn(&str) -> bool) -> String {
        for _ in 0..200 {
            let config = self.config().await;
            if what(&config) {
                return config;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it stays\n{}", self.config().await);
    }
}

#[tokio::test]
async fn what_is_configured_is_what_is_listed() {
    let mut desk = Desk::web().await;
    assert_eq!(desk.rows().await, ["10.0.0.11:8080 active", "10.0.0.12:8080 active"]);
    desk.says("no bind http rs1 8080", &[]).await;
    assert_eq!(desk.rows().await, ["10.0.0.12:8080 active"]);
    let listing = desk.model.list(&Filter::default()).await.unwrap();
    assert_eq!(listing.services[0].groups[0].scheduler, Scheduler::LeastConn, "the device's default");
    desk.says("predictor round-robin", &[]).await;
    let listing = desk.model.list(&Filter::default()).await.unwrap();
    assert_eq!(listing.services[0].groups[0].scheduler, Scheduler::RoundRobin);
}

#[tokio::test]
async fn disable_is_graceful_and_can_be_taken_back() {
    let mut desk = Desk::web().await;
    let (a, b) = (desk.open(), desk.open());
    desk.configure(&["server real rs1", "port 8080 disable"]).await;
    assert_eq!(desk.rows().await, ["10.0.0.11:8080 draining", "10.0.0.12:8080 active"]);
    assert!(desk.model.exchange(a) && desk.model.exchange(b), "existing connections go on");
    assert!(desk.config().await.contains("port 8080 disable"));
    desk.says("no port 8080 disable", &[]).await;
    assert_eq!(desk.rows().await, ["10.0.0.11:8080 active", "10.0.0.12:8080 active"]);
    desk.says("disable", &[]).await;
    desk.model.close(a);
    desk.model.close(b);
    desk.comes_to(|config| config.contains("bind http rs1 8080 rs2 8080")).await;
    assert_eq!(desk.rows().await, ["10.0.0.12:8080 active"], "drained; the bind stays configured");
}

#[tokio::test]
async fn weights_and_limits_reach_the_bindings() {
    let mut desk = Desk::web().await;
    desk.configure(&["server real rs1", "weight 5", "max-conn 100"]).await;
    let listing = desk.model.list(&Filter::default()).await.unwrap();
    assert_eq!((listing.bindings[0].weight, listing.bindings[0].max_conns), (5, Some(100)));
    assert_eq!((listing.bindings[1].weight, listing.bindings[1].max_conns), (1, None));
    let refused = desk.line("weight 2000").await;
    assert!(!refused.is_empty(), "more than the switch takes");
    assert!(desk.config().await.contains("weight 5"), "and nothing changed");
}

#[tokio::test]
async fn what_others_do_appears() {
    let mut desk = Desk::web().await;
    let add = |service_text: &str, real: &str| Add::new(service(service_text), real.parse().unwrap());
    desk.perform(Primitive::Add(add(V, "10.0.0.13:9090"))).await;
    desk.perform(Primitive::Add(add("10.0.0.101:53/udp", "10.0.0.13:5353"))).await;
    let config = desk.config().await;
    for line in [
        "server real rs-10.0.0.13 10.0.0.13",
        "bind http rs1 8080 rs2 8080 rs-10.0.0.13 9090",
        "server port 53",
        "bind dns rs-10.0.0.13 5353",
    ] {
        assert!(config.contains(line), "{line} in\n{config}");
    }
    let remove = Remove { service: service(V), real: "10.0.0.11:8080".parse().unwrap(), deadline: None };
    desk.perform(Primitive::Remove(remove)).await;
    let config = desk.config().await;
    assert!(config.contains("bind http rs2 8080 rs-10.0.0.13 9090"), "{config}");
    assert!(config.contains("server real rs1 10.0.0.11"), "the server itself stays: {config}");
    // And the command line can take away what others have put there, without having looked before.
    desk.perform(Primitive::Add(add(V, "10.0.0.14:80"))).await;
    desk.idle(Duration::from_millis(300)).await;
    desk.configure(&["server virtual v1", "no bind http rs-10.0.0.14 http"]).await;
    assert!(!desk.rows().await.contains(&"10.0.0.14:80 active".to_owned()));
}

#[tokio::test]
async fn what_has_no_words_is_a_remark() {
    let mut desk = Desk::web().await;
    let drop = DropNew {
        service: service(V),
        fraction: Fraction::new(0.25).unwrap(),
        mode: DropMode::Shed,
        from: None,
        refusal: Refusal::Silent,
        lasts: None,
    };
    desk.perform(Primitive::Drop(drop)).await;
    let leased = Add { lease: Some(Span::secs(30)), ..Add::new(service(V), "10.0.0.12:8080".parse().unwrap()) };
    desk.perform(Primitive::Add(leased)).await;
    // TCP and UDP on one number: the device knows only one of them.
    desk.perform(Primitive::SetService(SetService::new(service("10.0.0.102:80/udp")))).await;
    let config = desk.config().await;
    let remarks: Vec<&str> = config.lines().map(str::trim).filter(|line| line.starts_with("! ")).collect();
    for said in [
        "drop 0.25 of new connections, mode shed",
        "10.0.0.12:8080: lease 30s",
        "service 10.0.0.102:80/udp has no words",
    ] {
        assert!(remarks.iter().any(|remark| remark.contains(said)), "{said} in {remarks:?}");
    }
}

#[tokio::test]
async fn a_deleted_real_drains_and_is_reported() {
    let mut desk = Desk::web().await;
    let flows = [desk.open(), desk.open()];
    desk.says("no server real rs1", &[]).await;
    assert_eq!(desk.rows().await, ["10.0.0.11:8080 draining", "10.0.0.12:8080 active"]);
    flows.iter().for_each(|flow| desk.model.close(*flow));
    let mut said = Vec::new();
    for _ in 0..300 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let now = desk.now();
        desk.chassis.poll(desk.session, now);
        said.extend(desk.chassis.notices(desk.session, now));
        if !said.is_empty() {
            break;
        }
    }
    assert_eq!(said, ["Server rs1 successfully deleted."]);
    assert!(!desk.config().await.contains("rs1"));
}

#[tokio::test]
async fn clear_server_session_cuts() {
    let mut desk = Desk::web().await;
    let flows = [desk.open(), desk.open()];
    desk.says("no server real rs1", &[]).await;
    desk.says("clear server session rs1", &[]).await;
    assert_eq!(flows.iter().filter(|flow| desk.model.is_reset(**flow)).count(), 1, "those of rs1 alone");
    assert_eq!(desk.rows().await, ["10.0.0.12:8080 active"]);
}

#[tokio::test]
async fn a_deleted_virtual_server_goes_when_its_connections_have() {
    let mut desk = Desk::web().await;
    let flows = [desk.open(), desk.open()];
    desk.says("no server virtual v1", &[]).await;
    assert!(!desk.config().await.contains("server virtual"), "its draining bindings do not bring it back");
    flows.iter().for_each(|flow| desk.model.close(*flow));
    for _ in 0..300 {
        desk.quiet("show server bind").await;
        if desk.model.list(&Filter::default()).await.unwrap().services.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the service stays");
}

#[tokio::test]
async fn a_bind_happens_whole_or_not_at_all() {
    let mut desk = Desk::at_config().await;
    let others = Add { owner: "somebody".parse().unwrap(), ..Add::new(service(V), "10.0.0.12:8080".parse().unwrap()) };
    desk.configure(&[
        "server real rs1 10.0.0.11",
        "port 8080",
        "server real rs2 10.0.0.12",
        "port 8080",
        "server virtual v1 10.0.0.100",
        "port http",
    ])
    .await;
    desk.perform(Primitive::Add(others)).await;
    // Said before the device has heard of the other one's binding, or after: it is refused, or only the first is new.
    let said = desk.line("bind http rs1 8080 rs2 8080").await;
    let rows = desk.rows().await;
    if said.is_empty() {
        assert_eq!(rows.len(), 2);
    } else {
        assert_eq!(rows, ["10.0.0.12:8080 active"], "{said:?}");
    }
}

#[tokio::test]
async fn what_the_switch_cannot_do_is_refused_as_unknown() {
    let mut desk = Desk::web().await;
    let before = desk.config().await;
    for line in ["server source-nat", "server cache-group 1"] {
        let said = desk.line(line).await;
        assert!(said.first().is_some_and(|first| first.starts_with("Invalid input")), "{line}: {said:?}");
    }
    assert_eq!(desk.config().await, before);
}

#[tokio::test]
async fn screens_show_states() {
    let mut desk = Desk::web().await;
    desk.model.set_health("10.0.0.12:8080".parse().unwrap(), Err("connection refused".into()));
    let bind = desk.line("show server bind").await.join("\n");
    assert!(bind.contains("rs1") && bind.contains("Active") && bind.contains("Failed"), "{bind}");
    let listing = desk.model.list(&Filter::default()).await.unwrap();
    assert_eq!(listing.bindings[1].state, State::Failed);
}

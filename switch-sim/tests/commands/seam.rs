//! The seam to the box: changes are submitted, may take their time, may be refused, and are never half applied.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use switch_sim::chassis::{Chassis, Settings};
use switch_sim::personality::Personality;
use switch_sim::shell::{Origin, Reply, Shell, Transport};
use switch_sim::simbox::{Action, Pace, SimSettings, SimulatedBox};
use switch_sim::slb::balancer::{Ability, Event, SlbBox, Submitted, Ticket};
use switch_sim::slb::change::{Change, Place, Refusal};
use switch_sim::slb::config::Config;
use switch_sim::slb::report::{Counters, PortReport, PortState, RealReport, ServerState, Totals};
use switch_sim::slb::words::{Name, Port};
use switch_sim::time::Time;

use crate::desk::Desk;

fn paced() -> (Desk, switch_sim::simbox::Levers) {
    let mut settings = SimSettings::new(Personality::Adx);
    settings.pace = Pace::Device;
    let simulated = SimulatedBox::new(settings);
    let levers = simulated.levers();
    let mut desk = Desk::new(Settings::new(Personality::Adx), Box::new(simulated));
    desk.enter("enable");
    for line in
        ["conf t", "server real r 10.0.0.1", "port 80", "port 81", "port 82", "server virtual v 10.0.0.9", "port 80"]
    {
        desk.quietly(line);
    }
    (desk, levers)
}

#[test]
fn bindings_take_the_time_of_a_real_box() {
    let (mut desk, _) = paced();
    let mut took = |line: &str| {
        let before = desk.now;
        desk.quietly(line);
        desk.now.since(before).as_millis()
    };
    assert_eq!(took("bind 80 r 80"), 26);
    assert_eq!(took("bind 80 r 81 r 82"), 52);
    assert_eq!(took("no bind 80 r 80"), 20);
    assert_eq!(took("no port 80"), 0, "the two bindings that are left go with their port");
}

#[test]
fn a_refusal_that_comes_late_leaves_no_trace() {
    let (mut desk, levers) = paced();
    let before = desk.running_config();
    levers.pull(Action::RefuseNext(Refusal::Failed { why: "the plane did not answer".into() }));
    assert_eq!(desk.enter("bind 80 r 80 r 81"), ["Error - the plane did not answer."]);
    assert_eq!(desk.running_config(), before);
    levers.pull(Action::RefuseNext(Refusal::Full { what: "bindings", max: 7 }));
    assert_eq!(desk.enter("server real s 10.0.0.2"), ["Error - Maximum number of bindings (7) reached."]);
    assert_eq!(desk.prompt(), "telnet@ServerIron(config-vs-v)#", "no mode was entered");
    assert_eq!(desk.running_config(), before);
}

#[test]
fn one_hand_serves_sessions_in_turn() {
    let (mut desk, _) = paced();
    let second = desk.chassis.connect(Origin { transport: Transport::Ssh, peer: None }, desk.now).expect("room");
    assert_eq!(desk.chassis.submit(desk.session, "bind 80 r 80", desk.now), Reply::Pending);
    assert_eq!(desk.chassis.submit(second, "show server bind", desk.now), Reply::Pending, "waits for its turn");
    assert_eq!(desk.chassis.poll(second, desk.now), None);
    let done = desk.chassis.next_deadline().expect("a deadline");
    assert_eq!(desk.chassis.poll(desk.session, done), Some(Reply::Done(vec![])));
    let Some(Reply::Done(screen)) = desk.chassis.poll(second, done) else { panic!("its turn has come") };
    assert!(screen.iter().any(|line| line.contains("r: 10.0.0.1")), "{screen:?}");
}

#[test]
fn a_session_that_goes_leaves_its_change_to_finish() {
    let (mut desk, _) = paced();
    assert_eq!(desk.chassis.submit(desk.session, "bind 80 r 80", desk.now), Reply::Pending);
    desk.chassis.disconnect(desk.session, desk.now);
    desk.now = desk.now + Duration::from_secs(1);
    desk.reconnect();
    desk.enter("enable");
    assert!(desk.running_config().contains("bind http r http"));
}

#[test]
fn what_happens_behind_the_command_line_is_shown() {
    let simulated = SimulatedBox::new(SimSettings::new(Personality::Acm));
    let levers = simulated.levers();
    let mut desk = Desk::new(Settings::new(Personality::Acm), Box::new(simulated));
    desk.enter("enable");
    let name = |text: &str| text.parse::<Name>().expect("a name");
    let (v, r) = (name("vip-10.0.0.9"), name("rs-10.0.0.1"));
    for change in [
        Change::AddVirtual { name: v.clone(), address: [10, 0, 0, 9].into() },
        Change::AddVirtualPort { server: v.clone(), port: Port::HTTP },
        Change::AddReal {
            name: r.clone(),
            address: [10, 0, 0, 1].into(),
            kind: switch_sim::slb::words::RealKind::Local,
        },
        Change::AddRealPort { real: r.clone(), port: Port::new(8080) },
        Change::Bind { server: v.clone(), port: Port::HTTP, to: vec![(r.clone(), Port::new(8080))] },
    ] {
        levers.pull(Action::Amend(change));
    }
    assert!(desk.running_config().contains("bind http rs-10.0.0.1 8080"));
    levers.pull(Action::Amend(Change::RemoveVirtual { name: v }));
    assert!(!desk.running_config().contains("bind"));
}

/// A box that can do little, and says what it is told.
#[derive(Clone, Default)]
struct Poor {
    seen: Arc<Mutex<Vec<Change>>>,
}

impl SlbBox for Poor {
    fn able(&self, ability: Ability) -> bool {
        ability == Ability::Persistence
    }
    fn submit(&mut self, change: &Change, _config: &Config, _now: Time) -> Submitted {
        self.seen.lock().expect("no panic").push(change.clone());
        match change {
            Change::SetWeight { .. } => Submitted::Done(Err(Refusal::Unsupported { what: "weight".into() })),
            Change::Bind { .. } => Submitted::Later(Ticket(1)),
            _ => Submitted::Done(Ok(())),
        }
    }
    fn poll(&mut self, _ticket: Ticket, now: Time) -> Option<Result<(), Refusal>> {
        (now >= Time::after(Duration::from_secs(1))).then_some(Ok(()))
    }
    fn refresh(&mut self, _config: &Config, now: Time) -> Submitted {
        if now < Time::after(Duration::from_secs(5)) { Submitted::Done(Ok(())) } else { Submitted::Later(Ticket(2)) }
    }
    fn events(&mut self, _now: Time) -> Vec<Event> {
        Vec::new()
    }
    fn real(&self, _name: &Name) -> RealReport {
        RealReport { state: ServerState::Active, mac: None, failed_for: 0 }
    }
    fn real_port(&self, _name: &Name, _port: Port) -> PortReport {
        PortReport { state: PortState::Active, counters: Counters::default() }
    }
    fn virtual_port(&self, _server: &Name, _port: Port) -> PortReport {
        PortReport { state: PortState::Enabled, counters: Counters::default() }
    }
    fn totals(&self) -> Totals {
        Totals::default()
    }
    fn remarks(&self, place: &Place) -> Vec<String> {
        match place {
            Place::System => vec!["drop 10 % of new connections to 10.0.0.9:80".into()],
            Place::Real(_) => vec!["lease 30s".into()],
            _ => Vec::new(),
        }
    }
    fn restart(&mut self, _config: &Config, _now: Time) -> Submitted {
        Submitted::Done(Ok(()))
    }
    fn next_deadline(&self) -> Option<Time> {
        Some(Time::after(Duration::from_secs(1)))
    }
}

#[test]
fn what_a_box_cannot_do_is_no_command() {
    let poor = Poor::default();
    let mut desk = Desk::at(Chassis::new(Settings::new(Personality::Acm), Box::new(poor.clone())));
    desk.enter("enable");
    insta::assert_snapshot!(desk.transcript(
        r#"
        conf t
        csw-policy p1
        server cache-name c 10.0.0.3
        server real r 10.0.0.1
        port http
        port http status-code 200 299
        weight 5
        source-nat
        server virtual v 10.0.0.9
        port http
        port http dsr
        port http csw
        port http sticky
        bind http r http
        show running-config
        "#
    ));
    let seen = poor.seen.lock().expect("no panic").len();
    assert_eq!(seen, 7, "only what the grammar lets through");
}

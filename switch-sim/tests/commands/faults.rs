//! Quirks of the command side, each at its place.

use switch_sim::chassis::Settings;
use switch_sim::personality::Personality;
use switch_sim::quirk::Quirks;
use switch_sim::shell::Shell;
use switch_sim::simbox::{Action, SimSettings, SimulatedBox};

use crate::desk::Desk;

fn desk(orders: &[&str]) -> (Desk, switch_sim::simbox::Levers) {
    let quirks = Quirks::of(orders).expect("quirks");
    let mut settings = Settings::new(Personality::Adx);
    settings.quirks = quirks.clone();
    let mut simulated = SimSettings::new(Personality::Adx);
    simulated.quirks = quirks;
    let simulated = SimulatedBox::new(simulated);
    let levers = simulated.levers();
    let mut desk = Desk::new(settings, Box::new(simulated));
    desk.enter("enable");
    (desk, levers)
}

const SERVERS: [&str; 9] = [
    "conf t",
    "server real r1 10.0.0.1",
    "port http",
    "server real r2 10.0.0.2",
    "port http",
    "server virtual v 10.0.0.9",
    "port http",
    "bind http r1 http r2 http",
    "end",
];

fn with_servers(orders: &[&str]) -> Desk {
    let (mut desk, _) = desk(orders);
    SERVERS.iter().for_each(|line| desk.quietly(line));
    desk.wait(1_000);
    desk
}

#[test]
fn the_late_message_comes_when_it_is_told_to_and_to_whoever_deleted() {
    let (mut desk, _) = desk(&["late-deletion=2s"]);
    for line in SERVERS {
        desk.quietly(line);
    }
    let other = desk.other_session();
    desk.quietly("conf t");
    desk.quietly("no server real r1");
    assert_eq!(desk.wait(1_999), Vec::<String>::new());
    assert_eq!(desk.wait(1), ["Server r1 successfully deleted."]);
    assert_eq!(desk.chassis.notices(other, desk.now), Vec::<String>::new());
}

#[test]
fn the_configuration_may_be_busy_and_may_warn() {
    let (mut busy, _) = desk(&["config-session-busy@count=2", "config-warning=3@count=1"]);
    insta::assert_snapshot!(busy.transcript("conf t\nconf t\nconf t\nend\nconf t"));
}

#[test]
fn a_screen_may_be_cut() {
    let whole = with_servers(&[]).enter("show server bind");
    let mut desk = with_servers(&["truncated-table=1@count=1"]);
    assert_eq!(desk.enter("show server bind"), whole[..whole.len() - 1]);
    assert_eq!(desk.enter("show server bind"), whole);
    let mut desk = with_servers(&["truncated-table=2@count=1"]);
    let cut = desk.enter("show running-config");
    assert!(!cut.contains(&"end".to_owned()), "{cut:?}");
}

#[test]
fn a_screen_may_lie_about_one_thing() {
    let truth = with_servers(&[]).enter("show server bind");
    let mut desk = with_servers(&["lying-table@count=1"]);
    let lie = desk.enter("show server bind");
    let different = truth.iter().zip(&lie).filter(|(truth, lie)| truth != lie).count();
    assert_eq!((different, truth.len()), (1, lie.len()), "{lie:#?}");
    assert_eq!(desk.enter("show server bind"), truth);
}

#[test]
fn another_hand_changes_something_in_time() {
    let mut desk = with_servers(&["changed-behind@after=5s@every=10s"]);
    let before = desk.running_config();
    desk.wait(3_000);
    assert_eq!(desk.running_config(), before);
    let deadline = desk.chassis.next_deadline().expect("the other hand");
    assert_eq!(deadline.since(switch_sim::time::Time::ZERO).as_secs(), 5);
    desk.wait(1_000);
    let after = desk.running_config();
    assert_ne!(after, before);
    assert_eq!(desk.running_config(), after, "once in ten seconds");
    for _ in 0..30 {
        desk.wait(10_000);
    }
    assert_ne!(desk.running_config(), after);
}

#[test]
fn ports_may_wait_longer_than_they_must() {
    let mut desk = with_servers(&["aw-states=5s"]);
    desk.quietly("conf t");
    desk.quietly("server virtual v");
    desk.quietly("no bind http r1 http");
    let state = |desk: &mut Desk| {
        let screen = desk.enter("show server real r1");
        screen.iter().find(|line| line.starts_with("http")).expect("the port")[8..11].to_owned()
    };
    assert_eq!(state(&mut desk), "AWU");
    desk.wait(4_999);
    assert_eq!(state(&mut desk), "AWU");
    desk.wait(1);
    assert_eq!(state(&mut desk), "UNB");
    desk.quietly("no server real r1");
    assert_eq!(desk.wait(5_250), Vec::<String>::new());
    assert_eq!(desk.wait(300), ["Server r1 successfully deleted."]);
}

#[test]
fn a_command_may_be_slow() {
    let (mut desk, _) = desk(&["slow-command=2s@count=1@after=1ms"]);
    desk.wait(10);
    let before = desk.now;
    desk.quietly("conf t");
    assert_eq!(desk.now.since(before).as_millis(), 2_000);
    desk.quietly("end");
    assert_eq!(desk.now.since(before).as_millis(), 2_000);
}

#[test]
fn the_xl_clears_sessions_unreliably() {
    let left = |personality: Personality| {
        let simulated = SimulatedBox::new(SimSettings::new(personality));
        let levers = simulated.levers();
        let mut desk = Desk::new(Settings::new(personality), Box::new(simulated));
        desk.enter("enable");
        SERVERS.iter().for_each(|line| desk.quietly(line));
        desk.wait(1_000);
        desk.pull(&levers, Action::Open("r1".parse().expect("a name"), "http".parse().expect("a port"), 1_000));
        desk.quietly("clear server session r1");
        let screen = desk.enter("show server conn");
        let row = screen.iter().find(|line| line.starts_with("r1") && line.contains("http")).expect("the port");
        row.split_whitespace().nth(3).expect("a number").parse::<u32>().expect("a number")
    };
    assert_eq!(left(Personality::Adx), 0);
    assert!((100..300).contains(&left(Personality::Xl)), "{}", left(Personality::Xl));
}

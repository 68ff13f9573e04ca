//! Scenarios judge drivers: the good one passes, each bad one fails for its own reason.

use switch_sim::chassis::Settings;
use switch_sim::personality::Personality;
use switch_sim::scenario::{self, Judge, Outcome, Scenario};
use switch_sim::simbox::{SimSettings, SimulatedBox};

use crate::desk::Desk;

struct Stage {
    desk: Desk,
    judge: Judge,
}

impl Stage {
    fn of(name: &str) -> Stage {
        let scenario: &Scenario = scenario::by_name(name).expect("a scenario of that name");
        let (mut settings, mut simulated) = (Settings::new(Personality::Adx), SimSettings::new(Personality::Adx));
        let judge = scenario.start(&mut settings, &mut simulated);
        let mut desk = Desk::new(settings, Box::new(SimulatedBox::new(simulated)));
        assert!(desk.chassis.bad_lines().is_empty(), "{:?}", desk.chassis.bad_lines());
        desk.enter("enable");
        desk.quietly("conf t");
        Stage { desk, judge }
    }

    fn quietly(&mut self, lines: &str) {
        for line in lines.trim().lines() {
            self.desk.quietly(line.trim());
        }
    }

    fn seconds(&mut self, seconds: u64) {
        for _ in 0..4 * seconds {
            self.desk.wait(250);
        }
    }

    fn save(&mut self) {
        self.desk.enter("write memory");
    }

    /// As operators do it: looks at the server until it has no connection.
    fn wait_until_idle(&mut self, real: &str) {
        for _ in 0..600 {
            let screen = self.desk.enter(&format!("show server real {real}"));
            let total = screen.iter().find(|line| line.starts_with("Server  Total"));
            if total.is_none_or(|line| line.split_whitespace().nth(2) == Some("0")) {
                return;
            }
            self.seconds(1);
        }
        panic!("{real} never became idle");
    }

    fn ends(&self, outcome: Outcome) -> String {
        let verdict = self.judge.verdict(self.desk.now);
        assert_eq!(verdict.outcome, outcome, "\n{verdict}");
        verdict.to_string()
    }
}

const THREE: &str = "
    server real a 10.0.0.1
    port http
    server real b 10.0.0.2
    port http
    server real c 10.0.0.3
    port http
    server virtual v 10.0.0.9
    port http
    bind http a http b http c http
";

#[test]
fn a_rolling_reboot_by_unbinding_and_by_disabling() {
    let mut stage = Stage::of("rolling-reboot");
    stage.quietly(THREE);
    stage.seconds(5);
    stage.quietly("server virtual v\nno bind http a http");
    stage.ends(Outcome::Unfinished);
    stage.wait_until_idle("a");
    stage.quietly("server virtual v\nbind http a http");
    for real in ["b", "c"] {
        stage.seconds(5);
        stage.quietly(&format!("server real {real}\nport http disable"));
        stage.wait_until_idle(real);
        stage.quietly(&format!("server real {real}\nno port http disable"));
    }
    stage.ends(Outcome::Unfinished);
    stage.save();
    insta::assert_snapshot!(stage.ends(Outcome::Passed));
}

#[test]
fn a_rolling_reboot_in_haste() {
    let mut stage = Stage::of("rolling-reboot");
    stage.quietly(THREE);
    stage.seconds(5);
    stage.quietly("server real a\nport http disable\nno port http disable");
    insta::assert_snapshot!(stage.ends(Outcome::Failed));
}

#[test]
fn a_rolling_reboot_of_two_at_once() {
    let mut stage = Stage::of("rolling-reboot");
    stage.quietly(THREE);
    stage.quietly("server real a\nport http disable\nserver real b\nport http disable");
    assert!(stage.ends(Outcome::Failed).contains("taken out while another was out"));
}

#[test]
fn a_rolling_reboot_by_force() {
    let mut stage = Stage::of("rolling-reboot");
    stage.quietly(THREE);
    stage.seconds(5);
    stage.quietly("server real a\nport http disable\nclear server session a");
    assert!(stage.ends(Outcome::Failed).contains("a: out gracefully, and back: had its connections cut"));
}

#[test]
fn a_rolling_reboot_never_begun() {
    let mut stage = Stage::of("rolling-reboot");
    stage.seconds(601);
    assert!(stage.ends(Outcome::Failed).ends_with("failed: the time is up"));
}

#[test]
fn a_failed_server() {
    let mut stage = Stage::of("failed-server");
    stage.seconds(5);
    assert!(stage.desk.enter("show server real rs2").join("\n").contains("State: Failed"));
    stage.quietly("server virtual v1\nno bind http rs2 http");
    stage.save();
    stage.ends(Outcome::Passed);

    let mut stage = Stage::of("failed-server");
    stage.seconds(5);
    stage.quietly("no server virtual v1");
    stage.ends(Outcome::Failed);
}

#[test]
fn another_hand() {
    let mut stage = Stage::of("changed-behind");
    stage.seconds(3);
    assert!(stage.desk.running_config().contains("bind http rs1 http rs2 http\n"));
    stage.quietly("server virtual v1\nbind http rs3 http");
    stage.save();
    stage.ends(Outcome::Passed);

    let mut stage = Stage::of("changed-behind");
    stage.seconds(3);
    stage.quietly("no server real theirs");
    stage.ends(Outcome::Failed);
}

#[test]
fn a_reload() {
    let mut stage = Stage::of("reload");
    stage.quietly("server virtual v1\nbind http rs2 http rs3 http");
    stage.save();
    stage.quietly("end");
    stage.desk.enter("reload");
    stage.desk.enter("y");
    assert!(stage.desk.closed);
    stage.desk.reconnect();
    stage.desk.enter("enable");
    assert!(stage.desk.running_config().contains("bind http rs1 http rs2 http rs3 http"));
    stage.ends(Outcome::Passed);

    let mut stage = Stage::of("reload");
    stage.quietly("server virtual v1\nbind http rs2 http rs3 http\nend");
    stage.desk.enter("reload");
    stage.desk.enter("y");
    stage.ends(Outcome::Failed);
}

#[test]
fn a_server_replaced() {
    let mut stage = Stage::of("replace-server");
    stage.seconds(5);
    stage.quietly("no server real rs1");
    let mut waited = 0;
    while !stage.desk.enter("show server real rs1").is_empty() {
        stage.seconds(1);
        waited += 1;
        assert!(waited < 60);
    }
    assert!(waited > 0, "busy clients keep it for a while");
    stage.quietly("server real rs1 10.1.2.11\nport http\nserver virtual v1\nbind http rs1 http");
    stage.save();
    stage.ends(Outcome::Passed);
}

#[test]
fn names_are_found_and_told_apart() {
    for scenario in scenario::ALL {
        assert_eq!(scenario::by_name(scenario.name).expect("itself").about, scenario.about);
    }
    assert!(scenario::by_name("rolling").is_none());
}

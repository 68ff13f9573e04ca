//! The start-up file, `write memory`, `reload`.

use switch_sim::chassis::flash::{FileFlash, MemoryFlash};
use switch_sim::chassis::{Chassis, Settings};
use switch_sim::personality::Personality;
use switch_sim::quirk::Quirks;
use switch_sim::simbox::{Pace, SimSettings, SimulatedBox};

use crate::desk::Desk;

fn simulated() -> Box<SimulatedBox> {
    Box::new(SimulatedBox::new(SimSettings::new(Personality::Adx)))
}

fn booted(file: &str) -> Chassis {
    let mut settings = Settings::new(Personality::Adx);
    settings.flash = Box::new(MemoryFlash::holding(file));
    Chassis::new(settings, simulated())
}

/// Captured from boxes: the indents, the order (virtual before real), the quotes, the two blanks.
const CAPTURED: &str = r#"
Building configuration...
Current configuration : 1234 bytes
!
ver 12.5.01gT401
!
module 1 bi-0-port-wsm7-management-module
!
csw-rule "secret" url prefix "/secret" case-insensitive
csw-policy "BlockIt" case-insensitive
 match "secret" reset-client
 default forward 201
!
server virtual ivip1 198.19.129.50
  port default disable
  port http
  bind http ixia1 http ixia2 http ixia3 http ixia4 http
  bind http ixia5 http
!
server real ixia1 198.19.1.1
 port default disable
 port http
 port http url "GET /status.html HTTP/1.0"
!
server real ixia2 198.19.1.2
 port http
!
server real ixia3 198.19.1.3
 port http
!
server real ixia4 198.19.1.4
 port http
!
server real ixia5 198.19.1.5
 port http
!
server real rs3 10.27.13.12
 port default disable
 disable
 port http disable
 port http keepalive
 port http url "HEAD /"
 port http server-id 1103
 port http group-id  1 1
!
server virtual vi1 172.27.13.54
 port default disable
 port ssl
 port ssl tcp-only
 no port ssl sticky
 port ssl ssl-proxy sslp1-client sslp2-server
 port ssl cookie-name "persist"
 port ssl csw-policy "csp1"
 bind ssl rs1 ssl
!
hostname lb1.adx1016
no such command
!
end
whatever follows
"#;

#[test]
fn captured_configurations_are_read_and_bad_lines_reported() {
    let chassis = booted(CAPTURED);
    let bad: Vec<String> =
        chassis.bad_lines().iter().map(|line| format!("{}: {}: {}", line.number, line.text, line.said)).collect();
    assert_eq!(
        bad,
        [
            "57: no such command: Invalid input -> such command / Type ? for a list",
            "54: bind ssl rs1 ssl: Error - Real server rs1 does not exist.",
        ]
    );
    let mut desk = Desk::at(chassis);
    desk.enter("enable");
    insta::assert_snapshot!(desk.running_config());
}

#[test]
fn what_was_saved_is_there_after_a_reload_and_nothing_else() {
    let mut desk = Desk::at(booted(""));
    desk.enter("enable");
    desk.quietly("conf t");
    desk.quietly("hostname kept");
    desk.quietly("server real r1 10.0.0.1");
    desk.enter("write memory");
    let saved = desk.running_config();
    desk.quietly("server real r2 10.0.0.2");
    desk.quietly("hostname lost");
    desk.quietly("end");
    insta::assert_snapshot!(desk.transcript("reload\nn\nreload\n\nreload\ny"));
    desk.reconnect();
    desk.enter("enable");
    assert_eq!(desk.running_config(), saved);
}

#[test]
fn others_are_thrown_out_by_a_reload() {
    use switch_sim::shell::{Origin, Shell, Transport};
    let mut desk = Desk::at(booted(""));
    let other = desk.chassis.connect(Origin { transport: Transport::Ssh, peer: None }, desk.now).expect("room");
    desk.enter("enable");
    desk.enter("reload");
    desk.enter("yes");
    assert!(desk.closed && desk.chassis.is_ended(other));
}

#[test]
fn a_reload_may_forget_what_was_saved() {
    let mut settings = Settings::new(Personality::Adx);
    settings.flash = Box::new(MemoryFlash::holding("server real r1 10.0.0.1\n"));
    settings.quirks = Quirks::of(&["reload-forgets"]).expect("a quirk");
    let mut desk = Desk::new(settings, simulated());
    desk.enter("enable");
    assert!(desk.running_config().contains("server real r1"));
    desk.enter("reload");
    desk.enter("y");
    desk.reconnect();
    desk.enter("enable");
    assert!(!desk.running_config().contains("server real r1"));
}

#[test]
fn a_file_is_written_for_its_owner_and_read_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("startup.cfg");
    let on_disk = || {
        let mut settings = Settings::new(Personality::Adx);
        settings.flash = Box::new(FileFlash::at(&path));
        Desk::new(settings, simulated())
    };
    let mut desk = on_disk();
    desk.enter("enable");
    desk.quietly("conf t");
    desk.quietly("enable super-user-password hush");
    desk.quietly("server real r1 10.0.0.1");
    desk.enter("write memory");
    let text = std::fs::read_to_string(&path).expect("the file");
    assert!(text.contains("server real r1 10.0.0.1\n") && !text.contains("hush"), "{text}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).expect("the file").permissions().mode() & 0o777, 0o600);
    }
    let mut again = on_disk();
    assert!(again.chassis.bad_lines().is_empty(), "{:?}", again.chassis.bad_lines());
    again.enter("enable");
    assert_eq!(again.enter("hush"), Vec::<String>::new());
    assert!(again.prompt().ends_with('#'));
}

#[test]
fn a_file_that_cannot_be_written_is_said_and_nothing_is_lost() {
    let mut settings = Settings::new(Personality::Adx);
    settings.flash = Box::new(FileFlash::at("/nowhere/startup.cfg"));
    let mut desk = Desk::new(settings, simulated());
    desk.enter("enable");
    let said = desk.enter("write memory");
    assert!(said[0].starts_with("Error - No such file"), "{said:?}");
    assert_eq!(desk.enter("show configuration"), ["Startup-config is empty"]);
}

#[test]
fn a_slow_box_boots_while_sessions_wait() {
    let mut simulated = SimSettings::new(Personality::Adx);
    simulated.pace = Pace::Device;
    let mut settings = Settings::new(Personality::Adx);
    settings.flash = Box::new(MemoryFlash::holding(
        "server real r 10.0.0.1\nport http\nport 81\nserver virtual v 10.0.0.9\nport http\nbind http r http r 81\n",
    ));
    let mut desk = Desk::new(settings, Box::new(SimulatedBox::new(simulated)));
    assert!(desk.chassis.is_booting());
    desk.enter("enable");
    assert_eq!(desk.now.since(switch_sim::time::Time::ZERO).as_millis(), 52, "two bindings at 26 ms");
    assert!(!desk.chassis.is_booting());
}

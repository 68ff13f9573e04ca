//! Users, passwords, privilege levels, session limits.

use std::time::Duration;

use switch_sim::chassis::access::{Access, Level, Secret, User};
use switch_sim::chassis::{Chassis, Settings};
use switch_sim::personality::Personality;
use switch_sim::shell::{LoginAnswer, LoginAsks, Origin, SessionId, Shell, Transport};
use switch_sim::simbox::{SimSettings, SimulatedBox};
use switch_sim::time::Time;

use crate::desk::Desk;

fn secret(plain: &str) -> Secret {
    Secret::new(plain, &mut fastrand::Rng::with_seed(1))
}

fn chassis(access: Access) -> Chassis {
    let mut settings = Settings::new(Personality::Xl);
    settings.access = access;
    Chassis::new(settings, Box::new(SimulatedBox::new(SimSettings::new(Personality::Xl))))
}

fn session(chassis: &mut Chassis) -> SessionId {
    let origin = Origin { transport: Transport::Ssh, peer: Some([192, 0, 2, 7].into()) };
    chassis.connect(origin, Time::ZERO).expect("room")
}

#[test]
fn a_password_alone() {
    let access =
        Access { login: LoginAsks::Password, telnet_password: Some(secret("open sesame")), ..Access::default() };
    let mut chassis = chassis(access);
    let id = session(&mut chassis);
    assert_eq!(chassis.login_asks(id), LoginAsks::Password);
    assert_eq!(chassis.log_in(id, "", "open", Time::ZERO), LoginAnswer::Wrong);
    assert_eq!(chassis.log_in(id, "", "", Time::ZERO), LoginAnswer::Wrong);
    assert_eq!(chassis.log_in(id, "", "no", Time::ZERO), LoginAnswer::Enough);
    let id = session(&mut chassis);
    assert_eq!(chassis.log_in(id, "", "open sesame", Time::ZERO), LoginAnswer::Welcome);
    assert_eq!(chassis.prompt(id), "SSH@ServerIron>");
}

#[test]
fn users_have_levels() {
    let user = |name: &str, level, plain| User { name: name.into(), level, secret: Some(secret(plain)) };
    let users = vec![user("root", Level::SUPER_USER, "r"), user("looker", Level::READ_ONLY, "l")];
    let access = Access { login: LoginAsks::NameAndPassword, users, ..Access::default() };
    let mut chassis = chassis(access);
    let id = session(&mut chassis);
    assert_eq!(chassis.log_in(id, "root", "l", Time::ZERO), LoginAnswer::Wrong);
    assert_eq!(chassis.log_in(id, "looker", "l", Time::ZERO), LoginAnswer::Welcome);
    let mut desk = Desk::in_session(chassis, id);
    insta::assert_snapshot!(desk.transcript(
        "enable\nshow running-config\nwrite term\nwrite memory\nskip-page-display\nconf t\nreload\nshow server bind"
    ));
    let id = session(&mut desk.chassis);
    assert_eq!(desk.chassis.log_in(id, "root", "r", Time::ZERO), LoginAnswer::Welcome);
    let mut desk = Desk::in_session(desk.chassis, id);
    desk.enter("enable");
    desk.quietly("conf t");
    desk.quietly("privilege exec level 5 skip-page-display");
    let id = session(&mut desk.chassis);
    desk.chassis.log_in(id, "looker", "l", Time::ZERO);
    let mut looker = Desk::in_session(desk.chassis, id);
    looker.enter("enable");
    assert_eq!(looker.enter("skip-page-display"), ["Disable page display mode"]);
    assert!(!looker.chassis.pages(looker.session));
}

#[test]
fn enable_asks_as_it_is_told() {
    let mut desk = Desk::configuring(Personality::Adx);
    assert_eq!(desk.enter("enable super-user-password secret one"), ["Invalid input -> one", "Type ? for a list"]);
    insta::assert_snapshot!(desk.transcript(
        r#"
        enable super-user-password secret1
        enable read-only-password look
        username admin privilege 4 password hidden
        username guest nopassword
        show running-config
        write memory
        show configuration
        disable
        end
        disable
        enable
        wrong
        enable
        secret1
        disable
        enable
        look
        conf t
        disable
        enable
        secret1
        conf t
        aaa authentication enable default local
        end
        disable
        enable
        admin
        hidden
        show who
        conf t
        server real r1 10.0.0.1
        interface ethernet 1
        "#
    ));
}

#[test]
fn wrong_enable_passwords_have_an_end() {
    let access = Access { enable: vec![(Level::SUPER_USER, secret("right"))], ..Access::default() };
    let mut chassis = chassis(access);
    let id = session(&mut chassis);
    let mut desk = Desk::in_session(chassis, id);
    for _ in 0..4 {
        desk.enter("enable");
        assert_eq!(desk.enter("wrong"), ["Error - Incorrect username or password."]);
        assert!(!desk.closed);
    }
    desk.enter("enable");
    desk.enter("wrong");
    assert!(desk.closed);
}

#[test]
fn sessions_have_a_bound_and_an_end() {
    let mut chassis = chassis(Access::default());
    let sessions: Vec<SessionId> = (0..5).map(|_| session(&mut chassis)).collect();
    // Those count that are logged in.
    sessions.iter().for_each(|session| chassis.admit(*session, "", Time::ZERO));
    let origin = Origin { transport: Transport::Telnet, peer: None };
    let refused = chassis.connect(origin, Time::ZERO).expect_err("the sixth");
    assert_eq!(refused, "Maximum number of sessions reached. Try again later.");
    chassis.disconnect(sessions[4], Time::ZERO);
    let sixth = chassis.connect(origin, Time::ZERO).expect("room again");
    let mut desk = Desk::in_session(chassis, sixth);
    assert_eq!(desk.chassis.idle_limit(sixth), None);
    desk.enter("enable");
    desk.quietly("conf t");
    desk.quietly("telnet timeout 3");
    assert_eq!(desk.chassis.idle_limit(sixth), Some(Duration::from_secs(180)));
    desk.quietly("end");
    desk.quietly("kill telnet 2");
    assert!(desk.chassis.is_ended(sessions[1]) && !desk.chassis.is_ended(sessions[0]));
    assert_eq!(desk.enter("kill telnet 0"), ["Invalid input -> 0", "Type ? for a list"]);
}

#[test]
fn a_login_may_end_in_privileged_mode() {
    let access = Access { login_is_privileged: true, ..Access::default() };
    let mut chassis = chassis(access);
    let id = session(&mut chassis);
    chassis.admit(id, "operator", Time::ZERO);
    assert_eq!(chassis.prompt(id), "SSH@ServerIron#");
}

#[test]
fn interrupts() {
    let mut desk = Desk::configuring(Personality::Xl);
    desk.quietly("server real r1 10.0.0.1");
    desk.chassis.interrupt(desk.session, 'Z', desk.now);
    assert_eq!(desk.prompt(), "telnet@ServerIron#");
    desk.enter("reload");
    desk.chassis.interrupt(desk.session, 'C', desk.now);
    desk.forget_question();
    assert_eq!(desk.prompt(), "telnet@ServerIron#");
    assert!(!desk.enter("show running-config").is_empty());
}

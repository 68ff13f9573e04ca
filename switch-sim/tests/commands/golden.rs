//! Every mode, error and screen, as a terminal would show it.

use std::time::Duration;

use insta::assert_snapshot;
use switch_sim::chassis::Settings;
use switch_sim::personality::Personality;
use switch_sim::simbox::{Action, SimSettings, SimulatedBox};

use crate::desk::Desk;

/// A few servers, bound, configured in each personality.
const SERVERS: &str = r#"
    server real rs1 10.1.2.1
    port default disable
    port 80
    port http keepalive
    port 8080
    weight 10
    max-conn 5000
    server real-name rs2 10.1.2.2
    port http url "GET /status.html HTTP/1.0"
    port http status-code 200 299 401 401
    port http group-id 1 1
    port http server-id 1102
    port ssl disable
    no-l3-check
    server remote-name far 10.9.9.9
    port 80
    port 443
    server virtual v1 10.1.1.1
    port default disable
    port 80 sticky
    port ssl
    no port ssl sticky
    port dns concurrent
    predictor round-robin
    track-group http ssl
    bind 80 rs1 80 rs2 80 far 80 rs1 8080
    bind ssl rs2 443 far ssl
    server virtual-name idle 10.1.1.2
    port http dsr fast-delete
    disable
"#;

fn configured(personality: Personality) -> Desk {
    let mut desk = Desk::configuring(personality);
    for line in SERVERS.trim().lines() {
        desk.quietly(line.trim());
    }
    desk.quietly("end");
    desk.wait(5_000);
    desk
}

#[test]
fn modes_and_prompts() {
    for personality in Personality::ALL {
        let mut desk = Desk::plain(personality);
        assert_snapshot!(format!("modes-{personality}"), desk.transcript(MODES));
    }
}

const MODES: &str = r#"

    disable
    enable
    disable
    en
    config term
    server real md1.example.com 10.1.2.1
    exit
    server remote-name far 10.1.2.2
    server virtual v-1 10.1.1.1
    server virtual-name v-1
    server virtual-name-or-ip 10.1.1.1
    server cache-name c1 10.1.2.3
    server cache-group 1
    server port 999
    server port dns
    server port 53
    server port-policy p1
    http match-list m1
    healthck h1 tcp
    url-map u1
    csw-policy p1
    http-trl-policy t1
    client-connection-limit l1
    interface ethernet 17
    int e 1/1
    role template t1
    hostname lbf-5.pdq
    show who
    quit
    end
    rconsole 1 2
    exit
    conf t
    no hostname
    end
    exit
    exit
"#;

#[test]
fn errors() {
    let mut desk = Desk::configuring(Personality::Adx);
    assert_snapshot!("errors", desk.transcript(ERRORS));
}

const ERRORS: &str = r#"
    foo bar
    server real
    server real rs1
    server real rs1 10.1.2.300
    server real rs1 0.0.0.0
    server real a-name-of-more-than-thirty-two-characters 10.1.2.1
    server real r"s"1 10.1.2.1
    server real rs1 10.1.2.1
    server real rs1 10.1.2.2
    server remote rs1 10.1.2.1
    server real rs2 10.1.2.1
    server virtual v1 10.1.2.1
    server virtual v1
    server virtual v1 10.1.1.1
    server virtual v1 10.1.1.1
    server virtual v2 10.1.1.1
    bind http rs1 http
    port http
    bind http rs1 http
    bind http nobody http
    bind http rs1
    bind default rs1 http
    no bind http rs1 http
    no port ssl
    no port default
    no server virtual nobody
    no server real nobody
    server real rs1
    port 0
    port 65536
    port htt
    port http
    port http status-code 200
    port http max-conn 0
    weight 65001
    no port 8080
    server virtual v1
    port http
    bind http rs1 http
    bind http rs1 http
    bind http rs1 http rs1 http
    p
    port http c
    port http csw
    port http url-switch
    csw-rule r1 url prefix "a string of more than eighty characters, which is the longest that the manual allows in a rule"
    csw-rule "r 1" url exists
    csw-policy p1
    match r1 hash-persist url path-only
    no csw-policy nobody
    no healthck nobody
    ip tcp syn-proxy 10
    username u password .....
    no no server
    server real rs1 10.1.2.1 now
"#;

#[test]
fn help() {
    let mut desk = configured(Personality::Adx);
    let mut screen = String::new();
    for (before, line) in HELP {
        for line in before.split(';').filter(|line| !line.is_empty()) {
            desk.enter(line);
        }
        screen.push_str(&format!("{}{line}?\n{}\n", desk.prompt(), desk.help(line).join("\n")));
    }
    assert_snapshot!("help", screen);
}

const HELP: &[(&str, &str)] = &[
    ("", ""),
    ("", "sh"),
    ("", "show "),
    ("", "show server "),
    ("", "show server real "),
    ("", "write "),
    ("", "clear server session "),
    ("", "foo "),
    ("conf t", ""),
    ("", "server "),
    ("", "server predictor "),
    ("", "server real r1 "),
    ("", "no server "),
    ("", "csw-rule r1 "),
    ("server real rs1", ""),
    ("", "port http "),
    ("", "po"),
    ("", "max-conn "),
    ("server virtual v1", ""),
    ("", "port http "),
    ("", "bind http rs1 "),
    ("", "bind http rs1 80 "),
    ("csw-policy p1", "match r1 "),
    ("", "match r1 persist offset 0 length 4 "),
    ("server port 80", ""),
];

#[test]
fn screens() {
    for personality in Personality::ALL {
        let mut desk = configured(personality);
        assert_snapshot!(format!("screens-{personality}"), desk.transcript(SCREENS));
    }
}

const SCREENS: &str = r#"
    show running-config
    write terminal
    show configuration
    show server real
    show server real rs1
    show server real nobody
    show server virtual
    show server virtual idle
    show server bind
    show server sessions
    show server conn
    show server global
    show server traffic
    show server backup
    show version
    show chassis
    show module
    show media
    show media validation
    show flash
    show clock
    show who
    show users
    show logging
    show arp
    show ip
    show int br
    show span
    show memory
    show cpu
    skip-page-display
    terminal length 0
    page-display
    copy tftp run 10.1.1.1 file
    kill telnet 9
    write mem
    show config
"#;

#[test]
fn content_switching_of_both_generations() {
    for personality in Personality::ALL {
        let mut desk = configured(personality);
        desk.quietly("conf t");
        assert_snapshot!(format!("content-{personality}"), desk.transcript(CONTENT));
    }
}

const CONTENT: &str = r#"
    csw-rule "domA" header "host" equals "WWW.DOMAINA.DE" case-insensitive
    csw-rule secret url prefix "/secret" case-insensitive
    csw-rule put method eq PUT
    csw-rule old version eq 1.1
    csw-rule cookie response-header "Set-Cookie" pattern "JSESSIONID"
    csw-rule nested nested-rule "put && old"
    csw-rule any url exists
    csw-policy "MP" case-insensitive
    match domA forward 1
    match domA hash-persist url path-and-parameters
    match secret reset-client
    match put redirect "*" "*" ssl
    match cookie persist offset 0 length 4 group-or-server-id
    match old persist offset 0 terminator ";" secondary
    match any rewrite insert-cookie
    match any log
    default forward 1
    csw-policy MP
    url-map p1
    method prefix
    match "/home" 1
    default 2
    server virtual v1
    port http csw-policy "MP"
    port http csw
    port http cookie-name "SERVERID"
    port http url-map "p1"
    port http url-switch
    port http cookie-switch
    show csw-policy MP
    show csw-rule secret
    show url-map
    no csw-rule secret
    no csw-policy MP
    no url-map p1
    no port http csw
    show running-config
"#;

#[test]
fn health_checks_caches_and_defence() {
    let mut desk = configured(Personality::Adx);
    desk.quietly("conf t");
    assert_snapshot!("health-caches-defence", desk.transcript(REST));
}

const REST: &str = r#"
    server port 8080
    tcp 15
    tcp keepalive 5 3
    tcp keepalive protocol http
    server port dns
    udp
    udp l4-check-only
    server port-policy P
    protocol http
    protocol http url "GET /x HTTP/1.0\r\nHost: a"
    protocol http status-code 200 299
    http match-list M
    default down
    up simple "hello world" log
    healthck H tcp
    dest-ip 10.1.2.1
    port 80
    healthck B boolean
    and H H
    server real rs1
    port http use-port-policy P
    port http healthck B
    server cache-name cs1 10.1.2.9
    asymmetric
    server cache-group 1
    cache-name cs1
    hash-mask 255.255.255.0 0.0.0.0
    reselect-server-if-overloaded
    ip policy 1 cache tcp http local
    interface ethernet 1/1
    ip-policy 1
    http-trl-policy T
    client-ip 10.0.0.0 255.0.0.0 monitor-interval 10 100 200 5
    client-connection-limit L
    max-conn 100
    server syn-limit 1000
    server source-nat
    server source-ip 10.1.1.9 255.255.255.0 10.1.1.254
    server backup ethernet 1/2 00e0.5202.0000 vlan-id 2
    server force-delete
    server port-holddown-timeout 60
    server predictor dynamic-weighted direct
    ip tcp syn-proxy 10
    server msl 8
    show cache-group
    show cache-hash 1 192.0.2.1 198.51.100.7
    show healthck
    show server port-policy
    show server proxy keep-alive
    show security holddown
    show client-trl T
    show running-config
    no server cache-group 1
    no server port dns
    no ip tcp syn-proxy
    end
    rconsole 1 1
    show session detail 0
"#;

#[test]
fn states_of_servers_and_ports() {
    let mut settings = SimSettings::new(Personality::Xl);
    settings.times = switch_sim::simbox::HealthTimes::DEVICE;
    let simulated = SimulatedBox::new(settings);
    let levers = simulated.levers();
    let mut desk = Desk::new(Settings::new(Personality::Xl), Box::new(simulated));
    let mut screen = String::new();
    let mut look = |desk: &mut Desk, when: &str| {
        screen.push_str(&format!("-- {when}\n{}", desk.transcript("show server real rs1\nshow server bind")));
    };
    desk.enter("enable");
    for line in ["conf t", "server real rs1 10.1.2.1", "port 80", "port http keepalive", "server virtual v1 10.1.1.1"] {
        desk.quietly(line);
    }
    look(&mut desk, "just configured");
    desk.quietly("port 80");
    desk.quietly("bind 80 rs1 80");
    desk.wait(600);
    look(&mut desk, "bound, the server answers ARP");
    desk.wait(2_000);
    look(&mut desk, "the server answers pings");
    desk.wait(1_000);
    desk.pull(&levers, Action::Open("rs1".parse().expect("a name"), "http".parse().expect("a port"), 3));
    look(&mut desk, "active, three connections");
    desk.pull(&levers, Action::PortDown([10, 1, 2, 1].into(), "http".parse().expect("a port")));
    desk.wait(6_000);
    look(&mut desk, "one check of the port has failed");
    desk.wait(10_000);
    look(&mut desk, "the port has failed");
    desk.pull(&levers, Action::PortUp([10, 1, 2, 1].into(), "http".parse().expect("a port")));
    desk.wait(1_000);
    desk.quietly("server real rs1");
    desk.quietly("port http disable");
    look(&mut desk, "disabled, three connections");
    desk.quietly("no port http disable");
    look(&mut desk, "enabled too early");
    desk.quietly("server virtual v1");
    desk.quietly("no bind http rs1 http");
    look(&mut desk, "unbound, three connections");
    desk.quietly("no server real rs1");
    look(&mut desk, "deleted, three connections");
    desk.pull(&levers, Action::Close("rs1".parse().expect("a name"), "http".parse().expect("a port")));
    desk.wait(250);
    look(&mut desk, "deleted, no connection");
    let late = desk.wait(300);
    screen.push_str(&format!("-- {late:?}\n"));
    desk.pull(&levers, Action::ServerDown([10, 1, 2, 2].into()));
    desk.quietly("server real rs2 10.1.2.2");
    desk.now = desk.now + Duration::from_secs(60);
    screen.push_str(&desk.transcript("show server real rs2"));
    assert_snapshot!("states", screen);
}

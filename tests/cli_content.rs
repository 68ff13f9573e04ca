//! The command line's words for content, from outside: the real binary against the model, served.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use acm_switch::acm::model::ModelSwitch;
use acm_switch::acm::rules::request::Request;
use acm_switch::api::listen::{Endpoint, Listener};
use acm_switch::api::task::serve;
use serde_json::Value;

struct Served {
    model: Arc<ModelSwitch>,
    socket: PathBuf,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    _dir: tempfile::TempDir,
}

impl Served {
    fn start() -> Served {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("switch.sock");
        let listener_at = socket.clone();
        let model = Arc::new(ModelSwitch::new(1));
        let switch = Arc::clone(&model);
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (ready, opened) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let unix = Listener::open(&Endpoint::Unix(listener_at), None).unwrap();
                ready.send(()).unwrap();
                serve(switch, vec![unix], async move { drop(stopped.await) }).await;
            });
        });
        opened.recv().unwrap();
        Served { model, socket, stop: Some(stop), thread: Some(thread), _dir: dir }
    }

    /// Exit code, stdout, stderr. Words are cut at `|` where they hold spaces.
    fn run(&self, words: &str) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_acm"));
        let cut: Vec<_> = if words.contains('|') { words.split('|').collect() } else { words.split(' ').collect() };
        command.args(cut).stdin(Stdio::null()).env_remove("ACM_TOKEN").env_remove("RUST_LOG");
        let output = command.env("ACM_SWITCH", format!("unix:{}", self.socket.display())).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    fn ok(&self, words: &str) -> String {
        let (code, out, err) = self.run(words);
        assert_eq!((code, err.as_str()), (0, ""), "{words}");
        out
    }

    fn json(&self, words: &str) -> Value {
        serde_json::from_str(&self.ok(&format!("{words} --json"))).unwrap()
    }

    fn refused(&self, words: &str) -> String {
        let (code, _, err) = self.run(words);
        assert_ne!(code, 0, "{words}");
        assert_eq!(err.lines().count(), 1, "{err}");
        err
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

const VIP: &str = "10.0.0.100:80";

#[test]
fn rules_live_through_their_verbs() {
    let served = Served::start();
    assert!(served.refused(&format!("rule list {VIP}")).contains("does not exist"));
    let added = served.ok(&format!("rule add {VIP} --url-suffix .png --group images"));
    assert!(added.starts_with("added rule rule-1 of") && added.contains("--content http"), "{added}");
    assert!(
        served.ok(&format!("rule add {VIP} --url-suffix .png --group images")).starts_with("unchanged: rule rule-1")
    );
    served.ok(&format!("service set {VIP} --content http --switching first-request --default-group web"));
    let api =
        format!("rule add {VIP} --name api --at 1 --url-prefix /api/ --host *.example.com --method POST --group api");
    assert!(!served.ok(&api).contains("--content"));
    served.ok(&format!("rule add {VIP} --cookie-prefix sid=a=b --ignore-case --drop 0.5 --mode queue --unavailable"));
    served.ok(&format!("rule add {VIP} --header-present X-Old --redirect https://new.example{{uri}} --status 308"));
    served.ok(&format!("rule add {VIP} --reset"));
    let names = || -> Vec<String> {
        let rules = served.json(&format!("rule list {VIP}"));
        rules.as_array().unwrap().iter().map(|row| row["rule"]["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(), ["api", "rule-1", "rule-2", "rule-3", "rule-4"]);
    assert!(served.ok(&format!("rule move {VIP} rule-3 1")).contains("place 1"));
    assert_eq!(names(), ["rule-3", "api", "rule-1", "rule-2", "rule-4"]);
    served.ok(&format!("rule remove {VIP} rule-4"));
    assert!(served.refused(&format!("rule remove {VIP} rule-4")).contains("rule-4 does not exist"));
    let table = served.ok(&format!("rule list {VIP}"));
    for part in [
        "path begins with \"/api/\", host is \"*.example.com\", method is \"POST\"",
        "cookie sid begins with \"a=b\" (in any case)",
        "drop 0.5 (mode queue, 503)",
        "redirect 308 to https://new.example{uri}",
        "everything else: group web",
    ] {
        assert!(table.contains(part), "{part}:\n{table}");
    }
    let rules = served.json(&format!("rule list {VIP}"));
    assert_eq!(rules[3]["rule"]["when"][0]["cookie"]["is"]["prefix"], "a=b");
    assert!(served.ok("list").contains("content http, first-request, 4 rules, else group web"));
}

#[test]
fn mistakes_are_named() {
    let served = Served::start();
    for (words, said) in [
        ("rule add 10.0.0.100:80 --host a --url-prefix img --group g", "acm: --url-prefix: "),
        ("rule add 10.0.0.100:80 --url-contains a --url-contains // --group g", "acm: --url-contains: "),
        ("rule add 10.0.0.100:80 --cookie-equals a=b --cookie-contains a;=b --group g", "acm: --cookie-contains: "),
        ("rule add 10.0.0.100:80 --url-exact /a/../b --group g", "never matches"),
        ("rule add 10.0.0.100:80 --method get --group g", "capitals"),
        ("rule add 10.0.0.100:80 --drop 0", "acm: --drop: must be more than 0"),
        ("rule add 10.0.0.100:80 --drop 1.5", "--drop"),
        ("rule add 10.0.0.100:80 --redirect ftp://x", "acm: --redirect: "),
        ("rule add 10.0.0.100:80 --redirect /x --status 418", "acm: --status: "),
        ("rule add 10.0.0.100:80 --url-prefix /", "--group"),
        ("rule add 10.0.0.100:80 --group a --reset", "cannot be used with"),
        ("rule add 10.0.0.100:80 --cookie-equals sid --reset", "NAME=TEXT"),
        ("rule add 10.0.0.100:53/udp --reset", "UDP service"),
        ("rule add 10.0.0.100:80 --at 0 --reset", "acm: --at: places begin at 1"),
        ("rule move 10.0.0.100:80 r 0", "does not exist"),
        ("service set 10.0.0.100:80 --content html", "content mode"),
        ("service set 10.0.0.100:80 --scheduler cookie-hash", "acm: --hash-cookie: "),
        ("service set 10.0.0.100:80 --bounded-load 1.25", "acm: --bounded-load: round-robin"),
        ("service set 10.0.0.100:80 --default-redirect ftp://x", "acm: --default-redirect: "),
        ("service set 10.0.0.100:80 --strangers maybe", "choose one of default, reset"),
        ("service set 10.0.0.100:53/udp --strangers reset", "UDP service"),
        ("service set 10.0.0.100:80 --bounded-load 0.9", "1.01 to 10"),
        ("service set 10.0.0.100:80 --persist insert", "--persist-cookie"),
        ("service set 10.0.0.100:80 --persist insert --persist-cookie a --persist-same-site none", "needs secure"),
        ("service set 10.0.0.100:53/udp --content http", "UDP service"),
        ("explain 10.0.0.100:80 --url /", "does not exist"),
    ] {
        let refusal = served.refused(words);
        assert!(refusal.contains(said), "{words}: {refusal}");
    }
}

/// What is wrong whatever the switch is a mistake of usage, whoever finds it; what only this switch refuses is refused.
#[test]
fn mistakes_of_usage_have_one_exit_code() {
    let served = Served::start();
    for (words, wanted) in [
        ("rule add 10.0.0.100:80 --drop 0", 2),
        ("rule add 10.0.0.100:80 --drop 1.5", 2),
        ("rule add 10.0.0.100:80 --drop half", 2),
        ("rule add 10.0.0.100:80 --url-prefix img --reset", 2),
        ("service set 10.0.0.100:80 --health-interval 1ms", 2),
        ("service set 10.0.0.100:80 --content html", 2),
        ("add 10.0.0.100:80 10.0.0.11:8080 --weight 5000", 2),
        ("drop 10.0.0.100:80 0.5 --from 10.0.0.1/8", 2),
        ("drop 10.0.0.100:80 0.5", 1),
        ("service set 10.0.0.100:80 --persist insert --persist-cookie acm --scheduler cookie-hash", 1),
    ] {
        let (code, _, err) = served.run(words);
        assert_eq!((code, err.lines().count()), (wanted, 1), "{words}: {err}");
    }
    assert!(served.json("list")["services"].as_array().unwrap().is_empty(), "nothing of it changed anything");
}

#[test]
fn values_are_repeated_as_far_as_it_helps() {
    let served = Served::start();
    let long = "x".repeat(5000);
    for words in [
        format!("rule add {VIP} --url-prefix {long} --group g"),
        format!("rule add {VIP} --method {long}a --group g"),
        format!("rule add {VIP} --host {long} --group g"),
        format!("rule add {VIP} --cookie-present {long}( --group g"),
        format!("rule add {VIP} --drop {long}"),
        format!("rule add {VIP} --name {long} --reset"),
        format!("rule add {VIP} --redirect {long}"),
        format!("service set {VIP} --hash-cookie {long}("),
        format!("service set {VIP} --scheduler {long}"),
        format!("service set {long}"),
        format!("service set {VIP} --health-interval {long}"),
        format!("list --switch {long}"),
        format!("list --{long}"),
        format!("{long} list"),
        format!("rule|add|{VIP}|--url-prefix|x\nacm: all is well\nUsage: \u{1b}[2J|--reset"),
        format!("rule|add|{VIP}|--drop|x\nacm: all is well\nUsage: \u{1b}[2J"),
    ] {
        let refusal = served.refused(&words);
        let start: String = words.chars().take(60).collect();
        assert!(refusal.chars().count() < 700 && !refusal.contains('\u{1b}'), "{start}: {refusal}");
    }
    let refusal = served.refused(&format!("rule add {VIP} --url-prefix {} --group g", &long[..1000]));
    assert!(refusal.contains(&format!("`{}…`", &long[..80])), "{refusal}");
}

#[test]
fn strangers_are_set_and_told() {
    let served = Served::start();
    shop(&served);
    let explain = |options: &str| served.json(&format!("explain {VIP} {options}"));
    let strange = "--method (";
    assert_eq!(explain(strange)["action"]["group"], "default");
    served.ok(&format!("service set {VIP} --strangers reset"));
    assert_eq!(served.json("list")["services"][0]["strangers"], "reset");
    assert!(served.ok("list").contains("else group default, strangers reset"));
    assert!(served.ok(&format!("rule list {VIP}")).ends_with("who does not speak HTTP: reset\n"));
    assert_eq!(
        (explain(strange)["action"].as_str(), explain("--url /")["strangers"].as_str()),
        (Some("reset"), Some("reset"))
    );
    let said = served.ok(&format!("explain {VIP} {strange}"));
    assert!(said.contains("not HTTP/1: strangers are reset") && said.contains("no rule decides: reset"), "{said}");
    assert!(served.ok(&format!("explain {VIP}")).ends_with("who does not speak HTTP: reset\n"));
    served.ok(&format!("service set {VIP} --strangers default"));
    assert!(!served.ok(&format!("explain {VIP}")).contains("who does not speak"));
}

#[test]
fn explain_says_what_is_heard_without_a_server() {
    let served = Served::start();
    served.ok(&format!("service set {VIP} --content http"));
    assert!(served.ok(&format!("explain {VIP}")).contains("no server: answered 503"));
    served.ok(&format!("service set {VIP} --when-none reset"));
    assert!(served.ok(&format!("explain {VIP}")).contains("no server: reset"));
    let client = std::net::SocketAddr::from(([10, 0, 0, 1], 2001));
    let heard = served.model.request(client, VIP.parse().unwrap(), &Request::get("/"));
    assert_eq!(heard, acm_switch::acm::rules::request::Served::Reset.into());
}

#[test]
fn rules_about_what_a_service_does_not_read_are_told() {
    let served = Served::start();
    let tls = "10.0.0.100:443";
    served.ok(&format!("service set {VIP} --content http"));
    served.ok(&format!("service set {tls} --content tls"));
    let warned = |words: &str, option: &str| {
        let (code, out, err) = served.run(words);
        assert_eq!((code, err.lines().count()), (0, 1), "{words}: {err}");
        assert!(err.starts_with("acm: warning: the rule never matches") && err.contains(option), "{words}: {err}");
        assert!(out.contains("rule-"), "it is kept: {out}");
    };
    warned(&format!("rule add {VIP} --sni shop.example --reset"), "--sni");
    warned(&format!("rule add {VIP} --url-prefix / --alpn h2 --reset --json"), "--alpn");
    warned(&format!("rule add {tls} --url-suffix .png --group images"), "--url-suffix");
    warned(&format!("rule add {tls} --sni shop.example --cookie-present sid --group images"), "--cookie-present");
    served.ok(&format!("rule add {tls} --sni shop.example --group images"));
    served.ok("rule add 10.0.0.100:81 --sni shop.example --group images");
    let said = served.ok(&format!("explain {VIP} --sni shop.example"));
    assert_eq!(said.matches("never matches: this service reads HTTP").count(), 2, "{said}");
    assert!(said.contains("--sni changes nothing"), "{said}");
    let said = served.json(&format!("explain {tls} --sni shop.example"));
    assert_eq!(said["rules"][1]["never"], "never matches: this service reads TLS");
    assert_eq!(said["rule"], "rule-3");
    assert!(served.ok(&format!("explain {tls} --url /x")).contains("--url changes nothing"));
}

#[test]
fn a_groups_options_are_changed_one_by_one() {
    let served = Served::start();
    served.ok(&format!("service set {VIP} --group caches --scheduler url-hash --bounded-load 1.25"));
    served.ok(&format!("service set {VIP} --group caches --hash-url host-path"));
    served.ok(&format!("service set {VIP} --group caches --persist insert --persist-cookie acm --persist-secure"));
    let group = || served.json("list")["services"][0]["groups"][0].clone();
    assert_eq!((group()["group"].as_str(), group()["scheduler"].as_str()), (Some("caches"), Some("url-hash")));
    assert_eq!(
        (group()["hash"]["url"].as_str(), group()["hash"]["bounded_load"].as_f64()),
        (Some("host-path"), Some(1.25))
    );
    assert_eq!(group()["persist"]["insert"]["secure"], true);
    let note = served.ok("list");
    assert!(note.contains("url-hash (host-path), else round-robin, load bounded by 1.25"), "{note}");
    let in_turn = format!("service set {VIP} --group caches --scheduler round-robin");
    assert!(served.refused(&in_turn).contains("--bounded-load"), "its bound would bound nothing");
    served.ok(&format!("service set {VIP} --group caches --bounded-load off --persist none"));
    served.ok(&in_turn);
    assert!(group()["hash"]["bounded_load"].is_null() && group()["persist"].is_null());
}

/// A service with images by suffix, sessions by cookie, hashed caches.
fn shop(served: &Served) {
    for (group, hosts) in [("default", 11..13), ("images", 21..22), ("caches", 31..36)] {
        for host in hosts {
            served.ok(&format!("add {VIP} 10.0.0.{host}:8080 --group {group}"));
        }
    }
    served.ok(&format!("service set {VIP} --content http --group caches --scheduler url-hash"));
    served.ok(&format!("rule add {VIP} --name images --url-suffix .png --method GET --group images"));
    served.ok(&format!("rule add {VIP} --name shed --url-prefix /search --drop 0.5"));
    served.ok(&format!("rule add {VIP} --name caches --url-prefix /static/ --group caches"));
    served.ok(&format!("rule add {VIP} --name old --host old.example.com --redirect https://new.example.com{{uri}}"));
}

#[test]
fn explain_says_which_rule_and_which_server() {
    let served = Served::start();
    shop(&served);
    let explain = |options: &str| served.json(&format!("explain {VIP} {options}"));

    let image = explain("--url /a/../b/logo.png?x");
    assert_eq!((image["rule"].as_str(), image["path"].as_str()), (Some("images"), Some("/b/logo.png")));
    assert_eq!(image["group"]["real"], "10.0.0.21:8080");

    let posted = explain("--url /logo.png --method POST");
    assert_eq!(posted["rules"][0]["fails"], "method is \"GET\"");
    assert!(posted["rule"].is_null());
    assert_eq!(posted["action"]["group"], "default");
    assert_eq!(posted["group"]["candidates"].as_array().unwrap().len(), 2);
    assert!(posted["group"]["real"].is_null(), "round-robin: not known before");

    let cached = explain("--url /static/app.js");
    assert_eq!(cached["rule"], "caches");
    let real = cached["group"]["real"].clone();
    assert!(real.as_str().unwrap().starts_with("10.0.0.3"));
    assert_eq!(explain("--url http://x//static/./app.js")["group"]["real"], real, "another spelling");

    let moved = explain("--url http://old.example.com:80/a?b");
    assert_eq!(
        (moved["rule"].as_str(), moved["location"].as_str()),
        (Some("old"), Some("https://new.example.com/a?b"))
    );

    let search = served.ok(&format!("explain {VIP} --url /search?q"));
    assert!(search.contains("rule shed: matches: drop 0.5 (mode shed, reset); the rest goes on"), "{search}");
    assert!(search.contains("no rule decides: group default") && search.contains("one of 10.0.0.11:8080"), "{search}");

    let refused = served.ok(&format!("explain {VIP} --url /a%2fb"));
    assert!(refused.contains("refused with 400 (encoded-slash)"), "{refused}");
    assert!(served.refused(&format!("explain|{VIP}|--header|X=a\r\nY: b")).contains("line break"));
}

#[test]
fn hits_are_listed_and_metered() {
    use std::io::{Read, Write};
    let served = Served::start();
    shop(&served);
    let service = VIP.parse().unwrap();
    for (port, target) in (2001..).zip(["/a.png", "/b.png", "/static/x", "/"]) {
        let client = std::net::SocketAddr::from(([10, 0, 0, 1], port));
        let _ = served.model.request(client, service, &Request::get(target));
    }
    let rules = served.json(&format!("rule list {VIP}"));
    let hits: Vec<_> = rules.as_array().unwrap().iter().map(|row| row["hits"].as_u64().unwrap()).collect();
    assert_eq!(hits, [2, 0, 1, 0]);
    let mut stream = std::os::unix::net::UnixStream::connect(&served.socket).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: acm\r\nConnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    for line in [
        "acm_rule_hits_total{service=\"10.0.0.100:80\",rule=\"images\"} 2",
        "acm_rule_hits_total{service=\"10.0.0.100:80\",rule=\"old\"} 0",
    ] {
        assert!(page.contains(line), "{line} is not in\n{page}");
    }
}

#[test]
fn explain_agrees_with_another_switch_and_after_another_port() {
    let (one, two) = (Served::start(), Served::start());
    shop(&one);
    // The other one gets its servers in another order, and one of them came back on another port.
    for host in (31..36).rev() {
        let port = if host == 33 { 41_234 } else { 8080 };
        two.ok(&format!("add {VIP} 10.0.0.{host}:{port} --group caches"));
    }
    two.ok(&format!("service set {VIP} --content http --group caches --scheduler url-hash --default-group caches"));
    let host = |served: &Served, url: &str| {
        let real = served.json(&format!("explain {VIP} --url {url}"))["group"]["real"].clone();
        real.as_str().unwrap().split_once(':').unwrap().0.to_owned()
    };
    let mut seen = std::collections::BTreeSet::new();
    for n in 0..12 {
        let url = format!("/static/{n}");
        assert_eq!(host(&one, &url), host(&two, &url), "{url}");
        seen.insert(host(&one, &url));
    }
    assert!(seen.len() > 1);
}

#[test]
fn explain_reads_client_hellos() {
    let served = Served::start();
    let vip = "10.0.0.100:443";
    served.ok(&format!("add {vip} 10.0.0.11:443 --group shop"));
    served.ok(&format!("service set {vip} --content tls"));
    served.ok(&format!("rule add {vip} --sni *.shop.example --alpn h2 --group shop"));
    let explain = |options: &str| served.json(&format!("explain {vip} {options}"));
    assert_eq!(explain("--sni www.Shop.example --alpn h2")["group"]["real"], "10.0.0.11:443");
    assert!(explain("--sni www.shop.example")["rule"].is_null());
}

/// Every `acm` command of the README's section about content, as it stands there.
#[test]
fn the_readme_can_be_followed() {
    let readme = include_str!("../README.md");
    let section = readme.split("### Switch by content\n").nth(1).unwrap().split("\n### ").next().unwrap();
    let served = Served::start();
    let mut commands = 0;
    for line in section.lines().filter_map(|line| line.strip_prefix("acm ")) {
        let line = line.split(" #").next().unwrap();
        // Quotes are the shell's; no word here holds a blank.
        served.ok(&line.split_whitespace().map(|word| word.trim_matches('\'')).collect::<Vec<_>>().join(" "));
        commands += 1;
    }
    assert!(commands > 15, "{commands}");
    let rules = served.json(&format!("rule list {VIP}"));
    let names: Vec<_> = rules.as_array().unwrap().iter().map(|row| row["rule"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["rule-3", "rule-1", "rule-2", "rule-4", "rule-5"]);
    let explained = served.json(&format!("explain {VIP} --url /static/app.js --cookie sid=us-7"));
    assert_eq!(explained["rule"], "rule-4");
}

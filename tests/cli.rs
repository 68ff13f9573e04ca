//! The command line from outside: the real binary against a served switch.

mod small_switch;

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use acm_switch::acm::words::{BindingKey, ServiceKey};
use acm_switch::api::auth::Tokens;
use acm_switch::api::listen::{Endpoint, Listener};
use acm_switch::api::task::serve;
use serde_json::Value;
use small_switch::SmallSwitch;

const VIP: &str = "10.0.0.100:80";
const REAL: &str = "10.0.0.11:8080";
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A switch served by a thread of the test.
struct Served {
    switch: SmallSwitch,
    socket: PathBuf,
    tcp: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    dir: tempfile::TempDir,
}

impl Served {
    fn start() -> Served {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("switch.sock");
        let switch = SmallSwitch::default();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (opened, tcp) = std::sync::mpsc::channel();
        let (served, path) = (switch.clone(), socket.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let tokens = Arc::new(Tokens::parse(TOKEN).unwrap());
                let unix = Listener::open(&Endpoint::Unix(path), None).unwrap();
                let tcp = Listener::open(&"http://127.0.0.1:0".parse().unwrap(), Some(tokens)).unwrap();
                let Endpoint::Tcp(addr) = tcp.endpoint().unwrap() else { panic!("a TCP endpoint") };
                opened.send(addr).unwrap();
                serve(Arc::new(served), vec![unix, tcp], async move { drop(stopped.await) }).await;
            });
        });
        let tcp = tcp.recv().unwrap();
        Served { switch, socket, tcp, stop: Some(stop), thread: Some(thread), dir }
    }

    fn command(&self, words: &str) -> Command {
        let mut command = acm(words);
        command.env("ACM_SWITCH", format!("unix:{}", self.socket.display()));
        command
    }

    fn run(&self, words: &str) -> Said {
        Said::of(self.command(words).output().unwrap(), words)
    }

    fn ok(&self, words: &str) -> String {
        let said = self.run(words);
        assert_eq!(said.code, 0, "{said:?}");
        assert_eq!(said.err, "", "{words}");
        said.out
    }

    fn json(&self, words: &str) -> Value {
        let out = self.ok(&format!("{words} --json"));
        serde_json::from_str(&out).unwrap_or_else(|why| panic!("{words}: {why}: {out}"))
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

#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    fn of(output: Output, words: &str) -> Said {
        let text = |bytes| String::from_utf8(bytes).unwrap_or_else(|why| panic!("{words}: {why}"));
        Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }
}

fn acm(words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_acm"));
    command.args(words.split_whitespace()).stdin(Stdio::null());
    command.env_remove("ACM_SWITCH").env_remove("ACM_TOKEN").env_remove("RUST_LOG");
    command
}

fn key() -> BindingKey {
    BindingKey { service: VIP.parse::<ServiceKey>().unwrap(), real: REAL.parse().unwrap() }
}

#[test]
fn a_binding_lives_through_its_verbs() {
    let served = Served::start();
    assert!(served.ok("list").contains("acm add"), "an empty switch says how to begin");
    let added = served.json(&format!("add {VIP} {REAL} --no-health --weight 3 --max-conns 100 --group default"));
    assert_eq!((added["changed"].as_bool(), added["generation"].as_u64()), (Some(true), Some(1)));
    assert!(served.ok(&format!("add {VIP} {REAL} --no-health --weight 3 --max-conns 100")).starts_with("unchanged"));
    let table = served.ok("list");
    let row: Vec<_> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row, [VIP, REAL, "default", "active", "0/100", "0", "3", "operator", "-"], "{table}");
    let listing = served.json(&format!("list {VIP}"));
    assert_eq!(listing["bindings"][0]["state"], "active");
    assert_eq!(served.json(&format!("list {VIP}/udp"))["bindings"], Value::Array(vec![]));
    assert_eq!(served.json("list --state failed")["bindings"], Value::Array(vec![]));

    assert!(served.ok(&format!("drop {VIP} 0.5 --mode queue --from 198.51.100.0/24 --reset")).contains("0.5"));
    let drops = &served.json("list")["services"][0]["drops"][0];
    assert_eq!(
        (&drops["fraction"], &drops["mode"], &drops["refusal"]),
        (&0.5.into(), &"queue".into(), &"reset".into())
    );
    assert!(served.ok("list").contains("drops 0.5 of new connections from 198.51.100.0/24"));
    served.json(&format!("drop {VIP} 0 --from 198.51.100.0/24"));
    assert_eq!(served.json("list")["services"][0]["drops"], Value::Array(vec![]));

    served.switch.set_connections(key().real, 4);
    assert!(served.ok(&format!("remove {VIP} {REAL} --deadline 30s")).contains("draining"));
    let late = served.run(&format!("remove {VIP} {REAL} --wait 100ms"));
    assert_eq!(late.code, 4, "{late:?}");
    assert!(late.err.contains("4 connections"), "{late:?}");
    let cut = served.json(&format!("remove {VIP} {REAL} --force"));
    assert_eq!(cut["cut"], 4);
    let gone = served.run(&format!("remove {VIP} {REAL}"));
    assert_eq!((gone.code, gone.err.lines().count()), (1, 1), "{gone:?}");
    assert!(gone.err.contains("does not exist"), "{gone:?}");
}

#[test]
fn add_waits_until_active_or_says_why_not() {
    let served = Served::start();
    let late = served.run(&format!("add {VIP} {REAL} --wait 100ms"));
    assert_eq!(late.code, 4, "{late:?}");
    assert!(late.err.contains("ARP"), "{late:?}");
    let waiting = served.command(&format!("add {VIP} {REAL} --wait 20s")).stdout(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    served.switch.pass(key());
    let said = Said::of(waiting.wait_with_output().unwrap(), "add --wait");
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("active"), "{said:?}");
}

#[test]
fn services_are_set_and_removed() {
    let served = Served::start();
    served.json(&format!("service set {VIP}/udp --scheduler source-hash"));
    assert_eq!(served.json("list")["services"][0]["groups"][0]["scheduler"], "source-hash");
    served.ok(&format!(
        "service set {VIP} --http-path /healthz --http-host www --http-status 204 --http-contains ok \
         --health-interval 5s --health-timeout 2s --rise 3 --fall 4 --when-none reset"
    ));
    let health = |served: &Served| served.json(&format!("list {VIP}"))["services"][0].clone();
    let set = health(&served);
    assert_eq!(set["when_none"], "reset");
    assert_eq!(
        set["health"],
        serde_json::json!({"depth": "l4", "http": {"path": "/healthz", "host": "www", "status": 204, "contains": "ok"},
            "interval": "5s", "timeout": "2s", "rise": 3, "fall": 4})
    );
    served.ok(&format!("service set {VIP} --fall 9"));
    let kept = health(&served);
    assert_eq!((&kept["health"]["fall"], &kept["health"]["http"]["path"]), (&9.into(), &"/healthz".into()));
    served.ok(&format!("service set {VIP} --health-depth l3"));
    assert_eq!(health(&served)["health"]["http"], Value::Null);
    assert!(served.ok(&format!("service remove {VIP}")).contains("removed"));
    assert_eq!(served.run(&format!("service remove {VIP}")).code, 1);
}

#[test]
fn stats_are_shown() {
    let served = Served::start();
    let text = served.ok("stats");
    assert!(text.contains("verdict.forwarded  17") && text.contains("eth1") && text.contains("1m 1s"), "{text}");
    assert_eq!(served.json("stats")["counters"]["verdict.forwarded"], 17);
}

fn interrupt(child: &Child) {
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[test]
fn watch_prints_events_as_they_come_and_ends_well() {
    let served = Served::start();
    for (words, expect) in [("watch", "added"), ("watch --json", "\"event\":\"added\"")] {
        let mut child = served.command(words).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Nothing says when the subscription stands, so things keep happening until it is seen.
        let seen =
            std::thread::spawn(move || lines.find(|line| line.as_ref().unwrap().contains(expect)).unwrap().unwrap());
        for _ in 0..100 {
            served.json(&format!("add {VIP} {REAL} --no-health"));
            served.json(&format!("remove {VIP} {REAL} --force"));
            if seen.is_finished() {
                break;
            }
        }
        let line = seen.join().unwrap();
        assert!(line.contains(VIP) && line.contains(REAL), "{line}");
        interrupt(&child);
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn capture_writes_a_file_until_it_is_told_to_stop() {
    let served = Served::start();
    let file = served.dir.path().join("eth1.pcap");
    let child = served.command(&format!("capture eth1 -w {}", file.display())).stdout(Stdio::piped()).spawn().unwrap();
    let grown = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        std::fs::metadata(&file).is_ok_and(|meta| meta.len() == 124)
    });
    assert!(grown, "the file grows while the capture runs");
    interrupt(&child);
    let said = Said::of(child.wait_with_output().unwrap(), "capture");
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("124 bytes"), "{said:?}");
    assert_eq!(std::fs::read(&file).unwrap()[..24], small_switch::PCAP_HEAD);

    let mut piped = served.command("capture eth1 -w -").stdout(Stdio::piped()).spawn().unwrap();
    let mut head = [0; 24];
    piped.stdout.as_mut().unwrap().read_exact(&mut head).unwrap();
    assert_eq!(head, small_switch::PCAP_HEAD);
    interrupt(&piped);
    assert!(piped.wait().unwrap().success());

    let none = served.run(&format!("capture eth9 -w {}", served.dir.path().join("none").display()));
    assert_eq!(none.code, 1, "{none:?}");
    assert!(!served.dir.path().join("none").exists(), "a refused capture leaves no file");
}

#[test]
fn errors_are_one_line_with_field_and_code() {
    let served = Served::start();
    let same = served.run(&format!("add {VIP} {VIP} --no-health"));
    assert_eq!(same.code, 1, "{same:?}");
    assert!(same.err.starts_with("acm: real: ") && same.err.lines().count() == 1, "{same:?}");
    for (words, says) in [
        (format!("drop {VIP} 1.5"), "1.5"),
        (format!("drop {VIP} -0.5"), "-0.5"),
        (format!("drop {VIP} half"), "half"),
        (format!("drop {VIP} 0.5 --mode sometimes"), "sometimes"),
        (format!("add {VIP}"), "REAL:PORT"),
        ("add 10.0.0.100 10.0.0.11:80".to_owned(), "10.0.0.100"),
        (format!("add {VIP} {REAL} --lease soon"), "soon"),
        (format!("remove {VIP} {REAL} --force --deadline 3s"), "--force"),
        ("list --state asleep".to_owned(), "asleep"),
        ("dorp".to_owned(), "dorp"),
        ("roll".to_owned(), "SERVICE"),
        ("roll web --at-once 0".to_owned(), "25%"),
        ("roll web --availability 100%".to_owned(), "99.99%"),
        ("roll web --availability 99% --drain 1s".to_owned(), "--drain"),
        ("roll web --resume=latest".to_owned(), "latest"),
        ("list --switch ftp://x".to_owned(), "unix:PATH"),
    ] {
        let said = served.run(&words);
        assert_eq!((said.code, said.err.lines().count(), said.out.as_str()), (2, 1, ""), "{words}: {said:?}");
        assert!(said.err.starts_with("acm: ") && said.err.contains(says), "{words}: {said:?}");
    }
    let json = served.run(&format!("add {VIP} {REAL} --weight 5000 --json"));
    let problem: Value = serde_json::from_str(&json.err).unwrap();
    assert_eq!((json.code, &problem["field"], &problem["status"]), (2, &"weight".into(), &422.into()));
    assert_eq!(served.switch.event_count(), 0, "nothing of it changed anything");
}

#[test]
fn an_unreachable_switch_is_exit_code_3() {
    let nowhere = Said::of(acm("list --switch unix:/nonexistent/acm.sock").output().unwrap(), "list");
    assert_eq!((nowhere.code, nowhere.err.lines().count()), (3, 1), "{nowhere:?}");
    assert!(nowhere.err.contains("acm switch") && nowhere.err.contains("--switch"), "{nowhere:?}");
}

#[test]
fn a_roll_says_what_it_lacks() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str, text: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    };
    let secret = path("secret", "0123456789abcdef0123456789abcdef\n");
    let key = format!("[network]\npeers = [\"127.0.0.1:9\"]\n[[key]]\nid = 3\nsecret_file = {secret:?}\n");
    let (no_operator, nobody) = (path("no", &key), path("nobody", &format!("{key}operator = true\n")));
    for (config, more, code, says) in [
        ("/nonexistent/acm.toml", "", 1, "/nonexistent/acm.toml"),
        (&no_operator, "", 1, "operator = true"),
        (&nobody, "--wait-healthy 1ms", 2, "--wait-healthy"),
        (&nobody, "--drain 2days", 2, "--drain"),
        (&nobody, "", 4, "no agent of `web` answered"),
    ] {
        let words = format!("roll web --config {config} {more}");
        let said = Said::of(acm(&words).output().unwrap(), &words);
        assert_eq!((said.code, said.err.lines().count(), said.out.as_str()), (code, 1, ""), "{words}: {said:?}");
        assert!(said.err.starts_with("acm: ") && said.err.contains(says), "{words}: {said:?}");
    }
    // No server is to blame for what is wrong here.
    for words in [format!("roll web --config {no_operator}"), "managers --config /nonexistent/acm.toml".to_owned()] {
        let said = Said::of(acm(&format!("{words} --json")).output().unwrap(), &words);
        let problem: Value = serde_json::from_str(&said.err).unwrap();
        assert_eq!((said.code, &problem["type"], problem.get("status")), (1, &"urn:acm:error:local".into(), None));
    }
}

/// A place in a file is told in one way, whoever reads the file.
#[test]
fn places_in_files_are_told_alike() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("acm.toml");
    let long = "x".repeat(5000);
    for (text, place) in [
        ("# one\ngroup = 7\n".to_owned(), ": line 2: group: "),
        (format!("group = \"{long}\"\n"), ": line 1: group: "),
        ("group = \n".to_owned(), ": line 1: group: "),
    ] {
        std::fs::write(&file, text).unwrap();
        for words in ["manager --config", "managers --config", "roll web --config", "run --bind web -- true --config"] {
            let (verb, rest) = words.split_once(' ').unwrap();
            let words = match rest.strip_suffix(" -- true --config") {
                Some(bind) => format!("{verb} {bind} --config {} -- true", file.display()),
                None => format!("{words} {}", file.display()),
            };
            let said = Said::of(acm(&words).output().unwrap(), &words);
            let begins = format!("acm: {}{place}", file.display());
            assert!(said.code == 1 && said.err.starts_with(&begins) && said.err.len() < 700, "{words}: {said:?}");
        }
    }
    for (words, text) in
        [("manager --config", "node = 1\nsign_with = 1\n"), ("run --bind web --config", "sign_with = 1\n")]
    {
        std::fs::write(&file, text).unwrap();
        let command = format!("{words} {}{}", file.display(), if words.starts_with("run") { " -- true" } else { "" });
        let said = Said::of(acm(&command).output().unwrap(), &command);
        assert!(said.err.starts_with(&format!("acm: {}: sign_with: ", file.display())), "{command}: {said:?}");
    }
}

/// A command does not outlive its agent, however that ends.
#[test]
fn a_command_dies_with_its_agent() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let (secret, config) = (dir.path().join("secret"), dir.path().join("agent.toml"));
    std::fs::write(&secret, "0123456789abcdef0123456789abcdef\n").unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    let text = "address = \"127.0.0.1\"\n[network]\npeers = [\"127.0.0.1:9\"]\n[[key]]\nid = 2\n";
    std::fs::write(&config, format!("{text}secret_file = {secret:?}\n")).unwrap();
    for pass in ["port", "socket"] {
        let pid = dir.path().join(pass);
        let mut agent = acm(&format!("run --bind web=10.0.0.100:80 --pass {pass} --config {}", config.display()));
        agent.args(["--", "sh", "-c", "echo $$ > $0.new; mv $0.new $0; exec sleep 60"]).arg(&pid);
        let mut agent = agent.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let until = |what: &str, mut holds: Box<dyn FnMut() -> bool>| {
            let came = (0..500).any(|_| {
                std::thread::sleep(Duration::from_millis(20));
                holds()
            });
            assert!(came, "{pass}: {what}");
        };
        let file = pid.clone();
        until("the command runs", Box::new(move || file.exists()));
        let command = std::fs::read_to_string(&pid).unwrap();
        // What has ended and is not yet waited for has nothing open any more.
        let open = PathBuf::from(format!("/proc/{}/fd/0", command.trim()));
        assert!(std::fs::symlink_metadata(&open).is_ok(), "{pass}: it runs");
        agent.kill().unwrap();
        agent.wait().unwrap();
        until("the command has died", Box::new(move || std::fs::symlink_metadata(&open).is_err()));
    }
}

#[test]
fn tokens_come_from_the_environment_or_a_private_file() {
    use std::os::unix::fs::PermissionsExt;
    let served = Served::start();
    let url = format!("http://{}", served.tcp);
    let list = format!("list --switch {url} --json");
    let without = Said::of(acm(&list).output().unwrap(), &list);
    assert_eq!(without.code, 1, "{without:?}");
    let with = Said::of(acm(&list).env("ACM_TOKEN", TOKEN).output().unwrap(), &list);
    assert_eq!(with.code, 0, "{with:?}");
    let file = served.dir.path().join("token");
    std::fs::write(&file, TOKEN).unwrap();
    let listed = format!("{list} --token-file {}", file.display());
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let open = Said::of(acm(&listed).output().unwrap(), &listed);
    assert!(open.code == 1 && open.err.contains("chmod 600") && !open.err.contains(TOKEN), "{open:?}");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let private = Said::of(acm(&listed).output().unwrap(), &listed);
    assert_eq!(private.code, 0, "{private:?}");
}

#[test]
fn a_configured_switch_begins_with_what_its_file_says() {
    use acm_switch::acm::list::Filter;
    use acm_switch::acm::switch::AcmSwitch;
    use acm_switch::cli::config::SwitchConfig;
    use acm_switch::cli::switch::{open_api, run};
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("switch.toml");
    let socket = dir.path().join("switch.sock");
    let start = |bindings: &str| {
        let text = format!(
            "ports = [\"eth1\"]\naddresses = [\"10.0.0.2/24\"]\n[api]\nlisten = [\"unix:{}\"]\n{bindings}",
            socket.display()
        );
        std::fs::write(&file, text).unwrap();
        let config = SwitchConfig::read(&file).unwrap();
        let switch = SmallSwitch::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listeners = open_api(&config.api).unwrap();
            run(config, Arc::new(switch.clone()), listeners, async {}).await.map_err(|why| why.to_string())?;
            Ok::<_, String>(switch.list(&Filter::default()).await.unwrap())
        })
    };
    let binding = |real: &str| format!("[[binding]]\nservice = \"{VIP}\"\nreal = \"{real}\"\n");
    let listing = start(&binding(REAL)).unwrap();
    assert_eq!(listing.bindings[0].key, key());
    let refused = start(&(binding(REAL) + &binding(VIP))).unwrap_err();
    assert!(refused.starts_with("binding[1].real: "), "{refused}");
    assert!(!socket.exists(), "the socket is removed at exit");
}

/// The small switch forgets options that an Add does not name. The suite notices, shows what was said, and removes what
/// it made.
#[test]
fn conformance_fails_a_switch_that_is_wrong() {
    let served = Served::start();
    served.ok(&format!("add {VIP} {REAL} --no-health"));
    let before = served.json("list");
    let target = format!("unix:{}", served.socket.display());
    let said =
        served.run(&format!("conformance --driver native --target {target} --filter options --filter idempotent"));
    assert!(said.code == 1 && said.err == "acm: 1 of 2 cases failed\n", "{said:?}");
    for part in [
        "  passed   Add is idempotent\n",
        "  FAILED   Add changes options and keeps those it does not name: ",
        "           | call: {\"op\":\"add\",",
        "\n1 passed, 0 cannot be done by this box, 0 skipped, 1 failed, in ",
    ] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }
    let after = served.json("list");
    assert_eq!((&before["services"], &before["bindings"]), (&after["services"], &after["bindings"]));
    let own = served.run(&format!("conformance --driver native --target {target} --vip {VIP}"));
    assert!(own.code == 1 && own.err.contains("--vip") && own.err.contains("already"), "{own:?}");
}

#[test]
fn conformance_lists_its_cases_and_names_what_is_wrong() {
    let listed = Said::of(acm("conformance --list --filter IDEMPOTENT").output().unwrap(), "list");
    assert_eq!((listed.code, listed.out.as_str()), (0, "ABOUT    CASE\ncontrol  Add is idempotent\n"));
    for (words, code, says) in [
        ("conformance", 2, "--driver"),
        ("conformance --driver nobody --target unix:/s", 2, "choose one of native"),
        ("conformance --driver native --target unix:/nowhere/s", 3, "/nowhere/s"),
        ("conformance --driver native --target unix:/s?driver=haproxy", 1, "names the driver `haproxy`"),
        ("conformance --driver native --target unix:/s --user admin", 1, "user"),
        ("conformance --list --filter zebra", 1, "--list"),
    ] {
        let said = Said::of(acm(words).output().unwrap(), words);
        assert!(said.code == code && said.err.contains(says), "{words}: {said:?}");
    }
}

#[test]
fn help_has_examples_and_completions_are_scripts() {
    for verb in [
        "add",
        "remove",
        "list",
        "drop",
        "watch",
        "capture",
        "stats",
        "service set",
        "service remove",
        "rule add",
        "rule list",
        "rule remove",
        "rule move",
        "explain",
    ] {
        let said = Said::of(acm(&format!("{verb} --help")).output().unwrap(), verb);
        assert_eq!(said.code, 0, "{verb}");
        assert!(said.out.contains("Example") && said.out.contains(&format!("acm {verb}")), "{verb}: {}", said.out);
        assert!(said.out.contains("--json") && said.out.contains("--switch"), "{verb}: {}", said.out);
    }
    for shell in ["bash", "zsh", "fish"] {
        let said = Said::of(acm(&format!("completions {shell}")).output().unwrap(), shell);
        assert!(said.code == 0 && said.out.contains("capture"), "{shell}");
    }
    assert_eq!(Said::of(acm("--version").output().unwrap(), "--version").code, 0);
    assert_eq!(Said::of(acm("").output().unwrap(), "").code, 2);
}

#[test]
fn a_closed_pipe_is_not_a_panic() {
    let served = Served::start();
    served.json(&format!("add {VIP} {REAL} --no-health"));
    for words in ["list", "list --json", "add --help", "completions bash"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let said = Said::of(served.command(words).stdout(writer).output().unwrap(), words);
        assert!(said.code == 0 && said.err.is_empty(), "{words}: {said:?}");
    }
}

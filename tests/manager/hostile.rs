//! Files that are wrong, secrets that are not kept, and how processes end.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use super::until;

const CANARY: &str = "canary-canary-canary-canary-canary";

/// A directory with a good secret, and the text of a configuration that is right.
fn place() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    secret(dir.path(), "key", CANARY, 0o600);
    let text = format!(
        "node = 1\nsign_with = 1\nprofile = \"fast\"\n[network]\npeers = [\"127.0.0.1:9\"]\nlisten = \"127.0.0.1:0\"\n\
         [[key]]\nid = 1\nsecret_file = \"{0}/key\"\nmanagers = [1]\n\
         [[switch]]\nname = \"sw-1\"\nurl = \"unix:{0}/nobody.sock\"\nvips = [\"10.0.0.100\"]\ntoken_file = \"{0}/key\"\n",
        dir.path().display()
    );
    (dir, text)
}

/// A process that ends with the test.
struct Guard(std::process::Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn secret(dir: &Path, name: &str, text: &str, mode: u32) {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn acm(verb: &str, dir: &Path, text: &str, more: &[&str]) -> Output {
    let config = dir.join("manager.toml");
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_acm"));
    command.arg(verb).arg("--config").arg(config).args(more).env_remove("ACM_NO_SUCH");
    command.stdin(Stdio::null()).output().unwrap()
}

/// What is wrong is named, in one line and by exit code 1; secrets are not repeated, and nothing panics.
#[test]
fn a_wrong_file_is_one_line_that_names_the_key() {
    let (dir, good) = place();
    secret(dir.path(), "open", CANARY, 0o644);
    secret(dir.path(), "short", "canary-canary", 0o600);
    std::fs::create_dir(dir.path().join("folder")).unwrap();
    let key = |file: &str| good.replacen("/key\"\nmanagers", &format!("/{file}\"\nmanagers"), 1);
    let url = |url: &str| good.replace(&format!("unix:{}/nobody.sock", dir.path().display()), url);
    let token = |file: &str| good.replace("token_file = ", &format!("{file} = "));
    for (text, names) in [
        (String::new(), "node"),
        ("\u{0}".to_owned(), "manager.toml"),
        (good.replace("node = 1", "node = -1"), "node"),
        (good.replace("node = 1", "node = 2"), "node"),
        (good.replace("sign_with = 1", "sign_with = 7"), "sign_with"),
        (good.replace("profile", "profil"), "profil"),
        (good.replace("managers = [1]", "managers = [1]\nsecret = \"x\""), "secret"),
        (key("open"), "key[0].secret_file"),
        (key("short"), "key[0].secret_file"),
        (key("nowhere"), "key[0].secret_file"),
        (key("folder"), "key[0].secret_file"),
        (
            good.replace(&format!("secret_file = \"{}/key\"", dir.path().display()), "secret_env = \"ACM_NO_SUCH\""),
            "key[0].secret_env",
        ),
        (token("token_env"), "switch[0].token_env"),
        (url(&format!("telnet://admin:{CANARY}@lb-5")), "switch[0].url"),
        (url("gopher://lb-5"), "switch[0].url"),
        (format!("{good}{}", &good[good.find("[[switch]]").unwrap()..]), "switch[1].name"),
    ] {
        let output = acm("manager", dir.path(), &text, &[]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{names}: {said}");
        assert!(said.lines().count() == 1 && said.contains(names), "{names}: {said}");
        assert!(!said.contains(CANARY) && !said.contains("panicked") && output.stdout.is_empty(), "{names}: {said}");
    }
    let missing =
        Command::new(env!("CARGO_BIN_EXE_acm")).args(["manager", "--config", "/nowhere/m.toml"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(1));
    let nothing = Command::new(env!("CARGO_BIN_EXE_acm")).arg("manager").output().unwrap();
    assert_eq!(nothing.status.code(), Some(2), "a wrong command line");
}

#[test]
fn who_asks_managers_is_told_why_there_is_no_answer() {
    let (dir, good) = place();
    let output = acm("managers", dir.path(), &good, &["--wait", "100ms"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("operator = true"));
    let with_operator = good.replace("managers = [1]", "managers = [1]\noperator = true");
    let output = acm("managers", dir.path(), &with_operator, &["--wait", "100ms"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("no manager answered within 100ms") && !said.contains("in force"), "{said}");
    let output = acm("managers", dir.path(), &with_operator, &["--wait", "100ms", "--json"]);
    let said: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert!(output.status.code() == Some(4) && said["detail"].as_str().unwrap().contains("no manager"), "{said}");
}

/// It runs, cannot reach its switch, says so without the token, and ends on Ctrl-C without an error.
#[test]
fn it_ends_on_ctrl_c_and_its_log_holds_no_secret() {
    let (dir, good) = place();
    let config = dir.path().join("manager.toml");
    std::fs::write(&config, good).unwrap();
    let log = std::fs::File::create(dir.path().join("log")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_acm"));
    command.arg("manager").arg("--config").arg(config).env("RUST_LOG", "trace").stdin(Stdio::null()).stderr(log);
    let mut child = Guard(command.spawn().unwrap());
    let read = || std::fs::read_to_string(dir.path().join("log")).unwrap();
    until("it says that the switch is out of reach", Duration::from_secs(10), || read().contains("out of reach"));
    let pid = rustix::process::Pid::from_raw(child.0.id() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert!(child.0.wait().unwrap().success());
    assert!(!read().contains("canary") && !read().contains("panicked"), "{}", read());
}

/// Without the right to a larger buffer than the system's limit, what was refused is said.
#[test]
fn a_buffer_that_is_refused_is_reported() {
    let (dir, good) = place();
    let config = dir.path().join("manager.toml");
    std::fs::write(&config, good.replace("[network]", "[network]\nreceive_buffer = 536870912")).unwrap();
    let log = std::fs::File::create(dir.path().join("log")).unwrap();
    let mut command = Command::new("setpriv");
    command.args([
        "--bounding-set=-net_admin",
        "--inh-caps=-net_admin",
        env!("CARGO_BIN_EXE_acm"),
        "manager",
        "--config",
    ]);
    let started = command.arg(config).stdin(Stdio::null()).stderr(log).spawn();
    let child = match started {
        Ok(child) => Guard(child),
        Err(why) => return println!("SKIPPED: setpriv cannot be run: {why}"),
    };
    let read = || std::fs::read_to_string(dir.path().join("log")).unwrap();
    until("it listens", Duration::from_secs(10), || {
        read().contains("the manager listens") || read().contains("setpriv")
    });
    let said = read();
    drop(child);
    if said.contains("setpriv:") {
        return println!("SKIPPED: no right to give up rights: {said}");
    }
    assert!(said.contains("smaller than asked for") && said.contains("asked=536870912"), "{said}");
    assert!(said.contains("rmem_max"), "and what to do: {said}");
}

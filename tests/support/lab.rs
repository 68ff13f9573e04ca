//! A lab of namespaces that a test holds: the real binary puts it up, and takes it down when the test ends.

// Included by several tests, none of which uses everything.
#![allow(dead_code, unreachable_pub)]

use std::io;
use std::process::{Command, Output, Stdio};

use libtest_mimic::Failed;
use serde_json::Value;

pub const ACM: &str = env!("CARGO_BIN_EXE_acm");

/// The service every lab has.
pub const VIP: &str = "10.0.0.100:80";

pub type Outcome = Result<(), Failed>;

/// Runs a command to its end, with nothing to read.
pub fn run(mut command: Command) -> io::Result<Output> {
    command.stdin(Stdio::null()).output()
}

/// Runs the binary under test.
pub fn acm(args: &[&str]) -> io::Result<Output> {
    let mut command = Command::new(ACM);
    command.args(args);
    run(command)
}

/// All that was said.
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

pub fn expect(what: &str, holds: bool) -> Outcome {
    if holds { Ok(()) } else { Err(what.to_owned().into()) }
}

pub fn number(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap_or(u64::MAX)
}

/// A lab left running by `acm lab up`, taken down at the end.
pub struct Lab {
    pub pid: String,
    /// Where its switch listens; empty for a lab that is only to be taken down.
    pub socket: String,
}

impl Lab {
    /// One with so many servers, and more words for `acm lab up`.
    pub fn up(servers: u8, more: &[&str]) -> Result<Lab, Failed> {
        let output = acm(&[&["lab", "up", "--servers", &servers.to_string(), "--json"], more].concat())?;
        if !output.status.success() {
            return Err(text(&output).into());
        }
        let lab: Value = serde_json::from_slice(&output.stdout)?;
        Ok(Lab { pid: lab["pid"].to_string(), socket: lab["socket"].as_str().unwrap_or_default().to_owned() })
    }

    pub fn command(&self, node: &str, words: &[&str]) -> Command {
        let mut command = Command::new(ACM);
        command.args(["lab", "exec", "--lab", &self.pid, node, "--"]).args(words);
        command
    }

    pub fn exec(&self, node: &str, words: &[&str]) -> io::Result<Output> {
        run(self.command(node, words))
    }

    /// A verb against this lab's switch; its JSON.
    pub fn verb(&self, words: &[&str]) -> Result<Value, Failed> {
        let output = acm(&[words, &["--json", "--switch", &self.socket]].concat())?;
        if !output.status.success() {
            return Err(format!("{words:?}: {}", text(&output)).into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = acm(&["lab", "down", "--lab", &self.pid]);
    }
}

/// Why labs cannot be made here, if they cannot.
pub fn obstacle() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("these tests need root; `acm lab` itself also runs where user namespaces are allowed".into());
    }
    let output = acm(&["lab", "up", "--servers", "1", "--json"]).ok()?;
    match serde_json::from_slice::<Value>(&output.stdout) {
        Ok(lab) => {
            drop(Lab { pid: lab["pid"].to_string(), socket: String::new() });
            None
        }
        Err(_) => Some(text(&output)),
    }
}

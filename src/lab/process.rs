//! A process in a node that reports by JSON lines on its standard output and takes words on its standard input.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::namespace::Namespace;

/// How long a node's process may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running process. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    words: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Runs this program again, inside a node, with these arguments.
    ///
    /// # Errors
    /// The system's.
    pub fn start(node: &Namespace, args: &[&str]) -> io::Result<Process> {
        Process::start_with(node, args, Stdio::inherit(), &[])
    }

    /// The same; what it has to say to people goes there, and its environment has this besides.
    ///
    /// # Errors
    /// The system's.
    pub fn start_with(node: &Namespace, args: &[&str], stderr: Stdio, env: &[(&str, &str)]) -> io::Result<Process> {
        let mut command = std::process::Command::new("/proc/self/exe");
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr).envs(env.iter().copied());
        if std::env::var_os("RUST_LOG").is_none() {
            // What goes well is told by the lab itself.
            command.env("RUST_LOG", "warn");
        }
        node.put(&mut command);
        let mut child = Command::from(command).kill_on_drop(true).spawn()?;
        let (Some(words), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("the process has no pipes"));
        };
        Ok(Process { child, words, lines: BufReader::new(stdout).lines() })
    }

    /// Its pid, while it lives.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sends it a signal, if it lives.
    ///
    /// # Errors
    /// The system's.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match self.pid().and_then(|pid| Pid::from_raw(pid as i32)) {
            Some(pid) => Ok(kill_process(pid, signal)?),
            None => Ok(()),
        }
    }

    /// Says a word to it.
    ///
    /// # Errors
    /// It is gone.
    pub async fn say(&mut self, word: &str) -> io::Result<()> {
        self.words.write_all(format!("{word}\n").as_bytes()).await?;
        self.words.flush().await
    }

    /// Its next report.
    ///
    /// # Errors
    /// It is gone, is silent for too long, or says something else.
    pub async fn next<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        self.next_within(PATIENCE).await
    }

    /// The same for one that may take longer.
    ///
    /// # Errors
    /// As [`Process::next`].
    pub async fn next_within<T: DeserializeOwned>(&mut self, patience: Duration) -> io::Result<T> {
        let line = tokio::time::timeout(patience, self.lines.next_line())
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "a process of the lab is silent"))??;
        let line = line.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "a process of the lab ended"))?;
        Ok(serde_json::from_str(&line)?)
    }

    /// Asks for a report.
    ///
    /// # Errors
    /// As [`Process::next`].
    pub async fn ask<T: DeserializeOwned>(&mut self, word: &str) -> io::Result<T> {
        self.say(word).await?;
        self.next().await
    }

    /// Kills it and waits for its end.
    ///
    /// # Errors
    /// The system's.
    pub async fn kill(&mut self) -> io::Result<()> {
        self.child.kill().await
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// The system's.
    pub async fn ended(&mut self) -> io::Result<std::process::ExitStatus> {
        self.child.wait().await
    }
}

//! `docs/driver-authors.md`, performed: every command of it is run, and what it shows must be what comes.
//!
//! A `sh` block is run by bash in one directory that all of them share; a `python NAME` block is written to that file
//! there; each line of the `text` block that follows must come, in that order, within the output's lines. The commands
//! listen on fixed ports, so they run in a network namespace of their own.

#![allow(missing_docs, unreachable_pub, clippy::disallowed_methods)]

#[path = "support/netns.rs"]
mod netns;

use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use tempfile::TempDir;

const GUIDE: &str = include_str!("../docs/driver-authors.md");
const PATIENCE: Duration = Duration::from_secs(120);

/// Something to run, and what must come.
#[derive(Debug, Clone, Default)]
struct Step {
    line: usize,
    needs: String,
    script: String,
    shows: Vec<String>,
}

/// The steps, and the files that stand in the guide.
fn read(guide: &str) -> (Vec<Step>, Vec<(String, String)>) {
    let (mut steps, mut files) = (Vec::<Step>::new(), Vec::new());
    let mut lines = guide.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let Some(kind) = line.strip_prefix("```") else { continue };
        let block: Vec<_> = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
        let (language, argument) = kind.split_once(' ').unwrap_or((kind, ""));
        match language {
            "sh" => steps.push(Step {
                line: number + 1,
                needs: argument.to_owned(),
                script: block.join("\n"),
                shows: vec![],
            }),
            "text" => {
                let step = steps.last_mut().expect("a text block follows a command");
                step.shows = block.into_iter().map(str::to_owned).collect();
            }
            "python" => files.push((argument.to_owned(), block.join("\n") + "\n")),
            _ => {}
        }
    }
    (steps, files)
}

/// Where the binaries are: this one's, and `switch-sim` beside it.
fn binaries() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_acm")).parent().expect("a directory").to_owned()
}

fn perform(step: &Step, directory: &Path) -> Result<(), Failed> {
    let namespace = netns::Namespace::new()?;
    let (reader, writer) = std::io::pipe()?;
    let mut child = namespace.run(|| {
        let path = format!("{}:{}", binaries().display(), std::env::var("PATH").unwrap_or_default());
        let mut bash = Command::new("bash");
        bash.args(["-euo", "pipefail", "-c", &step.script]).current_dir(directory).env("PATH", path);
        bash.env_remove("ACM_SWITCH").stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        // What it leaves in the background is in its process group, and ends with it.
        bash.process_group(0).spawn()
    })?;
    let output = std::thread::spawn(move || {
        let mut text = String::new();
        let mut reader = reader;
        let _ = reader.read_to_string(&mut text);
        text
    });
    let end = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait()? {
            Some(status) => break Some(status),
            None if Instant::now() > end => break None,
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    if let Some(group) = rustix::process::Pid::from_raw(child.id() as i32) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let text = output.join().map_err(|_| "the reader panicked")?;
    match status {
        None => return Err(format!("it did not end within {PATIENCE:?}:\n{text}").into()),
        Some(status) if !status.success() => return Err(format!("{status}:\n{text}").into()),
        Some(_) => {}
    }
    let mut come = text.lines();
    for shown in &step.shows {
        if !come.any(|line| line.contains(shown.as_str())) {
            return Err(format!("`{shown}` does not come, or not in this order:\n{text}").into());
        }
    }
    Ok(())
}

/// Why a step cannot be performed here, if it cannot.
fn obstacle(step: &Step, namespaces: Option<&str>) -> Option<String> {
    if let Some(why) = namespaces {
        return Some(why.to_owned());
    }
    let is_there = |name: &str, arguments: &[&str]| {
        let path = format!("{}:{}", binaries().display(), std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("env");
        command.arg(format!("PATH={path}")).arg(name).args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if step.script.contains("switch-sim") && !is_there("switch-sim", &["--version"]) {
        return Some("switch-sim is not built beside acm; `cargo build -p switch-sim`".into());
    }
    // It is another package's binary: building this test alone does not bring it up to date.
    if step.script.contains("scenario") && !is_there("switch-sim", &["--list-scenarios"]) {
        return Some("the switch-sim beside acm knows no scenarios; `cargo build -p switch-sim`".into());
    }
    if step.needs == "haproxy" && !is_there("haproxy", &["-v"]) {
        return Some("haproxy is not installed".into());
    }
    if step.script.contains("python3") && !is_there("python3", &["--version"]) {
        return Some("python3 is not installed".into());
    }
    None
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // The steps are in an order.
    arguments.test_threads = Some(1);
    let (steps, files) = read(GUIDE);
    assert!(steps.len() >= 8 && !files.is_empty(), "the guide has its steps: {steps:?}");
    let directory = Arc::new(TempDir::new().expect("a temporary directory"));
    for (name, text) in files {
        std::fs::write(directory.path().join(name), text).expect("a file of the guide");
    }
    let namespaces = if arguments.list { None } else { netns::prepare().err() };
    let trials = steps.into_iter().map(|step| {
        let obstacle = if arguments.list { None } else { obstacle(&step, namespaces.as_deref()) };
        let first = step.script.lines().next().unwrap_or_default();
        let name = format!("line {:3}: {}", step.line, first.chars().take(60).collect::<String>());
        if let Some(why) = &obstacle {
            eprintln!("`{name}` is ignored: {why}");
        }
        let kind = obstacle.as_deref().map_or(String::new(), |why| format!("cannot run: {why}"));
        let directory = Arc::clone(&directory);
        Trial::test(name, move || perform(&step, directory.path()))
            .with_ignored_flag(obstacle.is_some())
            .with_kind(kind)
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

//! `acm lab`: the story, the experiments, or a lab to play with.

#![allow(clippy::disallowed_methods)]

mod node;

use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};

use self::node::NodeCommand;
use super::failure::{self, Failure};
use super::output::Style;
use super::signals::stop_requested;
use crate::base::text::quoted;
use crate::lab::owner::{self, LabFile};
use crate::lab::promises::Promises;
use crate::lab::{SERVERS_MAX, VIP, content, failover, namespace, rolling, rootless, story};

/// How long `up` waits for the lab to be ready.
const READY: Duration = Duration::from_secs(20);

/// See the switch at work in a lab of network namespaces on this machine
///
/// Without a subcommand: makes a client, three servers and the switch between them, tells a story of real connections
/// in half a minute, prints what was promised and what was measured, and removes everything. Works as root, and as a
/// user where user namespaces are allowed.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  acm lab\n  acm lab roll --out figure4\n  acm lab failover\n  acm lab content\n  acm lab up\n  acm lab exec client -- curl -s http://10.0.0.100/\n  \
                        acm lab exec switch -- acm list\n  acm lab down"
)]
pub(super) struct LabArgs {
    /// The closing table as JSON, and nothing else
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    command: Option<LabCommand>,
}

#[derive(Debug, Subcommand)]
enum LabCommand {
    /// See content switching at work
    ///
    /// A client, seven servers and the switch: images by suffix, a tenant by prefix, sessions by cookie, caches by URL hash,
    /// a Drop for one class of requests. Prints what was promised and what was measured.
    #[command(after_help = "Example:\n  acm lab content")]
    Content {
        /// The closing table as JSON, and nothing else
        #[arg(long)]
        json: bool,
    },
    /// Restart three servers into a new version, again and again, under load: nothing is lost
    ///
    /// A switch, two managers and three servers under `acm run`, each in a node of its own; `acm roll` restarts them while
    /// clients with keep-alive and with short connections go on. Shows how requests move to the new version.
    #[command(after_help = "Examples:\n  acm lab roll\n  acm lab roll --rolls 20 --out figure4\n  \
                            acm lab roll --json | jq '.promises[] | select(.kept == false)'")]
    Roll {
        /// How many rolls
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=1000))]
        rolls: u16,
        /// Kill the leading manager in the middle of each roll
        #[arg(long)]
        kill_manager: bool,
        /// Kill `acm roll` in the middle of each roll, and go on with `--resume`
        #[arg(long)]
        kill_operator: bool,
        /// Hold so many connections open that never end: they, and no others, are cut when the drain is over
        #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=5000))]
        idle: u32,
        /// Write roll.csv and roll.svg there
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// The closing table as JSON, and nothing else
        #[arg(long)]
        json: bool,
    },
    /// Kill, hang and cut off servers, managers and the switch, and see what clients notice
    #[command(after_help = "Examples:\n  acm lab failover\n  acm lab failover --times 30 --out failures\n  \
                            acm lab failover --json | jq -r '.promises[] | [.promised, .measured] | @tsv'")]
    Failover {
        /// Leave out the managers' default timers, with which a death takes 12 s
        #[arg(long)]
        quick: bool,
        /// How often each failure, at random moments; the longest time counts
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
        times: u16,
        /// Write failover.csv and failover.svg there
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// The closing table as JSON, and nothing else
        #[arg(long)]
        json: bool,
    },
    /// Start a lab and leave it running
    #[command(after_help = "Example:\n  acm lab up --servers 5")]
    Up {
        /// How many servers, s1 to sN
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=i64::from(SERVERS_MAX)))]
        servers: u8,
        /// What is running as JSON
        #[arg(long)]
        json: bool,
        /// Trouble on a port of the switch, as `acm switch --fault` takes it
        #[arg(long, value_name = "PORT:FAULTS", hide = true)]
        fault: Vec<String>,
    },
    /// Run a command in a node: client, switch, s1, s2, ...
    #[command(after_help = "Example:\n  acm lab exec client -- curl -s http://10.0.0.100/")]
    Exec {
        /// Which lab, if several are running: its pid
        #[arg(long, value_name = "PID")]
        lab: Option<u32>,
        /// The node
        node: String,
        /// The command and its arguments
        #[arg(required = true, last = true)]
        command: Vec<std::ffi::OsString>,
    },
    /// Stop a lab and remove everything it made
    #[command(after_help = "Example:\n  acm lab down")]
    Down {
        /// Which lab, if several are running: its pid
        #[arg(long, value_name = "PID")]
        lab: Option<u32>,
    },
    /// The labs that are running
    #[command(after_help = "Example:\n  acm lab status --json")]
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// What runs inside the nodes
    #[command(subcommand, hide = true)]
    Node(NodeCommand),
}

/// Runs `acm lab ...`. Called before any thread exists.
pub(super) fn run(args: LabArgs) -> ExitCode {
    let is_json = args.json
        || matches!(
            args.command,
            Some(
                LabCommand::Content { json: true }
                    | LabCommand::Roll { json: true, .. }
                    | LabCommand::Failover { json: true, .. }
            )
        );
    let style = if is_json { Style::Json } else { Style::Human };
    let done = match args.command {
        None => tell(args.json, story::tell(args.json)),
        Some(LabCommand::Roll { rolls, kill_manager, kill_operator, idle, out, json }) => {
            let options = rolling::Options { rolls, kill_manager, kill_operator, idle, out, quiet: json };
            tell(json, rolling::tell(options))
        }
        Some(LabCommand::Failover { quick, times, out, json }) => {
            tell(json, failover::tell(failover::Options { quick, times, out, quiet: json }))
        }
        Some(LabCommand::Content { json }) => tell(json, content::tell(json)),
        Some(LabCommand::Up { servers, json, fault }) => up(servers, json, &fault).map(|()| ExitCode::SUCCESS),
        Some(LabCommand::Exec { lab, node, command }) => exec(lab, &node, &command),
        Some(LabCommand::Down { lab }) => down(lab).map(|()| ExitCode::SUCCESS),
        Some(LabCommand::Status { json }) => status(json).map(|()| ExitCode::SUCCESS),
        Some(LabCommand::Node(command)) => node::run(command).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|why| failure::exit(style, Err(why)))
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// What went wrong while a lab was made or run.
fn lab_failure(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            Failure::Setup(format!("the lab may not make network namespaces here: {error}; run it as root"))
        }
        _ => Failure::Setup(format!("the lab: {error}")),
    }
}

fn tell(json: bool, story: impl Future<Output = io::Result<Promises>>) -> Result<ExitCode, Failure> {
    rootless::become_root().map_err(Failure::Setup)?;
    let promises = runtime()?.block_on(async {
        let stop = stop_requested()?;
        tokio::select! {
            told = story => told.map_err(lab_failure),
            () = stop => Err(Failure::Setup("stopped; everything was removed".into())),
        }
    })?;
    match json {
        true => println!("{}", serde_json::to_string_pretty(&promises).map_err(io::Error::from)?),
        false => println!("\n{promises}"),
    }
    Ok(if promises.all_kept() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Starts an owner in the background and waits until it says that the lab is ready.
fn up(servers: u8, json: bool, faults: &[String]) -> Result<(), Failure> {
    let log = std::env::temp_dir().join(format!("acm-lab-{}.log", std::process::id()));
    let output = std::fs::File::create_new(&log)?;
    let mut owner = Command::new(std::env::current_exe()?);
    owner.args(["lab", "node", "own", "--servers", &servers.to_string()]);
    for fault in faults {
        owner.args(["--fault", fault]);
    }
    owner.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).process_group(0);
    let mut owner = owner.spawn()?;
    let end = Instant::now() + READY;
    let lab = loop {
        if let Some(lab) = owner::running().into_iter().find(|lab| lab.pid == owner.id()) {
            break lab;
        }
        if owner.try_wait()?.is_some() || Instant::now() > end {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            let _ = owner.kill();
            let _ = std::fs::remove_file(&log);
            return Err(Failure::Setup(format!("the lab did not start: {}", said.trim())));
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let _ = std::fs::remove_file(&log);
    match json {
        true => println!("{}", serde_json::to_string_pretty(&lab).map_err(io::Error::from)?),
        false => print_lab(&lab),
    }
    Ok(())
}

fn print_lab(lab: &LabFile) {
    println!("lab {} is up: {}", lab.pid, lab.nodes.join(", "));
    println!("VIP   http://{}/", VIP.ip());
    println!("API   {}", lab.socket);
    println!("\n  acm lab exec client -- curl -s http://{}/", VIP.ip());
    println!("  acm lab exec switch -- acm list\n  acm lab down");
}

/// The lab meant.
fn find(pid: Option<u32>) -> Result<LabFile, Failure> {
    let mut labs = owner::running();
    if let Some(pid) = pid {
        labs.retain(|lab| lab.pid == pid);
    }
    match (labs.len(), pid) {
        (1, _) => Ok(labs.remove(0)),
        (0, Some(pid)) => {
            Err(Failure::Setup(format!("no lab {pid} is running; `acm lab status` shows those that are")))
        }
        (0, None) => Err(Failure::Setup("no lab is running; start one with `acm lab up`".into())),
        (_, _) => {
            let pids: Vec<_> = labs.iter().map(|lab| lab.pid.to_string()).collect();
            Err(Failure::Setup(format!("several labs are running ({}); choose one with --lab PID", pids.join(", "))))
        }
    }
}

fn exec(pid: Option<u32>, node: &str, command: &[std::ffi::OsString]) -> Result<ExitCode, Failure> {
    let lab = find(pid)?;
    if !lab.nodes.iter().any(|known| known == node) {
        return Err(Failure::Setup(format!("there is no node {}; there are {}", quoted(node), lab.nodes.join(", "))));
    }
    let entered = match lab.rootless {
        true => rootless::join(lab.pid),
        false => Ok(()),
    };
    entered.and_then(|()| namespace::enter(&format!("acm-{}-{node}", lab.pid))).map_err(lab_failure)?;
    let (Some(program), args) = (command.first(), &command[1..]) else { return Ok(ExitCode::SUCCESS) };
    // `acm` inside a node is this program, also where it is not installed.
    let own = std::env::current_exe()?;
    let program = if program == "acm" { own.as_os_str() } else { program };
    let error = Command::new(program).args(args).env("ACM_SWITCH", &lab.socket).exec();
    eprintln!("acm: {}: {error}", program.to_string_lossy());
    Ok(ExitCode::from(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 }))
}

fn down(pid: Option<u32>) -> Result<(), Failure> {
    let lab = find(pid)?;
    let owner = i32::try_from(lab.pid).ok().and_then(rustix::process::Pid::from_raw);
    let owner = owner.ok_or_else(|| Failure::Setup(format!("{} is not a pid", lab.pid)))?;
    rustix::process::kill_process(owner, rustix::process::Signal::TERM).map_err(io::Error::from)?;
    let end = Instant::now() + READY;
    while owner::running().iter().any(|running| running.pid == lab.pid) {
        if Instant::now() > end {
            return Err(Failure::Setup(format!("lab {} does not stop", lab.pid)));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("lab {} is down", lab.pid);
    Ok(())
}

fn status(json: bool) -> Result<(), Failure> {
    let labs = owner::running();
    if json {
        println!("{}", serde_json::to_string_pretty(&labs).map_err(io::Error::from)?);
    } else if labs.is_empty() {
        println!("no lab is running");
    }
    if !json {
        labs.iter().for_each(print_lab);
    }
    Ok(())
}

//! `acm lab`: the story, or a lab to play with.

#![allow(clippy::disallowed_methods)]

use std::io;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};

use super::failure::{self, Failure};
use super::output::Style;
use super::signals::stop_requested;
use crate::acm::primitive::{Add, Caller, Primitive};
use crate::acm::switch::{AcmSwitch, perform};
use crate::acm::wait::until_active;
use crate::acm::words::ServiceKey;
use crate::base::span::Span;
use crate::lab::load::LoadOptions;
use crate::lab::owner::{self, LabFile};
use crate::lab::rig::Lab;
use crate::lab::{
    SERVERS_MAX, VIP, ask, content, flood, hold, load, namespace, rootless, serve, server, story, transfer,
};
use crate::port::offload::{Offloads, set_offloads};

/// How long `up` waits for the lab to be ready.
const READY: Duration = Duration::from_secs(20);

/// See the switch at work in a lab of network namespaces on this machine
///
/// Without a subcommand: makes a client, three servers and the switch between them, tells a story of real connections
/// in half a minute, prints what was promised and what was measured, and removes everything. Works as root, and as a
/// user where user namespaces are allowed.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  acm lab\n  acm lab content\n  acm lab up\n  acm lab exec client -- curl -s http://10.0.0.100/\n  \
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

#[derive(Debug, Subcommand)]
enum NodeCommand {
    /// Own a lab until stopped
    #[command(after_help = "Example:\n  acm lab node own --servers 3")]
    Own {
        #[arg(long)]
        servers: u8,
        #[arg(long)]
        fault: Vec<String>,
    },
    /// Serve HTTP
    #[command(after_help = "Example:\n  acm lab node serve --name s1 --listen 10.0.0.11:8080")]
    Serve {
        #[arg(long)]
        name: String,
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long, default_value_t = 0)]
        cache: usize,
    },
    /// Make requests
    #[command(after_help = "Example:\n  acm lab node load --target 10.0.0.100:80")]
    Load {
        #[arg(long)]
        target: SocketAddr,
        #[arg(long, default_value_t = 8)]
        workers: u32,
        #[arg(long, default_value_t = 1)]
        requests_per_connection: u32,
        #[arg(long, default_value = "5s")]
        connect_timeout: Span,
        #[arg(long)]
        attempts: Option<u64>,
    },
    /// Make requests, and check who answers
    #[command(
        after_help = "Example:\n  acm lab node ask --target 10.0.0.100:80 --want /shop/#=s1 --want '/account sid=#='"
    )]
    Ask {
        #[arg(long)]
        target: SocketAddr,
        #[arg(long, default_value_t = 8)]
        workers: u32,
        #[arg(long, default_value_t = 10)]
        requests_per_connection: u32,
        #[arg(long, default_value_t = 1000)]
        requests: u64,
        #[arg(long, required_unless_present = "zipf")]
        want: Vec<ask::Want>,
        #[arg(long)]
        zipf: Option<usize>,
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Hold connections open
    #[command(after_help = "Example:\n  acm lab node hold --target 10.0.0.100:80 --connections 100")]
    Hold {
        #[arg(long)]
        target: SocketAddr,
        #[arg(long)]
        connections: u32,
    },
    /// Send half a request head on each of many connections, and stall
    #[command(after_help = "Example:\n  acm lab node stall --target 10.0.0.100:80 --connections 1000")]
    Stall {
        #[arg(long)]
        target: SocketAddr,
        #[arg(long)]
        connections: u32,
    },
    /// Send SYNs of hosts that do not exist
    #[command(after_help = "Example:\n  acm lab node flood --target 10.0.0.100:80 --syns 100000")]
    Flood {
        #[arg(long)]
        target: SocketAddr,
        #[arg(long, default_value = "eth0")]
        interface: String,
        #[arg(long)]
        syns: u64,
        #[arg(long, default_value_t = 100_000)]
        rate: u64,
    },
    /// Fetch bytes and compare them
    #[command(after_help = "Example:\n  acm lab node fetch --target 10.0.0.100:80 --bytes 1000000")]
    Fetch {
        #[arg(long)]
        target: SocketAddr,
        #[arg(long)]
        bytes: u64,
    },
    /// Send bytes and compare their digest
    #[command(after_help = "Example:\n  acm lab node send --target 10.0.0.100:80 --bytes 1000000")]
    Send {
        #[arg(long)]
        target: SocketAddr,
        #[arg(long)]
        bytes: u64,
    },
    /// Send datagrams back
    #[command(after_help = "Example:\n  acm lab node echo --listen 10.0.0.11:7007")]
    Echo {
        #[arg(long)]
        listen: SocketAddr,
    },
    /// Send datagrams and compare what comes back
    #[command(after_help = "Example:\n  acm lab node datagrams --target 10.0.0.100:7")]
    Datagrams {
        #[arg(long)]
        target: SocketAddr,
        #[arg(long, default_value_t = 100)]
        count: u32,
    },
    /// Switch an interface's offloads on or off
    #[command(after_help = "Example:\n  acm lab node offloads eth0 off")]
    Offloads {
        interface: String,
        #[arg(value_parser = ["on", "off"])]
        state: String,
    },
}

/// Runs `acm lab ...`. Called before any thread exists.
pub(super) fn run(args: LabArgs) -> ExitCode {
    let style = if args.json { Style::Json } else { Style::Human };
    let done = match args.command {
        None => tell(args.json, Tale::Primitives),
        Some(LabCommand::Content { json }) => tell(json, Tale::Content),
        Some(LabCommand::Up { servers, json, fault }) => up(servers, json, &fault).map(|()| ExitCode::SUCCESS),
        Some(LabCommand::Exec { lab, node, command }) => exec(lab, &node, &command),
        Some(LabCommand::Down { lab }) => down(lab).map(|()| ExitCode::SUCCESS),
        Some(LabCommand::Status { json }) => status(json).map(|()| ExitCode::SUCCESS),
        Some(LabCommand::Node(command)) => node(command).map(|()| ExitCode::SUCCESS),
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

/// Which story is told.
#[derive(Debug, Clone, Copy)]
enum Tale {
    Primitives,
    Content,
}

fn tell(json: bool, tale: Tale) -> Result<ExitCode, Failure> {
    rootless::become_root().map_err(Failure::Setup)?;
    let promises = runtime()?.block_on(async {
        let stop = stop_requested()?;
        let told = async {
            match tale {
                Tale::Primitives => story::tell(json).await,
                Tale::Content => content::tell(json).await,
            }
        };
        tokio::select! {
            told = told => told.map_err(lab_failure),
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
        return Err(Failure::Setup(format!("there is no node `{node}`; there are {}", lab.nodes.join(", "))));
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

fn node(command: NodeCommand) -> Result<(), Failure> {
    if let NodeCommand::Own { .. } = command {
        rootless::become_root().map_err(Failure::Setup)?;
    }
    runtime()?.block_on(async {
        match command {
            NodeCommand::Own { servers, fault } => own(servers, &fault).await,
            NodeCommand::Serve { name, listen, cache } => Ok(serve::serve(name, listen, cache).await?),
            NodeCommand::Ask {
                target,
                workers,
                requests_per_connection: per_connection,
                requests,
                want,
                zipf,
                seed,
            } => {
                let options = ask::AskOptions { target, workers, per_connection, requests, wants: want, zipf, seed };
                Ok(ask::ask(options).await?)
            }
            NodeCommand::Load {
                target,
                workers,
                requests_per_connection: per_connection,
                connect_timeout,
                attempts,
            } => {
                let connect_timeout = connect_timeout.0;
                Ok(load::load(LoadOptions { target, workers, per_connection, connect_timeout, attempts }).await?)
            }
            NodeCommand::Hold { target, connections } => Ok(hold::hold(target, connections).await?),
            NodeCommand::Stall { target, connections } => Ok(hold::stall(target, connections).await?),
            NodeCommand::Flood { target, interface, syns, rate } => {
                Ok(flood::flood(&interface, target, syns, rate).await?)
            }
            NodeCommand::Fetch { target, bytes } => Ok(transfer::fetch(target, bytes).await?),
            NodeCommand::Send { target, bytes } => Ok(transfer::send(target, bytes).await?),
            NodeCommand::Echo { listen } => Ok(transfer::echo(listen).await?),
            NodeCommand::Datagrams { target, count } => Ok(transfer::datagrams(target, count).await?),
            NodeCommand::Offloads { interface, state } => {
                let offloads = if state == "on" { Offloads::On } else { Offloads::Off };
                Ok(set_offloads(&interface, offloads)?)
            }
        }
    })
}

/// Owns a lab, everything in it running and added, until it is told to stop.
async fn own(servers: u8, faults: &[String]) -> Result<(), Failure> {
    let stop = stop_requested()?;
    let mut lab = Lab::up(servers).map_err(lab_failure)?;
    let more: Vec<&str> = faults.iter().flat_map(|fault| ["--fault", fault]).collect();
    let switch = lab.start_switch(&more).await.map_err(lab_failure)?;
    for n in 1..=servers {
        lab.start_server(n).await.map_err(lab_failure)?;
        add(&switch, n).await?;
    }
    lab.announce()?;
    stop.await;
    Ok(())
}

async fn add(switch: &dyn AcmSwitch, n: u8) -> Result<(), Failure> {
    let add = Add::new(ServiceKey::tcp(VIP), server(n));
    let key = add.key();
    perform(switch, &Caller::default(), Primitive::Add(add)).await?;
    Ok(until_active(switch, &key, Duration::from_secs(10)).await?)
}

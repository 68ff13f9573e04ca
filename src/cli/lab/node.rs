//! `acm lab node ...`: what runs inside the nodes.

#![allow(clippy::disallowed_methods)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;

use super::lab_failure;
use crate::acm::primitive::{Add, Caller, Primitive};
use crate::acm::switch::{AcmSwitch, perform};
use crate::acm::wait::until_active;
use crate::acm::words::ServiceKey;
use crate::base::span::Span;
use crate::cli::failure::Failure;
use crate::cli::signals::stop_requested;
use crate::lab::load::LoadOptions;
use crate::lab::rig::Lab;
use crate::lab::{VIP, ask, flood, hold, load, peer, rootless, serve, server, transfer};
use crate::port::offload::{Offloads, set_offloads};

#[derive(Debug, Subcommand)]
pub(super) enum NodeCommand {
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
        /// Default: ADDRESS and PORT of the environment
        #[arg(long)]
        listen: Option<SocketAddr>,
        /// Its first line, at the start, is the version that is served
        #[arg(long)]
        version_file: Option<PathBuf>,
        /// How long it takes until it listens
        #[arg(long, default_value = "0s")]
        boot: Span,
        /// How many keys it remembers
        #[arg(long, default_value_t = 0)]
        cache: usize,
    },
    /// Serve with an agent inside, and report a peer whose connection is reset
    #[command(after_help = "Example:\n  acm lab node peer --name peer --watch 10.0.0.11:8080")]
    Peer {
        #[arg(long)]
        name: String,
        #[arg(long)]
        watch: SocketAddr,
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
        /// Of a worker, after each request
        #[arg(long, default_value = "0s")]
        pause: Span,
        /// How long an answer may take
        #[arg(long, default_value_t = Span(load::PATIENCE))]
        patience: Span,
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

pub(super) fn run(command: NodeCommand) -> Result<(), Failure> {
    if let NodeCommand::Own { .. } = command {
        rootless::become_root().map_err(Failure::Setup)?;
    }
    super::runtime()?.block_on(async {
        match command {
            NodeCommand::Own { servers, fault } => own(servers, &fault).await,
            NodeCommand::Serve { name, listen, version_file, boot, cache } => {
                let listen = listen.map_or_else(told_address, Ok)?;
                let name = match version_file {
                    Some(file) => {
                        format!("{name} {}", std::fs::read_to_string(file)?.lines().next().unwrap_or_default())
                    }
                    None => name,
                };
                // Beside an agent that is killed, it would hold its node open for ever.
                rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
                    .map_err(std::io::Error::from)?;
                tokio::time::sleep(boot.0).await;
                Ok(serve::serve(name, listen, cache).await?)
            }
            NodeCommand::Peer { name, watch } => Ok(peer::watch(&name, watch).await?),
            NodeCommand::Load {
                target,
                workers,
                requests_per_connection: per_connection,
                connect_timeout,
                attempts,
                pause: Span(pause),
                patience: Span(patience),
            } => {
                let connect_timeout = connect_timeout.0;
                let options =
                    LoadOptions { target, workers, per_connection, connect_timeout, attempts, pause, patience };
                Ok(load::load(options).await?)
            }
            NodeCommand::Hold { target, connections } => Ok(hold::hold(target, connections).await?),
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

/// Where `acm run` says that its command is to listen.
fn told_address() -> Result<SocketAddr, Failure> {
    let variable = |name: &str| std::env::var(name).ok();
    let told = variable("ADDRESS")
        .zip(variable("PORT"))
        .and_then(|(address, port)| Some(SocketAddr::new(address.parse().ok()?, port.parse().ok()?)));
    told.ok_or_else(|| Failure::Setup("--listen, or ADDRESS and PORT in the environment, say where".into()))
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

//! `acm run`: an agent beside a command, and perhaps a manager beside the agent.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum};
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::failure::{self, Failure};
use super::logging::{self, Verbosity};
use super::manager::Preparation;
use super::output::{self, Style};
use crate::acm::error::AcmError;
use crate::acm::words::ServiceKey;
use crate::agent::config::{AgentConfig, PATH_VARIABLE, Profile, ServiceConfig};
use crate::agent::sidecar::pass::{self, Pass, Seat};
use crate::agent::sidecar::task::{self, Run};
use crate::agent::sidecar::{INSTANCES_MAX, Restarts, Treatment};
use crate::base::id::Name;
use crate::base::span::Span;
use crate::base::text::quoted;

/// Run a command as a managed service: announced when it is healthy, taken back before it ends
///
/// The command is given a port of its own, announced to the connection managers as soon as it can be connected to (or
/// --health-command says so), taken out of service at once when it dies, and started again. SIGTERM or Ctrl-C: taken
/// back, drained, then told to end (SIGTERM, after --grace SIGKILL); a second one kills it at once. SIGHUP, SIGUSR1 and
/// SIGUSR2 are passed on, and SIGHUP reads the keys anew. Killed itself, it takes the command along. The exit code is the command's; 0 if it ended because it was told to.
///
/// How the command learns where to listen (--pass): with `port`, the default, its environment has PORT (and PORT_WEB,
/// for --bind web) and ADDRESS, and it binds them itself. With `socket` it inherits bound sockets from descriptor 3 on
/// (LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES, as from systemd); connections that come while it restarts wait.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  acm run --bind web=10.0.0.100:80 -- sh -c 'exec python3 -m http.server $PORT'\n  \
                        acm run --bind web --instances 4 --config /etc/acm/agent.toml -- ./server\n  \
                        acm run --bind web --pass socket --health-command 'curl -sf http://$ADDRESS:$PORT/health' -- ./server\n  \
                        acm run --bind dns=10.0.0.100:53/udp -- ./resolver\n  \
                        acm run --bind web --manager /etc/acm/manager.toml -- ./server\n  \
                        acm run --print-config > /etc/acm/agent.toml\n\n\
                        `acm managers` shows who leads, `acm list` what is bound."
)]
pub(super) struct RunArgs {
    /// What it serves: a name of the configuration's [services], or NAME=VIP:PORT (/udp for UDP); repeat for more
    #[arg(long, value_name = "NAME[=VIP:PORT]", required_unless_present = "print_config")]
    bind: Vec<Bind>,
    /// The agent's configuration: keys, network [default: /etc/acm/agent.toml]
    #[arg(long, value_name = "FILE", env = PATH_VARIABLE)]
    config: Option<PathBuf>,
    /// Print an example of a configuration, with every default, and exit
    #[arg(long)]
    print_config: bool,
    /// Run it this many times, each with a port of its own: for a server that uses one core
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=i64::from(INSTANCES_MAX)))]
    instances: u16,
    /// How it learns where to listen
    #[arg(long, value_enum, default_value_t = Pass::Port)]
    pass: Pass,
    /// A line for /bin/sh that says by exit code 0 that an instance is well; it has the instance's environment
    #[arg(long, value_name = "CMD")]
    health_command: Option<String>,
    /// What is left of connections this long after it was taken back is cut [default: the configuration's, or 30s]
    #[arg(long, value_name = "TIME")]
    drain: Option<Span>,
    /// How long it may take to end when it is told to
    #[arg(long, value_name = "TIME", default_value = "10s")]
    grace: Span,
    /// When it is started again after it ended by itself
    #[arg(long, value_enum, default_value_t = Again::OnFailure)]
    restart: Again,
    /// Beacon every 250 ms, as managers with `profile = "fast"` expect, whatever the configuration says
    #[arg(long, action = ArgAction::SetTrue)]
    fast: bool,
    /// Run a manager as well, with this configuration: every server watches, one leads
    #[arg(long, value_name = "FILE")]
    manager: Option<PathBuf>,
    /// The command and its arguments
    #[arg(last = true, value_name = "COMMAND", required_unless_present = "print_config")]
    command: Vec<OsString>,
}

/// `NAME` or `NAME=VIP:PORT`.
#[derive(Debug, Clone)]
struct Bind {
    name: Name,
    service: Option<ServiceKey>,
}

impl std::str::FromStr for Bind {
    type Err = String;

    fn from_str(text: &str) -> Result<Bind, String> {
        let (name, service) = match text.split_once('=') {
            Some((name, service)) => (name, Some(service.parse::<ServiceKey>().map_err(|why| why.to_string())?)),
            None => (text, None),
        };
        let name = name.parse().map_err(|_| format!("{} is not a name: 1 to 64 of A-Z a-z 0-9 _ . -", quoted(name)))?;
        Ok(Bind { name, service })
    }
}

/// [`Restarts`], as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Again {
    /// Unless its exit code was 0
    OnFailure,
    /// Whatever its exit code
    Always,
    /// Not at all: the exit code is the command's
    Never,
}

impl From<Again> for Restarts {
    fn from(again: Again) -> Restarts {
        match again {
            Again::OnFailure => Restarts::OnFailure,
            Again::Always => Restarts::Always,
            Again::Never => Restarts::Never,
        }
    }
}

/// `acm run` from its arguments to its exit code.
pub(super) fn main(args: RunArgs) -> ExitCode {
    logging::start(Verbosity::Switch);
    if args.print_config {
        return failure::exit(Style::Human, output::text(crate::agent::config::EXAMPLE));
    }
    let whole = || {
        let manager = args.manager.as_deref().map(Preparation::read).transpose()?;
        let run = prepare(args)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let (ended, end) = oneshot::channel::<()>();
            let command = async {
                let code = task::run(run).await.map_err(setup);
                drop(ended);
                code
            };
            // The manager goes on until the command is taken back: it may be the one that leads.
            let managing = async {
                match manager {
                    Some(manager) => manager.run(async { drop(end.await) }).await.inspect_err(|why| {
                        warn!(%why, "the manager does not run; the command does");
                    }),
                    None => Ok(()),
                }
            };
            let (code, managed) = tokio::join!(command, managing);
            managed.and(code)
        })
    };
    match whole() {
        Ok(code) => {
            info!(code, "ends");
            ExitCode::from(u8::try_from(code).unwrap_or(1))
        }
        Err(why) => failure::exit(Style::Human, Err(why)),
    }
}

fn setup(why: impl std::fmt::Display) -> Failure {
    Failure::Setup(why.to_string())
}

/// Everything the sidecar needs, from the arguments and the configuration.
fn prepare(args: RunArgs) -> Result<Run, Failure> {
    let path = AgentConfig::path(args.config);
    let mut config = AgentConfig::read(&path).map_err(setup)?;
    if args.fast {
        (config.profile, config.period) = (Profile::Fast, None);
    }
    let drain = args.drain.unwrap_or(config.drain);
    let health = args.health_command.or(config.health.command.take());
    let service = |bind: &Bind| -> Result<(Name, ServiceConfig), Failure> {
        let service = match bind.service {
            // Options of the configuration count for what is typed, too.
            Some(service) => {
                ServiceConfig { service, ..config.services.get(&bind.name).cloned().unwrap_or_else(|| service.into()) }
            }
            None => config.service(&bind.name).map_err(setup)?.clone(),
        };
        Ok((bind.name.clone(), service))
    };
    let services = args.bind.iter().map(service).collect::<Result<Vec<_>, _>>()?;
    let named_twice =
        services.iter().enumerate().find(|(n, (name, _))| services[..*n].iter().any(|(other, _)| other == name));
    if let Some((_, (name, _))) = named_twice {
        return Err(Failure::Usage(AcmError::invalid("--bind", format!("{name} is named twice"))));
    }
    let reach = config.reach().map_err(setup)?;
    let address = config.own_address(&reach).map_err(setup)?;
    let seat =
        |n| Seat::take(n, args.pass, address, &services).map_err(|why| setup(format!("listen on {address}: {why}")));
    let treatment = Treatment {
        restarts: args.restart.into(),
        drain: drain.0.max(Duration::from_millis(1)),
        grace: args.grace.0,
        start_within: config.health.start_within.0,
        watched: health.is_some(),
        interval: config.health.interval.0,
        fall: config.health.fall,
    };
    Ok(Run {
        setup: config.setup().map_err(setup)?,
        reach,
        treatment,
        command: args.command,
        seats: (0..args.instances).map(seat).collect::<Result<_, _>>()?,
        health,
        timeout: config.health.timeout.0,
        keys: Box::new(move || AgentConfig::read(&path)?.keys()),
    })
}

/// The hidden `acm run-exec`: what a process of the command runs first.
#[derive(Debug, Args)]
pub(super) struct ExecArgs {
    /// The process it must not outlive
    #[arg(long, value_name = "PID")]
    agent: u32,
    /// It inherits sockets
    #[arg(long)]
    sockets: bool,
    /// What it becomes
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Becomes the command, or says why not.
pub(super) fn exec(args: &ExecArgs) -> ExitCode {
    let why = pass::become_command(args.agent, args.sockets, &args.command);
    let name = args.command.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    // Its exit code is ours; a shell's is wanted.
    let _ = failure::exit(Style::Human, Err(Failure::Setup(format!("{name}: {why}"))));
    ExitCode::from(u8::try_from(pass::exit_code(&why)).unwrap_or(126))
}

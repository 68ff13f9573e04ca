//! `acm manager`: a connection manager, from its configuration to its end.

pub(super) mod config;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{info, warn};

use self::config::ManagerConfig;
use super::config::ConfigError;
use super::failure::{self, Failure};
use super::logging::{self, Verbosity};
use super::output::{self, Style};
use super::signals::stop_requested;
use crate::beacon::config::random;
use crate::beacon::key::{KeyId, KeyRing};
use crate::driver::Registry;
use crate::manager::machine::Setup;
use crate::manager::task::{self, Run};

/// Run a connection manager: one of several leads, and keeps every switch as the services want it
///
/// Services announce themselves by signed beacons. The leader adds and removes them on the switches that have their
/// virtual addresses, and repairs what differs. SIGHUP reads the keys anew; SIGTERM hands over at once.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  acm manager --print-config > /etc/acm/manager.toml\n  \
                        acm manager --config /etc/acm/manager.toml\n  acm managers --config /etc/acm/manager.toml")]
pub(super) struct ManagerArgs {
    /// The configuration
    #[arg(long, value_name = "FILE", required_unless_present = "print_config")]
    config: Option<PathBuf>,
    /// Print an example of a configuration, with every default, and exit
    #[arg(long)]
    print_config: bool,
}

/// `acm manager` from its arguments to its exit code.
pub(super) fn main(args: ManagerArgs) -> ExitCode {
    logging::start(Verbosity::Switch);
    let whole = || {
        let Some(path) = args.config.filter(|_| !args.print_config) else {
            return output::text(include_str!("example.toml"));
        };
        let manager = Preparation::read(&path)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async { manager.run(stop_requested()?).await })
    };
    failure::exit(Style::Human, whole())
}

/// A manager that can be run: its configuration is read and right.
#[derive(Debug)]
pub(super) struct Preparation {
    path: PathBuf,
    config: ManagerConfig,
}

impl Preparation {
    /// Reads its configuration.
    ///
    /// # Errors
    /// [`Failure::Setup`], naming file and key.
    pub(super) fn read(path: &Path) -> Result<Preparation, Failure> {
        Ok(Preparation { path: path.to_owned(), config: ManagerConfig::read(path).map_err(setup)? })
    }

    /// Runs it until `stop` resolves. SIGHUP reads its keys anew.
    ///
    /// # Errors
    /// [`Failure::Setup`]: a secret or a socket.
    pub(super) async fn run(self, stop: impl Future<Output = ()>) -> Result<(), Failure> {
        let Preparation { path, config } = self;
        let (changed, keys) = mpsc::channel(1);
        let run = prepare(&config, keys)?;
        info!(group = %config.group, node = %config.node, switches = config.switches.len(), "the manager starts");
        let mut hang_up = signal(SignalKind::hangup())?;
        let rereading = async {
            while hang_up.recv().await.is_some() {
                reread(&path, &changed).await;
            }
        };
        tokio::select! {
            ended = task::run(run, stop) => ended.map_err(|why| Failure::Setup(why.to_string()))?,
            () = rereading => {}
        }
        info!("the manager stops");
        Ok(())
    }
}

fn setup(why: ConfigError) -> Failure {
    Failure::Setup(why.to_string())
}

/// Everything a manager needs, from its configuration.
fn prepare(config: &ManagerConfig, keys: mpsc::Receiver<(Arc<KeyRing>, KeyId)>) -> Result<Run, Failure> {
    let switches = config.switches.iter().map(|switch| (switch.name.clone(), switch.vips.clone())).collect();
    let machine = Setup {
        node: config.node,
        ring: config.ring().map_err(setup)?,
        sign_with: config.sign_with,
        owner: config.group.clone(),
        timing: config.timing().map_err(setup)?,
        switches,
        boot: random()?,
        seed: random()?,
    };
    let profiles = config.profiles().map_err(setup)?;
    let reach = config.reach().map_err(setup)?;
    Ok(Run { setup: machine, profiles, connect: Arc::new(Registry), reach, keys })
}

/// Reads the keys anew. A file that is not right changes nothing.
async fn reread(path: &Path, changed: &mpsc::Sender<(Arc<KeyRing>, KeyId)>) {
    let read = ManagerConfig::read(path).and_then(|config| Ok((config.ring()?, config.sign_with)));
    match read {
        Ok(keys) => drop(changed.send(keys).await),
        Err(why) => warn!(%why, "the keys stay as they are"),
    }
}

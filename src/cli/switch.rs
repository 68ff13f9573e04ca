//! `acm switch`: what the switch is told on the command line, and serving its API until it is told to stop.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use ipnet::IpNet;
use tracing::{info, warn};

use super::config::{ApiConfig, ConfigError, SwitchConfig, at_key};
use super::console::{self, CliConfig};
use super::failure::{self, Failure};
use super::logging::{self, Verbosity};
use super::output::Style;
use super::ports::{PortFault, PortKind};
use super::signals::stop_requested;
use crate::acm::primitive::Caller;
use crate::acm::switch::{AcmSwitch, InspectableSwitch};
use crate::api::auth::Tokens;
use crate::api::listen::{Endpoint, Listener};
use crate::api::task::serve;
use crate::base::addr::Mac;

/// Run a switch on these ports
///
/// It bridges them, answers for its virtual addresses, and forwards connections to the servers that are bound to
/// them. It is told what to do through its API, a Unix socket by default.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  acm switch --port eth1 --port eth2 --address 10.0.0.2/24\n  \
                        acm switch --config /etc/acm/switch.toml\n  \
                        acm switch --port eth1 --port eth2 --address 10.0.0.2/24 --cli 127.0.0.1:2323")]
pub struct SwitchArgs {
    /// Everything from a TOML file instead
    #[arg(long, value_name = "FILE", conflicts_with_all = ["port", "address", "mac", "api", "token_file", "cookie_key_file"])]
    config: Option<PathBuf>,
    /// An interface to take as a port; repeat for each
    #[arg(long, value_name = "NAME", required_unless_present = "config")]
    port: Vec<String>,
    /// The switch's own address, from which health checks come
    #[arg(long, value_name = "ADDR/LEN", required_unless_present = "config")]
    address: Vec<IpNet>,
    /// The MAC that answers for the switch and its virtual addresses [default: stable for this machine and ports]
    #[arg(long)]
    mac: Option<Mac>,
    /// Where the API listens: unix:PATH or http://ADDR:PORT; repeat for each [default: unix:/run/acm/switch.sock]
    #[arg(long, value_name = "URL")]
    api: Vec<Endpoint>,
    /// How frames are taken from the interfaces
    #[arg(long, value_enum, default_value_t)]
    port_kind: PortKind,
    /// Seeded trouble on a port, for tests: PORT:loss=5,duplicate=2,reorder=2,corrupt=0,delay=1ms-5ms,seed=7 (percent)
    #[arg(long, value_name = "PORT:FAULTS", hide = true)]
    fault: Vec<PortFault>,
    /// Tokens for the API on TCP, one a line, mode 0600
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A secret that persistence cookies are made with, mode 0600; a second one still reads older cookies [default: made up]
    #[arg(long, value_name = "FILE")]
    cookie_key_file: Vec<PathBuf>,
    #[command(flatten)]
    cli: CliConfig,
}

impl SwitchArgs {
    /// The configuration, from the file or from the options.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn into_config(self) -> Result<SwitchConfig, ConfigError> {
        if let Some(path) = self.config {
            let mut config = SwitchConfig::read(&path)?;
            config.cli = self.cli.over(config.cli);
            config.cli.validate()?;
            return Ok(config);
        }
        let mut config = SwitchConfig::new(self.port, self.address)?;
        config.mac = self.mac;
        config.port_kind = self.port_kind;
        config.faults = self.fault;
        config.api.token_file = self.token_file;
        config.cli = self.cli;
        config.cookie_key_files = self.cookie_key_file;
        if !self.api.is_empty() {
            config.api.listen = self.api;
        }
        config.validate()?;
        Ok(config)
    }
}

/// `acm switch` from its arguments to its exit code. `start` opens the ports and starts the switch; it is called
/// within the runtime, after the API's listeners are open.
pub fn main<Start, Starting>(args: SwitchArgs, start: Start) -> ExitCode
where
    Start: FnOnce(SwitchConfig) -> Starting,
    Starting: Future<Output = Result<Arc<dyn InspectableSwitch>, Failure>>,
{
    logging::start(Verbosity::Switch);
    let whole = || {
        let config = args.into_config().map_err(|why| Failure::Setup(why.to_string()))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let stop = stop_requested()?;
            let listeners = open_api(&config.api)?;
            let switch = start(config.clone()).await?;
            run(config, switch, listeners, stop).await
        })
    };
    failure::exit(Style::Human, whole())
}

/// Opens the API's listeners. Done before ports are opened, so that a second switch on the same socket ends before
/// it has touched an interface.
///
/// # Errors
/// The token file or an address is not usable.
pub fn open_api(api: &ApiConfig) -> Result<Vec<Listener>, Failure> {
    let setup = |why: &dyn std::fmt::Display| Failure::Setup(why.to_string());
    let tokens = match &api.token_file {
        Some(path) => Some(Arc::new(Tokens::read(path).map_err(|why| setup(&why))?)),
        None => None,
    };
    let mut listeners = Vec::new();
    for endpoint in &api.listen {
        if let Endpoint::Tcp(addr) = endpoint
            && !addr.ip().is_loopback()
        {
            warn!(%endpoint, "the API on TCP is not encrypted: tokens can be read by whoever sees the traffic");
        }
        let listener = Listener::open(endpoint, tokens.clone()).map_err(|why| setup(&why))?;
        info!(endpoint = %listener.endpoint()?, "the API listens");
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Tells a started switch what its configuration wants and serves its API until `shutdown`.
///
/// # Errors
/// The switch refuses a service or binding of the configuration; the error names its key.
pub async fn run(
    config: SwitchConfig,
    switch: Arc<dyn InspectableSwitch>,
    listeners: Vec<Listener>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let (keys, primitives): (Vec<_>, Vec<_>) = config.start().unzip();
    let outcomes = switch.apply(&Caller::default(), primitives).await?;
    for (key, outcome) in keys.iter().zip(outcomes) {
        outcome.map_err(|refused| Failure::Setup(at_key(key, refused).to_string()))?;
    }
    let console = console::open(&config.cli, Arc::clone(&switch) as Arc<dyn AcmSwitch>).await?;
    info!(ports = ?config.ports, services = config.services.len(), bindings = config.bindings.len(), "the switch is up");
    let console = async {
        match console {
            Some(server) => server.run().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = serve(switch, listeners, shutdown) => {}
        () = console => {}
    }
    info!("the switch stops");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: SwitchArgs,
    }

    fn config(words: &str) -> Result<SwitchConfig, String> {
        let line = Line::try_parse_from(std::iter::once("switch").chain(words.split_whitespace()));
        line.map_err(|why| why.to_string())?.args.into_config().map_err(|why| why.to_string())
    }

    #[test]
    fn options_make_a_whole_configuration() {
        let plain = config("--port eth1 --port eth2 --address 10.0.0.2/24").unwrap();
        assert_eq!((plain.ports.len(), plain.api), (2, ApiConfig::default()));
        let full = config(
            "--port eth1 --address 10.0.0.2/24 --address 2001:db8::2/64 --mac 02:00:00:00:00:07 --api unix:/tmp/a \
             --api http://127.0.0.1:8800 --token-file /tmp/t",
        )
        .unwrap();
        assert_eq!((full.addresses.len(), full.api.listen.len()), (2, 2));
        assert_eq!(full.mac.unwrap().to_string(), "02:00:00:00:00:07");
    }

    #[test]
    fn wrong_options_are_named() {
        for (words, says) in [
            ("", "--port"),
            ("--port eth1", "--address"),
            ("--config a.toml --port eth1", "--port"),
            ("--port eth1 --address 10.0.0.2/24 --api http://127.0.0.1:1", "api.token_file"),
            ("--port eth1 --port eth1 --address 10.0.0.2/24", "ports: eth1"),
            ("--port eth1 --address 10.0.0.2/24 --mac 01:00:5e:00:00:01", "mac"),
            ("--port eth1 --address 10.0.0.2/24 --api ftp://x", "unix:PATH"),
            ("--config /nonexistent/switch.toml", "/nonexistent/switch.toml"),
        ] {
            let error = config(words).unwrap_err();
            assert!(error.contains(says), "{words}: {error}");
        }
    }
}

//! The command line of `switch-sim`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Parser, ValueEnum};
use clap_complete::Shell as CompletionShell;
use switch_sim::personality::Personality;
use switch_sim::quirk::Order;
use switch_sim::scenario::{self, Scenario};

const EXAMPLES: &str = "\
Examples:
  switch-sim                                       telnet at 127.0.0.1:2323, no login
  switch-sim --telnet 127.0.0.1:0 --json           any free port, and a line of JSON that says which
  switch-sim --login user --user admin --password-file pw --enable-password-file epw --ssh 127.0.0.1:2222
  switch-sim --startup-config box.cfg              `write memory` saves to box.cfg, the next start reads it
  switch-sim --quirk cr-and-lf --quirk swallow-input=1% --seed 7
  switch-sim --scenario rolling-reboot --expect    wait for a driver, then say whether it did the right thing
  switch-sim --quirk login-refused@count=2 --quirk changed-behind@after=5s@every=10s

Exit codes: 0 ended by a signal, or what --expect expects was done; 1 not started, or it was not done;
2 wrong command line.";

/// An emulated Foundry ServerIron: its command line over telnet and SSH, with a simulated load balancer behind it.
#[derive(Debug, Parser)]
#[command(name = "switch-sim", version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Args {
    /// Where telnet listens, or `off`. A port alone is on loopback
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:2323")]
    pub(crate) telnet: Place,

    /// Where SSH listens. A port alone is on loopback
    #[arg(long, value_name = "ADDR", default_value = "off", hide_default_value = true)]
    pub(crate) ssh: Place,

    /// The device's SSH key (OpenSSH format); made if the file is not there. Without it the key is new at each start
    #[arg(long, value_name = "FILE")]
    pub(crate) ssh_host_key: Option<PathBuf>,

    /// Public keys that log in by SSH without a password, as in `authorized_keys`
    #[arg(long, value_name = "FILE")]
    pub(crate) ssh_authorized_keys: Option<PathBuf>,

    /// Which box it is
    #[arg(long, value_name = "NAME", default_value_t = Personality::default(), value_parser = personality())]
    pub(crate) personality: Personality,

    /// The name in the prompt
    #[arg(long, value_name = "NAME", default_value = "ServerIron")]
    pub(crate) hostname: String,

    /// What stands at the beginning of the prompt, such as `SLB-`
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) prompt_prefix: String,

    #[command(flatten)]
    pub(crate) access: AccessArgs,

    /// The start-up configuration: read at the start, written by `write memory`; it need not exist yet
    #[arg(long, value_name = "FILE")]
    pub(crate) startup_config: Option<PathBuf>,

    /// Screens and texts that take the place of the built-in ones
    #[arg(long, value_name = "FILE")]
    pub(crate) templates: Option<PathBuf>,

    /// Prints the built-in templates, as a start for one's own
    #[arg(long)]
    pub(crate) print_templates: bool,

    /// Sessions at one time
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) sessions: usize,

    /// Minutes a session may be silent; 0 is for ever
    #[arg(long, value_name = "MINUTES", default_value_t = 0)]
    pub(crate) idle_timeout: u64,

    /// How long changes take
    #[arg(long, value_enum, default_value_t = PaceKind::None)]
    pub(crate) pace: PaceKind,

    /// Where the health of real servers comes from
    #[arg(long, value_enum, default_value_t = HealthKind::Simulated)]
    pub(crate) health: HealthKind,

    /// Something that real boxes do wrong; may be given several times
    #[arg(long, value_name = "NAME[=VALUE][@SCHEDULE]", action = ArgAction::Append)]
    pub(crate) quirk: Vec<Order>,

    /// A file of quirks, one a line
    #[arg(long, value_name = "FILE")]
    pub(crate) quirk_file: Option<PathBuf>,

    /// The seed of everything that is left to chance
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,

    /// Lists the quirks, their values and schedules
    #[arg(long)]
    pub(crate) list_quirks: bool,

    /// A situation that a driver has to cope with
    #[arg(long, value_name = "NAME", value_parser = scenario)]
    pub(crate) scenario: Option<&'static Scenario>,

    /// Judges the driver: ends with the scenario, prints its steps, and fails if they were not done
    #[arg(long, requires = "scenario")]
    pub(crate) expect: bool,

    /// Lists the scenarios: the situation, the driver's task, its time
    #[arg(long)]
    pub(crate) list_scenarios: bool,

    /// Prints one line of JSON when it is ready
    #[arg(long)]
    pub(crate) json: bool,

    /// Prints a completion script
    #[arg(long, value_name = "SHELL")]
    pub(crate) completions: Option<CompletionShell>,
}

/// Who may come in.
#[derive(Debug, clap::Args)]
pub(crate) struct AccessArgs {
    /// What is asked before the first prompt; follows from --user and --password where it is not given
    #[arg(long, value_enum)]
    pub(crate) login: Option<LoginKind>,

    /// The user of `--login user`
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,

    /// The login password. Other users of this machine see it here: better in a file or in the environment
    #[arg(long, value_name = "PASSWORD", env = "SWITCH_SIM_PASSWORD", hide_env_values = true)]
    pub(crate) password: Option<String>,

    /// A file whose first line is the login password
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,

    /// The password of `enable`; without one `enable` asks for none
    #[arg(long, value_name = "PASSWORD", env = "SWITCH_SIM_ENABLE_PASSWORD", hide_env_values = true)]
    pub(crate) enable_password: Option<String>,

    /// A file whose first line is the password of `enable`
    #[arg(long, value_name = "FILE")]
    pub(crate) enable_password_file: Option<PathBuf>,

    /// A login ends at `#`, as with TACACS+ and `aaa authentication login privilege-mode`
    #[arg(long)]
    pub(crate) login_privileged: bool,

    /// `enable` asks for a user name first, as with AAA
    #[arg(long)]
    pub(crate) enable_asks_user: bool,
}

/// What is asked before the first prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LoginKind {
    /// Nothing
    None,
    /// A password
    Password,
    /// A name and a password
    User,
}

/// How long changes take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PaceKind {
    /// No time
    None,
    /// 26 ms for each binding added and 20 ms for each removed, as measured on a ServerIron XL
    Device,
}

/// Where the health of real servers comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum HealthKind {
    /// Every server is well, unless a scenario says otherwise
    Simulated,
    /// TCP connections to the addresses that are configured
    Tcp,
}

fn personality() -> impl TypedValueParser<Value = Personality> {
    PossibleValuesParser::new(Personality::ALL.map(Personality::name)).try_map(|name| name.parse::<Personality>())
}

fn scenario(name: &str) -> Result<&'static Scenario, String> {
    scenario::by_name(name)
        .ok_or_else(|| format!("there is no scenario `{name}`: `switch-sim --list-scenarios` names them"))
}

/// Where to listen, if anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(pub(crate) Option<SocketAddr>);

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse::<u16>() {
            return Ok(Self(Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))));
        }
        let found = text.to_socket_addrs().ok().and_then(|mut all| all.next());
        found.map(|address| Self(Some(address))).ok_or_else(|| {
            format!(
                "`{text}` is no address: HOST:PORT is wanted, such as 127.0.0.1:2323 or [::1]:2323, or a port, or off"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_port_alone_is_on_loopback() {
        let place = |text: &str| text.parse::<Place>().map(|place| place.0.map(|address| address.to_string()));
        assert_eq!(place("0"), Ok(Some("127.0.0.1:0".into())));
        assert_eq!(place(":23"), Ok(Some("127.0.0.1:23".into())));
        assert_eq!(place("[::1]:23"), Ok(Some("[::1]:23".into())));
        assert_eq!(place("0.0.0.0:23"), Ok(Some("0.0.0.0:23".into())));
        assert_eq!(place("off"), Ok(None));
        assert!(place("127.0.0.1").is_err());
        assert!(place("70000").is_err());
    }
}

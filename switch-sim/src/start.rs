//! From the command line to a running device.

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use switch_sim::chassis::access::{Access, Level, Secret, User};
use switch_sim::chassis::flash::{FileFlash, Flash};
use switch_sim::chassis::{Chassis, Settings};
use switch_sim::quirk::{self, Quirks};
use switch_sim::scenario::{Judge, Verdict};
use switch_sim::screens::{self, Templates};
use switch_sim::server::{AuthorizedKeys, Bell, Device, HostKey, Listen, Server, SlotLimits, SshListen};
use switch_sim::shell::LoginAsks;
use switch_sim::simbox::task::TcpChecks;
use switch_sim::simbox::{Pace, SimSettings, SimulatedBox};
use switch_sim::terminal;

use crate::args::{AccessArgs, Args, HealthKind, LoginKind, PaceKind, Place};

/// A real server that has not answered by then is down.
const CHECK_PATIENCE: Duration = Duration::from_secs(1);

/// How often the judge is asked.
const VERDICT_EVERY: Duration = Duration::from_millis(100);
/// From the last deed to the end.
const GOODBYE: Duration = Duration::from_secs(1);

/// Why the device does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("--{option} {path}: {why}")]
    File { option: &'static str, path: PathBuf, why: String },
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Start(String),
}

fn start_error(why: impl ToString) -> StartError {
    StartError::Start(why.to_string())
}

/// Runs the device until a signal or a verdict ends it.
pub(crate) fn run(args: &Args) -> Result<ExitCode, StartError> {
    let quirks = quirks(args)?;
    let mut chassis_settings = chassis(args, &quirks)?;
    let texts = screens::terminal(&chassis_settings.templates);
    let listen = listen(args)?;
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(start_error)?;
    runtime.block_on(async {
        let bell = Bell::default();
        let mut box_settings = balancer(args, &quirks, tokio::runtime::Handle::current());
        let judge = args.scenario.map(|scenario| scenario.start(&mut chassis_settings, &mut box_settings));
        let mut chassis = Chassis::new(chassis_settings, Box::new(SimulatedBox::new(box_settings)));
        let ring = bell.clone();
        chassis.set_waker(Arc::new(move || ring.ring()));
        for line in chassis.bad_lines() {
            eprintln!("switch-sim: start-up configuration, line {}: `{}`: {}", line.number, line.text, line.said);
        }
        let fingerprint = listen.ssh.as_ref().map(|ssh| ssh.host_key.fingerprint());
        let settings = terminal::Settings { quirks, texts: texts.into(), ..terminal::Settings::default() };
        let device = Device::new(chassis, bell);
        let server = Server::bind(device.clone(), settings, listen).await;
        let server =
            server.map_err(|why| StartError::Start(format!("{why}: --telnet ADDR and --ssh ADDR choose another")))?;
        let ended = ended()?;
        say_ready(args, &server, fingerprint.as_deref());
        let judge = judge.filter(|_| args.expect);
        tokio::select! {
            () = server.run() => {}
            () = ended => {}
            () = decided(judge.as_ref(), &device) => {}
        }
        Ok(judge.map_or(ExitCode::SUCCESS, |judge| say_verdict(&judge.verdict(device.now()))))
    })
}

/// Resolves when the verdict is final, and a driver has had a moment to say goodbye.
async fn decided(judge: Option<&Judge>, device: &Device) {
    let Some(judge) = judge else { return std::future::pending().await };
    while !judge.verdict(device.now()).is_final() {
        tokio::time::sleep(VERDICT_EVERY).await;
    }
    tokio::time::sleep(GOODBYE).await;
}

fn say_verdict(verdict: &Verdict) -> ExitCode {
    // Whoever started us may look at the exit code only.
    writeln!(io::stdout().lock(), "{verdict}").ok();
    ExitCode::from(verdict.exit_code())
}

fn balancer(args: &Args, quirks: &Quirks, runtime: tokio::runtime::Handle) -> SimSettings {
    let mut settings = SimSettings::new(args.personality);
    settings.pace = match args.pace {
        PaceKind::None => Pace::None,
        PaceKind::Device => Pace::Device,
    };
    settings.checks = match args.health {
        HealthKind::Simulated => None,
        HealthKind::Tcp => Some(Box::new(TcpChecks::new(runtime, CHECK_PATIENCE))),
    };
    settings.quirks = quirks.clone();
    settings.seed = args.seed;
    settings
}

/// SIGINT and SIGTERM, caught from now on.
fn ended() -> Result<impl Future<Output = ()>, StartError> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt()).map_err(start_error)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(start_error)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

fn say_ready(args: &Args, server: &Server, fingerprint: Option<&str>) {
    let (telnet, ssh) = (server.telnet_address(), server.ssh_address());
    for (name, address) in [("telnet", telnet), ("SSH", ssh)] {
        if let Some(address) = address.filter(|address| !address.ip().is_loopback()) {
            eprintln!("switch-sim: {name} at {address} can be reached from other machines");
        }
    }
    let text = |address: Option<SocketAddr>| address.map(|address| address.to_string());
    let said = if args.json {
        let (telnet, ssh) = (text(telnet), text(ssh));
        let personality = args.personality.name();
        format!(
            "{}\n",
            serde_json::json!({
                "event": "ready", "telnet": telnet, "ssh": ssh, "host_key": fingerprint, "personality": personality,
            })
        )
    } else {
        let telnet = text(telnet).map(|address| format!("telnet {address}\n"));
        let ssh = text(ssh).map(|address| format!("ssh {address} {}\n", fingerprint.unwrap_or_default()));
        [telnet, ssh].into_iter().flatten().collect()
    };
    // Who started us may have closed our output; the device serves all the same.
    let mut out = io::stdout().lock();
    out.write_all(said.as_bytes()).and_then(|()| out.flush()).ok();
}

fn quirks(args: &Args) -> Result<Quirks, StartError> {
    let mut orders = args.quirk.clone();
    if let Some(path) = &args.quirk_file {
        let text = read("quirk-file", path)?;
        let from_file = quirk::parse_file(&text);
        orders.extend(from_file.map_err(|why| StartError::File {
            option: "quirk-file",
            path: path.clone(),
            why: why.to_string(),
        })?);
    }
    Quirks::new(orders, args.seed).map_err(|why| StartError::Usage(why.to_string()))
}

fn chassis(args: &Args, quirks: &Quirks) -> Result<Settings, StartError> {
    let mut settings = Settings::new(args.personality);
    settings.hostname.clone_from(&args.hostname);
    settings.prompt_prefix.clone_from(&args.prompt_prefix);
    settings.access = access(&args.access)?;
    settings.quirks = quirks.clone();
    settings.sessions_max = args.sessions;
    settings.idle_limit = (args.idle_timeout > 0).then(|| Duration::from_secs(args.idle_timeout.saturating_mul(60)));
    if let Some(path) = &args.templates {
        settings.templates = Templates::with_file(&read("templates", path)?, args.personality)
            .map_err(|why| StartError::File { option: "templates", path: path.clone(), why: why.to_string() })?;
    }
    if let Some(path) = &args.startup_config {
        let mut flash = FileFlash::at(path);
        flash.load().map_err(|why| file_error("startup-config", path, &why))?;
        settings.flash = Box::new(flash);
    }
    Ok(settings)
}

fn access(args: &AccessArgs) -> Result<Access, StartError> {
    let password = secret(args.password.as_deref(), "password-file", args.password_file.as_deref())?;
    let enable = secret(args.enable_password.as_deref(), "enable-password-file", args.enable_password_file.as_deref())?;
    let login = args.login.unwrap_or(match (&args.user, &password) {
        (Some(_), _) => LoginKind::User,
        (None, Some(_)) => LoginKind::Password,
        (None, None) => LoginKind::None,
    });
    let missing = |what: &str, how: &str| StartError::Usage(format!("--login {what} wants {how}"));
    let how = "a password: --password-file FILE, SWITCH_SIM_PASSWORD, or --password PASSWORD";
    let mut access = Access {
        enable: enable.into_iter().map(|secret| (Level::SUPER_USER, secret)).collect(),
        enable_asks_user: args.enable_asks_user,
        login_is_privileged: args.login_privileged,
        ..Access::default()
    };
    match login {
        LoginKind::None => {}
        LoginKind::Password => {
            access.login = LoginAsks::Password;
            access.telnet_password = Some(password.ok_or_else(|| missing("password", how))?);
        }
        LoginKind::User => {
            access.login = LoginAsks::NameAndPassword;
            let name = args.user.clone().ok_or_else(|| missing("user", "a name: --user NAME"))?;
            let secret = Some(password.ok_or_else(|| missing("user", how))?);
            access.users.push(User { name, level: Level::SUPER_USER, secret });
        }
    }
    Ok(access)
}

/// A password: given, or the first line of a file, which wins over one from the environment.
fn secret(given: Option<&str>, option: &'static str, path: Option<&Path>) -> Result<Option<Secret>, StartError> {
    let Some(path) = path else { return Ok(given.map(salted)) };
    let text = read(option, path)?;
    let first = text.lines().next().unwrap_or_default();
    if first.is_empty() {
        let why = "its first line is to be the password, and is empty".into();
        return Err(StartError::File { option, path: path.into(), why });
    }
    Ok(Some(salted(first)))
}

/// The salt need not be secret, only another one each time.
fn salted(plain: &str) -> Secret {
    Secret::new(plain, &mut fastrand::Rng::new())
}

fn listen(args: &Args) -> Result<Listen, StartError> {
    let (Place(telnet), Place(ssh)) = (args.telnet, args.ssh);
    if telnet.is_none() && ssh.is_none() {
        return Err(StartError::Usage("--telnet off needs --ssh ADDR: nobody could reach the device".into()));
    }
    let ssh = match ssh {
        None => None,
        Some(address) => {
            let host_key = match &args.ssh_host_key {
                Some(path) => HostKey::from_file(path).map_err(start_error)?,
                None => HostKey::generate().map_err(start_error)?,
            };
            let authorized = match &args.ssh_authorized_keys {
                Some(path) => AuthorizedKeys::from_file(path).map_err(start_error)?,
                None => AuthorizedKeys::default(),
            };
            Some(SshListen { address, host_key, authorized })
        }
    };
    Ok(Listen { telnet, ssh, limits: SlotLimits::default() })
}

/// As many files as the system allows: a flood of connections must not use them up.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Without it the limits of the listener still hold.
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).ok();
}

fn read(option: &'static str, path: &Path) -> Result<String, StartError> {
    fs::read_to_string(path).map_err(|why| file_error(option, path, &why))
}

fn file_error(option: &'static str, path: &Path, why: &io::Error) -> StartError {
    StartError::File { option, path: path.into(), why: why.to_string() }
}

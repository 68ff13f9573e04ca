//! How a process of the command is given what it listens on.
//!
//! * **port**: an anonymous port is chosen, the process is told it and binds it itself. Its environment has `PORT`, the
//!   port of the first service; `PORT_NAME` for each (`PORT_WEB`), and `ADDRESS`, the address to bind.
//! * **socket**: the sockets are bound here and the process inherits them, by the rules of sd_listen_fds(3): descriptors
//!   from 3 on in the order of the services, `LISTEN_FDS` how many, `LISTEN_PID` whose, `LISTEN_FDNAMES` their names with
//!   colons between. They stay open while the process restarts, so connections that come meanwhile wait.
//!
//! Both have `ACM_INSTANCE`, from 0, and with *socket* `PORT` and `ADDRESS` as well, for those who want to know.
//!
//! A process does not outlive its agent: one that is killed with no time to end it takes it along, by a SIGKILL from the
//! system (`PR_SET_PDEATHSIG`). Nobody would drain it, restart it or say how it is, and its successor would stand beside
//! it. That is asked for by the process itself before it becomes the command, so every command starts as this program.
//! It does not reach what the command itself has started.

use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::Stdio;

use command_fds::{CommandFdExt, FdMapping};
use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::process::Command;

use crate::agent::config::ServiceConfig;
use crate::base::addr::Protocol;
use crate::base::id::Name;
use crate::beacon::message::Statement;

/// The first inherited descriptor, `SD_LISTEN_FDS_START` of sd_listen_fds(3).
const FIRST_DESCRIPTOR: i32 = 3;

/// How a process learns where to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Pass {
    /// `PORT` in its environment; it binds that itself
    #[default]
    Port,
    /// It inherits sockets that are bound already (`LISTEN_FDS`)
    Socket,
}

/// What one instance listens on.
#[derive(Debug)]
pub struct Seat {
    instance: u16,
    places: Vec<Place>,
}

#[derive(Debug)]
struct Place {
    name: Name,
    service: ServiceConfig,
    real: SocketAddr,
    /// With [`Pass::Socket`].
    socket: Option<OwnedFd>,
}

impl Seat {
    /// Chooses ports for an instance, and with [`Pass::Socket`] opens them.
    ///
    /// # Errors
    /// The system's: no such address here, or no port is free.
    pub fn take(instance: u16, pass: Pass, address: IpAddr, services: &[(Name, ServiceConfig)]) -> io::Result<Seat> {
        let any = SocketAddr::new(address, 0);
        let mut held = Vec::new();
        for (name, service) in services {
            let (real, socket): (_, OwnedFd) = match service.service.protocol {
                Protocol::Tcp => {
                    let socket = TcpListener::bind(any)?;
                    (socket.local_addr()?, socket.into())
                }
                Protocol::Udp => {
                    let socket = UdpSocket::bind(any)?;
                    (socket.local_addr()?, socket.into())
                }
            };
            held.push(Place { name: name.clone(), service: service.clone(), real, socket: Some(socket) });
        }
        // All are held until the last is chosen, so that no port is chosen twice.
        if pass == Pass::Port {
            held.iter_mut().for_each(|place| place.socket = None);
        }
        Ok(Seat { instance, places: held })
    }

    /// What is said of it.
    pub fn statements(&self) -> Vec<Statement> {
        self.places.iter().map(|place| place.service.statement(&place.name, place.real)).collect()
    }

    /// The TCP addresses it is to be reached at, if that shows whether it is ready: an inherited socket accepts before
    /// the process runs.
    pub(super) fn shows_ready(&self) -> Vec<SocketAddr> {
        let own = self.places.iter().filter(|place| place.socket.is_none());
        own.filter(|place| place.service.service.protocol == Protocol::Tcp).map(|place| place.real).collect()
    }

    /// A process of this command line, in this seat, in a process group of its own.
    ///
    /// # Errors
    /// The system's: too many descriptors.
    pub(super) fn command(&self, line: &[OsString]) -> io::Result<Command> {
        let sockets: Vec<_> = self.places.iter().filter_map(|place| place.socket.as_ref()).collect();
        let mut command = Command::new("/proc/self/exe");
        command.args([EXEC, "--agent", &std::process::id().to_string()]);
        if !sockets.is_empty() {
            command.arg("--sockets").env("LISTEN_FDS", sockets.len().to_string());
            let names: Vec<_> = self.places.iter().map(|place| place.name.as_str()).collect();
            command.env("LISTEN_FDNAMES", names.join(":"));
            let mut mappings = Vec::new();
            for (child_fd, socket) in (FIRST_DESCRIPTOR..).zip(sockets) {
                mappings.push(FdMapping { parent_fd: socket.try_clone()?, child_fd });
            }
            command.fd_mappings(mappings).map_err(io::Error::other)?;
        }
        command.arg("--").args(line);
        // Nobody types anything for a server, and in a group of its own it could not read it.
        command.envs(self.environment()).stdin(Stdio::null()).process_group(0);
        Ok(command)
    }

    /// What the environment of the process and of its health command says.
    pub(super) fn environment(&self) -> Vec<(String, String)> {
        let mut all = vec![("ACM_INSTANCE".to_owned(), self.instance.to_string())];
        if let Some(first) = self.places.first() {
            all.push(("PORT".to_owned(), first.real.port().to_string()));
            all.push(("ADDRESS".to_owned(), first.real.ip().to_string()));
        }
        let port = |place: &Place| (variable(&place.name), place.real.port().to_string());
        all.extend(self.places.iter().map(port));
        all
    }
}

/// `PORT_WEB` for `web`, `PORT_A_B` for `a-b`.
fn variable(name: &Name) -> String {
    let upper = name.as_str().chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' });
    format!("PORT_{}", upper.collect::<String>())
}

/// The hidden subcommand that becomes the command of an instance.
pub const EXEC: &str = "run-exec";

/// Becomes this command, bound to the life of `agent`, the process that started it; with `sockets` it is told that it
/// inherits them: `LISTEN_PID` names a process that nobody knows before it runs. Returns only what was wrong.
pub fn become_command(agent: u32, sockets: bool, line: &[OsString]) -> io::Error {
    use std::os::unix::process::CommandExt as _;
    let Some((program, args)) = line.split_first() else {
        return io::Error::new(io::ErrorKind::InvalidInput, "there is no command");
    };
    // The agent starts commands from its main thread, whose end is its own. A set-user-ID program loses it again.
    if let Err(why) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return why.into();
    }
    // It may have died before that.
    if std::os::unix::process::parent_id() != agent {
        return io::Error::other("its agent has died");
    }
    let mut command = std::process::Command::new(program);
    if sockets {
        command.env("LISTEN_PID", std::process::id().to_string());
    }
    command.args(args).exec()
}

/// The exit code of a command that could not be started, as shells have it.
pub fn exit_code(why: &io::Error) -> i32 {
    if why.kind() == io::ErrorKind::NotFound { 127 } else { 126 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_different_and_the_environment_names_them() {
        let service = |text: &str| ServiceConfig::from(text.parse::<crate::acm::words::ServiceKey>().unwrap());
        let services = [
            ("web".parse().unwrap(), service("10.0.0.100:80")),
            ("dns-2".parse().unwrap(), service("10.0.0.100:53/udp")),
        ];
        for pass in [Pass::Port, Pass::Socket] {
            let seat = Seat::take(3, pass, IpAddr::from([127, 0, 0, 1]), &services).unwrap();
            let said = seat.statements();
            let ports: Vec<_> = said.iter().map(|one| one.key.real.port().to_string()).collect();
            let is = |name: &str, value: &str| seat.environment().contains(&(name.to_owned(), value.to_owned()));
            assert!(is("PORT", &ports[0]) && is("PORT_WEB", &ports[0]) && is("PORT_DNS_2", &ports[1]));
            assert!(is("ACM_INSTANCE", "3") && is("ADDRESS", "127.0.0.1"));
            assert_eq!(seat.shows_ready().len(), usize::from(pass == Pass::Port));
            // Whoever holds a port may have it; who does not may not.
            assert_eq!(TcpListener::bind(said[0].key.real).is_ok(), pass == Pass::Port);
        }
    }
}

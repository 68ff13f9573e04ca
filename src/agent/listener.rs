//! The face of the library: sockets that are what `std` has, and managed.
//!
//! The first [`bind`] of a process reads the configuration (`ACM_CONFIG`, or `/etc/acm/agent.toml`) and starts the agent:
//! one thread with a runtime of its own, so that any program may use it, with or without `async`. From then on the agent
//! has SIGTERM and SIGINT: it takes every binding back, waits until nothing is left of them or the configured drain is
//! over, and ends the process with 0. Meanwhile the program goes on serving. A second signal ends it at once. Keys are
//! read at the start only; `acm run` reads them anew on SIGHUP.
//!
//! For an `async` program: `TcpListener::from_std(listener.try_clone()?)`, non-blocking, and keep the [`Listener`].

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::config::AgentConfig;
use super::machine::AgentFull;
use super::task::{Handle, Order};
use crate::acm::words::BindingKey;
use crate::base::addr::Protocol;
use crate::base::id::Name;
use crate::beacon::config::Wrong;
use crate::beacon::key::KeyError;
use crate::beacon::message::{Facts, Standing};
use crate::beacon::socket::CannotOpen;
use crate::beacon::words::Words;

/// How long a dropped socket waits for the acknowledgement that nothing new comes to it.
const DROP_PATIENCE: Duration = Duration::from_millis(250);

/// Why a service cannot be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The configuration.
    #[error("{0}")]
    Config(#[from] Wrong),
    /// The sockets to the managers.
    #[error("{0}")]
    Sockets(#[from] CannotOpen),
    /// The keys.
    #[error("{0}")]
    Keys(#[from] KeyError),
    /// Too many bindings.
    #[error("{0}")]
    Full(#[from] AgentFull),
    /// This machine.
    #[error("{0}")]
    System(#[from] io::Error),
    /// `bind` of a UDP service, or `bind_udp` of a TCP one.
    #[error("services.{name}: {service} is not {wanted}; write it with{out} /udp", out = if *.wanted == "UDP" { "" } else { "out" })]
    Protocol {
        /// The service.
        name: String,
        /// What is configured.
        service: String,
        /// What was asked for.
        wanted: &'static str,
    },
}

/// Listens at an anonymous port for the service of this name, and has it announced.
///
/// # Errors
/// [`BindError`]. That no manager answers is none: the agent goes on trying, and says so in the log.
pub fn bind(name: &str) -> Result<Listener, BindError> {
    let agent = Agent::get()?;
    let (name, address) = agent.place(name, Protocol::Tcp)?;
    let socket = TcpListener::bind(address)?;
    let binding = agent.announce(&name, socket.local_addr()?)?;
    Ok(Listener { binding, socket })
}

/// The same for a service over UDP.
///
/// # Errors
/// As [`bind`].
pub fn bind_udp(name: &str) -> Result<Datagrams, BindError> {
    let agent = Agent::get()?;
    let (name, address) = agent.place(name, Protocol::Udp)?;
    let socket = UdpSocket::bind(address)?;
    let binding = agent.announce(&name, socket.local_addr()?)?;
    Ok(Datagrams { binding, socket })
}

/// Tells the managers that a peer failed: its connection was reset, or it gave no answer. They look themselves, at once.
/// Nothing happens in a process that has bound nothing.
pub fn report_peer_failure(real: SocketAddr, why: &str) {
    let agent = AGENT.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some(agent) = agent {
        agent.handle.order(Order::Report(real, Words::clip(why)));
    }
}

static AGENT: Mutex<Option<Arc<Agent>>> = Mutex::new(None);

/// The agent of this process.
#[derive(Debug)]
struct Agent {
    config: AgentConfig,
    address: std::net::IpAddr,
    handle: Handle,
}

impl Agent {
    /// The one there is, or a new one.
    fn get() -> Result<Arc<Agent>, BindError> {
        let mut place = AGENT.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(agent) = &*place {
            return Ok(Arc::clone(agent));
        }
        let config = AgentConfig::read(&AgentConfig::path(None))?;
        let reach = config.reach()?;
        let address = config.own_address(&reach)?;
        let handle = Handle::start(config.setup()?, reach, config.drain.0)?;
        let agent = Arc::new(Agent { config, address, handle });
        *place = Some(Arc::clone(&agent));
        Ok(agent)
    }

    /// Where to listen: any port of the address that is announced.
    fn place(&self, name: &str, protocol: Protocol) -> Result<(Name, SocketAddr), BindError> {
        let parsed: Name = name
            .parse()
            .map_err(|_| crate::beacon::config::wrong(name, "is not a name: 1 to 64 of A-Z a-z 0-9 _ . -"))?;
        let service = self.config.service(&parsed)?.service;
        if service.protocol != protocol {
            let wanted = if protocol == Protocol::Tcp { "TCP" } else { "UDP" };
            return Err(BindError::Protocol { name: name.to_owned(), service: service.to_string(), wanted });
        }
        Ok((parsed, SocketAddr::new(self.address, 0)))
    }

    fn announce(self: &Arc<Agent>, name: &Name, real: SocketAddr) -> Result<Binding, BindError> {
        let statement = self.config.service(name)?.statement(name, real);
        let key = statement.key;
        self.handle.add(statement)?;
        Ok(Binding { key, agent: Arc::clone(self) })
    }
}

/// What a managed socket is bound as. Dropping it takes it back.
#[derive(Debug)]
pub struct Binding {
    key: BindingKey,
    agent: Arc<Agent>,
}

impl Binding {
    /// The virtual service, and where it is served.
    pub fn key(&self) -> BindingKey {
        self.key
    }

    /// How it stands; `None` when nothing is left of it.
    pub fn standing(&self) -> Option<Standing> {
        self.agent.handle.standing(&self.key)
    }

    /// Waits until it is in force on the switches. False if it is not after this long.
    pub fn wait_bound(&self, patience: Duration) -> bool {
        self.agent.handle.wait(&self.key, patience, |standing| standing == Some(Standing::Bound))
    }

    /// The service cannot serve now, and why: it is taken out until it says [`Binding::serving`].
    pub fn failing(&self, why: &str) {
        self.agent.handle.order(Order::Judge(self.key, Err(Words::clip(why))));
    }

    /// It can serve again.
    pub fn serving(&self) {
        self.agent.handle.order(Order::Judge(self.key, Ok(())));
    }

    /// What the service tells about itself, from the next beacon on.
    pub fn tell(&self, facts: Facts) {
        self.agent.handle.order(Order::Tell(self.key, facts));
    }

    /// Takes it back and waits until nothing is left of it, at most for the configured drain. The socket stays open, for
    /// the connections there are.
    pub fn withdraw(&self) {
        self.agent.handle.order(Order::Withdraw(self.key));
        let patience = self.agent.config.drain.0 + super::machine::NOBODY_ANSWERS;
        self.agent.handle.wait(&self.key, patience, |standing| standing.is_none());
    }
}

impl Drop for Binding {
    fn drop(&mut self) {
        self.agent.handle.order(Order::Withdraw(self.key));
        let is_over = |standing| matches!(standing, None | Some(Standing::Drains));
        self.agent.handle.wait(&self.key, DROP_PATIENCE, is_over);
    }
}

/// A [`TcpListener`] that is managed. Dropping it takes it back; better is [`Binding::withdraw`] before.
#[derive(Debug)]
pub struct Listener {
    // Dropped first, so that nothing new comes when the socket is closed.
    binding: Binding,
    socket: TcpListener,
}

/// A [`UdpSocket`] that is managed.
#[derive(Debug)]
pub struct Datagrams {
    binding: Binding,
    socket: UdpSocket,
}

impl Listener {
    /// What it is bound as: health, withdrawal.
    pub fn binding(&self) -> &Binding {
        &self.binding
    }
}

impl Datagrams {
    /// What it is bound as: health, withdrawal.
    pub fn binding(&self) -> &Binding {
        &self.binding
    }
}

impl Deref for Listener {
    type Target = TcpListener;

    fn deref(&self) -> &TcpListener {
        &self.socket
    }
}

impl Deref for Datagrams {
    type Target = UdpSocket;

    fn deref(&self) -> &UdpSocket {
        &self.socket
    }
}

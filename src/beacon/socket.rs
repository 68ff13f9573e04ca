//! The sockets that datagrams travel through: one of our own, from which everything is sent and to which answers come,
//! and one that hears the group. Several managers and agents may share a machine and a group.
//!
//! I/O, but no clock and no task. What a socket does not take at once is dropped: it is UDP, and whoever needs an
//! answer asks again.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::datagram::DATAGRAM_MAX;

/// The group when nothing else is said: of the range that is free for use within a site (RFC 2365, section 6.1).
pub const DEFAULT_GROUP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(239, 9, 9, 9)), 7946);

/// How much may wait to be read: ten thousand beacons that come at once, each with the kernel's own cost.
pub const DEFAULT_BUFFER: usize = 16 << 20;

/// How all are reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// By multicast to this group and port.
    Multicast(SocketAddr),
    /// By one datagram to each of these.
    Peers(Vec<SocketAddr>),
}

/// How to open the sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// How all are reached.
    pub way: Way,
    /// Where we are reached; port 0: any.
    pub listen: SocketAddr,
    /// The interface whose group it is; absent: the one the routes say.
    pub interface: Option<String>,
    /// How many routers a multicast datagram may pass, plus one.
    pub ttl: u32,
    /// The receive buffer to ask for, in bytes.
    pub buffer: usize,
}

impl Default for Reach {
    fn default() -> Reach {
        Reach {
            way: Way::Multicast(DEFAULT_GROUP),
            listen: SocketAddr::from(([0, 0, 0, 0], 0)),
            interface: None,
            ttl: 1,
            buffer: DEFAULT_BUFFER,
        }
    }
}

/// What could not be opened, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub struct CannotOpen {
    what: String,
    why: io::Error,
}

/// A buffer that is smaller than asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SmallBuffer {
    /// Bytes asked for.
    pub asked: usize,
    /// Bytes there are.
    pub got: usize,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Sockets {
    own: UdpSocket,
    group: Option<UdpSocket>,
    way: Way,
    small: Option<SmallBuffer>,
}

impl Sockets {
    /// Opens them. Needs a Tokio runtime.
    ///
    /// # Errors
    /// [`CannotOpen`].
    pub fn open(reach: &Reach) -> Result<Sockets, CannotOpen> {
        let own = open(reach.listen, false).map_err(|why| cannot(format!("listen on {}", reach.listen), why))?;
        let group = match reach.way {
            Way::Peers(_) => None,
            Way::Multicast(group) => {
                let what =
                    || format!("join {} on {}", group.ip(), reach.interface.as_deref().unwrap_or("any interface"));
                speak_to(&own, group, reach).map_err(|why| cannot(what(), why))?;
                Some(join(group, reach).map_err(|why| cannot(what(), why))?)
            }
        };
        let mut small = None;
        for socket in [Some(&own), group.as_ref()].into_iter().flatten() {
            let got = ask_buffer(socket, reach.buffer).map_err(|why| cannot("receive buffer".into(), why))?;
            if got < reach.buffer {
                small = Some(SmallBuffer { asked: reach.buffer, got });
            }
        }
        let tokio = |socket: Socket| UdpSocket::from_std(socket.into()).map_err(|why| cannot("socket".into(), why));
        let group = group.map(tokio).transpose()?;
        Ok(Sockets { own: tokio(own)?, group, way: reach.way.clone(), small })
    }

    /// The receive buffer, if it is smaller than asked for.
    pub fn small_buffer(&self) -> Option<SmallBuffer> {
        self.small
    }

    /// Where answers come to.
    ///
    /// # Errors
    /// The system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.own.local_addr()
    }

    /// Sends to one. False if it was dropped here.
    pub fn send_to(&self, bytes: &[u8], to: SocketAddr) -> bool {
        self.own.try_send_to(bytes, to).is_ok()
    }

    /// Sends to all. False if it was dropped here, for one of them at least.
    pub fn send_to_all(&self, bytes: &[u8]) -> bool {
        match &self.way {
            Way::Multicast(group) => self.send_to(bytes, *group),
            Way::Peers(peers) => peers.iter().filter(|peer| !self.send_to(bytes, **peer)).count() == 0,
        }
    }

    /// Returns when there may be something to read.
    pub async fn readable(&self) {
        // An error (a refusal by a peer's host, say) is met again and dropped in `receive`.
        match &self.group {
            None => drop(self.own.readable().await),
            Some(group) => tokio::select! {
                _ = self.own.readable() => {}
                _ = group.readable() => {}
            },
        }
    }

    /// The next datagram, if there is one. One that is longer than a datagram may be shows by its length. `turn` says
    /// which socket is looked at first, so that a flood of one does not drown the other.
    pub fn receive<'a>(&self, turn: usize, buffer: &'a mut [u8; DATAGRAM_MAX + 1]) -> Option<(&'a [u8], SocketAddr)> {
        let mut sockets = [Some(&self.own), self.group.as_ref()];
        sockets.rotate_left(turn % 2);
        for socket in sockets.into_iter().flatten() {
            // An error is what an earlier datagram of ours met (ICMP); the next one may be for us.
            for _ in 0..ERRORS_SKIPPED {
                match socket.try_recv_from(buffer) {
                    Ok((length, from)) => return Some((&buffer[..length], from)),
                    Err(why) if why.kind() == io::ErrorKind::WouldBlock => break,
                    Err(_) => {}
                }
            }
        }
        None
    }
}

/// Errors passed over before the other socket has its turn.
const ERRORS_SKIPPED: usize = 16;

fn cannot(what: String, why: io::Error) -> CannotOpen {
    CannotOpen { what, why }
}

fn open(at: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if shared {
        socket.set_reuse_address(true)?;
    }
    socket.bind(&at.into())?;
    Ok(socket)
}

/// What we say to the group leaves by its interface, goes as far as it may, and comes back to others on this machine.
fn speak_to(own: &Socket, group: SocketAddr, reach: &Reach) -> io::Result<()> {
    let interface = reach.interface.as_deref().map(Interface::find).transpose()?;
    match group.ip() {
        IpAddr::V4(_) => {
            own.set_multicast_loop_v4(true)?;
            own.set_multicast_ttl_v4(reach.ttl)?;
            if let Some(interface) = interface {
                own.set_multicast_if_v4(&interface.v4.ok_or_else(|| no_address(reach, "IPv4"))?)?;
            }
        }
        IpAddr::V6(_) => {
            own.set_multicast_loop_v6(true)?;
            own.set_multicast_hops_v6(reach.ttl)?;
            if let Some(interface) = interface {
                own.set_multicast_if_v6(interface.index)?;
            }
        }
    }
    Ok(())
}

fn no_address(reach: &Reach, family: &str) -> io::Error {
    let name = reach.interface.as_deref().unwrap_or_default();
    io::Error::other(format!("{name} has no {family} address; give it one, or name another interface"))
}

/// The socket that hears the group. It is bound to the group's address, so it hears nothing that is meant for one.
fn join(group: SocketAddr, reach: &Reach) -> io::Result<Socket> {
    let socket = open(group, true)?;
    let interface = reach.interface.as_deref().map(Interface::find).transpose()?;
    match group.ip() {
        IpAddr::V4(ip) => {
            // Otherwise it would hear what others on this machine have joined.
            socket.set_multicast_all_v4(false)?;
            let on = interface.map_or(InterfaceIndexOrAddress::Address(Ipv4Addr::UNSPECIFIED), |interface| {
                InterfaceIndexOrAddress::Index(interface.index)
            });
            socket.join_multicast_v4_n(&ip, &on)?;
        }
        IpAddr::V6(ip) => {
            socket.set_multicast_all_v6(false)?;
            socket.join_multicast_v6(&Ipv6Addr::from(ip.octets()), interface.map_or(0, |interface| interface.index))?;
        }
    }
    Ok(socket)
}

/// An interface of this machine.
struct Interface {
    index: u32,
    v4: Option<Ipv4Addr>,
}

impl Interface {
    fn find(name: &str) -> io::Result<Interface> {
        let all = pnet::datalink::interfaces();
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("there is no interface {name}"));
        let found = all.into_iter().find(|interface| interface.name == name).ok_or_else(missing)?;
        let v4 = found.ips.iter().find_map(|net| match net.ip() {
            IpAddr::V4(ip) => Some(ip),
            IpAddr::V6(_) => None,
        });
        Ok(Interface { index: found.index, v4 })
    }
}

/// Asks for a buffer: beyond the system's limit if we may (`CAP_NET_ADMIN`), else up to it. What there is then.
fn ask_buffer(socket: &Socket, bytes: usize) -> io::Result<usize> {
    if rustix::net::sockopt::set_socket_recv_buffer_size_force(socket, bytes).is_err() {
        socket.set_recv_buffer_size(bytes)?;
    }
    // The kernel doubles what is asked, for its own cost, and tells the double (socket(7)).
    Ok(socket.recv_buffer_size()? / 2)
}

/// The address that others see as the source of what we say to all.
///
/// # Errors
/// There is no way to them.
pub fn source_address(reach: &Reach) -> io::Result<IpAddr> {
    if !reach.listen.ip().is_unspecified() {
        return Ok(reach.listen.ip());
    }
    let to = match &reach.way {
        Way::Multicast(group) => *group,
        Way::Peers(peers) => *peers.first().ok_or_else(|| io::Error::other("there is no peer"))?,
    };
    let socket = open(reach.listen, false)?;
    if let Way::Multicast(group) = reach.way {
        speak_to(&socket, group, reach)?;
    }
    // Sends nothing: the kernel chooses the address that it would send from.
    socket.connect(&to.into())?;
    let local = socket.local_addr()?.as_socket().ok_or_else(|| io::Error::other("no address"))?;
    Ok(local.ip())
}

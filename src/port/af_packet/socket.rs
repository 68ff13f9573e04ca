//! The socket: opening, binding, options, and what the system says of the interface.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with, sockopt};

use crate::port::error::{PortError, no_such_interface};

/// `ARPHRD_ETHER` of Linux `if_arp.h`.
const ARPHRD_ETHER: u16 = 1;

/// Whether our frames pass the interface's queueing discipline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Qdisc {
    /// Frames are queued and shaped as everybody's.
    #[default]
    Queue,
    /// `PACKET_QDISC_BYPASS`: straight to the driver; a full driver queue loses frames.
    Bypass,
}

/// What to do at open with an interface that is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenDown {
    /// Bring it up; if that is not permitted, say so.
    #[default]
    BringUp,
    /// Refuse.
    Refuse,
}

/// How to open an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Bytes of received frames the kernel may hold for us, by its own reckoning (a full-size super-frame counts
    /// about 70 KB, a small frame under 1 KB); more is lost and counted as missed.
    pub receive_buffer: usize,
    /// Bytes of sent frames the kernel may hold before the driver has taken them; more is dropped and counted.
    pub send_buffer: usize,
    /// Queueing discipline on the way out.
    pub qdisc: Qdisc,
    /// What to do if the interface is down.
    pub when_down: WhenDown,
}

impl Default for Options {
    /// Large enough for 450 super-frames or 40,000 small frames, some 30 ms at full rate.
    fn default() -> Options {
        Options {
            receive_buffer: 32 << 20,
            send_buffer: 16 << 20,
            qdisc: Qdisc::default(),
            when_down: WhenDown::default(),
        }
    }
}

/// What the system says of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interface {
    Up { index: u32 },
    Down { index: u32 },
    Absent,
}

/// Frames received and lost since they were last asked for.
pub(super) struct Lost(pub(super) u64);

/// An `AF_PACKET` socket.
#[derive(Debug)]
pub(super) struct Socket(OwnedFd);

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Socket {
    /// Opens a socket for all frames of one interface, both ways, in promiscuous mode.
    pub(super) fn open(name: &str, options: Options) -> Result<(Socket, u32), PortError> {
        let failed =
            |doing: &'static str| move |source: io::Error| PortError::System { name: name.to_owned(), doing, source };
        let socket = Socket::unbound(name)?;
        let index = match socket.interface(name).map_err(failed("look the interface up"))? {
            Interface::Absent => return Err(no_such_interface(name)),
            Interface::Up { index } => index,
            Interface::Down { index } => {
                let up = options.when_down == WhenDown::BringUp && socket.bring_up(name).is_ok();
                if !up {
                    return Err(PortError::Down { name: name.to_owned() });
                }
                index
            }
        };
        // Offloads travel, and the kernel tells of VLAN tags.
        let bypass = c_int::from(options.qdisc == Qdisc::Bypass);
        let settings = [
            (libc::PACKET_VNET_HDR, 1, "carry offloads (PACKET_VNET_HDR)"),
            (libc::PACKET_AUXDATA, 1, "ask for VLAN tags (PACKET_AUXDATA)"),
            (libc::PACKET_QDISC_BYPASS, bypass, "set the way out (PACKET_QDISC_BYPASS)"),
        ];
        for (option, value, doing) in settings {
            socket.set(option, &value).map_err(failed(doing))?;
        }
        socket.grow(options);
        socket.bind(index).map_err(failed("bind to the interface"))?;
        if socket.hardware_type().map_err(failed("ask for its type"))? != ARPHRD_ETHER {
            return Err(PortError::NotEthernet { name: name.to_owned() });
        }
        Ok((socket, index))
    }

    /// A socket that hears nothing yet, and once bound not what this machine sends: own frames and those of its own
    /// stack must not come back in.
    fn unbound(name: &str) -> Result<Socket, PortError> {
        let failed = |doing, source: io::Error| PortError::System { name: name.to_owned(), doing, source };
        // Protocol 0 receives nothing until it is bound, so no frame of another interface slips in.
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = match socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None) {
            Ok(socket) => Socket(socket),
            Err(rustix::io::Errno::PERM) => return Err(PortError::NotPermitted { name: name.to_owned() }),
            Err(errno) => return Err(failed("open a packet socket", errno.into())),
        };
        match socket.set(libc::PACKET_IGNORE_OUTGOING, &1) {
            Ok(()) => Ok(socket),
            Err(error) => Err(failed("ignore outgoing frames (PACKET_IGNORE_OUTGOING needs Linux 4.20)", error)),
        }
    }

    /// Sets a `SOL_PACKET` option.
    fn set<T>(&self, option: c_int, value: &T) -> io::Result<()> {
        // SAFETY: the pointer and the length describe `value`, which lives until the call returns.
        let done = unsafe {
            let value: *const c_void = std::ptr::from_ref(value).cast();
            libc::setsockopt(self.0.as_raw_fd(), libc::SOL_PACKET, option, value, mem::size_of::<T>() as _)
        };
        check(done)
    }

    /// Makes the buffers large: beyond the system's limit if we may, else as far as it goes.
    fn grow(&self, options: Options) {
        // Smaller buffers only lose frames earlier, and those are counted; so no error is worth a refusal.
        if sockopt::set_socket_recv_buffer_size_force(&self.0, options.receive_buffer).is_err() {
            let _ = sockopt::set_socket_recv_buffer_size(&self.0, options.receive_buffer);
        }
        if sockopt::set_socket_send_buffer_size_force(&self.0, options.send_buffer).is_err() {
            let _ = sockopt::set_socket_send_buffer_size(&self.0, options.send_buffer);
        }
    }

    /// Receives from, and sends to, this interface from now on, promiscuously. Also after another one vanished.
    pub(super) fn bind(&self, index: u32) -> io::Result<()> {
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as _,
            sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
            sll_ifindex: index as c_int,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        // SAFETY: the pointer and the length describe `address`, which lives until the call returns.
        let done = unsafe {
            let pointer: *const libc::sockaddr_ll = &address;
            libc::bind(self.0.as_raw_fd(), pointer.cast(), mem::size_of_val(&address) as _)
        };
        check(done)?;
        let promiscuous = libc::packet_mreq {
            mr_ifindex: index as c_int,
            mr_type: libc::PACKET_MR_PROMISC as _,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        self.set(libc::PACKET_ADD_MEMBERSHIP, &promiscuous)
    }

    /// The link type of the interface we are bound to (`ARPHRD_*`).
    fn hardware_type(&self) -> io::Result<u16> {
        // SAFETY: all fields are integers, for which zero is a legal value.
        let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
        let mut len = mem::size_of_val(&address) as libc::socklen_t;
        // SAFETY: the pointer and the length describe `address`; the kernel writes no more than that.
        let done = unsafe {
            let pointer: *mut libc::sockaddr_ll = &mut address;
            libc::getsockname(self.0.as_raw_fd(), pointer.cast(), &mut len)
        };
        check(done)?;
        Ok(address.sll_hatype)
    }

    /// What became of the interface with this name.
    pub(super) fn interface(&self, name: &str) -> io::Result<Interface> {
        let Some(mut request) = request(name) else { return Ok(Interface::Absent) };
        match self.ioctl(libc::SIOCGIFFLAGS as _, &mut request) {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Ok(Interface::Absent),
            other => other?,
        }
        // SAFETY: SIOCGIFFLAGS has filled in the flags.
        let flags = unsafe { request.ifr_ifru.ifru_flags };
        let index = match netdevice::name_to_index(&self.0, name) {
            Ok(index) => index,
            Err(rustix::io::Errno::NODEV) => return Ok(Interface::Absent),
            Err(errno) => return Err(errno.into()),
        };
        let up = c_int::from(flags) & libc::IFF_UP != 0;
        Ok(if up { Interface::Up { index } } else { Interface::Down { index } })
    }

    fn bring_up(&self, name: &str) -> io::Result<()> {
        let mut request = request(name).ok_or(io::ErrorKind::NotFound)?;
        self.ioctl(libc::SIOCGIFFLAGS as _, &mut request)?;
        // SAFETY: SIOCGIFFLAGS has filled in the flags, so that field of the union is the one in use.
        unsafe { request.ifr_ifru.ifru_flags |= libc::IFF_UP as i16 };
        self.ioctl(libc::SIOCSIFFLAGS as _, &mut request)
    }

    fn ioctl(&self, number: libc::Ioctl, request: &mut libc::ifreq) -> io::Result<()> {
        // SAFETY: both requests used here read and write one `ifreq`, which is exclusively borrowed.
        check(unsafe { libc::ioctl(self.0.as_raw_fd(), number, std::ptr::from_mut(request)) })
    }

    /// Frames lost for want of room since last asked (`PACKET_STATISTICS` starts over when read).
    pub(super) fn lost(&self) -> io::Result<Lost> {
        let mut statistics = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
        let mut len = mem::size_of_val(&statistics) as libc::socklen_t;
        // SAFETY: the pointer and the length describe `statistics`; the kernel writes no more than that.
        let done = unsafe {
            let pointer: *mut c_void = std::ptr::from_mut(&mut statistics).cast();
            libc::getsockopt(self.0.as_raw_fd(), libc::SOL_PACKET, libc::PACKET_STATISTICS, pointer, &mut len)
        };
        check(done)?;
        Ok(Lost(u64::from(statistics.tp_drops)))
    }
}

/// A packet socket for somebody else to bind and to close, that does not hear what this machine sends.
pub(in crate::port) fn deaf_to_itself(name: &str) -> Result<RawFd, PortError> {
    Socket::unbound(name).map(|socket| socket.0.into_raw_fd())
}

fn check(done: c_int) -> io::Result<()> {
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// An `ifreq` with this name; `None` if no interface can have it.
pub(in crate::port) fn request(name: &str) -> Option<libc::ifreq> {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.len() >= libc::IFNAMSIZ || bytes.contains(&0) {
        return None;
    }
    // SAFETY: all fields are integers and pointers, for which zero is a legal value.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(bytes) {
        *to = *from as _;
    }
    Some(request)
}

//! Switching an interface's own offloads on and off, as `ethtool -K` does: for tests and the lab, where both ends of a
//! veth must be tried with and without.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::AsRawFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::af_packet::request;

/// What an interface leaves to be done by whoever comes after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offloads {
    /// Unfinished checksums and super-frames, out and in.
    On,
    /// Complete checksums and frames no longer than the MTU.
    Off,
}

/// `struct ethtool_value` of Linux `ethtool.h`.
#[repr(C)]
struct Setting {
    command: u32,
    value: u32,
}

/// `ETHTOOL_STXCSUM`, `ETHTOOL_SGSO`, `ETHTOOL_STSO`, `ETHTOOL_SGRO`: segmentation rests on checksums, so that they are
/// switched on in this order and off in reverse.
const COMMANDS: [u32; 4] = [0x17, 0x24, 0x1f, 0x2c];

/// Switches checksum, segmentation (TSO, GSO) and receive (GRO) offload of an interface in the calling thread's network
/// namespace.
///
/// # Errors
/// The system's: no such interface, not permitted, or an interface that cannot.
pub fn set_offloads(name: &str, offloads: Offloads) -> io::Result<()> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let mut commands = COMMANDS;
    if offloads == Offloads::Off {
        commands.reverse();
    }
    for command in commands {
        let mut setting = Setting { command, value: u32::from(offloads == Offloads::On) };
        let mut request = request(name).ok_or(io::ErrorKind::NotFound)?;
        request.ifr_ifru.ifru_data = std::ptr::from_mut(&mut setting).cast();
        // SAFETY: SIOCETHTOOL takes an `ifreq` that points at an `ethtool_value` for these commands; both live, and are
        // exclusively ours, until the call returns.
        let done = unsafe {
            let request: *mut libc::ifreq = &mut request;
            libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as libc::Ioctl, request)
        };
        if done < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

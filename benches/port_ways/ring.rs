//! The kernel's mapped rings (Linux `Documentation/networking/packet_mmap.rst`), as a plain forwarder would use them.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};

/// Which receive ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    V2,
    V3,
}

/// Length of a `virtio_net_hdr`, which lies right before each frame.
const HEADER: usize = 10;
/// A slot of a V2 ring: a 64 KB super-frame with all headers, in whole pages.
const SLOT: usize = 68 << 10;
const SLOTS: usize = 256;
/// V3 blocks; one is handed over when full or after a millisecond, the shortest time there is.
const BLOCK: usize = 1 << 20;
const BLOCKS: usize = 32;
const BATCH: usize = 64;

fn check(done: c_int) -> io::Result<c_int> {
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(done) }
}

fn set<T>(socket: &OwnedFd, option: c_int, value: &T) -> io::Result<()> {
    // SAFETY: pointer and length describe `value`.
    check(unsafe {
        let value: *const c_void = ptr::from_ref(value).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_PACKET, option, value, mem::size_of::<T>() as _)
    })
    .map(drop)
}

fn socket() -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?)
}

fn bind(socket: &OwnedFd, name: &str, protocol: c_int) -> io::Result<()> {
    let index = netdevice::name_to_index(socket, name)?;
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as _,
        sll_protocol: (protocol as u16).to_be(),
        sll_ifindex: index as _,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: pointer and length describe `address`.
    check(unsafe {
        let pointer: *const libc::sockaddr_ll = &address;
        libc::bind(socket.as_raw_fd(), pointer.cast(), mem::size_of_val(&address) as _)
    })?;
    let promiscuous = libc::packet_mreq {
        mr_ifindex: index as _,
        mr_type: libc::PACKET_MR_PROMISC as _,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    set(socket, libc::PACKET_ADD_MEMBERSHIP, &promiscuous)
}

/// A mapping of a socket's ring.
struct Map {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to whoever owns this value; the kernel shares it whatever the thread.
unsafe impl Send for Map {}

impl Map {
    fn of(socket: &OwnedFd, len: usize) -> io::Result<Map> {
        // SAFETY: a new shared mapping of `len` bytes, which the ring was just made with.
        let start = unsafe {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(ptr::null_mut(), len, protection, libc::MAP_SHARED | libc::MAP_POPULATE, socket.as_raw_fd(), 0)
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Map { start: NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?, len })
    }

    fn at(&self, offset: usize) -> *mut u8 {
        assert!(offset < self.len);
        // SAFETY: within the mapping, as just checked.
        unsafe { self.start.as_ptr().add(offset) }
    }

    /// The status word of a slot or block, written by both sides.
    fn status(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: slots and blocks begin page-aligned, and so are their status words' offsets of 0 and 8.
        unsafe { AtomicU32::from_ptr(self.at(offset).cast()) }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: nothing borrows the mapping any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// What was taken from a ring and is being sent.
struct Outgoing {
    vectors: Vec<libc::iovec>,
    messages: Vec<libc::mmsghdr>,
}

// SAFETY: the pointers are written before each use and point into a ring the same owner holds.
unsafe impl Send for Outgoing {}

impl Outgoing {
    fn push(&mut self, start: *mut u8, len: usize) {
        self.vectors.push(libc::iovec { iov_base: start.cast(), iov_len: len });
    }

    /// Sends all; frames the system refuses are left out.
    fn send(&mut self, socket: &OwnedFd) {
        self.messages.clear();
        for vector in &mut self.vectors {
            // SAFETY: zero is a legal value of all its fields.
            let mut message: libc::mmsghdr = unsafe { mem::zeroed() };
            message.msg_hdr.msg_iov = vector;
            message.msg_hdr.msg_iovlen = 1;
            self.messages.push(message);
        }
        let mut done = 0;
        while done < self.messages.len() {
            let rest = &mut self.messages[done..];
            // SAFETY: each message points at a vector, and each vector into a slot the kernel has left to us.
            let sent =
                unsafe { libc::sendmmsg(socket.as_raw_fd(), rest.as_mut_ptr(), rest.len() as _, libc::MSG_DONTWAIT) };
            done += sent.max(1) as usize;
        }
        self.vectors.clear();
    }
}

/// A receive ring, and its socket for sending.
pub struct Ring {
    socket: OwnedFd,
    map: Map,
    version: Version,
    /// Next slot or block.
    head: usize,
    outgoing: Outgoing,
}

impl Ring {
    pub fn open(name: &str, version: Version) -> io::Result<Ring> {
        let socket = socket()?;
        set(&socket, libc::PACKET_IGNORE_OUTGOING, &1)?;
        set(&socket, libc::PACKET_VNET_HDR, &1)?;
        let len = match version {
            Version::V2 => {
                set(&socket, libc::PACKET_VERSION, &1)?;
                set(&socket, libc::PACKET_RX_RING, &slots())?;
                SLOT * SLOTS
            }
            Version::V3 => {
                set(&socket, libc::PACKET_VERSION, &2)?;
                let request = libc::tpacket_req3 {
                    tp_block_size: BLOCK as _,
                    tp_block_nr: BLOCKS as _,
                    tp_frame_size: 2048,
                    tp_frame_nr: (BLOCK / 2048 * BLOCKS) as _,
                    tp_retire_blk_tov: 1,
                    tp_sizeof_priv: 0,
                    tp_feature_req_word: 0,
                };
                set(&socket, libc::PACKET_RX_RING, &request)?;
                BLOCK * BLOCKS
            }
        };
        let map = Map::of(&socket, len)?;
        bind(&socket, name, libc::ETH_P_ALL)?;
        let outgoing = Outgoing { vectors: Vec::with_capacity(1 << 12), messages: Vec::with_capacity(1 << 12) };
        Ok(Ring { socket, map, version, head: 0, outgoing })
    }

    pub fn clone_fd(&self) -> io::Result<OwnedFd> {
        self.socket.as_fd().try_clone_to_owned()
    }

    /// Sends what waits here out of the other interface; returns how many frames.
    pub fn pass_to(&mut self, other: &mut Ring) -> usize {
        match self.version {
            Version::V2 => self.pass_slots(other),
            Version::V3 => self.pass_block(other),
        }
    }

    /// The frame in the next V2 slot, with its header.
    fn slot(&self, number: usize) -> Option<(*mut u8, usize)> {
        let offset = number % SLOTS * SLOT;
        if self.map.status(offset).load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
            return None;
        }
        // SAFETY: the kernel has written the slot and left it to us.
        let header = unsafe { self.map.at(offset).cast::<libc::tpacket2_hdr>().read_volatile() };
        Some((self.map.at(offset + usize::from(header.tp_mac) - HEADER), header.tp_snaplen as usize + HEADER))
    }

    fn give_back(&self, number: usize) {
        self.map.status(number % SLOTS * SLOT).store(libc::TP_STATUS_KERNEL, Ordering::Release);
    }

    fn pass_slots(&mut self, other: &mut Ring) -> usize {
        let mut count = 0;
        while count < BATCH
            && let Some((start, len)) = self.slot(self.head + count)
        {
            self.outgoing.push(start, len);
            count += 1;
        }
        self.outgoing.send(&other.socket);
        (0..count).for_each(|more| self.give_back(self.head + more));
        self.head = (self.head + count) % SLOTS;
        count
    }

    fn pass_block(&mut self, other: &mut Ring) -> usize {
        // `block_status` follows `version` and `offset_to_priv`.
        let (block, status) = (self.head * BLOCK, self.head * BLOCK + 8);
        if self.map.status(status).load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
            return 0;
        }
        // SAFETY: the kernel has written the block and left it to us.
        let head = unsafe { self.map.at(status).cast::<libc::tpacket_hdr_v1>().read_volatile() };
        let mut at = block + head.offset_to_first_pkt as usize;
        for _ in 0..head.num_pkts {
            // SAFETY: as above; the offsets are the kernel's, within the block.
            let packet = unsafe { self.map.at(at).cast::<libc::tpacket3_hdr>().read_volatile() };
            let start = self.map.at(at + usize::from(packet.tp_mac) - HEADER);
            self.outgoing.push(start, packet.tp_snaplen as usize + HEADER);
            at += packet.tp_next_offset as usize;
        }
        self.outgoing.send(&other.socket);
        self.map.status(status).store(libc::TP_STATUS_KERNEL, Ordering::Release);
        self.head = (self.head + 1) % BLOCKS;
        head.num_pkts as usize
    }

    /// Copies what waits here into a transmit ring and sends it; returns how many frames.
    pub fn copy_to(&mut self, out: &mut TxRing) -> usize {
        let mut count = 0;
        while count < BATCH
            && let Some((start, len)) = self.slot(self.head)
        {
            // SAFETY: the kernel wrote `len` bytes there.
            out.push(unsafe { std::slice::from_raw_parts(start, len) });
            self.give_back(self.head);
            self.head = (self.head + 1) % SLOTS;
            count += 1;
        }
        if count > 0 {
            out.send();
        }
        count
    }
}

fn slots() -> libc::tpacket_req {
    // Blocks of whole slots.
    libc::tpacket_req {
        tp_block_size: SLOT as _,
        tp_block_nr: SLOTS as _,
        tp_frame_size: SLOT as _,
        tp_frame_nr: SLOTS as _,
    }
}

/// A transmit ring.
pub struct TxRing {
    socket: OwnedFd,
    map: Map,
    head: usize,
}

impl TxRing {
    pub fn open(name: &str) -> io::Result<TxRing> {
        let socket = socket()?;
        set(&socket, libc::PACKET_VNET_HDR, &1)?;
        set(&socket, libc::PACKET_VERSION, &1)?;
        set(&socket, libc::PACKET_LOSS, &1)?;
        set(&socket, libc::PACKET_TX_RING, &slots())?;
        let map = Map::of(&socket, SLOT * SLOTS)?;
        bind(&socket, name, 0)?;
        Ok(TxRing { socket, map, head: 0 })
    }

    /// Puts a frame with its header into the next slot; a full ring loses it.
    fn push(&mut self, frame: &[u8]) {
        let offset = self.head * SLOT;
        let status = self.map.status(offset);
        if status.load(Ordering::Acquire) != libc::TP_STATUS_AVAILABLE {
            return;
        }
        let data = libc::TPACKET2_HDRLEN - mem::size_of::<libc::sockaddr_ll>();
        // SAFETY: the slot is ours until its status says otherwise, and a frame with its header fits it.
        unsafe {
            assert!(data + frame.len() <= SLOT);
            (*self.map.at(offset).cast::<libc::tpacket2_hdr>()).tp_len = frame.len() as u32;
            ptr::copy_nonoverlapping(frame.as_ptr(), self.map.at(offset + data), frame.len());
        }
        status.store(libc::TP_STATUS_SEND_REQUEST, Ordering::Release);
        self.head = (self.head + 1) % SLOTS;
    }

    fn send(&self) {
        // SAFETY: no buffer is passed: the kernel takes the slots.
        unsafe { libc::send(self.socket.as_raw_fd(), ptr::null(), 0, libc::MSG_DONTWAIT) };
    }
}

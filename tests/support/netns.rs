//! Network namespaces for tests and benchmarks: nameless, held only by this process, so that the kernel removes them
//! and everything in them when the process ends, however it ends.

#![allow(unsafe_code)]
// Included by a test and a benchmark, of which neither uses everything.
#![allow(dead_code, unreachable_pub)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::{LinkMessageBuilder, LinkUnspec, LinkVeth};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// Becomes root of a user namespace if we are not root already. Call before any thread exists. `Err` says why network
/// namespaces cannot be made here.
pub fn prepare() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        // SAFETY: no thread but this one exists, and no memory is affected.
        unsafe { unshare_unsafe(UnshareFlags::NEWUSER) }
            .map_err(|errno| format!("needs root or user namespaces: {errno}"))?;
        let map = |file: &str, text: String| {
            std::fs::write(format!("/proc/self/{file}"), text).map_err(|error| format!("{file}: {error}"))
        };
        map("setgroups", "deny".into())?;
        map("uid_map", format!("0 {uid} 1"))?;
        map("gid_map", format!("0 {gid} 1"))?;
    }
    Namespace::new().map(drop).map_err(|error| format!("needs network namespaces: {error}"))
}

/// A network namespace.
pub struct Namespace(File);

impl Namespace {
    /// A new, empty one, its loopback up and IPv6 off (so that it is silent).
    pub fn new() -> io::Result<Namespace> {
        let make = || {
            // SAFETY: only the network namespace of this thread changes, and the thread ends here.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
            // Not there on a kernel without IPv6.
            let _ = std::fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
            let _ = std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
            File::open("/proc/thread-self/ns/net").map(Namespace)
        };
        let made = std::thread::scope(|scope| scope.spawn(make).join().expect("the thread does not panic"))?;
        made.set_up("lo")?;
        Ok(made)
    }

    /// Runs `work` in a thread that is inside the namespace. Sockets opened there stay there.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter().expect("the namespace can be entered");
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Moves the calling thread into the namespace.
    pub fn enter(&self) -> io::Result<()> {
        Ok(move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))?)
    }

    /// A veth from here to `other`; both ends up.
    pub fn cable(&self, name: &str, other: &Namespace, other_name: &str) -> io::Result<()> {
        self.netlink(async |links| links.add(LinkVeth::new(name, other_name).build()).await)?;
        let there = other.0.as_raw_fd();
        self.change(other_name, |link| link.setns_by_fd(there))?;
        self.set_up(name)?;
        other.set_up(other_name)
    }

    /// Gives an interface an IPv4 address.
    pub fn address(&self, name: &str, address: [u8; 4], prefix: u8) -> io::Result<()> {
        let index = self.index(name)?;
        self.netlink(async |links| links.address(index, address.into(), prefix).await)
    }

    pub fn set_up(&self, name: &str) -> io::Result<()> {
        self.change(name, |link| link.up())
    }

    pub fn set_down(&self, name: &str) -> io::Result<()> {
        self.change(name, |link| link.down())
    }

    /// Removes an interface, and with a veth its other end.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        let index = self.index(name)?;
        self.netlink(async |links| links.remove(index).await)
    }

    /// A counter of `/proc/net/snmp`, such as `("Tcp", "InCsumErrors")`.
    pub fn snmp(&self, protocol: &str, counter: &str) -> u64 {
        let text = self.run(|| std::fs::read_to_string("/proc/thread-self/net/snmp")).expect("snmp is readable");
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(protocol)?.strip_prefix(':'));
        let (names, values) = (lines.next().expect("a line of names"), lines.next().expect("a line of values"));
        let mut pairs = names.split_whitespace().zip(values.split_whitespace());
        let (_, value) = pairs.find(|(name, _)| *name == counter).expect("the counter exists");
        value.parse().expect("a number")
    }

    fn index(&self, name: &str) -> io::Result<u32> {
        let found = self.run(|| pnet::datalink::interfaces().into_iter().find(|interface| interface.name == name));
        found.map(|interface| interface.index).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, name.to_owned()))
    }

    fn change<F>(&self, name: &str, change: F) -> io::Result<()>
    where
        F: FnOnce(LinkMessageBuilder<LinkUnspec>) -> LinkMessageBuilder<LinkUnspec> + Send,
    {
        let message = change(LinkUnspec::new_with_index(self.index(name)?)).build();
        self.netlink(async |links| links.set(message).await)
    }

    /// Talks to the kernel from inside the namespace.
    fn netlink<F>(&self, talk: F) -> io::Result<()>
    where
        F: AsyncFnOnce(Links) -> Result<(), rtnetlink::Error> + Send,
    {
        self.run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let (connection, handle, _) = rtnetlink::new_connection()?;
                tokio::select! {
                    done = talk(Links(handle)) => done.map_err(io::Error::other),
                    () = connection => Err(io::Error::other("netlink closed")),
                }
            })
        })
    }
}

struct Links(rtnetlink::Handle);

impl Links {
    async fn add(self, message: LinkMessage) -> Result<(), rtnetlink::Error> {
        self.0.link().add(message).execute().await
    }

    async fn set(self, message: LinkMessage) -> Result<(), rtnetlink::Error> {
        self.0.link().set(message).execute().await
    }

    async fn remove(self, index: u32) -> Result<(), rtnetlink::Error> {
        self.0.link().del(index).execute().await
    }

    async fn address(self, index: u32, address: std::net::IpAddr, prefix: u8) -> Result<(), rtnetlink::Error> {
        self.0.address().add(index, address, prefix).execute().await
    }
}

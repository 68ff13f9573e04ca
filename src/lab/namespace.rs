//! A network namespace with a name under `/run/netns`, where `ip netns` looks too.

#![allow(unsafe_code)]

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::{UnmountFlags, mount_bind, unmount};
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// Where named namespaces are.
pub const DIRECTORY: &str = "/run/netns";

/// A network namespace. Dropping it removes its name; the namespace goes with its last process.
#[derive(Debug)]
pub struct Namespace {
    file: File,
    path: PathBuf,
}

impl Namespace {
    /// A new namespace with this name: loopback not yet up, IPv6 off, so that it is silent.
    ///
    /// # Errors
    /// The system's; most often for want of privileges.
    pub fn create(name: &str) -> io::Result<Namespace> {
        fs::create_dir_all(DIRECTORY)?;
        let path = Path::new(DIRECTORY).join(name);
        File::create_new(&path)?;
        let made = std::thread::scope(|scope| {
            scope.spawn(|| unshared(&path)).join().unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
        });
        match made {
            Ok(file) => Ok(Namespace { file, path }),
            Err(error) => {
                remove(&path);
                Err(error)
            }
        }
    }

    /// The name `ip netns` knows it by.
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// For netlink messages that name the namespace by descriptor.
    pub fn fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// Runs `work` in a thread that is inside. Sockets opened there stay there.
    ///
    /// # Errors
    /// The namespace cannot be entered, or the work fails.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))?;
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Makes a command run inside, and die with the process that starts it.
    pub fn put(&self, command: &mut Command) {
        let fd = self.file.as_raw_fd();
        // SAFETY: between fork and exec only system calls are made, no memory is allocated; the descriptor lives in
        // the child as in the parent.
        unsafe {
            command.pre_exec(move || {
                let file = std::os::fd::BorrowedFd::borrow_raw(fd);
                move_into_link_name_space(file, Some(LinkNameSpaceType::Network))?;
                Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
            });
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Moves this process into the namespace of this name, for good. Call it while there is only one thread.
///
/// # Errors
/// No such namespace, or no right to enter it.
pub fn enter(name: &str) -> io::Result<()> {
    let file = File::open(Path::new(DIRECTORY).join(name))?;
    Ok(move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?)
}

/// Removes a name. Nothing is left to do when that fails: it is gone, or not ours.
pub(super) fn remove(path: &Path) {
    let _ = unmount(path, UnmountFlags::DETACH);
    let _ = fs::remove_file(path);
}

/// Makes this thread's new namespace appear at `path`.
fn unshared(path: &Path) -> io::Result<File> {
    // SAFETY: only the network namespace of this thread changes, and the thread ends here.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
    for which in ["all", "default"] {
        // Not there on a kernel without IPv6.
        let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6"), "1");
    }
    // Short connections leave TIME-WAIT behind; a load generator wants its ports back.
    let _ = fs::write("/proc/sys/net/ipv4/tcp_tw_reuse", "1");
    let _ = fs::write("/proc/sys/net/ipv4/ip_local_port_range", "2048 65000");
    mount_bind("/proc/thread-self/ns/net", path)?;
    File::open(path)
}

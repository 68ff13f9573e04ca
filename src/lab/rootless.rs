//! Becoming root of namespaces of one's own, for users who are not root. Everything here happens before any thread
//! exists.

#![allow(unsafe_code)]

use std::fs;
use std::io;
use std::os::fd::AsFd;

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// Set in the environment of everything inside: the user's id outside.
const OUTER_UID: &str = "ACM_LAB_OUTER_UID";

/// True inside namespaces made by [`become_root`].
pub fn is_inside() -> bool {
    std::env::var_os(OUTER_UID).is_some()
}

/// The user's id outside.
pub fn outer_uid() -> u32 {
    let told = std::env::var(OUTER_UID).ok().and_then(|uid| uid.parse().ok());
    told.unwrap_or_else(|| rustix::process::getuid().as_raw())
}

/// If not root: a new user and mount namespace in which we are, with a `/run` of our own.
///
/// # Errors
/// In plain words, what is missing.
pub fn become_root() -> Result<(), String> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    // SAFETY: called before any thread exists; no memory is affected.
    unsafe { unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNS) }.map_err(|errno| {
        format!(
            "the lab needs root, or user namespaces, and this system refuses them ({errno}); as root run it with sudo, \
             or allow them: sysctl kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000 \
             kernel.apparmor_restrict_unprivileged_userns=0"
        )
    })?;
    let whole = || -> io::Result<()> {
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
        fs::write("/proc/self/gid_map", format!("0 {gid} 1"))?;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        // Before /run is covered: the directory of the user's labs may be below it.
        let keep = super::owner::directory();
        fs::create_dir_all(&keep)?;
        let kept = fs::File::open(&keep)?;
        mount("tmpfs", "/run", "tmpfs", MountFlags::empty(), None)?;
        if keep.starts_with("/run") {
            fs::create_dir_all(&keep)?;
            rustix::mount::mount_bind(
                format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&kept.as_fd())),
                &keep,
            )?;
        }
        Ok(())
    };
    // SAFETY: no other thread exists that could read the environment meanwhile.
    unsafe { std::env::set_var(OUTER_UID, uid.to_string()) };
    whole().map_err(|error| format!("the lab could not set up its own namespaces: {error}"))
}

/// Joins the namespaces of a lab's owner, so that its names can be seen.
///
/// # Errors
/// The system's: the owner is gone, or is another user's.
pub fn join(pid: u32) -> io::Result<()> {
    let uid = rustix::process::getuid().as_raw();
    let user = fs::File::open(format!("/proc/{pid}/ns/user"))?;
    let mounts = fs::File::open(format!("/proc/{pid}/ns/mnt"))?;
    move_into_link_name_space(user.as_fd(), Some(LinkNameSpaceType::User))?;
    move_into_link_name_space(mounts.as_fd(), Some(LinkNameSpaceType::Mount))?;
    // SAFETY: called before any thread exists.
    unsafe { std::env::set_var(OUTER_UID, uid.to_string()) };
    Ok(())
}

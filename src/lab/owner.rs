//! Whose a lab is. Names begin with `acm-` and carry the owner's pid; a lock file, held for as long as the owner lives,
//! tells a living owner from a dead one whose pid was given to somebody else.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, test_kill_process};
use serde::{Deserialize, Serialize};

use super::namespace;

/// Where a running lab is described: root's labs in `/run/acm`, a user's in his runtime directory.
pub fn directory() -> PathBuf {
    if rustix::process::getuid().is_root() && !super::rootless::is_inside() {
        return PathBuf::from("/run/acm");
    }
    let uid = super::rootless::outer_uid();
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(dir) => Path::new(&dir).join("acm"),
        None => PathBuf::from(format!("/tmp/acm-{uid}")),
    }
}

/// A running lab, as `acm lab exec` finds it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LabFile {
    /// The owner.
    pub pid: u32,
    /// Node names.
    pub nodes: Vec<String>,
    /// The switch's API.
    pub socket: String,
    /// True if the owner is root only of namespaces of its own.
    pub rootless: bool,
}

/// The owner's claim. Dropping it takes everything of this lab away that is outside the namespaces.
#[derive(Debug)]
pub struct Claim {
    pid: u32,
    directory: PathBuf,
    _lock: File,
}

impl Claim {
    /// Claims this process's pid, after clearing away what dead owners left.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn new() -> io::Result<Claim> {
        use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
        let directory = directory();
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        let pid = std::process::id();
        let path = directory.join(format!("lab-{pid}.lock"));
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        let claim = Claim { pid, directory, _lock: lock };
        claim.clear_leftovers();
        Ok(claim)
    }

    /// The name of one of this lab's namespaces.
    pub fn name(&self, node: &str) -> String {
        format!("acm-{}-{node}", self.pid)
    }

    /// A file of this lab.
    pub fn file(&self, suffix: &str) -> PathBuf {
        self.directory.join(format!("lab-{}.{suffix}", self.pid))
    }

    /// A directory of this lab, for what only its owner may read.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn make_directory(&self) -> io::Result<PathBuf> {
        use std::os::unix::fs::DirBuilderExt;
        let path = self.file("d");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        Ok(path)
    }

    /// Says that the lab is ready.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn announce(&self, lab: &LabFile) -> io::Result<()> {
        let next = self.file("next");
        fs::write(&next, serde_json::to_vec_pretty(lab)?)?;
        fs::rename(next, self.file("json"))
    }

    fn clear_leftovers(&self) {
        for entry in fs::read_dir(namespace::DIRECTORY).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let owner =
                name.strip_prefix("acm-").and_then(|rest| rest.split_once('-')).and_then(|(pid, _)| pid.parse().ok());
            if owner.is_some_and(|pid| pid != self.pid && !is_alive(&self.directory, pid)) {
                namespace::remove(&entry.path());
            }
        }
        for entry in fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let owner =
                name.strip_prefix("lab-").and_then(|rest| rest.split_once('.')).and_then(|(pid, _)| pid.parse().ok());
            if owner.is_some_and(|pid| pid != self.pid && !is_alive(&self.directory, pid)) {
                let _ = fs::remove_file(entry.path()).or_else(|_| fs::remove_dir_all(entry.path()));
            }
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        for suffix in ["json", "next", "sock", "log", "lock"] {
            let _ = fs::remove_file(self.file(suffix));
        }
        let _ = fs::remove_dir_all(self.file("d"));
    }
}

/// Whether the owner with this pid lives: it holds its lock. Without a lock file (somebody else's way of making labs),
/// whether any process has the pid.
fn is_alive(directory: &Path, pid: u32) -> bool {
    match File::open(directory.join(format!("lab-{pid}.lock"))) {
        Ok(lock) => flock(&lock, FlockOperation::NonBlockingLockShared).is_err(),
        Err(_) => i32::try_from(pid).ok().and_then(Pid::from_raw).is_some_and(|pid| test_kill_process(pid).is_ok()),
    }
}

/// The labs that run now.
pub fn running() -> Vec<LabFile> {
    let directory = directory();
    let files = fs::read_dir(&directory).into_iter().flatten().flatten();
    let read = |path: PathBuf| serde_json::from_slice::<LabFile>(&fs::read(path).ok()?).ok();
    let labs = files.filter(|entry| entry.path().extension().is_some_and(|ext| ext == "json"));
    let mut labs: Vec<_> =
        labs.filter_map(|entry| read(entry.path())).filter(|lab| is_alive(&directory, lab.pid)).collect();
    labs.sort_by_key(|lab| lab.pid);
    labs
}

//! A real HAProxy: the one in `PATH`, or the one `HAPROXY` names.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use libtest_mimic::Failed;

use super::until;

fn binary() -> PathBuf {
    std::env::var_os("HAPROXY").map_or_else(|| "haproxy".into(), PathBuf::from)
}

/// Why there is none here.
pub(crate) fn obstacle() -> Option<String> {
    match Command::new(binary()).arg("-v").output() {
        Err(why) => Some(format!("`{}` cannot be run: {why}; install haproxy", binary().display())),
        Ok(output) if !output.status.success() => Some(format!("`{} -v` fails", binary().display())),
        Ok(_) => None,
    }
}

/// Where its frontend listens, in its namespace.
pub(crate) const FRONTEND: &str = "127.0.0.1:8000";

/// Starts one, in the namespace of the calling thread, with one empty backend `web`.
pub(crate) fn start(directory: &Path) -> Result<Child, Failed> {
    let (config, socket) = (directory.join("haproxy.cfg"), directory.join("haproxy.sock"));
    let text = format!(
        "global\n  stats socket {} level admin\n  maxconn 1000\ndefaults\n  mode tcp\n  timeout connect 1s\n  \
         timeout client 1m\n  timeout server 1m\nfrontend public\n  bind {FRONTEND}\n  default_backend web\n\
         backend web\n  balance roundrobin\n",
        socket.display()
    );
    std::fs::write(&config, text)?;
    let mut command = Command::new(binary());
    command.arg("-db").arg("-f").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn()?;
    until("HAProxy answers", Duration::from_secs(5), || ask(&socket).is_ok())?;
    Ok(child)
}

fn ask(socket: &Path) -> std::io::Result<String> {
    let mut wire = UnixStream::connect(socket)?;
    wire.write_all(b"show info\n")?;
    let mut answer = String::new();
    wire.read_to_string(&mut answer)?;
    Ok(answer)
}

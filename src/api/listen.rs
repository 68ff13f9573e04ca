//! Where the API listens: a Unix socket that only its owner may open, and TCP with tokens.
//!
//! A socket file left behind by a killed switch is replaced; one behind which somebody answers is not. Nothing but
//! a socket is ever removed, and at exit only the file this process made.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use rustix::fs::{FlockOperation, Mode};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::auth::Tokens;
use crate::base::addr::serde_as_text;

/// An address of the API, as it is written on the command line: `unix:PATH` or `http://ADDR:PORT`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A Unix socket.
    Unix(PathBuf),
    /// TCP.
    Tcp(SocketAddr),
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Endpoint::Unix(path) => write!(f, "unix:{}", path.display()),
            Endpoint::Tcp(addr) => write!(f, "http://{addr}"),
        }
    }
}

impl FromStr for Endpoint {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || {
            format!(
                "`{text}` is not an API address; write unix:PATH or http://ADDR:PORT, for example \
                 unix:/run/acm/switch.sock or http://127.0.0.1:8800"
            )
        };
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Endpoint::Unix(path.into()));
        }
        let addr = text.strip_prefix("http://").ok_or_else(wrong)?;
        addr.strip_suffix('/').unwrap_or(addr).parse().map(Endpoint::Tcp).map_err(|_| wrong())
    }
}

serde_as_text!(Endpoint);

/// An open listener, not yet served.
#[derive(Debug)]
pub struct Listener {
    pub(super) socket: Socket,
    pub(super) tokens: Option<Arc<Tokens>>,
}

#[derive(Debug)]
pub(super) enum Socket {
    Unix(tokio::net::UnixListener, SocketFile),
    Tcp(tokio::net::TcpListener),
}

/// Why a listener cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The system's words.
    #[error("cannot listen on {endpoint}: {why}")]
    System {
        /// Where.
        endpoint: Endpoint,
        /// Why.
        why: io::Error,
    },
    /// Another process answers there.
    #[error("another process answers on unix:{0}; stop it or choose another --api unix:PATH")]
    InUse(PathBuf),
    /// Something that is not a socket is there.
    #[error("{0} exists and is not a socket; it is left alone, choose another --api unix:PATH")]
    NotASocket(PathBuf),
    /// TCP without tokens would let anyone on the network command the switch.
    #[error("{0} needs tokens: name a file of them with --token-file (or use unix:PATH)")]
    NoTokens(Endpoint),
}

impl Listener {
    /// Opens an endpoint. Must be called within a Tokio runtime with I/O.
    ///
    /// # Errors
    /// [`ListenError`].
    pub fn open(endpoint: &Endpoint, tokens: Option<Arc<Tokens>>) -> Result<Listener, ListenError> {
        let system = |why| ListenError::System { endpoint: endpoint.clone(), why };
        match endpoint {
            Endpoint::Unix(path) => {
                let (listener, file) = open_unix(path)?;
                let listener = tokio::net::UnixListener::from_std(listener).map_err(system)?;
                Ok(Listener { socket: Socket::Unix(listener, file), tokens: None })
            }
            Endpoint::Tcp(addr) => {
                let tokens = tokens.ok_or_else(|| ListenError::NoTokens(endpoint.clone()))?;
                let listener = std::net::TcpListener::bind(addr).map_err(system)?;
                listener.set_nonblocking(true).map_err(system)?;
                let listener = tokio::net::TcpListener::from_std(listener).map_err(system)?;
                Ok(Listener { socket: Socket::Tcp(listener), tokens: Some(tokens) })
            }
        }
    }

    /// Where it really listens (a TCP port of 0 has become a number).
    ///
    /// # Errors
    /// The system's.
    pub fn endpoint(&self) -> io::Result<Endpoint> {
        match &self.socket {
            Socket::Unix(_, file) => Ok(Endpoint::Unix(file.path.clone())),
            Socket::Tcp(listener) => listener.local_addr().map(Endpoint::Tcp),
        }
    }
}

/// The file of a listening Unix socket; removed when dropped, if it is still the one that was made.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            // Nobody is left to tell if this fails; the next start replaces the file.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let meta = std::fs::symlink_metadata(path)?;
    Ok((meta.dev(), meta.ino()))
}

fn open_unix(path: &Path) -> Result<(std::os::unix::net::UnixListener, SocketFile), ListenError> {
    let system = |why| ListenError::System { endpoint: Endpoint::Unix(path.to_owned()), why };
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    make_dir(dir).map_err(system)?;
    // Of two switches that start at once only one gets past here, so that neither removes the other's new socket.
    let lock = std::fs::File::open(dir).map_err(system)?;
    lock_soon(&lock).map_err(system)?;
    clear_stale(path, system)?;
    let listener = bind_private(path).map_err(system)?;
    let file = SocketFile { path: path.to_owned(), identity: identity(path).map_err(system)? };
    Ok((listener, file))
}

/// Locks, waiting for two seconds at most: another switch that starts holds it for a moment, but in a directory that
/// others share, somebody could hold it for ever.
fn lock_soon(lock: &std::fs::File) -> io::Result<()> {
    const TRIES: u32 = 100;
    for _ in 1..TRIES {
        if rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    Ok(rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive)?)
}

/// `/run/acm` does not exist on a fresh machine: make the last directory, for its owner only.
fn make_dir(dir: &Path) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(why) if why.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

fn clear_stale(path: &Path, system: impl Fn(io::Error) -> ListenError) -> Result<(), ListenError> {
    match std::fs::symlink_metadata(path) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(why) => return Err(system(why)),
        Ok(meta) if !meta.file_type().is_socket() => return Err(ListenError::NotASocket(path.to_owned())),
        Ok(_) => {}
    }
    match std::os::unix::net::UnixStream::connect(path) {
        // Nobody listens behind it: its owner is dead.
        Err(why) if why.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path).map_err(system),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(()),
        // Answered, or alive but busy, or not ours to open: in any case not stale.
        Ok(_) | Err(_) => Err(ListenError::InUse(path.to_owned())),
    }
}

/// Binds with mode 0600 from the first moment: the file has its mode before anyone can connect, because connecting
/// needs `listen`, and the umask of the process (shared by all threads) is left alone.
fn bind_private(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket: OwnedFd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::fs::chmod(path, Mode::RUSR | Mode::WUSR)?;
    rustix::net::listen(&socket, 128)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn open(path: &Path) -> Result<Listener, ListenError> {
        Listener::open(&Endpoint::Unix(path.to_owned()), None)
    }

    #[test]
    fn endpoints_survive_their_text() {
        for text in ["unix:/run/acm/switch.sock", "http://127.0.0.1:8800", "http://[::1]:8800"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        for bad in ["", "unix:", "http://", "http://host:80", "https://127.0.0.1:80", "127.0.0.1:80"] {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn the_socket_is_private_and_cleaned_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new").join("switch.sock");
        let listener = open(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(open(&path), Err(ListenError::InUse(_))));
        drop(listener);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_file_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("switch.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "std leaves the file behind, as a killed switch does");
        let first = open(&path).unwrap();
        // Somebody replaced the file by hand: it is not ours to remove.
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "precious").unwrap();
        drop(first);
        assert!(matches!(open(&path), Err(ListenError::NotASocket(_))));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn tcp_needs_tokens() {
        let error = Listener::open(&"http://127.0.0.1:0".parse().unwrap(), None).unwrap_err();
        assert!(error.to_string().contains("--token-file"), "{error}");
    }
}

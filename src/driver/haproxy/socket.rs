//! The way to HAProxy: one connection a question, whose answer ends when HAProxy closes it. That is the only framing its
//! command line has that no answer can imitate.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::profile::SocketPlace;
use crate::acm::error::AcmError;
use crate::acm::recent::Recent;

/// How long a connection may take to be made.
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);
/// How long a question may take altogether. HAProxy answers in microseconds unless its socket's places are all taken.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// The longest answer read, in bytes: 600 bytes of statistics for each of the most servers a backend may have, and
/// as much again.
const ANSWER_MAX: u64 = 40 * 1024 * 1024;
/// Lines of an answer left in [`Recent`].
const RECENT_LINES: usize = 12;

/// A HAProxy's socket.
#[derive(Debug)]
pub(super) struct Socket {
    place: SocketPlace,
    recent: Option<Recent>,
}

impl std::fmt::Display for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.place {
            SocketPlace::Unix(path) => write!(f, "HAProxy at unix:{}", path.display()),
            SocketPlace::Tcp(host, port) if host.contains(':') => write!(f, "HAProxy at tcp://[{host}]:{port}"),
            SocketPlace::Tcp(host, port) => write!(f, "HAProxy at tcp://{host}:{port}"),
        }
    }
}

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

impl Socket {
    pub(super) fn new(place: SocketPlace, recent: Option<Recent>) -> Socket {
        Socket { place, recent }
    }

    /// Sends a line of commands and reads what HAProxy says to all of them, severities shown.
    ///
    /// # Errors
    /// `Unreachable`: the commands may or may not have been performed.
    pub(super) async fn ask(&self, line: &str) -> Result<String, AcmError> {
        self.note(&format!("> {line}"));
        let asking = async {
            let mut wire = self.connect().await?;
            wire.write_all(format!("set severity-output number;{line}\n").as_bytes()).await?;
            let mut answer = Vec::new();
            wire.take(ANSWER_MAX + 1).read_to_end(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        let answer = match tokio::time::timeout(ANSWER_PATIENCE, asking).await {
            Err(_) => Err(format!("no answer within {ANSWER_PATIENCE:?}")),
            Ok(Err(why)) => Err(why.to_string()),
            Ok(Ok(answer)) if answer.len() as u64 > ANSWER_MAX => Err(format!("an answer of over {ANSWER_MAX} bytes")),
            Ok(Ok(answer)) if answer.is_empty() => Err("it hung up without a word".to_owned()),
            Ok(Ok(answer)) => Ok(String::from_utf8_lossy(&answer).into_owned()),
        };
        match &answer {
            Ok(text) => self.note_answer(text),
            Err(why) => self.note(&format!("! {why}")),
        }
        answer.map_err(|why| AcmError::Unreachable { why: format!("{self}: {why}") })
    }

    async fn connect(&self) -> std::io::Result<Box<dyn Wire>> {
        let connecting = async {
            Ok::<Box<dyn Wire>, std::io::Error>(match &self.place {
                SocketPlace::Unix(path) => Box::new(tokio::net::UnixStream::connect(path).await?),
                SocketPlace::Tcp(host, port) => Box::new(tokio::net::TcpStream::connect((host.as_str(), *port)).await?),
            })
        };
        tokio::time::timeout(CONNECT_PATIENCE, connecting)
            .await
            .unwrap_or_else(|_| Err(std::io::Error::other(format!("no connection within {CONNECT_PATIENCE:?}"))))
    }

    fn note(&self, line: &str) {
        if let Some(recent) = &self.recent {
            recent.push(line);
        }
    }

    fn note_answer(&self, text: &str) {
        let lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
        for line in lines.iter().take(RECENT_LINES) {
            self.note(&format!("< {line}"));
        }
        if lines.len() > RECENT_LINES {
            self.note(&format!("< ({} lines more)", lines.len() - RECENT_LINES));
        }
    }
}

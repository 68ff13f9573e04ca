//! The way in over SSH: a shell on a box, as bytes, and whom to believe that it is that box.
//!
//! A host key is believed if it is the one pinned in the address (`?hostkey=SHA256:...`) or the one that the file of
//! known hosts has (`?known-hosts=PATH`, else `~/.ssh/known_hosts`). An unknown one is refused, and the error names its
//! fingerprint; with `?trust-new=yes` it is believed once and written to that file. A changed one is always refused.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use russh::ChannelStream;
use russh::client::{self, AuthResult, Handle, KeyboardInteractiveAuthResponse, Msg};
use russh::keys::{HashAlg, PublicKey, PublicKeyOrCertificate, known_hosts};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::session::LOGIN_MAX;
use super::switch::{Dial, Dialled, Framing};
use crate::acm::error::AcmError;
use crate::acm::switch::Answer;
use crate::base::secret::Secret;

/// Whom to believe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trust {
    /// The key with this fingerprint, `SHA256:...`.
    Pinned(String),
    /// The keys in a file.
    Known {
        /// The file; absent: there is none.
        file: Option<PathBuf>,
        /// A key that is not in it is believed, and written to it.
        new: NewKeys,
    },
}

/// What becomes of a key nobody has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NewKeys {
    Refused,
    Believed,
}

/// Connects over SSH.
#[derive(Debug, Clone)]
pub(super) struct SshDial {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) password: Option<Secret>,
    pub(super) trust: Trust,
}

impl Dial for SshDial {
    fn dial(&self) -> Answer<'_, Result<Dialled, AcmError>> {
        Box::pin(async move {
            match tokio::time::timeout(LOGIN_MAX, self.open()).await {
                Ok(dialled) => dialled,
                Err(_) => Err(self.unreachable(format!("no SSH login within {LOGIN_MAX:?}"))),
            }
        })
    }
}

impl SshDial {
    fn unreachable(&self, why: impl std::fmt::Display) -> AcmError {
        AcmError::Unreachable { why: format!("ssh://{}:{}: {why}", self.host, self.port) }
    }

    fn forbidden(&self, why: impl std::fmt::Display) -> AcmError {
        AcmError::Forbidden { why: format!("ssh://{}@{}:{}: {why}", self.user, self.host, self.port) }
    }

    async fn open(&self) -> Result<Dialled, AcmError> {
        let config = client::Config {
            nodelay: true,
            keepalive_interval: Some(Duration::from_secs(30)),
            ..client::Config::default()
        };
        let judged = Judged::default();
        let judge = Judge { dial: self.clone(), judged: Arc::clone(&judged) };
        let connected = client::connect(Arc::new(config), (self.host.as_str(), self.port), judge).await;
        let mut handle = match connected {
            Ok(handle) => handle,
            Err(why) => {
                let verdict = judged.lock().unwrap_or_else(PoisonError::into_inner).take();
                return Err(verdict.map_or_else(|| self.unreachable(&why), |why| self.forbidden(why)));
            }
        };
        self.authenticate(&mut handle).await?;
        let failed = |why: russh::Error| self.unreachable(why);
        let channel = handle.channel_open_session().await.map_err(failed)?;
        // 0 by 0: a terminal of no known size, so that nothing is wrapped for us.
        channel.request_pty(false, "vt100", 511, 0, 0, 0, &[]).await.map_err(failed)?;
        channel.request_shell(false).await.map_err(failed)?;
        let wire = Box::pin(Shell { stream: channel.into_stream(), _handle: handle });
        Ok(Dialled { wire, framing: Framing::Plain })
    }

    async fn authenticate(&self, handle: &mut Handle<Judge>) -> Result<(), AcmError> {
        let failed = |why: russh::Error| self.unreachable(why);
        let password = self.password.as_ref().map(|password| password.expose().to_owned());
        let Some(password) = password else {
            return match handle.authenticate_none(&self.user).await.map_err(failed)? {
                AuthResult::Success => Ok(()),
                AuthResult::Failure { .. } => {
                    let why = "it asks for a password; put it into ACM_PASSWORD or a file (?password-file=PATH)";
                    Err(self.forbidden(why))
                }
            };
        };
        if handle.authenticate_password(&self.user, &password).await.map_err(failed)?.success() {
            return Ok(());
        }
        let mut answer =
            handle.authenticate_keyboard_interactive_start(&self.user, None::<String>).await.map_err(failed)?;
        // A server that asks more than a few times is not asking for a password.
        for _ in 0..4 {
            answer = match answer {
                KeyboardInteractiveAuthResponse::Success => return Ok(()),
                KeyboardInteractiveAuthResponse::Failure { .. } => break,
                KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => {
                    let answers = prompts.iter().map(|_| password.clone()).collect();
                    handle.authenticate_keyboard_interactive_respond(answers).await.map_err(failed)?
                }
            };
        }
        Err(self.forbidden("the name or the password was refused"))
    }

    /// Whether the box is the one that is meant; the reason why not.
    fn judge(&self, key: &PublicKey) -> Result<(), String> {
        let print = key.fingerprint(HashAlg::Sha256).to_string();
        let (file, new) = match &self.trust {
            Trust::Pinned(pinned) if *pinned == print => return Ok(()),
            Trust::Pinned(pinned) => {
                return Err(format!(
                    "its host key is {print}, not {pinned}: it is another box, or somebody is in between"
                ));
            }
            Trust::Known { file, new } => (file, new),
        };
        let unknown = format!(
            "its host key {print} is not known; if it is the right one, add hostkey={print} to the address, or \
             trust-new=yes to remember it"
        );
        let Some(file) = file else { return Err(unknown) };
        match known_hosts::check_known_hosts_path(&self.host, self.port, key, file) {
            Ok(true) => Ok(()),
            Ok(false) if *new == NewKeys::Believed => {
                tracing::warn!(host = self.host, %print, file = %file.display(), "a new host key is believed and remembered");
                let learnt = known_hosts::learn_known_hosts_path(&self.host, self.port, key, file);
                learnt.map_err(|why| format!("its host key {print} could not be written to {}: {why}", file.display()))
            }
            Ok(false) => Err(unknown),
            Err(russh::keys::Error::KeyChanged { line }) => Err(format!(
                "its host key is {print} now, and {} has another in line {line}: it is another box, or somebody is in \
                 between; remove the line if the key was changed on purpose",
                file.display()
            )),
            Err(why) => Err(format!("{}: {why}", file.display())),
        }
    }
}

/// Why a key was not believed, for the error that the connection ends with.
type Judged = Arc<Mutex<Option<String>>>;

struct Judge {
    dial: SshDial,
    judged: Judged,
}

impl client::Handler for Judge {
    type Error = russh::Error;

    async fn check_server_key(&mut self, offered: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        let verdict = match offered {
            PublicKeyOrCertificate::PublicKey { key, .. } => self.dial.judge(key),
            PublicKeyOrCertificate::Certificate(_) => Err("it shows a certificate, which is not believed".to_owned()),
        };
        let is_believed = verdict.is_ok();
        *self.judged.lock().unwrap_or_else(PoisonError::into_inner) = verdict.err();
        Ok(is_believed)
    }
}

/// A shell; the connection ends with it.
struct Shell {
    stream: ChannelStream<Msg>,
    /// Keeps the connection, which ends when this is dropped.
    _handle: Handle<Judge>,
}

impl AsyncRead for Shell {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Shell {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

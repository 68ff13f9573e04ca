//! SSH: authentication, channels, and a [`Connection`] on each channel that asks for a shell or a command.
//!
//! A name is asked by the protocol whatever the device asks; where the device asks only a password (or nothing), any
//! name will do. Not here: ciphers and packets (`russh`), the terminal (`terminal/`).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::PublicKey;
use russh::server::{
    Auth, ChannelOpenHandle, Config, Handle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, MethodKind, MethodSet, Pty, SshId};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::leash::Leash;
use super::session::{self, End};
use super::slots::{Evicted, Slot, Standing};
use super::ssh_keys::{AuthorizedKeys, HostKey};
use super::task::{Common, make_room};
use crate::connection::Connection;
use crate::quirk::Quirk;
use crate::shell::{LoginAnswer, LoginAsks, Origin, SessionId, Transport};
use crate::terminal::LINE_MAX;

/// Shells of one SSH connection at a time.
const CHANNELS_MAX: usize = 4;
/// Bytes a client may send ahead on a channel.
const WINDOW: u32 = 64 * 1024;
/// A connection without a shell on it is closed after this.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// A rejection takes at least this, whatever was wrong.
const REJECTION: Duration = Duration::from_millis(200);

/// What is the same for all SSH connections.
#[derive(Clone)]
pub(super) struct Host {
    config: Arc<Config>,
    authorized: Arc<AuthorizedKeys>,
}

impl Host {
    pub(super) fn new(key: HostKey, authorized: AuthorizedKeys) -> Self {
        let methods = [MethodKind::None, MethodKind::PublicKey, MethodKind::Password];
        let config = Config {
            server_id: SshId::Standard(concat!("SSH-2.0-switch-sim_", env!("CARGO_PKG_VERSION")).into()),
            methods: MethodSet::from(&methods[..]),
            auth_rejection_time: REJECTION,
            auth_rejection_time_initial: Some(Duration::ZERO),
            keys: vec![key.0],
            window_size: WINDOW,
            channel_buffer_size: 16,
            max_auth_attempts: 8,
            inactivity_timeout: None,
            nodelay: true,
            ..Config::default()
        };
        Self { config: Arc::new(config), authorized: Arc::new(authorized) }
    }
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Authenticating,
    Shells(usize),
    /// A fault ends it.
    Cut,
}

/// Serves one SSH connection.
pub(super) async fn peer(
    stream: TcpStream,
    peer: IpAddr,
    common: Common,
    host: Host,
    slot: Arc<Slot>,
    evicted: Evicted,
) {
    let login_ends = Instant::now() + common.settings.login_timeout;
    let (leash, hand) = Leash::new(stream);
    let (progress, mut progresses) = watch::channel(Progress::Authenticating);
    let guest = Guest {
        origin: Origin { transport: Transport::Ssh, peer: Some(peer) },
        common,
        authorized: host.authorized,
        slot,
        session: None,
        user: String::new(),
        channels: HashMap::new(),
        shells: JoinSet::new(),
        progress,
        wrong: 0,
    };
    let serve = async {
        let running = tokio::select! {
            running = russh::server::run_stream(host.config, leash, guest) => running,
            () = sleep_until(login_ends) => return,
        };
        let Ok(mut running) = running else { return };
        loop {
            let patience = match *progresses.borrow_and_update() {
                Progress::Authenticating => Some(login_ends),
                Progress::Shells(0) => Some(Instant::now() + IDLE_MAX),
                Progress::Shells(_) => None,
                Progress::Cut => return,
            };
            tokio::select! {
                _ = &mut running => return,
                () = sleep_until(patience.unwrap_or(login_ends)), if patience.is_some() => return,
                changed = progresses.changed() => if changed.is_err() { return },
            }
        }
    };
    tokio::select! {
        () = serve => {}
        _ = evicted => {}
    }
    // The library's task ends with its stream.
    drop(hand);
}

/// The server's side of one connection.
struct Guest {
    origin: Origin,
    common: Common,
    authorized: Arc<AuthorizedKeys>,
    slot: Arc<Slot>,
    /// The session that authenticates; the first shell takes it over.
    session: Option<SessionId>,
    user: String,
    channels: HashMap<ChannelId, Channel<Msg>>,
    shells: JoinSet<()>,
    progress: watch::Sender<Progress>,
    wrong: u32,
}

/// Why a connection is ended by the device.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Ssh(#[from] russh::Error),
}

impl Drop for Guest {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            self.common.device.with(|shell, now| shell.disconnect(session, now));
        }
    }
}

impl Guest {
    /// The session that authenticates, connected when it is first needed.
    async fn session(&mut self) -> Result<SessionId, Ended> {
        if let Some(session) = self.session {
            return Ok(session);
        }
        let session = self.connect().await?;
        self.session = Some(session);
        Ok(session)
    }

    async fn connect(&self) -> Result<SessionId, Ended> {
        let connect = || self.common.device.with(|shell, now| shell.connect(self.origin, now));
        match connect() {
            Err(_) if make_room(&self.common).await => connect(),
            connected => connected,
        }
        .map_err(Ended::Refused)
    }

    fn welcome(&mut self, user: &str) -> Auth {
        self.user = user.to_owned();
        self.slot.stands(Standing::In);
        self.progress.send_replace(Progress::Shells(0));
        Auth::Accept
    }

    fn admit(&mut self, session: SessionId, user: &str) -> Auth {
        self.common.device.with(|shell, now| shell.admit(session, user, now));
        self.welcome(user)
    }

    async fn check_password(&mut self, user: &str, password: &str) -> Result<Auth, Ended> {
        let session = self.session().await?;
        let Common { device, settings, .. } = &self.common;
        if settings.quirks.fires(Quirk::LoginHung, device.now()) {
            // The library waits for this answer before it looks at its stream again: it must come to an end here.
            sleep(settings.login_timeout).await;
            return Err(Ended::Refused("the login took too long".into()));
        }
        sleep(settings.attempts.delay(self.origin.peer, device.now())).await;
        let answer = device.with(|shell, now| {
            if settings.quirks.fires(Quirk::LoginRefused, now) {
                return LoginAnswer::Wrong;
            }
            shell.log_in(session, user, password, now)
        });
        if answer == LoginAnswer::Welcome {
            return Ok(self.welcome(user));
        }
        settings.attempts.failed(self.origin.peer, device.now());
        self.wrong += 1;
        if answer == LoginAnswer::Enough || self.wrong >= settings.login_tries {
            return Err(Ended::Refused("too many failed logins".into()));
        }
        Ok(Auth::reject())
    }

    fn knows(&self, key: &PublicKey) -> bool {
        self.authorized.holds(key)
    }

    /// Starts a shell or a command on a channel; false if the channel cannot have one.
    async fn start(&mut self, id: ChannelId, command: Option<String>, handle: Handle) -> Result<bool, Ended> {
        while self.shells.try_join_next().is_some() {}
        let Some(channel) = self.channels.remove(&id) else { return Ok(false) };
        let session = match self.session.take() {
            Some(session) => session,
            None => {
                let session = self.connect().await?;
                self.common.device.with(|shell, now| shell.admit(session, &self.user, now));
                session
            }
        };
        let connection = self.common.device.with(|shell, now| {
            let settings = self.common.settings.clone();
            Connection::ssh(settings, self.origin.peer, session, command.as_deref(), shell, now)
        });
        let (device, slot, progress) = (self.common.device.clone(), self.slot.clone(), self.progress.clone());
        progress.send_modify(|progress| count(progress, 1));
        self.shells.spawn(async move {
            let mut stream = channel.into_stream();
            // An error is the client's going; nobody is left to be told.
            if let Ok(End::Cut) = session::serve(&mut stream, connection, &device, &slot).await {
                progress.send_replace(Progress::Cut);
                return;
            }
            handle.exit_status_request(id, 0).await.ok();
            handle.eof(id).await.ok();
            drop(stream);
            progress.send_modify(|progress| count(progress, -1));
        });
        Ok(true)
    }
}

fn count(progress: &mut Progress, change: isize) {
    if let Progress::Shells(open) = progress {
        *open = open.saturating_add_signed(change);
    }
}

fn answer(session: &mut Session, channel: ChannelId, granted: bool) -> Result<(), Ended> {
    match granted {
        true => session.channel_success(channel)?,
        false => session.channel_failure(channel)?,
    }
    Ok(())
}

impl Handler for Guest {
    type Error = Ended;

    async fn auth_none(&mut self, user: &str) -> Result<Auth, Ended> {
        let session = self.session().await?;
        let asks = self.common.device.with(|shell, _| shell.login_asks(session));
        Ok(if asks == LoginAsks::Nothing { self.admit(session, user) } else { Auth::reject() })
    }

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Ended> {
        self.check_password(user, password).await
    }

    async fn auth_publickey_offered(&mut self, _: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, Ended> {
        Ok(if self.knows(offer.public_key) { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Ended> {
        if !self.knows(key.public_key) {
            return Ok(Auth::reject());
        }
        let session = self.session().await?;
        Ok(self.admit(session, user))
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Ended> {
        while self.shells.try_join_next().is_some() {}
        // A reply that is dropped is a refusal.
        if self.channels.len() + self.shells.len() < CHANNELS_MAX {
            self.channels.insert(channel.id(), channel);
            reply.accept().await;
        }
        Ok(())
    }

    async fn channel_close(&mut self, channel: ChannelId, _: &mut Session) -> Result<(), Ended> {
        self.channels.remove(&channel);
        Ok(())
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _term: &str,
        _columns: u32,
        _rows: u32,
        _pixel_width: u32,
        _pixel_height: u32,
        _modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Ended> {
        answer(session, channel, true)
    }

    async fn env_request(&mut self, channel: ChannelId, _: &str, _: &str, session: &mut Session) -> Result<(), Ended> {
        answer(session, channel, false)
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), Ended> {
        let granted = self.start(channel, None, session.handle()).await?;
        answer(session, channel, granted)
    }

    async fn exec_request(&mut self, channel: ChannelId, data: &[u8], session: &mut Session) -> Result<(), Ended> {
        // A longer line is refused by the terminal; its length is all that has to be kept.
        let command = String::from_utf8_lossy(&data[..data.len().min(LINE_MAX + 1)]).into_owned();
        let granted = self.start(channel, Some(command), session.handle()).await?;
        answer(session, channel, granted)
    }

    async fn subsystem_request(&mut self, channel: ChannelId, _: &str, session: &mut Session) -> Result<(), Ended> {
        answer(session, channel, false)
    }
}

//! The thin place: a session machine on a real connection and a real clock. It starts no task; whoever waits for an
//! answer drives the connection.
#![allow(clippy::disallowed_methods)]

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

use super::session::{Event, Failure, Login, SILENCE_MAX, Session};
use super::telnet::Telnet;
use super::transcript::Recorder;
use crate::acm::recent::Recent;
use crate::base::time::Time;
use crate::driver::target::Wire;

/// Bytes read at a time.
const READ_MAX: usize = 64 * 1024;

/// Time since a driver was made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(super) fn start() -> Clock {
        Clock { origin: Instant::now() }
    }

    pub(super) fn now(&self) -> Time {
        Time::ZERO + self.origin.elapsed()
    }

    fn instant(&self, time: Time) -> Instant {
        self.origin + time.since(Time::ZERO)
    }
}

/// A random number from 0 to 1.
pub(super) fn chance() -> f64 {
    fastrand::f64()
}

/// A recorder that sessions of one driver share, one after the other.
pub(super) type SharedRecorder = Arc<Mutex<Recorder>>;

/// A recorder as a profile asks for one: a file, readable by its owner only, and the last lines for reports.
pub(super) fn recorder(
    file: Option<&Path>,
    recent: Option<Recent>,
    login: &Login,
) -> io::Result<Option<SharedRecorder>> {
    let out: Option<Box<dyn io::Write + Send>> = match file {
        None => None,
        Some(path) => {
            let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
            Some(Box::new(io::BufWriter::new(file)))
        }
    };
    if out.is_none() && recent.is_none() {
        return Ok(None);
    }
    Ok(Some(Arc::new(Mutex::new(Recorder::new(out, recent, login)?))))
}

/// A connection with its session.
pub(super) struct Link {
    wire: Pin<Box<dyn Wire>>,
    /// Telnet's own layer, where there is one.
    telnet: Option<Telnet>,
    session: Session,
    recorder: Option<SharedRecorder>,
    clock: Clock,
    buffer: Vec<u8>,
    /// Answers of telnet's own that are to be sent.
    replies: Vec<u8>,
}

impl Link {
    /// Logs in.
    pub(super) async fn log_in(
        wire: Pin<Box<dyn Wire>>,
        telnet: Option<Telnet>,
        login: Login,
        recorder: Option<SharedRecorder>,
        clock: Clock,
    ) -> Result<Link, Failure> {
        let session = Session::new(login, clock.now());
        let mut link = Link { wire, telnet, session, recorder, clock, buffer: vec![0; READ_MAX], replies: Vec::new() };
        match link.next_event().await {
            Event::Over(failure) => Err(failure),
            _ => Ok(link),
        }
    }

    /// Types a command and waits for what comes of it.
    pub(super) async fn ask(&mut self, line: &str) -> Event {
        if !self.session.is_ready() {
            return Event::Over(Failure::Closed("the session is over".into()));
        }
        self.session.submit(line, self.clock.now());
        self.next_event().await
    }

    /// Servers whose deletion was announced since the last call.
    pub(super) fn take_deleted(&mut self) -> Vec<String> {
        self.session.take_deleted()
    }

    /// Takes in what came while nobody listened; false if the box has hung up.
    pub(super) async fn is_alive(&mut self) -> bool {
        loop {
            let read = tokio::select! {
                biased;
                read = self.wire.read(&mut self.buffer) => read,
                () = std::future::ready(()) => return self.session.is_ready(),
            };
            match read {
                Ok(count) if count > 0 => self.take_in(count),
                _ => return false,
            }
        }
    }

    async fn next_event(&mut self) -> Event {
        loop {
            if let Err(failure) = self.write_out().await {
                return Event::Over(failure);
            }
            if let Some(event) = self.session.take_events().pop() {
                return event;
            }
            let deadline = self.session.deadline().unwrap_or(self.clock.now() + SILENCE_MAX);
            let read = tokio::select! {
                biased;
                read = self.wire.read(&mut self.buffer) => read,
                () = tokio::time::sleep_until(self.clock.instant(deadline)) => {
                    self.session.tick(self.clock.now());
                    continue;
                }
            };
            match read {
                Ok(0) => self.session.closed("the connection was closed"),
                Ok(count) => self.take_in(count),
                Err(why) => self.session.closed(&why.to_string()),
            }
        }
    }

    fn take_in(&mut self, count: usize) {
        let now = self.clock.now();
        let bytes = &self.buffer[..count];
        let (mut data, mut reply) = (Vec::new(), Vec::new());
        match &mut self.telnet {
            Some(telnet) => telnet.receive(bytes, &mut data, &mut reply),
            None => data.extend_from_slice(bytes),
        }
        self.record(|recorder| recorder.received(&data, now));
        self.session.receive(&data, now);
        self.replies.append(&mut reply);
    }

    async fn write_out(&mut self) -> Result<(), Failure> {
        let output = self.session.take_output();
        let mut wire = std::mem::take(&mut self.replies);
        if output.is_empty() && wire.is_empty() {
            return Ok(());
        }
        let now = self.clock.now();
        for piece in &output {
            self.record(|recorder| recorder.sent(piece, now));
            match &self.telnet {
                Some(telnet) => telnet.send(&piece.bytes, &mut wire),
                None => wire.extend_from_slice(&piece.bytes),
            }
        }
        let writing = async {
            self.wire.write_all(&wire).await?;
            self.wire.flush().await
        };
        match tokio::time::timeout(SILENCE_MAX, writing).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(why)) => Err(Failure::Closed(why.to_string())),
            Err(_) => Err(Failure::TimedOut(format!("it reads nothing for {SILENCE_MAX:?}"))),
        }
    }

    fn record(&self, act: impl FnOnce(&mut Recorder) -> io::Result<()>) {
        let Some(recorder) = &self.recorder else { return };
        if let Err(why) = act(&mut recorder.lock().unwrap_or_else(PoisonError::into_inner)) {
            tracing::warn!(%why, "the transcript could not be written");
        }
    }
}

/// Waits; no clock is read by whoever calls it.
pub(super) async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

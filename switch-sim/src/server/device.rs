//! The device that all connections share: one shell behind a lock, one clock, and a bell for what one session does to
//! others (a notice, a `kill`).

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

use crate::shell::Shell;
use crate::time::Time;

/// Tells every session that the shell may have news.
#[derive(Debug, Clone)]
pub struct Bell(watch::Sender<()>);

impl Default for Bell {
    fn default() -> Self {
        Self(watch::Sender::new(()))
    }
}

impl Bell {
    /// Rings; from any thread.
    pub fn ring(&self) {
        self.0.send_replace(());
    }
}

/// A shell that many connections use. Clones are the same device.
#[derive(Clone)]
pub struct Device {
    shell: Arc<Mutex<dyn Shell>>,
    started: Instant,
    bell: Bell,
}

impl Device {
    /// A device whose time begins now. Whatever else brings the shell news (a box that is not simulated) rings the bell.
    pub fn new(shell: impl Shell + 'static, bell: Bell) -> Self {
        Self { shell: Arc::new(Mutex::new(shell)), started: Instant::now(), bell }
    }

    /// The time since the device began.
    pub fn now(&self) -> Time {
        Time::after(self.started.elapsed())
    }

    /// That moment on the runtime's clock.
    pub(super) fn instant(&self, at: Time) -> Instant {
        self.started + at.since(Time::ZERO)
    }

    /// Uses the shell. Nothing in it waits, so a connection waits for the lock no longer than for a command.
    pub fn with<R>(&self, use_it: impl FnOnce(&mut dyn Shell, Time) -> R) -> R {
        // A shell that panicked in one session is still the device of the others.
        let mut shell = self.shell.lock().unwrap_or_else(PoisonError::into_inner);
        use_it(&mut *shell, self.now())
    }

    /// A session has done something that others may see.
    pub(super) fn ring(&self) {
        self.bell.ring();
    }

    pub(super) fn listen(&self) -> watch::Receiver<()> {
        self.bell.0.subscribe()
    }
}

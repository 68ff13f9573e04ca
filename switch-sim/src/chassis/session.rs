//! A session at the command line.

use std::collections::VecDeque;

use super::access::Level;
use super::mode::Mode;
use crate::commands::Question;
use crate::shell::{Origin, Reply};
use crate::time::Time;

/// Everything the device knows of a session.
#[derive(Debug)]
pub(crate) struct Session {
    /// Where it comes from; `None` for the device's own console, which reads the start-up file.
    pub(crate) origin: Option<Origin>,
    /// Its user's name, if the login asked for one.
    pub(crate) user: Option<String>,
    /// Past the login. Others may be many and count for nothing.
    pub(crate) logged_in: bool,
    pub(crate) level: Level,
    pub(crate) mode: Mode,
    /// Whether long answers stop at a full page.
    pub(crate) pages: bool,
    pub(crate) question: Option<Question>,
    /// The answer of a line that took its time, and when it may be given.
    pub(crate) reply: Option<(Time, Reply)>,
    /// Texts that land on the terminal, and when.
    pub(crate) notices: VecDeque<(Time, String)>,
    /// Stands before the prompt, once.
    pub(crate) glued: String,
    /// Wrong passwords, at the login or at `enable`, since the last right one.
    pub(crate) failures: u32,
    pub(crate) last_input: Time,
    pub(crate) ended: bool,
}

/// Notices that wait for a session that does not look; more are dropped, the oldest first.
pub(crate) const NOTICES_MAX: usize = 1_024;

impl Session {
    pub(crate) fn new(origin: Option<Origin>, now: Time) -> Session {
        Session {
            origin,
            user: None,
            logged_in: false,
            level: Level::SUPER_USER,
            mode: Mode::User,
            pages: true,
            question: None,
            reply: None,
            notices: VecDeque::new(),
            glued: String::new(),
            failures: 0,
            last_input: now,
            ended: false,
        }
    }

    pub(crate) fn notify(&mut self, at: Time, text: String) {
        if self.notices.len() == NOTICES_MAX {
            self.notices.pop_front();
        }
        self.notices.push_back((at, text));
    }
}

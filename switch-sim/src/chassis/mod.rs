//! The chassis: sessions, modes, users, and the way of a command from the line to the box and back. It is the
//! [`Shell`](crate::shell::Shell) behind the terminals.
//!
//! ```text
//!  line -> queue -> grammar -> function -> Change -> Config::check -> box -> Config::apply -> reply
//! ```
//!
//! The device has one hand: a command begins when the one before it, of whatever session, has ended. So a configuration that was
//! found good for a change is still the same when the box has agreed to it, and nothing is ever half applied.

pub mod access;
mod boot;
pub(crate) mod device;
mod faults;
pub mod flash;
mod hand;
pub mod mode;
mod session;
mod shell;
pub mod witness;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use access::Access;
use device::Device;
use flash::{Flash, MemoryFlash};
use hand::{Line, Running};
use session::Session;
use witness::Witness;

use crate::personality::Personality;
use crate::quirk::Quirks;
use crate::screens::Templates;
use crate::shell::SessionId;
use crate::slb::balancer::{SlbBox, Waker};
use crate::slb::config::{Config, Limits};
use crate::time::Time;

/// What a chassis is like.
pub struct Settings {
    /// Which box.
    pub personality: Personality,
    /// The name in the prompt until the configuration says another.
    pub hostname: String,
    /// What stands before the transport in the prompt: `SLB-` on some boxes.
    pub prompt_prefix: String,
    /// Users and passwords until the configuration says others.
    pub access: Access,
    /// Table sizes.
    pub limits: Limits,
    /// Texts and screens.
    pub templates: Templates,
    /// Where `write memory` saves, and what is read at the start.
    pub flash: Box<dyn Flash>,
    /// What goes wrong.
    pub quirks: Quirks,
    /// Sessions at one time.
    pub sessions_max: usize,
    /// How long a session may be silent, unless `telnet timeout` says otherwise; `None` for ever.
    pub idle_limit: Option<Duration>,
    /// When the device was started, as its screens write it: the emulator has no clock of its own.
    pub started: String,
    /// For everything left to chance.
    pub seed: u64,
    /// What another hand types at the console, and when.
    pub other_hand: Vec<(Duration, String)>,
    /// Who watches what the sessions do.
    pub witness: Option<Box<dyn Witness>>,
}

impl Settings {
    /// A box of this personality, fresh from the factory.
    pub fn new(personality: Personality) -> Settings {
        Settings {
            personality,
            hostname: "ServerIron".into(),
            prompt_prefix: String::new(),
            access: Access::default(),
            limits: Limits::ROOMY,
            templates: Templates::built_in(personality),
            flash: Box::new(MemoryFlash::default()),
            quirks: Quirks::none(),
            sessions_max: 5,
            idle_limit: None,
            started: "00:00:00 GMT+00 Sat Jan 01 2000".into(),
            seed: 0,
            other_hand: Vec::new(),
            witness: None,
        }
    }
}

/// A line of the start-up file that the device did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// Counted from 1.
    pub number: usize,
    /// The line.
    pub text: String,
    /// What the device said.
    pub said: String,
}

/// The session of the device itself.
const CONSOLE: SessionId = SessionId(0);

/// See the module.
pub struct Chassis {
    device: Device,
    waiting: VecDeque<Line>,
    running: Option<Running>,
    bad_lines: Vec<BadLine>,
    next_session: u32,
    /// The latest moment that was handed in.
    now: Time,
    meddles_at: Time,
    /// A reload lost what was saved.
    flash_is_lost: bool,
}

impl Chassis {
    /// A device with this box behind it; it reads its start-up file first.
    pub fn new(mut settings: Settings, balancer: Box<dyn SlbBox>) -> Chassis {
        let flash = std::mem::replace(&mut settings.flash, Box::new(MemoryFlash::default()));
        let device = Device {
            host: settings.hostname.clone(),
            config: Config::new(settings.limits),
            access: settings.access.clone(),
            balancer,
            templates: settings.templates.clone(),
            flash,
            saved: Vec::new(),
            sessions: BTreeMap::from([(CONSOLE, Session::new(None, Time::ZERO))]),
            deleters: HashMap::new(),
            log: VecDeque::new(),
            chance: fastrand::Rng::with_seed(settings.seed),
            booted_at: Time::ZERO,
            settings,
        };
        let mut chassis = Chassis {
            device,
            waiting: VecDeque::new(),
            running: None,
            bad_lines: Vec::new(),
            next_session: 1,
            now: Time::ZERO,
            meddles_at: Time::ZERO,
            flash_is_lost: false,
        };
        chassis.boot(Time::ZERO);
        chassis
    }

    /// Hands a waker to the box: it is called when [`Shell::poll`](crate::shell::Shell::poll) may have news.
    pub fn set_waker(&mut self, waker: Waker) {
        self.device.balancer.set_waker(waker);
    }

    /// The lines of the start-up file that the device did not take, at most a thousand of them.
    pub fn bad_lines(&self) -> &[BadLine] {
        &self.bad_lines
    }

    /// Whether the start-up file is still being worked off.
    pub fn is_booting(&self) -> bool {
        self.waiting.iter().any(|line| line.session == CONSOLE)
            || self.running.as_ref().is_some_and(|running| running.session() == CONSOLE)
    }

    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.device.config
    }
}

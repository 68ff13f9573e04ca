//! The modes of a session, and the prompt of each.

use crate::shell::Transport;
use crate::slb::block::BlockKind;
use crate::slb::words::Name;

/// Where a session stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// `>`: may look.
    User,
    /// `#`.
    Privileged,
    /// `(config)`.
    Config,
    /// `(config-rs-NAME)`.
    Real(Name),
    /// `(config-vs-NAME)`.
    Virtual(Name),
    /// On a barrel processor: `HOST1/1#`.
    Barrel {
        /// Of the module in this slot.
        slot: u32,
        /// Which of its processors.
        cpu: u32,
    },
    /// A mode of another block.
    Block {
        /// Which kind.
        kind: BlockKind,
        /// Its name in the configuration.
        name: Name,
        /// Its name in the prompt: as it was typed.
        shown: String,
    },
}

impl Mode {
    /// Whether this is the configuration mode or one below it.
    pub fn is_config(&self) -> bool {
        !matches!(self, Mode::User | Mode::Privileged | Mode::Barrel { .. })
    }

    /// Where `exit` leads; `None` out of the device.
    pub fn up(&self) -> Option<Mode> {
        match self {
            Mode::User => None,
            Mode::Privileged => Some(Mode::User),
            Mode::Config | Mode::Barrel { .. } => Some(Mode::Privileged),
            Mode::Real(_) | Mode::Virtual(_) | Mode::Block { .. } => Some(Mode::Config),
        }
    }

    fn suffix(&self) -> String {
        match self {
            Mode::User => ">".into(),
            Mode::Privileged => "#".into(),
            Mode::Config => "(config)#".into(),
            Mode::Barrel { slot, cpu } => format!("{slot}/{cpu}#"),
            Mode::Real(name) => format!("(config-rs-{name})#"),
            Mode::Virtual(name) => format!("(config-vs-{name})#"),
            Mode::Block { kind, .. } if !kind.prompt_names_it() => format!("({})#", kind.prompt()),
            Mode::Block { kind, shown, .. } => format!("({}{shown})#", kind.prompt()),
        }
    }

    /// The prompt: `[SLB-]telnet@HOST(mode)#`.
    pub fn prompt(&self, prefix: &str, transport: Transport, host: &str) -> String {
        let transport = match transport {
            Transport::Telnet => "telnet",
            Transport::Ssh => "SSH",
        };
        format!("{prefix}{transport}@{host}{}", self.suffix())
    }
}

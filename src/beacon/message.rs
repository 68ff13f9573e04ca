//! What is said, as data. `codec` turns it into fields and back; `docs/wire-protocol.md` has the bytes.

use std::net::SocketAddr;
use std::time::Duration;

use super::words::Words;
use crate::acm::words::{BindingKey, HealthDepth};
use crate::base::id::Name;

/// Bindings in one message. A message that names more is refused; an agent with more speaks more often.
pub const BINDINGS_PER_MESSAGE_MAX: usize = 64;

/// Who speaks: a number that is unique among the holders of its key. Among managers the lowest wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u64);

impl std::fmt::Display for NodeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// One datagram of one run of a sender; never the same twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// Which run of the sender: random or the wall clock at its start, in any case another one at each start.
    pub boot: u64,
    /// From 1, more by one or more with each datagram.
    pub counter: u64,
}

/// What a datagram says, with what makes it provably fresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// "Say this number in what you send me next": how a receiver that does not know the sender yet, or not this run
    /// of it, learns that it hears no recording.
    pub challenge: Option<u64>,
    /// The latest challenges of those who will read this, at most [`ECHOES_MAX`].
    pub echoes: Vec<u64>,
    /// The message.
    pub message: Message,
}

/// Echoes in one datagram; more are refused.
pub const ECHOES_MAX: usize = 8;

impl Envelope {
    /// A message that asks for no proof and gives none.
    pub fn plain(message: Message) -> Envelope {
        Envelope { challenge: None, echoes: Vec::new(), message }
    }
}

/// What managers, agents and operators say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A manager leads.
    Heartbeat {
        /// Which leadership: more than any it had heard of when it claimed it. The higher one prevails, and of two
        /// equal ones that of the lower node.
        term: u64,
    },
    /// A manager is about to lead.
    Claim {
        /// The term it would have.
        term: u64,
    },
    /// A manager ends; others need not wait for its silence.
    Resign,
    /// "Every agent, tell me your bindings."
    Solicit {
        /// The answers are to be spread at random over this time.
        within: Duration,
    },
    /// Nothing but the envelope: a challenge for somebody unproven, and the answer to his.
    Prove,
    /// An agent's bindings, said regularly and at once when one changes. One beacon need not name all of them; a
    /// binding that none names any more is silent, not withdrawn.
    Beacon {
        /// When the next one follows; silence is measured in these.
        period: Duration,
        /// The bindings.
        bindings: Vec<Statement>,
    },
    /// "Bind these now, and acknowledge." Repeated until it is.
    Add {
        /// As in a beacon.
        period: Duration,
        /// The bindings.
        bindings: Vec<Statement>,
    },
    /// "Withdraw these now, and acknowledge." Repeated until it is.
    Remove {
        /// The bindings.
        bindings: Vec<BindingKey>,
        /// How.
        how: Withdrawal,
    },
    /// A manager's answer to an Add or Remove. Several may answer one, each whole bindings.
    Ack {
        /// The request. A repeated request has a stamp of its own.
        of: Stamp,
        /// What each switch answered about each binding.
        rows: Vec<AckRow>,
    },
    /// A peer's server failed: its connection was reset, or it is silent.
    Failure {
        /// The server.
        real: SocketAddr,
        /// What was seen.
        why: Words,
    },
    /// An agent ends and withdraws nothing: nobody speaks for its bindings any more, so look at once whether they
    /// live.
    Leave,
    /// "How are you?", from an operator.
    Query,
    /// A manager's answer to that, in parts.
    Status(Status),
    /// "Who is bound as this, and how does it stand?", from an operator to agents.
    Who {
        /// The service's name in the agents' configuration, such as `web`; absent: every service.
        name: Option<Name>,
        /// Tell of this roll; absent: of the latest.
        roll: Option<u64>,
    },
    /// An agent's answer to [`Message::Who`] and [`Message::Restart`], in parts.
    Standings(Standings),
    /// "Take these out of service, restart what serves them, and bring them back", from an operator to one agent.
    Restart(Restart),
}

/// An operator's command to an agent. Repeating it with the same roll changes nothing and asks how far it is; so does
/// one about a roll that is over. While a roll is under way another one is not begun: the answer then names the one
/// that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restart {
    /// Which agent; all others ignore it.
    pub agent: NodeId,
    /// Which roll: chosen by the operator, never the same for two.
    pub roll: u64,
    /// What is to be restarted. Everything else that the same instance of the command serves goes with it.
    pub bindings: Vec<BindingKey>,
    /// What is left of connections after this long is cut; absent: the agent's own setting.
    pub drain: Option<Duration>,
    /// How long it may take to be healthy again, from its start.
    pub within: Duration,
}

/// How the bindings of an agent stand. More than fit a datagram come in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standings {
    /// Which part, from 0.
    pub part: u16,
    /// How many parts.
    pub parts: u16,
    /// The bindings.
    pub rows: Vec<StandingRow>,
}

/// How one binding stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandingRow {
    /// The binding.
    pub key: BindingKey,
    /// What the service is called in its configuration.
    pub name: Option<Name>,
    /// How it stands with the managers.
    pub standing: Standing,
    /// Which instance of the agent's command serves it. Those of one instance are restarted together. Absent: the agent
    /// is part of the service and has no command to restart.
    pub instance: Option<u16>,
    /// The roll that was asked for, or the latest there was, and how far it is.
    pub roll: Option<(u64, Phase)>,
    /// How long it has been in this phase.
    pub age: Duration,
    /// Why it was refused, why it fails, or why the roll failed.
    pub why: Option<Words>,
}

/// How a binding stands, as its agent sees it. The numbers are those on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Standing {
    /// Said, and not acknowledged yet.
    Announced = 0,
    /// In force on the switches that have its virtual address.
    Bound = 1,
    /// Refused by all.
    Refused = 2,
    /// Its service says that it fails.
    Failing = 3,
    /// Taken back, and not acknowledged yet.
    Leaving = 4,
    /// Acknowledged: nothing new goes there, existing connections finish.
    Drains = 5,
    /// Not in force: taken back, or not announced yet.
    Absent = 6,
}

impl Standing {
    /// Every standing, in order of its number.
    pub const ALL: [Standing; 7] = [
        Standing::Announced,
        Standing::Bound,
        Standing::Refused,
        Standing::Failing,
        Standing::Leaving,
        Standing::Drains,
        Standing::Absent,
    ];
}

impl std::fmt::Display for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Standing::Announced => "announced",
            Standing::Bound => "bound",
            Standing::Refused => "refused",
            Standing::Failing => "failing",
            Standing::Leaving => "leaving",
            Standing::Drains => "drains",
            Standing::Absent => "absent",
        })
    }
}

/// How far a roll is with one instance. The numbers are those on the wire; a roll goes through them in order and ends
/// in one of the last two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Phase {
    /// Taken back; existing connections finish.
    Draining = 0,
    /// The command was told to end, or starts again.
    Restarting = 1,
    /// It runs, and is not healthy yet.
    Checking = 2,
    /// It is healthy, and announced; not acknowledged yet.
    Adding = 3,
    /// In force again.
    Done = 4,
    /// It did not come back; the agent goes on trying.
    Failed = 5,
}

impl Phase {
    /// Every phase, in order of its number.
    pub const ALL: [Phase; 6] =
        [Phase::Draining, Phase::Restarting, Phase::Checking, Phase::Adding, Phase::Done, Phase::Failed];

    /// True if nothing more comes of this roll.
    pub fn is_over(self) -> bool {
        matches!(self, Phase::Done | Phase::Failed)
    }
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Phase::Draining => "draining",
            Phase::Restarting => "restarting",
            Phase::Checking => "checking",
            Phase::Adding => "adding",
            Phase::Done => "done",
            Phase::Failed => "failed",
        })
    }
}

/// One binding, as its agent wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Service and real.
    pub key: BindingKey,
    /// What the service is called in its own configuration (`web`).
    pub name: Option<Name>,
    /// Its group on the switch; absent: `default`.
    pub group: Option<Name>,
    /// Its weight; absent: 1.
    pub weight: Option<u16>,
    /// Its limit of connections; absent: none.
    pub max_conns: Option<u32>,
    /// How deep the switch is to check it; absent: the service's profile.
    pub depth: Option<HealthDepth>,
    /// How it is.
    pub condition: Condition,
    /// What it tells about itself; shown, and material for policies.
    pub facts: Facts,
}

impl Statement {
    /// A binding that serves, with every option absent.
    pub fn new(key: BindingKey) -> Statement {
        Statement {
            key,
            name: None,
            group: None,
            weight: None,
            max_conns: None,
            depth: None,
            condition: Condition::Serving,
            facts: Facts::default(),
        }
    }
}

/// How a binding is, in its agent's own judgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// It serves.
    Serving,
    /// It does not, and why: take it out until it says otherwise.
    Failing(Words),
    /// It was withdrawn and its connections are finishing: do not add it again.
    Leaving,
}

/// What a service tells about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// Thousandths of its capacity in use.
    pub load: Option<u16>,
    /// Mean time to answer, in microseconds.
    pub latency: Option<u32>,
    /// The version it runs.
    pub version: Option<Words>,
}

/// How a binding is withdrawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withdrawal {
    /// Nothing new goes there, existing connections finish; with a deadline they are cut then.
    Drain {
        /// The deadline.
        deadline: Option<Duration>,
    },
    /// Its connections are cut now. Needs a key that may.
    Force,
}

/// What one switch answered about one binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AckRow {
    /// The binding.
    pub key: BindingKey,
    /// Which switch; absent when the answer is the manager's own.
    pub switch: Option<Name>,
    /// Its answer.
    pub answer: Answer,
    /// More about it, in plain words: what the switch lacks and what was done instead, or what was wrong.
    pub note: Option<Words>,
}

/// A switch's answer in a word. The numbers are those on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Answer {
    /// In force.
    Done = 0,
    /// Not yet answered; the manager goes on.
    Pending = 1,
    /// The switch cannot do it.
    Unsupported = 2,
    /// There is no such binding. After a Remove: nothing is left of it.
    NotFound = 3,
    /// It exists and is somebody else's.
    Exists = 4,
    /// The switch, or the manager, is full.
    Full = 5,
    /// Another manager leads by now; ask again.
    Stale = 6,
    /// The key may not.
    Forbidden = 7,
    /// The switch, or the manager, does not accept a value.
    Invalid = 8,
    /// The switch cannot be reached; the manager goes on.
    Unreachable = 9,
    /// The switch did not answer in time; the manager goes on.
    Timeout = 10,
    /// No switch has this virtual address.
    NoSwitch = 11,
}

impl Answer {
    /// Every answer, in order of its number.
    pub const ALL: [Answer; 12] = [
        Answer::Done,
        Answer::Pending,
        Answer::Unsupported,
        Answer::NotFound,
        Answer::Exists,
        Answer::Full,
        Answer::Stale,
        Answer::Forbidden,
        Answer::Invalid,
        Answer::Unreachable,
        Answer::Timeout,
        Answer::NoSwitch,
    ];

    /// It in a word or two.
    pub fn as_str(self) -> &'static str {
        match self {
            Answer::Done => "done",
            Answer::Pending => "pending",
            Answer::Unsupported => "unsupported",
            Answer::NotFound => "not found",
            Answer::Exists => "exists already",
            Answer::Full => "full",
            Answer::Stale => "another manager leads",
            Answer::Forbidden => "forbidden",
            Answer::Invalid => "invalid",
            Answer::Unreachable => "unreachable",
            Answer::Timeout => "timed out",
            Answer::NoSwitch => "no switch has this virtual address",
        }
    }

    /// True if asking again later can have another end without anybody changing anything.
    pub fn is_temporary(self) -> bool {
        matches!(self, Answer::Pending | Answer::Stale | Answer::Unreachable | Answer::Timeout)
    }
}

/// What a manager is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Role {
    /// It listens.
    Watching = 0,
    /// It is about to lead.
    Claiming = 1,
    /// It leads.
    Leading = 2,
}

impl Role {
    /// Every role, in order of its number.
    pub const ALL: [Role; 3] = [Role::Watching, Role::Claiming, Role::Leading];
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Role::Watching => "watching",
            Role::Claiming => "claiming",
            Role::Leading => "leading",
        })
    }
}

/// How a manager is. One that does not fit a datagram comes in parts, each with the head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Which part, from 0.
    pub part: u16,
    /// How many parts.
    pub parts: u16,
    /// What it is.
    pub role: Role,
    /// The newest term it knows.
    pub term: u64,
    /// Who leads, as far as it knows.
    pub leader: Option<NodeId>,
    /// Agents it hears.
    pub agents: u32,
    /// Bindings it knows.
    pub bindings: u32,
    /// Managers it hears.
    pub peers: Vec<PeerRow>,
    /// Switches it looks after.
    pub switches: Vec<SwitchRow>,
    /// What it counted since its start, by name.
    pub counters: Vec<(Name, u64)>,
}

/// Another manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerRow {
    /// Which.
    pub node: NodeId,
    /// What it said to be last.
    pub role: Role,
    /// How long ago that was.
    pub age: Duration,
}

/// A switch, as a manager sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwitchRow {
    /// Its name.
    pub name: Name,
    /// The epoch of the tenure held there, if it is a switch that keeps one.
    pub epoch: Option<u64>,
    /// For how long it has been other than wanted; zero when it is as wanted.
    pub lag: Duration,
    /// Changes waiting for it.
    pub waiting: u32,
    /// Bindings of ours it had when last listed.
    pub bindings: u32,
    /// What keeps it from being as wanted, or what it lacks, in plain words.
    pub why: Option<Words>,
}

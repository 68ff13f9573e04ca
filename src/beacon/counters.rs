//! What became of every datagram received, counted by cause.

use super::datagram::NotOurs;
use super::field::Malformed;

/// Why a datagram was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(usize)]
pub enum Cause {
    /// Shorter than a head and a tag.
    Short,
    /// Longer than a datagram may be.
    Long,
    /// Not of this protocol.
    Magic,
    /// Another version of it.
    Version,
    /// Another group.
    Group,
    /// A key we do not have.
    UnknownKey,
    /// Its tag is wrong: forged, damaged, or signed with another secret.
    BadTag,
    /// Our own, come back by multicast. No trouble.
    Own,
    /// A kind of message this version does not know. No trouble.
    UnknownKind,
    /// The key does not allow this message, or not under this number.
    NotAllowed,
    /// Fields that are no message.
    Malformed,
    /// A field we do not know and must not skip.
    UnknownCritical,
    /// Its counter was seen, or is too old to know.
    Replayed,
    /// Of a run we do not know, without an echo of our challenge: a recording, or a sender not met yet.
    Unproven,
    /// Written too long ago.
    Late,
    /// The table of senders is full.
    SendersFull,
}

impl Cause {
    /// Every cause, in order.
    pub const ALL: [Cause; 16] = [
        Cause::Short,
        Cause::Long,
        Cause::Magic,
        Cause::Version,
        Cause::Group,
        Cause::UnknownKey,
        Cause::BadTag,
        Cause::Own,
        Cause::UnknownKind,
        Cause::NotAllowed,
        Cause::Malformed,
        Cause::UnknownCritical,
        Cause::Replayed,
        Cause::Unproven,
        Cause::Late,
        Cause::SendersFull,
    ];

    /// The word for it in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Short => "short",
            Cause::Long => "long",
            Cause::Magic => "magic",
            Cause::Version => "version",
            Cause::Group => "group",
            Cause::UnknownKey => "unknown-key",
            Cause::BadTag => "bad-tag",
            Cause::Own => "own",
            Cause::UnknownKind => "unknown-kind",
            Cause::NotAllowed => "not-allowed",
            Cause::Malformed => "malformed",
            Cause::UnknownCritical => "unknown-critical",
            Cause::Replayed => "replayed",
            Cause::Unproven => "unproven",
            Cause::Late => "late",
            Cause::SendersFull => "senders-full",
        }
    }
}

impl From<NotOurs> for Cause {
    fn from(why: NotOurs) -> Cause {
        match why {
            NotOurs::Short => Cause::Short,
            NotOurs::Long => Cause::Long,
            NotOurs::Magic => Cause::Magic,
            NotOurs::Version => Cause::Version,
            NotOurs::Group => Cause::Group,
            NotOurs::Key => Cause::UnknownKey,
            NotOurs::Tag => Cause::BadTag,
        }
    }
}

impl From<Malformed> for Cause {
    fn from(why: Malformed) -> Cause {
        match why {
            Malformed::Layout(_) => Cause::Malformed,
            Malformed::Critical(_) => Cause::UnknownCritical,
        }
    }
}

/// How many were accepted, and how many refused for which cause.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Accepted.
    pub accepted: u64,
    refused: [u64; Cause::ALL.len()],
}

impl Counters {
    pub(super) fn count(&mut self, cause: Cause) {
        self.refused[cause as usize] += 1;
    }

    /// How many were refused for this cause.
    pub fn refused(&self, cause: Cause) -> u64 {
        self.refused[cause as usize]
    }

    /// Every cause and its count.
    pub fn iter(&self) -> impl Iterator<Item = (Cause, u64)> + '_ {
        Cause::ALL.into_iter().map(|cause| (cause, self.refused(cause)))
    }
}

//! What managers and agents say to each other: one signed datagram, its fields, its senders' freshness.
//!
//! Pure, but for [`socket`] and [`config`]: bytes and the time come in, messages go out. No clock, and no idea of what a manager or an
//! agent does with a message. Callers: `manager` and `agent`. Other languages follow `docs/wire-protocol.md`.
//!
//! * [`message`]: what is said, as data; [`words`]: text of others, bounded and printable;
//! * [`codec`]: messages to fields and back, and what each kind asks of its key; `field`: type, length, value;
//! * [`datagram`]: head, fields, tag; [`key`]: keys, rings, and what a key may say;
//! * [`sealer`]: the sending side; [`gate`]: the receiving side (authentic? allowed? fresh? new?), with `window` for
//!   replays and `challenges` for first meetings; [`counters`]: what became of every datagram;
//! * [`socket`]: the sockets datagrams travel through, by multicast or to a list of peers; [`config`]: both as people
//!   write them down.
//!
//! ```text
//!  Message -> Envelope -> Sealer::seal -> bytes ~~~~ bytes -> Gate::open -> Heard { sender, stamp, message }
//!                                                                      \-> Refused { cause, prove }
//! ```
//!
//! # To add a message
//!
//! A message is: a variant of [`message::Message`] with its data; a number in [`codec::Kind`], with the speaker its key
//! must allow (`Operator` for what a person asks or commands, `Anyone` for an answer under the key of the question);
//! the types of its new fields in `codec::tag`; an arm in `write` and one in `read`; a row in `docs/wire-protocol.md`
//! and in the table of `tests/beacon/messages.rs`. Nothing else changes: gate, sealer and keys do not know messages, and
//! a receiver of before counts the new kind as `unknown-kind` and goes on.
//!
//! # To add a field
//!
//! A type in `codec::tag`, an arm where it is written and one where it is read. Receivers of before skip it, unless its
//! type is written with [`field::CRITICAL`]; then they refuse the datagram.

mod challenges;
pub mod codec;
pub mod config;
pub mod counters;
pub mod datagram;
pub mod field;
pub mod gate;
pub mod key;
pub mod message;
pub mod sealer;
pub mod socket;
mod window;
pub mod words;

pub use challenges::CHALLENGE_LIFE;

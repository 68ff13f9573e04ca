//! Bytes and headers: parsing, in-place rewriting, checksums, and building the frames we originate.
//!
//! * [`frame`]: a frame in its buffer with its offloads, and batches of them.
//! * [`parse`]: where the headers are and what they say.
//! * [`rewrite`]: replacing addresses, ports and MACs, checksums included.
//! * [`checksum`]: the Internet checksum, whole and incremental.
//! * [`build`]: frames we originate or answer with.
//!
//! Bytes and meaning are two types here: nothing above this room indexes into a frame. No accessor panics on any
//! input. Not here: what to do with a frame (`plane`), where frames come from (`port`).

pub mod build;
pub mod checksum;
pub mod frame;
pub mod parse;
pub mod rewrite;

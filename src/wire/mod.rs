//! Bytes and headers: parsing, in-place rewriting, checksums, and building the frames we originate.
//!
//! * [`frame`]: a frame in its buffer with its offloads, and batches of them.
//!
//! Bytes and meaning are two types here: nothing above this room indexes into a frame. No accessor panics on any
//! input. Not here: what to do with a frame (`plane`), where frames come from (`port`).

pub mod frame;

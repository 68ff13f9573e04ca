//! Bytes and headers: parsing, in-place rewriting, checksums, and building the frames we originate.
//!
//! * [`frame`]: a frame in its buffer with its offloads, and batches of them.
//! * [`parse`](mod@parse): what a frame says, as plain values; never panics, checks every length.
//! * [`ip`]: IPv4 and IPv6 headers, the walk to the transport header, and what an ICMP error quotes.
//! * [`checksum`]: the Internet checksum: whole, incrementally, and left to be finished by a network card.
//! * [`icmp`]: the packet that an ICMP error quotes, found and rewritten in place.
//! * [`rewrite`]: new addresses, ports and MACs in place.
//! * [`build`]: whole frames of our own: ARP, echo, TCP, UDP, ICMP errors, and answers made of the question's buffer.
//!
//! Bytes and meaning are two types here: nothing above this room indexes into a frame. No accessor panics on any
//! input. Not here: what to do with a frame (`plane`), where frames come from (`port`).

pub mod build;
pub mod checksum;
pub mod frame;
pub mod icmp;
pub mod ip;
pub mod parse;
pub mod plain;
pub mod rewrite;
pub mod tcp_options;

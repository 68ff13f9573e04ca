//! Content switching, the deciding half: what a request says, and what the rules make of it. Pure.
pub mod body;
mod bytes;
pub mod cookie;
pub mod hash;
pub mod head;
pub mod hello;
mod host;
pub mod path;
pub mod refusal;
pub mod response;

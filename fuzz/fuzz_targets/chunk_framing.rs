#![no_main]

#[path = "../checks/chunk_framing.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::check(data));

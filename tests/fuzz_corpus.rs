//! The fuzz targets' corpora, replayed: what once was interesting stays so. And each check against many damaged copies of
//! each input, so that the checks are run here too, where no fuzzer is.

#![allow(missing_docs, unreachable_pub)]

use std::fs;
use std::path::Path;

#[path = "../fuzz/checks/chunk_framing.rs"]
mod chunk_framing;
#[path = "../fuzz/checks/client_hello.rs"]
mod client_hello;
#[path = "../fuzz/checks/request_head.rs"]
mod request_head;
#[path = "../fuzz/checks/segments.rs"]
mod segments;

/// Runs a check on every file of its corpus, and on damaged copies of it.
fn replay(target: &str, check: fn(&[u8]), copies: u64) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&corpus).expect("a corpus").map(|file| file.expect("a file").path()).collect();
    files.sort();
    assert!(files.len() >= 8, "{} inputs in {}", files.len(), corpus.display());
    for (n, file) in files.iter().enumerate() {
        let input = fs::read(file).expect("a readable file");
        check(&input);
        let mut coins = fastrand::Rng::with_seed(n as u64);
        for _ in 0..copies {
            check(&damaged(&input, &mut coins));
        }
    }
}

fn damaged(input: &[u8], coins: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..coins.usize(1..6) {
        let at = coins.usize(0..=bytes.len());
        match coins.u8(0..5) {
            0 => bytes.insert(at, coins.u8(..)),
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 if at < bytes.len() => bytes[at] ^= 1 << coins.u8(0..8),
            3 if at < bytes.len() => bytes[at] = *coins.choice(b"\r\n\0 :;/.%0aF").expect("some"),
            _ => {
                let to = coins.usize(at..=bytes.len().min(at + 40));
                let copy = bytes[at..to].to_vec();
                let place = coins.usize(0..=bytes.len());
                bytes.splice(place..place, copy);
            }
        }
    }
    bytes
}

#[test]
fn request_heads() {
    replay("request_head", request_head::check, 2_000);
}

#[test]
fn chunk_framings() {
    replay("chunk_framing", chunk_framing::check, 2_000);
}

#[test]
fn client_hellos() {
    replay("client_hello", client_hello::check, 500);
}

#[test]
fn segment_sequences() {
    replay("segments", segments::check, 500);
}

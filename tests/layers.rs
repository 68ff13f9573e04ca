//! The layers of the house. A room imports only what its row of [`LAYERS`] allows; clocks and tasks live only in
//! [`THIN`] places; `unsafe` only in [`UNSAFE_ROOMS`]. The same table is in the README of the rooms, `src/lib.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Layer, room, and the rooms it may import. `*` means every room.
const LAYERS: &[(u8, &str, &[&str])] = &[
    (0, "base", &[]),
    (1, "wire", &["base"]),
    (1, "acm", &["base"]),
    (2, "beacon", &["base", "acm"]),
    (2, "port", &["base", "wire"]),
    (2, "content", &["base", "acm"]),
    (2, "ironware", &["base", "acm"]),
    (2, "health", &["base", "wire", "acm"]),
    (3, "plane", &["base", "wire", "acm", "content"]),
    (4, "switch", &["base", "wire", "acm", "plane", "port", "health"]),
    (3, "api", &["base", "acm"]),
    (3, "manager", &["base", "acm", "beacon"]),
    (3, "operator", &["base", "acm", "beacon"]),
    (3, "agent", &["base", "acm", "beacon"]),
    (4, "driver", &["base", "acm", "ironware", "api"]),
    (4, "console", &["base", "acm", "ironware"]),
    (5, "lab", &["*"]),
    (5, "cli", &["*"]),
];

/// Rooms that read the contract's data, never the trait, and the modules of `acm` they may not see.
const DATA_ONLY: &[&str] = &["content", "ironware", "plane"];
const NOT_FOR_THEM: &[&str] = &["switch", "model", "chaos", "conformance", "connect", "wait", "event_log"];

/// Modules of `api` the drivers may see: its schema, not its server.
const SCHEMA: &[&str] = &["schema"];

/// Files that may read a clock or start a task.
const THIN: &[&str] = &["src/switch/worker.rs", "src/port/", "src/lab/", "src/cli/"];

/// Rooms that may hold `unsafe`.
const UNSAFE_ROOMS: &[&str] = &["src/port/", "src/lab/"];

fn sources() -> Vec<(String, String)> {
    fn walk(dir: &Path, into: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).expect("src is readable") {
            let path = entry.expect("an entry of src").path();
            if path.is_dir() {
                walk(&path, into);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                into.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    walk(&root.join("src"), &mut files);
    files.sort();
    let read = |path: PathBuf| {
        let name = path.strip_prefix(root).expect("below the root").to_string_lossy().replace('\\', "/");
        (name, fs::read_to_string(&path).expect("a source file is text"))
    };
    files.into_iter().map(read).collect()
}

/// The code of a file: without comments, and without its unit tests, which may use anything.
fn code(text: &str) -> String {
    let production = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    production.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Every `crate::room` and `crate::room::module` that code names, also inside `crate::{a, b}`.
fn imports(code: &str) -> Vec<(String, Option<String>)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let names: Vec<&str> = match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap_or_default().split(',').map(str::trim).collect(),
            None => vec![rest],
        };
        for name in names {
            let mut parts = name
                .split("::")
                .map(|part| part.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>());
            let Some(room) = parts.next().filter(|room| !room.is_empty()) else { continue };
            found.push((room, parts.next().filter(|module| !module.is_empty())));
        }
    }
    found
}

#[test]
fn rooms_import_only_from_below() {
    let table: BTreeMap<_, _> = LAYERS.iter().map(|(layer, room, may)| (*room, (*layer, *may))).collect();
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        let Some(room) = file.strip_prefix("src/").and_then(|rest| rest.split_once('/')).map(|(room, _)| room) else {
            continue;
        };
        let Some((_, may)) = table.get(room) else {
            wrong.push(format!("{file}: the room `{room}` has no row in the layer table"));
            continue;
        };
        for (other, module) in imports(&code(&text)) {
            let allowed = other == room || may.contains(&"*") || may.contains(&other.as_str());
            if !allowed && table.contains_key(other.as_str()) {
                wrong.push(format!("{file}: `{room}` must not import `{other}`"));
            }
            let module = module.unwrap_or_default();
            if DATA_ONLY.contains(&room) && other == "acm" && NOT_FOR_THEM.contains(&module.as_str()) {
                wrong.push(format!("{file}: `{room}` reads the contract's data, not `acm::{module}`"));
            }
            if room == "driver" && other == "api" && !SCHEMA.contains(&module.as_str()) {
                wrong.push(format!("{file}: a driver shares the schema of the API, not `api::{module}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn rows_are_in_order() {
    let layer: BTreeMap<_, _> = LAYERS.iter().map(|(layer, room, _)| (*room, *layer)).collect();
    for (own, room, may) in LAYERS {
        for other in may.iter().filter(|other| **other != "*") {
            assert!(layer[other] < *own, "`{room}` imports `{other}`, which is not below it");
        }
    }
}

fn is_thin(file: &str) -> bool {
    file.ends_with("/task.rs") || THIN.iter().any(|place| file.starts_with(place))
}

#[test]
fn clocks_and_tasks_live_in_thin_places() {
    let mut wrong = Vec::new();
    for (file, text) in sources().into_iter().filter(|(file, _)| !is_thin(file)) {
        let code = code(&text);
        for word in ["Instant::now", "SystemTime::now", "tokio::spawn", "thread::spawn", "clippy::disallowed_methods"] {
            if code.contains(word) {
                wrong.push(format!("{file}: `{word}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn unsafe_lives_in_two_rooms_and_says_why() {
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        let allowed = UNSAFE_ROOMS.iter().any(|room| file.starts_with(room));
        let lines: Vec<_> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let is_unsafe = line.split("//").next().is_some_and(|code| {
                code.contains("unsafe {") || code.contains("unsafe impl") || code.contains("unsafe fn")
            });
            let says_why = lines[number.saturating_sub(6)..=number].iter().any(|near| near.contains("SAFETY:"));
            if is_unsafe && !(allowed && says_why) {
                wrong.push(format!(
                    "{file}:{}: unsafe {}",
                    number + 1,
                    if allowed { "without SAFETY:" } else { "here" }
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

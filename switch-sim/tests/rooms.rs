//! The rooms of the emulator: what a terminal is does not know what a command means, and the other way round; clocks,
//! sockets and tasks live in thin places.

use std::fs;
use std::path::{Path, PathBuf};

/// A room and the rooms it may not import.
const APART: &[(&str, &[&str])] = &[
    (
        "quirk",
        &["chassis", "commands", "connection", "grammar", "screens", "server", "shell", "simbox", "slb", "terminal"],
    ),
    ("telnet", &["chassis", "commands", "connection", "grammar", "screens", "server", "simbox", "slb", "terminal"]),
    ("terminal", &["chassis", "commands", "connection", "grammar", "screens", "server", "simbox", "slb", "telnet"]),
    ("connection.rs", &["chassis", "commands", "grammar", "screens", "server", "simbox", "slb"]),
    ("server", &["chassis", "commands", "grammar", "screens", "simbox", "slb"]),
    ("chassis", &["connection", "server", "telnet", "terminal"]),
    ("commands", &["connection", "server", "simbox", "telnet", "terminal"]),
    ("grammar", &["chassis", "connection", "server", "simbox", "telnet", "terminal"]),
    ("slb", &["chassis", "commands", "connection", "server", "simbox", "telnet", "terminal"]),
    ("simbox", &["chassis", "commands", "connection", "server", "telnet", "terminal"]),
];

/// Where clocks are read, sockets opened and tasks started.
const THIN: &[&str] = &["server/", "main.rs", "start.rs"];

fn sources(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("src is readable") {
        let path = entry.expect("an entry of src").path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            into.push(path);
        }
    }
}

/// Every file's name below `src` and its code, without comments and unit tests.
fn code() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    files.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a source file is text");
        let production = text.split("#[cfg(test)]").next().unwrap_or_default();
        let code: Vec<&str> = production.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
        (path.strip_prefix(&root).expect("below the root").display().to_string(), code.join("\n"))
    };
    files.into_iter().map(read).collect()
}

#[test]
fn rooms_keep_apart() {
    let mut wrong = Vec::new();
    for (file, code) in code() {
        let room = file.split('/').next().unwrap_or_default();
        let Some((_, apart)) = APART.iter().find(|(name, _)| *name == room) else { continue };
        for other in *apart {
            if code.contains(&format!("crate::{other}::")) || code.contains(&format!("crate::{{{other}")) {
                wrong.push(format!("{file}: `{room}` must not import `{other}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn clocks_sockets_and_tasks_live_in_thin_places() {
    let mut wrong = Vec::new();
    for (file, code) in code() {
        if file.ends_with("/task.rs") || THIN.iter().any(|place| file.starts_with(place)) {
            continue;
        }
        for word in ["Instant::now", "SystemTime::now", "spawn(", "tokio::net", "std::net::Tcp", "tokio::time"] {
            if code.contains(word) {
                wrong.push(format!("{file}: `{word}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

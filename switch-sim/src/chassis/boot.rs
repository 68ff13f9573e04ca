//! Starting: the start-up file is read with the grammar, line by line, as if it were typed at the console.

use super::hand::Line;
use super::mode::Mode;
use super::witness::Deed;
use super::{BadLine, CONSOLE, Chassis};
use crate::quirk::Quirk;
use crate::shell::SessionId;
use crate::slb::config::Config;
use crate::time::Time;

/// Lines of a configuration that say nothing: which version wrote it, and what a screen puts before it.
const HEADINGS: [&str; 6] = [
    "ver ",
    "module ",
    "Building configuration",
    "Current configuration",
    "Startup configuration",
    "Startup-config data",
];

/// The start-up file's lines in the order in which they are read: bindings last, since a file may name virtual servers
/// before real ones.
fn lines_in_order(text: &str) -> Vec<Line> {
    let (mut lines, mut late) = (Vec::new(), Vec::new());
    let (mut block, mut late_block) = ("", "");
    for (at, line) in text.lines().enumerate() {
        let words = line.trim();
        if words == "end" {
            break;
        }
        // `bind` under anything but a virtual server is another command: it stays where it is.
        if words.starts_with('!') || !line.starts_with(char::is_whitespace) && !words.starts_with("bind ") {
            block = "";
        }
        if words.is_empty() || words.starts_with('!') || HEADINGS.iter().any(|heading| words.starts_with(heading)) {
            continue;
        }
        if words.starts_with("server virtual") {
            block = words;
        }
        if words.starts_with("bind ") && !block.is_empty() {
            if late_block != block {
                late_block = block;
                let name = block.split_whitespace().nth(2).unwrap_or_default();
                late.push(Line::of_console(&format!("server virtual {name}"), Some(at + 1)));
            }
            late.push(Line::of_console(words, Some(at + 1)));
        } else {
            lines.push(Line::of_console(words, Some(at + 1)));
        }
    }
    lines.append(&mut late);
    lines
}

impl Chassis {
    /// Reads the start-up file.
    pub(super) fn boot(&mut self, now: Time) {
        self.device.booted_at = now;
        self.session(CONSOLE, |session| session.mode = Mode::Config);
        let text = if self.flash_is_lost { Ok(None) } else { self.device.flash.load() };
        let text = text.unwrap_or_else(|why| {
            let said = format!("the start-up file cannot be read: {why}");
            self.bad_lines.push(BadLine { number: 0, text: String::new(), said });
            None
        });
        self.device.show_saved(text.as_deref());
        self.waiting.extend(lines_in_order(text.as_deref().unwrap_or_default()));
        self.work(now);
    }

    /// Forgets everything since the last `write memory`, and everyone.
    pub(super) fn restart(&mut self, by: SessionId, now: Time) {
        self.device.witness(by, &Deed::Reloaded, now);
        self.flash_is_lost |= self.device.settings.quirks.fires(Quirk::ReloadForgets, now);
        let device = &mut self.device;
        device.config = Config::new(device.settings.limits);
        device.access = device.settings.access.clone();
        device.host.clone_from(&device.settings.hostname);
        device.deleters.clear();
        device.log.clear();
        for (_, session) in device.sessions.iter_mut().filter(|(id, _)| **id != CONSOLE && **id != by) {
            session.ended = true;
        }
        self.waiting.clear();
        self.bad_lines.clear();
        self.boot(now);
    }
}

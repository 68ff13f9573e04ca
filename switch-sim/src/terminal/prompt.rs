//! At the prompt and at questions: what each key does.

use super::{After, Echo, Key, Line, Manner, Quirk, Shell, Stage, Terminal, Time};
use crate::shell::Completion;
use crate::terminal::line::Entered;

impl Terminal {
    /// A new prompt with an empty line behind it.
    pub(super) fn prompt(&mut self, shell: &mut dyn Shell, now: Time) {
        self.line = Line::default();
        if self.manner == Manner::Command {
            self.close();
            return;
        }
        self.stage = Stage::Prompt;
        self.show_prompt(shell, now);
    }

    /// The prompt, and the line as far as it is typed.
    pub(super) fn redraw(&mut self, shell: &mut dyn Shell, now: Time) {
        self.stage = Stage::Prompt;
        self.show_prompt(shell, now);
        let looks = self.looks(Echo::Plain, now);
        let line = &self.line;
        self.outlet.write(&self.settings.quirks, now, |screen| line.redraw(looks, screen));
    }

    fn show_prompt(&mut self, shell: &mut dyn Shell, now: Time) {
        let mut prompt = shell.prompt(self.session);
        for notice in std::mem::take(&mut self.held) {
            let places: Vec<usize> = prompt.char_indices().map(|(at, _)| at).collect();
            let at = places.get(self.settings.quirks.pick(places.len())).copied().unwrap_or_default();
            prompt.insert_str(at, &notice);
        }
        self.say(&prompt, now);
    }

    pub(super) fn prompt_key(&mut self, key: Key, shell: &mut dyn Shell, now: Time) {
        if self.is_swallowed(key, now) {
            return;
        }
        match key {
            Key::Enter => self.enter(shell, now),
            Key::Char(b'?') if self.line.before().last() != Some(&b'\\') => {
                let lines = shell.help(self.session, &self.so_far());
                self.say("?\n", now);
                self.answer(lines, After::Draft, shell, now);
            }
            Key::Complete => self.complete(shell, now),
            Key::Interrupt => self.interrupt('C', shell, now),
            Key::Leave => self.interrupt('Z', shell, now),
            Key::Redraw => {
                self.say("\n", now);
                self.redraw(shell, now);
            }
            Key::Older | Key::Newer => {
                let recalled = match key {
                    Key::Older => self.history.older(self.line.bytes()),
                    _ => self.history.newer(),
                };
                let looks = self.looks(Echo::Plain, now);
                let line = &mut self.line;
                self.outlet.write(&self.settings.quirks, now, |screen| {
                    recalled.into_iter().for_each(|text| line.replace(&text, looks, screen));
                });
            }
            _ => self.edit(key, Echo::Plain, now),
        }
    }

    /// The quirk decides at a line's first character; the line goes with its Enter.
    fn is_swallowed(&mut self, key: Key, now: Time) -> bool {
        if !self.swallowing && self.line.is_empty() && matches!(key, Key::Char(_)) {
            self.swallowing = self.settings.quirks.fires(Quirk::SwallowInput, now);
        }
        let swallowed = self.swallowing;
        self.swallowing &= key != Key::Enter;
        swallowed
    }

    fn enter(&mut self, shell: &mut dyn Shell, now: Time) {
        self.end_line(now);
        self.history.push(self.line.bytes());
        match self.line.enter() {
            Entered::TooLong => {
                self.refuse_long_line(now);
                self.prompt(shell, now);
            }
            Entered::Text(line) if line.trim().is_empty() => self.prompt(shell, now),
            Entered::Text(line) => {
                // `\?` is how a question mark is typed without asking for help.
                let reply = shell.submit(self.session, &line.replace("\\?", "?"), now);
                self.reply(reply, shell, now);
            }
        }
    }

    /// The line up to the cursor, as the grammar reads it.
    fn so_far(&self) -> String {
        String::from_utf8_lossy(self.line.before()).replace("\\?", "?")
    }

    fn complete(&mut self, shell: &mut dyn Shell, now: Time) {
        match shell.complete(self.session, &self.so_far()) {
            Completion::Rest(rest) => {
                let looks = self.looks(Echo::Plain, now);
                let line = &mut self.line;
                self.outlet.write(&self.settings.quirks, now, |screen| line.insert(rest.as_bytes(), looks, screen));
            }
            Completion::Lines(lines) => {
                self.say("\n", now);
                self.answer(lines, After::Draft, shell, now);
            }
        }
    }

    fn interrupt(&mut self, key: char, shell: &mut dyn Shell, now: Time) {
        self.end_line(now);
        let reply = shell.interrupt(self.session, key, now);
        self.reply(reply, shell, now);
    }

    pub(super) fn question_key(&mut self, key: Key, shell: &mut dyn Shell, now: Time) {
        let Stage::Question(echo) = self.stage else { return };
        match key {
            Key::Enter => {
                self.end_line(now);
                match self.line.enter() {
                    Entered::TooLong => {
                        self.refuse_long_line(now);
                        let reply = shell.interrupt(self.session, 'C', now);
                        self.reply(reply, shell, now);
                    }
                    Entered::Text(line) => {
                        let reply = shell.answer(self.session, &line, now);
                        self.reply(reply, shell, now);
                    }
                }
            }
            Key::Interrupt => self.interrupt('C', shell, now),
            Key::Leave => self.interrupt('Z', shell, now),
            _ => self.edit(key, echo, now),
        }
    }
}

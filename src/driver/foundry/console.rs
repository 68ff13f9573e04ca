//! Typed commands on a link: goes to the mode that a command belongs to, types it, and judges what came back.
//!
//! A configuration command that succeeds says nothing, so any line is a refusal, a warning or a notice. The prompt says
//! where one is; where it should have changed and has not, the command failed.

use super::command::{Command, Place};
use super::session::{Answer, Event, Failure};
use super::task::Link;

/// Why a command came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    /// The session is over; whether the command took effect is not known.
    #[error("{0}")]
    Broken(Failure),
    /// The command was mangled on its way; what became of it is not known.
    #[error("`{command}` was not understood: {said}")]
    Garbled { command: String, said: String },
    /// The box refused it, in these words.
    #[error("it refused `{command}`: {said}")]
    Refused { command: String, said: String },
}

/// A link, and the mode it is in.
pub(super) struct Console {
    link: Link,
    mode: String,
}

impl Console {
    pub(super) fn new(link: Link) -> Console {
        Console { link, mode: String::new() }
    }

    /// Whether the box is still there.
    pub(super) async fn is_alive(&mut self) -> bool {
        self.link.is_alive().await
    }

    /// Servers whose deletion was announced since the last call.
    pub(super) fn take_deleted(&mut self) -> Vec<String> {
        self.link.take_deleted()
    }

    /// Runs a command in its place; the answer's lines.
    ///
    /// # Errors
    /// See [`Trouble`]; after anything but `Refused` the console is of no use any more.
    pub(super) async fn run(&mut self, command: &Command) -> Result<String, Trouble> {
        match command.place() {
            Place::Anywhere => {}
            Place::Config => self.configure().await?,
            Place::Real(name, ip) => self.enter(&Command::Real(name, ip)).await?,
            Place::Virtual(name) => self.enter(&Command::EnterVirtual(name)).await?,
            Place::PortProfile(port) => self.enter(&Command::PortProfile(port)).await?,
            Place::Block(kind, name) => self.enter(&Command::Block(kind, name)).await?,
        }
        self.type_in(command).await
    }

    async fn configure(&mut self) -> Result<(), Trouble> {
        match self.mode.is_empty() {
            true => self.type_in(&Command::ConfigureTerminal).await.map(drop),
            false => Ok(()),
        }
    }

    async fn enter(&mut self, door: &Command) -> Result<(), Trouble> {
        if door.has_led_to(&self.mode) {
            return Ok(());
        }
        self.configure().await?;
        self.type_in(door).await.map(drop)
    }

    async fn type_in(&mut self, command: &Command) -> Result<String, Trouble> {
        let line = command.to_string();
        let Answer { text, mode } = match self.link.ask(&line).await {
            Event::Answer(answer) => answer,
            Event::Garbled { command, said } => return Err(Trouble::Garbled { command, said }),
            Event::Over(failure) => return Err(Trouble::Broken(failure)),
            Event::Ready => return Err(Trouble::Garbled { command: line, said: "it logged in again".into() }),
        };
        self.mode = mode;
        let said = match command.is_silent() {
            true => spoken(&text),
            false => complaint(&text),
        };
        if let Some(said) = said {
            return Err(Trouble::Refused { command: line, said });
        }
        match command.leads_to() {
            Some(wanted) if !command.has_led_to(&self.mode) => {
                let said = format!("nothing, and its prompt shows `{}` instead of `{wanted}`", self.mode);
                Err(Trouble::Refused { command: line, said })
            }
            _ => Ok(text),
        }
    }
}

/// What a command said that should have been silent. Warnings do not mean that it failed.
fn spoken(text: &str) -> Option<String> {
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let (warnings, said): (Vec<_>, Vec<_>) = lines.into_iter().partition(|line| line.starts_with("Warning:"));
    for warning in warnings {
        tracing::debug!(warning, "the switch warns");
    }
    (!said.is_empty()).then(|| said.join(" | ").chars().take(300).collect())
}

/// The complaint in front of what should have been a screen.
fn complaint(text: &str) -> Option<String> {
    const COMPLAINTS: [&str; 6] = ["invalid input", "incomplete", "ambiguous", "error", "%", "unrecognized"];
    let first = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    let lower = first.to_ascii_lowercase();
    COMPLAINTS.iter().any(|word| lower.starts_with(word)).then(|| first.chars().take(300).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_success() {
        assert_eq!(spoken("\n  \n"), None);
        assert_eq!(spoken("Warning: 1 user(s) already in config mode."), None);
        let said = "Invalid input -> bind x\nType ? for a list\n";
        assert_eq!(spoken(said).as_deref(), Some("Invalid input -> bind x | Type ? for a list"));
        assert_eq!(complaint(said).as_deref(), Some("Invalid input -> bind x"));
        assert_eq!(complaint("\nReal Servers Info\n"), None);
    }
}

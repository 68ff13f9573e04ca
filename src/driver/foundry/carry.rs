//! Carrying a plan out: its commands typed one by one, connections counted before they are cut and waited for
//! afterwards, and what a refusal leaves half done taken back.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::command::{Command, Pair};
use super::console::Trouble;
use super::name::{self, Kind};
use super::plan::{Ending, Plan};
use super::session::SILENCE_MAX;
use super::switch::{Desk, FoundrySwitch, Setback};
use super::task::pause;
use crate::acm::error::{AcmError, Feature};

/// How long a server that is being deleted may stand in the way of its successor.
const LEAVING_MAX: Duration = Duration::from_secs(15);
/// How often to look whether it is gone.
const LEAVING_POLL: Duration = Duration::from_millis(100);

impl FoundrySwitch {
    /// Types a plan's commands. Connections that they cut are counted.
    pub(super) async fn carry_out(&self, desk: &mut Desk, plan: &Plan, cut: &mut Option<u64>) -> Result<(), Setback> {
        let Some(ends) = &plan.ends else { return self.type_all(desk, &plan.commands).await };
        let count = self.count(desk, ends).await?;
        *cut = (*cut).max(Some(count));
        self.type_all(desk, &plan.commands).await?;
        if count > 0 { self.await_end(desk, ends).await } else { Ok(()) }
    }

    pub(super) async fn type_all(&self, desk: &mut Desk, commands: &[Command]) -> Result<(), Setback> {
        for (done, command) in commands.iter().enumerate() {
            match self.type_one(desk, command).await {
                Ok(()) => {}
                Err(Trouble::Refused { command: line, said }) => {
                    self.take_back(desk, &commands[..done]).await;
                    return Err(self.refusal(command, &line, &said));
                }
                Err(trouble) => return Err(self.setback(&trouble)),
            }
        }
        Ok(())
    }

    /// A refusal of a changing command. What is known may be wrong, so the caller forgets it either way.
    fn refusal(&self, command: &Command, line: &str, said: &str) -> Setback {
        let why = format!("{} refused `{line}`: {said}", self.settings.address);
        let lower = said.to_ascii_lowercase();
        if *command == Command::ConfigureTerminal || line == Command::ConfigureTerminal.to_string() {
            return Setback::Final(AcmError::Unreachable { why });
        }
        // `successfully` is no `full`.
        let is_full = lower.split(|c: char| !c.is_alphanumeric()).any(|word| word == "full");
        if is_full || ["maximum", "max ", "no more", "limit"].iter().any(|word| lower.contains(word)) {
            let max = lower.split(|c: char| !c.is_ascii_digit()).rfind(|digits| !digits.is_empty());
            let max = max.and_then(|digits| digits.parse().ok()).unwrap_or(0);
            return Setback::Final(AcmError::Full { what: why, max });
        }
        Setback::Final(AcmError::invalid("switch", why))
    }

    /// One command. A server that is being deleted may stand in its way for a while.
    async fn type_one(&self, desk: &mut Desk, command: &Command) -> Result<(), Trouble> {
        let give_up = self.clock.now() + LEAVING_MAX;
        loop {
            let result = desk.console.run(command).await;
            for name in desk.console.take_deleted() {
                desk.leaving.remove(&name);
            }
            match result {
                Ok(_) => break,
                Err(Trouble::Refused { said, .. })
                    if is_leaving(&desk.leaving, command, &said) && self.clock.now() < give_up =>
                {
                    pause(LEAVING_POLL).await;
                }
                Err(trouble) => return Err(trouble),
            }
        }
        if let Command::NoReal(name) | Command::NoRealPort(Pair { real: name, .. }, _) = command {
            desk.leaving.insert(name.to_string());
        }
        if let Some(view) = &mut desk.view {
            view.config.apply(command);
        }
        Ok(())
    }

    /// Undoes what a refused plan had done already, last first.
    async fn take_back(&self, desk: &mut Desk, done: &[Command]) {
        for command in done.iter().rev().filter_map(Command::undo) {
            if let Err(trouble) = self.type_one(desk, &command).await {
                tracing::warn!(%trouble, "a refused primitive could not be taken back whole");
                break;
            }
        }
        desk.view = None;
    }

    /// The live connections of these ports. Where they may not be cut there must be none.
    pub(super) async fn count(&self, desk: &mut Desk, ends: &[Ending]) -> Result<u64, Setback> {
        let servers: BTreeSet<_> = ends.iter().map(|ending| Arc::clone(&ending.pair.real)).collect();
        let mut sum = 0;
        for server in servers {
            let table = self.read_table(desk, Command::ShowReal(Some(Arc::clone(&server)))).await?;
            for Ending { pair, cuts } in ends.iter().filter(|ending| ending.pair.real == server) {
                let row = table.get(&*server).and_then(|row| row.ports.get(&pair.port));
                let Some(row) = row else {
                    let why = format!("its table of real servers lacks port {} of `{server}`", pair.port);
                    return Err(Setback::Again(self.unreachable(why)));
                };
                if row.current > 0 && !cuts {
                    let why = format!(
                        "{} connections of port {} of {server} would be cut, which {} does not do reliably for one \
                         binding; Remove it and wait until it is empty",
                        row.current, pair.port, desk.personality
                    );
                    return Err(Setback::Final(AcmError::unsupported(Feature::ForceRemove, why)));
                }
                sum += row.current;
            }
        }
        Ok(sum)
    }

    /// Waits until the box has cut what it was told to.
    async fn await_end(&self, desk: &mut Desk, ends: &[Ending]) -> Result<(), Setback> {
        let give_up = self.clock.now() + SILENCE_MAX;
        loop {
            let mut left = 0;
            for Ending { pair, .. } in ends {
                let table = self.read_table(desk, Command::ShowReal(Some(Arc::clone(&pair.real)))).await?;
                let row = table.get(&*pair.real).and_then(|row| row.ports.get(&pair.port));
                left += row.map_or(0, |row| row.current);
            }
            if left == 0 {
                return Ok(());
            }
            if self.clock.now() >= give_up {
                let waited_for = format!("{left} connections to end, which `clear server session` did not do at once");
                return Err(Setback::Final(AcmError::Timeout { waited_for }));
            }
            pause(LEAVING_POLL).await;
        }
    }
}

/// Whether a refusal is about a server that is still being deleted.
fn is_leaving(leaving: &HashSet<String>, command: &Command, said: &str) -> bool {
    let name = match command {
        Command::Real(name, _) | Command::RealPort(Pair { real: name, .. }, _) => name,
        Command::Bind(_, _, pair) => &pair.real,
        // It still has the address.
        Command::CreateVirtual(_, ip) => return leaving.contains(&name::encode(Kind::Real, *ip)),
        _ => return false,
    };
    leaving.contains(&**name) || said.to_ascii_lowercase().contains("delet")
}

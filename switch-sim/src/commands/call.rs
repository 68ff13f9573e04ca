//! A command on its way: what its function asks of the line, the session and the device.

use super::{Action, Run, Step, Trouble};
use crate::chassis::device::Device;
use crate::chassis::mode::Mode;
use crate::grammar::word::{BadName, Value};
use crate::grammar::{Form, Found};
use crate::shell::SessionId;
use crate::slb::block::BlockKind;
use crate::slb::change::{Change, Place, Refusal};
use crate::slb::words::{NAME_MAX, Name, NotAName, Port};
use crate::time::Time;

/// See the module.
pub(crate) struct Call<'c> {
    pub(crate) device: &'c mut Device,
    pub(crate) session: SessionId,
    pub(crate) found: &'c Found<Action>,
    pub(crate) now: Time,
}

impl Call<'_> {
    /// Does what the row says.
    pub(crate) fn run(&mut self) -> Result<Step, Trouble> {
        match self.found.row.action.run {
            Run::Do(function) => function(self),
            Run::Keep => self.keep(),
            Run::Block(kind) => self.enter_block(kind),
        }
    }

    pub(crate) fn form(&self) -> Form {
        self.found.form
    }

    /// The n-th name.
    pub(crate) fn name(&self, n: usize) -> Result<Name, Trouble> {
        match self.found.arguments.name(n) {
            Some(Ok(name)) => Ok(name.clone()),
            Some(Err(bad)) => Err(bad_name(bad).into()),
            None => Err(Trouble::Incomplete),
        }
    }

    /// The n-th port.
    pub(crate) fn port(&self, n: usize) -> Result<Port, Trouble> {
        self.found.arguments.port(n).copied().ok_or(Trouble::Incomplete)
    }

    /// The number of a line; `None` behind `no`, which asks for the default.
    pub(crate) fn value(&self) -> Result<Option<u32>, Trouble> {
        match self.form() {
            Form::Plain => self.found.arguments.number(0).copied().map(Some).ok_or(Trouble::Incomplete),
            Form::No => Ok(None),
        }
    }

    /// The one server or policy that a screen is asked for, as it was typed.
    pub(crate) fn wanted(&self) -> Option<&str> {
        self.found.arguments.name(0).map(|name| match name {
            Ok(name) => name.as_str(),
            Err(bad) => bad.text.as_str(),
        })
    }

    /// The mode of the session.
    pub(crate) fn mode(&self) -> Mode {
        self.device.standing(self.session).0.clone()
    }

    /// The real server whose mode this is.
    pub(crate) fn real(&self) -> Result<Name, Trouble> {
        match self.mode() {
            Mode::Real(name) => Ok(name),
            _ => Err(Trouble::Incomplete),
        }
    }

    /// The virtual server whose mode this is.
    pub(crate) fn virtual_server(&self) -> Result<Name, Trouble> {
        match self.mode() {
            Mode::Virtual(name) => Ok(name),
            _ => Err(Trouble::Incomplete),
        }
    }

    /// The place that a line of this mode is about.
    pub(crate) fn place(&self) -> Result<Place, Trouble> {
        // A line of `(config)` that was entered in a mode below it.
        if self.found.rank > 0 {
            return Ok(Place::System);
        }
        let of_port = self.found.line.starts_with("port ").then(|| self.port(0)).transpose()?;
        Ok(match (self.mode(), of_port) {
            (Mode::Real(name), Some(port)) => Place::RealPort(name, port),
            (Mode::Real(name), None) => Place::Real(name),
            (Mode::Virtual(name), Some(port)) => Place::VirtualPort(name, port),
            (Mode::Virtual(name), None) => Place::Virtual(name),
            (Mode::Block { kind, name, .. }, _) => Place::Block(kind, name),
            _ => Place::System,
        })
    }

    /// The change that keeps this line, or takes the one of the same key away.
    pub(crate) fn kept(&self, line: Option<String>) -> Result<Change, Trouble> {
        let place = self.place()?;
        let prefix = match place {
            Place::RealPort(_, port) | Place::VirtualPort(_, port) => format!("port {port} "),
            _ => String::new(),
        };
        let behind = |text: &str| text.strip_prefix(&prefix).unwrap_or(text).trim_end().to_owned();
        let line = line.filter(|_| self.form() == Form::Plain).map(|line| behind(&line));
        Ok(Change::SetLine { place, key: behind(&self.found.key), line })
    }

    fn keep(&self) -> Result<Step, Trouble> {
        Ok(Step::Change(self.kept(Some(self.found.line.clone()))?, None))
    }

    fn enter_block(&self, kind: BlockKind) -> Result<Step, Trouble> {
        let name = match self.found.arguments.values().first() {
            Some(Value::Name(Ok(name))) => name.clone(),
            Some(Value::Name(Err(bad))) => return Err(bad_name(bad).into()),
            Some(Value::Number(number)) => Name::new(&number.to_string()).map_err(|_| Trouble::Incomplete)?,
            Some(Value::Text(text)) => Name::new(text).map_err(|_| Refusal::BadName { name: text.clone() })?,
            _ => return Err(Trouble::Incomplete),
        };
        Ok(match self.form() {
            Form::No => Step::Change(Change::RemoveBlock { kind, name }, Some(Mode::Config)),
            Form::Plain => {
                let mode = Mode::Block { kind, name: name.clone(), shown: name.to_string() };
                let header = self.found.line.clone();
                Step::Change(Change::AddBlock { kind, name, header }, Some(mode))
            }
        })
    }
}

fn bad_name(bad: &BadName) -> Refusal {
    let name = bad.text.chars().take(2 * NAME_MAX).collect();
    match bad.why {
        NotAName::TooLong => Refusal::NameTooLong { name },
        NotAName::Empty | NotAName::Character => Refusal::BadName { name },
    }
}

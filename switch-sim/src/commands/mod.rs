//! The commands: tables of rows, and what each row does.
//!
//! A row's function never waits and never prints: it says what is to be done ([`Step`]), and the chassis does it. A function
//! that only fills in a line of the configuration does not exist: such rows are [`set`] and share one function.

mod config;
mod exec;
mod real;
mod show;
mod virtual_server;

use std::sync::LazyLock;

use crate::chassis::access::Level;
use crate::chassis::device::Device;
use crate::chassis::mode::Mode;
use crate::grammar::word::BadName;
use crate::grammar::{Form, Found, Grammar, Row, Table, Undo};
use crate::personality::Personality;
use crate::shell::{Echo, SessionId};
use crate::slb::balancer::Ability;
use crate::slb::change::{Change, Place, Refusal};
use crate::slb::words::{NAME_MAX, Name, NotAName, Port};
use crate::time::Time;

/// What a row does, and who may.
#[derive(Debug)]
pub(crate) struct Action {
    run: Run,
    /// The least privileged level that may.
    level: Level,
    /// The personalities that know the command, as bits.
    on: u8,
    needs: Option<Ability>,
}

/// The function of a row.
type Function = fn(&mut Call<'_>) -> Result<Step, Trouble>;

#[derive(Debug, Clone, Copy)]
enum Run {
    /// Calls it.
    Do(Function),
    /// Keeps the line in the configuration, at the place of the mode.
    Keep,
}

/// A command on its way.
pub(crate) struct Call<'c> {
    pub(crate) device: &'c mut Device,
    pub(crate) session: SessionId,
    pub(crate) found: &'c Found<Action>,
    pub(crate) now: Time,
}

/// What a command asks the chassis to do.
pub(crate) enum Step {
    /// Print this; nothing, mostly.
    Say(Vec<String>),
    /// Go to another mode.
    Enter(Mode),
    /// Change the configuration, if it and the box agree, then go to the mode.
    Change(Change, Option<Mode>),
    /// Bring the box's reports up to date, then print what this says.
    Show(fn(&Call<'_>) -> Vec<String>),
    /// Ask.
    Ask { question: String, echo: Echo, asked: Question },
    /// End the session.
    Close,
    /// Forget everything since the last `write memory`.
    Reload,
}

/// A question that waits for an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Question {
    /// `enable` wants a user's name.
    EnableName,
    /// `enable` wants a password; of this user, if one was named.
    EnablePassword(Option<String>),
    /// `reload` wants a `y`.
    Reload,
}

/// Why a command is not done.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// A value that this form needs was left out.
    Incomplete,
    /// The device refuses.
    Refused(Refusal),
    /// What the device says.
    Said(Vec<String>),
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Trouble {
        Trouble::Refused(refusal)
    }
}

const XL: u8 = 1;
const ADX: u8 = 2;
const ACM: u8 = 4;

fn bit(personality: Personality) -> u8 {
    match personality {
        Personality::Xl => XL,
        Personality::Adx => ADX,
        Personality::Acm => ACM,
    }
}

const fn row(pattern: &'static str, help: &'static str, run: Run, undo: Undo) -> Row<Action> {
    let action = Action { run, level: Level::SUPER_USER, on: XL | ADX | ACM, needs: None };
    Row { pattern, help, undo, action }
}

/// A command with a function, without a `no` form but those that have rows of their own.
const fn run(pattern: &'static str, help: &'static str, function: Function) -> Row<Action> {
    row(pattern, help, Run::Do(function), Undo::Never)
}

/// A command with a function that also understands `no` in front.
const fn both(pattern: &'static str, help: &'static str, function: Function) -> Row<Action> {
    row(pattern, help, Run::Do(function), Undo::WithNo)
}

/// A line that the configuration keeps, and `no` takes away.
const fn set(pattern: &'static str, help: &'static str) -> Row<Action> {
    row(pattern, help, Run::Keep, Undo::WithNo)
}

impl Row<Action> {
    /// Also for less privileged users.
    const fn level(mut self, level: Level) -> Self {
        self.action.level = level;
        self
    }

    /// Only on these personalities.
    const fn on(mut self, personalities: u8) -> Self {
        self.action.on = personalities;
        self
    }

    /// Only if the box can do this.
    const fn needs(mut self, ability: Ability) -> Self {
        self.action.needs = Some(ability);
        self
    }
}

/// The tables of all modes.
struct Tables {
    user: Table<Action>,
    privileged: Table<Action>,
    everywhere: Table<Action>,
    in_config: Table<Action>,
    config: Table<Action>,
    real: Table<Action>,
    virtual_server: Table<Action>,
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| Tables {
    user: Table::new(exec::USER),
    privileged: Table::new(exec::PRIVILEGED.iter().chain(exec::SAVING)),
    everywhere: Table::new(show::ROWS.iter().chain(exec::EVERYWHERE)),
    in_config: Table::new(exec::IN_CONFIG.iter().chain(exec::SAVING)),
    config: Table::new(config::ROWS),
    real: Table::new(real::ROWS),
    virtual_server: Table::new(virtual_server::ROWS),
});

/// Runs `use_it` with the grammar of this session's mode.
pub(crate) fn with_grammar<T>(
    device: &Device,
    session: SessionId,
    use_it: impl FnOnce(&Grammar<'_, Action>) -> T,
) -> T {
    let tables = &*TABLES;
    let (mode, level) = device.standing(session);
    let personality = bit(device.settings.personality);
    let may = |row: &'static Row<Action>| {
        row.action.on & personality != 0
            && (row.action.level >= level || device.access_exceptions(row.pattern, level))
            && row.action.needs.is_none_or(|ability| device.balancer.able(ability))
    };
    let own: Vec<(u8, &Table<Action>)> = match mode {
        Mode::User => vec![(0, &tables.user), (0, &tables.everywhere)],
        Mode::Privileged => vec![(0, &tables.privileged), (0, &tables.everywhere)],
        Mode::Config => vec![(0, &tables.config), (0, &tables.in_config), (0, &tables.everywhere)],
        Mode::Real(_) => in_block(&tables.real, tables),
        Mode::Virtual(_) => in_block(&tables.virtual_server, tables),
        Mode::Block { .. } => in_block(&tables.real, tables),
    };
    use_it(&Grammar::new(&own, &may, meaning))
}

/// A mode below `(config)`: its own words, those that hold in all of them, and behind them those of `(config)`.
fn in_block<'t>(own: &'t Table<Action>, tables: &'t Tables) -> Vec<(u8, &'t Table<Action>)> {
    vec![(0, own), (0, &tables.in_config), (0, &tables.everywhere), (1, &tables.config)]
}

/// What a keyword means where no row says it.
fn meaning(keyword: &str) -> &'static str {
    match keyword {
        "no" => "Undo or disable",
        "server" => "Server load balancing",
        "show" => "Display system information",
        "clear" => "Clear table, statistics or sessions",
        "configure" => "Enter configuration mode",
        "write" => "Save or display the configuration",
        "port" => "Application port",
        _ => "",
    }
}

impl Call<'_> {
    /// Does what the row says.
    pub(crate) fn run(&mut self) -> Result<Step, Trouble> {
        match self.found.row.action.run {
            Run::Do(function) => function(self),
            Run::Keep => self.keep(),
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

    /// Keeps or removes the line at the place where the session stands.
    fn keep(&self) -> Result<Step, Trouble> {
        let of_port = self.found.line.starts_with("port ").then(|| self.port(0)).transpose()?;
        let place = match (self.mode(), of_port) {
            (Mode::Real(name), Some(port)) => Place::RealPort(name, port),
            (Mode::Real(name), None) => Place::Real(name),
            (Mode::Virtual(name), Some(port)) => Place::VirtualPort(name, port),
            (Mode::Virtual(name), None) => Place::Virtual(name),
            (Mode::Block { kind, name, .. }, _) => Place::Block(kind, name),
            (Mode::Config | Mode::Privileged | Mode::User, _) => Place::System,
        };
        let prefix = of_port.map_or(String::new(), |port| format!("port {port} "));
        let behind = |text: &str| text.strip_prefix(&prefix).unwrap_or(text).trim_end().to_owned();
        let line = match self.form() {
            Form::Plain => Some(behind(&self.found.line)),
            Form::No => None,
        };
        Ok(Step::Change(Change::SetLine { place, key: behind(&self.found.key), line }, None))
    }
}

fn bad_name(bad: &BadName) -> Refusal {
    let name = bad.text.chars().take(2 * NAME_MAX).collect();
    match bad.why {
        NotAName::TooLong => Refusal::NameTooLong { name },
        NotAName::Empty | NotAName::Character => Refusal::BadName { name },
    }
}

//! The commands: tables of rows, and what each row does.
//!
//! A row's function never waits and never prints: it says what is to be done ([`Step`]), and the chassis does it. A function
//! that only fills in a line of the configuration does not exist: such rows are [`set`] and share one function.

mod blocks;
mod config;
mod content;
mod exec;
mod health;
mod real;
mod show;
mod system;
mod virtual_server;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::chassis::access::Level;
use crate::chassis::device::Device;
use crate::chassis::mode::Mode;
use crate::grammar::word::{BadName, Value};
use crate::grammar::{Form, Found, Grammar, Row, Table, Undo};
use crate::personality::Personality;
use crate::shell::{Echo, SessionId};
use crate::slb::balancer::Ability;
use crate::slb::block::BlockKind;
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
    /// Begins or enters a block, named by the first value.
    Block(BlockKind),
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
    /// The same, with a notice.
    ChangeAndSay(Change, Vec<String>),
    /// Bring the box's reports up to date, then print what this says.
    Show(fn(&Call<'_>) -> Vec<String>),
    /// Ask.
    Ask { question: String, echo: Echo, asked: Question },
    /// End the session.
    Close,
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
/// Those with the newer content switching.
const NEWER: u8 = ADX | ACM;
/// Those with the older one.
const CLASSIC: u8 = XL | ADX;

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

/// The first line of a block; `no` takes the whole block away.
const fn block(pattern: &'static str, help: &'static str, kind: BlockKind) -> Row<Action> {
    row(pattern, help, Run::Block(kind), Undo::WithNo)
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
    barrel: Table<Action>,
    blocks: BTreeMap<BlockKind, Table<Action>>,
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| Tables {
    user: Table::new(joined(&[exec::USER, exec::LOOKING])),
    privileged: Table::new(joined(&[exec::PRIVILEGED, exec::LOOKING, exec::SAVING, show::PRIVILEGED])),
    everywhere: Table::new(joined(&[show::ROWS, exec::EVERYWHERE])),
    in_config: Table::new(joined(&[exec::IN_CONFIG, exec::SAVING, show::PRIVILEGED])),
    config: Table::new(joined(&[config::ROWS, health::CONFIG, content::CONFIG, blocks::CONFIG, system::ROWS])),
    real: Table::new(real::ROWS),
    virtual_server: Table::new(virtual_server::ROWS),
    barrel: Table::new(show::BARREL),
    blocks: BlockKind::ALL.into_iter().map(|kind| (kind, Table::new(rows_of(kind)))).collect(),
});

fn joined(parts: &[&'static [Row<Action>]]) -> impl Iterator<Item = &'static Row<Action>> {
    parts.iter().copied().flatten()
}

fn rows_of(kind: BlockKind) -> &'static [Row<Action>] {
    match kind {
        BlockKind::PortProfile => health::PORT_PROFILE,
        BlockKind::HealthCheck => health::HEALTH_CHECK,
        BlockKind::MatchList => health::MATCH_LIST,
        BlockKind::PortPolicy => health::PORT_POLICY,
        BlockKind::UrlMap => content::URL_MAP,
        BlockKind::CswPolicy => content::CSW_POLICY,
        BlockKind::HttpTrlPolicy => blocks::HTTP_TRL,
        BlockKind::ClientConnectionLimit => blocks::CONNECTION_LIMIT,
        BlockKind::CacheGroup => blocks::CACHE_GROUP,
        BlockKind::Interface => blocks::INTERFACE,
        BlockKind::RoleTemplate => blocks::ROLE_TEMPLATE,
    }
}

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
            && (row.action.level >= level || device.is_opened_for(row.pattern, level))
            && row.action.needs.is_none_or(|ability| device.balancer.able(ability))
    };
    let own: Vec<(u8, &Table<Action>)> = match mode {
        Mode::User => vec![(0, &tables.user), (0, &tables.everywhere)],
        Mode::Privileged => vec![(0, &tables.privileged), (0, &tables.everywhere)],
        Mode::Config => vec![(0, &tables.config), (0, &tables.in_config), (0, &tables.everywhere)],
        Mode::Real(_) => in_block(&tables.real, tables),
        Mode::Virtual(_) => in_block(&tables.virtual_server, tables),
        Mode::Block { kind, .. } => in_block(&tables.blocks[kind], tables),
        Mode::Barrel { .. } => vec![(0, &tables.barrel), (0, &tables.everywhere)],
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

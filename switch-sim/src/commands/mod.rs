//! The commands: tables of rows, and what each row does.
//!
//! A row's function never waits and never prints: it says what is to be done ([`Step`]), and the chassis does it. A function
//! that only fills in a line of the configuration does not exist: such rows are [`set`] and share one function.

mod blocks;
mod call;
mod config;
mod content;
mod exec;
mod health;
mod real;
mod show;
mod system;
mod virtual_server;
mod words;

use std::collections::BTreeMap;
use std::sync::LazyLock;

pub(crate) use call::Call;
use words::meaning;

use crate::chassis::access::Level;
use crate::chassis::device::Device;
use crate::chassis::mode::Mode;
use crate::grammar::{Grammar, Row, Table, Undo};
use crate::personality::Personality;
use crate::shell::{Echo, SessionId};
use crate::slb::balancer::Ability;
use crate::slb::block::BlockKind;
use crate::slb::change::{Change, Refusal};

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
const CLASSIC: u8 = XL | ADX | ACM;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_keyword_has_help() {
        let tables = &*TABLES;
        let all = [
            &tables.user,
            &tables.privileged,
            &tables.everywhere,
            &tables.in_config,
            &tables.config,
            &tables.real,
            &tables.virtual_server,
            &tables.barrel,
        ];
        let words = all.into_iter().chain(tables.blocks.values()).flat_map(Table::keywords_without_help);
        let mute: std::collections::BTreeSet<&str> = words.filter(|word| meaning(word).is_empty()).collect();
        assert!(mute.is_empty(), "nothing to say about {mute:?}");
    }
}

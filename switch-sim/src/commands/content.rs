//! Content switching: the newer grammar (csw-rule, csw-policy) and the older one (url-map).

use super::{Action, CLASSIC, Call, NEWER, Step, Trouble, block, run, set};
use crate::chassis::mode::Mode;
use crate::grammar::Row;
use crate::screens::Text;
use crate::slb::balancer::Ability;
use crate::slb::block::BlockKind;
use crate::slb::change::{Change, Place, Refusal};

/// Rules and policies the device holds, and the longest string of a rule (vendor's manuals).
const RULES_MAX: usize = 512;
const POLICIES_MAX: usize = 256;
const STRING_MAX: usize = 80;

const fn rule(pattern: &'static str, help: &'static str) -> Row<Action> {
    run(pattern, help, csw_rule).on(NEWER).needs(Ability::ContentSwitching)
}

const fn of_policy(pattern: &'static str, help: &'static str) -> Row<Action> {
    set(pattern, help).on(NEWER).needs(Ability::ContentSwitching)
}

/// In the configuration mode.
pub(super) static CONFIG: &[Row<Action>] = &[
    rule("csw-rule <rule*> url exists [case-insensitive]", "The part of the URL behind the host"),
    rule(
        "csw-rule <rule*> url {prefix|suffix|pattern|equals} <text> [case-insensitive]",
        "The part of the URL behind the host",
    ),
    rule("csw-rule <rule*> header <text> exists", "A header of the request"),
    rule(
        "csw-rule <rule*> header <text> {prefix|suffix|pattern|equals} <text> [case-insensitive]",
        "A header of the request",
    ),
    rule(
        "csw-rule <rule*> response-header <text> {prefix|suffix|pattern|equals} <text> [case-insensitive]",
        "A header of the response",
    ),
    rule("csw-rule <rule*> method eq <word>", "The method of the request"),
    rule("csw-rule <rule*> version eq <word>", "The version of HTTP"),
    rule("csw-rule <rule*> nested-rule <text>", "Other rules, joined with && and ||"),
    run("no csw-rule <rule>", "Rule of content switching", no_csw_rule).on(NEWER).needs(Ability::ContentSwitching),
    run("csw-policy <rule> [case-insensitive]", "Policy of content switching", csw_policy)
        .on(NEWER)
        .needs(Ability::ContentSwitching),
    run("no csw-policy <rule>", "Policy of content switching", no_csw_policy)
        .on(NEWER)
        .needs(Ability::ContentSwitching),
    block("url-map <name*>", "Map of URLs to server groups", BlockKind::UrlMap)
        .on(CLASSIC)
        .needs(Ability::ContentSwitching),
];

const PERSIST: &str = "match <rule*> persist offset <0-20000> length <0-20000> [{hash-to-bucket|hash-to-group-server|group-or-server-id}] [secondary]";
const PERSIST_UP_TO: &str = "match <rule*> persist offset <0-20000> terminator <text> [{hash-to-bucket|hash-to-group-server|group-or-server-id}] [secondary]";

/// In `(config-csw-NAME)`.
pub(super) static CSW_POLICY: &[Row<Action>] = &[
    of_policy("match <rule*> forward <0-17407>", "To a server group, or to a server by its id (1024 and up)"),
    of_policy("match <rule*> reset-client", "Reset the client's connection"),
    of_policy("match <rule*> redirect <text> <text> [ssl]", "Send the client to another domain and URL"),
    of_policy("match <rule*> reply-error", "Answer with an error page"),
    of_policy("match <rule*> goto <rule>", "Go on with another policy"),
    of_policy("match <rule*> mirror <0-1023>", "Copy the request to a server group"),
    of_policy("match <rule*> count <1-32>", "Count"),
    of_policy("match <rule*> tcp-offload", "Keep connections to servers"),
    of_policy(PERSIST, "Keep clients with a server by a part of the request"),
    of_policy(PERSIST_UP_TO, "Keep clients with a server by a part of the request"),
    of_policy(
        "match <rule*> persist offset <0-20000> length <0-20000> passive-persist",
        "Keep clients with a server by what it set",
    ),
    of_policy(
        "match <rule*> passive-persist offset <0-20000> length <0-20000>",
        "Keep clients with a server by what it set",
    ),
    of_policy("match <rule*> rewrite insert-cookie [<text>]", "Add a cookie that names the server"),
    of_policy("match <rule*> rewrite request-insert client-ip", "Add the client's address to the request"),
    of_policy("match <rule*> log [<text>]", "Write a line to the log"),
    run(HASH_PERSIST, "Keep URLs with a server", hash_persist).on(NEWER).needs(Ability::ContentSwitching),
    run("no match <rule*> hash-persist", "Keep URLs with a server", no_hash_persist)
        .on(NEWER)
        .needs(Ability::ContentSwitching),
    of_policy("default forward <0-17407>", "To a server group, or to a server by its id"),
    of_policy("default reset-client", "Reset the client's connection"),
    of_policy("default rewrite insert-cookie [<text>]", "Add a cookie that names the server"),
];

const HASH_PERSIST: &str =
    "match <rule*> hash-persist [url] [{complete|path-only|path-and-parameters|host-only|host-and-path}]";

/// In `(config-url-map-NAME)`.
pub(super) static URL_MAP: &[Row<Action>] = &[
    set("method {prefix|suffix|pattern}", "Which part of a URL is compared"),
    set("match <text*> <0-1023>", "Server group of URLs that match"),
    set("default <word>", "Server group, or another map, of all others"),
];

/// A rule is replaced as a whole by another line with its name.
fn csw_rule(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let name = call.name(0)?;
    let long = (0..4).filter_map(|n| call.found.arguments.text(n)).find(|text| text.len() > STRING_MAX);
    if let Some(text) = long {
        let text = text.chars().take(STRING_MAX).collect::<String>();
        return Err(Trouble::Said(call.device.templates.lines(Text::StringTooLong, &[&text, &STRING_MAX])));
    }
    let key = format!("csw-rule \"{name}\"");
    let rules = call.device.config.system();
    if rules.get(&key).is_none() && rules.iter().filter(|(key, _)| key.starts_with("csw-rule ")).count() >= RULES_MAX {
        return Err(Refusal::Full { what: "CSW rules", max: RULES_MAX }.into());
    }
    Ok(Step::Change(Change::SetLine { place: Place::System, key, line: Some(call.found.line.clone()) }, None))
}

fn no_csw_rule(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let key = format!("csw-rule \"{}\"", call.name(0)?);
    Ok(Step::Change(Change::SetLine { place: Place::System, key, line: None }, None))
}

fn csw_policy(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let (kind, name) = (BlockKind::CswPolicy, call.name(0)?);
    let mode = Mode::Block { kind, name: name.clone(), shown: name.to_string() };
    let known = call.device.config.block(kind, &name);
    let header = call.found.line.clone();
    match known {
        // Entered again by its name alone, it keeps its options.
        Some(block) if block.header.starts_with(&header) => Ok(Step::Enter(mode)),
        None if call.device.config.blocks(kind).count() >= POLICIES_MAX => {
            Err(Refusal::Full { what: "CSW policies", max: POLICIES_MAX }.into())
        }
        _ => Ok(Step::Change(Change::AddBlock { kind, name, header }, Some(mode))),
    }
}

fn no_csw_policy(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let change = Change::RemoveBlock { kind: BlockKind::CswPolicy, name: call.name(0)? };
    Ok(Step::Change(change, Some(Mode::Config)))
}

/// `hash-persist` is a secondary action: the rule needs a `forward` first (vendor's manual).
fn hash_persist(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let rule = call.name(0)?;
    let place = call.place()?;
    let forward = format!("match \"{rule}\" forward");
    if call.device.config.lines(&place).is_none_or(|lines| lines.get(&forward).is_none()) {
        return Err(Trouble::Said(call.device.templates.lines(Text::NeedsForward, &[&rule])));
    }
    Ok(Step::Change(call.kept(Some(call.found.line.clone()))?, None))
}

fn no_hash_persist(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let key = call.found.key.strip_prefix("no ").unwrap_or(&call.found.key).to_owned();
    Ok(Step::Change(Change::SetLine { place: call.place()?, key, line: None }, None))
}

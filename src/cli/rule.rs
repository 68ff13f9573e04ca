//! `acm rule`: the content rules of a service, one at a time, in their order.
//!
//! Each verb is one edit made by the switch, so that two people who change rules at once lose nothing.

use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Args, Subcommand};

use super::connection::Connection;
use super::drop_new::mode;
use super::failure::{self, Failure};
use super::output::{self, Style, table};
use crate::acm::error::AcmError;
use crate::acm::list::{Filter, RuleRow, ServiceRow};
use crate::acm::primitive::{Primitive, SetService};
use crate::acm::rules::{
    Action, Case, Condition, Content, DropShare, Named, Redirect, Rule, RuleEdit, Strangers, TextMatch, Turned,
};
use crate::acm::switch::AcmSwitch;
use crate::acm::words::{DropMode, ServiceKey};
use crate::base::fraction::Fraction;
use crate::base::id::Name;
use crate::base::text::escaped;

/// Add, list, remove or move the content rules of a service
#[derive(Debug, Subcommand)]
pub(super) enum RuleCommand {
    Add(Box<AddArgs>),
    List(ListArgs),
    Remove(RemoveArgs),
    Move(MoveArgs),
}

/// Add a content rule; creates the service if new. The first rule that matches decides
///
/// Every condition given must hold; a rule without conditions matches everything. Rules do something while the service
/// looks into what clients send: `acm service set VIP:PORT --content http` (or tls).
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("action").required(true).args(["to_group", "drop", "reset", "redirect"]))]
#[command(after_help = "Examples:\n  acm rule add 10.0.0.100:80 --url-suffix .png --group images\n  \
                        acm rule add 10.0.0.100:80 --url-prefix /tenant-a/ --host www.example.com --group tenant-a\n  \
                        acm rule add 10.0.0.100:80 --cookie-prefix sid=eu- --group europe --at 1\n  \
                        acm rule add 10.0.0.100:80 --url-prefix /search --drop 0.5 --unavailable\n  \
                        acm rule add 10.0.0.100:80 --host old.example.com --redirect https://new.example.com{uri}\n  \
                        acm rule add 10.0.0.100:443 --sni *.shop.example --group shop")]
pub(super) struct AddArgs {
    /// The virtual service
    #[arg(value_name = "VIP:PORT")]
    service: ServiceKey,
    /// What the rule is called; default rule-1, rule-2, ...
    #[arg(long)]
    name: Option<Name>,
    /// Its place, from 1; default the last
    #[arg(long, value_name = "PLACE")]
    at: Option<usize>,
    #[command(flatten)]
    when: Conditions,
    #[command(flatten)]
    then: ActionArgs,
    #[command(flatten)]
    to: Connection,
}

/// What must hold, all of it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Conditions; the path is compared decoded, without query, dot segments resolved")]
struct Conditions {
    /// The path is this
    #[arg(long, value_name = "TEXT")]
    url_exact: Option<String>,
    /// The path begins with this
    #[arg(long, value_name = "TEXT")]
    url_prefix: Option<String>,
    /// The path ends with this
    #[arg(long, value_name = "TEXT")]
    url_suffix: Option<String>,
    /// The path contains this
    #[arg(long, value_name = "TEXT")]
    url_contains: Vec<String>,
    /// The host asked for, without port; *.example.com is every name below example.com
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// The method, such as GET
    #[arg(long, value_name = "METHOD")]
    method: Option<String>,
    /// A header field says this
    #[arg(long, value_name = "NAME=TEXT")]
    header: Vec<Pair>,
    /// A header field is there
    #[arg(long, value_name = "NAME")]
    header_present: Vec<String>,
    /// A header field begins with this
    #[arg(long, value_name = "NAME=TEXT")]
    header_prefix: Vec<Pair>,
    /// A header field contains this
    #[arg(long, value_name = "NAME=TEXT")]
    header_contains: Vec<Pair>,
    /// A cookie is there
    #[arg(long, value_name = "NAME")]
    cookie_present: Vec<String>,
    /// A cookie says this
    #[arg(long, value_name = "NAME=TEXT")]
    cookie_equals: Vec<Pair>,
    /// A cookie begins with this
    #[arg(long, value_name = "NAME=TEXT")]
    cookie_prefix: Vec<Pair>,
    /// A cookie contains this
    #[arg(long, value_name = "NAME=TEXT")]
    cookie_contains: Vec<Pair>,
    /// The server name a TLS client asks for; *.example.com is every name below example.com
    #[arg(long, value_name = "NAME")]
    sni: Option<String>,
    /// A protocol a TLS client offers, such as h2
    #[arg(long, value_name = "PROTOCOL")]
    alpn: Vec<String>,
    /// Letters compare in any case, in paths and the values of headers and cookies
    #[arg(long)]
    ignore_case: bool,
}

/// What is done then.
#[derive(Debug, Args)]
#[command(next_help_heading = "Action")]
struct ActionArgs {
    /// It goes to this group
    #[arg(long = "group", id = "to_group", value_name = "GROUP")]
    group: Option<Name>,
    /// This share is refused, more than 0 and at most 1; the rest goes on to the rules below
    #[arg(long, value_name = "FRACTION", allow_negative_numbers = true)]
    drop: Option<Fraction>,
    /// shed: one verdict per connection; queue: a fresh coin for each request
    // `requires` is not looked at where what is required excludes what is given.
    #[arg(long, requires = "drop", conflicts_with_all = ["to_group", "reset", "redirect"], default_value = "shed", value_parser = PossibleValuesParser::new(["queue", "shed"]).map(mode))]
    mode: DropMode,
    /// The refused hear 503 instead of a reset
    #[arg(long, requires = "drop", conflicts_with_all = ["to_group", "reset", "redirect"])]
    unavailable: bool,
    /// The connection is reset
    #[arg(long)]
    reset: bool,
    /// The client is sent there; {host}, {path} and {uri} stand for what it asked for
    #[arg(long, value_name = "URL")]
    redirect: Option<String>,
    /// Status of the redirect: 301, 302, 303, 307 or 308
    #[arg(long, requires = "redirect", conflicts_with_all = ["to_group", "reset", "drop"], default_value_t = 302, value_name = "CODE")]
    status: u16,
}

/// Show the content rules of a service in their order, with how many requests each decided
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  acm rule list 10.0.0.100:80\n  acm rule list 10.0.0.100:80 --json")]
pub(super) struct ListArgs {
    /// The virtual service
    #[arg(value_name = "VIP:PORT")]
    service: ServiceKey,
    #[command(flatten)]
    to: Connection,
}

/// Remove a content rule; connections that exist are not touched
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  acm rule remove 10.0.0.100:80 rule-1")]
pub(super) struct RemoveArgs {
    /// The virtual service
    #[arg(value_name = "VIP:PORT")]
    service: ServiceKey,
    /// The rule
    name: Name,
    #[command(flatten)]
    to: Connection,
}

/// Put a content rule at another place
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  acm rule move 10.0.0.100:80 rule-3 1")]
pub(super) struct MoveArgs {
    /// The virtual service
    #[arg(value_name = "VIP:PORT")]
    service: ServiceKey,
    /// The rule
    name: Name,
    /// Its new place, from 1; beyond the end: the last
    place: usize,
    #[command(flatten)]
    to: Connection,
}

/// A name and a text: `sid=abc`. Only the first `=` divides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    /// Before the `=`.
    pub(super) name: String,
    /// Behind it.
    pub(super) text: String,
}

impl FromStr for Pair {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((name, text)) if !name.is_empty() => Ok(Pair { name: name.to_owned(), text: text.to_owned() }),
            _ => Err("write NAME=TEXT, such as sid=abc".to_owned()),
        }
    }
}

impl RuleCommand {
    pub(super) fn to(&self) -> &Connection {
        match self {
            RuleCommand::Add(args) => &args.to,
            RuleCommand::List(args) => &args.to,
            RuleCommand::Remove(args) => &args.to,
            RuleCommand::Move(args) => &args.to,
        }
    }

    pub(super) async fn run(self) -> Result<(), Failure> {
        match self {
            RuleCommand::Add(args) => args.run().await,
            RuleCommand::List(args) => args.run().await,
            RuleCommand::Remove(args) => args.run().await,
            RuleCommand::Move(args) => args.run().await,
        }
    }
}

/// A condition, and the option that asks for it.
type Optioned = (&'static str, Condition);

impl Conditions {
    fn list(&self) -> Vec<Optioned> {
        type Text = fn(String) -> TextMatch;
        type One = fn(String) -> Condition;
        type OfName = fn(Named) -> Condition;
        let path = |option, texts: &[String], is: Text| -> Vec<Optioned> {
            texts.iter().map(|text| (option, Condition::Path(is(text.clone())))).collect()
        };
        let plain = |option, texts: &[String], of: One| -> Vec<Optioned> {
            texts.iter().map(|text| (option, of(text.clone()))).collect()
        };
        let named = |option, pairs: &[Pair], of: OfName, is: Text| -> Vec<Optioned> {
            let of = |pair: &Pair| of(Named { name: pair.name.clone(), is: is(pair.text.clone()) });
            pairs.iter().map(|pair| (option, of(pair))).collect()
        };
        let present = |option, names: &[String], of: OfName| -> Vec<Optioned> {
            names.iter().map(|name| (option, of(Named { name: name.clone(), is: TextMatch::Present }))).collect()
        };
        [
            path("--url-exact", self.url_exact.as_slice(), TextMatch::Exact),
            path("--url-prefix", self.url_prefix.as_slice(), TextMatch::Prefix),
            path("--url-suffix", self.url_suffix.as_slice(), TextMatch::Suffix),
            path("--url-contains", &self.url_contains, TextMatch::Contains),
            plain("--host", self.host.as_slice(), Condition::Host),
            plain("--method", self.method.as_slice(), Condition::Method),
            present("--header-present", &self.header_present, Condition::Header),
            named("--header", &self.header, Condition::Header, TextMatch::Exact),
            named("--header-prefix", &self.header_prefix, Condition::Header, TextMatch::Prefix),
            named("--header-contains", &self.header_contains, Condition::Header, TextMatch::Contains),
            present("--cookie-present", &self.cookie_present, Condition::Cookie),
            named("--cookie-equals", &self.cookie_equals, Condition::Cookie, TextMatch::Exact),
            named("--cookie-prefix", &self.cookie_prefix, Condition::Cookie, TextMatch::Prefix),
            named("--cookie-contains", &self.cookie_contains, Condition::Cookie, TextMatch::Contains),
            plain("--sni", self.sni.as_slice(), Condition::Sni),
            plain("--alpn", &self.alpn, Condition::Alpn),
        ]
        .concat()
    }
}

/// The option that a field of an edit is given by; `options` are those of the rule's conditions, in their order.
fn option_of(field: &str, options: &[&'static str]) -> Option<String> {
    let of_rule = |field: &str| match field {
        "name" => Some("--name"),
        "when" => Some("conditions"),
        "then.drop.fraction" => Some("--drop"),
        "then.redirect.to" => Some("--redirect"),
        "then.redirect.status" => Some("--status"),
        _ => {
            let (index, _) = field.strip_prefix("when[")?.split_once(']')?;
            options.get(index.parse::<usize>().ok()?).copied()
        }
    };
    let option = match field {
        "edit.insert.at" => Some("--at"),
        "edit.move.at" => Some("PLACE"),
        _ => field.strip_prefix("edit.insert.rule.").and_then(of_rule),
    };
    option.map(str::to_owned)
}

/// What is to be said of a rule that can never match, as far as its service looks now.
fn never_matches(service: ServiceKey, content: Content, when: &[Optioned]) -> Option<String> {
    let (option, _) = when.iter().find(|(_, condition)| !condition.is_seen_with(content))?;
    (content != Content::None)
        .then(|| format!("the rule never matches: {service} reads {}, which has no {option}", content.language()))
}

impl ActionArgs {
    fn action(self) -> Action {
        match (self.group, self.drop, self.redirect) {
            (Some(group), ..) => Action::Group(group),
            (_, Some(fraction), _) => {
                let refusal = if self.unavailable { Turned::Unavailable } else { Turned::Reset };
                Action::Drop(DropShare { fraction, mode: self.mode, refusal })
            }
            (.., Some(to)) => Action::Redirect(Redirect { to, status: self.status }),
            // One of the four is required.
            (None, None, None) => Action::Reset,
        }
    }
}

impl AddArgs {
    async fn run(self) -> Result<(), Failure> {
        let switch = self.to.switch().await?;
        let service = self.service;
        let row = row(&*switch, service).await?;
        let (optioned, then) = (self.when.list(), self.then.action());
        let (options, when): (Vec<_>, Vec<_>) = optioned.iter().cloned().unzip();
        let case = if self.when.ignore_case { Case::Insensitive } else { Case::Sensitive };
        let known = row.as_ref().map(|row| row.rules.as_slice()).unwrap_or_default();
        let name = match self.name {
            Some(name) => name,
            None => name_for(known, &when, case, &then)?,
        };
        let rule = Rule { name: name.clone(), when, case, then };
        let set = SetService { edit: Some(RuleEdit::Insert { rule, at: self.at }), ..SetService::new(service) };
        let done = self.to.perform(&*switch, Primitive::SetService(set)).await;
        let done = done.map_err(|why| why.at(|field| option_of(field, &options)))?;
        // It is kept all the same: the service may look otherwise later.
        let content = row.as_ref().map_or(Content::None, |row| row.content);
        never_matches(service, content, &optioned).iter().for_each(|words| failure::warn(words));
        if self.to.style() == Style::Json {
            return output::json(&serde_json::json!({ "rule": name, "done": done }));
        }
        let hint = match content {
            Content::None => format!(
                "\nit does nothing until the service looks into requests: acm service set {service} --content http"
            ),
            Content::Http | Content::Tls => String::new(),
        };
        let what = if done.changed { "added" } else { "unchanged:" };
        output::line(&format!("{what} rule {name} of {service} (generation {}){hint}", done.generation))
    }
}

/// The name of the rule there is that says the same, or the first free one: a command repeated is one rule.
fn name_for(known: &[RuleRow], when: &[Condition], case: Case, then: &Action) -> Result<Name, Failure> {
    let same = |row: &&RuleRow| (&*row.rule.when, row.rule.case, &row.rule.then) == (when, case, then);
    if let Some(row) = known.iter().find(same) {
        return Ok(row.rule.name.clone());
    }
    let taken = |name: &String| known.iter().any(|row| row.rule.name.as_str() == name);
    let free = (1..=known.len() + 1).map(|number| format!("rule-{number}")).find(|name| !taken(name));
    let free = free.and_then(|name| name.parse().ok());
    free.ok_or_else(|| Failure::Setup("no rule-NUMBER is free; choose a name with --name".to_owned()))
}

async fn row(switch: &dyn AcmSwitch, service: ServiceKey) -> Result<Option<ServiceRow>, AcmError> {
    let listing = switch.list(&Filter::service(service)).await?;
    Ok(listing.services.into_iter().find(|row| row.service == service))
}

impl ListArgs {
    async fn run(self) -> Result<(), Failure> {
        let row = row(&*self.to.switch().await?, self.service).await?;
        let row = row.ok_or_else(|| AcmError::not_found(format!("service {}", self.service)))?;
        match self.to.style() {
            Style::Json => output::json(&row.rules),
            Style::Human => output::line(describe(&row).trim_end()),
        }
    }
}

fn describe(row: &ServiceRow) -> String {
    let mut out = String::new();
    if row.content == Content::None && !row.rules.is_empty() {
        out += "not in force: the service does not look into requests (content none)\n";
    }
    let cells = |(place, RuleRow { rule, hits }): (usize, &RuleRow)| {
        let conditions: Vec<_> = rule.when.iter().map(ToString::to_string).collect();
        let when = if conditions.is_empty() { "everything".to_owned() } else { conditions.join(", ") };
        let case = if rule.case == Case::Insensitive { " (in any case)" } else { "" };
        let when = escaped(&format!("{when}{case}"));
        vec![place.to_string(), rule.name.to_string(), hits.to_string(), escaped(&rule.then.to_string()), when]
    };
    if !row.rules.is_empty() {
        let rows: Vec<_> = (1..).zip(&row.rules).map(cells).collect();
        out += &table(&["PLACE", "RULE", "HITS", "THEN", "WHEN"], &rows);
    }
    out += "everything else: ";
    out += &escaped(&row.default_action.to_string());
    if row.content != Content::None && row.strangers == Strangers::Reset {
        out += &format!("\nwho does not speak {}: reset", row.content.language());
    }
    out
}

impl RemoveArgs {
    async fn run(self) -> Result<(), Failure> {
        let (service, name) = (self.service, self.name);
        let edit = RuleEdit::Remove { name: name.clone() };
        edit_rules(&self.to, service, edit, &format!("removed rule {name} of {service}")).await
    }
}

impl MoveArgs {
    async fn run(self) -> Result<(), Failure> {
        let (service, name, at) = (self.service, self.name, self.place);
        let edit = RuleEdit::Move { name: name.clone(), at };
        edit_rules(
            &self.to,
            service,
            edit,
            &format!("rule {name} of {service} moved to place {at}, or the last one if there are fewer"),
        )
        .await
    }
}

async fn edit_rules(to: &Connection, service: ServiceKey, edit: RuleEdit, said: &str) -> Result<(), Failure> {
    let switch = to.switch().await?;
    // An edit of what is not there must not create it.
    if row(&*switch, service).await?.is_none() {
        return Err(AcmError::not_found(format!("service {service}")).into());
    }
    let set = SetService { edit: Some(edit), ..SetService::new(service) };
    let done =
        to.perform(&*switch, Primitive::SetService(set)).await.map_err(|why| why.at(|field| option_of(field, &[])))?;
    match to.style() {
        Style::Json => output::json(&done),
        Style::Human => output::line(&format!("{said} (generation {})", done.generation)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_equals_sign_divides() {
        let pair: Pair = "sid=a=b".parse().unwrap();
        assert_eq!((pair.name.as_str(), pair.text.as_str()), ("sid", "a=b"));
        assert_eq!("sid=".parse::<Pair>().unwrap().text, "");
        for bad in ["sid", "=a", ""] {
            assert!(bad.parse::<Pair>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn fields_are_told_as_the_options_that_were_typed() {
        let options = ["--url-prefix", "--cookie-equals"];
        for (field, option) in [
            ("edit.insert.rule.when[0].path", Some("--url-prefix")),
            ("edit.insert.rule.when[1].cookie", Some("--cookie-equals")),
            ("edit.insert.rule.when[2].cookie", None),
            ("edit.insert.rule.when[x].cookie", None),
            ("edit.insert.rule.then.redirect.status", Some("--status")),
            ("edit.insert.at", Some("--at")),
            ("edit.move.at", Some("PLACE")),
            ("service", None),
        ] {
            assert_eq!(option_of(field, &options).as_deref(), option, "{field}");
        }
    }

    #[test]
    fn a_rule_said_again_keeps_its_name_and_gaps_are_filled() {
        let row = |name: &str, then: Action| RuleRow {
            rule: Rule { name: name.parse().unwrap(), when: vec![], case: Case::Sensitive, then },
            hits: 0,
        };
        let known = [row("rule-2", Action::Reset), row("x", Action::default_action())];
        let name = |then: &Action| name_for(&known, &[], Case::Sensitive, then).unwrap().to_string();
        assert_eq!(name(&Action::Reset), "rule-2");
        assert_eq!(name(&Action::Group("g".parse().unwrap())), "rule-1");
        let method = [Condition::Method("GET".into())];
        assert_eq!(name_for(&known, &method, Case::Sensitive, &Action::Reset).unwrap().as_str(), "rule-1");
    }
}

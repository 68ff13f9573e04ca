//! `acm explain`: which rule a request would meet, and which server it would get.
//!
//! Nothing is sent. What the switch lists, its rules, groups and bindings, is evaluated here with the code the switch
//! uses: the same parser, the same rules, the same tables. So it says what *would* happen by what is listed now; what
//! depends on chance, on turns or on the moment's load is said to do so.

use std::fmt::Write;

use clap::Args;
use serde::Serialize;

use super::connection::Connection;
use super::failure::Failure;
use super::output::{self, Style};
use super::rule::Pair;
use crate::acm::error::AcmError;
use crate::acm::list::{BindingRow, Filter, GroupRow, Listing, ServiceRow, State};
use crate::acm::rules::share::{Claim, shares};
use crate::acm::rules::{Action, Condition, Content, Persistence, Strangers};
use crate::acm::words::{self, Group, Scheduler, ServiceKey, default_group};
use crate::base::id::Name;
use crate::base::text::escaped;
use crate::content::answer;
use crate::content::hash;
use crate::content::head::{self, Head, HeadMap, Limits, Stranger};
use crate::content::hello::Hello;
use crate::content::refusal::Refusal;
use crate::content::rules::{Facts, Fares, trace};
use crate::plane::schedule::{Choice, Chooser, Member};

/// Say which rule a request would meet and which server it would get; sends nothing
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  acm explain 10.0.0.100:80 --url /img/logo.png\n  \
                        acm explain 10.0.0.100:80 --url http://www.example.com/cart --cookie sid=abc --method POST\n  \
                        acm explain 10.0.0.100:443 --sni www.example.com --alpn h2")]
pub(super) struct ExplainArgs {
    /// The virtual service
    #[arg(value_name = "VIP:PORT")]
    service: ServiceKey,
    /// Path with query, or a whole http:// URL
    #[arg(long, default_value = "/")]
    url: String,
    /// The method
    #[arg(long, default_value = "GET")]
    method: String,
    /// The host asked for; default that of the URL, or the virtual address
    #[arg(long)]
    host: Option<String>,
    /// A header field
    #[arg(long, value_name = "NAME=TEXT")]
    header: Vec<Pair>,
    /// A cookie
    #[arg(long, value_name = "NAME=TEXT")]
    cookie: Vec<Pair>,
    /// The server name a TLS client asks for
    #[arg(long, value_name = "NAME")]
    sni: Option<String>,
    /// A protocol it offers
    #[arg(long, value_name = "PROTOCOL")]
    alpn: Vec<String>,
    #[command(flatten)]
    pub(super) to: Connection,
}

/// What would become of a request.
#[derive(Debug, Serialize)]
struct Explanation {
    service: ServiceKey,
    content: Content,
    /// The path as rules see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    /// Why the request itself is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<Refused>,
    /// How each rule fares, up to the one that decides.
    rules: Vec<Step>,
    /// The rule that decides; absent: the default action.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<Name>,
    /// What is done.
    action: Action,
    /// What becomes of clients that do not speak what the service reads.
    strangers: Strangers,
    /// What is heard when there is no server.
    when_none: words::Refusal,
    /// Where a redirect leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    /// Who serves it, if it goes to a group.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<Served>,
    /// What else is to be known.
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Refused {
    reason: &'static str,
    status: u16,
    why: &'static str,
}

#[derive(Debug, Serialize)]
struct Step {
    rule: Name,
    /// The first condition that does not hold; absent: all hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    fails: Option<String>,
    /// Why it cannot hold, whatever the client asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    never: Option<String>,
    then: Action,
}

#[derive(Debug, Serialize)]
struct Served {
    name: Name,
    scheduler: Scheduler,
    /// The server, if the request alone decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    real: Option<std::net::SocketAddr>,
    /// Those that could be chosen.
    candidates: Vec<std::net::SocketAddr>,
    /// How it is chosen.
    why: String,
}

impl ExplainArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let switch = self.to.switch().await?;
        let listing = switch.list(&Filter::service(self.service)).await?;
        let row = listing.services.iter().find(|row| row.service == self.service);
        let row = row.ok_or_else(|| AcmError::not_found(format!("service {}", self.service)))?;
        let mut explanation = self.explain(row, &listing)?;
        explanation.notes.extend(self.unseen(row.content));
        match self.to.style() {
            Style::Json => output::json(&explanation),
            Style::Human => output::line(explanation.describe().trim_end()),
        }
    }

    fn explain(&self, row: &ServiceRow, listing: &Listing) -> Result<Explanation, Failure> {
        let is_tls = row.content == Content::Tls || (row.content == Content::None && self.sni.is_some());
        if is_tls { Ok(self.explain_tls(row, listing)) } else { self.explain_http(row, listing) }
    }

    /// What was asked about and the service does not see.
    fn unseen(&self, content: Content) -> Option<String> {
        let tls = [("--sni", self.sni.is_some()), ("--alpn", !self.alpn.is_empty())];
        let http = [
            ("--url", self.url != "/"),
            ("--method", self.method != "GET"),
            ("--host", self.host.is_some()),
            ("--header", !self.header.is_empty()),
            ("--cookie", !self.cookie.is_empty()),
        ];
        let unseen: &[_] = match content {
            Content::None => &[],
            Content::Http => &tls,
            Content::Tls => &http,
        };
        let (option, _) = unseen.iter().find(|(_, is_given)| *is_given)?;
        Some(format!("this service reads {}; {option} changes nothing", content.language()))
    }

    fn explain_tls(&self, row: &ServiceRow, listing: &Listing) -> Explanation {
        let protocols: Vec<u8> = self
            .alpn
            .iter()
            .filter_map(|name| Some([&[u8::try_from(name.len()).ok()?], name.as_bytes()].concat()))
            .flatten()
            .collect();
        let facts = Facts::Tls(Hello::new(self.sni.as_ref().map(String::as_bytes), &protocols));
        let mut explanation = Explanation::of(row);
        explanation.decide(row, &facts);
        explanation.serve(row, listing, None);
        explanation
    }

    fn explain_http(&self, row: &ServiceRow, listing: &Listing) -> Result<Explanation, Failure> {
        let bytes = self.request()?;
        let mut explanation = Explanation::of(row);
        let map = match head::read(&bytes, Limits::default()) {
            head::Step::Head(map) => map,
            head::Step::Refused(why) => return Ok(explanation.refused(why)),
            head::Step::NotHttp(stranger) => {
                explanation.stranger(stranger, row);
                explanation.serve(row, listing, None);
                return Ok(explanation);
            }
            // It ends with an empty line, so it is complete or too long.
            head::Step::More => return Ok(explanation.refused(Refusal::HeadTooLarge)),
        };
        explanation.explain_head(&map, &bytes, row, listing);
        Ok(explanation)
    }

    /// The request as a client would write it.
    fn request(&self) -> Result<Vec<u8>, Failure> {
        let whole = ["http://", "https://"].iter().find_map(|scheme| self.url.strip_prefix(scheme));
        let (named, target) = match whole {
            None => (None, self.url.as_str()),
            Some(rest) => {
                let end = rest.find(['/', '?']).unwrap_or(rest.len());
                (Some(&rest[..end]), if rest[end..].is_empty() { "/" } else { &rest[end..] })
            }
        };
        let vip = self.service.addr.to_string();
        let host = self.host.as_deref().or(named).unwrap_or(&vip);
        let mut head = format!("{} {target} HTTP/1.1\r\nHost: {host}\r\n", self.method);
        let cookies: Vec<_> = self.cookie.iter().map(|Pair { name, text }| format!("{name}={text}")).collect();
        if !cookies.is_empty() {
            // Writing to a String cannot fail, here and below.
            let _ = write!(head, "Cookie: {}\r\n", cookies.join("; "));
        }
        for Pair { name, text } in &self.header {
            let _ = write!(head, "{name}: {text}\r\n");
        }
        let lines = head.matches(['\r', '\n']).count();
        let expected = 2 * (2 + usize::from(!cookies.is_empty()) + self.header.len());
        if lines != expected {
            let why = "a line break in an option would be another header line";
            return Err(Failure::Usage(AcmError::invalid("--header", why)));
        }
        Ok((head + "\r\n").into_bytes())
    }
}

/// Why a condition can never hold at a service that looks so far.
fn never(condition: &Condition, content: Content) -> Option<String> {
    let is_blind = content != Content::None && !condition.is_seen_with(content);
    is_blind.then(|| format!("never matches: this service reads {}", content.language()))
}

impl Explanation {
    fn of(row: &ServiceRow) -> Explanation {
        let mut notes = Vec::new();
        if row.content == Content::None {
            notes.push(format!(
                "content is none: rules are not in force, every connection goes to group {}; this is what they would do",
                default_group()
            ));
        }
        Explanation {
            service: row.service,
            content: row.content,
            path: None,
            refused: None,
            rules: Vec::new(),
            rule: None,
            action: row.default_action.clone(),
            strangers: row.strangers,
            when_none: row.when_none,
            location: None,
            group: None,
            notes,
        }
    }

    fn refused(mut self, why: Refusal) -> Explanation {
        self.refused = Some(Refused { reason: why.as_str(), status: why.status(), why: why.why() });
        self.action = Action::Reset;
        self
    }

    /// It is not HTTP/1.
    fn stranger(&mut self, stranger: Stranger, row: &ServiceRow) {
        let what = match stranger {
            Stranger::Http2 => "HTTP/2 without asking",
            Stranger::Other => "not HTTP/1",
        };
        let whose = match row.strangers {
            Strangers::Default => "the default action decides",
            Strangers::Reset => {
                self.action = Action::Reset;
                "strangers are reset"
            }
        };
        self.notes.push(format!("{what}: {whose}"));
    }

    fn explain_head(&mut self, map: &HeadMap, bytes: &[u8], row: &ServiceRow, listing: &Listing) {
        let head = map.view(bytes);
        let mut room = vec![0; map.len()];
        let path = match head.normal_path(&mut room) {
            Ok(path) => path,
            Err(why) => {
                self.refused = Some(Refused { reason: why.as_str(), status: why.status(), why: why.why() });
                return;
            }
        };
        self.path = Some(String::from_utf8_lossy(path).into_owned());
        self.decide(row, &Facts::Http(head, path));
        if let Action::Redirect(redirect) = &self.action {
            self.location = answer::place(redirect, &head).ok();
        }
        self.serve(row, listing, Some((&head, path)));
    }

    /// Goes through the rules.
    fn decide(&mut self, row: &ServiceRow, facts: &Facts<'_>) {
        let rules: Vec<_> = row.rules.iter().map(|row| row.rule.clone()).collect();
        for (rule, fares) in trace(&rules, facts) {
            let fails = match fares {
                Fares::Fails(index) => rule.when.get(index).map(ToString::to_string),
                Fares::Matches => None,
            };
            let never = rule.when.iter().find_map(|condition| never(condition, row.content));
            let is_drop = matches!(&rule.then, Action::Drop(_));
            let is_certain = !is_drop || matches!(&rule.then, Action::Drop(share) if share.fraction.get() >= 1.0);
            if fails.is_none() && is_certain && self.rule.is_none() {
                self.rule = Some(rule.name.clone());
                self.action = rule.then.clone();
            }
            self.rules.push(Step { rule: rule.name.clone(), fails, never, then: rule.then.clone() });
            if self.rule.is_some() {
                break;
            }
        }
    }

    /// Who of the group it would be.
    fn serve(&mut self, row: &ServiceRow, listing: &Listing, request: Option<(&Head<'_>, &[u8])>) {
        let Action::Group(name) = &self.action else { return };
        let group = group_of(row, name);
        let (rows, members) = candidates(listing, name);
        let candidates: Vec<_> = members.iter().map(|member| rows[member.slot as usize].key.real).collect();
        let key = request.and_then(|(head, path)| hash::key(&group, head, path));
        let (real, why) = match (group.scheduler, key) {
            _ if members.is_empty() => (None, "it has no server that could take it".to_owned()),
            (Scheduler::UrlHash | Scheduler::CookieHash, Some(key)) => {
                let choice = Choice { source_hash: 0, content_hash: Some(key), random: 0 };
                let live = |slot: u32| u32::try_from(rows[slot as usize].connections).unwrap_or(u32::MAX);
                let slot = Chooser::build(&members, &group).pick(choice, live, |_| true);
                (slot.map(|slot| rows[slot as usize].key.real), hashed(&group))
            }
            (Scheduler::UrlHash | Scheduler::CookieHash, None) => {
                (None, format!("nothing to hash, so {} chooses", group.hash.fallback))
            }
            (scheduler, _) => (None, format!("{scheduler} chooses")),
        };
        let only = match candidates.as_slice() {
            [only] => Some(*only),
            _ => None,
        };
        if let Persistence::Insert(cookie) = &group.persist {
            self.notes.push(format!("a valid cookie {} leads back to its server before that", cookie.name));
        } else if let Persistence::Learn(cookie) = &group.persist {
            self.notes.push(format!("a known cookie {} leads back to its server before that", cookie.name));
        }
        self.group =
            Some(Served { name: name.clone(), scheduler: group.scheduler, real: real.or(only), candidates, why });
    }

    /// What a client hears for which there is no server.
    fn without_server(&self) -> &'static str {
        match (self.content, self.when_none) {
            (Content::Http, words::Refusal::Silent) => "no server: answered 503",
            (Content::None, words::Refusal::Silent) => "no server: no answer",
            (_, words::Refusal::Reset) | (Content::Tls, words::Refusal::Silent) => "no server: reset",
        }
    }

    fn describe(&self) -> String {
        let mut out = String::new();
        for note in &self.notes {
            let _ = writeln!(out, "note: {}", escaped(note));
        }
        if let Some(Refused { reason, status, why }) = &self.refused {
            let _ = writeln!(out, "refused with {status} ({reason}): {why}");
            return out;
        }
        if let Some(path) = &self.path {
            let _ = writeln!(out, "path: {}", escaped(path));
        }
        for Step { rule, fails, never, then } in &self.rules {
            let said = match (fails, then) {
                (Some(_), _) if never.is_some() => never.clone().unwrap_or_default(),
                (Some(condition), _) => format!("no: not so that {condition}"),
                (None, Action::Drop(share)) if share.fraction.get() < 1.0 => {
                    format!("matches: {then}; the rest goes on")
                }
                (None, _) => format!("matches: {then}"),
            };
            let _ = writeln!(out, "rule {rule}: {}", escaped(&said));
        }
        if self.rule.is_none() {
            let _ = writeln!(out, "no rule decides: {}", escaped(&self.action.to_string()));
        }
        if let Some(location) = &self.location {
            let _ = writeln!(out, "location: {}", escaped(location));
        }
        if let Some(served) = &self.group {
            let all: Vec<_> = served.candidates.iter().map(ToString::to_string).collect();
            let real = match served.real {
                Some(real) => format!("server {real}"),
                None if all.is_empty() => self.without_server().to_owned(),
                None => format!("one of {}", all.join(", ")),
            };
            let _ = writeln!(out, "{real} ({})", escaped(&served.why));
        }
        if self.content != Content::None && self.strangers == Strangers::Reset {
            let _ = writeln!(out, "who does not speak {}: reset", self.content.language());
        }
        out
    }
}

fn hashed(group: &Group) -> String {
    let what = match group.scheduler {
        Scheduler::CookieHash => format!("cookie-hash of {}", group.hash.cookie.as_deref().unwrap_or_default()),
        _ => format!("url-hash of {}", group.hash.url),
    };
    match group.hash.bounded_load {
        None => what,
        Some(factor) => format!("{what}, load bounded by {factor}, as loads are now"),
    }
}

fn group_of(row: &ServiceRow, name: &Name) -> Group {
    let group = row.groups.iter().find(|group| group.group == *name);
    let of = |row: &GroupRow| Group { scheduler: row.scheduler, hash: row.hash.clone(), persist: row.persist.clone() };
    group.map(of).unwrap_or_default()
}

/// The bindings of a group, and of these the members that could take a new connection, each with its row's number.
fn candidates<'a>(listing: &'a Listing, group: &Name) -> (Vec<&'a BindingRow>, Vec<Member>) {
    let rows: Vec<_> = listing.bindings.iter().filter(|row| row.group == *group).collect();
    let claims = rows.iter().map(|row| Claim {
        real: row.key.real,
        identity: row.identity.as_ref(),
        stays: row.state != State::Draining,
    });
    let takes_new = |row: &BindingRow| {
        matches!(row.state, State::Active | State::Lapsed)
            && row.weight > 0
            && row.max_conns.is_none_or(|max| row.connections < u64::from(max))
    };
    let members = rows.iter().zip(shares(claims)).zip(0u32..).filter(|((row, _), _)| takes_new(row));
    let members = members.map(|((row, share), slot)| Member { id: row.id, share, weight: row.weight, slot }).collect();
    (rows, members)
}

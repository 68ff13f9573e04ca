//! Requests on content services: rules in order, the path normalised step by step. Nothing here is quick.

use std::net::SocketAddr;

use super::world::{End, Flow, World};
use super::{FlowId, Opened};
use crate::acm::rules::request::{Reply, Request, Served};
use crate::acm::rules::{
    Action, Case, Condition, Content, DropShare, Named, Rule, Strangers, Switching, TextMatch, Turned,
};
use crate::acm::words::{BindingKey, DropMode, Refusal, ServiceKey};
use crate::base::id::Name;

impl World {
    /// A request on the connection from this address and port, which is opened if there is none.
    pub(super) fn request(&mut self, client: SocketAddr, key: ServiceKey, request: &Request) -> Reply {
        let (content, existing) = match self.heard(client, key) {
            Ok(heard) => heard,
            Err(served) => return served.into(),
        };
        let facts = match Facts::of(request, content) {
            Ok(facts) => facts,
            Err(status) => return Served::Answered(status, None).into(),
        };
        match self.decide(client, key, &facts) {
            Action::Group(group) => self.send(client, key, &group, Some(request), existing),
            Action::Drop(DropShare { refusal: Turned::Unavailable, .. }) if content == Content::Http => {
                Served::Answered(503, None).into()
            }
            Action::Redirect(to) if content == Content::Http => {
                let place = to.to.replace("{host}", &facts.host);
                let place = place.replace("{path}", request.path()).replace("{uri}", &request.target);
                Served::Answered(to.status, Some(place)).into()
            }
            Action::Drop(_) | Action::Reset | Action::Redirect(_) => Served::Reset.into(),
        }
    }

    /// What is neither HTTP nor TLS, on the connection from this address and port, which is opened if there is none.
    pub(super) fn stranger(&mut self, client: SocketAddr, key: ServiceKey) -> Served {
        let existing = match self.heard(client, key) {
            Ok((_, existing)) => existing,
            Err(served) => return served,
        };
        let service = self.service(&key);
        match (service.strangers, service.default_action.clone()) {
            (Strangers::Default, Action::Group(group)) => self.send(client, key, &group, None, existing).served,
            (Strangers::Default | Strangers::Reset, _) => Served::Reset,
        }
    }

    /// How far the service looks into what comes on a connection, and the flow it belongs to; or what becomes of it
    /// without a look.
    fn heard(&mut self, client: SocketAddr, key: ServiceKey) -> Result<(Content, Option<Opened>), Served> {
        let Some(service) = self.services.get(&key) else { return Err(Served::Unconnected(Refusal::Silent)) };
        let (content, switching) = (service.content, service.switching);
        let existing = self.existing(client, key);
        match (&existing, content) {
            (_, Content::None) => return Err(self.served(client, key)),
            (Some(Opened::To(_, real)), _) if switching == Switching::FirstRequest => return Err(Served::By(*real)),
            (Some(_), _) => {}
            (None, _) => {
                if let Some(refusal) = self.refused_by_policy(client, key) {
                    self.service(&key).dropped += 1;
                    return Err(Served::Unconnected(refusal));
                }
            }
        }
        Ok((content, existing))
    }

    /// Not looked into: a connection like any other.
    fn served(&mut self, client: SocketAddr, key: ServiceKey) -> Served {
        match self.open(client, key) {
            Opened::To(_, real) => Served::By(real),
            Opened::Refused(refusal) => Served::Unconnected(refusal),
        }
    }

    /// The first rule that matches and, if it drops a share, tosses so.
    fn decide(&mut self, client: SocketAddr, key: ServiceKey, facts: &Facts) -> Action {
        for rule in self.service(&key).rules.clone() {
            if !rule.when.iter().all(|condition| facts.satisfies(condition, rule.case)) {
                continue;
            }
            if let Action::Drop(share) = rule.then
                && !self.is_dropped(client, key, &rule, share)
            {
                continue;
            }
            *self.service(&key).hits.entry(rule.name).or_default() += 1;
            return rule.then;
        }
        self.service(&key).default_action.clone()
    }

    fn is_dropped(&mut self, client: SocketAddr, key: ServiceKey, rule: &Rule, share: DropShare) -> bool {
        let toss = share.fraction.hits(self.coins.u32(..));
        match share.mode {
            DropMode::Queue => toss,
            DropMode::Shed => {
                let connection = (client, key, rule.name.clone());
                match self.rule_shed.get(&connection) {
                    Some((known, verdict)) if *known == share => *verdict,
                    _ => {
                        self.rule_shed.insert(connection, (share, toss));
                        toss
                    }
                }
            }
        }
    }

    /// To a real of the group. The connection's flow goes along.
    fn send(
        &mut self,
        client: SocketAddr,
        key: ServiceKey,
        group: &Name,
        request: Option<&Request>,
        existing: Option<Opened>,
    ) -> Reply {
        if let Some(Opened::To(flow, _)) = existing {
            self.flows.entry(flow).and_modify(|flow| flow.end = Some(End::Closed));
        }
        let eligible = self.eligible(client, key, group);
        let kept = request.and_then(|request| self.keeper(key, group, &eligible, request));
        let Some((real, binding)) = kept.or_else(|| self.choose(client, key, group, &eligible, request)) else {
            let service = self.service(&key);
            service.refused += 1;
            return match (service.content, service.when_none) {
                (Content::Http, Refusal::Silent) => Served::Answered(503, None).into(),
                _ => Served::Reset.into(),
            };
        };
        if existing.is_none() {
            self.service(&key).admitted += 1;
        }
        let flow = FlowId(self.new_id());
        let flow_key = BindingKey { service: key, real };
        self.flows.insert(flow, Flow { client, key: flow_key, binding, fresh_at: self.now, end: None });
        match request {
            Some(request) => self.reply(key, group, (real, binding), request),
            None => Served::By(real).into(),
        }
    }
}

/// What a request says, as far as a service's mode lets it be seen.
struct Facts<'a> {
    path: String,
    host: String,
    request: &'a Request,
    content: Content,
}

impl<'a> Facts<'a> {
    /// Or the status of the refusal.
    fn of(request: &'a Request, content: Content) -> Result<Facts<'a>, u16> {
        let path = match content {
            Content::Http => String::from_utf8_lossy(&normal_path(request.path()).ok_or(400u16)?).into_owned(),
            _ => String::new(),
        };
        Ok(Facts { path, host: request.host_name(), request, content })
    }

    fn satisfies(&self, condition: &Condition, case: Case) -> bool {
        let request = self.request;
        let is_http = self.content == Content::Http;
        match condition {
            Condition::Sni(pattern) => {
                let name = request.sni.as_ref().map(|name| name.to_ascii_lowercase());
                !is_http && name.is_some_and(|name| names(pattern, &name))
            }
            Condition::Alpn(protocol) => !is_http && request.alpn.contains(protocol),
            _ if !is_http => false,
            Condition::Path(is) => matches(is, &self.path, case),
            Condition::Host(pattern) => names(pattern, &self.host),
            Condition::Method(method) => request.method == *method,
            Condition::Header(Named { name, is }) if name.eq_ignore_ascii_case("host") => {
                matches(is, &request.host, case)
            }
            Condition::Header(Named { name, is }) => {
                let mut fields = request.headers.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
                fields.any(|(_, value)| matches(is, value, case))
            }
            Condition::Cookie(Named { name, is }) => request.cookie(name).is_some_and(|value| matches(is, value, case)),
        }
    }
}

fn matches(is: &TextMatch, text: &str, case: Case) -> bool {
    let fold = |text: &str| match case {
        Case::Sensitive => text.to_owned(),
        Case::Insensitive => text.to_ascii_lowercase(),
    };
    let text = fold(text);
    match is {
        TextMatch::Present => true,
        TextMatch::Exact(wanted) => text == fold(wanted),
        TextMatch::Prefix(wanted) => text.starts_with(&fold(wanted)),
        TextMatch::Suffix(wanted) => text.ends_with(&fold(wanted)),
        TextMatch::Contains(wanted) => text.contains(&fold(wanted)),
    }
}

/// `*.example.com` is every name below; else the name itself.
fn names(pattern: &str, name: &str) -> bool {
    let pattern = pattern.to_ascii_lowercase();
    match pattern.strip_prefix('*') {
        Some(below) => name.ends_with(below) && name.len() > below.len(),
        None => name == pattern,
    }
}

/// The path as a server would read it, or `None` if two servers could read it differently.
///
/// One step after the other: cut at slashes, decode each piece, drop empty pieces and `.`, and let `..` take back the
/// piece before it.
pub(super) fn normal_path(path: &str) -> Option<Vec<u8>> {
    let pieces: Option<Vec<Vec<u8>>> = path.strip_prefix('/')?.split('/').map(decoded).collect();
    let pieces = pieces?;
    let (mut kept, mut saw_empty): (Vec<&[u8]>, bool) = (Vec::new(), false);
    let last = pieces.len() - 1;
    for (index, piece) in pieces.iter().enumerate() {
        match piece.as_slice() {
            b"" => saw_empty |= index < last,
            b"." => {}
            // Servers that keep empty pieces would take back another one.
            b".." if saw_empty => return None,
            b".." => {
                kept.pop()?;
            }
            other => kept.push(other),
        }
    }
    let is_directory = matches!(pieces[last].as_slice(), b"" | b"." | b"..");
    let mut normal: Vec<u8> = kept.iter().flat_map(|piece| [b"/", *piece].concat()).collect();
    if is_directory || normal.is_empty() {
        normal.push(b'/');
    }
    Some(normal)
}

/// A piece between slashes, percent-decoded; `None` for what servers disagree about.
fn decoded(piece: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = piece.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let byte = (digit()? * 16 + digit()?) as u8;
                if matches!(byte, 0 | b'/' | b'\\') {
                    return None;
                }
                out.push(byte);
            }
            b'\\' | 0..=b' ' | b'#' | 0x7f.. => return None,
            other => out.push(other),
        }
    }
    // Some servers cut parameters off before they look for dots.
    let name = out.split(|byte| *byte == b';').next().unwrap_or_default();
    let has_parameters = name.len() < out.len();
    if has_parameters && matches!(name, b"." | b"..") {
        return None;
    }
    is_shortest(&out).then_some(out)
}

/// False if some UTF-8 sequence is longer than it must be: an old way to write `/` so that few see it.
fn is_shortest(text: &[u8]) -> bool {
    text.iter().enumerate().all(|(at, byte)| {
        let next = text.get(at + 1);
        !matches!((byte, next), (0xc0 | 0xc1, _) | (0xe0, Some(0x80..=0x9f)) | (0xf0, Some(0x80..=0x8f)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_servers_read_them() {
        for (path, want) in [
            ("/", Some("/")),
            ("/a/b", Some("/a/b")),
            ("/a/b/", Some("/a/b/")),
            ("//a///b", Some("/a/b")),
            ("/a/./b/.", Some("/a/b/")),
            ("/a/b/..", Some("/a/")),
            ("/a/%2e%2e/b", Some("/b")),
            ("/%61", Some("/a")),
            ("/..", None),
            ("/a/../..", None),
            ("/a//../b", None),
            ("/a%2fb", None),
            ("/a%5cb", None),
            ("/a%00", None),
            ("/a%0", None),
            ("/a/..;x/b", None),
            ("/%c0%af", None),
            ("a", None),
        ] {
            assert_eq!(normal_path(path).as_deref(), want.map(str::as_bytes), "{path}");
        }
    }
}

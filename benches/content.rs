//! What choosing costs, in memory, on one core: `cargo bench --bench content`.
//!
//! A 500-byte head of a browser's kind is parsed, its path normalised, matched and hashed, and a member chosen, with 0, 1, 10,
//! 100 and 1,000 rules of all kinds; each piece alone; and allocations during all of it, of which there must be none.
//! Medians of alternating rounds, so that a machine that slows down slows everything alike.

#![allow(missing_docs, clippy::disallowed_methods)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use acm_switch::acm::rules::{Action, Case, Condition, Content, Named, Rule, TextMatch};
use acm_switch::acm::words::{Group, Scheduler, Service};
use acm_switch::base::addr::Mac;
use acm_switch::base::id::{BindingId, ServiceId};
use acm_switch::base::time::Time;
use acm_switch::content::hash;
use acm_switch::content::head::{HeadMap, Limits, Step, read};
use acm_switch::content::rules::{Facts, Ruleset, Scratch, Toss};
use acm_switch::content::token::{Key, Keys, Tokens};
use acm_switch::plane::prepare::Prepared;
use acm_switch::plane::schedule::{Choice, Chooser, Member};
use acm_switch::plane::{Out, Plane, PlaneConfig};

const ROUNDS: usize = 15;
const REQUESTS: usize = 100_000;
const COUNTS: [usize; 5] = [0, 1, 10, 100, 1000];

/// The system's allocator, counting.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is passed on to the system's allocator as it came.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn request(path: &str) -> Vec<u8> {
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 \
         Firefox/128.0\r\nAccept: text/html,application/xhtml+xml,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\n\
         Accept-Encoding: gzip, deflate, br\r\nConnection: keep-alive\r\nCookie: theme=dark; sid=9f1c2ab77e\r\n\
         Referer: http://www.example.com/start\r\nCache-Control: max-age=0\r\nX-Pad: "
    );
    let pad = 500 - head.len() - 4;
    format!("{head}{}\r\n\r\n", "p".repeat(pad)).into_bytes()
}

/// Rules of every kind, none of which matches but the last.
fn rules(count: usize) -> Vec<Rule> {
    let group = |name: &str| Action::Group(name.parse().expect("a name"));
    let cookie = |is| Condition::Cookie(Named { name: "sid".into(), is });
    let header = |is| Condition::Header(Named { name: "X-Tenant".into(), is });
    let mut rules: Vec<Rule> = (1..count)
        .map(|n| {
            let when = match n % 8 {
                0 => vec![Condition::Path(TextMatch::Exact(format!("/static/page-{n}.html")))],
                1 | 2 => vec![Condition::Path(TextMatch::Prefix(format!("/tenant-{n}/")))],
                3 => vec![Condition::Path(TextMatch::Suffix(format!(".kind{n}")))],
                4 => vec![Condition::Path(TextMatch::Contains(format!("/part{n}/")))],
                5 => vec![Condition::Host(format!("host{n}.example.com")), Condition::Method("GET".into())],
                6 => vec![cookie(TextMatch::Prefix(format!("user{n}-")))],
                _ => vec![header(TextMatch::Exact(format!("t{n}")))],
            };
            Rule { name: format!("r{n}").parse().expect("a name"), when, case: Case::Sensitive, then: group("g") }
        })
        .collect();
    if count > 0 {
        let when = vec![Condition::Path(TextMatch::Prefix("/images/".into()))];
        rules.push(Rule { name: "last".parse().expect("a name"), when, case: Case::Sensitive, then: group("images") });
    }
    rules
}

struct Bench {
    requests: Vec<Vec<u8>>,
    group: Group,
    chooser: Chooser,
    scratch: Scratch,
    room: Vec<u8>,
}

impl Bench {
    fn parse(&self, n: usize) -> HeadMap {
        match read(&self.requests[n % self.requests.len()], Limits::default()) {
            Step::Head(map) => map,
            other => panic!("{other:?}"),
        }
    }

    /// Parse, normalise, match, hash, choose.
    fn choose(&mut self, rules: &Ruleset, n: usize) -> u32 {
        let map = self.parse(n);
        let head = map.view(&self.requests[n % self.requests.len()]);
        let path = head.normal_path(&mut self.room).expect("a path");
        let decision = rules.decide(&Facts::Http(head, path), Toss { connection: 1, request: 2 }, &mut self.scratch);
        black_box(decision);
        let key = hash::key(&self.group, &head, path);
        self.chooser.pick(Choice { source_hash: 0, content_hash: key, random: 0 }, |_| 0, |_| true).expect("a member")
    }
}

fn nanos(requests: usize, mut act: impl FnMut(usize)) -> f64 {
    let start = Instant::now();
    (0..requests).for_each(&mut act);
    start.elapsed().as_nanos() as f64 / requests as f64
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

/// Changes of a service with a thousand rules, each of another rule: nanoseconds to make the table ready, on the control
/// side, and to take it up, on a worker.
fn changes() -> (f64, f64) {
    let key = "10.0.0.100:80".parse().expect("a service");
    let mut prepared = Prepared::default();
    let mut plane = Plane::new(PlaneConfig { flows_max: 1024, ..PlaneConfig::new(Mac([2; 6]), vec![], 1) });
    let (mut out, mut rules) = (Out::new(), rules(1000));
    let (mut ready, mut taken) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        rules[0].when = vec![Condition::Path(TextMatch::Prefix(format!("/round/{round}/")))];
        let groups = ["g", "images"].map(|name| (name.parse().expect("a name"), Group::default()));
        let plain = Service::new(ServiceId(1), key);
        let groups = plain.groups.iter().map(|(name, group)| (name.clone(), group.clone())).chain(groups).collect();
        let service = Service { content: Content::Http, rules: rules.clone().into(), groups, ..plain };
        let mut draft = prepared.table().edit();
        draft.put_service(service).expect("a valid service");
        let table = Arc::new(draft.finish());
        ready.push(nanos(1, |_| prepared = prepared.after(Arc::clone(&table))));
        taken.push(nanos(1, |_| plane.take_table(&prepared, Time::ZERO, &mut out)));
        out.frames.clear();
    }
    (median(ready), median(taken))
}

fn main() -> ExitCode {
    let members: Vec<_> =
        (0..10).map(|n| Member { id: BindingId(n), share: n * 7 + 1, weight: 1, slot: n as u32 }).collect();
    let group = Group::scheduled_by(Scheduler::UrlHash);
    let paths = (0..64).map(|n| format!("/images/2024/07/photo-{n:04}.jpeg?size=large&v={n}"));
    let mut bench = Bench {
        requests: paths.map(|path| request(&path)).collect(),
        chooser: Chooser::build(&members, &group),
        group,
        scratch: Scratch::default(),
        room: vec![0; 16 * 1024],
    };
    let rulesets = COUNTS.map(|count| Ruleset::compile(&rules(count), &Action::default_action()).expect("rules"));
    rulesets.iter().for_each(|rules| _ = black_box(bench.choose(rules, 0)));

    let before = ALLOCATIONS.load(Ordering::Relaxed);
    (0..REQUESTS).for_each(|n| _ = black_box(bench.choose(&rulesets[4], n)));
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;

    let mut whole = vec![Vec::new(); COUNTS.len()];
    let (mut parse, mut key, mut normal) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for (rules, times) in rulesets.iter().zip(&mut whole) {
            times.push(nanos(REQUESTS, |n| _ = black_box(bench.choose(rules, n))));
        }
        parse.push(nanos(REQUESTS, |n| _ = black_box(bench.parse(n))));
        let map = bench.parse(0);
        let head = map.view(&bench.requests[0]);
        normal.push(nanos(REQUESTS, |_| _ = black_box(black_box(head).normal_path(&mut bench.room))));
        key.push(nanos(REQUESTS, |_| _ = black_box(hash::key(&bench.group, black_box(&head), head.path()))));
    }
    let keys = Keys { current: Key { id: 1, secret: [7; 32] }, previous: None };
    let mut tokens = Tokens::new(&keys, &"10.0.0.100:80".parse().expect("a service"), "acm");
    tokens.set_members(&[1, 2, 3]);
    let token = tokens.of(2).expect("a token").to_owned();
    let token =
        median((0..ROUNDS).map(|_| nanos(REQUESTS, |_| _ = black_box(tokens.read(token.as_bytes())))).collect());
    let compile = {
        let rules = rules(1000);
        median((0..5).map(|_| nanos(1, |_| drop(Ruleset::compile(&rules, &Action::Reset)))).collect())
    };

    let whole: Vec<f64> = whole.into_iter().map(median).collect();
    println!("| choosing for a 500-byte head | ns | aim |\n|---|---|---|");
    for (count, time) in COUNTS.iter().zip(&whole) {
        println!("| parse, normalise, match of {count} rules, hash, choose | {time:.0} | 1000 |");
    }
    println!("| of that: parse | {:.0} | |", median(parse));
    println!("| of that: normalise | {:.0} | |", median(normal));
    println!("| of that: hash the URL | {:.0} | |", median(key));
    println!("| a persistence cookie read | {token:.0} | |");
    println!("| 1,000 rules made ready, microseconds | {:.0} | |", compile / 1000.0);
    let (ready, taken) = changes();
    println!("| a change of one of 1,000 rules: the control side, microseconds | {:.0} | |", ready / 1000.0);
    println!("| the same: a worker, which packets wait for, microseconds | {:.0} | |", taken / 1000.0);
    let ratio = whole[4] / whole[1];
    println!(
        "\nchoosing by 1,000 rules takes {ratio:.2} times as long as by one (what that is in requests a second: the bench \
         `peers -- --content`); {allocations} allocations in {REQUESTS} choices (aim 0)"
    );
    match allocations == 0 && whole.iter().all(|time| *time <= 1000.0) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

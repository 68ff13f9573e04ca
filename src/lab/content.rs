//! What `acm lab content` shows: one virtual service whose requests go to servers by what they say, measured at the servers
//! and at the client. Images by suffix, a tenant by prefix, a session by cookie, hashed caches, a content-aware Drop.

#![allow(clippy::disallowed_methods)]

use std::io;
use std::time::{Duration, Instant};

use super::ask::Asked;
use super::process::Process;
use super::promises::Promises;
use super::rig::Lab;
use super::{VIP, server};
use crate::acm::error::AcmError;
use crate::acm::primitive::{Add, Caller, Primitive, SetService};
use crate::acm::rules::{
    Action, Case, Condition, Content, DropShare, HashOptions, Named, Rule, Switching, TextMatch, Turned,
};
use crate::acm::switch::perform;
use crate::acm::wait::until_active;
use crate::acm::words::{BindingKey, DropMode, HealthProfile, Scheduler, ServiceKey};
use crate::base::fraction::Fraction;
use crate::base::id::Name;
use crate::base::span::Span;
use crate::driver::native::NativeClient;

/// s1 the rest, s2 images, s3 the tenant, s4 and s5 sessions, s6 and s7 caches.
const SERVERS: u8 = 7;

/// Requests of the mixed load.
const REQUESTS: u64 = 20_000;

/// Objects of the Zipf load, and how many of them one cache holds: both together hold half of them.
const OBJECTS: usize = 400;
const CACHED: usize = 100;

/// Connections for the content-aware Drop.
const TURNED: u64 = 2_000;

/// The groups, and who is in them.
const GROUPS: [(&str, &[u8]); 5] =
    [("default", &[1]), ("images", &[2]), ("acme", &[3]), ("sessions", &[4, 5]), ("caches", &[6, 7])];

struct Story {
    lab: Lab,
    switch: NativeClient,
    promises: Promises,
    start: Instant,
    quiet: bool,
}

/// Tells the whole story on a new lab. `quiet` leaves out the live output.
///
/// # Errors
/// The lab cannot be made, or the switch refuses what it must not refuse.
pub async fn tell(quiet: bool) -> io::Result<Promises> {
    let start = Instant::now();
    let mut lab = Lab::up(SERVERS)?;
    let switch = lab.start_switch(&[]).await?;
    let mut story = Story { lab, switch, promises: Promises::default(), start, quiet };
    story.say("one virtual service, seven servers in five groups: what a request says decides where it goes");
    story.set_up().await?;
    story.mixed(Switching::PerRequest).await?;
    story.sessions().await?;
    story.caches().await?;
    story.turn_away().await?;
    let mut promises = story.promises;
    promises.seconds = start.elapsed().as_secs_f64();
    Ok(promises)
}

fn service() -> ServiceKey {
    ServiceKey::tcp(VIP)
}

fn name(text: &str) -> io::Result<Name> {
    text.parse().map_err(|_| io::Error::other(format!("{text} is no name")))
}

fn failed(error: AcmError) -> io::Error {
    io::Error::other(error.to_string())
}

fn rule(called: &str, when: Condition, then: Action) -> io::Result<Rule> {
    Ok(Rule { name: name(called)?, when: vec![when], case: Case::Sensitive, then })
}

impl Story {
    fn say(&self, text: &str) {
        if !self.quiet {
            println!("{:6.2} s  {text}", self.start.elapsed().as_secs_f64());
        }
    }

    async fn set(&self, set: SetService) -> io::Result<()> {
        perform(&self.switch, &Caller::default(), Primitive::SetService(set)).await.map_err(failed).map(drop)
    }

    async fn set_up(&mut self) -> io::Result<()> {
        let group = |group: &str| name(group).map(Action::Group);
        let cookie = Named { name: "sid".into(), is: TextMatch::Present };
        let share = |fraction| Fraction::new(fraction).map_err(io::Error::other);
        let turned = DropShare { fraction: share(0.5)?, mode: DropMode::Queue, refusal: Turned::Unavailable };
        let rules = vec![
            rule("reports", Condition::Path(TextMatch::Prefix("/report/".into())), Action::Drop(turned))?,
            rule("images", Condition::Path(TextMatch::Suffix(".jpg".into())), group("images")?)?,
            rule("acme", Condition::Path(TextMatch::Prefix("/acme/".into())), group("acme")?)?,
            rule("sessions", Condition::Cookie(cookie), group("sessions")?)?,
            rule("caches", Condition::Path(TextMatch::Prefix("/cache/".into())), group("caches")?)?,
        ];
        self.set(SetService { content: Some(Content::Http), rules: Some(rules), ..SetService::new(service()) }).await?;
        let by_cookie = HashOptions { cookie: Some("sid".into()), ..HashOptions::default() };
        self.set(SetService {
            group: name("sessions")?,
            scheduler: Some(Scheduler::CookieHash),
            hash: Some(by_cookie),
            ..SetService::new(service())
        })
        .await?;
        for (group, servers) in GROUPS {
            for n in servers {
                self.lab.start_server_with(*n, CACHED).await?;
                // Quick checks, so that the story stays short.
                let health = HealthProfile {
                    interval: Span::millis(500),
                    timeout: Span::millis(250),
                    fall: 2,
                    ..HealthProfile::default()
                };
                let add = Add { group: Some(name(group)?), health: Some(health), ..Add::new(service(), server(*n)) };
                perform(&self.switch, &Caller::default(), Primitive::Add(add)).await.map_err(failed)?;
            }
        }
        for n in 1..=SERVERS {
            let key = BindingKey { service: service(), real: server(n) };
            until_active(&self.switch, &key, Duration::from_secs(10)).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn ask(&self, more: &[&str]) -> io::Result<Asked> {
        let target = VIP.to_string();
        let mut args = vec!["ask", "--target", &target];
        args.extend(more);
        let mut client: Process = self.lab.start_client(&args)?;
        let mut shown = Instant::now();
        loop {
            let asked: Asked = client.next().await?;
            if asked.done {
                return Ok(asked);
            }
            if shown.elapsed() >= Duration::from_secs(1) {
                self.say(&format!("  {} answered, by server {:?}", asked.ok, asked.by_server));
                shown = Instant::now();
            }
        }
    }

    /// Mixed requests on keep-alive connections.
    async fn mixed(&mut self, switching: Switching) -> io::Result<()> {
        self.say(&format!("{REQUESTS} requests of all kinds on keep-alive connections, switched {switching}"));
        let requests = REQUESTS.to_string();
        let asked = self
            .ask(&[
                "--requests",
                &requests,
                "--workers",
                "16",
                "--requests-per-connection",
                "100",
                "--want",
                "/#.jpg=s2",
                "--want",
                "/acme/orders/#=s3",
                "--want",
                "/account/# sid=#=",
                "--want",
                "/page/#=s1",
                "--want",
                "/=s1",
            ])
            .await?;
        asked.complaints.iter().for_each(|complaint| self.say(&format!("  {complaint}")));
        self.promises.add(
            "each request is answered by the server its rule names",
            format!("{} right, {} misdirected, {} failed", asked.ok, asked.misdirected, asked.failed),
            asked.ok == REQUESTS && asked.misdirected + asked.failed == 0,
        );
        let due =
            [(1, ["/page", "/"]), (2, [".jpg", ""]), (3, ["/acme", ""]), (4, ["/account", ""]), (5, ["/account", ""])];
        let (mut seen, mut strays) = (0, 0);
        for (n, kinds) in due {
            let report = self.lab.server_report(n).await?;
            seen += report.requests;
            let is_stray = |kind: &str| !kinds.contains(&kind);
            strays += report.by_kind.iter().filter(|(kind, _)| is_stray(kind)).map(|(_, count)| count).sum::<u64>();
        }
        self.promises.add(
            "servers saw just these, and only what is theirs",
            format!("{seen} seen, {strays} strays"),
            seen == REQUESTS && strays == 0,
        );
        let per = asked.ok as f64 / asked.connections.max(1) as f64;
        self.promises.add(
            "connections are kept alive across servers",
            format!("{per:.0} requests a connection, of 100"),
            per > 90.0,
        );
        Ok(())
    }

    /// One session, one server, from any connection.
    async fn sessions(&mut self) -> io::Result<()> {
        self.say("a session's cookie names its server: always the same one, whoever else is there");
        let asked = self
            .ask(&["--requests", "4000", "--requests-per-connection", "5", "--want", "/account/# sid=user-#="])
            .await?;
        let servers = asked.by_server.len();
        self.promises.add(
            "a session meets one server, sessions meet both",
            format!("{} right, {} elsewhere, {servers} servers", asked.ok, asked.misdirected),
            asked.ok == 4000 && servers == 2,
        );
        Ok(())
    }

    /// The share of cache hits of a Zipf load, with a scheduler.
    async fn hit_rate(&mut self, scheduler: Scheduler) -> io::Result<f64> {
        self.set(SetService { group: name("caches")?, scheduler: Some(scheduler), ..SetService::new(service()) })
            .await?;
        for n in [6, 7] {
            self.lab.kill_server(n).await?;
            self.lab.start_server_with(n, CACHED).await?;
            let key = BindingKey { service: service(), real: server(n) };
            until_active(&self.switch, &key, Duration::from_secs(10)).await.map_err(failed)?;
        }
        // As long again as the checks may need to notice that they were away.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let objects = OBJECTS.to_string();
        let asked = self.ask(&["--requests", "8000", "--requests-per-connection", "50", "--zipf", &objects]).await?;
        let (mut hits, mut misses) = (0, 0);
        for n in [6, 7] {
            let report = self.lab.server_report(n).await?;
            (hits, misses) = (hits + report.cache.0, misses + report.cache.1);
        }
        self.say(&format!("  {scheduler}: {hits} hits, {misses} misses, {} failed", asked.failed));
        Ok(hits as f64 / (hits + misses).max(1) as f64)
    }

    /// Hashing beats taking turns.
    async fn caches(&mut self) -> io::Result<()> {
        self.say(&format!(
            "{OBJECTS} objects asked for by Zipf's law, two caches of {CACHED}: in turn, then by URL hash"
        ));
        let in_turn = self.hit_rate(Scheduler::RoundRobin).await?;
        let hashed = self.hit_rate(Scheduler::UrlHash).await?;
        self.promises.add(
            "caches hit more often by URL hash than in turn",
            format!("{:.1} % hashed, {:.1} % in turn", hashed * 100.0, in_turn * 100.0),
            hashed > in_turn + 0.02,
        );
        Ok(())
    }

    /// A Drop for one class of requests.
    async fn turn_away(&mut self) -> io::Result<()> {
        self.say("half of the reports are turned away with 503, everything else is untouched");
        let turned = TURNED.to_string();
        let reports =
            self.ask(&["--requests", &turned, "--requests-per-connection", "1", "--want", "/report/#=503"]).await?;
        let share = reports.ok as f64 / TURNED as f64;
        let tolerance = 4.0 * (0.25 / TURNED as f64).sqrt();
        self.promises.add(
            "a content-aware Drop 0.5 turns half of its class away",
            format!("{:.1} % of {TURNED} (4 sigma: {:.1} %)", share * 100.0, tolerance * 100.0),
            (share - 0.5).abs() <= tolerance && reports.failed == 0,
        );
        let others = self.ask(&["--requests", "2000", "--want", "/page/#=s1", "--want", "/#.jpg=s2"]).await?;
        self.promises.add(
            "other requests are untouched by it",
            format!("{} right, {} not", others.ok, others.misdirected + others.failed),
            others.ok == 2000,
        );
        Ok(())
    }
}

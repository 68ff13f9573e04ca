//! The worker's loop with ports that misbehave: it neither spins nor forgets them.

#![allow(missing_docs, unreachable_pub, clippy::disallowed_methods)]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use acm_switch::acm::switch::Inspect;
use acm_switch::base::addr::Mac;
use acm_switch::base::time::Time;
use acm_switch::plane::PlaneConfig;
use acm_switch::port::{Port, PortCounters};
use acm_switch::switch::local::{LocalConfig, LocalSwitch};
use acm_switch::wire::frame::Batch;

/// What a test sees of its port and sets about it.
#[derive(Default)]
struct Story {
    broken: AtomicBool,
    asked: AtomicUsize,
    looked_at: AtomicUsize,
}

/// A port that is readable for as long as the test lasts, as an interface with a pending error can be, and has no frames.
struct OddPort {
    story: Arc<Story>,
    always_readable: OwnedFd,
}

impl Port for OddPort {
    fn name(&self) -> &str {
        "odd"
    }

    fn recv(&mut self, _: &mut Batch, _: Time) -> io::Result<usize> {
        self.story.asked.fetch_add(1, SeqCst);
        match self.story.broken.load(SeqCst) {
            true => Err(io::Error::other("the cable is out")),
            // Then there would be frames, and reading them would end this.
            false => Ok(0),
        }
    }

    fn send(&mut self, _: &mut Batch, _: &[u16], _: Time) -> io::Result<()> {
        Ok(())
    }

    fn readable(&self) -> Option<BorrowedFd<'_>> {
        Some(self.always_readable.as_fd())
    }

    fn next_deadline(&self) -> Option<Time> {
        self.story.looked_at.fetch_add(1, SeqCst);
        None
    }

    fn counters(&mut self) -> PortCounters {
        PortCounters::default()
    }
}

fn odd_port(story: &Arc<Story>) -> Box<dyn Port> {
    let (far, near) = io::pipe().unwrap();
    // Nobody can write any more: readable for ever.
    drop(near);
    Box::new(OddPort { story: Arc::clone(story), always_readable: far.into() })
}

#[test]
fn a_broken_port_is_tried_now_and_then_and_costs_nothing_meanwhile() {
    let story = Arc::new(Story { broken: true.into(), ..Story::default() });
    let mac = Mac([2, 0, 0, 0, 0, 9]);
    let plane = PlaneConfig { flows_max: 1024, ..PlaneConfig::new(mac, vec![], 1) };
    let config = LocalConfig { mac, addresses: vec![], plane, boot: 1, seed: 1 };
    let (switch, _control) = LocalSwitch::start(config, vec![odd_port(&story)]).unwrap();

    // Two retries, a second apart; a worker that spins goes round a million times meanwhile.
    std::thread::sleep(Duration::from_millis(2500));
    let (asked, rounds) = (story.asked.load(SeqCst), story.looked_at.load(SeqCst));
    assert!((2..=4).contains(&asked), "asked {asked} times in 2.5 s");
    assert!(rounds < 1000, "{rounds} rounds in 2.5 s");

    // Repaired, it is found out by the next retry, and heard again.
    story.broken.store(false, SeqCst);
    let asked = story.asked.load(SeqCst);
    let start = Instant::now();
    while story.asked.load(SeqCst) < asked + 100 {
        assert!(start.elapsed() < Duration::from_secs(10), "a repaired port is not served");
        std::thread::sleep(Duration::from_millis(10));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(switch.statistics()).expect("the worker answers");
}

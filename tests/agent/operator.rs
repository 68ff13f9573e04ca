//! An operator in the small: finds the binding at an address, commands its restart, and asks until it is over.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use acm_switch::base::time::Time;
use acm_switch::beacon::config::{random, secret};
use acm_switch::beacon::datagram::DATAGRAM_MAX;
use acm_switch::beacon::gate::{Config, Gate};
use acm_switch::beacon::key::{Grant, Key, KeyId, KeyRing};
use acm_switch::beacon::message::{Envelope, Message, NodeId, Restart, StandingRow};
use acm_switch::beacon::sealer::Sealer;
use acm_switch::beacon::socket::{Reach, Sockets};

pub(crate) fn main(words: &[&str]) -> ExitCode {
    let [key_file, real, roll] = words else { return ExitCode::FAILURE };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let patience = Duration::from_secs(20);
    let over = runtime.block_on(async {
        tokio::time::timeout(patience, command(Path::new(key_file), real, roll.parse().expect("a number"))).await
    });
    match over {
        Ok(row) => {
            let (roll, phase) = row.roll.expect("of a roll");
            println!("{roll} {phase}");
            ExitCode::SUCCESS
        }
        Err(_) => ExitCode::FAILURE,
    }
}

async fn command(key_file: &Path, real: &str, roll: u64) -> StandingRow {
    let secret = secret("key", "secret", Some(key_file), None).expect("a secret").expect("one");
    let grant = Grant { operator: true, ..Grant::default() };
    let key = Key::new(KeyId(3), &secret, grant).expect("a key");
    let ring = Arc::new(KeyRing::new(&"comics".parse().expect("a name"), [key]).expect("a ring"));
    let (node, boot) = (NodeId(random().expect("bits")), random().expect("bits"));
    let began = std::time::Instant::now();
    let now = || Time::from_micros(began.elapsed().as_micros() as u64);
    let mut sealer = Sealer::new(Arc::clone(&ring), node, boot, KeyId(3), Time::ZERO).expect("a sealer");
    let mut gate = Gate::new(ring, Config { own: (node, boot), late_after: Duration::from_secs(10), seed: boot });
    let reach = Reach { interface: Some("eth0".to_owned()), buffer: 1 << 16, ..Reach::default() };
    let sockets = Sockets::open(&reach).expect("sockets");
    let mut message = Message::Who { name: Some("web".parse().expect("a name")), roll: Some(roll) };
    let mut repeat = tokio::time::interval(Duration::from_millis(50));
    let mut buffer = [0; DATAGRAM_MAX + 1];
    loop {
        tokio::select! {
            _ = repeat.tick() => {
                let (challenge, echoes) = (Some(gate.challenge(now())), gate.echoes());
                let envelope = Envelope { challenge, echoes, message: message.clone() };
                sockets.send_to_all(&sealer.seal(&envelope, now()).expect("it fits"));
            }
            () = sockets.readable() => {}
        }
        while let Some((bytes, _)) = sockets.receive(0, &mut buffer) {
            let Ok(heard) = gate.open(bytes, now()) else { continue };
            let Message::Standings(standings) = heard.message else { continue };
            let ours = standings.rows.into_iter().find(|row| row.key.real.to_string() == real);
            match ours {
                Some(row) if row.roll.is_some_and(|(id, phase)| id == roll && phase.is_over()) => return row,
                Some(row) => {
                    message = Message::Restart(Restart {
                        agent: heard.sender.node,
                        roll,
                        bindings: vec![row.key],
                        drain: None,
                        within: Duration::from_secs(10),
                    });
                }
                None => {}
            }
        }
    }
}

//! Worlds in which every group tells its clients a cookie, and leads those back that show it: what is put into responses
//! changes every number behind it, through any trouble.

use acm_switch::acm::rules::*;

use super::client::Carrier;
use super::content::content;
use super::dialogue::Cookies;
use super::seeds::{all_seeds, run, seed_to_replay};
use super::world::{Plan, World};

fn persist(seed: u64) -> Plan {
    let mut plan = content(seed ^ 0x5e55_1035);
    let cookie =
        InsertCookie { name: "acm".into(), max_age: None, http_only: true, secure: false, same_site: SameSite::Lax };
    for name in plan.service.groups.keys().cloned().collect::<Vec<_>>() {
        plan.service.groups.entry(name).or_default().persist = Persistence::Insert(cookie.clone());
    }
    let cookies = match plan.service.switching {
        Switching::PerRequest => Cookies::Each,
        Switching::FirstRequest => Cookies::First,
    };
    let leaving: Vec<u32> = plan.changes.iter().map(|(_, server, _)| *server as u32 + 1).collect();
    for (errand, carrier) in &mut plan.clients {
        errand.leaving.clone_from(&leaving);
        let lies = matches!(carrier, Carrier::Raw(style) if style.lies);
        errand.cookies = if lies { Cookies::None } else { cookies };
    }
    // Hosts here give up after five minutes, which is five losses in a row; that is not what is looked for.
    (plan.front.loss, plan.back.loss) = (plan.front.loss.min(0.05), plan.back.loss.min(0.05));
    // A cookie counts for more than a hash.
    Plan { seed, kind: "persist", hashes: |_| false, ..plan }
}

/// Whoever shows a cookie is served by the server that it is of.
fn check(world: &mut World) {
    for client in &world.clients {
        let dialogue = client.dialogue();
        if dialogue.errand.cookies != Cookies::Each || dialogue.errand.may_be_refused {
            continue;
        }
        for ((shown, name), ask) in dialogue.shown.iter().zip(&dialogue.answers).zip(&dialogue.errand.asks) {
            // Only of its own group.
            let leads =
                shown.filter(|shown| matches!(&ask.due, super::talk::Due::From(servers) if servers.contains(shown)));
            let leads = leads.filter(|leads| !dialogue.errand.leaving.contains(leads));
            if leads.is_some_and(|leads| leads != *name) && *name != 0 {
                let wrong = format!("{:?} showed the cookie of {shown:?}, and {name} answered", ask.id);
                world.wrong.push(wrong);
            }
        }
    }
}

#[test]
fn persist_seeds() {
    all_seeds(1, persist);
}

/// Replays the seed of `ACM_SIM_SEED`, telling what happens; else seed 1, quietly.
#[test]
fn one_persist_seed() {
    run(persist(seed_to_replay().unwrap_or(1)), seed_to_replay().is_some()).must_be_right();
}

#[test]
fn cookies_lead_back() {
    let mut sums = [0; 3];
    for seed in 0..600 {
        let mut world = run(persist(seed), false);
        check(&mut world);
        world.must_be_right();
        for (sum, name) in sums.iter_mut().zip(["content.cookie_set", "content.cookie_led", "content.resent"]) {
            *sum += world.plane.counters().iter().find(|(counted, _)| *counted == name).map_or(0, |(_, count)| count);
        }
    }
    assert!(sums.iter().all(|sum| *sum > 100), "{sums:?}");
}

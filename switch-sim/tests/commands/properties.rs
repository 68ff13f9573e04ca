//! What holds for every sequence of commands. Lines are made by asking the device itself (`?`) what may come next, so that
//! every row of every table is met.

use proptest::prelude::*;
use switch_sim::chassis::flash::MemoryFlash;
use switch_sim::chassis::{Chassis, Settings};
use switch_sim::personality::Personality;
use switch_sim::shell::{Completion, Shell};
use switch_sim::simbox::{SimSettings, SimulatedBox};

use crate::desk::Desk;

/// Commands that end the session, the configuration or the test.
const NOT_HERE: [&str; 9] = ["exit", "quit", "end", "logout", "reload", "kill", "disable", "rconsole", "enable"];

/// A monkey at the keyboard that knows the question mark.
struct Monkey {
    desk: Desk,
    chance: fastrand::Rng,
}

impl Monkey {
    fn new(personality: Personality, seed: u64) -> Monkey {
        Monkey { desk: Desk::configuring(personality), chance: fastrand::Rng::with_seed(seed) }
    }

    fn one_of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.chance.usize(..words.len())]
    }

    /// A word at an argument's place, mostly a good one.
    fn argument(&mut self, shape: &str) -> String {
        if self.chance.u8(..20) == 0 {
            return self.one_of(&["", "?", "\"", "-1", "99999999999", "a b", "\u{e9}", "no"]).to_owned();
        }
        match shape {
            "A.B.C.D" => format!("10.0.0.{}", self.chance.u8(1..8)),
            "HHHH.HHHH.HHHH" => "00e0.5202.0001".into(),
            "DECIMAL or name" => self.one_of(&["http", "80", "8080", "ssl", "dns", "default", "25"]).into(),
            "\"string\"" => self.one_of(&["\"HEAD /\"", "plain", "\"a b\"", "\"\""]).into(),
            "LINE" => self.one_of(&["some text", "1", "show running-config"]).into(),
            "ASCII string" => self.one_of(&["r1", "r2", "r3", "v1", "v2", "a-long.name_of-32-characters-0123"]).into(),
            number => {
                let range = number.strip_prefix("DECIMAL ").and_then(|range| range.split_once('-'));
                let (low, high) = range.unwrap_or_else(|| panic!("no shape `{number}`"));
                let bound = |text: &str| text.parse::<u32>().expect("a bound");
                self.chance.u32(bound(low)..=bound(high).min(bound(low) + 20)).to_string()
            }
        }
    }

    /// A line, word by word, as the device offers them.
    fn line(&mut self) -> String {
        let mut line = String::new();
        for depth in 0..24 {
            let offers = self.desk.help(&line);
            let shapes: Vec<String> = offers.iter().filter_map(|offer| offered(offer)).collect();
            let shapes: Vec<&str> =
                shapes.iter().map(String::as_str).filter(|word| depth > 0 || !NOT_HERE.contains(word)).collect();
            if shapes.is_empty() {
                break;
            }
            let shape = self.one_of(&shapes);
            match shape {
                "<cr>" => break,
                word if !word.contains(|c: char| c.is_ascii_uppercase() || c == '"') => line.push_str(word),
                shape => line.push_str(&self.argument(shape)),
            }
            line.push(' ');
        }
        line
    }
}

/// The word, or the shape of an argument, of a line of help.
fn offered(help: &str) -> Option<String> {
    let shapes = ["A.B.C.D", "HHHH.HHHH.HHHH", "DECIMAL or name", "\"string\"", "LINE", "ASCII string"];
    let help = help.strip_prefix("  ")?;
    if let Some(shape) = shapes.iter().find(|shape| help.starts_with(**shape)) {
        return Some((*shape).to_owned());
    }
    let words: Vec<&str> = help.split(' ').collect();
    match words.as_slice() {
        ["DECIMAL", range, ..] => Some(format!("DECIMAL {range}")),
        [word, ..] => Some((*word).to_owned()),
        [] => None,
    }
}

fn is_refusal(said: &[String]) -> bool {
    let refusals = ["Error - ", "Invalid input -> ", "Ambiguous input -> ", "Incomplete command."];
    said.iter().any(|line| refusals.iter().any(|refusal| line.starts_with(refusal)))
}

fn personalities() -> impl Strategy<Value = Personality> {
    prop_oneof![Just(Personality::Xl), Just(Personality::Adx), Just(Personality::Acm)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Nothing panics; a line that is refused changes nothing; a configuration is read again as it was printed.
    #[test]
    fn refused_lines_change_nothing_and_configurations_round_trip(personality in personalities(), seed: u64) {
        let mut monkey = Monkey::new(personality, seed);
        let mut before = monkey.desk.running_config();
        for _ in 0..60 {
            let line = monkey.line();
            let said = monkey.desk.enter(&line);
            let after = monkey.desk.running_config();
            if is_refusal(&said) {
                prop_assert_eq!(&before, &after, "`{}` said {:?}", line, said);
            }
            before = after;
        }
        // Passwords are not printed; so they are out of this.
        let printed: Vec<&str> = before.lines().filter(|line| !line.contains(".....")).collect();
        let mut settings = Settings::new(personality);
        settings.flash = Box::new(MemoryFlash::holding(&printed.join("\n")));
        // What was configured may ask for passwords: the reader is let in all the same.
        settings.access.login_is_privileged = true;
        let chassis = Chassis::new(settings, Box::new(SimulatedBox::new(SimSettings::new(personality))));
        prop_assert!(chassis.bad_lines().is_empty(), "{:?}\n{}", chassis.bad_lines(), before);
        let mut again = Desk::at(chassis);
        again.chassis.admit(again.session, "", again.now);
        let text = again.running_config();
        let body = |text: &str| text.lines().filter(|line| !line.contains(".....")).skip(2).map(str::to_owned).collect::<Vec<_>>();
        prop_assert_eq!(body(&text), body(&before));
    }

    /// The same lines on the same box give the same screens.
    #[test]
    fn a_seed_repeats(seed: u64) {
        let run = || {
            let mut monkey = Monkey::new(Personality::Adx, seed);
            let lines: Vec<String> = (0..20).map(|_| { let line = monkey.line(); monkey.desk.enter(&line); line }).collect();
            (lines, monkey.desk.running_config(), monkey.desk.enter("show server real"))
        };
        prop_assert_eq!(run(), run());
    }

    /// Whatever is typed, something is answered.
    #[test]
    fn any_characters_are_a_line(lines in proptest::collection::vec("\\PC{0,40}|[ -~]{0,80}|\"?[a-z ?\\\\\"]{0,30}", 1..20)) {
        let mut desk = Desk::configuring(Personality::Adx);
        for line in &lines {
            desk.help(line);
            desk.chassis.complete(desk.session, line);
            desk.enter(line);
            prop_assert!(!desk.prompt().is_empty());
            if desk.closed {
                desk.reconnect();
            }
        }
    }
}

/// Every beginning of a word that only that word has, is that word.
#[test]
fn beginnings_stand_for_words() {
    for (modes, lines) in [
        ("", &["show server bind", "skip-page-display", "write memory"][..]),
        ("conf t", &["server real rs1 10.0.0.1"][..]),
    ] {
        for full in lines {
            let words: Vec<&str> = full.split(' ').collect();
            for (n, word) in words.iter().enumerate() {
                for end in 1..word.len() {
                    let mut desk = Desk::plain(Personality::Xl);
                    desk.enter("enable");
                    modes.split(';').filter(|line| !line.is_empty()).for_each(|line| desk.quietly(line));
                    let mut shortened = words.clone();
                    shortened[n] = &word[..end];
                    let ahead = words[..n].iter().map(|word| format!("{word} ")).collect::<String>();
                    let fitting = desk.help(&format!("{ahead}{}", &word[..end]));
                    let said = desk.enter(&shortened.join(" "));
                    let complete = desk.chassis.complete(desk.session, &format!("{ahead}{}", &word[..end]));
                    let is_argument =
                        desk.help(&ahead).iter().any(|line| line.contains("ASCII string") || line.contains("A.B.C.D"));
                    if is_argument {
                        continue;
                    }
                    let exact = fitting.iter().any(|line| line.split_whitespace().next() == Some(&word[..end]));
                    match fitting.as_slice() {
                        [_] => assert!(!is_refusal(&said), "`{}` said {said:?}", shortened.join(" ")),
                        _ if exact => {}
                        _ => {
                            assert!(
                                said[0].starts_with("Ambiguous input -> "),
                                "`{}` said {said:?}",
                                shortened.join(" ")
                            );
                            assert!(matches!(complete, Completion::Lines(_)));
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn tab_completes_the_only_word() {
    let mut desk = Desk::plain(Personality::Xl);
    desk.enter("enable");
    let complete = |desk: &Desk, line: &str| desk.chassis.complete(desk.session, line);
    assert_eq!(complete(&desk, "sk"), Completion::Rest("ip-page-display ".into()));
    assert_eq!(complete(&desk, "show server bi"), Completion::Rest("nd ".into()));
    assert_eq!(complete(&desk, "show server bind"), Completion::Rest(" ".into()));
    assert_eq!(complete(&desk, "SHOW SERVER BI"), Completion::Rest("nd ".into()));
    assert!(matches!(complete(&desk, "show c"), Completion::Lines(lines) if lines.len() > 3));
    assert_eq!(complete(&desk, "nonsense"), Completion::Lines(vec!["Unrecognized command".into()]));
}

//! The template file: replacing a section changes the device; a bad file says what is wrong with it.

use switch_sim::chassis::Settings;
use switch_sim::personality::Personality;
use switch_sim::screens::Templates;
use switch_sim::simbox::{SimSettings, SimulatedBox};

use crate::desk::Desk;

#[test]
fn a_section_of_ones_own_takes_the_place_of_the_built_in_one() {
    let file = "\
;; from a real box
[[error.no-such-real]]
{name}: no such {{server}}

[[server-bind.head]]
BINDINGS
========

[[server-bind.first]]
{port:>8} -> {real:10}|{address:15}|{state}

[[running-config.version@serveriron-adx]]
ver 99

[[running-config.version]]
ver 1
";
    let mut settings = Settings::new(Personality::Adx);
    settings.templates = Templates::with_file(file, Personality::Adx).expect("a good file");
    let mut desk = Desk::new(settings, Box::new(SimulatedBox::new(SimSettings::new(Personality::Adx))));
    desk.enter("enable");
    for line in
        ["conf t", "server real r1 10.0.0.1", "port 80", "server virtual v 10.0.0.9", "port 80", "bind 80 r1 80"]
    {
        desk.quietly(line);
    }
    desk.wait(1_000);
    assert_eq!(desk.enter("server real nobody"), ["nobody: no such {server}"]);
    assert_eq!(
        desk.enter("show server bind"),
        [
            "BINDINGS",
            "========",
            "Virtual server: v                  Status: enabled  IP: 10.0.0.9",
            "    http -> r1        |10.0.0.1       |Active",
        ]
    );
    assert!(desk.running_config().contains("\nver 99\n"), "the personality's own section wins");
}

#[test]
fn a_bad_file_names_its_line_and_the_remedy() {
    let wrong = |file: &str| Templates::with_file(file, Personality::Xl).expect_err("a bad file").to_string();
    insta::assert_snapshot!(
        [
            "text without a section",
            "[[no.such.section]]\nx",
            "[[server-deleted]\nx",
            "[[server-deleted@serveriron]]\nx",
            "[[server-deleted]]\nx\n\n[[server-deleted]]\ny",
            "[[server-deleted]]\nServer {nam} gone",
            "[[server-bind.head]]\n{name}",
            "[[server-deleted]]\nServer {name gone",
            "[[server-deleted]]\nServer name} gone",
            "[[server-deleted]]\nServer {name:wide} gone",
            "[[server-deleted]]\nServer {name:9999} gone",
        ]
        .map(wrong)
        .join("\n")
    );
}

#[test]
fn the_built_in_file_is_a_file_of_ones_own() {
    for personality in Personality::ALL {
        Templates::with_file(Templates::built_in_file(), personality).expect("the built-in file");
    }
}

//! Bytes of every kind at the terminal: no panic, bounded memory, bounded output, and no difference between a burst and
//! byte-at-a-time typing.

mod support;

use std::time::Duration;

use proptest::prelude::*;
use support::{Client, PASSWORD, SmallShell};
use switch_sim::chassis::{self, Chassis};
use switch_sim::connection::Connection;
use switch_sim::personality::Personality;
use switch_sim::quirk::{Quirk, Quirks};
use switch_sim::shell::LoginAsks;
use switch_sim::simbox::{SimSettings, SimulatedBox};
use switch_sim::terminal::{LINE_MAX, Settings, TYPED_MAX};
use switch_sim::time::Time;

fn asks() -> impl Strategy<Value = LoginAsks> {
    prop_oneof![Just(LoginAsks::Nothing), Just(LoginAsks::Password), Just(LoginAsks::NameAndPassword)]
}

/// What a terminal may get to read: words it knows, keys, line ends, telnet, noise.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let words =
        ["enable", "show long", "slow", "delete", "reload", "y", "configure terminal", "say ", "exit", PASSWORD];
    let keys: Vec<&[u8]> = vec![
        b"\r\n",
        b"\r",
        b"\n",
        b"\r\0",
        b" ",
        b"?",
        b"\\?",
        b"\t",
        b"\x03",
        b"\x1a",
        b"\x10",
        b"\x0e",
        b"\x7f",
        b"\x17",
        b"\x1b[A",
        b"\x1b[",
        b"\x1b",
        b"\xff\xff",
        b"\xff\xfd\x01",
        b"\xff\xfe\x03",
        b"\xff\xfa\x18",
        b"\xff\xf0",
        b"\xff\xf6",
    ];
    prop_oneof![
        4 => prop::sample::select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec()),
        6 => prop::sample::select(keys).prop_map(<[u8]>::to_vec),
        2 => prop::collection::vec(any::<u8>(), 0..40),
        1 => (any::<u8>(), 1_000usize..6_000).prop_map(|(byte, times)| vec![byte; times]),
    ]
}

fn quirks() -> impl Strategy<Value = Vec<Quirk>> {
    // The first thirteen are the terminal's.
    prop::sample::subsequence(Quirk::ALL[..13].to_vec(), 0..4)
}

fn settings(quirks: &[Quirk], seed: u64) -> Settings {
    let orders = quirks.iter().map(|quirk| quirk.name().parse().expect("an order"));
    Settings { quirks: Quirks::new(orders, seed).expect("each once"), ..Settings::default() }
}

/// Words of every command, and of none.
fn words() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "enable",
        "disable",
        "configure terminal",
        "server real rs1 10.0.0.1",
        "server virtual v1 10.0.0.100",
        "no",
        "server",
        "port http",
        "port http url \"/\\?\"",
        "bind http rs1 http",
        "no bind http rs1 http",
        "disable",
        "show server real",
        "show server",
        "show running-config",
        "write memory",
        "clear server session rs1",
        "end",
        "no server real rs1",
        "csw-rule r1 url prefix /a",
        "csw-policy p1",
        "match r1 forward 1",
        "healthck",
        "reload",
        "n",
        "show",
        "username",
        "skip-page-display",
        "exit",
        "real",
        "rs1",
        "4294967296",
        "0.0.0.0",
        "\"",
        "!",
    ];
    let ends: Vec<&[u8]> = vec![b"\r\n", b"\r", b" ", b"?", b"\t", b"\x03", b"\x1a", b"\x1b[A"];
    prop_oneof![
        5 => prop::sample::select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec()),
        5 => prop::sample::select(ends).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn the_whole_device_stands_it(
        personality in prop::sample::select(Personality::ALL.to_vec()),
        quirks in prop::sample::subsequence(Quirk::ALL.to_vec(), 0..4),
        seed in any::<u64>(),
        pieces in prop::collection::vec(words(), 0..120),
    ) {
        let settings = settings(&quirks, seed);
        let mut device = chassis::Settings::new(personality);
        device.quirks = settings.quirks.clone();
        let mut chassis = Chassis::new(device, Box::new(SimulatedBox::new(SimSettings::new(personality))));
        let mut now = Time::ZERO;
        let opened = Connection::telnet(settings, Some(support::PEER), &mut chassis, now);
        let mut connection = opened.expect("the device takes the session");
        for piece in pieces {
            let mut rest = &piece[..];
            for _ in 0..100 {
                rest = &rest[connection.input(rest, &mut chassis, now)..];
                connection.poll(&mut chassis, now);
                now = now + Duration::from_millis(50);
                while !connection.take_output(now).is_empty() {
                    connection.poll(&mut chassis, now);
                }
                if rest.is_empty() || connection.is_closed() {
                    break;
                }
            }
            prop_assert!(connection.room() <= TYPED_MAX);
        }
        connection.hang_up(&mut chassis, now);
    }
}

/// What is typed, with a pause in milliseconds behind each piece, breaks nothing and is told within bounds.
fn stands(asks: LoginAsks, quirks: &[Quirk], seed: u64, pieces: Vec<(Vec<u8>, u64)>) {
    let settings = settings(quirks, seed);
    let mut shell = SmallShell::asking(asks);
    shell.idle = Some(Duration::from_secs(300));
    let mut client = Client::try_connect(shell, settings);
    for (piece, pause) in pieces {
        // What is typed and what is shown are held together by bounds. The most one byte brings is what `?` brings
        // here: the line in the help and the line again, each of its characters in up to eight bytes.
        let wait = Duration::from_millis(pause);
        client.offer(&piece);
        assert!(client.connection.room() <= TYPED_MAX);
        client.wait(wait);
        assert!(client.seen().len() <= 2 * 8 * LINE_MAX * (piece.len() + 8), "output out of proportion");
    }
    // However it went, the session ends when nobody says anything any more.
    client.wait(Duration::from_secs(900));
    assert!(client.connection.is_closed());
    assert_eq!(client.shell.sessions(), 0);
}

/// Found once by the property below: a line of bytes that are shown as four each, and help asked for again and again.
#[test]
fn help_about_a_long_line_of_noise_is_bounded() {
    let pieces = [vec![128; 1000], b"enable".to_vec(), vec![b'?'; 1000]];
    stands(LoginAsks::Nothing, &[], 0, pieces.map(|piece| (piece, 0)).into());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn nothing_breaks_it(
        asks in asks(),
        quirks in quirks(),
        seed in any::<u64>(),
        pieces in prop::collection::vec((piece(), 0u64..2_000), 0..60),
    ) {
        stands(asks, &quirks, seed, pieces);
    }

    #[test]
    fn a_burst_is_what_it_is_byte_by_byte(
        asks in asks(),
        pieces in prop::collection::vec(piece(), 0..30),
    ) {
        let typed = pieces.concat();
        let mut burst = Client::connect(SmallShell::asking(asks), Settings::default());
        burst.offer(&typed);
        burst.wait(Duration::from_secs(30));
        let mut slow = Client::connect(SmallShell::asking(asks), Settings::default());
        for byte in &typed {
            slow.offer(&[*byte]);
        }
        slow.wait(Duration::from_secs(30));
        prop_assert_eq!(&burst.shell.lines, &slow.shell.lines);
        prop_assert_eq!(burst.connection.is_closed(), slow.connection.is_closed());
    }
}

//! The terminal machine, in memory and in virtual time: dialogue, editing, paging, notices, limits.

mod support;

use std::time::Duration;

use support::{Client, PASSWORD, SmallShell};
use switch_sim::quirk::Quirks;
use switch_sim::shell::LoginAsks;
use switch_sim::terminal::{LINE_MAX, Settings, TYPED_MAX, Texts};

const MORE: &str = "--More--, next page: Space, next line: Return key, quit: Control-c";
const PROMPT: &str = "telnet@ServerIron>";

fn with(quirks: &[&str]) -> Settings {
    Settings { quirks: Quirks::of(quirks).expect("quirks as a user orders them"), ..Settings::default() }
}

fn open() -> Client {
    open_with(&[])
}

fn open_with(quirks: &[&str]) -> Client {
    let mut client = Client::connect(SmallShell::default(), with(quirks));
    assert_eq!(client.seen(), PROMPT);
    client
}

/// Opens a session that has switched its pager off.
fn open_unpaged(quirks: &[&str]) -> Client {
    let mut client = open_with(quirks);
    client.send("skip-page-display\r");
    client
}

mod login {
    use super::*;

    #[test]
    fn password_only_with_the_exact_texts() {
        let mut client = Client::connect(SmallShell::asking(LoginAsks::Password), Settings::default());
        assert_eq!(client.seen(), "User Access Verification\r\n\r\nPlease Enter Password: ");
        assert_eq!(client.send(&format!("{PASSWORD}\r\n")), "\r\n\r\nUser login successful.\r\n\r\ntelnet@ServerIron>");
    }

    #[test]
    fn name_and_password_typed_byte_by_byte() {
        let mut client = Client::connect(SmallShell::asking(LoginAsks::NameAndPassword), with(&["password-stars"]));
        assert_eq!(client.seen(), "User Access Verification\r\n\r\nPlease Enter Login Name: ");
        let mut seen = String::new();
        for byte in format!("admin\r\n{PASSWORD}\r\n").bytes() {
            client.type_bytes(&[byte]);
            seen += &client.seen();
        }
        let stars = "*".repeat(PASSWORD.len());
        assert_eq!(
            seen,
            format!("admin\r\nPlease Enter Password: {stars}\r\n\r\nUser login successful.\r\n\r\n{PROMPT}")
        );
    }

    #[test]
    fn the_old_spelling() {
        let client = &mut Client::connect(SmallShell::asking(LoginAsks::Password), with(&["space-before-colon"]));
        assert_eq!(client.seen(), "User Access Verification\r\n\r\nPlease Enter Password : ");
    }

    #[test]
    fn three_tries_and_the_line_is_dead() {
        let mut client = Client::connect(SmallShell::asking(LoginAsks::Password), Settings::default());
        client.seen();
        for _ in 0..2 {
            assert_eq!(client.send("wrong\r"), "\r\n\r\nUser login failure.\r\n\r\nPlease Enter Password: ");
            assert!(!client.connection.is_closed());
        }
        assert_eq!(client.send("wrong\r"), "\r\n\r\nUser login failure.\r\n");
        assert!(client.connection.is_closed());
        assert_eq!(client.shell.sessions(), 0);
    }

    #[test]
    fn a_peer_that_guesses_waits_longer_and_longer_whatever_it_says() {
        let settings = Settings::default();
        for _ in 0..4 {
            let mut guesser = Client::connect(SmallShell::asking(LoginAsks::Password), settings.clone());
            guesser.send("a\rb\rc\r");
            guesser.wait(Duration::from_secs(3));
            assert!(guesser.connection.is_closed());
        }
        let mut client = Client::connect(SmallShell::asking(LoginAsks::Password), settings);
        client.send(&format!("{PASSWORD}\r"));
        client.wait(Duration::from_millis(500));
        assert!(!client.connection.is_logged_in(), "even the right answer waits");
        client.wait(Duration::from_millis(500));
        assert!(client.connection.is_logged_in(), "but an administrator is in within two seconds");
    }

    #[test]
    fn the_dialogue_does_not_wait_for_ever() {
        let mut client = Client::connect(SmallShell::asking(LoginAsks::NameAndPassword), Settings::default());
        client.send("adm");
        client.wait(Duration::from_secs(59));
        assert!(!client.connection.is_closed());
        client.wait(Duration::from_secs(1));
        assert!(client.connection.is_closed());
    }

    #[test]
    fn refused_once_and_hung() {
        let mut client = Client::connect(SmallShell::asking(LoginAsks::Password), with(&["login-refused@count=1"]));
        client.seen();
        let good = format!("{PASSWORD}\r");
        assert_eq!(client.send(&good), "\r\n\r\nUser login failure.\r\n\r\nPlease Enter Password: ");
        assert!(client.send(&good).ends_with("User login successful.\r\n\r\ntelnet@ServerIron>"));

        let mut client = Client::connect(SmallShell::asking(LoginAsks::Password), with(&["login-hung"]));
        client.seen();
        assert_eq!(client.send(&good), "\r\n");
        client.wait(Duration::from_secs(30));
        assert_eq!(client.send("\r\r"), "");
        client.wait(Duration::from_secs(31));
        assert!(client.connection.is_closed(), "the dialogue's time limit ends it");
    }
}

mod lines {
    use super::*;

    #[test]
    fn the_echo_is_the_command_alone_and_success_is_silent() {
        let mut client = open();
        for end in ["\r\n", "\r\0", "\r", "\n"] {
            let seen = client.send(&format!("configure terminal{end}"));
            let was = seen.replace("(config)", "");
            assert_eq!(was, "configure terminal\r\ntelnet@ServerIron>", "{end:?}");
        }
        assert_eq!(client.send("\r\n"), "\r\ntelnet@ServerIron(config)>");
    }

    #[test]
    fn answers_have_whole_lines() {
        let mut client = open();
        assert_eq!(
            client.send("show chassi\r\n"),
            "show chassi\r\nInvalid input -> show chassi\r\nType ? for a list\r\ntelnet@ServerIron>"
        );
    }

    #[test]
    fn several_lines_in_one_write() {
        let mut client = open();
        let seen = client.send("say a\nsay b\nexit\n");
        assert_eq!(seen, "say a\r\na\r\ntelnet@ServerIron>say b\r\nb\r\ntelnet@ServerIron>exit\r\n");
        assert!(client.connection.is_closed());
        assert_eq!(client.shell.sessions(), 0);
    }

    #[test]
    fn cr_and_lf_each_enter_on_an_old_box() {
        let mut client = open_with(&["cr-and-lf"]);
        assert_eq!(
            client.send("enable\r\n"),
            "enable\r\nPassword:\r\nError - Incorrect username or password.\r\ntelnet@ServerIron>"
        );
        client.send("enable\r");
        assert_eq!(client.send(&format!("{PASSWORD}\n")), "\r\ntelnet@ServerIron#");
    }

    #[test]
    fn questions_and_secrets() {
        let mut client = open();
        assert_eq!(client.send("enable\r\n"), "enable\r\nPassword:");
        assert_eq!(client.send("nonsense\r\n"), "\r\nError - Incorrect username or password.\r\ntelnet@ServerIron>");
        client.send("enable\r\n");
        assert_eq!(client.send(&format!("{PASSWORD}\r\n")), "\r\ntelnet@ServerIron#");
        assert_eq!(
            client.send("reload\r"),
            "reload\r\nThis restarts the device.\r\nAre you sure? (enter 'y' or 'n'): "
        );
        assert_eq!(client.send("nx\x7f\r"), "nx\x08 \x08\r\ntelnet@ServerIron#");
        assert_eq!(
            client.send("reload\r\x03"),
            "reload\r\nThis restarts the device.\r\nAre you sure? (enter 'y' or 'n'): \r\ntelnet@ServerIron#"
        );
        assert!(!client.shell.lines.iter().any(|line| line == "nx"));
    }

    #[test]
    fn secrets_are_no_history() {
        let mut client = open();
        client.send(&format!("enable\r{PASSWORD}\r"));
        assert_eq!(client.send("\x10"), "enable");
        assert_eq!(client.send("\x10\x10"), "");
    }

    #[test]
    fn help_comes_at_once_and_the_line_is_still_there() {
        let mut client = open();
        assert_eq!(client.send("show ser?"), "show ser?\r\n  <help for `show ser`>\r\ntelnet@ServerIron>show ser");
        client.send("ver\r");
        assert_eq!(client.shell.lines, ["show server"]);
    }

    #[test]
    fn an_escaped_question_mark_is_a_question_mark() {
        let mut client = open();
        assert_eq!(client.send("say /a\\?b=c\r"), "say /a\\?b=c\r\n/a?b=c\r\ntelnet@ServerIron>");
    }

    #[test]
    fn tab_completes() {
        let mut client = open();
        assert_eq!(client.send("skip\t"), "skip-page-display ");
        assert_eq!(client.send("\t"), "\r\n  <help for `skip-page-display `>\r\ntelnet@ServerIron>skip-page-display ");
    }

    #[test]
    fn control_c_and_control_z() {
        let mut client = open();
        client.send("configure terminal\r");
        assert_eq!(client.send("half a li\x03"), "half a li\r\ntelnet@ServerIron(config)>");
        assert_eq!(client.send("\x1a"), "\r\ntelnet@ServerIron>");
        assert_eq!(client.shell.lines, ["configure terminal"]);
    }

    #[test]
    fn a_line_of_ten_megabytes_is_refused_and_costs_nothing() {
        let mut client = open();
        let seen = client.send(&"x".repeat(10 << 20));
        assert_eq!(seen.len(), LINE_MAX + 1, "an echo up to the bound, and a bell");
        assert!(client.connection.room() <= TYPED_MAX);
        assert_eq!(
            client.send("\r"),
            format!("\r\nError - The line is longer than {LINE_MAX} characters.\r\ntelnet@ServerIron>")
        );
        assert!(client.shell.lines.is_empty(), "nothing of it was obeyed");
        assert_eq!(client.send("say hi\r"), "say hi\r\nhi\r\ntelnet@ServerIron>");
    }
}

mod waiting {
    use super::*;

    #[test]
    fn what_is_typed_ahead_is_kept() {
        let mut client = open();
        assert_eq!(client.send("slow\rsay later\rsay last\r"), "slow\r\n");
        client.wait(Duration::from_millis(999));
        assert_eq!(client.seen(), "");
        client.wait(Duration::from_millis(1));
        let prompt = PROMPT;
        assert_eq!(
            client.seen(),
            format!("done\r\n{prompt}say later\r\nlater\r\n{prompt}say last\r\nlast\r\n{prompt}")
        );
    }

    #[test]
    fn typing_ahead_is_bounded_and_nothing_is_lost() {
        let mut client = open();
        client.send("slow\r");
        let line = "say 0123456789\r";
        let pasted = line.repeat(1000);
        client.type_bytes(pasted.as_bytes());
        assert!(client.connection.room() <= TYPED_MAX);
        client.wait(Duration::from_secs(2));
        assert_eq!(client.shell.lines.len(), 1001);
    }

    #[test]
    fn a_notice_lands_behind_the_prompt() {
        let mut client = open();
        client.send("delete\r");
        client.send("say");
        client.wait(Duration::from_millis(300));
        assert_eq!(client.seen(), "Server rs1 successfully deleted.");
        assert_eq!(client.send("\r").lines().last(), Some(PROMPT));
    }

    #[test]
    fn a_notice_lands_in_the_middle_of_a_prompt() {
        let mut client = open_with(&["notice-in-prompt"]);
        client.send("delete\r");
        client.wait(Duration::from_millis(300));
        assert_eq!(client.seen(), "", "it waits for a prompt");
        let seen = client.send("\r");
        assert!(seen.contains("Server rs1 successfully deleted."), "{seen}");
        assert!(!seen.contains(PROMPT), "{seen}");
        assert_eq!(seen.replace("Server rs1 successfully deleted.", ""), format!("\r\n{PROMPT}"));
        assert_eq!(client.send("\r"), format!("\r\n{PROMPT}"));
    }

    #[test]
    fn a_silent_session_ends() {
        let mut shell = SmallShell::default();
        shell.idle = Some(Duration::from_secs(120));
        let mut client = Client::connect(shell, Settings::default());
        client.wait(Duration::from_secs(119));
        client.send(" ");
        client.wait(Duration::from_secs(119));
        assert!(!client.connection.is_closed());
        client.wait(Duration::from_secs(1));
        assert!(client.connection.is_closed());
        assert_eq!(client.shell.sessions(), 0);
    }

    #[test]
    fn the_device_ends_a_session() {
        let mut client = open();
        client.shell.end_all();
        client.wait(Duration::ZERO);
        assert!(client.connection.is_closed());
        assert_eq!(client.shell.sessions(), 0);
    }
}

mod pages {
    use super::*;

    fn rows(range: std::ops::RangeInclusive<usize>) -> String {
        range.map(|n| format!("row {n}\r\n")).collect()
    }

    fn erased() -> String {
        let width = MORE.len();
        format!("{}{}{}", "\x08".repeat(width), " ".repeat(width), "\x08".repeat(width))
    }

    #[test]
    fn space_turns_return_steps_and_control_c_quits() {
        let mut client = open();
        assert_eq!(client.send("show long\r"), format!("show long\r\n{}{MORE}", rows(1..=23)));
        assert_eq!(client.send("x"), "", "other keys do nothing");
        assert_eq!(client.send("\r\n"), format!("{}row 24\r\n{MORE}", erased()));
        assert_eq!(client.send(" "), format!("{}{}{MORE}", erased(), rows(25..=47)));
        assert_eq!(client.send("\x03"), format!("{}{PROMPT}", erased()));
        client.send("show long\r");
        assert_eq!(client.send("  "), format!("{0}{1}{MORE}{0}{2}{PROMPT}", erased(), rows(24..=46), rows(47..=60)));
    }

    #[test]
    fn the_words_are_the_devices() {
        let texts = Texts { more: "-- more --".into(), login_failed: "Bad.".into(), line_too_long: "Long.".into() };
        let settings = Settings { texts: texts.into(), ..Settings::default() };
        let mut client = Client::connect(SmallShell::asking(LoginAsks::Password), settings);
        assert!(client.send("wrong\r").ends_with("\r\n\r\nBad.\r\n\r\nPlease Enter Password: "));
        client.send(&format!("{PASSWORD}\r"));
        assert!(client.send("show long\r").ends_with("row 23\r\n-- more --"));
        let back = "\x08".repeat(10);
        assert_eq!(client.send("q"), format!("{back}{}{back}{PROMPT}", " ".repeat(10)));
        assert!(client.send(&"x".repeat(2_000)).ends_with('\x07'));
        assert_eq!(client.send("\r"), format!("\r\nLong.\r\n{PROMPT}"));
    }

    #[test]
    fn skip_page_display_unless_it_is_stuck() {
        let mut client = open_unpaged(&[]);
        client.seen();
        assert_eq!(client.send("show long\r"), format!("show long\r\n{}{PROMPT}", rows(1..=60)));
        let mut client = open_unpaged(&["pager-stuck"]);
        assert!(client.send("show long\r").ends_with(MORE));
    }
}

mod faults {
    use super::*;

    #[test]
    fn a_swallowed_line_leaves_no_trace() {
        let mut client = open_with(&["swallow-input=1@count=1"]);
        assert_eq!(client.send("say gone\r\n"), "");
        assert_eq!(client.send("\r\n"), format!("\r\n{PROMPT}"), "an empty line wakes the device");
        assert_eq!(client.send("say here\r\n"), format!("say here\r\nhere\r\n{PROMPT}"));
        assert_eq!(client.shell.lines, ["say here"]);
    }

    #[test]
    fn blank_lines_stand_before_an_answer_or_a_prompt() {
        let mut client = open_with(&["blank-lines=1"]);
        let mut seen: Vec<String> = (0..20).map(|_| client.send("say x\r")).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen, [format!("say x\r\n\r\nx\r\n{PROMPT}"), format!("say x\r\nx\r\n\r\n{PROMPT}")]);
    }

    #[test]
    fn slow_output_comes_later_and_whole() {
        let mut client = Client::connect(SmallShell::default(), Settings::default());
        client.seen();
        let mut slow = Client::connect(SmallShell::default(), with(&["slow-output=100ms@after=1s"]));
        slow.wait(Duration::from_secs(1));
        slow.seen();
        assert_eq!(slow.send("say x\r"), "");
        slow.wait(Duration::from_millis(99));
        assert_eq!(slow.seen(), "");
        slow.wait(Duration::from_millis(1));
        assert_eq!(slow.seen(), client.send("say x\r"));
    }

    #[test]
    fn bytewise_output_takes_its_time() {
        let mut client = open_with(&["byte-wise-output=10ms@after=1s"]);
        client.wait(Duration::from_secs(1));
        assert_eq!(client.send("say x\r"), "s", "one at once, and one each ten milliseconds");
        client.wait(Duration::from_millis(55));
        assert_eq!(client.seen().len(), 5);
        client.wait(Duration::from_secs(1));
        assert_eq!(client.seen(), "\nx\r\ntelnet@ServerIron>".to_owned());
    }

    #[test]
    fn a_half_open_session_falls_silent_and_stays() {
        let mut client = open_with(&["half-open=30@count=1"]);
        assert_eq!(client.send("say hello\r"), "say hello\r\nh");
        assert_eq!(client.send(&"say again\r".repeat(10_000)), "");
        assert!(!client.connection.is_closed());
        assert_eq!(client.shell.lines, ["say hello"]);
    }

    #[test]
    fn what_a_silent_session_waits_for_still_ends() {
        let mut client = open_with(&["half-open=20@count=1"]);
        assert_eq!(client.send("slow\r"), "sl");
        client.wait(Duration::from_secs(60));
        assert_eq!((client.seen(), client.connection.is_closed()), (String::new(), false));
    }

    #[test]
    fn a_connection_is_cut_in_the_middle_of_an_answer() {
        let mut client = open_with(&["disconnect-after=30"]);
        assert_eq!(client.send("say hello\r"), "say hello\r\nh");
        assert!(client.connection.is_closed());
        assert_eq!(client.shell.sessions(), 0);
    }
}

//! The session machine of the Foundry driver against dialogues as real boxes hold them, quirk by quirk: no sockets, no
//! clock.

#![allow(missing_docs, unreachable_pub)]

use std::time::Duration;

use acm_switch::base::time::Time;
use acm_switch::driver::foundry::session::{Answer, Event, Failure, Login, Session};
use acm_switch::driver::foundry::transcript::{self, Piece};
use proptest::prelude::*;

const PROMPT: &str = "telnet@lb-5.pdq";

/// A box that says what the test says.
struct Talk {
    session: Session,
    now: Time,
    /// How many bytes come at a time.
    step: usize,
}

impl Talk {
    fn new(login: Login) -> Talk {
        Talk { session: Session::new(login, Time::ZERO), now: Time::ZERO, step: usize::MAX }
    }

    fn admin() -> Talk {
        Talk::new(Login {
            user: Some("admin".into()),
            password: Some("pass".into()),
            enable_password: Some("secret".into()),
        })
    }

    fn nobody() -> Talk {
        Talk::new(Login::default())
    }

    /// The box says something, a millisecond for each piece.
    fn says(&mut self, text: &str) -> &mut Talk {
        let bytes = text.replace('\n', "\r\n").into_bytes();
        for piece in bytes.chunks(self.step.min(bytes.len().max(1))) {
            self.now = self.now + Duration::from_millis(1);
            self.session.receive(piece, self.now);
        }
        self
    }

    /// The driver has typed exactly this.
    #[track_caller]
    fn types(&mut self, wanted: &str) -> &mut Talk {
        let typed: Vec<u8> = self.session.take_output().into_iter().flat_map(|output| output.bytes).collect();
        assert_eq!(String::from_utf8_lossy(&typed), wanted);
        self
    }

    /// Time passes, deadline by deadline.
    fn waits(&mut self, millis: u64) -> &mut Talk {
        let until = self.now + Duration::from_millis(millis);
        while let Some(deadline) = self.session.deadline().filter(|deadline| *deadline <= until) {
            self.now = self.now.max(deadline);
            self.session.tick(self.now);
        }
        self.now = until;
        self
    }

    #[track_caller]
    fn event(&mut self) -> Event {
        let mut events = self.session.take_events();
        assert_eq!(events.len(), 1, "{events:?}");
        events.remove(0)
    }

    #[track_caller]
    fn nothing_yet(&mut self) -> &mut Talk {
        assert_eq!(self.session.take_events(), []);
        self
    }

    #[track_caller]
    fn refused(&mut self) -> String {
        match self.event() {
            Event::Over(Failure::Refused(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    /// Logged in and ready, in configuration mode.
    fn ready() -> Talk {
        let mut talk = Talk::nobody();
        talk.says(&format!("{PROMPT}#")).types("skip-page-display\r");
        talk.says(&format!("skip-page-display\nDisable page display mode\n{PROMPT}(config)#"));
        assert_eq!(talk.event(), Event::Ready);
        talk
    }

    fn asks(&mut self, line: &str) -> &mut Talk {
        self.session.submit(line, self.now);
        self.types(&format!("{line}\r"))
    }

    #[track_caller]
    fn answered(&mut self, text: &str, mode: &str) {
        assert_eq!(self.event(), Event::Answer(Answer { text: text.into(), mode: mode.into() }));
    }
}

fn finish_login(talk: &mut Talk) {
    talk.types("skip-page-display\r");
    talk.says(&format!("skip-page-display\nDisable page display mode\n{PROMPT}#"));
    assert_eq!(talk.event(), Event::Ready);
}

#[test]
fn a_login_with_name_and_password_and_enable() {
    let mut talk = Talk::admin();
    talk.says("User Access Verification\n\nPlease Enter Login Name: ").types("admin\r");
    talk.says("admin\nPlease Enter Password: ").types("pass\r");
    talk.says(&format!("\n\nUser login successful.\n\n{PROMPT}>")).types("enable\r");
    talk.says("enable\nPassword:").types("secret\r");
    talk.says(&format!("\n{PROMPT}#"));
    finish_login(&mut talk);
}

#[test]
fn a_login_with_a_password_alone_in_stars_and_old_spelling() {
    let mut talk = Talk::admin();
    talk.says("User Access Verification\n\nPlease Enter Password : ").types("pass\r");
    talk.says("****\n\nUser login successful.\n\nSLB-telnet@lb-5.pdq>").types("enable\r");
    talk.says("enable\nPassword:").types("secret\r");
    talk.says("******\nSLB-telnet@lb-5.pdq#").types("skip-page-display\r");
    talk.says("skip-page-display\nDisable page display mode\nSLB-telnet@lb-5.pdq#");
    assert_eq!(talk.event(), Event::Ready);
}

#[test]
fn a_login_straight_to_the_privileged_prompt() {
    let mut talk = Talk::admin();
    talk.says("Please Enter Login Name : ").types("admin\r").says("admin\nPlease Enter Password:").types("pass\r");
    talk.says(&format!("\nUser login successful.\n\n{PROMPT}#"));
    finish_login(&mut talk);
}

#[test]
fn enable_that_asks_for_a_name_and_enable_without_a_password() {
    let mut talk = Talk::admin();
    talk.says(&format!("{PROMPT}>")).types("enable\r");
    talk.says("enable\nUser Name:").types("admin\r").says("admin\nPassword:").types("secret\r");
    talk.says(&format!("\n{PROMPT}#"));
    finish_login(&mut talk);

    let mut talk = Talk::nobody();
    talk.says(&format!("{PROMPT}> ")).types("enable\r");
    talk.says(&format!("enable\nNo password has been assigned yet...\n{PROMPT}#"));
    finish_login(&mut talk);
}

#[test]
fn a_console_prompt_is_believed_when_nothing_follows_it() {
    let mut talk = Talk::nobody();
    talk.says("Welcome, customer #").waits(50).types("").says("1 of ours\nServerIronADX#").waits(50).types("");
    talk.waits(60).types("skip-page-display\r");
    talk.says("skip-page-display\nServerIronADX#");
    assert_eq!(talk.event(), Event::Ready);
}

#[test]
fn refusals_are_not_tried_again() {
    let mut talk = Talk::admin();
    talk.says("Please Enter Password:").types("pass\r");
    let why = talk.says("\nUser login failure.\n\nPlease Enter Password:").refused();
    assert!(why.contains("User login failure."), "{why}");

    let mut talk = Talk::admin();
    talk.says("Please Enter Password:").types("pass\r").says("\nUser login failure.\n");
    talk.session.closed("the connection was closed");
    assert!(talk.refused().contains("User login failure."));

    let mut talk = Talk::admin();
    talk.says(&format!("{PROMPT}>")).types("enable\r").says("enable\nPassword:").types("secret\r");
    let why = talk.says(&format!("\nError - Incorrect username or password.\n{PROMPT}>")).refused();
    assert!(why.contains("Incorrect username or password."), "{why}");

    let mut talk = Talk::admin();
    talk.says(&format!("{PROMPT}>")).types("enable\r");
    assert!(talk.says(&format!("enable\nInvalid input -> enable\n{PROMPT}>")).refused().contains("Invalid input"));
}

#[test]
fn what_is_asked_for_and_not_there_is_named_with_the_remedy() {
    for (said, remedy) in [
        ("Please Enter Login Name: ", "telnet://USER@HOST"),
        ("Please Enter Password: ", "ACM_PASSWORD"),
        ("User Name:", "USER"),
    ] {
        let why = Talk::nobody().says(said).refused();
        assert!(why.contains(remedy), "{said}: {why}");
    }
    let mut talk = Talk::nobody();
    talk.says(&format!("{PROMPT}>")).types("enable\r");
    assert!(talk.says("enable\nPassword:").refused().contains("ACM_ENABLE_PASSWORD"));
}

#[test]
fn a_login_has_ten_seconds() {
    let mut talk = Talk::admin();
    talk.says("Please Enter Password:").types("pass\r").waits(9_990).nothing_yet();
    talk.waits(20);
    assert!(matches!(talk.event(), Event::Over(Failure::TimedOut(_))));

    let mut talk = Talk::admin();
    talk.says("Telnet server disabled\n");
    talk.session.closed("the connection was closed");
    let Event::Over(Failure::Closed(why)) = talk.event() else { panic!("it hung up") };
    assert!(why.contains("Telnet server disabled"), "{why}");
}

#[test]
fn a_swallowed_enable_is_typed_again() {
    let mut talk = Talk::nobody();
    talk.says(&format!("{PROMPT}>")).types("enable\r").waits(3_100).types("\r");
    talk.says(&format!("\n{PROMPT}>")).types("enable\r");
    talk.says(&format!("enable\n{PROMPT}#"));
    finish_login(&mut talk);
}

#[test]
fn silence_is_an_answer() {
    let mut talk = Talk::ready();
    talk.asks("server real rs1 10.0.0.1").says(&format!("server real rs1 10.0.0.1\n{PROMPT}(config-rs-rs1)#"));
    talk.answered("", "config-rs-rs1");
}

#[test]
fn errors_that_look_like_prompts_are_answers() {
    let mut talk = Talk::ready();
    talk.asks("bind x").says("bind x\nInvalid input -> ").nothing_yet();
    talk.says(&format!("bind x\nType ? for a list\n{PROMPT}(config)#"));
    talk.answered("Invalid input -> bind x\nType ? for a list\n", "config");
}

#[test]
fn a_prompt_without_the_echo_is_a_late_one() {
    let mut talk = Talk::ready();
    talk.asks("port 80").says(&format!("\n{PROMPT}(config)#")).nothing_yet();
    talk.says(&format!("port 80\n{PROMPT}(config)#")).answered("", "config");
}

#[test]
fn blank_lines_and_blanks_are_tolerated() {
    let mut talk = Talk::ready();
    talk.asks("port 80").says(&format!("\nport 80\n\n\n{PROMPT}(config)# "));
    talk.answered("\n\n", "config");
}

#[test]
fn a_swallowed_line_is_typed_again() {
    let mut talk = Talk::ready();
    talk.asks("port 80").waits(1_100).types("\r");
    talk.says(&format!("\n{PROMPT}(config)#")).types("port 80\r");
    talk.says(&format!("port 80\n{PROMPT}(config)#")).answered("", "config");
}

#[test]
fn a_line_swallowed_again_and_again_is_given_up() {
    let mut talk = Talk::ready();
    talk.asks("port 80");
    for _ in 0..4 {
        talk.waits(1_100).types("\r").says(&format!("\n{PROMPT}(config)#")).types("port 80\r");
    }
    talk.waits(1_100).types("\r").says(&format!("\n{PROMPT}(config)#"));
    assert_eq!(talk.event(), Event::Garbled { command: "port 80".into(), said: String::new() });
}

#[test]
fn a_mangled_line_is_not_typed_again() {
    let mut talk = Talk::ready();
    talk.asks("no server real rs1").says(&format!("no ser real rs1\nInvalid input -> ser\n{PROMPT}(config)#"));
    talk.nothing_yet().waits(1_100).types("\r").says(&format!("\n{PROMPT}(config)#"));
    let Event::Garbled { said, .. } = talk.event() else { panic!("garbled") };
    assert!(said.contains("Invalid input"), "{said}");
}

#[test]
fn a_late_notice_anywhere_changes_nothing() {
    let notice = "Server rs1.example.com successfully deleted.";
    let answer = format!("port 80\nline one\n{PROMPT}(config)#");
    let wire = answer.replace('\n', "\r\n");
    for at in 0..=wire.len() {
        let mut talk = Talk::ready();
        talk.asks("port 80");
        for piece in [&wire[..at], notice, &wire[at..]] {
            talk.session.receive(piece.as_bytes(), talk.now);
        }
        if at == wire.len() {
            // The prompt was whole already; the notice came after it.
            talk.answered("line one\n", "config");
            continue;
        }
        talk.answered("line one\n", "config");
        assert_eq!(talk.session.take_deleted(), ["rs1.example.com"], "at {at}");
    }
}

#[test]
fn a_notice_with_line_ends_breaks_a_prompt_and_an_empty_line_brings_another() {
    let mut talk = Talk::ready();
    talk.asks("port 80").says("port 80\ntelnet@lb\nServer rs1 successfully deleted.\n-5.pdq(config)#").nothing_yet();
    talk.waits(1_100).types("\r").says(&format!("\n{PROMPT}(config)#"));
    let Event::Answer(answer) = talk.event() else { panic!("answered") };
    assert_eq!(answer.mode, "config");
}

#[test]
fn a_warning_glued_before_the_prompt_is_part_of_the_answer() {
    let mut talk = Talk::ready();
    talk.asks("configure terminal");
    talk.says(&format!("configure terminal\nWarning: 1 user(s) already in config mode.{PROMPT}(config)#"));
    talk.answered("Warning: 1 user(s) already in config mode.", "config");
}

#[test]
fn a_pager_that_cannot_be_switched_off_gets_its_space() {
    let more = "--More--, next page: Space, next line: Return key, quit: Control-c";
    let erase = format!("{0}{1}{0}", "\u{8}".repeat(more.len()), " ".repeat(more.len()));
    for step in [1, 7, usize::MAX] {
        let mut talk = Talk::ready();
        talk.asks("show running-config").step = step;
        talk.says(&format!("show running-config\nserver real a 10.0.0.1\n{more}")).types(" ");
        talk.says(&format!("{erase} port http\n{more}")).types(" ");
        talk.says(&format!("{erase}!\nend\n{PROMPT}(config)#"));
        talk.answered("server real a 10.0.0.1\n port http\n!\nend\n", "config");
    }
}

#[test]
fn an_answer_may_drip_but_not_stop() {
    let mut talk = Talk::ready();
    talk.asks("show version").says("show version\n");
    for _ in 0..20 {
        talk.waits(900).says("line\n").nothing_yet();
    }
    talk.session.take_output();
    talk.waits(5_100);
    let Event::Over(Failure::TimedOut(why)) = talk.event() else { panic!("timed out") };
    assert!(why.contains("show version") && why.contains("line"), "{why}");
}

#[test]
fn a_half_open_connection_is_noticed() {
    let mut talk = Talk::ready();
    talk.asks("port 80").waits(5_100);
    assert!(matches!(talk.event(), Event::Over(Failure::TimedOut(_))));
    assert!(!talk.session.is_ready());
}

#[test]
fn floods_end_the_session() {
    let mut talk = Talk::nobody();
    for _ in 0..300 {
        talk.session.receive(&[b'x'; 1024], talk.now);
    }
    assert!(matches!(talk.event(), Event::Over(Failure::TooLong(_))));

    let mut talk = Talk::ready();
    for _ in 0..300 {
        talk.session.receive(&[b'x'; 1024], talk.now);
    }
    assert!(matches!(talk.event(), Event::Over(Failure::TooLong(_))));
}

#[test]
fn a_transcript_is_replayed_by_a_peer_that_says_the_same() {
    let text = "\
# acm transcript 1
0.000000 # telnet://admin@10.0.0.2:23
0.001000 < User Access Verification\\r\\n\\r\\n
0.001000 < Please Enter Password: 
0.002000 > <secret>\\r
0.003000 < ****\\r\\n\\r\\nUser login successful.\\r\\n\\r\\ntelnet@ServerIron>
0.004000 > enable\\r
0.005000 < enable\\r\\nNo password has been assigned yet...\\r\\ntelnet@ServerIron#
0.006000 > skip-page-display\\r
0.007000 < skip-page-display\\r\\nDisable page display mode\\r\\ntelnet@ServerIron#
";
    let mut session = Session::new(Login { password: Some("x".into()), ..Login::default() }, Time::ZERO);
    for (at, piece) in transcript::parse(text).unwrap() {
        match piece {
            Piece::Received(bytes) => session.receive(&bytes, at),
            Piece::Sent(typed) => {
                let output = session.take_output().remove(0);
                assert_eq!(output.secret, typed.is_none());
                assert!(typed.is_none_or(|typed| typed == output.bytes));
            }
        }
    }
    assert_eq!(session.take_events(), [Event::Ready]);
}

proptest! {
    #[test]
    fn a_dialogue_in_pieces_of_any_size_is_the_same(step in 1usize..40) {
        let mut talk = Talk::admin();
        talk.step = step;
        talk.says("User Access Verification\n\nPlease Enter Login Name: ").types("admin\r");
        talk.says("admin\nPlease Enter Password: ").types("pass\r");
        talk.says(&format!("****\n\nUser login successful.\n\n{PROMPT}>")).types("enable\r");
        talk.says("enable\nPassword:").types("secret\r");
        talk.says(&format!("******\n{PROMPT}#"));
        finish_login(&mut talk);
        talk.asks("show version").says(&format!("show version\nSW: 7.3\n\nHW: XL\n{PROMPT}#"));
        talk.answered("SW: 7.3\n\nHW: XL\n", "");
    }

    #[test]
    fn no_bytes_make_it_panic(pieces: Vec<(Vec<u8>, u16)>, at_login: bool) {
        let mut talk = if at_login { Talk::admin() } else { Talk::ready() };
        if !at_login {
            talk.asks("show version");
        }
        for (bytes, wait) in pieces {
            talk.session.receive(&bytes, talk.now);
            talk.waits(u64::from(wait));
            talk.session.take_output();
            talk.session.take_events();
        }
    }
}

//! The list of quirks: name, value, what happens. `--list-quirks` and the documentation print this table.

use std::fmt;
use std::time::Duration;

/// A value that is a length of time or a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// A length of time.
    Span(Duration),
    /// Bytes, lines, users.
    Number(u64),
}

/// What stands behind `NAME=`, and what holds when nothing does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Takes {
    /// No value.
    Nothing,
    /// The chance of each occasion: `0.01` or `1%`.
    Chance(f64),
    /// A length of time: `300` is milliseconds; `300ms`, `2s`, `1m`.
    Span(Duration),
    /// A number of these.
    Number(u64, &'static str),
}

impl Takes {
    pub(super) fn default_amount(self) -> Option<Amount> {
        match self {
            Takes::Span(span) => Some(Amount::Span(span)),
            Takes::Number(number, _) => Some(Amount::Number(number)),
            Takes::Nothing | Takes::Chance(_) => None,
        }
    }
}

impl fmt::Display for Takes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Takes::Nothing => Ok(()),
            Takes::Chance(chance) => write!(f, "=CHANCE ({chance})"),
            Takes::Span(span) => write!(f, "=SPAN ({}ms)", span.as_millis()),
            Takes::Number(number, of) => write!(f, "={} ({number})", of.to_uppercase()),
        }
    }
}

const fn ms(millis: u64) -> Takes {
    Takes::Span(Duration::from_millis(millis))
}

/// One row a quirk: its name in the program, its name for people, its value and default, what the device does.
macro_rules! quirks {
    ($($kind:ident $name:literal $takes:expr, $does:literal;)*) => {
        /// Something a real box does wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Quirk { $(#[doc = $does] $kind,)* }

        impl Quirk {
            /// All of them: first the terminal's, then the commands'.
            pub const ALL: &[Quirk] = &[$(Quirk::$kind,)*];

            /// As it is ordered: `swallow-input`.
            pub fn name(self) -> &'static str {
                match self { $(Quirk::$kind => $name,)* }
            }

            /// The value it takes, and the default.
            pub fn takes(self) -> Takes {
                match self { $(Quirk::$kind => $takes,)* }
            }

            /// What the device does, in a sentence.
            pub fn does(self) -> &'static str {
                match self { $(Quirk::$kind => $does,)* }
            }
        }
    };
}

quirks! {
    SlowOutput "slow-output" ms(50), "each piece of output comes this much later";
    ByteWiseOutput "byte-wise-output" ms(1), "output comes one byte at a time, with this pause between";
    SwallowInput "swallow-input" Takes::Chance(0.01), "a command line vanishes: no echo, no answer, no prompt";
    BlankLines "blank-lines" Takes::Chance(0.2), "a blank line stands before an answer or before its prompt";
    CrAndLf "cr-and-lf" Takes::Nothing, "CR and LF are each an Enter, so CR LF enters an empty line too";
    PagerStuck "pager-stuck" Takes::Nothing, "skip-page-display has no effect: long answers always stop at --More--";
    PasswordStars "password-stars" Takes::Nothing, "passwords are echoed as asterisks";
    LoginRefused "login-refused" Takes::Nothing, "a login is refused, whatever the password";
    LoginHung "login-hung" Takes::Nothing, "after the password nothing comes any more";
    HalfOpen "half-open" Takes::Number(4096, "bytes"), "after so many bytes of output a session falls silent, but stays connected";
    SpaceBeforeColon "space-before-colon" Takes::Nothing, "the old spelling of the login prompts: `Please Enter Password : `";
    DisconnectAfter "disconnect-after" Takes::Number(4096, "bytes"), "after so many bytes of output the connection is closed";
    NoticeInPrompt "notice-in-prompt" Takes::Nothing, "a late notice waits for the next prompt and lands in the middle of it";

    LateDeletion "late-deletion" ms(300), "`Server NAME successfully deleted.` comes this long after the deletion";
    ConfigSessionBusy "config-session-busy" Takes::Nothing, "`configure terminal` is refused: someone else is in it";
    ConfigWarning "config-warning" Takes::Number(1, "users"), "`Warning: N user(s) already in config mode.` stands before the prompt";
    TruncatedTable "truncated-table" Takes::Number(1, "rows"), "the last rows of a show screen are missing";
    LyingTable "lying-table" Takes::Nothing, "a show screen contradicts the configuration";
    ReloadForgets "reload-forgets" Takes::Nothing, "a reload loses the saved configuration as well";
    ChangedBehind "changed-behind" Takes::Nothing, "another hand changes the configuration";
    AwStates "aw-states" ms(5_000), "unbound and deleted ports stay in aw_unbnd or aw_del at least this long";
    SlowCommand "slow-command" ms(2_000), "a command takes this long before its answer begins";
}

impl fmt::Display for Quirk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

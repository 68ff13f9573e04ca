//! The prompt: `[SLB-]telnet@HOST[(MODE)]>` or `#`, `SSH@HOST...`, or a plain `HOST...`.
//!
//! What stands before the mode is learnt once, at login, and expected literally afterwards: an error line such as
//! `Invalid input -> foo` ends like a prompt too. A host's name may hold dots, hyphens and more, so no pattern of its
//! characters is assumed. Blanks behind the sigil and texts glued before the prompt are tolerated.

/// The longest prompt believed at login.
const LENGTH_MAX: usize = 120;

/// The part of the prompt that does not change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prompt {
    base: String,
}

/// What a prompt says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen<'a> {
    /// Text glued before it.
    pub(super) before: &'a str,
    /// What is between its parentheses; empty outside of configuration.
    pub(super) mode: &'a str,
    /// `#` rather than `>`.
    pub(super) privileged: bool,
}

/// How sure one can be that a line is a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sureness {
    /// It names the transport, as prompts of these boxes do.
    Certain,
    /// It could be: wait whether more comes.
    Likely,
}

impl Prompt {
    /// Learns from an open line at the end of a login.
    pub(super) fn learn(line: &str) -> Option<(Prompt, Sureness)> {
        let line = line.trim();
        let sigil_at = line.len().checked_sub(1).filter(|_| line.ends_with(['>', '#']))?;
        let head = &line[..sigil_at];
        let base = match head.split_once('(') {
            Some((base, mode)) if mode.ends_with(')') => base,
            Some(_) => return None,
            None => head,
        };
        let plausible = (1..=LENGTH_MAX).contains(&base.len())
            && base.starts_with(|first: char| first.is_ascii_alphanumeric())
            && !base.contains(|c: char| c.is_whitespace() || matches!(c, '>' | '#'));
        if !plausible {
            return None;
        }
        let lower = base.to_ascii_lowercase();
        let sure =
            if lower.contains("telnet@") || lower.contains("ssh@") { Sureness::Certain } else { Sureness::Likely };
        Some((Prompt { base: base.to_owned() }, sure))
    }

    /// Finds the prompt at the end of an open line.
    pub(super) fn find<'a>(&self, line: &'a str) -> Option<Seen<'a>> {
        let line = line.trim_end();
        let at = line.rfind(&self.base)?;
        let rest = &line[at + self.base.len()..];
        let privileged = match rest.chars().next_back()? {
            '#' => true,
            '>' => false,
            _ => return None,
        };
        let mode = match &rest[..rest.len() - 1] {
            "" => "",
            mode => mode.strip_prefix('(')?.strip_suffix(')').filter(|mode| !mode.contains(char::is_whitespace))?,
        };
        Some(Seen { before: &line[..at], mode, privileged })
    }

    /// Whether a line is nothing but a prompt, whole or broken off.
    pub(super) fn is_remnant(&self, line: &str) -> bool {
        let line = line.trim();
        self.base.starts_with(line) || self.find(line).is_some_and(|seen| seen.before.is_empty())
    }

    /// Removes prompts in front of what was typed behind them.
    pub(super) fn strip<'a>(&self, line: &'a str) -> &'a str {
        let mut line = line.trim_start();
        while let Some(rest) = line.strip_prefix(self.base.as_str()) {
            let Some(end) = rest.find(['>', '#']) else { break };
            if end > 0 && !(rest.starts_with('(') && rest[..end].ends_with(')')) {
                break;
            }
            line = rest[end + 1..].trim_start();
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learnt(line: &str) -> Option<(String, Sureness)> {
        Prompt::learn(line).map(|(prompt, sure)| (prompt.base, sure))
    }

    #[test]
    fn prompts_of_real_boxes() {
        for (line, base, sure) in [
            ("SLB-telnet@lbf-5.pdq>", "SLB-telnet@lbf-5.pdq", Sureness::Certain),
            ("telnet@lb1.adx1016> ", "telnet@lb1.adx1016", Sureness::Certain),
            ("SSH@Lab-ICX7250#", "SSH@Lab-ICX7250", Sureness::Certain),
            ("telnet@ServerIron(config)#", "telnet@ServerIron", Sureness::Certain),
            ("ServerIronADX1/1#", "ServerIronADX1/1", Sureness::Likely),
        ] {
            assert_eq!(learnt(line), Some((base.to_owned(), sure)), "{line}");
        }
        for line in ["", "#", "#####", "Invalid input -> foo#", "a b#", "telnet@h(config#", "Password:"] {
            assert_eq!(learnt(line), None, "{line}");
        }
    }

    #[test]
    fn modes_and_what_is_glued_before() {
        let (prompt, _) = Prompt::learn("telnet@lb-5.pdq>").unwrap();
        let found = |line| prompt.find(line).map(|seen| (seen.before, seen.mode, seen.privileged));
        assert_eq!(found("telnet@lb-5.pdq>"), Some(("", "", false)));
        assert_eq!(
            found("telnet@lb-5.pdq(config-rs-md1.example.com)# "),
            Some(("", "config-rs-md1.example.com", true))
        );
        let glued = "Warning: 2 user(s) already in config mode.telnet@lb-5.pdq(config)#";
        assert_eq!(found(glued), Some(("Warning: 2 user(s) already in config mode.", "config", true)));
        for line in ["Invalid input -> foo", "telnet@lb-5.pdq", "telnet@lb-5.pdq(config", "telnet@lb-5.pdq#show", "#"] {
            assert_eq!(found(line), None, "{line}");
        }
    }

    #[test]
    fn echoes_behind_prompts() {
        let (prompt, _) = Prompt::learn("telnet@a>").unwrap();
        assert_eq!(prompt.strip("telnet@a(config)#telnet@a(config)# port 80"), "port 80");
        assert_eq!(prompt.strip("port 80"), "port 80");
        assert!(prompt.is_remnant("telnet@") && prompt.is_remnant("telnet@a#") && !prompt.is_remnant("Error"));
    }
}

//! Who may call over TCP: bearer tokens (RFC 6750, section 2.1), read from a file that only its owner can read.
//! A Unix socket needs none: its file mode says who may open it.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// List, events, statistics, metrics.
    ReadOnly,
    /// Everything.
    Full,
}

/// The shortest token accepted, in bytes: 128 bits in hexadecimal take 32, in base64 22.
pub const TOKEN_MIN: usize = 20;
/// The longest token accepted, in bytes.
pub const TOKEN_MAX: usize = 512;
/// Tokens in one file. At the bound the file is refused.
pub const TOKENS_MAX: usize = 64;

/// The tokens a listener accepts. Never printed.
pub struct Tokens(Vec<(Vec<u8>, Scope)>);

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} tokens", self.0.len())
    }
}

/// Why a token file is not accepted. The tokens themselves are never quoted.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// It cannot be read.
    #[error("token file {path}: {why}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// The system's words.
        why: io::Error,
    },
    /// Others may read or write it.
    #[error("token file {path} has mode {mode:04o}, so others may read it; run: chmod 600 {path}")]
    TooOpen {
        /// Which.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A line is wrong.
    #[error("token file line {line}: {why}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong.
        why: &'static str,
    },
    /// There is no token.
    #[error("the token file holds no token; write one a line, for example the output of: openssl rand -hex 32")]
    Empty,
}

impl Tokens {
    /// Reads a file: one token a line, optionally followed by `read-only`; `#` begins a comment.
    ///
    /// # Errors
    /// The file is unreadable, open to others than its owner, empty, or has a line that is no token.
    pub fn read(path: &Path) -> Result<Tokens, TokenFileError> {
        Tokens::parse(&private_text(path)?)
    }

    /// The first token of such a file, for a client that presents it.
    ///
    /// # Errors
    /// As [`Tokens::read`].
    pub fn first_of(path: &Path) -> Result<String, TokenFileError> {
        let Tokens(tokens) = Tokens::read(path)?;
        let first = tokens.into_iter().next().ok_or(TokenFileError::Empty)?;
        // Tokens are visible ASCII.
        Ok(String::from_utf8_lossy(&first.0).into_owned())
    }

    /// Reads the text of such a file.
    ///
    /// # Errors
    /// As [`Tokens::read`], except for those about the file.
    pub fn parse(text: &str) -> Result<Tokens, TokenFileError> {
        let mut tokens = Vec::new();
        for (line, text) in (1..).zip(text.lines()) {
            let mut words = text.split('#').next().unwrap_or_default().split_whitespace();
            let Some(token) = words.next() else { continue };
            let wrong = |why| TokenFileError::Line { line, why };
            let scope = match (words.next(), words.next()) {
                (None, _) => Scope::Full,
                (Some("read-only"), None) => Scope::ReadOnly,
                _ => return Err(wrong("after the token only the word read-only may stand")),
            };
            if !(TOKEN_MIN..=TOKEN_MAX).contains(&token.len()) || !token.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(wrong("a token has 20 to 512 visible ASCII characters"));
            }
            if tokens.len() == TOKENS_MAX {
                return Err(wrong("more than 64 tokens"));
            }
            tokens.push((token.as_bytes().to_vec(), scope));
        }
        if tokens.is_empty() { Err(TokenFileError::Empty) } else { Ok(Tokens(tokens)) }
    }

    /// What the value of an `Authorization` header allows; `None`: nothing. Every token is compared in constant
    /// time, so the time taken tells at most how long a token is.
    pub fn scope_of(&self, authorization: &[u8]) -> Option<Scope> {
        let (scheme, presented) = authorization.split_at_checked(7)?;
        if !scheme.eq_ignore_ascii_case(b"bearer ") {
            return None;
        }
        let mut found = 0u8;
        for (token, scope) in &self.0 {
            let same: Choice = token.as_slice().ct_eq(presented);
            let means = match scope {
                Scope::ReadOnly => 1,
                Scope::Full => 2,
            };
            found.conditional_assign(&means, same);
        }
        match found {
            1 => Some(Scope::ReadOnly),
            2 => Some(Scope::Full),
            _ => None,
        }
    }
}

/// The text of a file that only its owner can read.
fn private_text(path: &Path) -> Result<String, TokenFileError> {
    let unreadable = |why| TokenFileError::Unreadable { path: path.to_owned(), why };
    let mut file = std::fs::File::open(path).map_err(unreadable)?;
    // Of the open file, not of the path, which could be another file by now.
    let mode = file.metadata().map_err(unreadable)?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(TokenFileError::TooOpen { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    io::Read::read_to_string(&mut file, &mut text).map_err(unreadable)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "# two of them\n0123456789abcdef0123456789abcdef\n\nfedcba9876543210fedcba9876543210 read-only # dashboards\n";

    #[test]
    fn tokens_have_scopes() {
        let tokens = Tokens::parse(TEXT).unwrap();
        let ask = |text: &str| tokens.scope_of(text.as_bytes());
        assert_eq!(ask("Bearer 0123456789abcdef0123456789abcdef"), Some(Scope::Full));
        assert_eq!(ask("bearer fedcba9876543210fedcba9876543210"), Some(Scope::ReadOnly));
        for bad in [
            "",
            "Bearer",
            "Bearer ",
            "Basic 0123456789abcdef0123456789abcdef",
            "Bearer 0123456789abcdef0123456789abcdeg",
            "Bearer 0123456789abcdef",
        ] {
            assert_eq!(ask(bad), None, "{bad}");
        }
    }

    #[test]
    fn bad_files_say_where() {
        for (text, says) in [
            ("", "no token"),
            ("# nothing\n", "no token"),
            ("\nshort\n", "line 2"),
            ("0123456789abcdef0123456789abcdef full\n", "read-only"),
        ] {
            let error = Tokens::parse(text).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn an_open_file_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens");
        std::fs::write(&path, TEXT).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Tokens::read(&path), Err(TokenFileError::TooOpen { mode: 0o640, .. })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(Tokens::read(&path).is_ok());
    }

    #[test]
    fn tokens_are_not_printed() {
        assert!(!format!("{:?}", Tokens::parse(TEXT).unwrap()).contains("0123"));
    }
}

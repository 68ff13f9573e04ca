//! The keys of SSH: the device's own, and those that log in.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use russh::keys::ssh_key::{self, LineEnding};
use russh::keys::{Algorithm, HashAlg, PrivateKey, PublicKey};

/// The key by which clients recognise the device.
#[derive(Debug, Clone)]
pub struct HostKey(pub(super) PrivateKey);

/// Public keys that log in without a password, under any name.
#[derive(Debug, Clone, Default)]
pub struct AuthorizedKeys(Vec<PublicKey>);

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read or written.
    #[error("key file {path}: {why}")]
    Io {
        /// Which.
        path: PathBuf,
        /// The system's words.
        why: io::Error,
    },
    /// It holds no key that is understood.
    #[error("key file {path}{}: {why}", line.map(|line| format!(", line {line}")).unwrap_or_default())]
    Key {
        /// Which.
        path: PathBuf,
        /// In which line of an `authorized_keys` file.
        line: Option<usize>,
        /// What is wrong.
        why: ssh_key::Error,
    },
}

impl HostKey {
    /// A new Ed25519 key, for this run.
    ///
    /// # Errors
    /// The library's words if it cannot make one.
    pub fn generate() -> Result<Self, ssh_key::Error> {
        PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519).map(Self)
    }

    /// The key of this file (OpenSSH's format, without a passphrase); a file that is not there is made, readable by its owner only.
    ///
    /// # Errors
    /// [`KeyFileError`] names the file.
    pub fn from_file(path: &Path) -> Result<Self, KeyFileError> {
        let io = |why| KeyFileError::Io { path: path.into(), why };
        let key = |why| KeyFileError::Key { path: path.into(), line: None, why };
        match fs::read(path) {
            Ok(text) => PrivateKey::from_openssh(text).map(Self).map_err(key),
            Err(why) if why.kind() == io::ErrorKind::NotFound => {
                let new = Self::generate().map_err(key)?;
                let text = new.0.to_openssh(LineEnding::LF).map_err(key)?;
                let mut file =
                    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(io)?;
                file.write_all(text.as_bytes()).map_err(io)?;
                Ok(new)
            }
            Err(why) => Err(io(why)),
        }
    }

    /// As clients show it: `SHA256:...`.
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint(HashAlg::Sha256).to_string()
    }
}

impl AuthorizedKeys {
    /// Reads a file of OpenSSH's `authorized_keys` format; options in front of a key are not understood.
    ///
    /// # Errors
    /// [`KeyFileError`] names the file and the line.
    pub fn from_file(path: &Path) -> Result<Self, KeyFileError> {
        let text = fs::read_to_string(path).map_err(|why| KeyFileError::Io { path: path.into(), why })?;
        let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
        let keys = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        keys.map(|(line, text)| {
            PublicKey::from_openssh(text).map_err(|why| KeyFileError::Key { path: path.into(), line: Some(line), why })
        })
        .collect::<Result<_, _>>()
        .map(Self)
    }

    pub(super) fn holds(&self, key: &PublicKey) -> bool {
        self.0.iter().any(|known| known.key_data() == key.key_data())
    }
}

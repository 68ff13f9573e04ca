//! Where `write memory` puts the configuration.

use std::fs;
use std::io::{self, ErrorKind, Write as _};
use std::path::PathBuf;

/// The memory that a reload does not touch.
pub trait Flash: Send {
    /// What was saved; `None` if nothing ever was.
    ///
    /// # Errors
    /// If it cannot be read.
    fn load(&mut self) -> io::Result<Option<String>>;

    /// Saves. All of it or nothing.
    ///
    /// # Errors
    /// If it cannot be written.
    fn save(&mut self, text: &str) -> io::Result<()>;
}

/// Flash that ends with the process.
#[derive(Debug, Clone, Default)]
pub struct MemoryFlash(Option<String>);

impl MemoryFlash {
    /// Flash with this in it.
    pub fn holding(text: &str) -> MemoryFlash {
        MemoryFlash(Some(text.to_owned()))
    }
}

impl Flash for MemoryFlash {
    fn load(&mut self) -> io::Result<Option<String>> {
        Ok(self.0.clone())
    }

    fn save(&mut self, text: &str) -> io::Result<()> {
        self.0 = Some(text.to_owned());
        Ok(())
    }
}

/// A file. It holds passwords, so that a new one is for its owner's eyes alone.
#[derive(Debug, Clone)]
pub struct FileFlash(PathBuf);

impl FileFlash {
    /// The file at this path; it need not exist yet.
    pub fn at(path: impl Into<PathBuf>) -> FileFlash {
        FileFlash(path.into())
    }
}

impl Flash for FileFlash {
    fn load(&mut self) -> io::Result<Option<String>> {
        match fs::read(&self.0) {
            // A start-up file may come from anywhere; what is not UTF-8 makes a bad line, not a refusal to start.
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(why) if why.kind() == ErrorKind::NotFound => Ok(None),
            Err(why) => Err(why),
        }
    }

    fn save(&mut self, text: &str) -> io::Result<()> {
        let mut beside = self.0.clone().into_os_string();
        beside.push(".new");
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, &self.0)
    }
}

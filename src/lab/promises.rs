//! The closing table: what was promised, what was measured, whether it was kept.

use std::fmt;

use serde::Serialize;

/// One promise.
#[derive(Debug, Clone, Serialize)]
pub struct Promise {
    /// What was promised.
    pub promised: String,
    /// What was measured.
    pub measured: String,
    /// Whether that keeps the promise.
    pub kept: bool,
    /// Whether it is about time: a machine that is busy with something else may break it.
    pub timed: bool,
}

/// All of them.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Promises {
    /// In the order of the story.
    pub promises: Vec<Promise>,
    /// How long the story took.
    pub seconds: f64,
}

impl Promises {
    /// One more.
    pub fn add(&mut self, promised: &str, measured: String, kept: bool) {
        self.promises.push(Promise { promised: promised.to_owned(), measured, kept, timed: false });
    }

    /// One more, about time.
    pub fn add_time(&mut self, promised: &str, measured: String, kept: bool) {
        self.promises.push(Promise { promised: promised.to_owned(), measured, kept, timed: true });
    }

    /// True if there is none that was broken.
    pub fn all_kept(&self) -> bool {
        self.promises.iter().all(|promise| promise.kept)
    }
}

impl fmt::Display for Promises {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width =
            |column: fn(&Promise) -> &str| self.promises.iter().map(|promise| column(promise).len()).max().unwrap_or(0);
        let (promised, measured) = (width(|promise| &promise.promised), width(|promise| &promise.measured));
        writeln!(f, "{:<promised$}  {:<measured$}  kept", "promised", "measured")?;
        writeln!(f, "{:-<promised$}  {:-<measured$}  ----", "", "")?;
        for promise in &self.promises {
            let kept = if promise.kept { "yes" } else { "NO" };
            writeln!(f, "{:<promised$}  {:<measured$}  {kept}", promise.promised, promise.measured)?;
        }
        let broken = self.promises.iter().filter(|promise| !promise.kept).count();
        match broken {
            0 => write!(f, "\nevery promise kept, in {:.1} s", self.seconds),
            broken => write!(f, "\n{broken} of {} promises BROKEN, in {:.1} s", self.promises.len(), self.seconds),
        }
    }
}

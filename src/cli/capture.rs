//! `acm capture`: a running capture of a port.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use clap::Args;

use super::connection::Connection;
use super::failure::Failure;
use super::output::{self, Style};
use super::signals::stop_requested;
use crate::acm::error::{AcmError, Feature};
use crate::acm::switch::{CaptureStream, Inspect};

/// Write everything that passes a port, both ways, to a pcap file, until Ctrl-C
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  acm capture eth1 -w eth1.pcap\n  acm capture eth1 -w - | tcpdump -n -r -")]
pub(super) struct CaptureArgs {
    /// The port's name
    port: String,
    /// The file; - is stdout
    #[arg(short, long = "write", value_name = "FILE")]
    write: PathBuf,
    #[command(flatten)]
    pub(super) to: Connection,
}

impl CaptureArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let to_stdout = self.write.as_os_str() == "-";
        if to_stdout && io::stdout().is_terminal() {
            return Err(Failure::Setup("a capture is not for a terminal; name a file with -w FILE".into()));
        }
        let client = self.to.inspectable(Feature::Capture)?;
        let stop = stop_requested()?;
        let pieces = client.capture(&self.port).await?;
        if to_stdout {
            return copy(pieces, &mut io::stdout().lock(), stop).await.map(drop);
        }
        let file = &self.write;
        let mut out = File::create(file)
            .map_err(|why| Failure::Setup(format!("cannot write {}: {why}; choose another -w FILE", file.display())))?;
        let bytes = copy(pieces, &mut out, stop).await?;
        match self.to.style() {
            Style::Json => output::json(&serde_json::json!({ "file": file, "bytes": bytes })),
            Style::Human => output::line(&format!("{bytes} bytes in {}", file.display())),
        }
    }
}

/// Writes each piece as it comes, so that a reader of the file is never far behind. Returns the bytes written.
async fn copy(mut pieces: CaptureStream, out: &mut dyn Write, stop: impl Future<Output = ()>) -> Result<u64, Failure> {
    tokio::pin!(stop);
    let mut bytes = 0;
    loop {
        let piece = tokio::select! {
            piece = std::future::poll_fn(|cx| pieces.as_mut().poll_next(cx)) => piece,
            () = &mut stop => return Ok(bytes),
        };
        let Some(piece) = piece else {
            return Err(
                AcmError::Unreachable { why: format!("the switch ended the capture after {bytes} bytes") }.into()
            );
        };
        out.write_all(&piece)?;
        out.flush()?;
        bytes += piece.len() as u64;
    }
}

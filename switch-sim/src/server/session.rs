//! One connection over a stream: the loop of four verbs around [`Connection`].

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{sleep_until, timeout};

use super::device::Device;
use super::slots::{Slot, Standing};
use crate::connection::Connection;

/// A peer that takes nothing for this long has gone, or means harm: what waits for it is let go.
const STALL_MAX: Duration = Duration::from_secs(20);
/// A deadline that has passed and still stands must not make the loop spin.
const REST: Duration = Duration::from_millis(1);
/// Read at a time: a flood of one connection holds the others up for no more than this.
const READ_MAX: usize = 4096;

/// A connection that hangs up when it is dropped, however its task ends.
struct Seat<'a> {
    connection: Connection,
    device: &'a Device,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.device.with(|shell, now| self.connection.hang_up(shell, now));
        self.device.ring();
    }
}

/// How a connection ended that did not end with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The session was over, or the peer had nothing more to say.
    Closed,
    /// A fault cut it: nothing more may be sent, not even a goodbye.
    Cut,
}

/// Serves a connection until it is closed from either side.
pub(super) async fn serve<S>(stream: &mut S, connection: Connection, device: &Device, slot: &Slot) -> io::Result<End>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut seat = Seat { connection, device };
    let mut bell = device.listen();
    let mut buffer = [0; READ_MAX];
    let mut peer_is_done = false;
    loop {
        flush(stream, &mut seat).await?;
        let connection = &mut seat.connection;
        if connection.is_cut() {
            return Ok(End::Cut);
        }
        if connection.is_closed() || (peer_is_done && connection.is_waiting()) {
            return Ok(End::Closed);
        }
        let is_in = connection.is_logged_in();
        slot.stands(match (is_in, connection.has_typed()) {
            (false, _) => Standing::AtLogin,
            (true, false) => Standing::Silent,
            (true, true) => Standing::In,
        });
        let deadline = device.with(|shell, now| Some(connection.next_deadline(shell)?.max(now + REST)));
        let room = connection.room().min(READ_MAX);
        tokio::select! {
            read = stream.read(&mut buffer[..room]), if room > 0 && !peer_is_done => match read? {
                0 => peer_is_done = true,
                read => {
                    device.with(|shell, now| connection.input(&buffer[..read], shell, now));
                    device.ring();
                    bell.mark_unchanged();
                }
            },
            () = sleep_until(device.instant(deadline.unwrap_or_default())), if deadline.is_some() => {}
            Ok(()) = bell.changed(), if is_in => {}
        }
    }
}

/// Sends until nothing comes any more.
async fn flush<S: AsyncWrite + Unpin>(stream: &mut S, seat: &mut Seat<'_>) -> io::Result<()> {
    loop {
        let output = seat.device.with(|shell, now| {
            seat.connection.poll(shell, now);
            seat.connection.take_output(now)
        });
        if output.is_empty() {
            return Ok(());
        }
        let send = async {
            stream.write_all(&output).await?;
            stream.flush().await
        };
        timeout(STALL_MAX, send).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    }
}

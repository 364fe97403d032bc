//! One SFTP channel: what its server can do, and a bound on every wait for it.

use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use haulier_base::{Error, Result, Timestamp};
use russh::client::Msg;
use russh::{Channel, ChannelStream};
use russh_sftp::client::rawsession::{Limits, SftpResult};
use russh_sftp::client::{Config, RawSftpSession};
use russh_sftp::protocol::{FileAttributes, Packet, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::errors::{sftp_error, silent};
use crate::{ObjectKind, ObjectMeta, Version};

/// What every server has to take (draft-ietf-secsh-filexfer-02 §3).
const PIECE_BYTES_MIN: u64 = 32 * 1024;
/// One request to read or write. Larger ones save little and wait longer behind each other.
const PIECE_BYTES_MAX: u64 = 128 * 1024;
/// Waits are bounded here, by progress; a request in a long queue may well take longer.
const REQUEST_SECONDS_MAX: u64 = 7 * 24 * 3600;

/// The socket below all channels of a connection.
#[derive(Debug)]
pub(super) struct Line(std::net::TcpStream);

impl Line {
    pub(super) fn new(socket: std::net::TcpStream) -> Self {
        Self(socket)
    }

    /// Ends the connection, also when the other side takes nothing any more.
    pub(super) fn cut(&self) {
        // Fails when it is cut already.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// One SFTP channel.
pub(super) struct Session {
    pub(super) raw: Arc<RawSftpSession>,
    line: Arc<Line>,
    stall: Duration,
    open: Arc<AtomicBool>,
    pub(super) can: Abilities,
    /// Bytes of one read and of one write.
    pub(super) read_bytes: u32,
    pub(super) write_bytes: usize,
}

/// What a server offers beyond the protocol.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Abilities {
    pub(super) fsync: bool,
    pub(super) posix_rename: bool,
    pub(super) statvfs: bool,
}

impl Session {
    pub(super) async fn start(channel: Channel<Msg>, line: Arc<Line>, stall: Duration) -> Result<Self> {
        let open = Arc::new(AtomicBool::new(true));
        let stream = Gate { inner: channel.into_stream(), open: open.clone() };
        let config = Config { request_timeout_secs: REQUEST_SECONDS_MAX, ..Config::default() };
        let mut raw = RawSftpSession::new_with_config(stream, config);
        let version = within(stall, &line, raw.init()).await?;
        let offers = |name: &str| version.extensions.contains_key(name);
        let mut limits = Limits::default();
        if offers("limits@openssh.com") {
            limits = within(stall, &line, raw.limits()).await?.into();
            raw.set_limits(limits);
        }
        let piece = |limit: Option<u64>| limit.map_or(PIECE_BYTES_MIN, |limit| limit.clamp(1, PIECE_BYTES_MAX));
        Ok(Self {
            raw: Arc::new(raw),
            line,
            stall,
            open,
            can: Abilities {
                fsync: offers("fsync@openssh.com"),
                posix_rename: offers("posix-rename@openssh.com"),
                statvfs: offers("statvfs@openssh.com"),
            },
            read_bytes: piece(limits.read_len) as u32,
            write_bytes: piece(limits.write_len) as usize,
        })
    }

    /// Waits for an answer, as long as a server may be silent.
    pub(super) async fn run<T>(&self, answer: impl Future<Output = SftpResult<T>>) -> Result<T> {
        self.try_run(answer).await?.map_err(sftp_error)
    }

    /// Waits for an answer, and leaves it to the caller what a refusal means.
    pub(super) async fn try_run<T>(&self, answer: impl Future<Output = T>) -> Result<T> {
        match tokio::time::timeout(self.stall, answer).await {
            Ok(answer) => Ok(answer),
            Err(_) => {
                self.line.cut();
                Err(silent())
            }
        }
    }

    /// Gives a file another name, in place of what has it.
    pub(super) async fn posix_rename(&self, from: &str, to: &str) -> SftpResult<()> {
        let mut data = Vec::with_capacity(from.len() + to.len() + 8);
        for name in [from, to] {
            data.extend_from_slice(&(name.len() as u32).to_be_bytes());
            data.extend_from_slice(name.as_bytes());
        }
        match self.raw.extended("posix-rename@openssh.com", data).await? {
            Packet::Status(status) if status.status_code == StatusCode::Ok => Ok(()),
            Packet::Status(status) => Err(status.into()),
            _ => Err(russh_sftp::client::error::Error::UnexpectedPacket),
        }
    }

    /// Sends nothing more, not even what is queued.
    pub(super) fn stop(&self) {
        self.open.store(false, Ordering::Release);
    }
}

async fn within<T>(stall: Duration, line: &Line, answer: impl Future<Output = SftpResult<T>>) -> Result<T> {
    match tokio::time::timeout(stall, answer).await {
        Ok(answer) => answer.map_err(sftp_error),
        Err(_) => {
            line.cut();
            Err(silent())
        }
    }
}

/// A file or folder handle fit to be sent back. The library decodes handles as text, which they need not be.
pub(super) fn intact(handle: String) -> Result<String> {
    if handle.contains(char::REPLACEMENT_CHARACTER) {
        return Err(Error::unavailable("the server has too many files open for this connection"));
    }
    Ok(handle)
}

pub(super) fn meta_of(found: &FileAttributes) -> ObjectMeta {
    // Servers that say nothing about the kind have files and folders only, and say that of folders.
    let kind = match found.permissions {
        None => ObjectKind::Regular,
        Some(_) if found.file_type().is_dir() => ObjectKind::Directory,
        Some(_) if found.file_type().is_file() => ObjectKind::Regular,
        Some(mode) if mode & 0o170_000 == 0 => ObjectKind::Regular,
        Some(_) => ObjectKind::Special,
    };
    let size = found.size.filter(|_| kind == ObjectKind::Regular);
    let version = size.zip(found.mtime).map(|(size, seconds)| Version::from(format!("{size}-{seconds}")));
    let modified = found.mtime.map(|seconds| Timestamp::from_micros(i64::from(seconds) * 1_000_000));
    let mode = found.permissions.map(|mode| mode & 0o777);
    ObjectMeta { size, version, modified, kind, mode }
}

/// A stream that can be told to send nothing more.
struct Gate {
    inner: ChannelStream<Msg>,
    open: Arc<AtomicBool>,
}

impl AsyncRead for Gate {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Gate {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !self.open.load(Ordering::Acquire) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

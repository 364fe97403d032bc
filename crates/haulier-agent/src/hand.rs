//! A child process that does one action: started, heard, and ended when it must end.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use haulier_base::{Error, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::work::{Answer, Done, Order};

/// How long a child may take to let go of its repository before it is killed.
const MERCY: Duration = Duration::from_secs(3);
/// An answer is no longer than this, bytes.
const ANSWER_MAX: u64 = 64 << 20;

/// A child at work.
pub(crate) struct Hand {
    child: Child,
    stdin: Option<tokio::process::ChildStdin>,
    order: Vec<u8>,
}

impl Hand {
    /// Starts a child. It has a process group of its own, so that whatever it starts ends with it.
    pub(crate) fn start(program: &Path, arguments: &[&str], order: &Order) -> Result<Self> {
        let mut order = serde_json::to_vec(order)
            .map_err(|error| Error::internal("an order cannot be written").caused_by(error))?;
        order.push(b'\n');
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Error::internal(format!("{} cannot be started", program.display())).caused_by(error))?;
        let stdin = child.stdin.take();
        Ok(Self { child, stdin, order })
    }

    /// The number of the process.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for the answer. Once `abort` is set or its sender is gone, the child is ended.
    ///
    /// # Errors
    /// `Canceled` after an abort; what the child says; `Internal` when it crashed.
    pub(crate) async fn finish(mut self, mut abort: watch::Receiver<bool>) -> Result<Done> {
        let group = self.child.id();
        let heard = tokio::select! {
            heard = self.hear() => Some(heard),
            _ = abort.wait_for(|abort| *abort) => None,
        };
        // Without its input the child lets go of the repository and ends.
        drop(self.stdin.take());
        if heard.is_none() && tokio::time::timeout(MERCY, self.child.wait()).await.is_err() {
            tracing::warn!("a child did not end when it was asked to; it is killed");
        }
        // Also what the child started and left.
        kill_group(group);
        let status = self.child.wait().await?;
        match heard {
            None => Err(Error::canceled("aborted")),
            Some(Ok(text)) => match serde_json::from_slice::<Answer>(&text) {
                Ok(answer) => answer.into_result(),
                Err(_) => Err(Error::internal(format!("the action crashed: {status}"))),
            },
            Some(Err(error)) => Err(error),
        }
    }

    async fn hear(&mut self) -> Result<Vec<u8>> {
        if let Some(stdin) = &mut self.stdin {
            // A child that is gone says so by its answer.
            let written = stdin.write_all(&self.order).await;
            if let Err(error) = written.and(stdin.flush().await) {
                tracing::debug!(%error, "a child did not take its order");
            }
        }
        let mut text = Vec::new();
        if let Some(stdout) = &mut self.child.stdout {
            stdout.take(ANSWER_MAX).read_to_end(&mut text).await?;
        }
        Ok(text)
    }
}

fn kill_group(group: Option<u32>) {
    let group = group.and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(group) = group
        && let Err(error) = rustix::process::kill_process_group(group, rustix::process::Signal::KILL)
        && error != rustix::io::Errno::SRCH
    {
        tracing::warn!(%error, "a child could not be killed");
    }
}

//! One file or folder per kind of place.

#[cfg(test)]
mod fault_table;
#[cfg(test)]
mod faulty_line;
#[cfg(test)]
mod faulty_web;
pub mod http;
pub mod local;
pub mod memory;
pub mod network;
pub(crate) mod options;
pub mod s3;
pub mod sftp;
pub(crate) mod temp_name;
pub mod webdav;

use futures::stream::{self, StreamExt, TryStreamExt};

use crate::ByteStream;

/// The part `start..end` of a stream that can only be read whole.
pub(crate) fn cut(all: ByteStream, start: u64, end: Option<u64>) -> ByteStream {
    let end = end.unwrap_or(u64::MAX).max(start);
    stream::try_unfold((all, 0u64), move |(mut all, mut at)| async move {
        while at < end {
            let Some(mut bytes) = all.try_next().await? else { break };
            let from = at;
            at = at.saturating_add(bytes.len() as u64);
            bytes.truncate(end.saturating_sub(from).min(bytes.len() as u64) as usize);
            let skipped = start.saturating_sub(from).min(bytes.len() as u64) as usize;
            let wanted = bytes.split_off(skipped);
            if !wanted.is_empty() {
                return Ok(Some((wanted, (all, at))));
            }
        }
        Ok(None)
    })
    .boxed()
}

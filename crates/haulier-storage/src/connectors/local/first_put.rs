//! The bytes of a small file, kept until the file is touched for another reason.
//!
//! A small file gets one put and then its end; written with the end, they cost one turn on a thread
//! that may block and not two.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use haulier_base::Result;

/// More bytes than this are written as they come.
const KEPT_BYTES_MAX: usize = 256 * 1024;

/// At most one put, the first of its file.
#[derive(Debug, Default)]
pub(super) struct FirstPut(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    #[default]
    Nothing,
    Kept(u64, Bytes),
    Over,
}

impl FirstPut {
    /// Keeps the bytes if they are few and the first; else they are to be written, after what is kept.
    pub(super) fn keep(&self, at: u64, bytes: &Bytes) -> bool {
        let mut state = self.lock();
        let keeps = matches!(*state, State::Nothing) && bytes.len() <= KEPT_BYTES_MAX;
        if keeps {
            *state = State::Kept(at, bytes.clone());
        }
        keeps
    }

    /// Writes what is kept. From now on nothing is.
    pub(super) fn write_to(&self, file: &File) -> Result<()> {
        // Under the lock, so that whoever comes second finds the bytes in the file.
        let mut state = self.lock();
        if let State::Kept(at, bytes) = &*state {
            file.write_all_at(bytes, *at)?;
        }
        *state = State::Over;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_few_bytes_are_kept_and_nothing_after_them() {
        let file = tempfile::tempfile().unwrap();
        let first = FirstPut::default();
        assert!(first.keep(2, &Bytes::from_static(b"kept")));
        assert!(!first.keep(6, &Bytes::from_static(b"second")));
        assert_eq!(file.metadata().unwrap().len(), 0);
        first.write_to(&file).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 6);
        assert!(!first.keep(0, &Bytes::from_static(b"third")));
        assert!(!FirstPut::default().keep(0, &vec![0; KEPT_BYTES_MAX + 1].into()));
    }
}

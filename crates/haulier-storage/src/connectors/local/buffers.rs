//! Buffers for the pieces of one file, filled again when nobody reads them any more.
//!
//! Fresh memory costs the kernel as much as the copy into it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Smaller buffers are not worth keeping.
const KEPT_MIN: usize = 256 * 1024;

/// The buffers of one file, as many as were ever in use at once. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

impl Buffers {
    /// An empty buffer with room for so many bytes.
    pub(super) fn take(&self, wanted: usize) -> Vec<u8> {
        let mut buffer = self.kept().pop().unwrap_or_default();
        buffer.clear();
        buffer.reserve_exact(wanted);
        buffer
    }

    /// Bytes whose buffer comes back when the last of their readers has gone.
    pub(super) fn lend(&self, buffer: Vec<u8>) -> Bytes {
        if buffer.capacity() < KEPT_MIN {
            return buffer.into();
        }
        Bytes::from_owner(Lent { buffer, home: self.clone() })
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Lent {
    buffer: Vec<u8>,
    home: Buffers,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.home.kept().push(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_with_its_last_reader() {
        let buffers = Buffers::default();
        let mut buffer = buffers.take(KEPT_MIN);
        buffer.extend_from_slice(b"bytes");
        let place = buffer.as_ptr();
        let bytes = buffers.lend(buffer);
        let part = bytes.slice(1..3);
        drop(bytes);
        assert_eq!((&part[..], buffers.kept().len()), (&b"yt"[..], 0));
        drop(part);
        let again = buffers.take(KEPT_MIN);
        assert_eq!((again.as_ptr(), again.len(), buffers.kept().len()), (place, 0, 0));
        drop(buffers.lend(Vec::with_capacity(KEPT_MIN - 1)));
        assert_eq!(buffers.kept().len(), 0, "a small one is not kept");
    }
}

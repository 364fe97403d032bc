//! Locks in the form that restic leaves in a repository, so that it stays away from us and we from it.
//!
//! A lock is shared (backup, restore) or exclusive (prune, check of what may be removed). It is renewed while it is
//! held, and stale when it is old, or when its process was on this machine and is no more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use aes256ctr_poly1305aes::aead::Aead as _;
use aes256ctr_poly1305aes::{Aes256CtrPoly1305Aes, Key, Nonce};
use bytes::Bytes;
use haulier_base::{Error, Result};
use haulier_storage::Guard;
use rustic_core::jiff::Timestamp;
use rustic_core::repofile::MasterKey;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::shelf::Shelf;

/// A lock that was not renewed for this long is stale.
const STALE_AFTER: Duration = Duration::from_secs(30 * 60);
/// How often a lock is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(5 * 60);
/// After a lock is written, others that were written at the same moment are waited for this long.
const SETTLE: Duration = Duration::from_millis(200);
/// How often a lock that is in the way is looked at again.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Bytes of the number that makes an encryption unique, before the encrypted bytes.
const NONCE_LEN: usize = 16;

/// What a lock says.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Note {
    time: Timestamp,
    exclusive: bool,
    #[serde(default)]
    hostname: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    pid: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    uid: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    gid: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Note {
    fn new(exclusive: bool, hostname: &str) -> Self {
        Self {
            time: Timestamp::now(),
            exclusive,
            hostname: hostname.to_owned(),
            username: String::new(),
            pid: std::process::id(),
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
        }
    }

    fn is_stale(&self, hostname: &str) -> bool {
        let age = Timestamp::now().duration_since(self.time);
        if age.unsigned_abs() > STALE_AFTER && !age.is_negative() {
            return true;
        }
        self.hostname == hostname && !is_alive(self.pid)
    }
}

/// Whether there is a process with that number, also one that we may not signal.
fn is_alive(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) else { return false };
    !matches!(rustix::process::test_kill_process(pid), Err(rustix::io::Errno::SRCH))
}

/// Seals and opens the files of a repository that the library does not know.
pub(super) struct Cipher(Key);

impl Cipher {
    pub(super) fn new(master: &MasterKey) -> Self {
        let mut key = Key::default();
        let parts = [&master.encrypt, &master.mac.k, &master.mac.r];
        for (to, from) in key.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *from;
        }
        Self(key)
    }

    fn seal(&self, text: &[u8]) -> Result<Vec<u8>> {
        let fault = |_| Error::internal("a lock cannot be encrypted");
        let mut nonce = Nonce::default();
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_| Error::internal("there are no random numbers"))?;
        let sealed = Aes256CtrPoly1305Aes::new(&self.0).encrypt(&nonce, text).map_err(fault)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// The bytes that were sealed.
    pub(super) fn open(&self, sealed: &[u8]) -> Result<Vec<u8>> {
        let foreign = || Error::corrupt("something in the repository cannot be decrypted");
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN).ok_or_else(foreign)?;
        Aes256CtrPoly1305Aes::new(&self.0).decrypt(Nonce::from_slice(nonce), sealed).map_err(|_| foreign())
    }

    fn open_note(&self, sealed: &[u8]) -> Result<Vec<u8>> {
        let foreign = |_| Error::corrupt("a lock in the repository cannot be understood");
        let text = self.open(sealed)?;
        // Newer repositories compress what is not plain JSON, and mark it with the number of their version.
        match text.split_first() {
            Some((2, packed)) => zstd::decode_all(packed).map_err(foreign),
            _ => Ok(text),
        }
    }
}

/// The locks of a repository.
pub(super) struct Locks {
    shelf: Arc<Shelf>,
    cipher: Cipher,
    hostname: String,
}

impl Locks {
    pub(super) fn new(shelf: Arc<Shelf>, master: &MasterKey, hostname: String) -> Self {
        Self { shelf, cipher: Cipher::new(master), hostname }
    }

    /// Takes a lock; waits so long at most for others to go. Stale ones are removed.
    ///
    /// # Errors
    /// `Conflict` when another lock is still in the way.
    pub(super) fn take(self, exclusive: bool, patience: Duration) -> Result<Held> {
        let begun = Instant::now();
        loop {
            let tried = self.try_take(exclusive);
            match tried {
                Ok(name) => return Ok(Held::new(self, exclusive, name)),
                Err(error) if error.kind() != haulier_base::ErrorKind::Conflict => return Err(error),
                Err(error) if begun.elapsed() >= patience => return Err(error),
                Err(_) => std::thread::sleep(LOOK_EVERY),
            }
        }
    }

    fn try_take(&self, exclusive: bool) -> Result<String> {
        self.find_way(exclusive, None)?;
        let name = self.write(exclusive)?;
        std::thread::sleep(SETTLE);
        if let Err(error) = self.find_way(exclusive, Some(&name)) {
            self.shelf.take(&self.shelf.lock_path(&name))?;
            return Err(error);
        }
        Ok(name)
    }

    fn write(&self, exclusive: bool) -> Result<String> {
        let text = serde_json::to_vec(&Note::new(exclusive, &self.hostname))
            .map_err(|error| Error::internal("a lock cannot be written").caused_by(error))?;
        let sealed = self.cipher.seal(&text)?;
        let name = hex::encode(Sha256::digest(&sealed));
        self.shelf.put(&self.shelf.lock_path(&name), vec![Bytes::from(sealed)], &Guard::Any)?;
        Ok(name)
    }

    /// Fails when a lock other than `ours` excludes us.
    fn find_way(&self, exclusive: bool, ours: Option<&str>) -> Result<()> {
        for (name, _) in self.shelf.names("locks")? {
            if ours == Some(&name) {
                continue;
            }
            let path = self.shelf.lock_path(&name);
            let sealed = match self.shelf.bytes(&path, 0, None) {
                Ok(sealed) => sealed,
                Err(error) if error.kind() == haulier_base::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            // One that is being written just now is empty or cut off, and is not stale.
            let note = self.cipher.open_note(&sealed).and_then(|text| {
                serde_json::from_slice::<Note>(&text).map_err(|_| Error::corrupt("a lock cannot be understood"))
            })?;
            if note.is_stale(&self.hostname) {
                tracing::warn!(host = note.hostname, pid = note.pid, "removing a stale lock");
                self.shelf.take(&path)?;
            } else if exclusive || note.exclusive {
                let kind = if note.exclusive { "exclusively " } else { "" };
                return Err(Error::conflict(format!(
                    "the repository is locked {kind}by process {} on {} since {}",
                    note.pid, note.hostname, note.time
                )));
            }
        }
        Ok(())
    }
}

/// The locks of this process, for an end in the middle of the work.
static HELD: Mutex<Vec<Weak<State>>> = Mutex::new(Vec::new());

/// Lets nothing more be written under any lock of this process, and removes them.
pub fn let_go() {
    let held = std::mem::take(&mut *HELD.lock().unwrap_or_else(PoisonError::into_inner));
    for state in held.iter().filter_map(Weak::upgrade) {
        state.locks.shelf.close();
        state.remove();
    }
}

/// A lock that is ours until this is dropped.
pub(super) struct Held {
    state: Arc<State>,
    renewal: Option<std::thread::JoinHandle<()>>,
}

struct State {
    locks: Locks,
    name: Mutex<String>,
    ended: Mutex<bool>,
    wake: Condvar,
    lost: AtomicBool,
}

impl Held {
    fn new(locks: Locks, exclusive: bool, name: String) -> Self {
        let state = Arc::new(State {
            locks,
            name: Mutex::new(name),
            ended: Mutex::new(false),
            wake: Condvar::new(),
            lost: AtomicBool::new(false),
        });
        HELD.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&state));
        let renewed = Arc::clone(&state);
        let renewal = std::thread::spawn(move || renewed.keep_fresh(exclusive));
        Self { state, renewal: Some(renewal) }
    }

    /// Fails when the lock could not be renewed in time, so that others may have taken it for stale.
    pub(super) fn check(&self) -> Result<()> {
        match self.state.lost.load(Ordering::SeqCst) {
            true => Err(Error::lost_lease("the lock of the repository could not be renewed in time")),
            false => Ok(()),
        }
    }
}

impl State {
    fn remove(&self) {
        let name = self.name.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Err(error) = self.locks.shelf.take(&self.locks.shelf.lock_path(&name)) {
            tracing::warn!(%error, "the lock of the repository could not be removed; it is stale from now on");
        }
    }

    fn keep_fresh(&self, exclusive: bool) {
        let mut renewed = Instant::now();
        loop {
            let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
            let (ended, _) = self
                .wake
                .wait_timeout_while(ended, RENEW_EVERY, |ended| !*ended)
                .unwrap_or_else(PoisonError::into_inner);
            if *ended {
                return;
            }
            drop(ended);
            match self.locks.write(exclusive) {
                Ok(fresh) => {
                    let old = std::mem::replace(&mut *self.name.lock().unwrap_or_else(PoisonError::into_inner), fresh);
                    let gone = self.locks.shelf.take(&self.locks.shelf.lock_path(&old));
                    if let Err(error) = gone {
                        tracing::warn!(%error, "an old lock could not be removed");
                    }
                    renewed = Instant::now();
                }
                Err(error) => {
                    tracing::warn!(%error, "the lock of the repository could not be renewed");
                    if renewed.elapsed() + RENEW_EVERY > STALE_AFTER {
                        self.lost.store(true, Ordering::SeqCst);
                    }
                }
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        *self.state.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.state.wake.notify_all();
        if self.renewal.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the renewal of a lock failed");
        }
        self.state.remove();
    }
}

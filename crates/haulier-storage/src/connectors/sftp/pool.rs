//! Connections that are kept for those who log in alike, with several channels on each.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use haulier_base::{Error, Result};
use russh::Disconnect;
use russh::client::Handle;
use russh_sftp::client::RawSftpSession;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use super::connect::{Checker, connect};
use super::errors::{silent, ssh_error};
use super::session::{Line, Session};
use super::settings::Settings;
use crate::StorageConfig;
use crate::connectors::network::Reach;

/// Channels of one connection: OpenSSH allows ten unless told otherwise.
const CHANNELS_MAX: u32 = 8;
/// A connection that nobody used for so long is closed.
const IDLE_MAX: Duration = Duration::from_secs(60);
const IDLE_CHECK: Duration = Duration::from_secs(15);

/// All connections of one node.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    endpoints: Mutex<Vec<Arc<Endpoint>>>,
}

#[derive(Debug)]
struct Shared {
    reach: Reach,
    stall: Duration,
    /// Closes what is idle; ends with the pool.
    closing: Mutex<JoinSet<()>>,
}

impl Pool {
    /// An empty pool for what a node allows.
    pub fn new(config: &StorageConfig) -> Self {
        let reach = Reach { allow_private: config.allow_private, networks: config.allow_networks.clone() };
        let shared = Shared { reach, stall: config.stall, closing: Mutex::default() };
        Self { shared: Arc::new(shared), endpoints: Mutex::default() }
    }

    /// The connections of a login.
    pub(super) fn endpoint(&self, settings: Settings) -> Arc<Endpoint> {
        let mut endpoints = locked(&self.endpoints);
        if let Some(found) = endpoints.iter().find(|endpoint| endpoint.settings == settings) {
            return found.clone();
        }
        endpoints.retain(|endpoint| Arc::strong_count(endpoint) > 1 || endpoint.is_connected());
        let shared = self.shared.clone();
        let endpoint = Arc::new(Endpoint { settings, shared, connections: tokio::sync::Mutex::default() });
        endpoints.push(endpoint.clone());
        endpoint
    }
}

/// One login on one server.
pub(super) struct Endpoint {
    settings: Settings,
    shared: Arc<Shared>,
    connections: tokio::sync::Mutex<Vec<Arc<Connection>>>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({}@{}:{})", self.settings.user, self.settings.host, self.settings.port)
    }
}

impl Endpoint {
    /// A channel of one's own, on a connection that is there or on a new one.
    pub(super) async fn lease(&self) -> Result<Lease> {
        loop {
            let (connection, slot, fresh) = self.connection().await?;
            let idle = locked(&connection.idle).pop();
            let session = match idle {
                Some(session) => session,
                None => match connection.open_channel(&self.settings.host, self.shared.stall).await {
                    Ok(session) => session,
                    // The server allows fewer channels than we thought, so the next one goes elsewhere.
                    Err(Opening::Refused(_)) if !fresh => {
                        slot.forget();
                        continue;
                    }
                    Err(Opening::Refused(error) | Opening::Failed(error)) => return Err(error),
                },
            };
            return Ok(Lease { session: Some(session), connection, _slot: slot });
        }
    }

    /// A connection with room for one more channel, and whether it is new.
    async fn connection(&self) -> Result<(Arc<Connection>, OwnedSemaphorePermit, bool)> {
        // Held while connecting, so that many at once share what the first one makes.
        let mut connections = self.connections.lock().await;
        connections.retain(|connection| !connection.is_closed());
        for connection in connections.iter() {
            if let Ok(slot) = connection.slots.clone().try_acquire_owned() {
                return Ok((connection.clone(), slot, false));
            }
        }
        let (handle, line) = connect(&self.settings, &self.shared.reach, self.shared.stall).await?;
        let connection = Arc::new(Connection {
            handle,
            line: Arc::new(line),
            slots: Arc::new(Semaphore::new(CHANNELS_MAX as usize)),
            idle: Mutex::default(),
            used: Mutex::new(Instant::now()),
        });
        let mut closing = locked(&self.shared.closing);
        while closing.try_join_next().is_some() {}
        closing.spawn(close_when_idle(Arc::downgrade(&connection)));
        drop(closing);
        let slot = connection.slots.clone().try_acquire_owned();
        let slot = slot.map_err(|error| Error::internal("a new connection has no channel").caused_by(error))?;
        connections.push(connection.clone());
        Ok((connection, slot, true))
    }

    fn is_connected(&self) -> bool {
        // One that is being worked on is.
        self.connections.try_lock().map_or(true, |connections| connections.iter().any(|one| !one.is_closed()))
    }
}

struct Connection {
    handle: Handle<Checker>,
    line: Arc<Line>,
    slots: Arc<Semaphore>,
    idle: Mutex<Vec<Session>>,
    used: Mutex<Instant>,
}

/// Why a channel was not opened.
enum Opening {
    Refused(Error),
    Failed(Error),
}

impl Connection {
    fn is_closed(&self) -> bool {
        self.handle.is_closed() || self.slots.is_closed()
    }

    async fn open_channel(&self, host: &str, stall: Duration) -> std::result::Result<Session, Opening> {
        let opening = async {
            let channel = self.handle.channel_open_session().await.map_err(|error| match error {
                russh::Error::ChannelOpenFailure(_) => {
                    Opening::Refused(Error::unavailable(format!("{host} opens no channel")).caused_by(error))
                }
                other => Opening::Failed(ssh_error(other, host)),
            })?;
            channel.request_subsystem(false, "sftp").await.map_err(|error| Opening::Failed(ssh_error(error, host)))?;
            Session::start(channel, self.line.clone(), stall).await.map_err(Opening::Failed)
        };
        match tokio::time::timeout(stall, opening).await {
            Ok(outcome) => outcome,
            Err(_) => {
                self.line.cut();
                Err(Opening::Failed(silent()))
            }
        }
    }

    /// Whether nobody has used it for a while; then nobody can any more.
    fn retire(&self) -> bool {
        if locked(&self.used).elapsed() < IDLE_MAX {
            return false;
        }
        let unused = self.slots.try_acquire_many(CHANNELS_MAX).is_ok();
        if unused {
            self.slots.close();
        }
        unused
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.line.cut();
    }
}

async fn close_when_idle(connection: Weak<Connection>) {
    loop {
        tokio::time::sleep(IDLE_CHECK).await;
        let Some(connection) = connection.upgrade() else { return };
        if connection.is_closed() {
            return;
        }
        if connection.retire() {
            locked(&connection.idle).clear();
            // A farewell is polite, but nothing depends on it.
            let farewell = connection.handle.disconnect(Disconnect::ByApplication, "", "");
            let _ = tokio::time::timeout(Duration::from_secs(1), farewell).await;
            connection.line.cut();
            return;
        }
    }
}

/// A channel that is one's own until it is given back. When it is dropped it is closed, with all its files.
pub(super) struct Lease {
    session: Option<Session>,
    connection: Arc<Connection>,
    _slot: OwnedSemaphorePermit,
}

impl Lease {
    pub(super) fn raw(&self) -> &Arc<RawSftpSession> {
        &self.raw
    }

    /// For the next one. Nothing may be open or under way on it.
    pub(super) fn give_back(mut self) {
        if let Some(session) = self.session.take() {
            locked(&self.connection.idle).push(session);
        }
    }

    /// Gives it back, unless an error says that the channel itself may be what is wrong.
    pub(super) fn give_back_unless(self, error: &Error) {
        if !error.is_temporary() {
            self.give_back();
        }
    }
}

impl Deref for Lease {
    type Target = Session;

    fn deref(&self) -> &Session {
        self.session.as_ref().expect("it is taken only when the lease ends")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            session.stop();
        }
        *locked(&self.connection.used) = Instant::now();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

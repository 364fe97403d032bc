//! A line between a test and a real server that breaks or falls silent after so many bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What happens when the bytes are used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Both ends are closed, as after the last byte.
    Cut,
    /// Both ends are reset; what was on its way is lost.
    Reset,
    /// Nothing passes any more, and nothing is closed.
    Silence,
}

/// Whose bytes are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Both,
    /// Those that go to the server.
    Up,
    /// Those that come from it.
    Down,
}

/// Counts the bytes of all its connections.
pub(crate) struct FaultyLine {
    pub(crate) address: String,
    state: Arc<State>,
    _running: JoinSet<()>,
}

struct State {
    then: Then,
    way: Way,
    left: AtomicU64,
    /// Whether the fault happens once only.
    once: bool,
    struck: AtomicBool,
    up: AtomicU64,
    down: AtomicU64,
}

impl FaultyLine {
    pub(crate) async fn start(server: &str, bytes: u64, then: Then) -> Self {
        Self::begin(server, Way::Both, bytes, then, false).await
    }

    /// One that breaks once, and is whole from then on.
    pub(crate) async fn start_once(server: &str, way: Way, bytes: u64, then: Then) -> Self {
        Self::begin(server, way, bytes, then, true).await
    }

    async fn begin(server: &str, way: Way, bytes: u64, then: Then, once: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (left, struck, up, down) = (bytes.into(), AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
        let state = Arc::new(State { then, way, left, once, struck, up, down });
        let (server, shared) = (server.to_owned(), state.clone());
        let mut running = JoinSet::new();
        running.spawn(async move {
            let mut lines = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(&server).await.unwrap();
                lines.spawn(join(near, far, shared.clone()));
            }
        });
        Self { address, state, _running: running }
    }

    /// Lets everything through from now on; what fell silent stays silent.
    pub(crate) fn heal(&self) {
        self.allow(u64::MAX);
    }

    /// Lets so many bytes through from now on.
    pub(crate) fn allow(&self, bytes: u64) {
        self.state.left.store(bytes, Ordering::SeqCst);
    }

    /// How many bytes went up and came down.
    pub(crate) fn passed(&self) -> (u64, u64) {
        (self.state.up.load(Ordering::SeqCst), self.state.down.load(Ordering::SeqCst))
    }

    /// Whether the fault happened.
    pub(crate) fn struck(&self) -> bool {
        self.state.struck.load(Ordering::SeqCst)
    }
}

async fn join(mut near: TcpStream, mut far: TcpStream, state: Arc<State>) {
    let reset = {
        let ((from_near, to_near), (from_far, to_far)) = (near.split(), far.split());
        // The first end of either direction closes both sockets.
        tokio::select! {
            reset = pump(from_near, to_far, &state, Way::Up) => reset,
            reset = pump(from_far, to_near, &state, Way::Down) => reset,
        }
    };
    if reset {
        let _already_closed = (near.set_zero_linger(), far.set_zero_linger());
    }
}

/// Whether the end is a reset.
async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, state: &State, way: Way) -> bool {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let Ok(count @ 1..) = from.read(&mut buffer).await else { return false };
        let passing = state.take(way, count as u64) as usize;
        if to.write_all(&buffer[..passing]).await.is_err() {
            return false;
        }
        if passing < count {
            match state.then {
                Then::Cut => return false,
                Then::Reset => return true,
                Then::Silence => std::future::pending().await,
            }
        }
    }
}

impl State {
    /// How many of some bytes may pass.
    fn take(&self, way: Way, count: u64) -> u64 {
        let passed = if way == Way::Up { &self.up } else { &self.down };
        passed.fetch_add(count, Ordering::SeqCst);
        if self.way != Way::Both && self.way != way {
            return count;
        }
        let less = |left: u64| (left != u64::MAX).then(|| left.saturating_sub(count));
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).unwrap_or(u64::MAX);
        if left >= count {
            return count;
        }
        self.struck.store(true, Ordering::SeqCst);
        if self.once {
            self.left.store(u64::MAX, Ordering::SeqCst);
        }
        left
    }
}

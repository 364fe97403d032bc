//! A line between a test and a real server that breaks or falls silent after so many bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What happens when the bytes are used up.
#[derive(Clone, Copy)]
pub(crate) enum Then {
    Cut,
    Silence,
}

/// Counts the bytes of both directions and of all its connections.
pub(crate) struct FaultyLine {
    pub(crate) address: String,
    left: Arc<AtomicU64>,
    _running: JoinSet<()>,
}

impl FaultyLine {
    pub(crate) async fn start(server: &str, bytes: u64, then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let left = Arc::new(AtomicU64::new(bytes));
        let (server, shared) = (server.to_owned(), left.clone());
        let mut running = JoinSet::new();
        running.spawn(async move {
            let mut lines = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(&server).await.unwrap();
                let left = shared.clone();
                lines.spawn(async move {
                    let (near, far) = (near.into_split(), far.into_split());
                    // The first end of either direction closes both sockets.
                    tokio::select! {
                        () = pump(near.0, far.1, &left, then) => {}
                        () = pump(far.0, near.1, &left, then) => {}
                    }
                });
            }
        });
        Self { address, left, _running: running }
    }

    /// Lets everything through from now on; what fell silent stays silent.
    pub(crate) fn heal(&self) {
        self.left.store(u64::MAX, Ordering::SeqCst);
    }

    /// Lets so many bytes through from now on.
    pub(crate) fn allow(&self, bytes: u64) {
        self.left.store(bytes, Ordering::SeqCst);
    }
}

async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, left: &AtomicU64, then: Then) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let Ok(count @ 1..) = from.read(&mut buffer).await else { return };
        let used = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(count as u64));
        match (used, then) {
            (Ok(_), _) => {}
            (Err(_), Then::Cut) => return,
            (Err(_), Then::Silence) => std::future::pending().await,
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

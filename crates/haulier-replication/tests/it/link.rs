//! The line from one site to another: a small proxy that can be cut, and that can damage what passes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How the line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Everything passes.
    Open,
    /// Nothing does, and what was passing is broken off.
    Cut,
    /// Connections are taken and nothing is answered.
    Silent,
    /// What is answered passes with a flipped bit in the last byte of each larger piece.
    Spoiled,
}

/// A line that ends where another site listens.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) addr: SocketAddr,
    state: watch::Sender<Line>,
    _tasks: JoinSet<()>,
}

/// Where a site listens; changes when it starts again.
pub(crate) type Door = Arc<Mutex<SocketAddr>>;

impl Link {
    pub(crate) async fn to(door: Door) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (state, watched) = watch::channel(Line::Open);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                while connections.try_join_next().is_some() {}
                connections.spawn(pass(stream, door.clone(), watched.clone()));
            }
        });
        Self { addr, state, _tasks: tasks }
    }

    pub(crate) fn set(&self, line: Line) {
        self.state.send_replace(line);
    }
}

async fn pass(mut near: TcpStream, door: Door, mut state: watch::Receiver<Line>) {
    let line = *state.borrow_and_update();
    if line == Line::Cut {
        return;
    }
    if line == Line::Silent {
        let _ = state.changed().await;
        return;
    }
    let target = *door.lock().unwrap();
    let Ok(mut far) = TcpStream::connect(target).await else { return };
    let (_, _) = (near.set_nodelay(true), far.set_nodelay(true));
    let (mut from_near, mut to_near) = near.split();
    let (mut from_far, mut to_far) = far.split();
    let asking = async {
        let _ = tokio::io::copy(&mut from_near, &mut to_far).await;
        let _ = to_far.shutdown().await;
    };
    let answering = async {
        let mut piece = vec![0; 64 << 10];
        while let Ok(read @ 1..) = from_far.read(&mut piece).await {
            if line == Line::Spoiled && read > 4096 {
                piece[read - 1] ^= 1;
            }
            if to_near.write_all(&piece[..read]).await.is_err() {
                break;
            }
        }
        let _ = to_near.shutdown().await;
    };
    tokio::select! {
        _ = async { tokio::join!(asking, answering) } => {}
        // Any change breaks off what passes.
        _ = state.changed() => {}
    }
}

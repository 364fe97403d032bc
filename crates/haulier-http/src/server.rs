//! Serves routers on listeners, HTTP/1.1 and HTTP/2 without TLS, and drains them when asked to stop.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use haulier_base::Result;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// After an accept that failed, for want of file handles as a rule.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const HTTP2_STREAMS: u32 = 256;
const HTTP2_PING: Duration = Duration::from_secs(20);

/// The bounds of a server.
#[derive(Clone, Copy, Debug)]
pub struct ServerConfig {
    /// How long requests under way may take to end once a stop is asked.
    pub grace: Duration,
    /// How long the head of a request may take to arrive, the wait for a next one included.
    pub head_time: Duration,
    /// How many connections are open at once; further ones wait in the system's queue.
    pub max_connections: usize,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self { grace: Duration::from_secs(10), head_time: Duration::from_secs(30), max_connections: 4096 }
    }
}

/// Listeners with their routers, not yet running.
#[derive(Debug, Default)]
pub struct Server {
    config: ServerConfig,
    listening: Vec<(TcpListener, Router)>,
}

impl Server {
    /// A server without listeners.
    pub fn new(config: ServerConfig) -> Self {
        Self { config, listening: Vec::new() }
    }

    /// Adds a bound listener and what it serves. Handlers find the peer in `ConnectInfo<SocketAddr>`.
    #[must_use]
    pub fn listen(mut self, listener: TcpListener, router: Router) -> Self {
        self.listening.push((listener, router));
        self
    }

    /// Serves until `stop`; then closes the listeners, lets requests end within the grace, and drops the rest.
    pub async fn run(self, stop: CancellationToken) -> Result<()> {
        let tracker = TaskTracker::new();
        let connections = Connections {
            config: self.config,
            slots: Arc::new(Semaphore::new(self.config.max_connections)),
            tracker: tracker.clone(),
            drain: stop.clone(),
            kill: CancellationToken::new(),
        };
        for (listener, router) in self.listening {
            tracker.spawn(connections.clone().accept(listener, router));
        }
        stop.cancelled().await;
        tracker.close();
        if timeout(self.config.grace, tracker.wait()).await.is_err() {
            tracing::warn!(connections = tracker.len(), "connections still busy after the grace period are dropped");
            connections.kill.cancel();
            tracker.wait().await;
        }
        Ok(())
    }
}

#[derive(Clone)]
struct Connections {
    config: ServerConfig,
    slots: Arc<Semaphore>,
    tracker: TaskTracker,
    drain: CancellationToken,
    kill: CancellationToken,
}

impl Connections {
    async fn accept(self, listener: TcpListener, router: Router) {
        while let Some((slot, stream, peer)) = self.drain.run_until_cancelled(self.next(&listener)).await {
            self.tracker.spawn(self.clone().serve(stream, peer, router.clone(), slot));
        }
    }

    async fn next(&self, listener: &TcpListener) -> (Option<OwnedSemaphorePermit>, TcpStream, SocketAddr) {
        // The semaphore is never closed, so a slot always comes.
        let slot = self.slots.clone().acquire_owned().await.ok();
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => return (slot, stream, peer),
                Err(error) => {
                    tracing::warn!("cannot accept a connection: {error}");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn serve(self, stream: TcpStream, peer: SocketAddr, router: Router, slot: Option<OwnedSemaphorePermit>) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, "cannot set TCP_NODELAY: {error}");
        }
        let asked = Arc::new(AtomicBool::new(false));
        let ask = asked.clone();
        let service = router.map_request(move |request: Request<Incoming>| {
            ask.store(true, Ordering::Relaxed);
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            request
        });
        let protocols = self.protocols();
        let service = TowerToHyperService::new(service);
        let mut connection = pin!(protocols.serve_connection_with_upgrades(TokioIo::new(stream), service));
        // The protocol's own time-out starts once the protocol is known; this one covers a peer that never says.
        let mut first_request = pin!(sleep(self.config.head_time));
        let (mut waiting, mut draining) = (true, false);
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%peer, "connection ended: {error}");
                    }
                    break;
                }
                () = first_request.as_mut(), if waiting => match asked.load(Ordering::Relaxed) {
                    true => waiting = false,
                    false => break,
                },
                () = self.drain.cancelled(), if !draining => {
                    draining = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = self.kill.cancelled() => break,
            }
        }
        drop(slot);
    }

    fn protocols(&self) -> auto::Builder<TokioExecutor> {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(self.config.head_time);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(HTTP2_STREAMS)
            .keep_alive_interval(HTTP2_PING)
            .keep_alive_timeout(HTTP2_PING);
        builder
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;
    use tokio::task::JoinSet;

    use super::*;

    async fn start(config: ServerConfig, router: Router) -> (SocketAddr, CancellationToken, JoinSet<Result<()>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let mut running = JoinSet::new();
        running.spawn(Server::new(config).listen(listener, router).run(stop.clone()));
        (address, stop, running)
    }

    async fn ask(address: SocketAddr, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
        stream
    }

    #[tokio::test]
    async fn a_request_under_way_ends_and_then_the_server() {
        let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (enter, left) = (entered.clone(), leave.clone());
        let slow = move |ConnectInfo(peer): ConnectInfo<SocketAddr>| async move {
            enter.notify_one();
            left.notified().await;
            format!("seen {}", peer.ip())
        };
        let (address, stop, mut running) = start(ServerConfig::default(), Router::new().route("/", get(slow))).await;
        let mut stream = ask(address, "/").await;
        entered.notified().await;
        stop.cancel();
        leave.notify_one();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("seen 127.0.0.1"), "{answer}");
        running.join_next().await.unwrap().unwrap().unwrap();
        assert!(TcpStream::connect(address).await.is_err(), "the listener is closed");
    }

    #[tokio::test]
    async fn a_request_that_never_ends_is_dropped_after_the_grace() {
        let entered = Arc::new(Notify::new());
        let enter = entered.clone();
        let stuck = move || async move {
            enter.notify_one();
            std::future::pending::<()>().await;
        };
        let config = ServerConfig { grace: Duration::from_millis(20), ..ServerConfig::default() };
        let (address, stop, mut running) = start(config, Router::new().route("/", get(stuck))).await;
        let _stream = ask(address, "/").await;
        entered.notified().await;
        stop.cancel();
        running.join_next().await.unwrap().unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_peer_that_never_says_anything_whole_is_dropped() {
        let config = ServerConfig { head_time: Duration::from_millis(30), ..ServerConfig::default() };
        let (address, _stop, _running) = start(config, Router::new()).await;
        for said in ["", "PRI * HT", "GET / HTTP/1.1\r\nhost:"] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(said.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            // Closed or reset, with or without a last word: it ends.
            let ended = timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
            assert!(ended.is_ok(), "{said:?} still holds its connection");
        }
    }

    #[tokio::test]
    async fn connections_over_the_bound_wait_their_turn() {
        let config = ServerConfig { max_connections: 1, ..ServerConfig::default() };
        let (address, _stop, _running) = start(config, Router::new().route("/", get(|| async { "hello" }))).await;
        let first = ask(address, "/").await;
        let mut second = ask(address, "/").await;
        let mut byte = [0];
        assert!(timeout(Duration::from_millis(50), second.read(&mut byte)).await.is_err(), "served beyond the bound");
        drop(first);
        assert_eq!(timeout(Duration::from_secs(5), second.read(&mut byte)).await.unwrap().unwrap(), 1);
    }
}

//! HTTP sources that fail in every way a source can, and what becomes of the transfer.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use haulier_testkit::both_databases;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::room::{Room, pattern};

/// How the server answers one GET request; after the last script it answers well.
#[derive(Clone, Debug)]
pub(crate) enum Script {
    /// Only a status.
    Status(u16),
    /// A status with `Retry-After` in seconds.
    RetryAfter(u16, u32),
    /// Sends so many bytes of the body and closes.
    Cut { after: usize },
    /// Sends so many bytes of the body and then nothing more.
    Stall { after: usize },
    /// Claims more bytes than it has, and closes after the last one.
    Claim { more: usize },
    /// From now on the object is another one: other bytes and another ETag.
    Changed,
}

/// A small HTTP/1.1 server with one object, ranges and a strong ETag.
pub(crate) struct Server {
    port: u16,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    scripts: Mutex<std::collections::VecDeque<Script>>,
    body: Mutex<(Vec<u8>, &'static str)>,
    /// Neither ranges nor an ETag.
    plain: bool,
    requests: AtomicUsize,
    sent: AtomicUsize,
    reached: Notify,
    authorization: Mutex<Option<String>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(crate) async fn start(scripts: Vec<Script>, size: usize) -> Self {
        Self::build(scripts, size, false).await
    }

    /// A server that knows neither ranges nor versions.
    pub(crate) async fn plain(scripts: Vec<Script>, size: usize) -> Self {
        Self::build(scripts, size, true).await
    }

    async fn build(scripts: Vec<Script>, size: usize, plain: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            scripts: Mutex::new(scripts.into()),
            body: Mutex::new((pattern(size), "\"one\"")),
            plain,
            requests: AtomicUsize::new(0),
            sent: AtomicUsize::new(0),
            reached: Notify::new(),
            authorization: Mutex::default(),
        });
        let serving = shared.clone();
        #[expect(clippy::disallowed_methods, reason = "aborted when the server is dropped")]
        let task = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let shared = serving.clone();
                open.spawn(async move { drop(answer(stream, &shared).await) });
            }
        });
        Self { port, shared, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/object", self.port)
    }

    pub(crate) fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    pub(crate) fn sent(&self) -> usize {
        self.shared.sent.load(Ordering::SeqCst)
    }

    /// The last `Authorization` header that was sent.
    pub(crate) fn authorization(&self) -> Option<String> {
        self.shared.authorization.lock().unwrap().clone()
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        self.shared.body.lock().unwrap().0.clone()
    }

    /// Waits until a script has begun to stall.
    pub(crate) async fn reached(&self) {
        self.shared.reached.notified().await;
    }
}

async fn answer(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return Ok(()),
            }
        }
        let head = String::from_utf8_lossy(&head).to_lowercase();
        let field = |name: &str| head.lines().find_map(|l| l.strip_prefix(name).map(|v| v.trim().to_owned()));
        *shared.authorization.lock().unwrap() = field("authorization:");
        let is_head = head.starts_with("head ");
        let script = if is_head { None } else { shared.scripts.lock().unwrap().pop_front() };
        if !is_head {
            shared.requests.fetch_add(1, Ordering::SeqCst);
        }
        if matches!(script, Some(Script::Changed)) {
            let mut body = shared.body.lock().unwrap();
            let changed = body.0.iter().map(|b| b.wrapping_add(1)).collect();
            *body = (changed, "\"two\"");
        }
        let (body, tag) = shared.body.lock().unwrap().clone();
        match script {
            Some(Script::Status(code)) => {
                stream.write_all(format!("HTTP/1.1 {code} x\r\nContent-Length: 0\r\n\r\n").as_bytes()).await?;
                continue;
            }
            Some(Script::RetryAfter(code, wait)) => {
                let head = format!("HTTP/1.1 {code} x\r\nRetry-After: {wait}\r\nContent-Length: 0\r\n\r\n");
                stream.write_all(head.as_bytes()).await?;
                continue;
            }
            _ => {}
        }
        let fresh = !shared.plain && field("if-range:").is_none_or(|given| given == tag);
        let range = field("range: bytes=").filter(|_| fresh).map(|range| {
            let (from, to) = range.split_once('-').unwrap();
            let from: usize = from.parse().unwrap();
            let to = to.parse::<usize>().map_or(body.len(), |to| (to + 1).min(body.len()));
            (from, to)
        });
        let (from, to) = range.unwrap_or((0, body.len()));
        let claimed = to - from + if let Some(Script::Claim { more }) = script { more } else { 0 };
        let head = match range {
            Some(_) => format!(
                "HTTP/1.1 206 x\r\nContent-Range: bytes {from}-{}/{}\r\nETag: {tag}\r\nContent-Length: {claimed}\r\n\r\n",
                to - 1,
                body.len()
            ),
            None if shared.plain => format!("HTTP/1.1 200 x\r\nContent-Length: {claimed}\r\n\r\n"),
            None => {
                format!("HTTP/1.1 200 x\r\nAccept-Ranges: bytes\r\nETag: {tag}\r\nContent-Length: {claimed}\r\n\r\n")
            }
        };
        stream.write_all(head.as_bytes()).await?;
        if is_head {
            continue;
        }
        let part = &body[from..to];
        let part = match script {
            Some(Script::Cut { after } | Script::Stall { after }) => &part[..after.min(part.len())],
            _ => part,
        };
        stream.write_all(part).await?;
        shared.sent.fetch_add(part.len(), Ordering::SeqCst);
        match script {
            Some(Script::Cut { .. } | Script::Claim { .. }) => return Ok(()),
            Some(Script::Stall { .. }) => {
                shared.reached.notify_one();
                std::future::pending::<()>().await;
            }
            _ => {}
        }
    }
}

both_databases! {
    async fn an_http_source_is_copied_whole(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        let server = Server::start(vec![], 300_000).await;
        let id = room.submit(&server.url(), &room.url("b"), json!({})).await;
        let document = room.run_to_the_end(&id).await;
        assert_eq!((&document["state"], &document["progress"]), (&json!("STATE_COMPLETE"), &json!(300_000)), "{document}");
        assert!(std::fs::read(room.path("b")).unwrap() == server.body());
    }

    async fn a_bounded_range_is_exact(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        let server = Server::start(vec![], 1000).await;
        let id = room.submit(&server.url(), &room.url("b"), json!({ "start_offset": 10, "end_offset": 20 })).await;
        assert_eq!(room.run_to_the_end(&id).await["progress"], 10);
        assert_eq!(std::fs::read(room.path("b")).unwrap(), server.body()[10..20]);
    }

    async fn case_13_a_length_that_is_never_reached_is_an_error(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        let server = Server::start(vec![Script::Claim { more: 1000 }; 50], 5000).await;
        let id = room.submit(&server.url(), &room.url("b"), json!({})).await;
        let document = room.run_to_the_end(&id).await;
        assert_eq!((&document["state"], &document["error"]["code"]), (&json!("STATE_ERROR"), &json!("unavailable")));
        assert!(!room.path("b").exists());
        assert_eq!(document["attempts"], 6);
    }

    async fn passing_trouble_is_waited_out(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        let scripts = vec![Script::Status(500), Script::Status(429), Script::RetryAfter(503, 30), Script::Cut { after: 7 }];
        let server = Server::start(scripts, 100_000).await;
        let id = room.submit(&server.url(), &room.url("b"), json!({})).await;
        let document = room.run_to_the_end(&id).await;
        assert_eq!(document["state"], "STATE_COMPLETE", "{document}");
        assert!(std::fs::read(room.path("b")).unwrap() == server.body());
    }

    async fn a_wait_the_server_asks_for_is_kept(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        let server = Server::start(vec![Script::RetryAfter(503, 30)], 10).await;
        let id = room.submit(&server.url(), &room.url("b"), json!({})).await;
        room.run_tasks().await;
        room.catalog.clock.advance(std::time::Duration::from_secs(29));
        room.run_tasks().await;
        assert_eq!(room.document(&id).await["state"], "STATE_RUNNING");
        room.catalog.clock.advance(std::time::Duration::from_secs(1));
        room.run_tasks().await;
        assert_eq!(room.document(&id).await["state"], "STATE_COMPLETE");
    }

    async fn permanent_refusals_are_not_tried_again(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        for code in [400, 401, 403, 404, 410, 416] {
            let server = Server::start(vec![Script::Status(code); 9], 10).await;
            let id = room.submit(&server.url(), &room.url("b"), json!({})).await;
            room.run_tasks().await;
            let document = room.document(&id).await;
            assert_eq!(document["state"], "STATE_ERROR", "{code}: {document}");
            assert_eq!(document["attempts"], 1, "{code}");
        }
    }

    async fn a_drop_is_resumed_without_reading_from_the_start(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        let size = 4_000_000;
        let server = Server::start(vec![Script::Cut { after: 3_000_000 }], size).await;
        let id = room.submit(&server.url(), &room.url("b"), json!({})).await;
        let document = room.run_to_the_end(&id).await;
        assert_eq!(document["state"], "STATE_COMPLETE", "{document}");
        assert!(std::fs::read(room.path("b")).unwrap() == server.body());
        assert!(server.sent() < size + size / 4, "{} bytes were sent for {size}", server.sent());
    }

    async fn two_versions_are_never_mixed(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        let server = Server::start(vec![Script::Cut { after: 3_000_000 }, Script::Changed], 4_000_000).await;
        let id = room.submit(&server.url(), &room.url("b"), json!({})).await;
        let document = room.run_to_the_end(&id).await;
        assert_eq!(document["state"], "STATE_COMPLETE", "{document}");
        assert!(std::fs::read(room.path("b")).unwrap() == server.body());
    }

    async fn nobody_listening_ends_in_an_error_that_says_so(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/x", listener.local_addr().unwrap());
        drop(listener);
        let id = room.submit(&url, &room.url("b"), json!({})).await;
        let document = room.run_to_the_end(&id).await;
        assert_eq!((&document["state"], &document["attempts"]), (&json!("STATE_ERROR"), &json!(6)));
        assert!(!document["error"]["message"].as_str().unwrap().is_empty());
    }

    async fn case_18_a_full_disk_is_named_and_leaves_nothing(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        let disk = SmallDisk::mount(&room.path("small"));
        room.source("a", 3 << 20);
        let id = room.submit(&room.url("a"), &room.url("small/b"), json!({})).await;
        let document = room.run_to_the_end(&id).await;
        assert_eq!((&document["state"], &document["error"]["code"]), (&json!("STATE_ERROR"), &json!("no_space")));
        assert!(document["error"]["message"].as_str().unwrap().contains("space"), "{document}");
        assert_eq!(std::fs::read_dir(&disk.0).unwrap().count(), 0);
    }
}

/// A tmpfs of 1 MiB, for a real ENOSPC.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(at: &std::path::Path) -> Self {
        std::fs::create_dir(at).unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(at)
            .status()
            .unwrap();
        assert!(mounted.success(), "mounting a tmpfs takes root");
        Self(at.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

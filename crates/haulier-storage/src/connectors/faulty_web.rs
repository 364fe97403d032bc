//! A proxy between a test and a real web server that spoils one request, or all from one on.
//!
//! Every connection carries one request, so that each of them can be counted and spoilt.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WebFault {
    /// The connection is reset before the server has heard of it.
    ResetBefore,
    /// It is reset when half of the request has passed.
    ResetInRequest,
    /// The server does its work; the connection is reset in the middle of its answer.
    ResetInAnswer,
    /// The answer ends in the middle, as if that were all.
    CutAnswer,
    /// The server does its work; its answer is thrown away.
    LoseAnswer,
    /// Nothing is passed on, and nothing comes back.
    SilentRequest,
    /// Half of the answer comes, and then nothing.
    SilentAnswer,
    /// Instead of the server somebody says 503, and to come back in a second.
    Busy,
    /// The server gets the request twice, and its second answer is passed on.
    Twice,
}

/// All of them.
pub(crate) const WEB_FAULTS: [WebFault; 9] = [
    WebFault::ResetBefore,
    WebFault::ResetInRequest,
    WebFault::ResetInAnswer,
    WebFault::CutAnswer,
    WebFault::LoseAnswer,
    WebFault::SilentRequest,
    WebFault::SilentAnswer,
    WebFault::Busy,
    WebFault::Twice,
];

impl WebFault {
    /// Whether nothing tells of it but that nothing comes.
    pub(crate) fn is_silent(self) -> bool {
        matches!(self, Self::SilentRequest | Self::SilentAnswer)
    }
}

/// What a busy server asks for.
pub(crate) const BUSY_WAIT: Duration = Duration::from_secs(1);

/// Which requests are spoilt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spoilt {
    pub(crate) fault: WebFault,
    /// What the first line of such a request contains.
    pub(crate) text: &'static str,
    /// So many of these pass before.
    pub(crate) after: usize,
    /// Whether it is one request only.
    pub(crate) once: bool,
}

pub(crate) struct FaultyWeb {
    pub(crate) address: String,
    state: Arc<State>,
    _running: JoinSet<()>,
}

struct State {
    server: String,
    spoilt: Spoilt,
    healed: AtomicBool,
    seen: Mutex<Vec<Seen>>,
}

/// A request that came.
struct Seen {
    line: String,
    at: Instant,
    spoilt: bool,
}

impl FaultyWeb {
    pub(crate) async fn start(server: &str, spoilt: Spoilt) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (healed, seen) = (AtomicBool::new(false), Mutex::default());
        let state = Arc::new(State { server: server.to_owned(), spoilt, healed, seen });
        let (shared, mut running) = (state.clone(), JoinSet::new());
        running.spawn(async move {
            let mut lines = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                lines.spawn(serve(near, shared.clone()));
            }
        });
        Self { address, state, _running: running }
    }

    /// Lets everything through from now on.
    pub(crate) fn heal(&self) {
        self.state.healed.store(true, Ordering::SeqCst);
    }

    /// How many requests were spoilt.
    pub(crate) fn met(&self) -> usize {
        self.state.seen.lock().unwrap().iter().filter(|seen| seen.spoilt).count()
    }

    /// How long it took until a spoilt request came again.
    pub(crate) fn came_again_after(&self) -> Option<Duration> {
        let seen = self.state.seen.lock().unwrap();
        let at = seen.iter().position(|seen| seen.spoilt)?;
        let again = seen[at + 1..].iter().find(|later| later.line == seen[at].line)?;
        Some(again.at - seen[at].at)
    }
}

impl State {
    /// Counts a request; what becomes of it.
    fn meet(&self, line: &str) -> Option<WebFault> {
        let mut seen = self.seen.lock().unwrap();
        let Spoilt { fault, text, after, once } = self.spoilt;
        let before = seen.iter().filter(|seen| seen.line.contains(text)).count();
        let due = if once { before == after } else { before >= after };
        let spoilt = due && line.contains(text) && !self.healed.load(Ordering::SeqCst);
        seen.push(Seen { line: line.to_owned(), at: Instant::now(), spoilt });
        spoilt.then_some(fault)
    }
}

async fn serve(mut near: TcpStream, state: Arc<State>) {
    let Some(head) = read_head(&mut near).await else { return };
    let fault = state.meet(head.lines().next().unwrap_or_default());
    // The connection ends with its first answer, so that every request is looked at.
    let mut sent = head.replacen("\r\n", "\r\nconnection: close\r\n", 1).into_bytes();
    match fault {
        None => {
            let mut far = TcpStream::connect(&state.server).await.unwrap();
            if far.write_all(&sent).await.is_ok() {
                let _ended = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            }
        }
        Some(WebFault::ResetBefore) => reset(&near),
        Some(WebFault::SilentRequest) => std::future::pending().await,
        Some(WebFault::ResetInRequest) => half_a_request(&mut near, &state.server, &head, sent).await,
        Some(WebFault::Busy) => {
            let mut body = length_of(&head).unwrap_or(0);
            while body > 0 {
                let mut bytes = vec![0; body.min(64 * 1024)];
                let Ok(count @ 1..) = near.read(&mut bytes).await else { return };
                body -= count;
            }
            let answer = "HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
            let _ended = near.write_all(answer.as_bytes()).await;
            drain(&mut near).await;
        }
        Some(fault) => {
            let mut answer = exchange(&mut near, &state.server, &mut sent).await;
            if fault == WebFault::Twice {
                answer = again(&state.server, &sent).await;
            }
            let wanted = match fault {
                WebFault::LoseAnswer => 0,
                WebFault::Twice => answer.len(),
                _ => answer.len() / 2,
            };
            let _ended = near.write_all(&answer[..wanted]).await;
            match fault {
                WebFault::ResetInAnswer | WebFault::LoseAnswer => reset(&near),
                WebFault::SilentAnswer => std::future::pending().await,
                _ => drain(&mut near).await,
            }
        }
    }
}

async fn read_head(near: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(near.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

fn length_of(head: &str) -> Option<usize> {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?.1.trim().parse().ok()
}

fn reset(near: &TcpStream) {
    near.set_zero_linger().unwrap();
}

/// Says that this was all, and waits until the other side has seen it.
async fn drain(near: &mut TcpStream) {
    let _ended = near.shutdown().await;
    let _rest = tokio::io::copy(near, &mut tokio::io::sink()).await;
}

/// Half of the body, or of the head where there is none.
async fn half_a_request(near: &mut TcpStream, server: &str, head: &str, mut sent: Vec<u8>) {
    let mut far = TcpStream::connect(server).await.unwrap();
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding");
    let mut body = length_of(head).map_or(if chunked { 64 * 1024 } else { 0 }, |length| length / 2);
    if body == 0 {
        sent.truncate(sent.len() / 2);
    }
    let _ended = far.write_all(&sent).await;
    while body > 0 {
        let mut bytes = vec![0; body.min(64 * 1024)];
        let Ok(count @ 1..) = near.read(&mut bytes).await else { return };
        let _ended = far.write_all(&bytes[..count]).await;
        body -= count;
    }
    far.set_zero_linger().unwrap();
    reset(near);
}

/// Passes a request on and keeps what passed; the whole answer, or what there is when the client has gone.
async fn exchange(near: &mut TcpStream, server: &str, sent: &mut Vec<u8>) -> Vec<u8> {
    let (mut far, mut answer) = (TcpStream::connect(server).await.unwrap(), Vec::new());
    far.write_all(sent).await.unwrap();
    let ((mut from_near, _), (mut from_far, mut to_far)) = (near.split(), far.split());
    let passing = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from_near.read(&mut buffer).await {
            sent.extend_from_slice(&buffer[..count]);
            if to_far.write_all(&buffer[..count]).await.is_err() {
                // The server needs no more; its answer is still to come.
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        _ = from_far.read_to_end(&mut answer) => {}
        () = passing => {}
    }
    answer
}

async fn again(server: &str, sent: &[u8]) -> Vec<u8> {
    let (mut far, mut answer) = (TcpStream::connect(server).await.unwrap(), Vec::new());
    let _refused = far.write_all(sent).await;
    let _ended = far.read_to_end(&mut answer).await;
    answer
}

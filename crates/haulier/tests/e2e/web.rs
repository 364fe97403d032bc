//! A slow web server of a test's own, which counts what it sends. Knows ranges and nothing else.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PIECE: usize = 16 << 10;

/// Objects at `/0`, `/1` and so on, each connection at a rate of its own.
pub(crate) struct WebSource {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    objects: Vec<Arc<Vec<u8>>>,
    sent: Mutex<Vec<u64>>,
    bytes_per_second: u64,
}

impl WebSource {
    /// Serves objects until the test process ends.
    pub(crate) fn serve(objects: Vec<Arc<Vec<u8>>>, bytes_per_second: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let sent = Mutex::new(vec![0; objects.len()]);
        let shared = Arc::new(Shared { objects, sent, bytes_per_second });
        let serving = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = serving.clone();
                // A client that was killed is no error of the server.
                std::thread::spawn(move || shared.answer(stream));
            }
        });
        Self { address, shared }
    }

    pub(crate) fn url(&self, object: usize) -> String {
        format!("http://{}/{object}", self.address)
    }

    /// How many bytes of an object were sent, over all connections.
    pub(crate) fn sent(&self, object: usize) -> u64 {
        self.shared.sent.lock().unwrap()[object]
    }
}

impl Shared {
    fn answer(&self, mut stream: TcpStream) -> Option<()> {
        let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
        let request = lines.next()?.ok()?;
        let mut range = None;
        for line in lines {
            let line = line.ok()?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            range = line.strip_prefix("range: bytes=").map(str::to_owned).or(range);
        }
        let mut words = request.split(' ');
        let (method, path) = (words.next()?, words.next()?);
        let object: usize = path.trim_start_matches('/').parse().ok()?;
        let bytes = self.objects.get(object)?.clone();
        let (status, part) = match range.as_deref().and_then(|range| range.split_once('-')) {
            Some((first, last)) => {
                let end = if last.is_empty() { bytes.len() } else { last.parse::<usize>().ok()? + 1 };
                ("206 Partial Content", first.parse().ok()?..end.min(bytes.len()))
            }
            None => ("200 OK", 0..bytes.len()),
        };
        let (first, last, length) = (part.start, part.end.saturating_sub(1), part.len());
        let range = match status.starts_with("206") {
            true => format!("Content-Range: bytes {first}-{last}/{}\r\n", bytes.len()),
            false => String::new(),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nETag: \"{object}\"\r\nAccept-Ranges: bytes\r\n{range}\
             Content-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).ok()?;
        if method == "HEAD" {
            return Some(());
        }
        let (begun, mut done) = (Instant::now(), 0);
        for piece in bytes[part].chunks(PIECE) {
            stream.write_all(piece).ok()?;
            self.sent.lock().unwrap()[object] += piece.len() as u64;
            done += piece.len();
            let due = begun + Duration::from_secs_f64(done as f64 / self.bytes_per_second as f64);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        Some(())
    }
}

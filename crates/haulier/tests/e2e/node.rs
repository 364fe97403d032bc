//! A server process of a test's own, and the little HTTP that talking to it takes.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

/// The binary, with no settings of whoever runs the tests.
pub(crate) fn haulier(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_haulier"));
    command.current_dir(folder).env_clear().env("XDG_STATE_HOME", folder.join("state"));
    command.stdin(Stdio::null()).stderr(Stdio::null());
    command
}

/// A running `haulier serve --dev`; killed when dropped.
pub(crate) struct Node {
    child: Arc<Mutex<Child>>,
    address: String,
}

impl Node {
    /// Starts a server on the data in `folder`, or on another catalogue.
    pub(crate) fn start(folder: &Path, database: Option<&str>) -> Self {
        let (child, address) = spawn(folder, database);
        Self { child, address: address.expect("the server says where it listens") }
    }

    /// Starts a server that is killed after a while; none when it did not come to listen before.
    pub(crate) fn doomed(folder: &Path, life: Duration) -> Option<Self> {
        let end = Instant::now() + life;
        let (child, output) = launch(folder, None);
        let doomed = Arc::clone(&child);
        std::thread::spawn(move || {
            std::thread::sleep(end.saturating_duration_since(Instant::now()));
            doomed.lock().unwrap().kill().unwrap();
        });
        let address = listening(output);
        if address.is_none() {
            child.lock().unwrap().wait().unwrap();
        }
        Some(Self { address: address?, child })
    }

    /// The base URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// One request; the status, the head and the body of the answer.
    pub(crate) fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> io::Result<(u16, String, String)> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        // With HTTP/1.0 the end of the connection is the end of the body: nothing comes in chunks.
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let cut = || io::Error::new(io::ErrorKind::UnexpectedEof, "the answer was cut off");
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(cut)?;
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(cut)?;
        Ok((status, head.to_ascii_lowercase(), body.to_owned()))
    }

    /// One request whose answer is JSON.
    pub(crate) fn json(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let (status, _, text) = self.ask(method, path, body).unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// Waits until a transfer is in a state, and gives its document.
    pub(crate) fn wait_for(&self, id: &str, state: &str) -> Value {
        let begun = Instant::now();
        loop {
            let (_, document) = self.json("GET", &format!("/v1/transfers/{id}"), None);
            if document["state"] == state {
                return document;
            }
            assert!(begun.elapsed() < PATIENCE, "{document}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks the process to stop, and waits until it has.
    pub(crate) fn terminate(&self) -> ExitStatus {
        let id = self.child.lock().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        self.wait()
    }

    /// Waits for the end of the process.
    pub(crate) fn wait(&self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.lock().unwrap().try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "the server does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap();
        let _ended_already = child.kill();
        let _ = child.wait();
    }
}

fn spawn(folder: &Path, database: Option<&str>) -> (Arc<Mutex<Child>>, Option<String>) {
    let (child, output) = launch(folder, database);
    (child, listening(output))
}

fn launch(folder: &Path, database: Option<&str>) -> (Arc<Mutex<Child>>, impl Read + use<>) {
    let mut command = haulier(folder);
    command.args(["serve", "--dev", "--listen", "127.0.0.1:0", "--data-dir", "data"]).stdout(Stdio::piped());
    command.envs(database.map(|url| ("HAULIER_DATABASE_URL", url)));
    let mut child = command.spawn().unwrap();
    let output = child.stdout.take().unwrap();
    (Arc::new(Mutex::new(child)), output)
}

fn listening(output: impl Read) -> Option<String> {
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).ok()?;
    line.trim_end().strip_prefix("listening on http://").map(str::to_owned)
}

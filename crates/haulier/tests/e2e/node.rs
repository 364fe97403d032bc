//! Processes of a test's own, their signals, and the little HTTP that talking to a server takes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

/// The binary, with no settings of whoever runs the tests, as the user whose folder it is.
pub(crate) fn haulier(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_haulier"));
    command.uid(std::fs::metadata(folder).unwrap().uid());
    command.current_dir(folder).env_clear().env("XDG_STATE_HOME", folder.join("state"));
    command.stdin(Stdio::null()).stderr(Stdio::null());
    command
}

/// A folder for a test; it is kept, and named, when the test fails.
pub(crate) struct Scratch(Option<tempfile::TempDir>, PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        Self(Some(folder), path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.1
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(folder) = self.0.take()
        {
            eprintln!("what the failed test left is in {}", folder.keep().display());
        }
    }
}

/// A process; killed when dropped.
pub(crate) struct Process {
    child: Arc<Mutex<Child>>,
    first_line: Option<String>,
}

impl Process {
    /// Starts the binary and reads its first line; what it says besides is appended to `log` in the folder.
    ///
    /// With a `life`, the process is killed that long after its start.
    fn start(folder: &Path, arguments: &[&str], database: Option<&str>, life: Option<Duration>) -> Self {
        let end = life.map(|life| Instant::now() + life);
        let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
        let mut command = haulier(folder);
        command.args(arguments).stdout(Stdio::piped()).stderr(log).env("NO_COLOR", "1");
        command.envs(database.map(|url| ("HAULIER_DATABASE_URL", url)));
        let mut child = command.spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut process = Self { child: Arc::new(Mutex::new(child)), first_line: None };
        if let Some(end) = end {
            process.kill_at(end);
        }
        let mut line = String::new();
        // A process that died before it had a line to say gives an empty one.
        if output.read_line(&mut line).is_ok() && line.ends_with('\n') {
            process.first_line = Some(line.trim_end().to_owned());
        }
        process
    }

    /// Starts a worker on a shared catalogue and waits until it works. Its name in lease rows begins with `site`.
    pub(crate) fn worker(folder: &Path, site: &str, database: &str, config: &str) -> Self {
        let data = format!("data-{site}");
        let arguments = ["worker", "--dev", "--site", site, "--data-dir", &data, "--config", config];
        let worker = Self::start(folder, &arguments, Some(database), None);
        assert_eq!(worker.first_line.as_deref(), Some("working"));
        worker
    }

    /// Kills the process at an instant, from another thread.
    pub(crate) fn kill_at(&self, end: Instant) {
        let doomed = Arc::clone(&self.child);
        std::thread::spawn(move || {
            std::thread::sleep(end.saturating_duration_since(Instant::now()));
            doomed.lock().unwrap().kill().unwrap();
        });
    }

    /// Ends the process as a crash would.
    pub(crate) fn kill(&self) {
        self.child.lock().unwrap().kill().unwrap();
        self.wait();
    }

    /// Sends a signal by its name, such as `STOP`.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.lock().unwrap().id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// Asks the process to stop, and waits until it has.
    pub(crate) fn terminate(&self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    /// Waits for the end of the process.
    pub(crate) fn wait(&self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.lock().unwrap().try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "the process does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap();
        let _ended_already = child.kill();
        let _ = child.wait();
    }
}

/// A running `haulier serve --dev`; killed when dropped.
pub(crate) struct Node {
    pub(crate) process: Process,
    pub(crate) client: Client,
}

/// Somebody who talks to a server.
#[derive(Clone)]
pub(crate) struct Client {
    address: String,
}

impl std::ops::Deref for Node {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Node {
    /// Starts a server on the data in `folder`, or on another catalogue.
    pub(crate) fn start(folder: &Path, database: Option<&str>) -> Self {
        Self::launch(folder, database, &[], None).expect("the server says where it listens")
    }

    /// Starts a server with a file of settings.
    pub(crate) fn with_config(folder: &Path, database: Option<&str>, site: &str, config: &str) -> Self {
        let more = ["--site", site, "--config", config];
        Self::launch(folder, database, &more, None).expect("the server says where it listens")
    }

    /// Starts a server that listens where its file of settings says.
    pub(crate) fn alone(folder: &Path, config: &str) -> Self {
        let arguments = ["serve", "--dev", "--data-dir", "data", "--config", config];
        Self::begin(folder, None, &arguments, None).expect("the server says where it listens")
    }

    /// Starts a server with a file of settings and a setup file of sync.
    pub(crate) fn with_setup(folder: &Path, database: Option<&str>, config: &str, setup: &str) -> Self {
        let more = ["--config", config, "--setup", setup];
        Self::launch(folder, database, &more, None).expect("the server says where it listens")
    }

    /// Starts a server that is killed after a while; none when it did not come to listen before.
    pub(crate) fn doomed(folder: &Path, database: Option<&str>, life: Duration) -> Option<Self> {
        Self::launch(folder, database, &[], Some(life))
    }

    /// Starts a site of replication, which others know by its port.
    pub(crate) fn site(folder: &Path, database: Option<&str>, site: &str, port: u16) -> Self {
        let (listen, data) = (format!("127.0.0.1:{port}"), format!("data-{site}"));
        let arguments = ["serve", "--dev", "--listen", &listen, "--data-dir", &data, "--site", site];
        Self::begin(folder, database, &arguments, None).expect("the site says where it listens")
    }

    fn launch(folder: &Path, database: Option<&str>, more: &[&str], life: Option<Duration>) -> Option<Self> {
        let mut arguments = vec!["serve", "--dev", "--listen", "127.0.0.1:0", "--data-dir", "data"];
        arguments.extend(more);
        Self::begin(folder, database, &arguments, life)
    }

    fn begin(folder: &Path, database: Option<&str>, arguments: &[&str], life: Option<Duration>) -> Option<Self> {
        let process = Process::start(folder, arguments, database, life);
        let address = process.first_line.as_deref().and_then(|line| line.strip_prefix("listening on http://"));
        let address = address.map(str::to_owned);
        if address.is_none() {
            process.wait();
        }
        Some(Self { client: Client { address: address? }, process })
    }

    /// Asks the process to stop, and waits until it has.
    pub(crate) fn terminate(&self) -> ExitStatus {
        self.process.terminate()
    }
}

impl Client {
    /// The base URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// One request; the status, the head and the body of the answer.
    pub(crate) fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> io::Result<(u16, String, String)> {
        self.send(method, path, "", body)
    }

    /// One request of somebody with a token, whose answer is JSON.
    pub(crate) fn with_token(&self, method: &str, path: &str, token: &str, body: Option<&Value>) -> (u16, Value) {
        let (status, _, text) = self.send(method, path, &format!("X-Auth-Token: {token}\r\n"), body).unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    fn send(&self, method: &str, path: &str, more: &str, body: Option<&Value>) -> io::Result<(u16, String, String)> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        // With HTTP/1.0 the end of the connection is the end of the body: nothing comes in chunks.
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: test\r\nContent-Type: application/json\r\n{more}Content-Length: {}\r\n\r\n",
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

    /// One request of a client of replication; the status and the body of the answer.
    pub(crate) fn by_client(&self, method: &str, path: &str, client: &str, body: &[u8]) -> io::Result<(u16, Vec<u8>)> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: test\r\nx-clonecloudstore-client-id: {client}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let cut = || io::Error::new(io::ErrorKind::UnexpectedEof, "the answer was cut off");
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(cut)?;
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(cut)?;
        let body = answer.split_off(end + 4);
        let mut lengths = head
            .lines()
            .filter_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
        // A site that dies in the middle of an answer only leaves it short.
        if lengths.next_back().is_some_and(|length: usize| length != body.len()) {
            return Err(cut());
        }
        Ok((status, body))
    }

    /// One request whose answer is JSON.
    pub(crate) fn json(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let (status, _, text) = self.ask(method, path, body).unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// Asks for a transfer and gives its id.
    pub(crate) fn submit(&self, request: &Value) -> String {
        let (status, made) = self.json("POST", "/v1/transfers", Some(request));
        assert_eq!(status, 201, "{made}");
        made["id"].as_str().unwrap().to_owned()
    }

    /// The document of a transfer.
    pub(crate) fn show(&self, id: &str) -> Value {
        self.json("GET", &format!("/v1/transfers/{id}"), None).1
    }

    /// Waits until a transfer is in a state, and gives its document.
    pub(crate) fn wait_for(&self, id: &str, state: &str) -> Value {
        self.wait_until(id, |document| document["state"] == state)
    }

    /// Waits until so many bytes of a transfer are safe.
    pub(crate) fn wait_for_progress(&self, id: &str, bytes: u64) -> Value {
        self.wait_until(id, |document| document["progress"].as_u64() >= Some(bytes))
    }

    fn wait_until(&self, id: &str, reached: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let document = self.show(id);
            if reached(&document) {
                return document;
            }
            assert!(begun.elapsed() < PATIENCE, "{document}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

//! A server, an agent and a repository, each of which may die; and the other program that reads the repository.

use std::fs::File;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::node::{Node, Scratch, haulier};

/// How long something that must happen may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);
const PASSWORD: &str = "correct horse";

pub(super) struct Scene {
    pub(super) scratch: Scratch,
    port: u16,
    pub(super) node: Option<Node>,
    pub(super) agent: Option<Child>,
}

impl Scene {
    /// A server and an agent that may run commands.
    pub(super) fn new() -> Self {
        let mut scene = Self::bare();
        scene.start_server();
        scene.start_agent();
        scene
    }

    pub(super) fn bare() -> Self {
        let scratch = Scratch::new();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let scene = Self { scratch, port, node: None, agent: None };
        std::fs::create_dir(scene.path("docs")).unwrap();
        std::fs::write(scene.path("password"), PASSWORD).unwrap();
        std::fs::write(scene.path("wrong"), "wrong").unwrap();
        let config = format!(
            "client_id = \"web1\"\nhostname = \"web1\"\ndata_dir = \"agent\"\ninterval = 1\nallow_exec = true\n\
             lock_wait = 60\npassword = {{ file = \"password\" }}\n\
             [repositories.main]\nurl = \"file://{}\"\n\
             [repositories.locked]\nurl = \"file://{}\"\npassword = {{ file = \"wrong\" }}\n",
            scene.path("repo").display(),
            scene.path("repo").display(),
        );
        std::fs::write(scene.path("agent.toml"), config).unwrap();
        scene
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    pub(super) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path("docs").join(name), content).unwrap();
    }

    pub(super) fn start_server(&mut self) {
        self.node = Some(Node::site(self.scratch.path(), None, "local", self.port));
    }

    pub(super) fn start_agent(&mut self) {
        let log = File::options().create(true).append(true).open(self.path("agent.log")).unwrap();
        let server = format!("http://127.0.0.1:{}", self.port);
        let mut command = haulier(self.scratch.path());
        command.args(["agent", "--server", &server, "--config", "agent.toml"]);
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin").stderr(log).stdout(Stdio::null());
        self.agent = Some(command.spawn().unwrap());
    }

    /// Ends the agent as a crash would.
    pub(super) fn kill_agent(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            agent.kill().unwrap();
            agent.wait().unwrap();
        }
    }

    /// Ends whatever the agent has started, as a crash would; it is in the middle of a backup or of a prune.
    pub(super) fn kill_children(&self) {
        let agent = self.agent.as_ref().unwrap().id();
        let threads = std::fs::read_dir(format!("/proc/{agent}/task")).unwrap();
        for thread in threads.flatten() {
            let children = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            for child in children.split_whitespace() {
                // It may have ended by itself meanwhile.
                let _sent = Command::new("kill").args(["-9", child]).stderr(Stdio::null()).status().unwrap();
            }
        }
    }

    pub(super) fn kill_server(&mut self) {
        if let Some(node) = self.node.take() {
            node.process.kill();
        }
    }

    fn server(&self) -> &Node {
        self.node.as_ref().unwrap()
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.server().json("POST", path, Some(body));
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    }

    pub(super) fn get(&self, path: &str) -> Value {
        self.server().json("GET", path, None).1
    }

    /// Makes a job and gives its id.
    pub(super) fn job(&self, schedule: Value, actions: Value) -> String {
        let job = json!({"client_id": "web1", "job_schedule": schedule, "job_actions": actions});
        self.post("/v1/jobs", &job)["job_id"].as_str().unwrap().to_owned()
    }

    /// A backup of the one folder.
    pub(super) fn backup(&self) -> Value {
        json!({"freezer_action": {"action": "backup", "mode": "fs", "backup_name": "docs", "container": "main",
            "path_to_backup": self.path("docs")}})
    }

    pub(super) fn wait<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            if begun.elapsed() > PATIENCE {
                let log = std::fs::read_to_string(self.path("agent.log")).unwrap_or_default();
                panic!("{what} does not happen\n{}\n{log}", self.get("/v1/jobs"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until a job's schedule has a status and a result, and gives it.
    pub(super) fn wait_for(&self, job: &str, status: &str, result: &str) -> Value {
        self.wait(&format!("{status} {result} of {job}"), || {
            let schedule = self.get(&format!("/v1/jobs/{job}"))["job_schedule"].clone();
            (schedule["status"] == status && schedule["result"] == result).then_some(schedule)
        })
    }

    /// The metadata of all records.
    pub(super) fn records(&self) -> Vec<Value> {
        let answer = self.get("/v1/backups?limit=100000");
        let records = answer["backups"].as_array().unwrap();
        records.iter().map(|record| record["backup_metadata"].clone()).collect()
    }

    /// Runs a command of ours on the repository.
    pub(super) fn ours(&self, arguments: &[&str]) -> (Option<i32>, String) {
        self.ours_at("main", arguments)
    }

    /// Runs a command of ours on another repository.
    pub(super) fn ours_at(&self, repository: &str, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = haulier(self.scratch.path());
        command.arg("backup").args(arguments).args(["-r", repository, "--config", "agent.toml", "-o", "json"]);
        let output = command.stderr(Stdio::piped()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), text)
    }

    /// Runs the other program on the repository.
    pub(super) fn restic(&self, arguments: &[&str]) -> String {
        let program = std::env::var_os("HAULIER_TEST_RESTIC").expect("use cargo xtask test");
        let output = Command::new(program)
            .args(["--no-cache", "-r"])
            .arg(self.path("repo"))
            .args(arguments)
            .env("RESTIC_PASSWORD", PASSWORD)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "restic {arguments:?}: {text}");
        text
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.kill_agent();
    }
}

//! Freezer's own programs, as they come from the package index, against a real server: the scheduler with its agent,
//! and the command line.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{TOKEN, terminal};
use crate::node::{Node, Scratch};

const PATIENCE: Duration = Duration::from_secs(180);
const CLIENT: &str = "p1_alpha";

/// A machine that has Freezer installed.
struct Machine<'a> {
    folder: &'a Path,
    node: &'a Node,
}

/// A running scheduler; stopped when dropped.
struct Scheduler(Child);

impl Drop for Scheduler {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Machine<'_> {
    /// One of Freezer's programs, with the environment that OpenStack users give it.
    fn program(&self, name: &str) -> Command {
        let python = std::env::var_os("HAULIER_TEST_FREEZER").expect("no Freezer client: run cargo xtask test");
        let programs = PathBuf::from(python).parent().unwrap().to_owned();
        let mut command = Command::new(programs.join(name));
        command.current_dir(self.folder).env_clear().env("HOME", self.folder);
        command.env("PATH", format!("{}:/usr/bin:/bin", programs.display()));
        // What its libraries warn of goes to standard error, and a scheduler takes that for a failure of its agent.
        command.env("PYTHONWARNINGS", "ignore");
        command.envs([
            ("OS_AUTH_URL", format!("{}/v3", self.node.url()).as_str()),
            ("OS_USERNAME", "ann"),
            ("OS_PASSWORD", TOKEN),
            ("OS_PROJECT_NAME", "p1"),
            ("OS_PROJECT_DOMAIN_NAME", "Default"),
            ("OS_USER_DOMAIN_NAME", "Default"),
            ("OS_BACKUP_API_VERSION", "1"),
        ]);
        command.stdin(Stdio::null());
        command
    }

    /// Starts a scheduler that polls every second.
    fn scheduler(&self) -> Scheduler {
        let log = fs::File::options().create(true).append(true).open(self.folder.join("scheduler.log")).unwrap();
        let mut command = self.program("freezer-scheduler");
        command.args(["--enable-v1-api", "--no-daemon", "--client-id", CLIENT, "--interval", "1", "--conf", "jobs"]);
        command.arg("start").stdout(log.try_clone().unwrap()).stderr(log);
        Scheduler(command.spawn().unwrap())
    }

    /// A command that has to work; what it prints.
    fn freezer(&self, arguments: &[&str]) -> String {
        let said = self.program("freezer").args(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(said.status.success(), "{arguments:?}: {}{}", text(&said.stdout), text(&said.stderr));
        // Some results are remarks there.
        text(&said.stdout) + &text(&said.stderr)
    }

    /// What `haulier` lists.
    fn list(&self, arguments: &[&str]) -> Vec<Value> {
        serde_json::from_str(&terminal(self.folder, self.node, &[arguments, &["-o", "json"]].concat())).unwrap()
    }

    /// Creates a job by Freezer's command and gives its id.
    fn job(&self, description: &str, action: &Value, schedule: &Value) -> String {
        let mut whole = json!({ "action": "backup", "mode": "fs", "storage": "local", "backup_name": "home",
            "container": self.path("store"), "path_to_backup": self.path("home"), "log_file": self.path("agent.log") });
        whole.as_object_mut().unwrap().extend(action.as_object().unwrap().clone());
        let job = json!({ "description": description, "job_actions": [{ "freezer_action": whole }], "job_schedule": schedule });
        fs::write(self.folder.join("job.json"), job.to_string()).unwrap();
        self.freezer(&["job-create", "--file", "job.json", "--client", CLIENT]);
        self.list(&["job", "list", "--find", description])[0]["job_id"].as_str().unwrap().to_owned()
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).to_str().unwrap().to_owned()
    }

    fn records_of(&self, job: &str) -> usize {
        let search = json!({ "match": [{ "job_id": job }] });
        let (status, found) = self.node.with_token("GET", "/v1/backups/?limit=100", TOKEN, Some(&search));
        assert_eq!(status, 200, "{found}");
        found["backups"].as_array().unwrap().len()
    }

    /// Waits until a job is as it should be, and gives it.
    fn wait(&self, job: &str, reached: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let (_, shown) = self.node.with_token("GET", &format!("/v1/jobs/{job}"), TOKEN, None);
            if reached(&shown["job_schedule"]) {
                return shown;
            }
            let log = || fs::read_to_string(self.folder.join("scheduler.log")).unwrap_or_default();
            assert!(begun.elapsed() < PATIENCE, "{shown}\n{}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn wait_for_result(&self, job: &str, result: &str) {
        let shown = self.wait(job, |schedule| schedule["status"] == "completed");
        assert_eq!(shown["job_schedule"]["result"], result, "{shown}");
    }
}

#[test]
fn freezers_own_scheduler_and_commands_are_served() {
    let scratch = Scratch::new();
    let folder = scratch.path();
    super::configure(folder, "[backup]\nidentity = true\n");
    let node = Node::with_config(folder, None, "freezer", "haulier.toml");
    let machine = Machine { folder, node: &node };
    for name in ["home", "jobs", "back"] {
        fs::create_dir(folder.join(name)).unwrap();
    }
    fs::write(folder.join("home/letter"), "Dear Ann").unwrap();

    let scheduler = machine.scheduler();
    let once = machine.job("oneshot", &json!({}), &json!({}));
    machine.wait_for_result(&once, "success");
    assert_eq!(machine.records_of(&once), 1);
    assert!(machine.freezer(&["client-list"]).contains(CLIENT), "it has registered itself");
    assert!(machine.freezer(&["backup-list"]).contains(&machine.path("home")));
    assert!(machine.freezer(&["job-list", "--client", CLIENT]).contains(&once));

    // Again and again; stopped, and started again by a scheduler that has itself started again.
    let again =
        machine.job("interval", &json!({ "backup_name": "again" }), &json!({ "schedule_interval": "3 seconds" }));
    let begun = Instant::now();
    while machine.records_of(&again) < 2 {
        assert!(begun.elapsed() < PATIENCE, "{:?}", machine.list(&["job", "list"]));
        std::thread::sleep(Duration::from_millis(100));
    }
    // A run that begins at that moment writes over what it has not heard, so a person may have to say it twice.
    let stopped = |schedule: &Value| ["stop", "completed"].contains(&schedule["status"].as_str().unwrap_or_default());
    let begun = Instant::now();
    loop {
        machine.freezer(&["job-stop", &again]);
        let shown = machine.wait(&again, |schedule| stopped(schedule) || schedule["event"] != "stop");
        if stopped(&shown["job_schedule"]) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{shown}");
    }
    drop(scheduler);
    let before = machine.records_of(&again);
    let _scheduler = machine.scheduler();
    machine.freezer(&["job-start", &again]);
    machine.wait(&again, |schedule| schedule["event"] == "" && !stopped(schedule));
    let begun = Instant::now();
    while machine.records_of(&again) == before {
        assert!(begun.elapsed() < PATIENCE, "{:?}", machine.list(&["job", "list"]));
        std::thread::sleep(Duration::from_millis(100));
    }
    machine.freezer(&["job-delete", &again]);

    // One that fails, and is told.
    let failing = machine.job("failing", &json!({ "path_to_backup": machine.path("nothing") }), &json!({}));
    machine.wait_for_result(&failing, "fail");
    let listed = machine.list(&["job", "list", "--find", "failing"]);
    assert_eq!((&listed[0]["health"], &listed[0]["result"]), (&json!("failed"), &json!("fail")), "{listed:?}");

    // A session of one: the job waits until it is in it.
    fs::write(folder.join("session.json"), json!({ "description": "night", "schedule": {} }).to_string()).unwrap();
    machine.freezer(&["session-create", "--file", "session.json"]);
    let session = machine.list(&["session", "list"])[0]["session_id"].as_str().unwrap().to_owned();
    let member = machine.job("member", &json!({ "backup_name": "member" }), &json!({ "status": "stop" }));
    machine.freezer(&["session-add-job", "--session-id", &session, "--job-id", &member]);
    assert!(machine.freezer(&["session-show", &session]).contains("night"));
    machine.freezer(&["job-start", &member]);
    machine.wait_for_result(&member, "success");
    let ended = machine.list(&["session", "list"])[0].clone();
    assert_eq!(
        (&ended["status"], &ended["result"], &ended["session_tag"]),
        (&json!("completed"), &json!("success"), &json!(1))
    );

    // The file comes back.
    let restore = json!({ "action": "restore", "restore_abs_path": machine.path("back") });
    let restoring = machine.job("restoring", &restore, &json!({}));
    machine.wait_for_result(&restoring, "success");
    assert_eq!(fs::read_to_string(folder.join("back/letter")).unwrap(), "Dear Ann");
    assert!(node.terminate().success());
}

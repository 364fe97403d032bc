//! A whole Ceph on this machine with its S3 gateway: one monitor, one manager, one store, one gateway.
//!
//! Too slow to install and to start for every test run; `cargo xtask soak` uses it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::debian;
use crate::process::{Result, find, free_port, output, step};
use crate::server::{Background, Scratch};

const PACKAGES: &[&str] = &["ceph-mon", "ceph-mgr", "ceph-osd", "ceph-common", "radosgw"];
const PROGRAMS: &[&str] = &["ceph-mon", "ceph-mgr", "ceph-osd", "ceph", "radosgw", "ceph-authtool", "monmaptool"];
const START_MAX: Duration = Duration::from_secs(180);
const ACCESS_KEY: &str = "testaccess";
const SECRET_KEY: &str = "testsecret1234";
const BUCKET: &str = "haulier";
/// The file that the store lays its blocks out in; sparse.
const STORE_BYTES: u64 = 20 << 30;

/// A running cluster; dropping it ends its processes and removes its files.
pub(crate) struct Ceph {
    // Before the folder, so that they are gone when their files go.
    processes: Vec<Background>,
    folder: Scratch,
    port: u16,
}

impl Ceph {
    /// Starts one with an empty bucket, installing Ceph first where it is missing.
    pub(crate) fn start() -> Result<Self> {
        if PROGRAMS.iter().any(|program| find(program).is_none()) {
            debian::install(PACKAGES)?;
        }
        if let Some(missing) = PROGRAMS.iter().find(|program| find(program).is_none()) {
            return Err(format!("the packages of Ceph brought no {missing}").into());
        }
        let mut ceph = Self { processes: Vec::new(), folder: Scratch::new("ceph")?, port: free_port()? };
        step(&format!("Ceph with its gateway on 127.0.0.1:{}", ceph.port));
        let fsid = fs::read_to_string("/proc/sys/kernel/random/uuid")?.trim().to_owned();
        for name in ["mon", "mgr", "osd", "run", "log"] {
            fs::create_dir(ceph.folder.join(name))?;
        }
        let monitor = free_port()?;
        fs::write(ceph.config(), config(&ceph.folder, &fsid, monitor, ceph.port))?;
        let address = format!("[v2:127.0.0.1:{monitor}/0]");
        ceph.keys()?;
        ceph.monitor(&fsid, &address)?;
        ceph.launch("ceph-mgr", &["-i", "x", "-f"])?;
        ceph.store()?;
        ceph.gateway()?;
        Ok(ceph)
    }

    /// How the tests reach it, as JSON.
    pub(crate) fn settings(&self) -> String {
        serde_json::json!({
            "endpoint": format!("http://127.0.0.1:{}", self.port),
            "region": "default",
            "access_key_id": ACCESS_KEY,
            "secret_access_key": SECRET_KEY,
            "bucket": BUCKET,
        })
        .to_string()
    }

    fn config(&self) -> PathBuf {
        self.folder.join("ceph.conf")
    }

    /// A program of Ceph that knows this cluster.
    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.arg("-c").arg(self.config()).args(arguments);
        command
    }

    fn launch(&mut self, program: &str, arguments: &[&str]) -> Result<()> {
        let log = self.folder.join(&format!("log/{program}.out"));
        let process = Background::start(&mut self.command(program, arguments), &log)?;
        self.processes.push(process);
        Ok(())
    }

    fn keys(&self) -> Result<()> {
        let ring = self.folder.join("keyring");
        let all = ["mon", "allow *", "osd", "allow *", "mgr", "allow *"];
        let keys: [(&str, &[&str]); 5] = [
            ("mon.", &all[..2]),
            ("client.admin", &all),
            ("mgr.x", &["mon", "allow profile mgr", "osd", "allow *"]),
            ("osd.0", &["mon", "allow profile osd", "mgr", "allow profile osd", "osd", "allow *"]),
            ("client.rgw.a", &["mon", "allow rw", "osd", "allow rwx", "mgr", "allow rw"]),
        ];
        for (number, (name, may)) in keys.into_iter().enumerate() {
            let mut command = Command::new("ceph-authtool");
            command.args((number == 0).then_some("-C")).arg(&ring).args(["--gen-key", "-n", name]);
            for pair in may.chunks(2) {
                command.arg("--cap").args(pair);
            }
            output(&mut command)?;
        }
        Ok(())
    }

    fn monitor(&mut self, fsid: &str, address: &str) -> Result<()> {
        let map = self.folder.join("monmap");
        let mut make = Command::new("monmaptool");
        make.args(["--create", "--clobber", "--fsid", fsid, "--addv", "a", address]).arg(&map);
        output(&mut make)?;
        let (map, ring) = (map.display().to_string(), self.folder.join("keyring").display().to_string());
        output(&mut self.command("ceph-mon", &["-i", "a", "--mkfs", "--monmap", &map, "--keyring", &ring]))?;
        self.launch("ceph-mon", &["-i", "a", "-f"])?;
        let log = self.folder.join("log/mon.a.log");
        // A monitor ends when the disk is nearly full, and says so there.
        match output(&mut self.command("ceph", &["--connect-timeout", "60", "-s"])) {
            Err(error) => Err(format!("{error}\n{}", end_of(&log)).into()),
            Ok(_) => Ok(()),
        }
    }

    fn store(&mut self) -> Result<()> {
        let id = fs::read_to_string("/proc/sys/kernel/random/uuid")?.trim().to_owned();
        output(&mut self.command("ceph", &["--connect-timeout", "60", "osd", "new", &id]))?;
        output(&mut self.command("ceph-osd", &["-i", "0", "--mkfs", "--osd-uuid", &id]))?;
        self.launch("ceph-osd", &["-i", "0", "-f"])
    }

    fn gateway(&mut self) -> Result<()> {
        self.launch("radosgw", &["-n", "client.rgw.a", "-f"])?;
        let log = self.folder.join("log/client.rgw.a.log");
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if begun.elapsed() > START_MAX {
                return Err(format!("the gateway does not listen:\n{}", end_of(&log)).into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let keys = ["--access-key", ACCESS_KEY, "--secret", SECRET_KEY];
        let user = ["user", "create", "--uid=test", "--display-name=test"];
        output(&mut self.command("radosgw-admin", &[&user[..], &keys].concat()))?;
        make_bucket(self.port).map_err(|error| format!("{error}\n{}", end_of(&log)).into())
    }
}

/// Makes the bucket with a signed request, which curl can make.
fn make_bucket(port: u16) -> Result<()> {
    // That of no byte; the gateway signs what this header says.
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--fail-with-body", "-X", "PUT", "--aws-sigv4", "aws:amz:default:s3"])
        .args(["--header", &format!("x-amz-content-sha256: {EMPTY}")])
        .args(["--user", &format!("{ACCESS_KEY}:{SECRET_KEY}")])
        .arg(format!("http://127.0.0.1:{port}/{BUCKET}"));
    if find("curl").is_none() {
        debian::install(&["curl", "ca-certificates"])?;
    }
    output(&mut curl).map(drop)
}

fn end_of(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

fn config(folder: &Scratch, fsid: &str, monitor: u16, gateway: u16) -> String {
    let at = |name: &str| folder.join(name).display().to_string();
    let (mon, mgr, osd, run, log, keyring) = (at("mon"), at("mgr"), at("osd"), at("run"), at("log"), at("keyring"));
    format!(
        "[global]
fsid = {fsid}
mon_host = [v2:127.0.0.1:{monitor}/0]
mon_initial_members = a
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
run_dir = {run}
admin_socket = {run}/$name.asok
pid_file = {run}/$name.pid
log_file = {log}/$name.log
mon_cluster_log_file = {log}/cluster.log
crash_dir = {log}
keyring = {keyring}
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pgp_num = 8
osd_pool_default_pg_autoscale_mode = off
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
auth_allow_insecure_global_id_reclaim = false
osd_crush_chooseleaf_type = 0
mon_data_avail_crit = 1
mon_data_avail_warn = 2
osd_memory_target = 939524096
bluestore_block_size = {STORE_BYTES}
[mon.a]
mon_data = {mon}
[mgr.x]
mgr_data = {mgr}
mgr_initial_modules =
[osd.0]
osd_data = {osd}
[client.rgw.a]
rgw_frontends = beast endpoint=127.0.0.1:{gateway}
rgw_dns_name = localhost
rgw_override_bucket_index_max_shards = 1
"
    )
}

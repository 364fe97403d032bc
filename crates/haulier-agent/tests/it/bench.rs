//! What the tests share: a repository in a temporary folder, and the other program.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use haulier_agent::repository::{Access, BackupRequest, BackupSummary, Find, Repository, RestoreRequest, Restored};
use haulier_base::{Result, Secret};
use haulier_storage::{StorageConfig, Storages};
use serde_json::json;

const PASSWORD: &str = "correct horse";

/// A folder with a source, a repository and a place to restore to.
pub(crate) struct Scene {
    pub(crate) folder: tempfile::TempDir,
    storages: Storages,
    runtime: tokio::runtime::Runtime,
    pub(crate) patience: Duration,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let _entered = runtime.enter();
        let storages = Storages::new(StorageConfig { allow_any_path: true, ..StorageConfig::default() }).unwrap();
        drop(_entered);
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("src")).unwrap();
        Self { folder, storages, runtime, patience: Duration::ZERO }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path("src").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn access(&self, password: &str) -> Access {
        let url = format!("file://{}", self.path("repo").display());
        Access {
            folder: self.storages.open_target(&url, &json!({})).unwrap(),
            name: url,
            password: Secret::new(password.to_owned()),
            cache: None,
            hostname: "testhost".to_owned(),
            patience: self.patience,
        }
    }

    pub(crate) fn open(&self) -> Repository {
        self.open_with(PASSWORD).unwrap()
    }

    pub(crate) fn open_with(&self, password: &str) -> Result<Repository> {
        Repository::open_or_init(self.access(password), self.runtime.handle().clone())
    }

    pub(crate) fn request(&self) -> BackupRequest {
        BackupRequest { path: self.path("src"), name: "docs".to_owned(), ..BackupRequest::default() }
    }

    pub(crate) fn backup(&self) -> BackupSummary {
        self.open().backup_tree(&self.request()).unwrap()
    }

    pub(crate) fn restore(&self, target: &str) -> Result<Restored> {
        let request = RestoreRequest { target: Some(self.path(target)), ..RestoreRequest::default() };
        self.open().restore(&request)
    }

    pub(crate) fn latest(&self) -> Find {
        Find::default()
    }

    /// Runs the other program on the same repository.
    pub(crate) fn restic(&self, arguments: &[&str]) -> Output {
        let program = std::env::var_os("HAULIER_TEST_RESTIC");
        let program = program.expect("HAULIER_TEST_RESTIC names the program restic: use cargo xtask test");
        Command::new(program)
            .args(["--no-cache", "-r"])
            .arg(self.path("repo"))
            .args(arguments)
            .env("RESTIC_PASSWORD", PASSWORD)
            .env("XDG_CACHE_HOME", self.path("cache"))
            .output()
            .unwrap()
    }

    pub(crate) fn restic_ok(&self, arguments: &[&str]) -> String {
        let output = self.restic(arguments);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "restic {arguments:?}: {out}\n{err}");
        out.into_owned()
    }
}

/// What a tree looks like, line by line: kinds, modes, owners, times, links, attributes and content.
pub(crate) fn portrait(root: &Path) -> String {
    let script = r#"cd "$1" && find . -printf '%P %y %m %U:%G %T@ %l %n\n' | sort && \
        find . -type f -print0 | sort -z | xargs -0 -r sha256sum && \
        getfattr -Rhd -m - . 2>/dev/null | sort"#;
    let output = Command::new("bash").args(["-c", script, "-"]).arg(root).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    // The number of names of a folder is the file system's affair.
    String::from_utf8_lossy(&output.stdout).into_owned()
}

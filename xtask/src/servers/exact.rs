//! The object store in memory that keeps every key, which is a program of this workspace.

use std::path::Path;
use std::process::Command;

use super::wait_for;
use crate::process::{Result, free_port, step};
use crate::server::{Background, Scratch};

/// The package of the program, and its name.
pub(crate) const PROGRAM: &str = "haulier-test-s3";
const ACCESS_KEY: &str = "testaccess";
const SECRET_KEY: &str = "testsecret1234";
const BUCKET: &str = "haulier";

/// A running one; dropping it ends it.
pub(crate) struct ExactS3 {
    _process: Background,
    _folder: Scratch,
    port: u16,
}

impl ExactS3 {
    /// Starts a program that cargo has built.
    pub(crate) fn start(program: &Path) -> Result<Self> {
        let (folder, port) = (Scratch::new("exact-s3")?, free_port()?);
        step(&format!("the exact S3 for the tests on 127.0.0.1:{port}"));
        let log = folder.join("log");
        let mut command = Command::new(program);
        command.args([&port.to_string(), BUCKET, ACCESS_KEY, SECRET_KEY]);
        let process = Background::start(&mut command, &log)?;
        wait_for(port, &log)?;
        Ok(Self { _process: process, _folder: folder, port })
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

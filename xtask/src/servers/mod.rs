//! Servers that the tests of connectors run against: installed where they are missing, alive as long as a test run.

mod apache;
mod nginx;
mod sshd;

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::debian;
use crate::process::{Result, find};

pub(crate) use apache::Apache;
pub(crate) use nginx::Nginx;
pub(crate) use sshd::Sshd;

/// A program, from a package where it is missing.
fn program(name: &str, package: &str) -> Result<PathBuf> {
    if find(name).is_none() {
        debian::install(&[package])?;
    }
    find(name).ok_or_else(|| format!("{package} brought no {name}").into())
}

/// Waits until somebody listens on a port.
fn wait_for(port: u16, log: &Path) -> Result<()> {
    for _ in 0..1000 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let said = std::fs::read_to_string(log).unwrap_or_default();
    Err(format!("nobody listens on port {port}:\n{said}").into())
}

//! The gates a change passes: format, lint, tidy, tests, snapshots, documents.

use std::process::Command;

use crate::postgres::Postgres;
use crate::process::{Result, cargo, find, output, run, step, succeeds};
use crate::servers::{Apache, Nginx, Sshd};
use crate::{docs, tidy};

/// Where the tests find a PostgreSQL they may make databases in.
const TEST_POSTGRES: &str = "HAULIER_TEST_POSTGRES";
/// Where the tests find an SSH server, a WebDAV server and a web server: JSON that each server's file makes.
const TEST_SFTP: &str = "HAULIER_TEST_SFTP";
const TEST_WEBDAV: &str = "HAULIER_TEST_WEBDAV";
const TEST_NGINX: &str = "HAULIER_TEST_NGINX";

/// Format, lint, tidy.
pub(crate) fn check() -> Result<()> {
    step("cargo fmt --check");
    if has_component("fmt", "rustfmt") {
        run(&mut cargo(["fmt", "--all", "--check"]))?;
    }
    step("cargo xtask tidy");
    tidy::run()?;
    step("cargo clippy");
    if has_component("clippy", "clippy") {
        run(&mut cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    }
    Ok(())
}

/// Everything, or with a filter only the tests it names.
pub(crate) fn test(filter: &[String]) -> Result<()> {
    if filter.is_empty() {
        check()?;
    }
    run_tests(&["--workspace"], |command| {
        command.args(filter);
    })?;
    if filter.is_empty() {
        docs::run(&["--check".to_owned()])?;
    }
    Ok(())
}

/// Runs the tests with snapshots written beside the old ones, then takes the new ones.
pub(crate) fn accept() -> Result<()> {
    run_tests(&["--workspace"], |command| {
        command.env("INSTA_UPDATE", "always").env("INSTA_FORCE_PASS", "1");
    })?;
    step("what changed");
    print!("{}", output(Command::new("git").args(["status", "--short", "--", "*.snap"]))?);
    Ok(())
}

/// A server for a first hour on one's own machine.
pub(crate) fn dev(arguments: &[String]) -> Result<()> {
    run(cargo(["run", "-p", "haulier", "--", "serve", "--dev"]).args(arguments))
}

/// What a merge asks for.
pub(crate) fn ci() -> Result<()> {
    test(&[])
}

/// Runs the tests of some packages with the servers they need at hand; `arrange` adds what this run is about.
pub(crate) fn run_tests(packages: &[&str], arrange: impl FnOnce(&mut Command)) -> Result<()> {
    let postgres = match std::env::var_os(TEST_POSTGRES) {
        Some(_) => None,
        None => Some(Postgres::start()?),
    };
    let is_missing = |variable| std::env::var_os(variable).is_none();
    let sshd = is_missing(TEST_SFTP).then(Sshd::start).transpose()?;
    let apache = is_missing(TEST_WEBDAV).then(Apache::start).transpose()?;
    let nginx = is_missing(TEST_NGINX).then(Nginx::start).transpose()?;
    let mut command = if has_nextest() {
        step("cargo nextest run");
        let mut command = cargo(["nextest", "run"]);
        command.args(packages);
        command
    } else {
        step("cargo test (cargo-nextest is not installed)");
        let mut command = cargo(["test"]);
        command.args(packages).args(["--lib", "--bins", "--tests", "--"]);
        command
    };
    if let Some(postgres) = &postgres {
        command.env(TEST_POSTGRES, postgres.url());
    }
    if let Some(sshd) = &sshd {
        command.env(TEST_SFTP, sshd.settings()?);
    }
    if let Some(apache) = &apache {
        command.env(TEST_WEBDAV, apache.settings());
    }
    if let Some(nginx) = &nginx {
        command.env(TEST_NGINX, nginx.settings());
    }
    arrange(&mut command);
    run(&mut command)
}

/// Whether the better test runner is there.
pub(crate) fn has_nextest() -> bool {
    find("cargo-nextest").is_some()
}

/// Whether a part of the toolchain is there, fetching it where rustup can.
fn has_component(subcommand: &str, component: &str) -> bool {
    let present = || succeeds(cargo([subcommand, "--version"]).env_remove("CARGO"));
    if present() || (succeeds(Command::new("rustup").args(["component", "add", component])) && present()) {
        return true;
    }
    println!("skipped: this toolchain has no {component}, and rustup could not add it");
    false
}

//! The gates a change passes: format, lint, tidy, tests, snapshots, documents.

use std::path::PathBuf;
use std::process::Command;

use crate::process::{Result, built, cargo, find, output, run, step, succeeds};
use crate::servers::{EXACT_S3, ExactS3, Servers};
use crate::{docs, tidy};

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
    let exact = build_tests(EXACT_S3)?;
    run_tests(&["--workspace"], |command| {
        command.args(filter);
    })?;
    // A filter that is more than names is for the one run only.
    if !filter.iter().any(|word| word.starts_with('-')) {
        let exact = Servers::only_s3(ExactS3::start(&exact)?, ExactS3::settings, "");
        run_s3_tests(&exact, filter)?;
    }
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

/// Builds all tests, and gives a program among them: built by itself, it would have other features of the same
/// libraries, which would be compiled twice.
pub(crate) fn build_tests(program: &str) -> Result<PathBuf> {
    step("cargo test --no-run");
    let mut command = cargo(["test", "--workspace", "--no-run", "--message-format", "json-render-diagnostics"]);
    built(&mut command, program)
}

/// Runs the tests of S3 once more, against another server; a filter leaves some of them, or none.
pub(crate) fn run_s3_tests(server: &Servers, filter: &[String]) -> Result<()> {
    const TESTS: &str = "connectors::s3::tests::";
    let mut command = if has_nextest() {
        step("cargo nextest run, S3 only");
        let mut command = cargo(["nextest", "run", "--workspace", "--no-tests", "pass"]);
        let named: String = filter.iter().map(|name| format!(" & test({name})")).collect();
        command.args(["-E", &format!("package(haulier-storage) & test({TESTS}){named}")]);
        command
    } else {
        step("cargo test, S3 only");
        let mut command = cargo(["test", "--workspace", "--lib", "--"]);
        command.arg(TESTS);
        command
    };
    server.tell(&mut command);
    run(&mut command)
}

/// Runs the tests of some packages with the servers they need at hand; `arrange` adds what this run is about.
pub(crate) fn run_tests(packages: &[&str], arrange: impl FnOnce(&mut Command)) -> Result<()> {
    let servers = Servers::start()?;
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
    servers.tell(&mut command);
    arrange(&mut command);
    run(&mut command)
}

/// Runs a command with the servers at hand that the tests need.
pub(crate) fn beside_servers(words: &[String]) -> Result<()> {
    let (program, arguments) = words.split_first().ok_or("say which command is to run beside the servers")?;
    let servers = Servers::start()?;
    let mut command = Command::new(program);
    servers.tell(&mut command);
    run(command.args(arguments))
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

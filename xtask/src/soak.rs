//! Runs too long for a merge. Knows how to start them; the tests know what they prove.

use crate::gate::{has_nextest, run_s3_tests, run_tests};
use crate::process::{Result, step};
use crate::servers::{Ceph, Servers};

/// Kills of each kill loop.
const ROUNDS: u32 = 1_000;
/// Random histories of three entries, for each of the properties of sync's judge.
const HISTORIES: u32 = 100_000;
/// Too large for one request of a store.
const COPY_BYTES: u64 = 1_200_000_007;
const DATABASES: [&str; 2] = ["sqlite", "postgres"];

/// Everything, or one of it: `ceph`, `large-copy`, `histories [NUMBER]`, or the kill loops: `[ROUNDS] [sqlite|postgres]`, on
/// both databases unless told otherwise.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => {
            ceph()?;
            large_copy()?;
            histories(HISTORIES)?;
            kills(&[])
        }
        ["ceph"] => ceph(),
        ["large-copy"] => large_copy(),
        ["histories"] => histories(HISTORIES),
        ["histories", number] => histories(number.parse()?),
        rounds_and_database => kills(rounds_and_database),
    }
}

/// The tests of S3 against a gateway of Ceph, which is older than most and widely used. That it cannot be had is a failure.
fn ceph() -> Result<()> {
    let ceph = Ceph::start().map_err(|error| format!("no Ceph to test S3 against: {error}"))?;
    run_s3_tests(&Servers::only_s3(ceph, Ceph::settings, "checksums,encoded_sources"), &[])
}

/// A copy inside an object store.
fn large_copy() -> Result<()> {
    step("more than 1 GiB, copied inside an object store");
    soak("haulier-storage", "a_copy_by_parts_inside_the_store_is_gone_on_with", "HAULIER_COPY_BYTES", COPY_BYTES)
}

fn histories(histories: u32) -> Result<()> {
    step(&format!("sync: {histories} random histories of three entries"));
    soak("haulier-sync", "histories", "HAULIER_SYNC_HISTORIES", histories)
}

/// The kill loops, long.
fn kills(arguments: &[&str]) -> Result<()> {
    let (mut rounds, mut database) = (ROUNDS, None);
    for argument in arguments {
        match argument.parse() {
            Ok(number) => rounds = number,
            Err(_) if DATABASES.contains(argument) => database = Some(argument),
            Err(_) => return Err(format!("{argument} is neither a number of rounds nor one of {DATABASES:?}").into()),
        }
    }
    let test = database.map_or("kill_loop".to_owned(), |database| format!("kill_loop_loses_nothing_on_{database}"));
    step(&format!("kill -9, {rounds} times, on {}", database.unwrap_or(&"both databases")));
    soak("haulier", &test, "HAULIER_KILL_ROUNDS", rounds)
}

/// Runs the tests of a package whose names contain a text, told by a variable how much to do.
fn soak(package: &str, test: &str, variable: &str, how_much: impl ToString) -> Result<()> {
    run_tests(&["--workspace"], |command| {
        command.env(variable, how_much.to_string());
        if has_nextest() {
            // The profile lifts the time limit that a test has otherwise; the tally is worth reading.
            let filter = format!("package({package}) & test({test})");
            command.args(["--profile", "soak", "--no-capture", "-E", &filter]);
        } else {
            command.args([test, "--nocapture"]);
        }
    })
}

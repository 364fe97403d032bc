//! Runs too long for a merge. Knows how to start them; the tests know what they prove.

use crate::gate::{has_nextest, run_s3_tests, run_tests};
use crate::process::{Result, step};
use crate::servers::{Ceph, Servers};

const ROUNDS: u32 = 1_000;
const DATABASES: [&str; 2] = ["sqlite", "postgres"];

/// The kill loop, long: `[ROUNDS] [sqlite|postgres]`, on both databases unless told otherwise; before it, unless a
/// database is named, the S3 tests against Ceph. With `ceph` only these.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    if arguments.iter().any(|argument| argument == "ceph") {
        return ceph();
    }
    let (mut rounds, mut database) = (ROUNDS, None);
    for argument in arguments {
        match argument.parse() {
            Ok(number) => rounds = number,
            Err(_) if DATABASES.contains(&argument.as_str()) => database = Some(argument.as_str()),
            Err(_) => return Err(format!("{argument} is neither a number of rounds nor one of {DATABASES:?}").into()),
        }
    }
    if database.is_none() {
        ceph()?;
    }
    let test = database.map_or("kill_loop".to_owned(), |database| format!("kill_loop_loses_nothing_on_{database}"));
    step(&format!("kill -9, {rounds} times, on {}", database.unwrap_or("both databases")));
    run_tests(&["-p", "haulier"], |command| {
        command.env("HAULIER_KILL_ROUNDS", rounds.to_string());
        if has_nextest() {
            // The profile lifts the time limit that a test has otherwise; the tally is worth reading.
            command.args(["--profile", "soak", "--no-capture", "-E", &format!("test({test})")]);
        } else {
            command.args([&test, "--nocapture"]);
        }
    })
}

/// The tests of S3 against a gateway of Ceph, which is older than most and widely used. That it cannot be had is a failure.
fn ceph() -> Result<()> {
    let ceph = Ceph::start().map_err(|error| format!("no Ceph to test S3 against: {error}"))?;
    run_s3_tests(&Servers::only_s3(ceph, Ceph::settings, "checksums,encoded_sources"), &[])
}

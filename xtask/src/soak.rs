//! Runs too long for a merge. Knows how to start them; the tests know what they prove.

use crate::gate::{has_nextest, run_tests};
use crate::process::{Result, step};

const ROUNDS: u32 = 1_000;
/// Random histories of three entries, for each of the properties of sync's judge.
const HISTORIES: u32 = 100_000;
const DATABASES: [&str; 2] = ["sqlite", "postgres"];

/// Everything, or one of the two: `histories [NUMBER]`, or the kill loop: `[ROUNDS] [sqlite|postgres]`, on both
/// databases unless told otherwise.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    match arguments {
        [] => {
            run_histories(HISTORIES)?;
            run_kills(&[])
        }
        [what] if what == "histories" => run_histories(HISTORIES),
        [what, number] if what == "histories" => run_histories(number.parse()?),
        arguments => run_kills(arguments),
    }
}

fn run_histories(histories: u32) -> Result<()> {
    step(&format!("sync: {histories} random histories of three entries"));
    run_tests(&["-p", "haulier-sync", "--lib"], |command| {
        command.env("HAULIER_SYNC_HISTORIES", histories.to_string());
        if has_nextest() {
            command.args(["--profile", "soak", "--no-capture", "-E", "test(histories)"]);
        } else {
            command.args(["histories", "--nocapture"]);
        }
    })
}

/// The kill loop, long.
fn run_kills(arguments: &[String]) -> Result<()> {
    let (mut rounds, mut database) = (ROUNDS, None);
    for argument in arguments {
        match argument.parse() {
            Ok(number) => rounds = number,
            Err(_) if DATABASES.contains(&argument.as_str()) => database = Some(argument.as_str()),
            Err(_) => return Err(format!("{argument} is neither a number of rounds nor one of {DATABASES:?}").into()),
        }
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

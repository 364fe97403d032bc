//! Runs too long for a merge. Knows how to start them; the tests know what they prove.

use crate::gate::{has_nextest, run_tests};
use crate::process::{Result, step};

const ROUNDS: u32 = 1_000;
const DATABASES: [&str; 2] = ["sqlite", "postgres"];

/// A copy inside an object store that is too large for one request.
fn copy_a_gibibyte() -> Result<()> {
    const TEST: &str = "a_copy_by_parts_inside_the_store_is_gone_on_with";
    step("more than 1 GiB, copied inside an object store");
    run_tests(&["-p", "haulier-storage"], |command| {
        command.env("HAULIER_COPY_BYTES", "1200000007");
        if has_nextest() {
            command.args(["--lib", "--profile", "soak", "-E", &format!("test({TEST})")]);
        } else {
            command.arg(TEST);
        }
    })
}

/// A copy of more than 1 GiB inside an object store, and the kill loop, long: `[ROUNDS] [sqlite|postgres]`, on both databases unless told otherwise.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (mut rounds, mut database) = (ROUNDS, None);
    for argument in arguments {
        match argument.parse() {
            Ok(number) => rounds = number,
            Err(_) if DATABASES.contains(&argument.as_str()) => database = Some(argument.as_str()),
            Err(_) => return Err(format!("{argument} is neither a number of rounds nor one of {DATABASES:?}").into()),
        }
    }
    copy_a_gibibyte()?;
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

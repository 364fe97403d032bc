//! Agent and server killed at many moments of backups and prunes: the repository stays whole, every job goes on, and
//! no record is left twice.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use super::scene::Scene;
use crate::kill_loop::{Dice, rounds};

/// Rounds in an ordinary test run; a soak sets its own number.
const ROUNDS: u64 = 12;

#[test]
fn kills_lose_nothing_and_tell_nothing_twice() {
    let rounds = rounds(ROUNDS);
    let mut dice = Dice(0x5eed);
    let mut scene = Scene::bare();
    for file in 0..40_u8 {
        scene.write(&format!("f{file}"), vec![file; 200_000]);
    }
    scene.start_server();
    scene.start_agent();
    let backup = scene.job(json!({"schedule_interval": "1 seconds"}), json!([scene.backup()]));
    let tidy =
        json!({"freezer_action": {"action": "admin", "container": "main", "backup_name": "docs", "keep_last": 3}});
    let tidy = scene.job(json!({"schedule_interval": "3 seconds"}), json!([tidy]));
    scene.wait("a first backup", || (!scene.records().is_empty()).then_some(()));
    for round in 0..rounds {
        for file in 0..40 {
            if dice.below(4) == 0 {
                scene.write(&format!("f{file}"), format!("{round} {file} ").repeat(20_000));
            }
        }
        // The moment of the kill is what varies.
        std::thread::sleep(Duration::from_millis(dice.below(2500)));
        match dice.below(4) {
            0 => {
                scene.kill_server();
                std::thread::sleep(Duration::from_millis(dice.below(1500)));
                scene.start_server();
            }
            1 => scene.kill_children(),
            _ => {
                scene.kill_agent();
                scene.start_agent();
            }
        }
    }
    let before = scene.records().len();
    scene.wait("further backups", || (scene.records().len() > before + 1).then_some(()));
    for job in [&backup, &tidy] {
        scene.post(&format!("/v1/jobs/{job}/event"), &json!({"stop": null}));
    }
    for job in [&backup, &tidy] {
        scene.wait("an end without a run", || {
            let schedule = scene.get(&format!("/v1/jobs/{job}"))["job_schedule"].clone();
            ["stop", "completed"].contains(&schedule["status"].as_str().unwrap()).then_some(())
        });
    }
    let records = scene.records();
    let runs: BTreeSet<_> = records.iter().map(|record| record["run_id"].as_str().unwrap()).collect();
    assert_eq!(runs.len(), records.len(), "a record is there twice");
    let snapshots: BTreeSet<_> = records.iter().map(|record| record["snapshot_id"].as_str().unwrap()).collect();
    assert_eq!(snapshots.len(), records.len(), "two records name one snapshot");
    // Locks of the dead are stale; ours are removed by the next of us, as `unlock` does.
    scene.restic(&["unlock"]);
    scene.restic(&["check", "--read-data"]);
    let (code, said) = scene.ours(&["restore", "--to", "back"]);
    assert_eq!(code, Some(0), "{said}");
    for file in 0..40 {
        let name = format!("f{file}");
        let (was, is) = (scene.path("docs").join(&name), scene.path("back").join(&name));
        assert_eq!(std::fs::read(was).unwrap(), std::fs::read(is).unwrap(), "{name}");
    }
}

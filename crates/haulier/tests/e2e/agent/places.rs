//! Repositories in every storage that has a connector.

use std::fmt::Write as _;

use serde_json::json;

use super::scene::Scene;
use crate::storages::places;

#[test]
fn repositories_lie_in_every_storage() {
    let mut scene = Scene::bare();
    scene.write("a.txt", "hello");
    scene.write("b.bin", (0..9_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect::<Vec<_>>());
    let mut config = std::fs::read_to_string(scene.path("agent.toml")).unwrap();
    let places = places();
    for place in &places {
        let id = haulier_base::id::random_uuid();
        writeln!(config, "[repositories.{}]\nurl = \"{}/repo-{id}\"", place.name, place.url).unwrap();
        writeln!(config, "[repositories.{}.options]", place.name).unwrap();
        for (name, value) in place.options.as_object().unwrap() {
            writeln!(config, "{name} = {value}").unwrap();
        }
    }
    std::fs::write(scene.path("agent.toml"), config).unwrap();
    scene.start_server();
    scene.start_agent();
    for place in &places {
        let action = json!({"freezer_action": {"action": "backup", "mode": "fs", "backup_name": "docs",
            "container": place.name, "path_to_backup": scene.path("docs")}});
        for level in 0..2 {
            let job = scene.job(json!({}), json!([action]));
            scene.wait_for(&job, "completed", "success");
            let record =
                scene.wait("its record", || scene.records().into_iter().find(|record| record["job_id"] == job));
            assert_eq!(record["level"], level, "{}", place.name);
        }
        let (code, said) = scene.ours_at(place.name, &["check", "--read-data"]);
        assert_eq!(code, Some(0), "{}: {said}", place.name);
        let back = format!("back-{}", place.name);
        let (code, said) = scene.ours_at(place.name, &["restore", "--to", &back]);
        assert_eq!(code, Some(0), "{}: {said}", place.name);
        for file in ["a.txt", "b.bin"] {
            let (was, is) = (scene.path("docs").join(file), scene.path(&back).join(file));
            assert_eq!(std::fs::read(was).unwrap(), std::fs::read(is).unwrap(), "{}: {file}", place.name);
        }
        let (code, said) = scene.ours_at(place.name, &["forget", "--keep-last", "1", "--prune"]);
        assert_eq!(code, Some(0), "{}: {said}", place.name);
    }
}

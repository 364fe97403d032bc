//! Reconciliations, purges, imports and pushes, of three sites over their routes.

use std::path::{Path, PathBuf};

use haulier_catalog::{Sql, args};
use haulier_testkit::both_databases;
use reqwest::Method;
use serde_json::{Value, json};

use crate::link::Line;
use crate::site::{Answer, CLIENT, Site, Sites};

const BUCKET: &str = "invoices";
const CENTRAL: &str = "/reconciliator/central/requests";

/// Where a site says what it has itself.
fn own(name: &str) -> String {
    format!("/replicator/remote/buckets/{BUCKET}/{name}")
}

fn client(name: &str) -> String {
    format!("/cloudclonestore/{BUCKET}/{name}")
}

async fn make_bucket(sites: &Sites) {
    sites[0].post(&format!("/cloudclonestore/{BUCKET}"), Value::Null).await.expect(201);
    for site in sites.iter() {
        site.wait_until(&format!("/replicator/remote/buckets/{BUCKET}"), |answer| answer.status == 200).await;
    }
}

/// Writes objects at the first site and waits until all have them.
async fn fill(sites: &Sites, names: &[&str]) {
    make_bucket(sites).await;
    for name in names {
        sites[0].upload(&client(name), content(name)).await.expect(201);
    }
    for site in sites.iter() {
        for name in names {
            has(site, name).await;
        }
    }
}

fn content(name: &str) -> String {
    format!("the content of {name}, which is long enough to be found")
}

/// Waits until a site itself has an object, whole.
async fn has(site: &Site, name: &str) {
    let answer = site.wait_until(&own(name), |answer| answer.status == 200).await;
    assert_eq!(answer.text(), content(name));
}

async fn lacks(site: &Site, name: &str) {
    site.wait_until(&own(name), |answer| answer.status == 404).await;
}

/// Runs a reconciliation at the first site, and says what it came to.
async fn reconcile(sites: &Sites, with: Value) -> Value {
    let id = begin(sites, with).await;
    ended(&sites[0], &format!("{CENTRAL}/{id}")).await
}

async fn begin(sites: &Sites, with: Value) -> String {
    let mut body = json!({ "bucket": BUCKET });
    body.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
    let told = sites[0].post(CENTRAL, body).await.expect(202).json();
    told["id"].as_str().unwrap().to_owned()
}

async fn ended(site: &Site, path: &str) -> Value {
    site.wait_until(path, |answer| answer.status != 206).await.expect(200).json()
}

fn lines(answer: &Answer) -> Vec<Value> {
    answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What is to be done at a site, as `name action`.
async fn actions(sites: &Sites, id: &Value, site: usize) -> Vec<String> {
    let path = format!("{CENTRAL}/{}/listing/{}", id.as_str().unwrap(), sites[site].name);
    let answer = sites[0].get(&path).await.expect(200);
    lines(&answer).iter().map(|line| format!("{} {}", line["name"].as_str().unwrap(), line["needAction"])).collect()
}

/// Takes a site out of the topology of another one, or puts it back.
async fn forget(sites: &Sites, at: usize, site: usize) {
    sites[at].delete(&format!("/administration/topologies/{}", sites[site].name)).await.expect(204);
}

async fn remember(sites: &Sites, at: usize, site: usize) {
    let name = sites[site].name;
    let body = json!({ "id": name, "name": name, "uri": sites.uri(at, site), "status": "UP" });
    sites[at].post("/administration/topologies", body).await.expect(201);
}

/// The file in a site's store that holds the content of an object.
fn file_of(site: &Site, name: &str) -> PathBuf {
    let mut open = vec![site.test.folder().join("data/objects")];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if std::fs::read(&path).unwrap() == content(name).as_bytes() {
                return path;
            }
        }
    }
    panic!("{} has no file of {name}", site.name);
}

fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[7] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

both_databases! {
    async fn e49_a_consistent_bucket_needs_nothing(t: TestCatalog) {
        let sites = Sites::three(t).await;
        fill(&sites, &["a", "b/c", "ç d"]).await;
        sites[1].delete(&client("a")).await.expect(204);
        for site in sites.iter() {
            lacks(site, "a").await;
        }
        for deep in [false, true] {
            let told = reconcile(&sites, json!({ "deep": deep })).await;
            assert_eq!((&told["state"], &told["actions"], &told["problem"]), (&json!("done"), &json!(0), &Value::Null));
            assert_eq!((&told["checked"], &told["checkedRemote"], &told["checkedDb"]), (&json!(3), &json!(6), &json!(3)));
            assert!(told["stop"].is_string() && told["checkedDriver"] == 3, "{told}");
            assert_eq!(told["contextSites"], json!(["site-a", "site-b", "site-c"]));
            for site in 0..3 {
                assert!(actions(&sites, &told["id"], site).await.is_empty());
            }
        }
        sites.end().await;
    }

    async fn e48_a_newer_tombstone_is_never_undone(t: TestCatalog) {
        let sites = Sites::three(t).await;
        fill(&sites, &["x", "y"]).await;
        forget(&sites, 0, 2).await;
        sites[0].delete(&client("x")).await.expect(204);
        lacks(&sites[1], "x").await;
        remember(&sites, 0, 2).await;
        has(&sites[2], "x").await;
        let told = reconcile(&sites, json!({})).await;
        assert_eq!(told["actions"], 1, "{told}");
        assert_eq!(actions(&sites, &told["id"], 2).await, ["x 2"]);
        for site in sites.iter() {
            lacks(site, "x").await;
            has(site, "y").await;
        }
        assert_eq!(reconcile(&sites, json!({})).await["actions"], 0);
        sites.end().await;
    }

    async fn what_is_missing_is_brought_and_a_dry_run_brings_nothing(t: TestCatalog) {
        let sites = Sites::three(t).await;
        fill(&sites, &["old"]).await;
        forget(&sites, 0, 1).await;
        forget(&sites, 0, 2).await;
        sites[0].upload(&client("new"), content("new")).await.expect(201);
        remember(&sites, 0, 1).await;
        remember(&sites, 0, 2).await;
        let told = reconcile(&sites, json!({ "dryRun": true })).await;
        assert_eq!((&told["actions"], &told["dryRun"]), (&json!(2), &json!(true)));
        assert_eq!(actions(&sites, &told["id"], 1).await, ["new 20"]);
        let other = json!({ "filter": { "namePrefix": "o" } });
        assert_eq!(reconcile(&sites, other).await["actions"], 0);
        for site in 1..3 {
            assert_eq!(sites[site].get(&own("new")).await.status, 404);
        }
        assert_eq!(reconcile(&sites, json!({})).await["actions"], 2);
        for site in sites.iter() {
            has(site, "new").await;
        }
        assert_eq!(reconcile(&sites, json!({})).await["actions"], 0);
        sites.end().await;
    }

    async fn a_flipped_byte_is_found_by_a_deep_check_and_repaired(t: TestCatalog) {
        let sites = Sites::three(t).await;
        fill(&sites, &["good", "bad"]).await;
        flip(&file_of(&sites[2], "bad"));
        assert_eq!(reconcile(&sites, json!({})).await["actions"], 0, "as long as it should be");
        let told = reconcile(&sites, json!({ "deep": true, "dryRun": true })).await;
        assert_eq!(actions(&sites, &told["id"], 2).await, ["bad 20"]);
        assert_eq!(sites[2].get(&own("bad")).await.expect(200).body.len(), content("bad").len());
        assert_eq!(reconcile(&sites, json!({ "deep": true })).await["actions"], 1);
        has(&sites[2], "bad").await;
        file_of(&sites[2], "bad");
        assert_eq!(reconcile(&sites, json!({ "deep": true })).await["actions"], 0);
        sites.end().await;
    }

    async fn a_file_that_is_gone_is_brought_again(t: TestCatalog) {
        let sites = Sites::three(t).await;
        fill(&sites, &["kept", "lost"]).await;
        std::fs::remove_file(file_of(&sites[0], "lost")).unwrap();
        let told = reconcile(&sites, json!({})).await;
        assert_eq!(actions(&sites, &told["id"], 0).await, ["lost 20"]);
        has(&sites[0], "lost").await;
        file_of(&sites[0], "lost");
        assert_eq!(reconcile(&sites, json!({})).await["actions"], 0);
        // Lost everywhere: a person must hear of it, and the name is free.
        for site in sites.iter() {
            std::fs::remove_file(file_of(site, "lost")).unwrap();
        }
        let told = reconcile(&sites, json!({})).await;
        assert_eq!(actions(&sites, &told["id"], 1).await, ["lost 30"]);
        assert!(told["problem"].as_str().unwrap().contains("of 1 object(s)"), "{told}");
        sites[1].upload(&client("lost"), content("lost")).await.expect(201);
        sites.end().await;
    }

    async fn a_member_that_cannot_be_reached(t: TestCatalog) {
        let sites = Sites::three(t).await;
        fill(&sites, &["x"]).await;
        sites.line(0, 2, Line::Cut);
        let told = reconcile(&sites, json!({})).await;
        assert_eq!((&told["state"], &told["actions"], &told["checkedRemote"]), (&json!("done"), &json!(0), &json!(1)));
        assert!(told["problem"].as_str().unwrap().contains("site-c was left out"), "{told}");
        let told = reconcile(&sites, json!({ "contextSites": ["site-a", "site-c"] })).await;
        assert_eq!((&told["state"], &told["actions"]), (&json!("failed"), &json!(0)));
        assert!(told["problem"].as_str().unwrap().contains("site-c"), "{told}");
        let told = reconcile(&sites, json!({ "contextSites": ["site-a", "site-b"] })).await;
        assert_eq!((&told["state"], &told["problem"]), (&json!("done"), &Value::Null));
        sites.end().await;
    }

    async fn a_run_is_paused_and_resumed_and_called_off(t: TestCatalog) {
        let sites = Sites::three(t).await;
        fill(&sites, &["x"]).await;
        sites.line(0, 1, Line::Silent);
        let id = begin(&sites, json!({})).await;
        let (path, run) = (format!("{CENTRAL}/{id}"), format!("/haulier/v1/replication/runs/{id}"));
        sites[0].get(&format!("{path}/listing/site-b")).await.expect(409);
        let told = sites[0].post(&format!("{run}/pause"), Value::Null).await.expect(200).json();
        assert_eq!(told["state"], "paused");
        sites.line(0, 1, Line::Open);
        let told = sites[0].get(&path).await.expect(206).json();
        assert_eq!((&told["state"], &told["stop"]), (&json!("paused"), &Value::Null));
        sites[0].post(&format!("{run}/resume"), Value::Null).await.expect(200);
        let told = ended(&sites[0], &path).await;
        assert_eq!((&told["state"], &told["problem"], &told["checked"]), (&json!("done"), &Value::Null, &json!(1)));
        sites[0].post(&format!("{run}/pause"), Value::Null).await.expect(409);

        sites.line(0, 1, Line::Silent);
        let id = begin(&sites, json!({})).await;
        sites[0].post(&format!("/haulier/v1/replication/runs/{id}/cancel"), Value::Null).await.expect(200);
        let told = ended(&sites[0], &format!("{CENTRAL}/{id}")).await;
        assert!(told["state"] == "canceled" && told["stop"].is_string(), "{told}");
        let list = sites[0].get("/haulier/v1/replication/runs?limit=1").await.expect(200).json();
        let more = list["next"].as_str().unwrap();
        let rest = sites[0].get(&format!("/haulier/v1/replication/runs?before={more}")).await.expect(200).json();
        let all = [list["runs"].as_array().unwrap().clone(), rest["runs"].as_array().unwrap().clone()].concat();
        assert_eq!(all.iter().filter(|run| run["kind"] == "central").count(), 2);
        sites.end().await;
    }

    async fn a_run_goes_on_after_a_crash(t: TestCatalog) {
        let mut sites = Sites::three(t).await;
        fill(&sites, &["x", "y"]).await;
        std::fs::remove_file(file_of(&sites[1], "y")).unwrap();
        sites.line(0, 2, Line::Silent);
        let id = begin(&sites, json!({})).await;
        // The others were asked by now, or will be again.
        sites[0].wait_until(&format!("{CENTRAL}/{id}"), |answer| answer.status == 206).await;
        sites[0].crash().await;
        sites.line(0, 2, Line::Open);
        sites[0].start().await;
        let told = ended(&sites[0], &format!("{CENTRAL}/{id}")).await;
        assert_eq!((&told["state"], &told["actions"], &told["checked"]), (&json!("done"), &json!(1), &json!(2)));
        has(&sites[1], "y").await;
        sites.end().await;
    }

    async fn e46_what_has_expired_is_purged_here_and_at_the_peers(t: TestCatalog) {
        let sites = Sites::three(t).await;
        fill(&sites, &["stays"]).await;
        sites[0].post("/cloudclonestore/archive", Value::Null).await.expect(201);
        let expired = [("x-clonecloudstore-expires", "2020-01-01T00:00:00Z")];
        sites[0].send(Method::POST, &client("gone"), &expired, content("gone")).await.expect(201);
        for site in sites.iter() {
            has(site, "gone").await;
        }
        let headers = [("x-clonecloudstore-expired-seconds", "3600"), ("x-clonecloudstore-archive-bucket", "archive")];
        let told = sites[0].send(Method::POST, "/reconciliator/purge", &headers, "").await.expect(202).json();
        let told = ended(&sites[0], &format!("/reconciliator/purge/{}", told["id"].as_str().unwrap())).await;
        assert_eq!((&told["actions"], &told["problem"]), (&json!(1), &Value::Null));
        for site in sites.iter() {
            lacks(site, "gone").await;
            has(site, "stays").await;
        }
        let all = sites[0].send(Method::PUT, "/cloudclonestore/archive", &[], "").await.expect(200);
        let kept = &lines(&all)[0];
        assert_eq!(kept["metadata"]["archived_from_name"], "gone");
        assert_eq!(kept["metadata"]["archived_from_bucket"], BUCKET);
        let path = format!("/replicator/remote/buckets/archive/{}", kept["name"].as_str().unwrap());
        let copied = sites[2].wait_until(&path, |answer| answer.status == 200).await;
        assert_eq!(copied.text(), content("gone"));
        sites[0].send(Method::POST, "/reconciliator/purge", &[("x-clonecloudstore-archive-bucket", "none")], "").await.expect(404);
        sites.end().await;
    }

    async fn e47_a_push_brings_everything_to_one_site_alone(t: TestCatalog) {
        let sites = Sites::three(t).await;
        for other in [1, 2] {
            forget(&sites, 0, other).await;
        }
        sites[0].post(&format!("/cloudclonestore/{BUCKET}"), Value::Null).await.expect(201);
        for name in ["a", "b", "gone"] {
            sites[0].upload(&client(name), content(name)).await.expect(201);
        }
        sites[0].delete(&client("gone")).await.expect(204);
        for other in [1, 2] {
            remember(&sites, 0, other).await;
        }
        let path = format!("/reconciliator/sync/{BUCKET}");
        for (target, status) in [("site-a", 400), ("site-x", 404)] {
            let headers = [("x-clonecloudstore-target-id", target)];
            sites[0].send(Method::POST, &path, &headers, "").await.expect(status);
        }
        sites[0].send(Method::POST, &path, &[], "").await.expect(400);
        let headers = [("x-clonecloudstore-target-id", "site-c")];
        sites[0].send(Method::POST, "/reconciliator/sync/unknown", &headers, "").await.expect(404);
        let told = sites[0].send(Method::POST, &path, &headers, "").await.expect(202).json();
        let run = format!("/haulier/v1/replication/runs/{}", told["id"].as_str().unwrap());
        sites[0].wait_until(&run, |answer| answer.json()["state"] == "done").await;
        for name in ["a", "b"] {
            has(&sites[2], name).await;
            assert_eq!(sites[1].get(&own(name)).await.status, 404);
        }
        assert_eq!(sites[2].get(&own("gone")).await.status, 404);
        sites.end().await;
    }

    async fn files_in_the_store_are_adopted(t: TestCatalog) {
        let sites = Sites::three(t).await;
        fill(&sites, &["taken"]).await;
        let folder = sites[0].test.folder().join("data/objects/import").join(BUCKET);
        std::fs::create_dir_all(folder.join("deep/er")).unwrap();
        for (path, text) in [("one", content("one")), ("deep/er/two", content("deep/er/two")), ("taken", "else".into()), ("a\u{1}b", "bad".into())] {
            std::fs::write(folder.join(path), text).unwrap();
        }
        let path = format!("/reconciliator/import/{BUCKET}");
        sites[0].send(Method::POST, "/reconciliator/import/unknown", &[], "").await.expect(404);
        sites[0].send(Method::POST, &path, &[("x-clonecloudstore-client-id", "somebody")], "").await.expect(403);
        let headers = [("x-clonecloudstore-metadata", r#"{"from":"disk"}"#), ("x-clonecloudstore-expired-seconds", "3600")];
        let told = sites[0].send(Method::POST, &path, &headers, "").await.expect(202).json();
        let told = ended(&sites[0], &format!("{path}/{}", told["id"].as_str().unwrap())).await;
        assert_eq!((&told["actions"], &told["checked"], &told["state"]), (&json!(2), &json!(4), &json!("done")));
        assert!(told["problem"].as_str().unwrap().starts_with("2 files were left"), "{told}");
        for site in sites.iter() {
            has(site, "one").await;
            has(site, "deep/er/two").await;
        }
        assert_eq!(sites[1].get(&own("one")).await.header("metadata"), Some(r#"{"from":"disk"}"#));
        assert!(folder.join("taken").exists() && !folder.join("one").exists() && !folder.join("deep/er/two").exists());
        sites.end().await;
    }

    async fn a_listing_of_20000_names_is_streamed_and_merged(t: TestCatalog) {
        let sites = Sites::three(t).await;
        make_bucket(&sites).await;
        for site in sites.iter() {
            tombstones(site, 20_000).await;
        }
        let told = reconcile(&sites, json!({})).await;
        assert_eq!((&told["actions"], &told["checked"], &told["checkedRemote"]), (&json!(0), &json!(20_000), &json!(40_000)));
        let path = format!("/reconciliator/local/requests/{}/listing", told["id"].as_str().unwrap());
        let listing = lines(&sites[1].get(&path).await.expect(200));
        assert_eq!(listing.len(), 20_000);
        assert!(listing.windows(2).all(|two| two[0]["name"].as_str() < two[1]["name"].as_str()));
        assert_eq!(listing[0]["local"][0]["site"], "site-b");
        assert_eq!(listing[0]["local"][0]["nstatus"], 1);
        let rest = lines(&sites[1].get(&format!("{path}?after=name-19998")).await.expect(200));
        assert_eq!(rest.len(), 1);
        sites.end().await;
    }

    async fn what_is_asked_wrongly(t: TestCatalog) {
        let sites = Sites::three(t).await;
        for (body, status) in [
            (json!({}), 400),
            (json!([]), 400),
            (json!({ "bucket": "Bad" }), 400),
            (json!({ "bucket": "unknown" }), 400),
            (json!({ "bucket": "unknown", "clientId": CLIENT }), 404),
            (json!({ "bucket": "unknown", "contextSites": ["site-x"] }), 400),
            (json!({ "bucket": "unknown", "clientId": CLIENT, "filter": { "statuses": ["ready"] } }), 404),
        ] {
            // Without the header that every request of a test has.
            let answer = reqwest::Client::new().post(sites[0].url(CENTRAL)).json(&body).send().await.unwrap();
            assert_eq!(answer.status().as_u16(), status, "{body}");
            assert!(answer.headers()["x-clonecloudstore-error"].to_str().unwrap().starts_with("RECONCILIATOR - "));
        }
        for path in [
            "/reconciliator/central/requests/none",
            "/reconciliator/central/requests/none/listing/site-a",
            "/reconciliator/local/requests/none",
            "/reconciliator/local/requests/none/listing",
            "/reconciliator/purge/none",
            "/reconciliator/import/invoices/none",
            "/haulier/v1/replication/runs/none",
        ] {
            sites[0].get(path).await.expect(404);
        }
        let body = json!({ "bucket": BUCKET, "clientId": CLIENT });
        sites[0].post("/reconciliator/local/requests", body.clone()).await.expect(400);
        let mut local = body;
        local["id"] = json!("made-elsewhere");
        for _ in 0..2 {
            sites[0].post("/reconciliator/local/requests", local.clone()).await.expect(202);
        }
        ended(&sites[0], "/reconciliator/local/requests/made-elsewhere").await;
        let purge = [("x-clonecloudstore-expired-seconds", "soon")];
        sites[0].send(Method::POST, "/reconciliator/purge", &purge, "").await.expect(400);
        sites.end().await;
    }
}

/// Writes tombstones into a site's catalogue, the same at every site.
async fn tombstones(site: &Site, count: usize) {
    for first in (0..count).step_by(500) {
        let rows: Vec<String> = (first..first + 500)
            .map(|n| {
                format!(
                    "('{BUCKET}', 'name-{n:05}', 'id-{n:05}', 'DELETED', 1000, 1000, 9000000000000000, 0, NULL, '{{}}', \
                     'site-a', NULL)"
                )
            })
            .collect();
        let text = format!(
            "INSERT INTO replication_objects (bucket, name, id, status, created_at, event_at, expires_at, size_bytes, \
             sha256, metadata, origin, buried_at) VALUES {}",
            rows.join(", ")
        );
        let mut tx = site.catalog().begin("test").await.unwrap();
        tx.execute(Sql::owned(text), args![]).await.unwrap();
        tx.commit().await.unwrap();
    }
}

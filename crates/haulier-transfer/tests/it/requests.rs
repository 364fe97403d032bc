//! What a request may look like, and what a refusal says.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use haulier_access::AuthMode;
use haulier_testkit::both_databases;
use haulier_transfer::TransferConfig;
use serde_json::json;
use tempfile::TempDir;

use crate::room::{Refused, Room};

const JSON: (&str, &str) = ("content-type", "application/json");

both_databases! {
    async fn a_transfer_is_accepted_as_posted(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        room.source("a", 10);
        let body = json!({ "source_url": room.url("a"), "destination_url": room.url("b"),
            "source_options": [1, {"x": 2}], "destination_options": 7 });
        let answer = room.post("/v1/transfers", body).await;
        assert_eq!(answer.status, StatusCode::CREATED);
        let document = answer.json();
        let id = document["id"].as_str().unwrap();
        assert_eq!(answer.headers["location"], format!("/v1/transfers/{id}"));
        assert_eq!(id.len(), 36);
        assert_eq!(document["source_url"], room.url("a"));
        assert_eq!(document["destination_url"], room.url("b"));
        assert_eq!(document["state"], "STATE_NEW");
        assert_eq!(document["progress"], 0);
        assert_eq!(document["start_offset"], 0);
        assert_eq!(document["end_offset"], -1);
        assert_eq!(document["source_options"], json!([1, {"x": 2}]));
        assert_eq!(document["destination_options"], 7);
        assert_eq!(document["error"], json!(null));
        assert_eq!(room.document(id).await, document);
    }

    async fn case_01_an_empty_object_names_source_url(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        assert_eq!(room.post("/v1/transfers", json!({})).await.refusal(400), "source_url is missing");
    }

    async fn case_02_an_unknown_member_is_named(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        room.source("a", 1);
        let body = json!({ "source_url": room.url("a"), "destination_url": room.url("b"), "random": 90 });
        assert!(room.post("/v1/transfers", body).await.refusal(400).contains("random"));
        assert_eq!(room.get("/v1/transfers").await.json(), json!([]));
    }

    async fn case_03_a_url_without_a_scheme_is_refused(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        for (source, target, named) in [
            ("bad_form", "file:///dev/null", "source_url"),
            ("gopher://a/b", "file:///dev/null", "source_url"),
            ("http://127.0.0.1/a", "bad_form", "destination_url"),
            ("http://127.0.0.1/a", "http://127.0.0.1/b", "destination_url"),
            ("http://127.0.0.1/a", "file:///etc/haulier-test", "destination_url"),
            ("file:///etc/passwd", "file:///dev/null", "source_url"),
        ] {
            let answer = room.post("/v1/transfers", json!({ "source_url": source, "destination_url": target })).await;
            assert!(answer.refusal(400).starts_with(named), "{}", answer.text);
        }
        assert_eq!(room.get("/v1/transfers").await.json(), json!([]));
    }

    async fn case_15_a_path_in_place_of_an_id_is_unknown(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        room.get("/v1/transfers/a%2F..%2Fb").await.refusal(404);
        room.get("/v1/transfers/590EDF8C-1B2B-44D0-AF6A-D9190753B6EB").await.refusal(404);
        room.get("/v1/nothing").await.refusal(404);
    }

    async fn a_wrong_method_names_the_right_ones(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        let answer = room.send(Method::PUT, "/v1/transfers", &[], Body::empty()).await;
        answer.refusal(405);
        let allow = answer.headers["allow"].to_str().unwrap();
        assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
        room.get("/v1/transfers/590edf8c-1b2b-44d0-af6a-d9190753b6eb/action").await.refusal(405);
    }

    async fn the_media_type_is_checked_before_the_body(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        let send = |headers: &'static [(&'static str, &'static str)], body: &'static str| {
            room.send(Method::POST, "/v1/transfers", headers, body)
        };
        send(&[], "").await.refusal(400);
        send(&[], "{}").await.refusal(400);
        send(&[("content-type", "application/xml")], "<a/>").await.refusal(415);
        send(&[("content-type", "application/json; charset=utf-8")], "{").await.refusal(400);
        send(&[JSON], "[]").await.refusal(400);
        let text = send(&[JSON, ("accept", "text/plain")], "{}").await;
        assert_eq!((text.status.as_u16(), text.text.trim()), (400, "source_url is missing"));
    }

    async fn a_body_over_the_bound_is_refused_by_its_size(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        let at = |size: usize| format!("{{\"source_url\":\"{}\"}}", "x".repeat(size - 17));
        let fits = room.send(Method::POST, "/v1/transfers", &[JSON], at(114_688)).await;
        fits.refusal(400);
        let over = room.send(Method::POST, "/v1/transfers", &[JSON], at(114_689)).await;
        assert!(over.refusal(413).contains("114688") , "{}", over.text);
    }

    async fn an_action_is_checked_before_the_id(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        let unknown = "590edf8c-1b2b-44d0-af6a-d9190753b6eb";
        room.act(unknown, json!({ "xferaction": "explode" })).await.refusal(400);
        room.act(unknown, json!({ "xferaction": "cancel" })).await.refusal(404);
        room.delete(unknown).await.refusal(404);
    }

    async fn the_same_key_is_the_same_transfer(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        room.source("a", 1);
        let body = json!({ "source_url": room.url("a"), "destination_url": room.url("b") }).to_string();
        let send = |body: String| room.send(Method::POST, "/v1/transfers", &[JSON, ("idempotency-key", "k1")], body);
        let first = send(body.clone()).await;
        let second = send(body.clone()).await;
        assert_eq!((first.status.as_u16(), second.status.as_u16()), (201, 201));
        assert_eq!(first.json()["id"], second.json()["id"]);
        assert_eq!(room.get("/v1/transfers").await.json().as_array().unwrap().len(), 1);
        let other = json!({ "source_url": room.url("a"), "destination_url": room.url("c") }).to_string();
        assert!(send(other).await.refusal(400).contains("Idempotency-Key"));
        let spelled_out = json!({ "source_url": room.url("a"), "destination_url": room.url("b"), "start_offset": 0,
            "end_offset": null, "source_options": {} });
        assert_eq!(send(spelled_out.to_string()).await.json()["id"], first.json()["id"], "defaults may be left out");
        room.catalog.clock.advance(std::time::Duration::from_secs(24 * 3600 + 1));
        assert_ne!(send(body).await.json()["id"], first.json()["id"]);
    }

    async fn a_key_whose_transfer_was_deleted_stands_for_nothing(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        room.source("a", 1);
        let send = |target: &str| {
            let body = json!({ "source_url": room.url("a"), "destination_url": room.url(target) }).to_string();
            room.send(Method::POST, "/v1/transfers", &[JSON, ("idempotency-key", "k1")], body)
        };
        let first = send("b").await.json();
        assert_eq!(room.delete(first["id"].as_str().unwrap()).await.status, 204);
        let second = send("c").await;
        assert_eq!(second.status, StatusCode::CREATED, "{}", second.text);
        assert_ne!(second.json()["id"], first["id"]);
    }

    async fn another_owners_transfer_does_not_exist(catalog: TestCatalog) {
        let fronts = AuthMode::trusted_anywhere();
        let room = Room::build(catalog, TempDir::new().unwrap(), TransferConfig::default(), fronts).await;
        room.source("a", 1);
        let ann = [JSON, ("x-identity-status", "Confirmed"), ("x-user-id", "ann")];
        let bob = [JSON, ("x-identity-status", "Confirmed"), ("x-user-id", "bob")];
        let body = json!({ "source_url": room.url("a"), "destination_url": room.url("b") }).to_string();
        room.send(Method::POST, "/v1/transfers", &[JSON], body.clone()).await.refusal(401);
        let made = room.send(Method::POST, "/v1/transfers", &ann, body).await.json();
        let path = format!("/v1/transfers/{}", made["id"].as_str().unwrap());
        assert_eq!(room.send(Method::GET, &path, &ann, "").await.status, 200);
        room.send(Method::GET, &path, &bob, "").await.refusal(404);
        room.send(Method::DELETE, &path, &bob, "").await.refusal(404);
        let action = format!("{path}/action");
        room.send(Method::POST, &action, &bob, r#"{"xferaction":"cancel"}"#).await.refusal(404);
        assert_eq!(room.send(Method::GET, "/v1/transfers", &bob, "").await.text, "[]");
        room.send(Method::GET, "/v1/transfers", &[], "").await.refusal(401);
        room.send(Method::GET, "/v1/nowhere", &[], "").await.refusal(401);
    }
}

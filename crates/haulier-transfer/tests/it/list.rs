//! Lists: order, pages, filters.

use axum::http::Method;
use haulier_testkit::both_databases;
use serde_json::{Value, json};

use crate::room::{Answer, Refused, Room};

fn ids(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json().as_array().unwrap().iter().map(|t: &Value| t["id"].as_str().unwrap().to_owned()).collect()
}

/// The path behind `rel="next"`.
fn next(answer: &Answer) -> Option<String> {
    let link = answer.headers.get("link")?.to_str().unwrap();
    assert!(link.ends_with("; rel=\"next\""), "{link}");
    Some(link[1..link.find('>').unwrap()].to_owned())
}

async fn many(room: &Room, count: usize) -> Vec<String> {
    room.source("a", 10);
    let mut made = Vec::new();
    for n in 0..count {
        made.push(room.submit(&room.url("a"), &room.url(&format!("b{n}")), json!({})).await);
    }
    made
}

both_databases! {
    async fn a_list_is_in_the_order_of_creation(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        assert_eq!(room.get("/v1/transfers").await.text, "[]");
        let made = many(&room, 7).await;
        let all = room.get("/v1/transfers").await;
        assert_eq!(ids(&all), made);
        assert_eq!(next(&all), None);
        assert_eq!(all.headers["content-type"], "application/json");
        assert_eq!(all.json()[3], room.document(&made[3]).await);
    }

    async fn pages_follow_the_link_to_the_end(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        let made = many(&room, 7).await;
        let (mut path, mut seen) = (Some("/v1/transfers?limit=3".to_owned()), Vec::new());
        let mut pages = 0;
        while let Some(page) = path {
            let answer = room.get(&page).await;
            seen.extend(ids(&answer));
            path = next(&answer);
            pages += 1;
        }
        assert_eq!((seen, pages), (made, 3));
    }

    async fn a_full_last_page_has_no_next(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        many(&room, 4).await;
        assert_eq!(next(&room.get("/v1/transfers?limit=4").await), None);
        assert!(next(&room.get("/v1/transfers?limit=3").await).is_some());
        assert_eq!(room.get("/v1/transfers?limit=0").await.text, "[]");
    }

    async fn case_11_the_limit_may_stand_in_a_body(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        let made = many(&room, 7).await;
        let json = [("content-type", "application/json")];
        let answer = room.send(Method::GET, "/v1/transfers", &json, r#"{"limit": 5}"#).await;
        assert_eq!(ids(&answer), made[..5]);
        room.send(Method::GET, "/v1/transfers", &json, r#"{"limit": 5, "x": 1}"#).await.refusal(400);
        let both = room.send(Method::GET, "/v1/transfers?limit=2", &json, r#"{"limit": 5}"#).await;
        assert_eq!(ids(&both), made[..2]);
    }

    async fn a_marker_outlives_its_transfer(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        let made = many(&room, 4).await;
        assert_eq!(room.delete(&made[1]).await.status, 204);
        let after = format!("/v1/transfers?next={}", made[1]);
        assert_eq!(ids(&room.get(&after).await), made[2..]);
        room.catalog.clock.advance(std::time::Duration::from_secs(3601));
        assert_eq!(ids(&room.get(&after).await), made[2..]);
        room.get("/v1/transfers?next=590edf8c-1b2b-44d0-af6a-d9190753b6eb").await.refusal(400);
        room.get("/v1/transfers?next=x").await.refusal(400);
    }

    async fn a_filter_selects_by_state(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        let made = many(&room, 6).await;
        for id in &made[..4] {
            room.act(id, json!({ "xferaction": "cancel" })).await;
        }
        let query = |filter: Value| {
            let text = url_encode(&filter.to_string());
            format!("/v1/transfers?limit=3&filter={text}")
        };
        let canceled = room.get(&query(json!({ "state": "STATE_CANCELED" }))).await;
        assert_eq!(ids(&canceled), made[..3]);
        assert_eq!(ids(&room.get(&next(&canceled).unwrap()).await), made[3..4]);
        let both = room.get(&query(json!({ "state": ["STATE_NEW", "STATE_ERROR"] }))).await;
        assert_eq!(ids(&both), made[4..]);
        room.get(&query(json!({ "state": "STATE_DELETED" }))).await.refusal(400);
        room.get(&query(json!({ "owner": "x" }))).await.refusal(400);
        room.get("/v1/transfers?filter=state").await.refusal(400);
        room.get("/v1/transfers?limit=-1").await.refusal(400);
        room.get("/v1/transfers?limit=").await.refusal(400);
        assert_eq!(room.get("/v1/transfers?unknown=1").await.status, 200);
    }

    async fn a_long_list_is_whole(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        let made = many(&room, 1203).await;
        assert_eq!(ids(&room.get("/v1/transfers").await), made);
        let page = room.get("/v1/transfers?limit=1100").await;
        assert_eq!(ids(&page), made[..1100]);
        assert_eq!(ids(&room.get(&next(&page).unwrap()).await), made[1100..]);
    }
}

fn url_encode(text: &str) -> String {
    text.bytes().map(|b| format!("%{b:02X}")).collect()
}

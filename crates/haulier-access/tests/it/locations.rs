//! Named locations: given once, used by name, their secrets never seen again.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request as HttpRequest, StatusCode};
use haulier_access::locations::{self, NamedLocation, NewLocation, Origin, Request};
use haulier_access::{AuthMode, Authenticator, Caller, Locations, Sealer};
use haulier_base::ErrorKind;
use haulier_catalog::{Catalog, Sql, args};
use haulier_storage::{MemoryStore, StorageConfig, Storages};
use haulier_testkit::both_databases;
use haulier_testkit::catalog::TestCatalog;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

struct Place {
    catalog: TestCatalog,
    folder: TempDir,
    locations: Locations,
    router: Router,
}

fn key() -> Sealer {
    Sealer::from_text(&"7".repeat(64)).unwrap()
}

async fn build(catalog: &Catalog, folder: &TempDir, sealer: Sealer) -> haulier_base::Result<Locations> {
    let config = StorageConfig {
        memory: Some(MemoryStore::new()),
        roots: vec![folder.path().to_owned()],
        allow_private: true,
        ..StorageConfig::default()
    };
    let shared = NamedLocation {
        name: "shared".to_owned(),
        url: format!("file://{}/shared", folder.path().display()),
        options: json!({}),
        origin: Origin::Configuration,
        created_at: None,
    };
    let configured = Arc::new(BTreeMap::from([(shared.name.clone(), shared)]));
    Locations::new(catalog.clone(), Storages::new(config)?, sealer, configured).await
}

impl Place {
    async fn new(catalog: TestCatalog) -> Self {
        let folder = TempDir::new().unwrap();
        std::fs::create_dir(folder.path().join("shared")).unwrap();
        let locations = build(&catalog.catalog, &folder, key()).await.unwrap();
        let router = haulier_access::layer(locations::router(locations.clone()), Authenticator::new(AuthMode::Open));
        Self { catalog, folder, locations, router }
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let mut request = HttpRequest::builder().method(method).uri(format!("/haulier/v1/locations{path}"));
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let response = self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let status = response.status();
        let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    fn url(&self, path: &str) -> String {
        format!("file://{}/{path}", self.folder.path().display())
    }
}

fn web() -> Value {
    json!({ "name": "web", "url": "http://127.0.0.1:9/data", "options": { "username": "ann", "password": "s3cret" } })
}

both_databases! {
    async fn a_location_is_created_listed_shown_and_deleted(catalog: TestCatalog) {
        let place = Place::new(catalog).await;
        let (status, made) = place.ask(Method::POST, "", Some(web())).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        assert_eq!(made["options"], json!({ "username": "ann", "password": "***" }));
        assert_eq!(place.ask(Method::POST, "", Some(web())).await.0, StatusCode::CONFLICT);
        let (_, list) = place.ask(Method::GET, "", None).await;
        let names: Vec<_> = list["locations"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
        assert_eq!(names, ["shared", "web"]);
        let (_, first) = place.ask(Method::GET, "?limit=1", None).await;
        assert_eq!((first["locations"].as_array().unwrap().len(), &first["next"]), (1, &json!("shared")));
        let (_, second) = place.ask(Method::GET, "?after=shared&limit=1", None).await;
        assert_eq!((second["locations"][0]["name"].clone(), &second["next"]), (json!("web"), &Value::Null));
        let (status, shown) = place.ask(Method::GET, "/web", None).await;
        assert_eq!((status, shown), (StatusCode::OK, made));
        assert_eq!(place.ask(Method::DELETE, "/web", None).await.0, StatusCode::NO_CONTENT);
        assert_eq!(place.ask(Method::DELETE, "/web", None).await.0, StatusCode::NOT_FOUND);
        assert_eq!(place.ask(Method::GET, "/web", None).await.0, StatusCode::NOT_FOUND);
        let (status, why) = place.ask(Method::DELETE, "/shared", None).await;
        assert_eq!(status, StatusCode::CONFLICT, "{why}");
    }

    async fn bad_requests_are_told_what_is_wrong(catalog: TestCatalog) {
        let place = Place::new(catalog).await;
        for (body, said) in [
            (json!({}), "name"),
            (json!({ "name": "file", "url": "file:///x" }), "scheme"),
            (json!({ "name": "Up", "url": "file:///x" }), "name"),
            (json!({ "name": "ab", "url": "" }), "url"),
            (json!({ "name": "ab", "url": "nothing" }), "url"),
            (json!({ "name": "ab", "url": "what://is/this" }), "unknown scheme"),
            (json!({ "name": "ab", "url": "file:///not/allowed" }), "url"),
            (json!({ "name": "ab", "url": "http://a/b?c=d" }), "query"),
            (json!({ "name": "ab", "url": "http://a/b", "options": [] }), "options"),
            (json!({ "name": "ab", "url": "http://a/b", "more": 1 }), "more"),
        ] {
            let (status, answer) = place.ask(Method::POST, "", Some(body.clone())).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{body}: {answer}");
            let message = answer["error"]["message"].as_str().unwrap();
            assert!(message.contains(said), "{body}: {message}");
        }
        assert_eq!(place.ask(Method::POST, "", None).await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        for limit in ["many", "0", "-1"] {
            assert_eq!(place.ask(Method::GET, &format!("?limit={limit}"), None).await.0, StatusCode::BAD_REQUEST);
        }
    }

    async fn secrets_are_stored_sealed_and_other_keys_are_refused(catalog: TestCatalog) {
        const ALL: Sql = Sql::both("SELECT options FROM locations");
        let place = Place::new(catalog).await;
        place.ask(Method::POST, "", Some(web())).await;
        let mut tx = place.catalog.catalog.read().await.unwrap();
        let stored = tx.fetch_optional(ALL, args![]).await.unwrap().unwrap().text("options").unwrap();
        assert!(stored.contains("ann") && stored.contains("$sealed") && !stored.contains("s3cret"), "{stored}");
        drop(tx);
        build(&place.catalog.catalog, &place.folder, key()).await.unwrap();
        let other = Sealer::from_text(&"8".repeat(64)).unwrap();
        let Err(refused) = build(&place.catalog.catalog, &place.folder, other).await else { panic!("another key") };
        assert!(refused.message().contains("secrets.key"), "{refused}");
    }

    async fn a_name_stands_for_its_place_and_for_its_owner_only(catalog: TestCatalog) {
        let place = Place::new(catalog).await;
        let (ann, bob) = (Caller::named("ann"), Caller::named("bob"));
        std::fs::create_dir(place.folder.path().join("mine")).unwrap();
        let new = NewLocation { name: "mine".to_owned(), url: place.url("mine"), options: json!({}) };
        place.locations.create(&ann, new).await.unwrap();
        let none = json!({});
        let at = |url: &'static str| Request { url, options: &none };
        let target = place.locations.open_target("ann", "", at("mine:a b%20c?d#e")).await.unwrap();
        assert!(target.path.as_str().ends_with("/mine/a b%20c?d#e"), "{}", target.path);
        assert_eq!(place.locations.get(&bob, "mine").await.unwrap_err().kind(), ErrorKind::NotFound);
        let stranger = place.locations.open_target("bob", "", at("mine:x")).await.unwrap_err();
        assert!(stranger.message().contains("unknown scheme"), "{stranger}");
        place.locations.open_target("bob", "", at("shared:x")).await.unwrap();
        for (source, destination, said) in [
            ("mine:../shared/x", "mine:y", "source_url"),
            ("mine:x", "mine:x", "same file"),
            ("mine:x", "nobody:y", "destination_url"),
        ] {
            let refused = place.locations.check_copy("ann", at(source), at(destination)).await.unwrap_err();
            assert!(refused.message().contains(said), "{refused}");
        }
        let options = json!({ "verify": "none", "endpoint": "http://elsewhere" });
        let request = Request { url: "shared:x", options: &options };
        let refused = place.locations.open_target("bob", "", request).await.unwrap_err();
        assert!(refused.message().contains("endpoint"), "{refused}");
    }

    async fn a_location_can_be_tried(catalog: TestCatalog) {
        let place = Place::new(catalog).await;
        let (status, tried) = place.ask(Method::POST, "/shared/test", Some(json!({ "write": true }))).await;
        assert_eq!((status, &tried["ok"]), (StatusCode::OK, &json!(true)), "{tried}");
        let steps: Vec<_> = tried["steps"].as_array().unwrap().iter().map(|step| step["step"].clone()).collect();
        assert_eq!(steps, ["open", "list", "write", "read", "delete"]);
        assert_eq!(std::fs::read_dir(place.folder.path().join("shared")).unwrap().count(), 0, "nothing stays");
        place.ask(Method::POST, "", Some(web())).await;
        let (status, tried) = place.ask(Method::POST, "/web/test", None).await;
        assert_eq!((status, &tried["ok"]), (StatusCode::OK, &json!(false)), "{tried}");
        assert!(tried["steps"][1]["error"].is_string(), "{tried}");
        assert_eq!(place.ask(Method::POST, "/none/test", None).await.0, StatusCode::NOT_FOUND);
    }
}

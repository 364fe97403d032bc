//! The little of an identity service that stock programs insist on.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use haulier_access::{AuthMode, Authenticator, Caller, StaticToken};
use haulier_base::Secret;
use haulier_testkit::catalog::{Database, TestCatalog};
use serde_json::{Value, json};
use tower::ServiceExt;

async fn ask(router: &Router, method: &str, path: &str, body: Value) -> (u16, HeaderMap, Value) {
    let request = Request::builder().method(method).uri(path).header("host", "backup.example:9090");
    let request = request.body(Body::from(body.to_string())).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, headers, serde_json::from_slice(&bytes).unwrap_or_default())
}

fn password(user: &str, password: &str) -> Value {
    json!({ "auth": {
        "identity": { "methods": ["password"], "password": { "user":
            { "name": user, "password": password, "domain": { "name": "Default" } } } },
        "scope": { "project": { "name": "p1", "domain": { "name": "Default" } } },
    }})
}

#[tokio::test]
async fn a_token_is_given_for_itself() {
    let t = TestCatalog::new(Database::Sqlite).await;
    let token = StaticToken { token: Secret::new("s3cret".into()), caller: Caller::named("ann") };
    let router = haulier_backup::identity_router(Authenticator::new(AuthMode::Static(vec![token])), t.catalog.clock());
    let (status, _, version) = ask(&router, "GET", "/v3/", Value::Null).await;
    assert_eq!((status, &version["version"]["links"][0]["href"]), (200, &json!("http://backup.example:9090/v3/")));

    let by_token = json!({ "auth": { "identity": { "methods": ["token"], "token": { "id": "s3cret" } } } });
    for (body, project) in [(password("ann", "s3cret"), "p1"), (by_token, "default")] {
        let (status, headers, given) = ask(&router, "POST", "/v3/auth/tokens", body).await;
        assert_eq!((status, headers["x-subject-token"].to_str().unwrap()), (201, "s3cret"));
        let given = &given["token"];
        assert_eq!((&given["user"]["id"], &given["project"]["id"]), (&json!("ann"), &json!(project)));
        let endpoints = given["catalog"][0]["endpoints"].as_array().unwrap();
        assert_eq!(given["catalog"][0]["type"], "backup");
        assert!(endpoints.iter().any(|one| one["interface"] == "public" && one["url"] == "http://backup.example:9090"));
        assert!(given["expires_at"].as_str() > given["issued_at"].as_str(), "{given}");
    }
    for wrong in [
        password("ann", "s3cre"),
        password("bob", "s3cret"),
        password("ann", ""),
        password("ann", "s3cret\n"),
        json!({}),
        json!([1]),
    ] {
        let (status, headers, refused) = ask(&router, "POST", "/v3/auth/tokens", wrong.clone()).await;
        assert_eq!((status, &refused["error"]["code"]), (401, &json!(401)), "{wrong}");
        assert!(!headers.contains_key("x-subject-token"));
    }
}

#[tokio::test]
async fn where_nobody_is_asked_everybody_gets_one() {
    let t = TestCatalog::new(Database::Sqlite).await;
    let open = Authenticator::new(AuthMode::Open).self_named("anonymous");
    let router = haulier_backup::identity_router(open, t.catalog.clock());
    let (status, headers, given) = ask(&router, "POST", "/v3/auth/tokens", password("ann", "any")).await;
    assert!(status == 201 && !headers["x-subject-token"].is_empty());
    assert_eq!(given["token"]["user"]["id"], "anonymous", "as whom the API will know him");
    let fronts = Authenticator::new(AuthMode::Trusted(vec!["10.0.0.0/8".parse().unwrap()]));
    let router = haulier_backup::identity_router(fronts, t.catalog.clock());
    assert_eq!(ask(&router, "POST", "/v3/auth/tokens", password("ann", "any")).await.0, 401, "the front has its own");
}

//! What is refused: wrong options before anything is asked, and the store's own refusals with their reasons.

use haulier_base::ErrorKind;
use serde_json::{Value, json};

use super::{get, open, open_with, options, request, server, storages, url};
use crate::{Placement, StorageConfig, Storages, WriteRequest};

#[tokio::test]
async fn refusals_name_their_reason_and_no_secret() {
    let wrong = open_with("x", json!({ "secret_access_key": "wrong-s3cret" }));
    let error = wrong.storage.stat(&wrong.path).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden);
    let error = wrong.storage.list(&wrong.path).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Forbidden);
    assert!(error.message().contains("secret_access_key"), "{error}");
    assert!(!format!("{error:?} {wrong:?}").contains("s3cret"), "{error:?}");
    let anonymous = json!({ "access_key_id": null, "secret_access_key": null, "anonymous": true });
    let error = get(&open_with("x", anonymous)).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Forbidden | ErrorKind::Unauthenticated), "{error:?}");
    let nowhere = storages().open_target("s3://no-such-bucket/x", &options(json!({}))).unwrap();
    for error in [get(&nowhere).await.unwrap_err(), nowhere.storage.list(&nowhere.path).await.err().unwrap()] {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
        assert!(error.message().contains("bucket"));
    }
    let in_place = WriteRequest { placement: Placement::InPlace { offset: 0 }, ..request("in place") };
    let location = open("x");
    let error = location.storage.write(&location.path, in_place).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let closed = open_with("x", json!({ "endpoint": "http://127.0.0.1:1" }));
    assert_eq!(get(&closed).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let unknown = open_with("x", json!({ "endpoint": "http://no-such-host.invalid" }));
    assert!(get(&unknown).await.unwrap_err().message().contains("no-such-host.invalid"));
}

#[tokio::test]
async fn addresses_that_are_not_public_are_refused() {
    let strict = Storages::new(StorageConfig::default()).unwrap();
    let port = server()["endpoint"].as_str().unwrap().rsplit(':').next().unwrap().to_owned();
    for host in ["127.0.0.1", "[::1]", "localhost", "2130706433"] {
        let options = options(json!({ "endpoint": format!("http://{host}:{port}") }));
        let outcome = match strict.open_source(&url("x"), &options) {
            Ok(location) => get(&location).await.map(|_| ()),
            Err(error) => Err(error),
        };
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Forbidden, "{host}");
    }
}

#[test]
fn options_are_refused_by_name() {
    let storages = storages();
    let keys = json!({ "access_key_id": "a", "secret_access_key": "b", "session_token": "c" });
    let check = |more: Value| {
        let mut options = keys.clone();
        for (name, value) in more.as_object().unwrap() {
            options[name] = value.clone();
        }
        storages.check_target("s3://b/k", &options).map_err(|error| error.to_string())
    };
    check(json!({ "region": "eu-west-1", "placement": "start", "checksum": "sha256:00" })).unwrap();
    check(json!({ "endpoint": "https://s3.example.org:9000/path", "path_style": false })).unwrap();
    for (more, name) in [
        (json!({ "bukket": "x" }), "bukket"),
        (json!({ "region": 5 }), "region"),
        (json!({ "region": "a b" }), "region"),
        (json!({ "endpoint": "ftp://x" }), "endpoint"),
        (json!({ "endpoint": "http://u:p@x" }), "endpoint"),
        (json!({ "part_size": 5 }), "part_size"),
        (json!({ "checksum_algorithm": "crc" }), "checksum_algorithm"),
        (json!({ "anonymous": true }), "anonymous"),
        (json!({ "path_style": "yes" }), "path_style"),
        (json!({ "secret_access_key": null }), "secret_access_key"),
        (json!({ "ca_pem": "x" }), "ca_pem"),
        (json!({ "ca_file": "/etc/passwd" }), "roots"),
    ] {
        assert!(check(more).unwrap_err().contains(name), "{name}");
    }
    let shown = Storages::redact_options("s3://b/k", &keys);
    assert_eq!(shown, json!({ "access_key_id": "a", "secret_access_key": "***", "session_token": "***" }));
    for bad in ["s3:b/k", "s3:///k", "s3://../k", "s3://a b/k", "s3://u:p@b/k"] {
        let error = storages.check_target(bad, &keys).unwrap_err();
        assert!(!error.to_string().contains("u:p"), "{error}");
    }
    assert_eq!(Storages::redact_url("s3://u:p@b/k@x"), "s3://***@b/k@x");
    assert_eq!(Storages::redact_url("s3://b/k@x"), "s3://b/k@x");
}

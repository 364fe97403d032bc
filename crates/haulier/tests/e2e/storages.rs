//! `haulier transfer create` to and from every storage, by flags, by files and by named locations.

#![allow(clippy::disallowed_methods, reason = "the test command hands the servers over in the environment")]

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::node::{Node, haulier};

pub(crate) fn server(variable: &str) -> Value {
    let text = std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: run cargo xtask test"));
    serde_json::from_str(&text).unwrap()
}

/// A URL of the storage under test, its options, and what of them must never be shown.
pub(crate) struct Place {
    pub(crate) name: &'static str,
    pub(crate) url: String,
    pub(crate) options: Value,
    secret: String,
}

pub(crate) fn places() -> Vec<Place> {
    let (mut s3, sftp, webdav) =
        (server("HAULIER_TEST_S3"), server("HAULIER_TEST_SFTP"), server("HAULIER_TEST_WEBDAV"));
    let bucket = s3.as_object_mut().unwrap().remove("bucket").unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let key = fs::read_to_string(text(&sftp["private_key_file"])).unwrap();
    let id = std::process::id();
    vec![
        Place {
            name: "s3",
            url: format!("s3://{}/created-{id}", text(&bucket)),
            secret: text(&s3["secret_access_key"]),
            options: s3,
        },
        Place {
            name: "sftp",
            url: format!(
                "sftp://{}@{}{}/created-{id}",
                text(&sftp["user"]),
                text(&sftp["address"]),
                text(&sftp["folder"])
            ),
            secret: key.lines().nth(1).unwrap().to_owned(),
            options: json!({"private_key": key, "host_key": sftp["host_key"]}),
        },
        Place {
            name: "webdav",
            url: format!("webdavs://{}/created-{id}", text(&webdav["tls_address"])),
            secret: text(&webdav["token"]),
            options: json!({"token": webdav["token"], "ca_pem": fs::read_to_string(text(&webdav["ca_file"])).unwrap()}),
        },
    ]
}

struct Cli<'a> {
    folder: &'a Path,
    server: String,
}

impl Cli<'_> {
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = haulier(self.folder);
        command.args(["-q", "-o", "json", "--server", &self.server]).args(arguments);
        command.stderr(Stdio::piped()).output().unwrap()
    }

    /// Creates a transfer and follows it to its good end; its document.
    fn create(&self, arguments: &[&str]) -> Value {
        let ended = self.run(&[&["transfer", "create", "--wait", "--timeout", "60"], arguments].concat());
        let said = String::from_utf8_lossy(&ended.stderr);
        let document: Value = serde_json::from_slice(&ended.stdout).unwrap_or_default();
        assert_eq!(ended.status.code(), Some(0), "{arguments:?}: {document} {said}");
        assert_eq!(document["state"], "STATE_COMPLETE");
        document
    }
}

#[test]
fn transfers_are_created_for_every_storage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let places = places();
    let bytes: Vec<u8> = (0..6_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(path.join("source"), &bytes).unwrap();
    let local = |name: &str| format!("file://{}", path.join(name).display());
    let mut config = String::new();
    for place in &places {
        let mut to = place.options.clone();
        // About the copy, and beside the options of the place.
        to["create_parents"] = json!(true);
        fs::write(path.join(format!("{}-to", place.name)), to.to_string()).unwrap();
        fs::write(path.join(place.name), place.options.to_string()).unwrap();
        config += &format!("[locations.conf-{}]\nurl = {:?}\n", place.name, place.url);
        config += &format!("[locations.conf-{}.options]\n", place.name);
        for (member, value) in place.options.as_object().unwrap() {
            if ["secret_access_key", "private_key", "token"].contains(&member.as_str()) {
                let file = format!("{}-secret", place.name);
                fs::write(path.join(&file), value.as_str().unwrap()).unwrap();
                config += &format!("{member} = {{ file = \"{file}\" }}\n");
            } else {
                config += &format!("{member} = {value}\n");
            }
        }
    }
    fs::write(path.join("haulier.toml"), config).unwrap();
    let node = Node::with_config(path, None, "created", "haulier.toml");
    let cli = Cli { folder: path, server: node.url() };
    for Place { name, url, options, secret } in &places {
        let (there, options_to, options_from) = (format!("{url}/a"), format!("@{name}-to"), format!("@{name}"));
        let up = cli.create(&[&local("source"), &there, "--destination-options", &options_to]);
        assert!(!up.to_string().contains(secret), "{name}");
        let back = local(&format!("{name}-back"));
        let down = cli.create(&[&there, &back, "--source-options", &options_from, "--start-offset", "7"]);
        assert!(!down.to_string().contains(secret), "{name}");
        assert!(fs::read(path.join(format!("{name}-back"))).unwrap() == bytes[7..], "{name}");

        // A secret among the arguments is refused before anybody is asked, and not repeated.
        let inline = options.to_string();
        let refused = cli.run(&["transfer", "create", &local("source"), &there, "--destination-options", &inline]);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.contains("@FILE") && !said.contains(secret), "{said}");

        let own = format!("own-{name}");
        let made = cli.run(&["location", "create", &own, url, "--options", &options_from]);
        assert!(made.status.success() && !String::from_utf8_lossy(&made.stdout).contains(secret), "{made:?}");
        for (location, object) in [(own, "a b"), (format!("conf-{name}"), "c")] {
            let object = format!("{location}:{object}");
            let up = cli.create(&[&local("source"), &object]);
            assert!(!up.to_string().contains(secret), "{object}");
            cli.create(&[&object, &local("again")]);
            assert!(fs::read(path.join("again")).unwrap() == bytes, "{object}");
        }
    }
    let nginx = server("HAULIER_TEST_NGINX");
    let file = format!("created-{}", std::process::id());
    fs::write(Path::new(nginx["folder"].as_str().unwrap()).join(&file), &bytes).unwrap();
    fs::write(path.join("login"), json!({"username": "user", "password": "pass"}).to_string()).unwrap();
    let web = format!("{}/auth/{file}", nginx["url"].as_str().unwrap());
    for (n, place) in places.iter().enumerate() {
        let object = format!("own-{}:from the web", place.name);
        cli.create(&[&web, &object, "--source-options", "@login"]);
        // From each storage to the next.
        let next = format!("conf-{}:passed on", places[(n + 1) % places.len()].name);
        cli.create(&[&object, &next]);
        cli.create(&[&next, &local("passed")]);
        assert!(fs::read(path.join("passed")).unwrap() == bytes, "{object} {next}");
    }
}

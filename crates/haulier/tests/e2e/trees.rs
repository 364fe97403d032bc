//! `haulier cp -r` to storages and back, against the servers that `cargo xtask test` starts.

#![allow(clippy::disallowed_methods, reason = "the test command hands the servers over in the environment")]

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use crate::node::haulier;

fn server(variable: &str) -> Value {
    let text = std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: run cargo xtask test"));
    serde_json::from_str(&text).unwrap()
}

/// Files in folders, last changed an hour ago.
fn plant(tree: &Path) -> Vec<(&'static str, Vec<u8>)> {
    let pattern = |len: u32| (0..len).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect::<Vec<u8>>();
    let files = vec![
        ("one", pattern(100_000)),
        ("empty", Vec::new()),
        ("deep/er/two words", pattern(7)),
        ("deep/100% é#?.txt", pattern(6_000_000)),
    ];
    for (name, bytes) in &files {
        let path = tree.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        let changed = fs::metadata(&path).unwrap().modified().unwrap() - Duration::from_secs(3600);
        fs::File::options().append(true).open(&path).unwrap().set_modified(changed).unwrap();
    }
    files
}

fn copied(folder: &Path, arguments: &[&str]) -> (Option<i32>, Value, String) {
    let mut command = haulier(folder);
    let ended = command.args(["-o", "json", "cp", "-r"]).args(arguments).stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    (ended.status.code(), serde_json::from_slice(&ended.stdout).unwrap_or_default(), said)
}

fn options_of(url: &str, options: &Value) -> (tempfile::TempDir, [String; 2]) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("options"), options.to_string()).unwrap();
    (folder, [url.to_owned(), "@options".to_owned()])
}

/// The names that a dry run lists.
fn listed(report: &Value) -> Vec<&str> {
    let mut names: Vec<_> =
        report["objects"].as_array().unwrap().iter().map(|object| object["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    names
}

/// A dry run says what a copy then does, and what a filter leaves out stays where it is.
fn dry_and_filtered(url: &str, options: &Value) {
    let (folder, [url, options]) = options_of(url, options);
    let path = folder.path();
    let files = plant(&path.join("tree"));
    let there = ["tree", &url, "--target-options", &options, "--exclude", "deep/*words", "--exclude", "/empty"];
    let back = [&url, "back", "--source-options", &options, "--include", "*.txt"];
    let dry = |arguments: &[&str]| copied(path, &[arguments, &["--dry-run"]].concat());

    let (code, report, said) = dry(&there);
    assert_eq!(
        (code, &report["would_copy"], &report["dry_run"]),
        (Some(0), &json!(3), &json!(true)),
        "{report} {said}"
    );
    assert_eq!(listed(&report), ["deep/100% é#?.txt", "deep/er/two words", "one"], "* stays within a name");
    assert_eq!(report["bytes"], 6_100_007);
    assert_eq!(dry(&back).0, Some(3), "nothing was made");
    assert!(!path.join("state").exists() && !path.join("back").exists());

    let (code, report, said) = copied(path, &there);
    assert_eq!((code, &report["copied"]), (Some(0), &json!(3)), "{report} {said}");
    let (code, report, said) = dry(&there);
    assert_eq!((code, &report["would_copy"], &report["skipped"]), (Some(0), &json!(0), &json!(3)), "{report} {said}");
    let (code, report, said) = dry(&back);
    assert_eq!(
        (code, &report["bytes"], listed(&report)),
        (Some(0), &json!(6_000_000), vec!["deep/100% é#?.txt"]),
        "{said}"
    );
    assert!(!path.join("back").exists());
    let (code, report, said) = copied(path, &back);
    assert_eq!((code, &report["copied"]), (Some(0), &json!(1)), "{report} {said}");
    assert!(fs::read(path.join("back/deep/100% é#?.txt")).unwrap() == files[3].1);
    assert!(!path.join("back/one").exists() && !path.join("back/deep/er").exists());

    let mut command = haulier(path);
    let single = format!("{url}/one");
    let ended = command.args(["cp", "--dry-run", "--source-options", &options, &single, "one"]).output().unwrap();
    let said = String::from_utf8(ended.stdout).unwrap();
    assert!(ended.status.success() && said.contains("would copy         100000  "), "{said}");
    assert!(!path.join("one").exists());
}

/// There, there again, and back.
fn round_trip(url: &str, options: &Value) {
    let (folder, _) = options_of(url, options);
    let files = plant(&folder.path().join("tree"));
    let there = ["tree", url, "--target-options", "@options"];
    let (code, report, said) = copied(folder.path(), &there);
    assert_eq!((code, &report["copied"]), (Some(0), &json!(4)), "{report} {said}");
    let (code, report, said) = copied(folder.path(), &there);
    assert_eq!((code, &report["copied"], &report["skipped"]), (Some(0), &json!(0), &json!(4)), "{report} {said}");
    let (code, report, said) = copied(folder.path(), &[url, "back", "--source-options", "@options"]);
    assert_eq!((code, &report["copied"]), (Some(0), &json!(4)), "{report} {said}");
    for (name, bytes) in files {
        assert!(fs::read(folder.path().join("back").join(name)).unwrap() == bytes, "{name}");
    }
    let missing = format!("{url}-missing");
    let (code, _, said) = copied(folder.path(), &[&missing, "none", "--source-options", "@options"]);
    assert_eq!(code, Some(3), "{said}");
}

#[test]
fn a_tree_goes_to_s3_and_back_and_what_fails_fails_alone() {
    let mut options = server("HAULIER_TEST_S3");
    let bucket = options.as_object_mut().unwrap().remove("bucket").unwrap();
    let url = format!("s3://{}/trees-{}/a", bucket.as_str().unwrap(), std::process::id());
    round_trip(&url, &options);
    dry_and_filtered(&format!("{url}-dry"), &options);

    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), b"x").unwrap();
    fs::write(folder.path().join("options"), options.to_string()).unwrap();
    let odd = format!("{url}/odd");
    // A folder stands where the object would go.
    fs::create_dir_all(folder.path().join("back/odd/inside")).unwrap();
    let mut command = haulier(folder.path());
    assert!(command.args(["cp", "file", &odd, "--target-options", "@options"]).status().unwrap().success());
    let single = |arguments: &[&str]| -> Value {
        let mut command = haulier(folder.path());
        let ended = command.args(["-o", "json", "cp"]).args(arguments).output().unwrap();
        serde_json::from_slice(&ended.stdout).unwrap()
    };
    // What the store says proves both ways; a SHA-256 is computed for who asks.
    let up = single(&["file", &odd, "--target-options", "@options"]);
    assert_eq!((&up["verified_by"], &up["checksum"]), (&json!("store:crc64nvme"), &Value::Null));
    let down = single(&[&odd, "single", "--source-options", "@options"]);
    assert_eq!((&down["verified_by"], &down["checksum"]), (&json!("source:crc64nvme"), &Value::Null));
    let down = single(&[&odd, "single", "--source-options", "@options", "--sha256"]);
    assert_eq!(down["verified_by"], "source:crc64nvme");
    assert_eq!(down["checksum"], "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881");
    let (code, report, said) = copied(folder.path(), &[&url, "back", "--source-options", "@options"]);
    assert_eq!((code, &report["copied"], &report["failed"]), (Some(6), &json!(4), &json!(1)), "{report} {said}");
    assert!(said.contains("odd") && folder.path().join("back/odd/inside").exists(), "{said}");
}

#[test]
fn a_tree_goes_over_sftp_and_back() {
    let server = server("HAULIER_TEST_SFTP");
    let text = |name: &str| server[name].as_str().unwrap();
    let key = fs::read_to_string(text("private_key_file")).unwrap();
    let (user, address, folder) = (text("user"), text("address"), text("folder"));
    let url = format!("sftp://{user}@{address}{folder}/trees-{}", std::process::id());
    let options = json!({"private_key": key, "host_key": text("host_key")});
    round_trip(&url, &options);
    dry_and_filtered(&format!("{url}-dry"), &options);
}

#[test]
fn a_tree_goes_over_webdav_and_back() {
    let server = server("HAULIER_TEST_WEBDAV");
    let url = format!("webdav://{}/trees-{}", server["address"].as_str().unwrap(), std::process::id());
    let options = json!({"user": server["user"], "password": server["password"]});
    round_trip(&url, &options);
    dry_and_filtered(&format!("{url}-dry"), &options);
}

//! Names of objects are kept exactly: E8 to E15.

use haulier_testkit::both_databases;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::raw;
use crate::site::{Site, Sites};

const BUCKET: &str = "/cloudclonestore/names";

async fn one(t: haulier_testkit::catalog::TestCatalog) -> Sites {
    let sites = Sites::with(t, 1, Default::default()).await;
    sites[0].upload(BUCKET, "").await.expect(201);
    sites
}

fn path(name: &str) -> String {
    let segments: Vec<_> = name.split('/').map(|s| utf8_percent_encode(s, NON_ALPHANUMERIC).to_string()).collect();
    format!("{BUCKET}/{}", segments.join("/"))
}

async fn listed(site: &Site) -> Vec<String> {
    let text = site.send(reqwest::Method::PUT, BUCKET, &[], "").await.expect(200).text();
    let name =
        |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["name"].as_str().unwrap().to_owned();
    text.lines().map(name).collect()
}

both_databases! {
    async fn e8_e9_e10_names_are_what_was_written(t: TestCatalog) {
        let sites = one(t).await;
        let site = &sites[0];
        let mut names = vec!["dir one/file two.txt", "été/çà.txt", "日本.txt", "a@b", "a+b", "a;b", "100%", "e\u{301}", "é", "~'\"<>|"];
        for name in &names {
            let made = site.upload(&path(name), (*name).to_owned()).await.expect(201);
            assert_eq!(made.json()["name"], *name);
        }
        for name in &names {
            let got = site.get(&path(name)).await.expect(200);
            assert_eq!(got.text(), *name, "each has its own content");
            let header = got.header("name").unwrap();
            let read = percent_encoding::percent_decode_str(header).decode_utf8().unwrap();
            assert_eq!((&*read, header.is_ascii()), (*name, true));
        }
        names.sort_unstable();
        assert_eq!(listed(site).await, names);
        site.get(&path("dir_one/file_two.txt")).await.expect(404);
        site.get(&path("ab")).await.expect(404);
        sites.end().await;
    }

    async fn e11_e12_slashes(t: TestCatalog) {
        let sites = one(t).await;
        let site = &sites[0];
        assert_eq!(raw::ask(site, "POST", &format!("{BUCKET}/a%2Fb%2Fc")).await, 201);
        assert_eq!(raw::ask(site, "POST", &format!("{BUCKET}/a/b/c")).await, 409);
        assert_eq!(raw::ask(site, "POST", &format!("{BUCKET}//x/y")).await, 201);
        assert_eq!(raw::ask(site, "POST", &format!("{BUCKET}/%2Fx/y")).await, 409);
        assert_eq!(raw::ask(site, "POST", &format!("{BUCKET}/x//y")).await, 400);
        assert_eq!(raw::ask(site, "POST", &format!("{BUCKET}/%5Cx%5Cy")).await, 201);
        assert_eq!(listed(site).await, ["\\x\\y", "a/b/c", "x/y"]);
        sites.end().await;
    }

    async fn e13_nothing_reaches_out_of_the_store(t: TestCatalog) {
        let sites = one(t).await;
        let site = &sites[0];
        for name in ["..%2F..%2Fetc%2Fpasswd", "a/%2e%2e/b", "a/./b", "..", ".", "%00", "a%0Ab", "a%C2%85b", "a%", "a%zz", "%FF", ""] {
            for method in ["POST", "GET", "HEAD", "DELETE"] {
                assert_eq!(raw::ask(site, method, &format!("{BUCKET}/{name}")).await, 400, "{method} {name}");
            }
        }
        assert_eq!(listed(site).await, Vec::<String>::new());
        sites.end().await;
    }

    async fn e14_the_longest_name(t: TestCatalog) {
        let sites = one(t).await;
        let site = &sites[0];
        let long = "é".repeat(512);
        site.upload(&path(&long), "x").await.expect(201);
        site.upload(&path(&format!("{long}x")), "x").await.expect(400);
        assert_eq!(listed(site).await, [long]);
        sites.end().await;
    }

    async fn e15_folders_are_only_seen(t: TestCatalog) {
        let sites = one(t).await;
        let site = &sites[0];
        assert_eq!(raw::ask(site, "POST", &format!("{BUCKET}/dir/")).await, 400);
        site.upload(&path("dir/x"), "x").await.expect(201);
        for (path, what) in [("dir/x", "OBJECT"), ("dir", "DIRECTORY"), ("dir/", "DIRECTORY"), ("di", "DIRECTORY")] {
            let seen = site.head(&format!("{BUCKET}/{path}")).await.expect(204);
            assert_eq!(seen.header("type"), Some(what), "{path}");
            let checked = site.head(&format!("{BUCKET}/{path}?fullCheck=TRUE")).await.expect(204);
            assert_eq!(checked.header("type"), Some(what), "{path}");
        }
        for path in ["dix", "dir/y", "dir/x/"] {
            assert_eq!(site.head(&format!("{BUCKET}/{path}")).await.expect(404).header("type"), Some("NONE"), "{path}");
        }
        site.get(&format!("{BUCKET}/dir")).await.expect(404);
        site.delete(&path("dir/x")).await.expect(204);
        site.head(&format!("{BUCKET}/dir")).await.expect(404);
        sites.end().await;
    }
}

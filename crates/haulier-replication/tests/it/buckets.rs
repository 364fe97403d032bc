//! Buckets of clients: E1 to E7, E36, E37.

use haulier_testkit::both_databases;
use reqwest::Method;

use crate::raw;
use crate::site::{CLIENT, Site, Sites};

const OTHER: (&str, &str) = ("x-clonecloudstore-client-id", "client-two");

async fn create(site: &Site, path: &str) -> u16 {
    site.upload(path, "").await.status
}

both_databases! {
    async fn e1_e2_a_bucket_is_created_once(t: TestCatalog) {
        let sites = Sites::with(t, 1, Default::default()).await;
        let site = &sites[0];
        let made = site.upload("/cloudclonestore/invoices", "").await.expect(201);
        assert_eq!(made.header("module"), Some("ACCESSOR"));
        let view = made.json();
        assert_eq!((view["id"].as_str(), view["clientId"].as_str()), (Some("invoices"), Some(CLIENT)));
        assert_eq!((view["site"].as_str(), view["status"].as_str()), (Some("site-a"), Some("READY")));
        assert!(view["expires"].is_null() && view["creation"].as_str().unwrap().ends_with('Z'), "{view}");
        let again = site.upload("/cloudclonestore/invoices", "").await.expect(409);
        assert!(again.header("error").unwrap().starts_with("ACCESSOR - there is a bucket invoices"), "{again:?}");
        site.send(Method::POST, "/cloudclonestore/invoices", &[OTHER], "").await.expect(409);
        assert_eq!(site.get("/cloudclonestore/invoices").await.expect(200).json(), view);
        assert_eq!(site.head("/cloudclonestore/invoices").await.expect(204).header("type"), Some("BUCKET"));
        sites.end().await;
    }

    async fn e3_a_bucket_is_deleted_by_its_owner_when_it_is_empty(t: TestCatalog) {
        let sites = Sites::with(t, 1, Default::default()).await;
        let site = &sites[0];
        create(site, "/cloudclonestore/full").await;
        site.upload("/cloudclonestore/full/a", "x").await.expect(201);
        site.send(Method::DELETE, "/cloudclonestore/full", &[OTHER], "").await.expect(403);
        site.delete("/cloudclonestore/full").await.expect(406);
        site.delete("/cloudclonestore/full/a").await.expect(204);
        site.delete("/cloudclonestore/full").await.expect(204);
        site.delete("/cloudclonestore/full").await.expect(410);
        site.send(Method::DELETE, "/cloudclonestore/full", &[OTHER], "").await.expect(410);
        site.delete("/cloudclonestore/never").await.expect(404);
        site.get("/cloudclonestore/full").await.expect(410);
        let gone = site.head("/cloudclonestore/full").await.expect(404);
        assert_eq!(gone.header("type"), Some("NONE"));
        assert!(gone.header("error").is_some() && gone.header("op-id").is_some(), "{gone:?}");
        site.upload("/cloudclonestore/full/a", "x").await.expect(404);
        site.get("/cloudclonestore/full/a").await.expect(404);
        site.send(Method::PUT, "/cloudclonestore/full", &[], "").await.expect(404);
        sites.end().await;
    }

    async fn e6_a_deleted_bucket_gets_another_owner(t: TestCatalog) {
        let sites = Sites::with(t, 1, Default::default()).await;
        let site = &sites[0];
        create(site, "/cloudclonestore/shared").await;
        site.post("/administration/ownerships/client-two/shared/READ", "".into()).await.expect(201);
        site.delete("/cloudclonestore/shared").await.expect(204);
        site.get("/administration/ownerships/client-two/shared").await.expect(404);
        let made = site.send(Method::POST, "/cloudclonestore/shared", &[OTHER], "").await.expect(201).json();
        assert_eq!(made["clientId"], "client-two");
        site.upload("/cloudclonestore/shared/a", "x").await.expect(403);
        site.send(Method::POST, "/cloudclonestore/shared/a", &[OTHER], "x").await.expect(201);
        assert_eq!(site.get("/cloudclonestore").await.expect(200).json(), serde_json::json!([]));
        let theirs = site.send(Method::GET, "/cloudclonestore", &[OTHER], "").await.expect(200).json();
        assert_eq!(theirs.as_array().unwrap().len(), 1);
        sites.end().await;
    }

    async fn e7_bad_names_of_buckets_are_refused_everywhere(t: TestCatalog) {
        let sites = Sites::with(t, 1, Default::default()).await;
        let site = &sites[0];
        let long = "a".repeat(64);
        for name in ["ab", &long, "Upper", "a_b", "a.b", "a%20b", "a%2Fb", "a%", "%ff"] {
            for mount in ["/cloudclonestore", "/ccs/internal"] {
                for (method, rest) in [
                    ("GET", ""), ("HEAD", ""), ("PUT", ""), ("POST", ""), ("DELETE", ""),
                    ("GET", "/x"), ("HEAD", "/x"), ("POST", "/x"), ("DELETE", "/x"),
                ] {
                    let expected = if mount == "/ccs/internal" && matches!(method, "POST" | "DELETE") { 405 } else { 400 };
                    let path = format!("{mount}/{name}{rest}");
                    assert_eq!(raw::ask(site, method, &path).await, expected, "{method} {path}");
                }
            }
        }
        sites.end().await;
    }

    async fn e36_e37_methods_and_the_client_are_checked(t: TestCatalog) {
        let sites = Sites::with(t, 1, Default::default()).await;
        let site = &sites[0];
        for path in ["/cloudclonestore", "/cloudclonestore/abc", "/cloudclonestore/abc/x", "/administration/topologies"] {
            let refused = site.send(Method::PATCH, path, &[], "x").await.expect(405);
            assert!(refused.header("error").unwrap().contains("PATCH"), "{refused:?}");
            assert!(refused.header("op-id").is_some() && refused.header("module").is_some(), "{refused:?}");
        }
        for client in ["", "ab", "Client-One", "a_b_c", &"x".repeat(64)] {
            for method in [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE] {
                let headers = [("x-clonecloudstore-client-id", client)];
                let refused = site.send(method.clone(), "/cloudclonestore/abc", &headers, "").await.expect(400);
                assert!(refused.header("error").unwrap().contains("client-id"), "{refused:?}");
            }
        }
        sites.end().await;
    }

    async fn the_operation_id_is_echoed_or_made(t: TestCatalog) {
        let sites = Sites::with(t, 1, Default::default()).await;
        let site = &sites[0];
        for path in ["/cloudclonestore", "/cloudclonestore/none", "/administration/topologies/none"] {
            let told = site.send(Method::GET, path, &[("x-clonecloudstore-op-id", "trace me")], "").await;
            assert_eq!(told.header("op-id"), Some("trace me"));
            let made = site.send(Method::GET, path, &[("x-clonecloudstore-op-id", " ")], "").await;
            assert!(!made.header("op-id").unwrap().trim().is_empty());
        }
        sites.end().await;
    }

    async fn a_client_lists_its_buckets_by_name(t: TestCatalog) {
        let sites = Sites::with(t, 1, Default::default()).await;
        let site = &sites[0];
        for name in ["b-two", "b-one", "b-three"] {
            assert_eq!(create(site, &format!("/cloudclonestore/{name}")).await, 201);
        }
        site.delete("/cloudclonestore/b-three").await.expect(204);
        let listed = site.get("/cloudclonestore").await.expect(200).json();
        let names: Vec<_> = listed.as_array().unwrap().iter().map(|bucket| bucket["id"].as_str().unwrap()).collect();
        assert_eq!(names, ["b-one", "b-two"]);
        sites.end().await;
    }
}

//! Every route asks for a token, and keeps to the client that it is bound to: E38, contract §1.5.

use haulier_access::{AuthMode, Caller, StaticToken};
use haulier_base::Secret;
use haulier_testkit::both_databases;
use reqwest::Method;

use crate::site::{CLIENT, Sites};

fn tokens() -> AuthMode {
    let token = |token: &str, roles: &[&str], client_id: Option<&str>| StaticToken {
        token: Secret::new(token.to_owned()),
        caller: Caller {
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            client_id: client_id.map(str::to_owned),
            ..Caller::named(token)
        },
    };
    AuthMode::Static(vec![
        token("bound", &[], Some("client-two")),
        token("own", &[], Some(CLIENT)),
        token("site", &["site"], None),
        token("admin", &["admin"], None),
    ])
}

/// Every method and path of the room's own description, with names filled in.
fn routes() -> Vec<(Method, String)> {
    let described = serde_json::to_value(haulier_replication::openapi()).unwrap();
    let mut routes = Vec::new();
    for (path, methods) in described["paths"].as_object().unwrap() {
        let filled: Vec<_> = path.split('/').map(|part| if part.starts_with('{') { "abc" } else { part }).collect();
        for method in methods.as_object().unwrap().keys() {
            if let Ok(method) = method.to_uppercase().parse::<Method>() {
                routes.push((method, filled.join("/")));
            }
        }
    }
    assert!(routes.len() > 25, "{routes:?}");
    routes
}

both_databases! {
    async fn e38_every_route_asks_for_a_token(t: TestCatalog) {
        let sites = Sites::guarded(t, 1, Default::default(), tokens(), None).await;
        let site = &sites[0];
        for (method, path) in routes() {
            for headers in [&[][..], &[("authorization", "Bearer wrong")], &[("x-auth-token", "wrong")]] {
                let refused = site.send(method.clone(), &path, headers, "{").await;
                assert_eq!(refused.status, 401, "{method} {path}");
                if !path.starts_with("/haulier/") {
                    assert!(refused.header("error").is_some() && refused.header("op-id").is_some(), "{method} {path}");
                }
            }
            let bound = [("authorization", "Bearer bound"), ("content-type", "application/json")];
            assert_eq!(site.send(method.clone(), &path, &bound, "{").await.status, 403, "{method} {path}");
        }
        // Before the method and the names are looked at.
        site.send(Method::PATCH, "/cloudclonestore/A_B", &[], "x").await.expect(401);
        site.send(Method::POST, "/cloudclonestore/A_B/x", &[("x-clonecloudstore-client-id", "")], "x").await.expect(401);
        sites.end().await;
    }

    async fn tokens_open_what_they_are_for(t: TestCatalog) {
        let sites = Sites::guarded(t, 1, Default::default(), tokens(), None).await;
        let site = &sites[0];
        let own = [("x-auth-token", "own")];
        site.send(Method::POST, "/cloudclonestore/abc", &own, "").await.expect(201);
        site.send(Method::POST, "/cloudclonestore/abc/x", &own, "x").await.expect(201);
        site.send(Method::GET, "/ccs/internal/abc", &own, "").await.expect(403);
        site.send(Method::GET, "/administration/topologies", &own, "").await.expect(403);
        let other = [("x-auth-token", "site")];
        site.send(Method::GET, "/ccs/internal/abc/x", &other, "").await.expect(200);
        site.send(Method::GET, "/administration/topologies", &other, "").await.expect(403);
        site.send(Method::GET, "/haulier/v1/replication/sites", &other, "").await.expect(403);
        let admin = [("authorization", "Bearer admin")];
        site.send(Method::GET, "/administration/topologies", &admin, "").await.expect(200);
        site.send(Method::GET, "/haulier/v1/replication/sites", &admin, "").await.expect(200);
        site.send(Method::GET, "/ccs/internal/abc/x", &admin, "").await.expect(200);
        sites.end().await;
    }
}

//! How fast orders travel: printed, and only a breakdown fails. `HAULIER_SPEED_OBJECTS` says how many objects; the bars
//! are for a release build on a quiet machine.

use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use haulier_testkit::both_databases;
use reqwest::Method;
use tokio::time::Instant;

use crate::site::Sites;

#[expect(clippy::disallowed_methods, reason = "a larger run is asked for by the environment")]
fn objects() -> u64 {
    std::env::var("HAULIER_SPEED_OBJECTS").ok().and_then(|text| text.parse().ok()).unwrap_or(200)
}

#[expect(clippy::print_stdout, reason = "figures are for whoever asked for them")]
fn tell(figure: &str) {
    println!("{figure}");
}

both_databases! {
    async fn catching_up_and_keeping_up(t: TestCatalog) {
        let sites = Sites::with(t, 2, Default::default()).await;
        let (a, b) = (&sites[0], &sites[1]);
        a.send(Method::POST, "/cloudclonestore/bucket", &[], "").await.expect(201);
        b.wait_until("/replicator/remote/buckets/bucket", |answer| answer.status == 200).await;
        sites.cut_off(1, true);
        let count = objects();
        let began = Instant::now();
        let put = |n: u64| async move {
            a.upload(&format!("/cloudclonestore/bucket/o{n}"), format!("{n} ").repeat(700)).await.expect(201);
        };
        stream::iter(0..count).map(put).buffer_unordered(16).collect::<Vec<_>>().await;
        tell(&format!("{count} uploads: {:.0}/s", count as f64 / began.elapsed().as_secs_f64()));
        sites.cut_off(1, false);
        // From the first that arrives: the wait for the next try is not the speed.
        b.wait_until("/haulier/v1/replication/orders?limit=1", |answer| {
            !answer.json()["orders"].as_array().unwrap().is_empty()
        })
        .await;
        let began = Instant::now();
        loop {
            let status = a.get("/haulier/v1/replication/status").await.json();
            let left = b.get("/haulier/v1/replication/received/site-a").await.json();
            if status["sites"][0]["outgoing"]["orders"] == 0 && left["orders"] == 0 {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(300), "{left}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tell(&format!("{count} caught up: {:.0}/s", count as f64 / began.elapsed().as_secs_f64()));
        let mut lags = Vec::new();
        for n in 0..100 {
            let pace = tokio::time::sleep(Duration::from_millis(10));
            let path = format!("o-late-{n}");
            a.upload(&format!("/cloudclonestore/bucket/{path}"), "x".repeat(4096)).await.expect(201);
            let done = Instant::now();
            if n % 5 == 0 {
                while b.head(&format!("/replicator/remote/buckets/bucket/{path}")).await.status != 204 {
                    assert!(done.elapsed() < Duration::from_secs(20));
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                lags.push(done.elapsed());
            }
            pace.await;
        }
        lags.sort();
        tell(&format!("lag: p50 {:?}, worst {:?}", lags[lags.len() / 2], lags[lags.len() - 1]));
        sites.end().await;
    }
}

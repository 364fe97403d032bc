//! Callers that stop waiting, as when a client hangs up: nobody after them notices.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use haulier_catalog::{Catalog, Sql, args};
use haulier_testkit::both_databases;

const ADD: Sql = Sql::both("INSERT INTO leases (name, holder, held_until) VALUES ($1, 'a', 0)");

/// Polls some work so many times, whenever it can go on, and drops it; whether it came to its end before.
async fn stop_waiting<T>(work: impl Future<Output = T>, mut polls: usize) -> bool {
    let mut work = pin!(work);
    poll_fn(|cx| {
        if polls == 0 {
            return Poll::Ready(false);
        }
        polls -= 1;
        work.as_mut().poll(cx).map(|_| true)
    })
    .await
}

async fn write_and_forget(catalog: &Catalog, name: String) -> haulier_base::Result<()> {
    let mut tx = catalog.begin("forgotten").await?;
    tx.execute(ADD, args![name]).await?;
    drop(tx);
    let mut tx = catalog.read().await?;
    tx.fetch_all(Sql::both("SELECT name FROM leases"), args![]).await.map(drop)
}

both_databases! {
    async fn whoever_comes_after_a_dropped_caller_can_work(t: TestCatalog) {
        let mut dropped = 0;
        for round in 0..400 {
            let polls = 1 + round % 12;
            dropped += u32::from(!stop_waiting(write_and_forget(&t.catalog, format!("gone-{round}")), polls).await);
            let mut tx = t.catalog.begin("after").await.unwrap();
            tx.execute(ADD, args![format!("kept-{round}")]).await.unwrap();
            tx.commit().await.unwrap();
            let mut tx = t.catalog.read().await.unwrap();
            let count = Sql::both("SELECT COUNT(*) AS n FROM leases");
            let row = tx.fetch_optional(count, args![]).await.unwrap().unwrap();
            assert_eq!(row.int("n").unwrap(), round as i64 + 1, "what was dropped after {polls} polls left nothing");
        }
        assert!(dropped > 20, "only {dropped} callers were dropped");
    }
}

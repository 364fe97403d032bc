//! The line of events.

use haulier_catalog::events::{self, NewEvent};
use haulier_testkit::both_databases;

both_databases! {
    async fn positions_have_no_gaps_however_commits_overlap(t: TestCatalog) {
        let mut running = tokio::task::JoinSet::new();
        for n in 0..40 {
            let catalog = t.catalog.clone();
            running.spawn(async move {
                let mut tx = catalog.begin("publish").await.unwrap();
                let new = NewEvent {
                    kind: "test.happened".into(), subject: n.to_string(), owner: "o".into(), body: n.into(),
                };
                events::publish(&mut tx, new).await.unwrap();
                // Every fourth one never becomes true.
                match n % 4 {
                    0 => drop(tx),
                    _ => tx.commit().await.unwrap(),
                }
                let mut tx = catalog.begin("position").await.unwrap();
                events::position_pending(&mut tx, 7).await.unwrap();
                tx.commit().await.unwrap();
            });
        }
        running.join_all().await;
        let mut tx = t.catalog.begin("position").await.unwrap();
        while events::position_pending(&mut tx, 7).await.unwrap() > 0 {}
        let read = events::read_after(&mut tx, 0, 1000).await.unwrap();
        let positions: Vec<_> = read.iter().map(|event| event.position.unwrap()).collect();
        assert_eq!(positions, (1..=30).collect::<Vec<_>>());
        assert_eq!(events::read_after(&mut tx, 28, 1000).await.unwrap().len(), 2);
        t.clock.advance(std::time::Duration::from_secs(1));
        assert_eq!(events::prune(&mut tx, t.catalog.now(), 1000).await.unwrap(), 30);
        assert_eq!(events::last_position(&mut tx).await.unwrap(), 30, "pruning gives no position back");
    }
}

//! Commit, rollback, isolation.

use std::sync::Arc;

use haulier_base::{Error, ErrorKind};
use haulier_catalog::{Catalog, Dialect, Sql, args, leases};
use haulier_testkit::both_databases;

const ADD: Sql = Sql::both("INSERT INTO leases (name, holder, held_until) VALUES ($1, $2, 0)");

const ADD_EVENT: Sql =
    Sql::both("INSERT INTO events (id, kind, subject, owner, body, at) VALUES ($1, 'k', 's', 'o', '{}', 0)");

async fn add(catalog: &Catalog, name: &str) -> haulier_base::Result<()> {
    let mut tx = catalog.begin("add").await?;
    tx.execute(ADD, args![name, "a"]).await?;
    tx.commit().await
}

async fn names(catalog: &Catalog) -> Vec<String> {
    let mut tx = catalog.read().await.unwrap();
    let rows = tx.fetch_all(Sql::both("SELECT name FROM leases ORDER BY name"), args![]).await.unwrap();
    rows.iter().map(|row| row.text("name").unwrap()).collect()
}

both_databases! {
    async fn a_dropped_transaction_leaves_nothing(t: TestCatalog) {
        let mut tx = t.catalog.begin("dropped").await.unwrap();
        tx.execute(ADD, args!["gone", "a"]).await.unwrap();
        assert!(names(&t.catalog).await.is_empty(), "not seen before the commit");
        drop(tx);
        add(&t.catalog, "kept").await.unwrap();
        assert_eq!(names(&t.catalog).await, ["kept"]);
    }

    async fn what_was_committed_survives_a_restart(t: TestCatalog) {
        let mut tx = t.catalog.begin("kept").await.unwrap();
        tx.execute(ADD_EVENT, args!["kept"]).await.unwrap();
        tx.commit().await.unwrap();
        t.reopen().await;
        let mut tx = t.catalog.read().await.unwrap();
        let rows = tx.fetch_all(Sql::both("SELECT id FROM events"), args![]).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.text("id").unwrap()).collect::<Vec<_>>(), ["kept"]);
    }

    async fn a_failing_transaction_does_not_hurt_its_neighbours(t: TestCatalog) {
        add(&t.catalog, "n0").await.unwrap();
        let mut running = tokio::task::JoinSet::new();
        for n in 0..64 {
            let catalog = t.catalog.clone();
            // Every other one meets the record that is there already.
            running.spawn(async move { (n, add(&catalog, &format!("n{}", if n % 2 == 0 { 0 } else { n })).await) });
        }
        for (n, outcome) in running.join_all().await {
            match n % 2 {
                0 => assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Conflict),
                _ => outcome.unwrap(),
            }
        }
        assert_eq!(names(&t.catalog).await.len(), 33);
    }

    async fn after_a_failed_statement_nothing_can_be_committed(t: TestCatalog) {
        let mut tx = t.catalog.begin("failing").await.unwrap();
        tx.execute(ADD, args!["a", "a"]).await.unwrap();
        assert_eq!(tx.execute(ADD, args!["a", "a"]).await.unwrap_err().kind(), ErrorKind::Conflict);
        assert!(tx.commit().await.is_err());
        assert!(names(&t.catalog).await.is_empty());
    }

    async fn what_is_run_later_is_seen_by_what_follows(t: TestCatalog) {
        let mut tx = t.catalog.begin("later").await.unwrap();
        tx.execute_later(ADD, args!["a", "a"]).await.unwrap();
        assert_eq!(tx.execute(Sql::both("UPDATE leases SET holder = 'b' WHERE name = 'a'"), args![]).await.unwrap(), 1);
        tx.execute_later(ADD, args!["b", "a"]).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(names(&t.catalog).await, ["a", "b"]);
    }

    async fn what_fails_later_fails_the_whole_transaction(t: TestCatalog) {
        add(&t.catalog, "there").await.unwrap();
        let both = async {
            let mut tx = t.catalog.begin("later").await?;
            tx.execute_later(ADD, args!["new", "a"]).await?;
            tx.execute_later(ADD, args!["there", "a"]).await?;
            tx.commit().await
        };
        assert_eq!(both.await.unwrap_err().kind(), ErrorKind::Conflict);
        let other_count = async {
            let mut tx = t.catalog.begin("later").await?;
            tx.execute_later(ADD, args!["new", "a"]).await?;
            let none = Sql::both("DELETE FROM leases WHERE name = 'nowhere'");
            tx.expect_one_later(none, args![], Error::lost_lease("not one")).await?;
            tx.execute(ADD, args!["more", "a"]).await?;
            tx.commit().await
        };
        assert_eq!(other_count.await.unwrap_err().kind(), ErrorKind::LostLease);
        assert_eq!(names(&t.catalog).await, ["there"]);
    }

    async fn a_second_row_with_a_unique_value_is_a_conflict(t: TestCatalog) {
        // Not the primary key: a unique index of its own.
        let mut tx = t.catalog.begin("first").await.unwrap();
        tx.execute(ADD_EVENT, args!["same"]).await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = t.catalog.begin("second").await.unwrap();
        assert_eq!(tx.execute(ADD_EVENT, args!["same"]).await.unwrap_err().kind(), ErrorKind::Conflict);
    }

    async fn a_read_sees_one_moment_and_cannot_write(t: TestCatalog) {
        let mut tx = t.catalog.read().await.unwrap();
        let count = Sql::both("SELECT COUNT(*) AS n FROM leases");
        assert_eq!(tx.fetch_optional(count.clone(), args![]).await.unwrap().unwrap().int("n").unwrap(), 0);
        add(&t.catalog, "later").await.unwrap();
        assert_eq!(tx.fetch_optional(count, args![]).await.unwrap().unwrap().int("n").unwrap(), 0);
        assert!(tx.execute(ADD, args!["mine", "a"]).await.is_err());
    }

    async fn arguments_may_come_in_any_order(t: TestCatalog) {
        let mut tx = t.catalog.read().await.unwrap();
        let sql = Sql::both("SELECT CAST($2 AS TEXT) AS second, CAST($1 AS TEXT) AS first");
        let row = tx.fetch_optional(sql, args!["one", "two"]).await.unwrap().unwrap();
        assert_eq!((row.text("first").unwrap(), row.text("second").unwrap()), ("one".into(), "two".into()));
    }

    async fn a_role_has_one_holder_at_a_time(t: TestCatalog) {
        let span = std::time::Duration::from_secs(10);
        let mut tx = t.catalog.begin("roles").await.unwrap();
        assert!(leases::hold(&mut tx, "dispatcher", "a", span).await.unwrap());
        assert!(leases::hold(&mut tx, "dispatcher", "a", span).await.unwrap());
        assert!(!leases::hold(&mut tx, "dispatcher", "b", span).await.unwrap());
        tx.commit().await.unwrap();
        t.clock.advance(span);
        let mut tx = t.catalog.begin("roles").await.unwrap();
        assert!(leases::hold(&mut tx, "dispatcher", "b", span).await.unwrap());
    }

    async fn a_file_has_one_process_at_a_time(t: TestCatalog) {
        let second = Catalog::open(&t.url, Arc::new(t.clock.clone())).await;
        match t.catalog.dialect() {
            Dialect::Sqlite => assert_eq!(second.unwrap_err().kind(), ErrorKind::Conflict),
            Dialect::Postgres => second.unwrap().close().await.unwrap(),
        }
    }

    async fn a_wake_reaches_who_waited_before_it(t: TestCatalog) {
        let woken = t.catalog.woken();
        t.catalog.wake_workers();
        woken.await;
        assert!(t.catalog.check().await.unwrap().is_sound());
        t.catalog.close().await.unwrap();
    }
}

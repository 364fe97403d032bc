//! The two schemas agree, and a database from the future is refused.

use std::collections::BTreeSet;
use std::sync::Arc;

use haulier_base::ErrorKind;
use haulier_catalog::{Catalog, Sql, args, migrate, schedules};
use haulier_testkit::both_databases;
use haulier_testkit::catalog::{Database, TestCatalog};

async fn columns(database: Database) -> BTreeSet<(String, String)> {
    const COLUMNS: Sql = Sql::each(
        "SELECT m.name AS \"table\", c.name AS \"column\" FROM sqlite_schema AS m, pragma_table_info(m.name) AS c
         WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%'",
        "SELECT CAST(table_name AS TEXT) AS \"table\", CAST(column_name AS TEXT) AS \"column\"
         FROM information_schema.columns WHERE table_schema = 'public'",
    );
    let t = TestCatalog::new(database).await;
    let mut tx = t.catalog.read().await.unwrap();
    let rows = tx.fetch_all(COLUMNS, args![]).await.unwrap();
    rows.iter().map(|row| (row.text("table").unwrap(), row.text("column").unwrap())).collect()
}

#[tokio::test]
async fn both_databases_have_the_same_tables_and_columns() {
    let sqlite = columns(Database::Sqlite).await;
    assert!(sqlite.contains(&("tasks".into(), "lease_until".into())));
    assert_eq!(sqlite, columns(Database::Postgres).await);
}

both_databases! {
    async fn a_database_from_the_future_is_refused(t: TestCatalog) {
        let mut tx = t.catalog.begin("future").await.unwrap();
        let add = Sql::both("INSERT INTO schema_migrations (version, name, checksum, applied_at) VALUES (999, '0999_x', '', 0)");
        tx.execute(add, args![]).await.unwrap();
        tx.commit().await.unwrap();
        t.catalog.close().await.unwrap();
        for refused in [
            Catalog::open(&t.url, Arc::new(t.clock.clone())).await.err(),
            Catalog::open_and_migrate(&t.url, Arc::new(t.clock.clone())).await.err(),
        ] {
            let error = refused.unwrap();
            assert_eq!(error.kind(), ErrorKind::Conflict);
            assert!(error.message().contains("newer"), "{error}");
        }
    }

    async fn migrating_twice_changes_nothing(t: TestCatalog) {
        t.catalog.close().await.unwrap();
        let before = migrate::migrate(&t.url, &t.clock).await.unwrap();
        assert_eq!(before.applied, before.known);
        assert_eq!(migrate::versions(&t.url).await.unwrap(), before);
    }

    async fn a_schedule_is_listed_when_it_is_due(t: TestCatalog) {
        let mut tx = t.catalog.begin("schedule").await.unwrap();
        let mut schedule = schedules::Schedule {
            id: "s".into(), subject: "x".into(), owner: "o".into(), expression: "daily".into(),
            time_zone: "UTC".into(), kind: "test.run".into(), payload: 1.into(), paused: false,
            next_at: Some(t.catalog.now()),
        };
        schedules::put(&mut tx, &schedule).await.unwrap();
        assert_eq!(schedules::list_due(&mut tx, 10).await.unwrap(), [schedule.clone()]);
        schedule.paused = true;
        schedules::put(&mut tx, &schedule).await.unwrap();
        assert!(schedules::list_due(&mut tx, 10).await.unwrap().is_empty());
        assert!(schedules::remove(&mut tx, "s").await.unwrap());
    }
}

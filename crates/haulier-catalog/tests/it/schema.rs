//! The two schemas agree, and a database from the future is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use haulier_base::ErrorKind;
use haulier_catalog::{Catalog, Sql, args, migrate, schedules};
use haulier_testkit::both_databases;
use haulier_testkit::catalog::{Database, TestCatalog};

/// What a column of a table is, in words that both databases have.
///
/// The index of search is left out: it is each database's own, under one name.
type Columns = BTreeMap<(String, String), (String, bool)>;

async fn columns(database: Database) -> Columns {
    const COLUMNS: Sql = Sql::each(
        "SELECT m.name AS \"table\", c.name AS \"column\", c.type AS type, c.\"notnull\" = 0 AND c.pk = 0 AS nullable
         FROM sqlite_schema AS m, pragma_table_info(m.name) AS c
         WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name NOT LIKE 'backup_search%'",
        "SELECT CAST(table_name AS TEXT) AS \"table\", CAST(column_name AS TEXT) AS \"column\",
         CAST(data_type AS TEXT) AS type, is_nullable = 'YES' AS nullable
         FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'backup_search'",
    );
    let t = TestCatalog::new(database).await;
    let mut tx = t.catalog.read().await.unwrap();
    let rows = tx.fetch_all(COLUMNS, args![]).await.unwrap();
    let column = |row: &haulier_catalog::Row| {
        // SQLite's own word for a number that is the key of its table.
        let kind = row.text("type").unwrap().to_lowercase().replace("integer", "bigint").replace("blob", "bytea");
        let name = (row.text("table").unwrap(), row.text("column").unwrap());
        (name, (kind, row.flag("nullable").unwrap()))
    };
    rows.iter().map(column).collect()
}

#[tokio::test]
async fn both_databases_have_the_same_tables_and_columns() {
    let sqlite = columns(Database::Sqlite).await;
    let of = |table: &str, column: &str| sqlite[&(table.to_owned(), column.to_owned())].clone();
    assert_eq!(of("tasks", "lease_until"), ("bigint".to_owned(), true));
    assert_eq!(of("tasks", "stop_asked"), ("boolean".to_owned(), false));
    assert_eq!(of("events", "position"), ("bigint".to_owned(), true));
    assert_eq!(sqlite, columns(Database::Postgres).await);
}

/// The indexes of our own, with their columns in order and whether a value may come twice.
async fn indexes(database: Database) -> BTreeSet<(String, String, bool, String)> {
    const INDEXES: Sql = Sql::each(
        "SELECT m.name AS \"table\", i.name AS name, i.\"unique\" = 1 AS only_once,
         (SELECT group_concat(name, ' ') FROM (SELECT name FROM pragma_index_info(i.name) ORDER BY seqno)) AS columns
         FROM sqlite_schema AS m, pragma_index_list(m.name) AS i WHERE m.type = 'table' AND i.origin = 'c'",
        "SELECT CAST(t.relname AS TEXT) AS \"table\", CAST(i.relname AS TEXT) AS name, x.indisunique AS only_once,
         (SELECT string_agg(CAST(a.attname AS TEXT), ' ' ORDER BY k.place)
          FROM unnest(x.indkey) WITH ORDINALITY AS k (number, place)
          JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = k.number) AS columns
         FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid JOIN pg_class AS t ON t.oid = x.indrelid
         JOIN pg_namespace AS n ON n.oid = t.relnamespace
         WHERE n.nspname = 'public' AND t.relname <> 'backup_search' AND NOT EXISTS (SELECT 1 FROM pg_constraint AS c WHERE c.conindid = x.indexrelid)",
    );
    let t = TestCatalog::new(database).await;
    let mut tx = t.catalog.read().await.unwrap();
    let rows = tx.fetch_all(INDEXES, args![]).await.unwrap();
    let text = |row: &haulier_catalog::Row, name: &str| row.text(name).unwrap();
    rows.iter()
        .map(|row| (text(row, "table"), text(row, "name"), row.flag("only_once").unwrap(), text(row, "columns")))
        .collect()
}

#[tokio::test]
async fn both_databases_have_the_same_indexes() {
    let sqlite = indexes(Database::Sqlite).await;
    let ready = ("tasks".into(), "tasks_ready_by_time".into(), false, "run_at seq owner kind".into());
    assert!(sqlite.contains(&ready), "{sqlite:?}");
    assert_eq!(sqlite, indexes(Database::Postgres).await);
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

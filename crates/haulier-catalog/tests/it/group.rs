//! When the outer commit of a group fails, nobody in the group is told that it worked.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use haulier_base::SystemClock;
use haulier_catalog::{Catalog, DatabaseUrl, Sql, Tx, args};
use haulier_testkit::catalog::{Database, TestCatalog};

/// Rounds until a group was large enough to show what is tested; usually it is the first one.
const ROUNDS_MAX: i64 = 200;
const NEIGHBOURS: i64 = 12;

async fn run(tx: &mut Tx, sql: &'static str) -> haulier_base::Result<u64> {
    tx.execute(Sql::both(sql), args![]).await
}

async fn add(catalog: Catalog, id: i64) -> haulier_base::Result<()> {
    let mut tx = catalog.begin("add").await?;
    tx.execute(Sql::both("INSERT INTO things (id, parent) VALUES ($1, NULL)"), args![id]).await?;
    tx.commit().await
}

/// Breaks a rule that SQLite looks at only when the outer transaction commits.
async fn add_orphan(catalog: Catalog, id: i64) -> haulier_base::Result<()> {
    let mut tx = catalog.begin("orphan").await?;
    tx.execute(Sql::both("INSERT INTO things (id, parent) VALUES ($1, -1)"), args![id]).await?;
    tx.commit().await
}

async fn present(catalog: &Catalog) -> BTreeSet<i64> {
    let mut tx = catalog.read().await.unwrap();
    let rows = tx.fetch_all(Sql::both("SELECT id FROM things"), args![]).await.unwrap();
    rows.iter().map(|row| row.int("id").unwrap()).collect()
}

async fn make_things(catalog: &Catalog) {
    let mut tx = catalog.begin("make").await.unwrap();
    let make = "CREATE TABLE things (id BIGINT PRIMARY KEY, filler TEXT,
        parent BIGINT REFERENCES things (id) DEFERRABLE INITIALLY DEFERRED)";
    run(&mut tx, make).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_outer_commit_is_an_error_for_every_unit_in_it() {
    let mut t = TestCatalog::new(Database::Sqlite).await;
    make_things(&t.catalog).await;
    let (mut acknowledged, mut dragged_down) = (BTreeSet::new(), 0);
    for round in 0..ROUNDS_MAX {
        let mut units = tokio::task::JoinSet::new();
        for n in 0..NEIGHBOURS {
            let (catalog, id) = (t.catalog.clone(), round * 100 + n);
            let broken = n == NEIGHBOURS / 2;
            units.spawn(async move {
                let outcome = if broken { add_orphan(catalog, id).await } else { add(catalog, id).await };
                (id, broken, outcome)
            });
        }
        for (id, broken, outcome) in units.join_all().await {
            match outcome {
                Ok(()) => {
                    assert!(!broken, "the unit that broke the rule was told that it worked");
                    acknowledged.insert(id);
                }
                Err(_) => dragged_down += u32::from(!broken),
            }
        }
        // Exactly what was acknowledged is there: nobody was told wrong, in either direction.
        assert_eq!(present(&t.catalog).await, acknowledged, "round {round}");
        if dragged_down > 0 {
            t.reopen().await;
            assert_eq!(present(&t.catalog).await, acknowledged);
            return;
        }
    }
    panic!("no unit ever shared its outer commit with the broken one");
}

/// A tmpfs of 4 MiB, for a disk that is really full.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Self {
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(at).status().unwrap();
        assert!(mounted.success(), "mounting a tmpfs takes root");
        Self(at.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_acknowledges_nothing_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(folder.path());
    let url = DatabaseUrl::Sqlite(disk.0.join("haulier.db"));
    let catalog = Catalog::open_and_migrate(&url, Arc::new(SystemClock)).await.unwrap();
    make_things(&catalog).await;
    let (mut acknowledged, mut refused) = (BTreeSet::new(), 0);
    for round in 0..40 {
        let mut units = tokio::task::JoinSet::new();
        for n in 0..NEIGHBOURS {
            let (catalog, id) = (catalog.clone(), round * 100 + n);
            units.spawn(async move {
                let add = async {
                    let mut tx = catalog.begin("fill").await?;
                    let sql = Sql::both("INSERT INTO things (id, filler) VALUES ($1, $2)");
                    tx.execute(sql, args![id, "x".repeat(20_000)]).await?;
                    tx.commit().await
                };
                (id, add.await)
            });
        }
        for (id, outcome) in units.join_all().await {
            match outcome {
                Ok(()) => drop(acknowledged.insert(id)),
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 0 && !acknowledged.is_empty(), "{refused} refused, {} acknowledged", acknowledged.len());
    assert_eq!(present(&catalog).await, acknowledged);
    catalog.close().await.unwrap();
    let again = Catalog::open(&url, Arc::new(SystemClock)).await.unwrap();
    assert_eq!(present(&again).await, acknowledged, "after opening it again");
    again.close().await.unwrap();
}

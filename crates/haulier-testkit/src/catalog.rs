//! A fresh, migrated catalogue per test, on either database.
//!
//! PostgreSQL is the server that `HAULIER_TEST_POSTGRES` names, or a throw-away one of this machine.

mod server;

use std::sync::Arc;

use haulier_base::{ManualClock, Secret};
use haulier_catalog::{Catalog, DatabaseUrl};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::clock::manual_clock;

/// Which database a test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    /// A file in a folder of the test's own.
    Sqlite,
    /// A database of the test's own on a shared server.
    Postgres,
}

impl Database {
    /// Every database that Haulier runs on.
    pub const ALL: [Self; 2] = [Self::Sqlite, Self::Postgres];
}

/// A catalogue for one test; what it leaves behind is removed when it is dropped.
#[derive(Debug)]
pub struct TestCatalog {
    /// The catalogue, migrated and empty.
    pub catalog: Catalog,
    /// The catalogue's clock.
    pub clock: ManualClock,
    /// Where the database is, to open it again.
    pub url: DatabaseUrl,
    /// Which database it is.
    pub database: Database,
    folder: tempfile::TempDir,
    _dropped: Option<DropDatabase>,
}

impl TestCatalog {
    /// Makes a fresh catalogue.
    pub async fn new(database: Database) -> Self {
        let test = Self::fresh(database).await;
        let catalog = Catalog::open_and_migrate(&test.0, Arc::new(test.1.clone())).await;
        let catalog = catalog.expect("a fresh database can be migrated");
        let (url, clock, folder, dropped) = test;
        Self { catalog, clock, url, database, folder, _dropped: dropped }
    }

    async fn fresh(database: Database) -> (DatabaseUrl, ManualClock, tempfile::TempDir, Option<DropDatabase>) {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let (url, dropped) = match database {
            Database::Sqlite => (DatabaseUrl::Sqlite(folder.path().join("haulier.db")), None),
            Database::Postgres => {
                let dropped = DropDatabase::create().await;
                (DatabaseUrl::Postgres(Secret::new(dropped.url())), Some(dropped))
            }
        };
        (url, manual_clock(), folder, dropped)
    }

    /// A folder that lives as long as the test.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Closes the catalogue and opens it again, as after a restart.
    pub async fn reopen(&mut self) {
        self.catalog.close().await.expect("the catalogue closes");
        let again = Catalog::open(&self.url, Arc::new(self.clock.clone())).await;
        self.catalog = again.expect("a closed catalogue can be opened again");
    }
}

/// A database on the shared server that goes away with its test.
#[derive(Debug)]
struct DropDatabase {
    admin: String,
    name: String,
}

impl DropDatabase {
    async fn create() -> Self {
        let admin = server::admin_url().await;
        let name = format!("haulier_{}", haulier_base::id::random_uuid().replace('-', ""));
        run(&admin, format!("CREATE DATABASE {name}")).await.expect("a database can be created");
        Self { admin, name }
    }

    fn url(&self) -> String {
        let (server, _) = self.admin.rsplit_once('/').expect("the admin URL ends in a database");
        format!("{server}/{}", self.name)
    }
}

impl Drop for DropDatabase {
    fn drop(&mut self) {
        let (admin, statement) = (self.admin.clone(), format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        // The test's own runtime may be ending, so the last statement gets one of its own.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map(|runtime| runtime.block_on(run(&admin, statement)))
        });
        let _ = dropped.join();
    }
}

async fn run(admin: &str, statement: String) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(admin).await?;
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await?;
    connection.close().await
}

/// Makes two tests of each: `both_databases! { async fn name(t: TestCatalog) { … } }` gives
/// `name::sqlite` and `name::postgres`.
#[macro_export]
macro_rules! both_databases {
    ($($(#[$attribute:meta])* async fn $name:ident($test:ident : TestCatalog) $body:block)*) => {
        $(
            $(#[$attribute])*
            mod $name {
                #[allow(unused_imports, clippy::allow_attributes, reason = "a test may use nothing of its module")]
                use super::*;

                async fn story(#[allow(unused_mut, clippy::allow_attributes, reason = "some reopen")] mut $test: $crate::catalog::TestCatalog) $body

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn sqlite() {
                    story($crate::catalog::TestCatalog::new($crate::catalog::Database::Sqlite).await).await;
                }

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn postgres() {
                    story($crate::catalog::TestCatalog::new($crate::catalog::Database::Postgres).await).await;
                }
            }
        )*
    };
}

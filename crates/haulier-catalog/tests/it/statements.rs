//! Every statement that stands in the sources is one that both databases understand.

use std::path::{Path, PathBuf};

use haulier_catalog::DatabaseUrl;
use haulier_testkit::catalog::{Database, TestCatalog};
use rusqlite::Connection as Sqlite;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// A statement and where it stands; the text for SQLite and the one for PostgreSQL.
struct Statement {
    place: String,
    sqlite: String,
    postgres: String,
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// The text of the string literal that Rust code begins with, after blanks, commas and comments; and what follows it.
fn literal(mut code: &str) -> Option<(String, &str)> {
    loop {
        code = code.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        let Some(comment) = code.strip_prefix("//") else { break };
        code = comment.split_once('\n')?.1;
    }
    let (mut text, mut rest) = (String::new(), code.strip_prefix('"')?.chars());
    loop {
        match rest.next()? {
            '"' => return Some((text, rest.as_str())),
            '\\' => match rest.next()? {
                '\n' => rest = rest.as_str().trim_start().chars(),
                'n' => text.push('\n'),
                other => text.push(other),
            },
            other => text.push(other),
        }
    }
}

/// The statements of a file; what is put together at run time is not among them.
fn statements(path: &Path) -> Vec<Statement> {
    let code = std::fs::read_to_string(path).unwrap();
    let mut found = Vec::new();
    for (call, texts) in [("Sql::both(", 1), ("Sql::each(", 2)] {
        for (at, _) in code.match_indices(call) {
            let place = format!("{}:{}", path.display(), code[..at].matches('\n').count() + 1);
            let Some((sqlite, rest)) = literal(&code[at + call.len()..]) else { continue };
            let postgres = if texts == 1 { sqlite.clone() } else { literal(rest).expect(&place).0 };
            found.push(Statement { place, sqlite, postgres });
        }
    }
    found
}

fn all_statements() -> Vec<Statement> {
    let mut files = Vec::new();
    let crates = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    for entry in std::fs::read_dir(crates).unwrap() {
        let folder = entry.unwrap().path().join("src");
        if folder.is_dir() {
            sources(&folder, &mut files);
        }
    }
    files.iter().flat_map(|path| statements(path)).collect()
}

#[test]
fn statements_are_found_in_every_crate_that_has_some() {
    let all = all_statements();
    assert!(all.len() > 40, "only {} statements", all.len());
    for name in ["haulier-catalog/", "haulier-access/", "haulier-transfer/"] {
        assert!(all.iter().any(|statement| statement.place.contains(name)), "none in {name}");
    }
    assert!(all.iter().any(|statement| statement.postgres.ends_with("FOR UPDATE")), "texts for each are told apart");
}

#[tokio::test]
async fn sqlite_prepares_every_statement() {
    let t = TestCatalog::new(Database::Sqlite).await;
    let DatabaseUrl::Sqlite(path) = &t.url else { panic!("not SQLite") };
    let connection = Sqlite::open(path).unwrap();
    for Statement { place, sqlite, .. } in all_statements() {
        if let Err(error) = connection.prepare(&sqlite) {
            panic!("{place}: {error}\n{sqlite}");
        }
    }
}

#[tokio::test]
async fn postgres_prepares_every_statement() {
    let t = TestCatalog::new(Database::Postgres).await;
    let DatabaseUrl::Postgres(url) = &t.url else { panic!("not PostgreSQL") };
    let mut connection = PgConnection::connect(url.reveal()).await.unwrap();
    for Statement { place, postgres, .. } in all_statements() {
        let prepare = format!("PREPARE one AS {postgres}; DEALLOCATE one");
        if let Err(error) = sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut connection).await {
            panic!("{place}: {error}\n{postgres}");
        }
    }
    connection.close().await.unwrap();
}

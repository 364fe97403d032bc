//! SQL for the room's documents; every function takes a `Tx`. That for what is watched is in `store/watch.rs`.

pub(crate) mod watch;

use haulier_base::{Error, Result};
use haulier_catalog::{Row, Sql, Tx, args};

use crate::lateness::{State, Watched};
use crate::model::{Document, Kind};

/// A document with what it is found by.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) document: Document,
    /// The words of the index, with blanks between them.
    pub(crate) tokens: String,
    /// When a backup was taken, in seconds.
    pub(crate) taken_at: Option<i64>,
    /// The client of a job, and what is watched of it.
    pub(crate) client: Option<String>,
    pub(crate) watched: Watched,
}

impl Written {
    fn state(&self) -> Option<&'static str> {
        self.watched.state.map(State::as_str)
    }
}

/// Which documents of one owner a list shows.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    pub(crate) kind: Kind,
    pub(crate) owner: String,
    /// A formula of the index; none shows all.
    pub(crate) formula: Option<String>,
    /// Inclusive bounds of a backup's time.
    pub(crate) time_after: i64,
    pub(crate) time_before: i64,
}

/// A place in a list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Only documents created after this one.
    pub(crate) after: i64,
    /// How many of them to leave out.
    pub(crate) offset: i64,
}

/// A document's text and its place in the order of creation.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub(crate) seq: i64,
    pub(crate) body: String,
}

/// Adds a document, at the latest with the commit; `Conflict` when there is one of that identifier.
pub(crate) async fn insert(tx: &mut Tx, written: &Written) -> Result<()> {
    const INSERT: Sql = Sql::both(
        "INSERT INTO backup_documents \
         (kind, id, scope, owner, version, body, taken_at, client, due_at, state, seen_at, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12)",
    );
    const INDEX: Sql = Sql::each(
        "INSERT INTO backup_search (rowid, tokens) \
         SELECT seq, $4 FROM backup_documents WHERE id = $1 AND kind = $2 AND scope = $3",
        "INSERT INTO backup_search (seq, tokens) \
         SELECT seq, CAST($4 AS TSVECTOR) FROM backup_documents WHERE id = $1 AND kind = $2 AND scope = $3",
    );
    let Document { kind, id, owner, version, body } = &written.document;
    let (name, scope, now) = (kind.as_str(), kind.scope(owner), tx.now());
    // Whoever registers is there.
    let seen_at = (*kind == Kind::Client).then_some(now);
    let (client, due_at, state) = (written.client.as_deref(), written.watched.due_at, written.state());
    let arguments =
        args![name, id, scope, owner, *version, body, written.taken_at, client, due_at, state, seen_at, now];
    tx.execute_later(INSERT, arguments).await?;
    tx.expect_one_later(INDEX, args![id, name, scope, &written.tokens], vanished(&written.document)).await
}

/// Writes what can change of a document, at the latest with the commit.
pub(crate) async fn update(tx: &mut Tx, written: &Written) -> Result<()> {
    const UPDATE: Sql = Sql::both(
        "UPDATE backup_documents SET version = $4, body = $5, client = $6, due_at = $7, state = $8, updated_at = $9 \
         WHERE id = $1 AND kind = $2 AND scope = $3",
    );
    const INDEX: Sql = Sql::each(
        "UPDATE backup_search SET tokens = $4 WHERE rowid IN \
         (SELECT seq FROM backup_documents WHERE id = $1 AND kind = $2 AND scope = $3)",
        "UPDATE backup_search SET tokens = CAST($4 AS TSVECTOR) WHERE seq IN \
         (SELECT seq FROM backup_documents WHERE id = $1 AND kind = $2 AND scope = $3)",
    );
    let Document { kind, id, owner, version, body } = &written.document;
    let (name, scope, now) = (kind.as_str(), kind.scope(owner), tx.now());
    let (client, due_at, state) = (written.client.as_deref(), written.watched.due_at, written.state());
    let arguments = args![id, name, scope, *version, body, client, due_at, state, now];
    tx.expect_one_later(UPDATE, arguments, vanished(&written.document)).await?;
    tx.execute_later(INDEX, args![id, name, scope, &written.tokens]).await
}

/// Removes a document if it is that owner's, at the latest with the commit.
pub(crate) async fn delete(tx: &mut Tx, kind: Kind, id: &str, owner: &str) -> Result<()> {
    const INDEX: Sql = Sql::each(
        "DELETE FROM backup_search WHERE rowid IN \
         (SELECT seq FROM backup_documents WHERE id = $1 AND kind = $2 AND scope = $3 AND owner = $4)",
        "DELETE FROM backup_search WHERE seq IN \
         (SELECT seq FROM backup_documents WHERE id = $1 AND kind = $2 AND scope = $3 AND owner = $4)",
    );
    const DELETE: Sql =
        Sql::both("DELETE FROM backup_documents WHERE id = $1 AND kind = $2 AND scope = $3 AND owner = $4");
    let arguments = || args![id, kind.as_str(), kind.scope(owner), owner];
    tx.execute_later(INDEX, arguments()).await?;
    tx.execute_later(DELETE, arguments()).await
}

/// A document, whoever owns it.
pub(crate) async fn find(tx: &mut Tx, kind: Kind, id: &str, caller: &str) -> Result<Option<Document>> {
    const FIND: Sql =
        Sql::both("SELECT id, owner, version, body FROM backup_documents WHERE id = $1 AND kind = $2 AND scope = $3");
    let row = tx.fetch_optional(FIND, args![id, kind.as_str(), kind.scope(caller)]).await?;
    row.map(|row| document(kind, &row)).transpose()
}

/// The same; on PostgreSQL its row is held until the transaction ends.
pub(crate) async fn find_for_update(tx: &mut Tx, kind: Kind, id: &str, caller: &str) -> Result<Option<Document>> {
    const FIND: Sql = Sql::each(
        "SELECT id, owner, version, body FROM backup_documents WHERE id = $1 AND kind = $2 AND scope = $3",
        // SQLite has one writer and needs no row lock.
        "SELECT id, owner, version, body FROM backup_documents WHERE id = $1 AND kind = $2 AND scope = $3 FOR UPDATE",
    );
    let row = tx.fetch_optional(FIND, args![id, kind.as_str(), kind.scope(caller)]).await?;
    row.map(|row| document(kind, &row)).transpose()
}

/// Documents in the order of creation, at most `limit` of them.
pub(crate) async fn list(tx: &mut Tx, selection: &Selection, place: Place, limit: i64) -> Result<Vec<Placed>> {
    const ALL: Sql = Sql::both(
        "SELECT seq, body FROM backup_documents WHERE owner = $1 AND kind = $2 AND seq > $3 \
         ORDER BY seq LIMIT $4 OFFSET $5",
    );
    // PostgreSQL would soon stop looking at the formula, and with it at how rare its words are.
    const PLAN: Sql =
        Sql::each("SELECT 1 AS done", "SELECT set_config('plan_cache_mode', 'force_custom_plan', true) AS done");
    // Owner and kind are part of every word, and asked for once more: isolation does not hang on a hash.
    const SEARCH: Sql = Sql::each(
        "SELECT d.seq AS seq, d.body AS body FROM backup_search CROSS JOIN backup_documents AS d \
         ON d.seq = backup_search.rowid \
         WHERE backup_search MATCH $6 AND backup_search.rowid > $3 AND d.owner = $1 AND d.kind = $2 \
         AND COALESCE(d.taken_at, 0) BETWEEN $7 AND $8 ORDER BY backup_search.rowid LIMIT $4 OFFSET $5",
        "SELECT d.seq AS seq, d.body AS body FROM backup_search AS s JOIN backup_documents AS d ON d.seq = s.seq \
         WHERE s.tokens @@ CAST(replace(replace(replace($6, ' AND ', ' & '), ' OR ', ' | '), ' NOT ', ' & !') AS TSQUERY) \
         AND s.seq > $3 AND d.owner = $1 AND d.kind = $2 \
         AND COALESCE(d.taken_at, 0) BETWEEN $7 AND $8 ORDER BY s.seq LIMIT $4 OFFSET $5",
    );
    let mut arguments = args![&selection.owner, selection.kind.as_str(), place.after, limit, place.offset];
    let rows = match &selection.formula {
        None => tx.fetch_all(ALL, arguments).await?,
        Some(formula) => {
            arguments.extend(args![formula, selection.time_after, selection.time_before]);
            tx.execute_later(PLAN, args![]).await?;
            tx.fetch_all(SEARCH, arguments).await?
        }
    };
    rows.iter().map(|row| Ok(Placed { seq: row.int("seq")?, body: row.text("body")? })).collect()
}

fn document(kind: Kind, row: &Row) -> Result<Document> {
    Ok(Document {
        kind,
        id: row.text("id")?,
        owner: row.text("owner")?,
        version: row.int("version")?,
        body: row.text("body")?,
    })
}

fn vanished(document: &Document) -> Error {
    Error::unavailable(format!("{} {} changed meanwhile; try again", document.kind.as_str(), document.id))
}

//! What the catalogue says about transfers, read past the API: who works on one, and what a dead server left.

use haulier_catalog::{Catalog, Sql};

/// A transfer's row, and its task's count of attempts while it has one.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) id: String,
    pub(crate) destination_url: String,
    pub(crate) state: String,
    pub(crate) progress: u64,
    /// The site at the start of the holder's name.
    pub(crate) executor: Option<String>,
    pub(crate) task_attempt: Option<i64>,
}

/// Every transfer.
pub(crate) async fn transfers(catalog: &Catalog) -> Vec<Recorded> {
    const ALL: Sql = Sql::both(
        "SELECT x.id, x.destination_url, x.state, x.progress, x.executor,
                (SELECT MAX(attempt) FROM tasks WHERE tasks.subject = x.id) AS task_attempt
         FROM transfers AS x",
    );
    let mut tx = catalog.read().await.unwrap();
    let rows = tx.fetch_all(ALL, Vec::new()).await.unwrap();
    let read = rows.iter().map(|row| Recorded {
        id: row.text("id").unwrap(),
        destination_url: row.text("destination_url").unwrap(),
        state: row.text("state").unwrap(),
        progress: row.int("progress").unwrap() as u64,
        executor: row.text_or_null("executor").unwrap().map(|holder| holder.split('/').next().unwrap().to_owned()),
        task_attempt: row.int_or_null("task_attempt").unwrap(),
    });
    read.collect()
}

/// One transfer.
pub(crate) async fn transfer(catalog: &Catalog, id: &str) -> Recorded {
    transfers(catalog).await.into_iter().find(|recorded| recorded.id == id).expect("the transfer exists")
}

/// How many tasks of transfers there are, and how many transfers were told complete more than once.
pub(crate) async fn leftovers(catalog: &Catalog) -> (i64, i64) {
    const COUNT: Sql = Sql::both(
        "SELECT (SELECT COUNT(*) FROM tasks WHERE queue = 'transfer') AS tasks,
                (SELECT COUNT(*) FROM (SELECT subject FROM events WHERE kind = 'transfer.completed'
                     GROUP BY subject HAVING COUNT(*) > 1) AS twice) AS twice",
    );
    let mut tx = catalog.read().await.unwrap();
    let row = tx.fetch_optional(COUNT, Vec::new()).await.unwrap().unwrap();
    (row.int("tasks").unwrap(), row.int("twice").unwrap())
}

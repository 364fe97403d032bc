//! What clients may do with the objects of buckets, as administration sets it (contract §6.4).

use haulier_base::{Error, Result};

use super::Replication;
use crate::model::{BucketName, ClientId, Rights};
use crate::store::ownerships;

impl Replication {
    /// A page of the buckets in which a client has all of some rights, after a name.
    ///
    /// # Errors
    /// As the catalogue says.
    pub(crate) async fn accesses_of(
        &self,
        client: &ClientId,
        asked: Rights,
        after: &str,
        limit: i64,
    ) -> Result<Vec<(BucketName, Rights)>> {
        ownerships::page_of(&mut self.inner.catalog.read().await?, client, asked, after, limit).await
    }

    /// The rights of a client in a bucket.
    ///
    /// # Errors
    /// `NotFound` when it was never given any.
    pub(crate) async fn rights(&self, client: &ClientId, bucket: &BucketName) -> Result<Rights> {
        let rights = ownerships::find(&mut self.inner.catalog.read().await?, client, bucket).await?;
        rights.ok_or_else(|| no_rights(client, bucket))
    }

    /// Gives a client its first rights in a bucket.
    ///
    /// # Errors
    /// `Conflict` when it has some.
    pub(crate) async fn grant(&self, client: &ClientId, bucket: &BucketName, rights: Rights) -> Result<()> {
        let mut tx = self.inner.catalog.begin("replication.grant").await?;
        match ownerships::insert(&mut tx, client, bucket, rights).await? {
            true => tx.commit().await,
            false => Err(Error::conflict(format!(
                "the client {client} has rights in the bucket {bucket} already; PUT adds to them"
            ))),
        }
    }

    /// Adds to the rights of a client in a bucket; gives all of them.
    ///
    /// # Errors
    /// `NotFound` when it has none.
    pub(crate) async fn grant_more(&self, client: &ClientId, bucket: &BucketName, rights: Rights) -> Result<Rights> {
        let mut tx = self.inner.catalog.begin("replication.grant_more").await?;
        let all = ownerships::unite(&mut tx, client, bucket, rights).await?;
        let all = all.ok_or_else(|| no_rights(client, bucket))?;
        tx.commit().await.map(|()| all)
    }

    /// Takes all rights of a client in a bucket.
    ///
    /// # Errors
    /// `NotFound` when it has none.
    pub(crate) async fn revoke(&self, client: &ClientId, bucket: &BucketName) -> Result<()> {
        let mut tx = self.inner.catalog.begin("replication.revoke").await?;
        match ownerships::delete(&mut tx, client, bucket).await? {
            true => tx.commit().await,
            false => Err(no_rights(client, bucket)),
        }
    }

    /// Takes the rights of all clients in a bucket.
    ///
    /// # Errors
    /// `NotFound` when nobody has any.
    pub(crate) async fn revoke_all(&self, bucket: &BucketName) -> Result<()> {
        let mut tx = self.inner.catalog.begin("replication.revoke_all").await?;
        match ownerships::delete_all(&mut tx, bucket).await? {
            0 => Err(Error::not_found(format!("nobody has rights in the bucket {bucket}"))),
            _ => tx.commit().await,
        }
    }
}

fn no_rights(client: &ClientId, bucket: &BucketName) -> Error {
    Error::not_found(format!("the client {client} has no rights in the bucket {bucket}"))
}

//! What is not here is read from a site that has it, and brought here afterwards (contract §7).

use axum::http::HeaderMap;
use axum::response::Response;
use haulier_base::{Error, Result};

use super::Replication;
use super::elsewhere::Nowhere;
use crate::http::relay;
use crate::model::{Action, Bucket, BucketName, ClientId, ObjectName, Order, SiteId};
use crate::peer::{Asked, Peer, Said};

/// Who asks for what, on its way to other sites.
#[derive(Clone, Debug)]
pub(crate) struct Elsewhere<'a> {
    pub(crate) client: &'a ClientId,
    pub(crate) bucket: &'a BucketName,
    pub(crate) op_id: &'a str,
    pub(crate) full_check: bool,
}

impl Elsewhere<'_> {
    fn asked(&self) -> Asked {
        Asked { bucket: self.bucket.clone(), client: self.client.clone(), op_id: self.op_id.to_owned() }
    }

    /// The order that brings here what was found.
    fn order(&self, from: &SiteId, object: Option<&ObjectName>) -> Order {
        Order {
            op_id: self.op_id.to_owned(),
            from: Some(from.clone()),
            client: self.client.clone(),
            bucket: self.bucket.clone(),
            object: object.cloned(),
            size_bytes: 0,
            sha256: None,
            action: Action::Create,
            event_at: None,
        }
    }
}

impl Replication {
    /// The content of an object that another site has, as an answer; none when no site has it.
    ///
    /// # Errors
    /// As the catalogue says; `NotFound` with the names of sites that could not be asked.
    pub(crate) async fn object_elsewhere(
        &self,
        asked: Elsewhere<'_>,
        name: &ObjectName,
        headers: &HeaderMap,
    ) -> Result<Option<Response>> {
        let zstd = self.inner.config.compression;
        let found = self.look_elsewhere(name.as_str(), |peer| {
            let (asked, name, headers) = (asked.asked(), name.clone(), headers.clone());
            async move { relay::begin(&peer, &asked, &name, &headers, zstd).await }
        });
        let Some((relayed, peer)) = found.await? else { return Ok(None) };
        let mut order = asked.order(&peer.site.id, Some(name));
        if let Some(described) = &relayed.described {
            (order.size_bytes, order.sha256) = (described.size_bytes, Some(described.sha256.clone()));
            order.event_at = Some(described.created_at);
        }
        self.bring_here(order).await;
        relayed.answer(headers).map(Some)
    }

    /// Whether another site has an object of that name.
    ///
    /// # Errors
    /// As [`Self::object_elsewhere`].
    pub(crate) async fn has_object_elsewhere(&self, asked: Elsewhere<'_>, name: &ObjectName) -> Result<bool> {
        let found = self.look_elsewhere(name.as_str(), |peer| {
            let (asked, name, full_check) = (asked.asked(), name.clone(), asked.full_check);
            async move { peer.has_object(&asked, &name, full_check).await }
        });
        let Some(((), peer)) = found.await? else { return Ok(false) };
        self.bring_here(asked.order(&peer.site.id, Some(name))).await;
        Ok(true)
    }

    /// A bucket that another site has, with the site.
    ///
    /// # Errors
    /// As [`Self::object_elsewhere`].
    pub(crate) async fn bucket_elsewhere(&self, asked: Elsewhere<'_>) -> Result<Option<(Bucket, SiteId)>> {
        let found = self.look_elsewhere(asked.bucket.as_str(), |peer| {
            let asked = asked.asked();
            async move {
                match peer.bucket(&asked).await {
                    Said::Has(view) => match view.to_bucket() {
                        Ok(bucket) => Said::Has(bucket),
                        Err(error) => Said::Failed(peer.nonsense(error)),
                    },
                    Said::Lacks => Said::Lacks,
                    Said::Deleted => Said::Deleted,
                    Said::Forbidden => Said::Forbidden,
                    Said::Failed(error) => Said::Failed(error),
                }
            }
        });
        let Some((bucket, peer)) = found.await? else { return Ok(None) };
        let order = asked.order(&peer.site.id, None);
        self.bring_here(Order { client: bucket.client.clone(), event_at: Some(bucket.created_at), ..order }).await;
        Ok(Some((bucket, peer.site.id)))
    }

    /// Asks the other sites, if that is wanted at all.
    async fn look_elsewhere<T, F>(&self, what: &str, ask: impl Fn(Peer) -> F) -> Result<Option<(T, Peer)>>
    where
        F: Future<Output = Said<T>>,
    {
        if !self.inner.config.remote_read {
            return Ok(None);
        }
        match self.ask_sites(None, ask).await? {
            Ok(found) => Ok(Some(found)),
            // To the client it is absent here; why it may be elsewhere all the same, it is told (§7 4).
            Err(nowhere @ Nowhere::Unknown(_)) => {
                let names = nowhere.unanswered().unwrap_or_default();
                Err(Error::not_found(format!("{what} is not here, and there is {names}")))
            }
            Err(_) => Ok(None),
        }
    }

    /// Has what was found brought here. Whoever asked does not wait for it, and is not told if that cannot be queued.
    async fn bring_here(&self, order: Order) {
        if !self.inner.config.fix_on_absent {
            return;
        }
        match self.order_here(order).await {
            Ok(true) => tracing::debug!("what was read from another site is brought here"),
            Ok(false) => {}
            Err(error) => tracing::warn!(error.chain = ?error, "what is missing here cannot be ordered: {error}"),
        }
    }
}

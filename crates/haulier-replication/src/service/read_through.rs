//! What is not here is read from a site that has it (contract §7).

use axum::http::HeaderMap;
use axum::response::Response;
use haulier_base::Result;

use super::Replication;
use crate::model::{Bucket, BucketName, ClientId, ObjectName};

/// Who asks for what, on its way to other sites.
#[derive(Clone, Debug)]
pub(crate) struct Elsewhere<'a> {
    pub(crate) client: &'a ClientId,
    pub(crate) bucket: &'a BucketName,
    pub(crate) op_id: &'a str,
    pub(crate) full_check: bool,
}

impl Replication {
    /// The content of an object that another site has, as an answer; none when no site has it.
    ///
    /// # Errors
    /// As the catalogue says; sites that cannot be asked are no error here.
    pub(crate) async fn object_elsewhere(
        &self,
        _asked: Elsewhere<'_>,
        _name: &ObjectName,
        _headers: &HeaderMap,
    ) -> Result<Option<Response>> {
        Ok(None)
    }

    /// Whether another site has an object of that name.
    ///
    /// # Errors
    /// As [`Self::object_elsewhere`].
    pub(crate) async fn has_object_elsewhere(&self, _asked: Elsewhere<'_>, _name: &ObjectName) -> Result<bool> {
        Ok(false)
    }

    /// A bucket that another site has, with the site.
    ///
    /// # Errors
    /// As [`Self::object_elsewhere`].
    pub(crate) async fn bucket_elsewhere(
        &self,
        _asked: Elsewhere<'_>,
    ) -> Result<Option<(Bucket, crate::model::SiteId)>> {
        Ok(None)
    }
}

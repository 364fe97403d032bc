//! `ClientBucketAccess` (contract §1.4, §6.4): what a client may do with the objects of a bucket.

use serde::Serialize;
use utoipa::ToSchema;

use crate::model::{BucketName, ClientId, Rights};

/// The rights of one client in one bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ClientBucketAccess {
    /// The client.
    pub(crate) client: String,
    /// The bucket.
    pub(crate) bucket: String,
    /// `READ`, `WRITE`, `READ_WRITE`, `DELETE`, `DELETE_READ`, `DELETE_WRITE`, `OWNER` or `UNKNOWN`.
    #[schema(example = "READ_WRITE")]
    pub(crate) ownership: &'static str,
}

impl ClientBucketAccess {
    pub(crate) fn new(client: &ClientId, bucket: &BucketName, rights: Rights) -> Self {
        Self { client: client.to_string(), bucket: bucket.to_string(), ownership: rights.as_str() }
    }
}

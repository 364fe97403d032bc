//! Wire types of contract §1.4, their reading and their conversion. Those of one part of the API are below.

pub(crate) mod access;
pub(crate) mod hash;
pub(crate) mod instant;
pub(crate) mod json;
pub(crate) mod lag;
pub(crate) mod order;
pub(crate) mod reconciliation;
pub(crate) mod topology;

use haulier_base::{Error, Result};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub(crate) use access::ClientBucketAccess;
pub(crate) use instant::Instant;
pub(crate) use order::ReplicatorOrder;
pub(crate) use topology::Topology;

use crate::model::{Bucket, BucketName, ClientId, Metadata, Object, SiteId, Status};

/// A bucket at a site. All members are there; one that is not set is null.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct AccessorBucket {
    /// The bucket's name.
    #[schema(example = "invoices")]
    pub(crate) id: Option<String>,
    /// The owner.
    pub(crate) client_id: Option<String>,
    /// The site that answers.
    pub(crate) site: Option<String>,
    /// When it was created at its origin; of a deleted one, when it was deleted.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) creation: Option<Instant>,
    /// When the memory of a deleted one is purged.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) expires: Option<Instant>,
    /// Its state there.
    #[schema(example = "READY")]
    pub(crate) status: Option<String>,
}

impl AccessorBucket {
    pub(crate) fn new(bucket: &Bucket, site: &SiteId) -> Self {
        Self {
            id: Some(bucket.name.to_string()),
            client_id: Some(bucket.client.to_string()),
            site: Some(site.to_string()),
            creation: Some(Instant(bucket.created_at)),
            expires: bucket.expires_at.map(Instant),
            status: Some(bucket.status.to_string()),
        }
    }

    /// The bucket that a peer described; its instants are the peer's.
    ///
    /// # Errors
    /// `Invalid`, with the member that is missing or wrong.
    pub(crate) fn to_bucket(&self) -> Result<Bucket> {
        let missing = |member: &str| Error::invalid(format!("the bucket has no \"{member}\""));
        let created_at = self.creation.ok_or_else(|| missing("creation"))?.0;
        Ok(Bucket {
            name: BucketName::new(self.id.clone().ok_or_else(|| missing("id"))?)?,
            client: ClientId::new(self.client_id.clone().ok_or_else(|| missing("clientId"))?)?,
            status: self.status.as_deref().unwrap_or(Status::Unknown.as_str()).parse()?,
            created_at,
            event_at: created_at,
            expires_at: self.expires.map(|at| at.0),
        })
    }
}

/// An object at a site. All members are there; one that is not set is null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AccessorObject {
    /// The site's own record.
    pub(crate) id: String,
    /// The site that answers.
    pub(crate) site: String,
    /// Its bucket.
    pub(crate) bucket: String,
    /// As the client gave it.
    #[schema(example = "2024/march.pdf")]
    pub(crate) name: String,
    /// SHA-256 of the content in hexadecimal.
    pub(crate) hash: Option<String>,
    /// Its state there.
    #[schema(example = "READY")]
    pub(crate) status: String,
    /// When it was created at its origin; of a deleted one, when it was deleted.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) creation: Instant,
    /// When it is purged.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) expires: Option<Instant>,
    /// Length of the content, bytes.
    pub(crate) size: u64,
    /// Given by the client.
    #[serde(default)]
    pub(crate) metadata: Metadata,
}

impl AccessorObject {
    pub(crate) fn new(object: Object, site: &SiteId) -> Self {
        Self {
            id: object.id.to_string(),
            site: site.to_string(),
            bucket: object.bucket.to_string(),
            name: object.name.to_string(),
            hash: object.sha256,
            status: object.status.to_string(),
            creation: Instant(object.created_at),
            expires: object.expires_at.map(Instant),
            size: object.size_bytes,
            metadata: object.metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_goes_there_and_back() {
        let text = r#"{"id":"abc","clientId":"me-1","site":"here","creation":"2024-02-21T11:27:52.867Z","expires":null,"status":"READY"}"#;
        let read: AccessorBucket = json::read_object(text.as_bytes()).unwrap();
        let bucket = read.to_bucket().unwrap();
        assert_eq!(bucket.status, Status::Ready);
        let again = AccessorBucket::new(&bucket, &SiteId::new("here").unwrap());
        assert_eq!(serde_json::to_string(&again).unwrap(), text);
        assert!(json::read_object::<AccessorBucket>(b"{}").unwrap().to_bucket().is_err());
    }
}

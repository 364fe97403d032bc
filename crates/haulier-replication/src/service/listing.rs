//! Listings of buckets, a page at a time (contract §6.1).

use haulier_base::{Error, Result};

use super::Replication;
use super::buckets::absent;
use crate::filter::Filter;
use crate::model::{BucketName, ClientId, Object, Rights, Status};
use crate::store::{buckets, objects, ownerships};

/// Records read at once.
const PAGE: i64 = 500;

/// A listing under way.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    bucket: BucketName,
    filter: Filter,
    /// The last name that was looked at.
    after: String,
    over: bool,
}

impl Replication {
    /// Begins a listing of what this site has in a bucket.
    ///
    /// # Errors
    /// `NotFound` without the bucket, `Forbidden` without the right READ.
    pub(crate) async fn list_objects(&self, client: &ClientId, bucket: &BucketName, filter: Filter) -> Result<Listing> {
        let mut tx = self.inner.catalog.read().await?;
        let found = buckets::find(&mut tx, bucket).await?;
        found.filter(|found| found.status == Status::Ready).ok_or_else(|| absent(bucket))?;
        let rights = ownerships::find(&mut tx, client, bucket).await?.unwrap_or(Rights::NONE);
        if !rights.include(Rights::READ) {
            return Err(Error::forbidden(format!("the client {client} may not list the bucket {bucket}")));
        }
        Ok(Listing { bucket: bucket.clone(), filter, after: String::new(), over: false })
    }

    /// The next objects that are shown, in the order of names; none once there are no more.
    ///
    /// # Errors
    /// As the catalogue says.
    pub(crate) async fn next_objects(&self, listing: &mut Listing) -> Result<Option<Vec<Object>>> {
        while !listing.over {
            let Listing { bucket, filter, after, .. } = listing;
            let mut tx = self.inner.catalog.read().await?;
            let page = objects::page(&mut tx, bucket, &filter.name_prefix, after, PAGE).await?;
            drop(tx);
            listing.over = (page.len() as i64) < PAGE;
            if let Some(last) = page.last() {
                listing.after = last.name.to_string();
            }
            let shown: Vec<_> = page.into_iter().filter(|object| listing.filter.shows(object)).collect();
            if !shown.is_empty() {
                return Ok(Some(shown));
            }
        }
        Ok(None)
    }
}

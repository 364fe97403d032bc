//! Which objects a listing shows (contract §6.1). Pure. All bounds are inclusive.

use axum::http::{HeaderMap, HeaderName};
use haulier_base::{Error, Result, Timestamp};

use crate::content::{read_instant, text};
use crate::model::{Metadata, Object, Status};

const NAME_PREFIX: HeaderName = HeaderName::from_static("x-clonecloudstore-nameprefix");
const STATUSES: HeaderName = HeaderName::from_static("x-clonecloudstore-statuses");
const CREATION_BEFORE: HeaderName = HeaderName::from_static("x-clonecloudstore-creationbefore");
const CREATION_AFTER: HeaderName = HeaderName::from_static("x-clonecloudstore-creationafter");
const EXPIRES_BEFORE: HeaderName = HeaderName::from_static("x-clonecloudstore-expiresbefore");
const EXPIRES_AFTER: HeaderName = HeaderName::from_static("x-clonecloudstore-expiresafter");
const SIZE_LT: HeaderName = HeaderName::from_static("x-clonecloudstore-sizelt");
const SIZE_GT: HeaderName = HeaderName::from_static("x-clonecloudstore-sizegt");
const METADATA_EQ: HeaderName = HeaderName::from_static("x-clonecloudstore-metadataeq");

/// What an object must be to be shown; what is not said does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    /// The name starts with it.
    pub(crate) name_prefix: String,
    /// One of them; none named is any.
    pub(crate) statuses: Vec<Status>,
    pub(crate) creation_before: Option<Timestamp>,
    pub(crate) creation_after: Option<Timestamp>,
    pub(crate) expires_before: Option<Timestamp>,
    pub(crate) expires_after: Option<Timestamp>,
    /// Not more bytes.
    pub(crate) size_most: Option<u64>,
    /// Not fewer bytes.
    pub(crate) size_least: Option<u64>,
    /// All of these pairs are among the object's.
    pub(crate) metadata: Metadata,
}

impl Filter {
    /// Whether an object is shown.
    pub(crate) fn shows(&self, object: &Object) -> bool {
        let after = |bound: Option<Timestamp>, at: Option<Timestamp>| bound.is_none_or(|bound| at >= Some(bound));
        // What has no such instant comes neither before nor after one.
        let before = |bound: Option<Timestamp>, at: Option<Timestamp>| {
            bound.is_none_or(|bound| at.is_some_and(|at| at <= bound))
        };
        object.name.as_str().starts_with(&self.name_prefix)
            && (self.statuses.is_empty() || self.statuses.contains(&object.status))
            && before(self.creation_before, Some(object.created_at))
            && after(self.creation_after, Some(object.created_at))
            && before(self.expires_before, object.expires_at)
            && after(self.expires_after, object.expires_at)
            && self.size_most.is_none_or(|most| object.size_bytes <= most)
            && self.size_least.is_none_or(|least| object.size_bytes >= least)
            && self.metadata.iter().all(|(key, value)| object.metadata.get(key) == Some(value))
    }

    /// Reads the headers of a listing.
    ///
    /// # Errors
    /// `Invalid`, with the header that is wrong.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Result<Self> {
        Ok(Self {
            name_prefix: text(headers, &NAME_PREFIX)?.unwrap_or_default(),
            statuses: statuses(headers)?,
            creation_before: read_instant(headers, &CREATION_BEFORE)?,
            creation_after: read_instant(headers, &CREATION_AFTER)?,
            expires_before: read_instant(headers, &EXPIRES_BEFORE)?,
            expires_after: read_instant(headers, &EXPIRES_AFTER)?,
            size_most: size(headers, &SIZE_LT)?,
            size_least: size(headers, &SIZE_GT)?,
            metadata: json(headers, &METADATA_EQ, "a JSON object of texts")?.unwrap_or_default(),
        })
    }
}

fn statuses(headers: &HeaderMap) -> Result<Vec<Status>> {
    let names: Vec<String> = json(headers, &STATUSES, "a JSON list of the names of states")?.unwrap_or_default();
    let read = names.iter().map(|name| name.parse()).collect::<Result<_>>();
    read.map_err(|error| Error::invalid(format!("{STATUSES}: {error}")))
}

/// A number of bytes; 0 is no bound.
fn size(headers: &HeaderMap, name: &HeaderName) -> Result<Option<u64>> {
    let Some(text) = text(headers, name)? else { return Ok(None) };
    let size: u64 = text.parse().map_err(|_| Error::invalid(format!("{name}: {text:?} is no number of bytes")))?;
    Ok(Some(size).filter(|size| *size > 0))
}

fn json<T: serde::de::DeserializeOwned>(headers: &HeaderMap, name: &HeaderName, what: &str) -> Result<Option<T>> {
    let Some(text) = text(headers, name)? else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|error| Error::invalid(format!("{name}: is not {what}: {error}")))
}

#[cfg(test)]
mod tests;

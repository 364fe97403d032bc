//! `ReplicatorOrder` (contract §1.4): lenient when read (§4.1), exact when written.

use haulier_base::{Error, Result};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::hash::read_sha256;
use super::instant::Instant;
use crate::model::{BucketName, ClientId, ObjectName, Order, SiteId};

/// Longest operation id that is kept, bytes.
pub(crate) const OP_ID_BYTES_MAX: usize = 128;

/// One replication instruction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ReplicatorOrder {
    /// Traces what caused it.
    pub(crate) op_id: Option<String>,
    /// The site that has it; none means any.
    pub(crate) from_site: Option<String>,
    /// The site that the order is for.
    pub(crate) to_site: Option<String>,
    /// The client that acted.
    #[schema(required = true)]
    pub(crate) client_id: Option<String>,
    /// The bucket.
    #[schema(required = true)]
    pub(crate) bucket_name: Option<String>,
    /// The object; none for an order about the bucket.
    pub(crate) object_name: Option<String>,
    /// Length of the content, bytes; a hint.
    pub(crate) size: Option<u64>,
    /// SHA-256 of the content; a hint.
    pub(crate) hash: Option<String>,
    /// `CREATE`, `UPDATE`, `DELETE` or `UNKNOWN`.
    #[schema(required = true, example = "CREATE")]
    pub(crate) action: Option<String>,
    /// When it became so at its origin. Haulier sends it; it may be absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) event: Option<Instant>,
}

impl ReplicatorOrder {
    /// The order as it is sent to a site.
    pub(crate) fn new(order: &Order, to: &SiteId) -> Self {
        Self {
            op_id: Some(order.op_id.clone()),
            from_site: order.from.as_ref().map(SiteId::to_string),
            to_site: Some(to.to_string()),
            client_id: Some(order.client.to_string()),
            bucket_name: Some(order.bucket.to_string()),
            object_name: order.object.as_ref().map(ObjectName::to_string),
            size: Some(order.size_bytes),
            hash: order.sha256.clone(),
            action: Some(order.action.to_string()),
            event: order.event_at.map(Instant),
        }
    }

    /// The operation id, if it is one that can be kept and sent on in a header.
    pub(crate) fn usable_op_id(&self) -> Option<&str> {
        let id = self.op_id.as_deref()?.trim();
        let fits = (1..=OP_ID_BYTES_MAX).contains(&id.len());
        (fits && id.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())).then_some(id)
    }

    /// The order that was received. Without a usable operation id of its own it gets the one given.
    ///
    /// # Errors
    /// `Invalid`, with the member that is wrong.
    pub(crate) fn to_order(&self, op_id: &str) -> Result<Order> {
        let named = |member: &'static str| move |error: Error| Error::invalid(format!("{member}: {error}"));
        let needed = |member: &'static str, value: &Option<String>| {
            value.clone().ok_or_else(|| Error::invalid(format!("{member}: is missing")))
        };
        let given = |value: &Option<String>| value.clone().filter(|text| !text.is_empty());
        let client = needed("clientId", &self.client_id)?;
        let bucket = needed("bucketName", &self.bucket_name)?;
        Ok(Order {
            op_id: self.usable_op_id().unwrap_or(op_id).to_owned(),
            from: given(&self.from_site).map(SiteId::new).transpose().map_err(named("fromSite"))?,
            client: ClientId::new(client).map_err(named("clientId"))?,
            bucket: BucketName::new(bucket).map_err(named("bucketName"))?,
            object: given(&self.object_name).map(ObjectName::received).transpose().map_err(named("objectName"))?,
            size_bytes: self.size.unwrap_or_default(),
            // A hint: what is no hash says nothing.
            sha256: self.hash.as_deref().and_then(|text| read_sha256(text).ok()),
            action: needed("action", &self.action)?.parse().map_err(named("action"))?,
            event_at: self.event.map(|at| at.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::json::read_object;
    use crate::model::Action;

    const SAMPLE: &str = r#"{ "opId": "string", "fromSite": "string", "toSite": "string", "clientId": "string", "bucketName": "string", "objectName": "string", "size": 1, "hash": "string", "action": "CREATE" }"#;

    fn read(text: &str) -> Result<Order> {
        read_object::<ReplicatorOrder>(text.as_bytes())?.to_order("given")
    }

    #[test]
    fn the_sample_of_the_documentation_is_taken() {
        let order = read(SAMPLE).unwrap();
        assert_eq!((order.action, order.size_bytes, order.sha256.as_deref()), (Action::Create, 1, None));
        assert_eq!(order.op_id, "string");
    }

    #[test]
    fn orders_are_read_as_they_were_written() {
        let order =
            Order { event_at: Some("2024-02-21T11:27:52.867Z".parse::<Instant>().unwrap().0), ..read(SAMPLE).unwrap() };
        let written = serde_json::to_string(&ReplicatorOrder::new(&order, &SiteId::new("there").unwrap())).unwrap();
        assert_eq!(read(&written).unwrap(), order);
        let of_bucket = Order { object: None, event_at: None, ..order };
        let written = serde_json::to_string(&ReplicatorOrder::new(&of_bucket, &SiteId::new("there").unwrap())).unwrap();
        let expected = r#"{"opId":"string","fromSite":"string","toSite":"there","clientId":"string","bucketName":"string","objectName":null,"size":1,"hash":null,"action":"CREATE"}"#;
        assert_eq!(written, expected);
        assert_eq!(read(&written).unwrap(), of_bucket);
    }

    #[test]
    fn what_may_be_left_out() {
        let order =
            read(r#"{"clientId":"me-1","bucketName":"abc","action":"UNKNOWN","more":{},"objectName":""}"#).unwrap();
        assert_eq!((order.op_id.as_str(), order.from, order.object), ("given", None, None));
    }

    #[test]
    fn what_is_refused() {
        for (with, instead, member) in [
            (r#""CREATE""#, r#""create""#, "action"),
            (r#""CREATE""#, "null", "action"),
            (r#""size": 1"#, r#""size": -1"#, "size"),
            (r#""size": 1"#, r#""size": 1.5"#, "size"),
            (r#""size": 1"#, r#""size": "1""#, "size"),
            (r#""clientId": "string""#, r#""clientId": "No""#, "clientId"),
            (r#""clientId": "string","#, "", "clientId"),
            (r#""bucketName": "string""#, r#""bucketName": null"#, "bucketName"),
            (r#""bucketName": "string""#, r#""bucketName": "a_b""#, "bucketName"),
            (r#""objectName": "string""#, r#""objectName": "a//b""#, "objectName"),
            (r#""fromSite": "string""#, r#""fromSite": 3"#, "fromSite"),
        ] {
            let text = SAMPLE.replace(with, instead);
            assert_ne!(text, SAMPLE);
            let error = read(&text).unwrap_err();
            assert!(error.message().contains(member), "{text}: {error}");
        }
    }
}

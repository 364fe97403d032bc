//! `Topology` (contract §1.4, §6.3): a site, as administration speaks of it.

use haulier_base::{Error, Result};
use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

use crate::model::{Site, SiteId, SiteStatus};

/// Longest name and longest address of a site, bytes.
const TEXT_BYTES_MAX: usize = 1024;

/// A site of the topology.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct Topology {
    /// What the site calls itself.
    #[schema(required = true, example = "lyon")]
    pub(crate) id: Option<String>,
    /// For people.
    #[schema(required = true)]
    pub(crate) name: Option<String>,
    /// Absolute, http or https, without a path.
    #[schema(required = true, example = "https://lyon.example:8443")]
    pub(crate) uri: Option<String>,
    /// `UP`, `DOWN`, `DELETED` or `UNKNOWN`, which null means as well.
    #[schema(example = "UP")]
    pub(crate) status: Option<String>,
}

impl Topology {
    pub(crate) fn new(site: &Site) -> Self {
        Self {
            id: Some(site.id.to_string()),
            name: Some(site.name.clone()),
            uri: Some(site.uri.clone()),
            status: Some(site.status.to_string()),
        }
    }

    /// The site that was described.
    ///
    /// # Errors
    /// `Invalid`, with the member that is wrong.
    pub(crate) fn to_site(&self) -> Result<Site> {
        let status = self.status.as_deref().unwrap_or(SiteStatus::Unknown.as_str());
        Ok(Site {
            id: SiteId::new(text("id", &self.id)?).map_err(|error| Error::invalid(format!("id: {error}")))?,
            name: text("name", &self.name)?.to_owned(),
            uri: read_uri(text("uri", &self.uri)?)?,
            status: status.parse().map_err(|error| Error::invalid(format!("status: {error}")))?,
        })
    }
}

fn text<'a>(member: &str, value: &'a Option<String>) -> Result<&'a str> {
    let value = value.as_deref().map(str::trim).filter(|value| !value.is_empty());
    let value = value.ok_or_else(|| Error::invalid(format!("{member}: is missing or empty")))?;
    if value.len() > TEXT_BYTES_MAX {
        return Err(Error::invalid(format!("{member}: has more than {TEXT_BYTES_MAX} bytes")));
    }
    match value.chars().any(char::is_control) {
        true => Err(Error::invalid(format!("{member}: has a control character"))),
        false => Ok(value),
    }
}

/// The address of a site: absolute, http or https, without a path.
///
/// # Errors
/// `Invalid`, with the rule.
pub(crate) fn read_uri(text: &str) -> Result<String> {
    let refuse = |why: &str| Error::invalid(format!("uri: {why}; write one such as https://lyon.example:8443"));
    let url = Url::parse(text).map_err(|error| refuse(&format!("{text:?} is no URL ({error})")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refuse("is neither http nor https"));
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err(refuse("has a path, a query or a fragment"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("has a user name or a password; a site's token has a place of its own"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(uri: &str) -> Result<Site> {
        let text = |text: &str| Some(text.to_owned());
        Topology { id: text("lyon"), name: text("Lyon"), uri: text(uri), status: None }.to_site()
    }

    #[test]
    fn addresses() {
        assert_eq!(read("HTTP://lyon.example:80/").unwrap().uri, "http://lyon.example");
        assert_eq!(read("https://[::1]:8443").unwrap().uri, "https://[::1]:8443");
        for bad in
            ["", "lyon.example", "/x", "ftp://x", "http://x/y", "http://x?y", "http://u:p@x", "http://", "http://x#y"]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn status_may_be_absent_and_the_rest_may_not() {
        assert_eq!(read("http://x").unwrap().status, SiteStatus::Unknown);
        let error = Topology { status: Some("up".to_owned()), ..Topology::new(&read("http://x").unwrap()) }.to_site();
        assert!(error.unwrap_err().message().contains("status"));
        for member in ["id", "name", "uri"] {
            let mut value = serde_json::to_value(Topology::new(&read("http://x").unwrap())).unwrap();
            value[member] = serde_json::Value::Null;
            let error = serde_json::from_value::<Topology>(value).unwrap().to_site().unwrap_err();
            assert!(error.message().starts_with(member), "{error}");
        }
    }
}

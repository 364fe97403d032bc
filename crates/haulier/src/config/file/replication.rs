//! The section `[replication]` as it is written, and its checks.

use haulier_replication::{NewSite, ReplicationConfig, Site, SiteId, SiteStatus};
use serde::Deserialize;
use toml::Spanned;
use utoipa::ToSchema;

use super::{Reader, SecretSource};

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReplicationSection {
    /// Where this site keeps the bytes of its objects: `file` is the folder `objects` in `data_dir`; else a location,
    /// such as `NAME:prefix` of the configuration's locations, or `file:///srv/objects`. It must not change once there
    /// are objects.
    #[schema(value_type = Option<String>)]
    store: Option<Spanned<String>>,
    /// Whether an object that is not here is read from a site that has it; true when left out.
    remote_read: Option<bool>,
    /// Whether what such a read finds is also brought here; true when left out.
    fix_on_absent: Option<bool>,
    /// Whether sites send each other contents compressed with Zstandard; false when left out.
    compression: Option<bool>,
    /// How many days it is remembered that an object or a bucket was deleted, and bytes that lost a conflict are kept,
    /// 1 to 3650. A site that is cut off for longer may bring back what was deleted.
    #[schema(value_type = Option<u64>)]
    tombstone_days: Option<Spanned<u64>>,
    /// How many orders of other sites are applied at once, 1 to 1024.
    #[schema(value_type = Option<usize>)]
    slots: Option<Spanned<usize>>,
    /// The other sites: a table `[[replication.sites]]` for each. They go into the topology when a node starts with an
    /// empty one; afterwards `/administration/topologies` owns it.
    #[schema(value_type = Vec<SiteSection>, inline)]
    #[serde(default)]
    sites: Vec<Spanned<SiteSection>>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SiteSection {
    /// What the site calls itself: its `site` setting.
    id: String,
    /// A name for people; the id when left out.
    name: Option<String>,
    /// Where it listens, such as `https://lyon.example:3862`.
    uri: String,
    /// The token that it takes from this node: `{ file = "PATH" }` or `{ env = "NAME" }`.
    #[schema(value_type = Option<Object>)]
    token: Option<SecretSource>,
}

impl Reader<'_> {
    pub(super) fn replication(&mut self, section: ReplicationSection) -> (ReplicationConfig, Vec<NewSite>) {
        let defaults = ReplicationConfig::default();
        let span_of = |key: &str| match key {
            "tombstone_days" => section.tombstone_days.as_ref().map(Spanned::span),
            "slots" => section.slots.as_ref().map(Spanned::span),
            _ => section.store.as_ref().map(Spanned::span),
        };
        let config = ReplicationConfig {
            store: section.store.as_ref().map_or(defaults.store, |store| store.get_ref().clone()),
            remote_read: section.remote_read.unwrap_or(defaults.remote_read),
            fix_on_absent: section.fix_on_absent.unwrap_or(defaults.fix_on_absent),
            compression: section.compression.unwrap_or(defaults.compression),
            tombstone_days: section.tombstone_days.as_ref().map_or(defaults.tombstone_days, |days| *days.get_ref()),
            slots: section.slots.as_ref().map_or(defaults.slots, |slots| *slots.get_ref()),
        };
        let faults = config.faults().into_iter();
        self.found.extend(faults.map(|fault| {
            let key = fault.split(':').next().unwrap_or_default();
            (span_of(key).unwrap_or(0..0), fault)
        }));
        let mut sites: Vec<NewSite> = Vec::new();
        for section in section.sites {
            let span = section.span();
            match self.site_of(section.into_inner()) {
                Ok(new) if sites.iter().any(|known| known.site.id == new.site.id) => {
                    self.fault(span, format!("replication.sites: there are two sites {}", new.site.id));
                }
                Ok(new) => sites.push(new),
                Err(message) => self.fault(span, format!("replication.sites: {message}")),
            }
        }
        (config, sites)
    }

    fn site_of(&self, section: SiteSection) -> Result<NewSite, String> {
        let id = SiteId::new(section.id).map_err(|error| error.message().to_owned())?;
        let name = section.name.unwrap_or_else(|| id.to_string());
        let site = Site { id, name, uri: section.uri, status: SiteStatus::Up };
        site.check().map_err(|error| error.message().to_owned())?;
        let token = section.token.map(|source| self.secret(source)).transpose()?;
        Ok(NewSite { site, token })
    }
}

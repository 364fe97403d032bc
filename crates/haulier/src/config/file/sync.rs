//! The section `[sync]` as it is written, and its checks.

use std::collections::BTreeMap;
use std::path::Path;

use haulier_sync::{EntryName, NewEntry, Setup, SyncConfig};
use serde::Deserialize;
use serde_json::Value;
use toml::Spanned;
use utoipa::ToSchema;

use super::Reader;

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SyncSection {
    /// What becomes of the older version when a file was changed at two entries: `keep-both` keeps it beside the newer
    /// one, as `NAME.sync-conflict-DATE-TIME-ENTRY`; `newest` drops it.
    #[schema(value_type = Option<haulier_sync::ConflictChoice>, inline)]
    conflict: Option<haulier_sync::ConflictChoice>,
    /// How many days versions that were replaced or deleted can be had back, 0 to 3650. They lie in `.haulier/kept/` of
    /// each entry.
    #[schema(value_type = Option<u64>)]
    kept_days: Option<Spanned<u64>>,
    /// Web pages of these origins, such as `https://host:8443`, may call the sync API from a browser. `"*"` is all of
    /// them: then every page that anybody opens on this machine can change what is synced.
    #[schema(value_type = Option<Vec<String>>)]
    allow_origins: Option<Spanned<Vec<String>>>,
    /// How many entries this process carries to at once, 1 to 1024.
    #[schema(value_type = Option<usize>)]
    slots: Option<Spanned<usize>>,
    /// The byte rate that all copies of sync in this process share, in bytes per second; left out, there is no limit.
    #[schema(value_type = Option<u64>)]
    rate_bytes_per_second: Option<Spanned<u64>>,
    /// The storages that are kept in step: a table `[sync.entries.NAME]` for each, with `driver` and `options`.
    /// Secrets are best given as `{ file = "PATH" }` or `{ env = "NAME" }`. The order of the file is that of the list.
    #[schema(value_type = Object)]
    #[serde(default)]
    entries: BTreeMap<String, Spanned<EntrySection>>,
    /// Which entry holds which files: a table `[[sync.rules]]` for each rule, with `match`, `sync` and `ban`. Rules put
    /// through the API stay in force until these change.
    #[schema(value_type = Option<Vec<Object>>)]
    rules: Option<Spanned<Vec<toml::Table>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntrySection {
    driver: String,
    #[serde(default)]
    options: toml::Table,
}

impl Reader<'_> {
    pub(super) fn sync(&mut self, section: SyncSection) -> (SyncConfig, Setup) {
        let defaults = SyncConfig::default();
        let span_of = |key: &str| match key {
            "kept_days" => section.kept_days.as_ref().map(Spanned::span),
            "slots" => section.slots.as_ref().map(Spanned::span),
            "rate_bytes_per_second" => section.rate_bytes_per_second.as_ref().map(Spanned::span),
            _ => section.allow_origins.as_ref().map(Spanned::span),
        };
        let config = SyncConfig {
            conflict: section.conflict.unwrap_or(defaults.conflict),
            kept_days: section.kept_days.as_ref().map_or(defaults.kept_days, |days| *days.get_ref()),
            allow_origins: section.allow_origins.as_ref().map_or(defaults.allow_origins, |all| all.get_ref().clone()),
            slots: section.slots.as_ref().map_or(defaults.slots, |slots| *slots.get_ref()),
            rate_bytes_per_second: section.rate_bytes_per_second.as_ref().map(|rate| *rate.get_ref()),
        };
        let faults = config.faults().into_iter();
        self.found.extend(faults.map(|fault| {
            let key = fault.split(':').next().unwrap_or_default();
            (span_of(key).unwrap_or(0..0), fault)
        }));
        let entries = self.entries(section.entries);
        let span = section.rules.as_ref().map_or(0..0, Spanned::span);
        let rules = section.rules.map(|rules| serde_json::to_value(rules.into_inner()).unwrap_or_default());
        let setup = Setup { name: None, entries, rules };
        if let Err(error) = setup.check() {
            self.fault(span, format!("sync.{}", error.message()));
        }
        (config, setup)
    }

    /// Entries in the order of the file.
    fn entries(&mut self, sections: BTreeMap<String, Spanned<EntrySection>>) -> Vec<NewEntry> {
        let mut sections: Vec<_> = sections.into_iter().collect();
        sections.sort_by_key(|(_, section)| section.span().start);
        let folder = self.beside(Path::new(""));
        let mut entries = Vec::new();
        for (name, section) in sections {
            let span = section.span();
            let EntrySection { driver, options } = section.into_inner();
            let entry = EntryName::new(name.clone()).map_err(|error| error.message().to_owned());
            match entry.and_then(|entry| Ok((entry, self.entry_options(options)?))) {
                Ok((entry, options)) => {
                    let options = haulier_sync::beside(&folder, &driver, options);
                    entries.push(NewEntry { name: entry, driver, options });
                }
                Err(message) => self.fault(span, format!("sync.entries.{name}: {message}")),
            }
        }
        entries
    }

    /// Options as JSON; whatever is given as `{ file = … }` or `{ env = … }` is fetched from there.
    fn entry_options(&self, options: toml::Table) -> Result<Value, String> {
        let options = serde_json::to_value(options).map_err(|error| error.to_string())?;
        let Value::Object(members) = options else { return Ok(options) };
        let fetched = members.into_iter().map(|(name, value)| match serde_json::from_value(value.clone()) {
            Ok(source) => Ok((name, Value::from(self.secret(source)?.reveal().as_str()))),
            Err(_) => Ok((name, value)),
        });
        fetched.collect::<Result<_, String>>().map(Value::Object)
    }
}

//! The verbs: create, list, show, delete and try locations, and open what they name.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use haulier_base::{Error, ErrorKind, Result};
use haulier_catalog::Catalog;
use haulier_storage::{Location, Storages, map_secrets};
use serde_json::Value;

use super::model::{NamedLocation, Origin, check_name, check_url};
use super::open::{self, Configured, End, Request, Resolved, name_of};
use super::store;
use super::trial::{self, Trial};
use crate::{Caller, Sealer};

/// Most locations of one owner.
const OWN_MAX: i64 = 10_000;
/// Most locations in one answer.
pub(super) const PAGE_MAX: usize = 1000;
/// A name below a location that stands for any of its objects in checks.
const ANY_OBJECT: &str = "haulier-check";

/// What a client asks to be created.
#[derive(Clone, Debug, PartialEq)]
pub struct NewLocation {
    /// See [`check_name`].
    pub name: String,
    /// What paths are appended to.
    pub url: String,
    /// The connector's options, secrets in clear.
    pub options: Value,
}

/// Some of the locations a caller may use, in the order of names.
#[derive(Clone, Debug, PartialEq)]
pub struct LocationPage {
    /// The locations.
    pub items: Vec<NamedLocation>,
    /// Where the next page starts after, when there is one.
    pub next: Option<String>,
}

/// Named locations, and the way to every location. Cheap to clone.
#[derive(Clone)]
pub struct Locations {
    inner: Arc<Inner>,
}

struct Inner {
    catalog: Catalog,
    storages: Storages,
    sealer: Sealer,
    configured: Configured,
    /// Whether the catalogue's key is known to be ours.
    agreed: AtomicBool,
}

impl Locations {
    /// Builds the locations of a node, and makes sure that its key is the one that the catalogue's secrets were
    /// sealed with, once there are any.
    ///
    /// # Errors
    /// `Invalid` when it is another key.
    pub async fn new(catalog: Catalog, storages: Storages, sealer: Sealer, configured: Configured) -> Result<Self> {
        let mut tx = catalog.read().await?;
        let agreed = store::find_key(&mut tx).await?;
        refuse_other_key(agreed.as_deref(), &sealer)?;
        drop(tx);
        let agreed = AtomicBool::new(agreed.is_some());
        Ok(Self { inner: Arc::new(Inner { catalog, storages, sealer, configured, agreed }) })
    }

    /// Seals the secrets in options for a place. With the first one, this process's key becomes the catalogue's.
    async fn seal_for(&self, place: &str, url: &str, options: &Value) -> Result<Value> {
        self.seal_by(place, |seal| map_secrets(url, options, seal)).await
    }

    /// Seals for a place what `map` hands to its argument: the way for rooms whose options are no connector's.
    ///
    /// # Errors
    /// What `map` says; `Unavailable` when another process has sealed the catalogue's secrets with another key.
    pub async fn seal_by(
        &self,
        place: &str,
        map: impl FnOnce(&mut dyn FnMut(&Value) -> Result<Value>) -> Result<Value> + Send,
    ) -> Result<Value> {
        let (inner, mut any) = (&self.inner, false);
        let sealed = map(&mut |secret| {
            any = true;
            inner.sealer.seal(place, secret)
        })?;
        if any && !inner.agreed.load(Ordering::Relaxed) {
            let mut tx = inner.catalog.begin("locations.key").await?;
            store::record_key(&mut tx, inner.sealer.fingerprint()).await?;
            let agreed = store::find_key(&mut tx).await?;
            tx.commit().await?;
            // Not the caller's fault, and another process may have the right key.
            refuse_other_key(agreed.as_deref(), &inner.sealer)
                .map_err(|other| Error::unavailable(other.message().to_owned()))?;
            inner.agreed.store(true, Ordering::Relaxed);
        }
        Ok(sealed)
    }

    /// Opens a value that [`Locations::seal_by`] sealed for the same place; any other is returned as it is.
    ///
    /// # Errors
    /// `Unavailable` when it was sealed with another key or for another place.
    pub fn open_sealed(&self, place: &str, value: &Value) -> Result<Value> {
        self.inner.sealer.open(place, value)
    }

    /// Creates a location of the caller's. Its secrets are sealed before they are stored.
    ///
    /// # Errors
    /// `Invalid` when it could never be opened; `Conflict` when the name is taken.
    pub async fn create(&self, caller: &Caller, new: NewLocation) -> Result<NamedLocation> {
        check_name(&new.name)?;
        check_url(&new.url)?;
        let inner = &self.inner;
        let taken = || Error::conflict(format!("there is a location \"{}\" already", new.name));
        if inner.configured.contains_key(&new.name) {
            return Err(taken());
        }
        self.check_base(&new).await?;
        let place = place_of(&caller.user, &new.name);
        let mut location = NamedLocation {
            options: self.seal_for(&place, &new.url, &new.options).await?,
            name: new.name.clone(),
            url: new.url.clone(),
            origin: Origin::Api,
            created_at: None,
        };
        let mut tx = inner.catalog.begin("location.create").await?;
        if store::count(&mut tx, &caller.user).await? >= OWN_MAX {
            return Err(Error::invalid(format!("you have {OWN_MAX} locations, the most there can be; delete some")));
        }
        location.created_at = Some(tx.now());
        if !store::insert(&mut tx, &caller.user, &location).await? {
            return Err(taken());
        }
        tx.commit().await?;
        Ok(location)
    }

    /// Refuses a location that nothing could be read from and nothing written to.
    async fn check_base(&self, new: &NewLocation) -> Result<()> {
        let storages = &self.inner.storages;
        let named = |e: Error| Error::new(e.kind(), format!("url: {}", e.message())).caused_by(e);
        let url = storages.join(&new.url, ANY_OBJECT).map_err(named)?;
        let resolved = Resolved { url, options: new.options.clone() };
        match open::check(storages, End::Source, resolved.clone()).await {
            Err(error) if error.kind() == ErrorKind::Invalid => {
                open::check(storages, End::Target, resolved).await.map_err(|_| named(error))
            }
            checked => checked.map_err(named),
        }
    }

    /// The caller's locations and those of the configuration, in the order of names, after a name.
    ///
    /// # Errors
    /// `Invalid` when the limit is 0.
    pub async fn list(&self, caller: &Caller, after: Option<&str>, limit: usize) -> Result<LocationPage> {
        if limit == 0 {
            return Err(Error::invalid("limit: must be at least 1"));
        }
        let limit = limit.min(PAGE_MAX);
        let after = after.unwrap_or("");
        let mut tx = self.inner.catalog.read().await?;
        let wanted = i64::try_from(limit + 1).unwrap_or(i64::MAX);
        let mut items = store::list(&mut tx, &caller.user, after, wanted).await?;
        // The configuration's name hides an older one of the caller's.
        items.retain(|own| !self.inner.configured.contains_key(&own.name));
        items.extend(self.inner.configured.values().filter(|location| location.name.as_str() > after).cloned());
        items.sort_by(|one, other| one.name.cmp(&other.name));
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|last| last.name.clone());
        Ok(LocationPage { items, next })
    }

    /// One location the caller may use.
    ///
    /// # Errors
    /// `NotFound` when there is none of that name.
    pub async fn get(&self, caller: &Caller, name: &str) -> Result<NamedLocation> {
        self.find(&caller.user, name).await?.ok_or_else(|| no_such(name))
    }

    /// Deletes a location of the caller's; transfers that name it and are not finished will fail.
    ///
    /// # Errors
    /// `NotFound` when there is none; `Conflict` when it is the configuration's.
    pub async fn delete(&self, caller: &Caller, name: &str) -> Result<()> {
        if self.inner.configured.contains_key(name) {
            return Err(Error::conflict(format!(
                "the location \"{name}\" is in the node's configuration; remove it there"
            )));
        }
        let mut tx = self.inner.catalog.begin("location.delete").await?;
        if !store::delete(&mut tx, &caller.user, name).await? {
            return Err(no_such(name));
        }
        tx.commit().await
    }

    /// Opens a location and looks into it; with `write`, also writes, reads and deletes a small object.
    ///
    /// # Errors
    /// `NotFound` when there is none. What fails at the storage is in the answer.
    pub async fn try_out(&self, caller: &Caller, name: &str, write: bool) -> Result<Trial> {
        let location = self.get(caller, name).await?;
        Ok(trial::run(&self.inner.storages, self.object_of(&caller.user, &location, "")?, write).await)
    }

    /// Checks both ends of a copy cheaply, without touching a network.
    ///
    /// # Errors
    /// As the connectors say, the field named; `Invalid` when both ends surely are one object.
    pub async fn check_copy(&self, owner: &str, source: Request<'_>, target: Request<'_>) -> Result<()> {
        let named = |field: &str, e: Error| Error::new(e.kind(), format!("{field}: {}", e.message())).caused_by(e);
        let from = self.resolve(owner, "", source).await.map_err(|e| named("source_url", e))?;
        let to = self.resolve(owner, "", target).await.map_err(|e| named("destination_url", e))?;
        open::aside(&self.inner.storages, move |storages| {
            storages.check_source(&from.url, &from.options).map_err(|e| named("source_url", e))?;
            storages.check_target(&to.url, &to.options).map_err(|e| named("destination_url", e))?;
            if storages.same_object(&from.url, &to.url) {
                return Err(Error::invalid("source_url and destination_url are the same file"));
            }
            Ok(())
        })
        .await
    }

    /// Opens both ends of a copy whose options were stored for `place`.
    ///
    /// # Errors
    /// As the connectors say; `Invalid` when both ends surely are one object.
    pub async fn open_copy(
        &self,
        owner: &str,
        place: &str,
        source: Request<'_>,
        target: Request<'_>,
    ) -> Result<(Location, Location)> {
        let from = self.resolve(owner, place, source).await?;
        let to = self.resolve(owner, place, target).await?;
        open::aside(&self.inner.storages, move |storages| {
            if storages.same_object(&from.url, &to.url) {
                return Err(Error::invalid("source_url and destination_url are the same file"));
            }
            let source = storages.open_source(&from.url, &from.options)?;
            Ok((source, storages.open_target(&to.url, &to.options)?))
        })
        .await
    }

    /// Opens a target whose options were stored for `place`.
    ///
    /// # Errors
    /// As the connectors say.
    pub async fn open_target(&self, owner: &str, place: &str, target: Request<'_>) -> Result<Location> {
        let resolved = self.resolve(owner, place, target).await?;
        open::open(&self.inner.storages, End::Target, resolved).await
    }

    /// Options fit for storing: their secrets sealed for `place`.
    ///
    /// # Errors
    /// `Unavailable` when another process has sealed the catalogue's secrets with another key.
    pub async fn seal(&self, place: &str, request: Request<'_>) -> Result<Value> {
        self.seal_for(place, request.url, request.options).await
    }

    /// Options fit for showing: their secrets as `***`.
    pub fn redact(&self, request: Request<'_>) -> Value {
        Storages::redact_options(request.url, request.options)
    }

    /// A plain URL with opened secrets. A name is looked up for the owner.
    async fn resolve(&self, owner: &str, place: &str, request: Request<'_>) -> Result<Resolved> {
        let inner = &self.inner;
        let options = map_secrets(request.url, request.options, |s| inner.sealer.open(place, s))?;
        let Some((name, path)) = name_of(request.url) else {
            return Ok(Resolved { url: request.url.to_owned(), options });
        };
        let Some(location) = self.find(owner, name).await? else {
            // The storages say what is wrong with a URL of no known scheme.
            return Ok(Resolved { url: request.url.to_owned(), options });
        };
        open::refuse_other_options(name, &options)?;
        self.object_of(owner, &location, path)
    }

    /// An object of a location, its secrets opened.
    fn object_of(&self, owner: &str, location: &NamedLocation, path: &str) -> Result<Resolved> {
        let inner = &self.inner;
        let place = place_of(owner, &location.name);
        let open = |secret: &Value| inner.sealer.open(&place, secret);
        Ok(Resolved {
            url: inner.storages.join(&location.url, path)?,
            options: map_secrets(&location.url, &location.options, open)?,
        })
    }

    async fn find(&self, owner: &str, name: &str) -> Result<Option<NamedLocation>> {
        if let Some(location) = self.inner.configured.get(name) {
            return Ok(Some(location.clone()));
        }
        let mut tx = self.inner.catalog.read().await?;
        store::find(&mut tx, owner, name).await
    }
}

fn refuse_other_key(agreed: Option<&str>, sealer: &Sealer) -> Result<()> {
    match agreed {
        Some(agreed) if agreed != sealer.fingerprint() => Err(Error::invalid(format!(
            "the secrets in the catalogue are sealed with the key {agreed}, and this process has the key {}: give all \
             processes of one catalogue the same secrets.key",
            sealer.fingerprint()
        ))),
        _ => Ok(()),
    }
}

fn place_of(owner: &str, name: &str) -> String {
    format!("location/{owner}/{name}")
}

fn no_such(name: &str) -> Error {
    let shown: String = name.chars().take(64).collect();
    Error::not_found(format!("there is no location \"{shown}\""))
}

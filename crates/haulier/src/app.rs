//! Builds one of everything from the settings, and the list of rooms.
//!
//! Knows no business rule, and is handed to nobody.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::any;
use haulier_access::{AuthMode, Authenticator, Caller, Locations, Sealer, StaticToken, locations, sealer};
use haulier_backup::Backups;
use haulier_base::{Error, Result, SystemClock, id};
use haulier_catalog::{Catalog, DatabaseUrl};
use haulier_http::Metrics;
use haulier_replication::{NewSite, Place, Replication};
use haulier_storage::{StorageConfig, Storages};
use haulier_sync::{Setup, Syncs};
use haulier_transfer::Transfers;
use haulier_work::{Handlers, RunnerConfig};
use tower::ServiceExt;

use crate::config::{Api, Config, Mode};
use crate::serve::status::{self, Readiness};

/// One of everything a node is made of.
pub(crate) struct App {
    pub(crate) catalog: Catalog,
    pub(crate) metrics: Metrics,
    pub(crate) readiness: Readiness,
    authenticator: Authenticator,
    transfers: Transfers,
    syncs: Syncs,
    replication: Replication,
    backups: Backups,
    /// Whether tokens are handed out below `/v3`.
    identity: bool,
    locations: Locations,
}

/// Where the settings put the catalogue.
pub(crate) fn database_url(config: &Config) -> Result<DatabaseUrl> {
    match config.database.url.reveal().as_str() {
        "sqlite" => DatabaseUrl::parse("sqlite:catalog.db", &config.data_dir),
        url => DatabaseUrl::parse(url, &config.data_dir),
    }
}

/// Opens the catalogue, with every migration applied.
pub(crate) async fn open_catalog(config: &Config) -> Result<Catalog> {
    std::fs::create_dir_all(&config.data_dir).map_err(|error| {
        let error = Error::from(error);
        Error::new(error.kind(), format!("the data folder {} cannot be made: {error}", config.data_dir.display()))
    })?;
    Catalog::open_and_migrate(&database_url(config)?, Arc::new(SystemClock)).await
}

impl App {
    /// Opens the catalogue and the storages, and builds the rooms on them.
    pub(crate) async fn build(config: &Config) -> Result<Self> {
        let catalog = open_catalog(config).await?;
        let metrics = Metrics::default();
        let storages = Storages::new(storage_config(config)?)?;
        let configured = Arc::new(config.locations.clone());
        let locations = Locations::new(catalog.clone(), storages.clone(), open_sealer(config)?, configured).await?;
        let transfers = Transfers::new(catalog.clone(), locations.clone(), config.transfer.clone());
        let own_folders = vec![config.data_dir.clone()];
        let syncs = Syncs::new(catalog.clone(), locations.clone(), storages, config.sync.clone(), own_folders).await?;
        let place = Place { site: config.site.clone(), data_dir: config.data_dir.clone() };
        let replication =
            Replication::new(catalog.clone(), locations.clone(), config.replication.clone(), place).await?;
        metrics.with_registry(|registry| replication.metrics().register(registry));
        let (authenticator, readiness) = (authenticator(config)?, Readiness::new(catalog.clone()));
        let backups = Backups::new(catalog.clone(), config.backup.clone());
        metrics.with_registry(|registry| backups.metrics().register(registry));
        let identity = config.backup.identity;
        Ok(Self {
            catalog,
            metrics,
            readiness,
            authenticator,
            transfers,
            syncs,
            replication,
            backups,
            identity,
            locations,
        })
    }

    /// The handlers of every room that any process of a node may run.
    pub(crate) fn handlers(&self) -> Handlers {
        self.transfers.handlers().into_iter().fold(Handlers::new(), Handlers::register)
    }

    /// The handlers of sync. They touch folders of the machine that the node serves on, so workers have none.
    pub(crate) fn sync_handlers(&self) -> Handlers {
        self.syncs.handlers().into_iter().fold(Handlers::new(), Handlers::register)
    }

    /// The handlers of replication, whose store is the node's too.
    pub(crate) fn replication_handlers(&self) -> Handlers {
        self.replication.handlers().into_iter().fold(Handlers::new(), Handlers::register)
    }

    /// The handlers of the tasks that do not end.
    pub(crate) fn attendants(&self) -> Handlers {
        let all = self.syncs.attendants().into_iter().chain(self.replication.attendants());
        all.fold(Handlers::new(), Handlers::register)
    }

    /// Makes what the configuration says of replication so.
    pub(crate) async fn begin_replication(&self, sites: Vec<NewSite>) -> Result<()> {
        self.replication.begin(sites).await
    }

    /// Makes what the configuration says of sync so.
    pub(crate) async fn begin_sync(&self, setup: Setup) -> Result<()> {
        self.syncs.begin(setup).await
    }

    /// What a listener answers: its APIs behind the authenticator, and the status routes.
    pub(crate) fn router(&self, apis: &[Api]) -> Router {
        let openapi = haulier_transfer::openapi().merge_from(locations::openapi());
        let openapi = openapi.merge_from(haulier_sync::openapi()).merge_from(haulier_sync::own_openapi());
        let openapi = openapi.merge_from(haulier_replication::openapi()).merge_from(haulier_backup::openapi());
        let openapi = openapi.merge_from(haulier_backup::own_openapi());
        let mut router = status::router(self.readiness.clone(), self.metrics.clone(), self.backups.clone(), openapi);
        let guarded = haulier_access::layer(locations::router(self.locations.clone()), self.authenticator.clone());
        router = router.merge(guarded);
        router = self.add_v1(router, apis);
        if apis.contains(&Api::Sync) {
            let own = haulier_sync::own_router(self.syncs.clone());
            router = router.merge(haulier_access::layer(own, self.authenticator.clone()));
            let guarded = haulier_access::layer(haulier_sync::router(self.syncs.clone()), self.authenticator.clone());
            router = router.merge(guarded.clone().reset_fallback());
            for below in ["/api", "/api/", "/api/{*rest}"] {
                router = router.route_service(below, guarded.clone().into_service::<Body>());
            }
        }
        if apis.contains(&Api::Replication) {
            let replication = haulier_replication::router(self.replication.clone());
            router = router.merge(haulier_access::layer(replication, self.authenticator.clone()));
        }
        if apis.contains(&Api::Backup) {
            router = router.merge(haulier_backup::versions_router());
            let own = haulier_backup::own_router(self.backups.clone());
            router = router.merge(haulier_access::layer(own, self.backup_users()));
            if self.identity {
                router = router.merge(haulier_backup::identity_router(self.backup_users(), self.catalog.clock()));
            }
        }
        if apis.contains(&Api::Transfer) {
            router = router.fallback_service(haulier_transfer::versions_router(self.transfers.clone()));
        }
        router
    }

    /// Who asks the backup API. Where nobody has to say who he is, its users may (backup contract §3).
    fn backup_users(&self) -> Authenticator {
        self.authenticator.self_named("anonymous")
    }

    /// Adds the two APIs whose paths begin with `/v1`. Each answers in its own words to what it does not know: transfer
    /// below `/v1/transfers`, backup to the rest; one that is alone answers everything.
    fn add_v1(&self, mut router: Router, apis: &[Api]) -> Router {
        let (mut below_transfers, mut below) = (None, None);
        if apis.contains(&Api::Transfer) {
            let transfers = haulier_transfer::router(self.transfers.clone());
            let guarded = haulier_access::layer(transfers, self.authenticator.clone());
            router = router.merge(guarded.clone().reset_fallback());
            below_transfers = Some(guarded);
        }
        if apis.contains(&Api::Backup) {
            let guard = |router| haulier_access::layer(router, self.backup_users());
            router = router.merge(guard(haulier_backup::router(self.backups.clone())).reset_fallback());
            below = Some(guard(haulier_backup::below_v1(self.backups.clone())));
        }
        let Some(rest) = below.clone().or_else(|| below_transfers.clone()) else { return router };
        let transfers = below_transfers.unwrap_or_else(|| rest.clone());
        if below.is_none() {
            for path in ["/v1", "/v1/"] {
                router = router.route_service(path, rest.clone().into_service::<Body>());
            }
        }
        let dispatch = async move |request: Request| {
            let first = request.uri().path().split('/').nth(2).unwrap_or_default();
            let room = if first == "transfers" { transfers } else { rest };
            room.oneshot(request).await
        };
        router.route("/v1/{*rest}", any(dispatch))
    }
}

/// The key that secrets are sealed with: the one that is given, else the node's own.
fn open_sealer(config: &Config) -> Result<Sealer> {
    sealer(config.secrets.key.as_ref(), &config.data_dir.join("secrets.key"))
}

/// How this process runs tasks, so many at once.
pub(crate) fn runner_config(config: &Config, slots: usize) -> RunnerConfig {
    let holder = format!("{}/{}/{}", config.site, std::process::id(), id::random_uuid());
    RunnerConfig { slots, holder, ..RunnerConfig::default() }
}

fn storage_config(config: &Config) -> Result<StorageConfig> {
    let networks = config.network.allow.iter().map(|network| network.parse());
    Ok(StorageConfig {
        roots: config.files.roots.clone(),
        allow_any_path: config.allows_any_path(),
        allow_networks: networks.collect::<Result<_>>()?,
        allow_private: config.network.allow_private,
        node: config.site.clone(),
        ..StorageConfig::default()
    })
}

fn authenticator(config: &Config) -> Result<Authenticator> {
    let mode = match config.auth.mode {
        Mode::Open => AuthMode::Open,
        Mode::Static => AuthMode::Static(
            config
                .auth
                .tokens
                .iter()
                .map(|token| StaticToken {
                    token: token.token.clone(),
                    caller: Caller {
                        user: token.user.clone(),
                        user_name: None,
                        project: token.project.clone(),
                        roles: token.roles.clone(),
                        client_id: token.client_id.clone(),
                    },
                })
                .collect(),
        ),
        Mode::Trusted => {
            let fronts = config.auth.fronts.iter().map(|front| front.parse());
            AuthMode::Trusted(fronts.collect::<Result<_>>()?)
        }
    };
    Ok(Authenticator::new(mode))
}

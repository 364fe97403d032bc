//! Which sites could not be reached a moment ago, so that not every order finds that out by itself.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::SiteId;

/// For so long a site that gave no answer is not asked for the next order.
const AVOIDED_FOR: Duration = Duration::from_secs(2);

/// Sites in trouble. Shared by all orders that are being carried out.
#[derive(Debug, Default)]
pub(super) struct Sources(Mutex<HashMap<SiteId, (Instant, String)>>);

impl Sources {
    /// Why a site is not asked just now.
    pub(super) fn trouble(&self, site: &SiteId) -> Option<String> {
        let sites = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sites.get(site).filter(|(until, _)| *until > Instant::now()).map(|(_, why)| why.clone())
    }

    /// A site gave no answer.
    pub(super) fn failed(&self, site: &SiteId, why: &str) {
        let mut sites = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sites.insert(site.clone(), (Instant::now() + AVOIDED_FOR, why.to_owned()));
    }

    /// A site answered; says whether it had not before.
    pub(super) fn answered(&self, site: &SiteId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(site).is_some()
    }
}

//! The loop over the other sites (contract §4.2): whom to ask, in which order, and what their answers amount to.

use std::collections::BTreeSet;

use haulier_base::{Error, Result};

use super::Replication;
use crate::model::{SiteId, SiteStatus};
use crate::peer::{Peer, Said};
use crate::store::sites::{self, SiteRow};

/// What it means that no site has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Nowhere {
    /// Every site said so.
    Absent,
    /// Every site said so, one of them that it was deleted.
    Deleted,
    /// These sites gave no usable answer.
    Unknown(BTreeSet<SiteId>),
}

impl Nowhere {
    /// Names the sites that could not be asked.
    pub(crate) fn unanswered(&self) -> Option<String> {
        let Self::Unknown(sites) = self else { return None };
        let names: Vec<_> = sites.iter().map(SiteId::as_str).collect();
        Some(format!("no answer from {}", names.join(", ")))
    }
}

/// Adds up answers until one is what was looked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    deleted: bool,
    failed: BTreeSet<SiteId>,
}

impl Tally {
    /// Takes what a site said; gives back what was looked for.
    pub(crate) fn take<T>(&mut self, site: &SiteId, said: Said<T>) -> Option<T> {
        match said {
            Said::Has(found) => return Some(found),
            Said::Lacks | Said::Forbidden => {}
            Said::Deleted => self.deleted = true,
            Said::Failed(error) => {
                tracing::info!(%site, error.chain = ?error, "a site that was asked failed: {error}");
                self.failed.insert(site.clone());
            }
        }
        None
    }

    /// What it amounts to that nobody had it (§4.2 4).
    pub(crate) fn conclude(self) -> Nowhere {
        match (self.failed.is_empty(), self.deleted) {
            (false, _) => Nowhere::Unknown(self.failed),
            (true, true) => Nowhere::Deleted,
            (true, false) => Nowhere::Absent,
        }
    }
}

/// Whom to ask: the one site that is named, if it is another one and has not left; else every other site that is UP,
/// by id (§4.2 1, 2).
fn candidates(own: &SiteId, target: Option<&str>, rows: Vec<SiteRow>) -> Vec<SiteRow> {
    let mut chosen: Vec<_> = rows
        .into_iter()
        .filter(|row| row.site.id != *own)
        .filter(|row| match target {
            Some(target) => row.site.id.as_str() == target && row.site.status != SiteStatus::Deleted,
            None => row.site.status == SiteStatus::Up,
        })
        .collect();
    chosen.sort_by(|one, other| one.site.id.cmp(&other.site.id));
    chosen
}

impl Replication {
    /// The sites to ask, in their order.
    ///
    /// # Errors
    /// As the catalogue says; `Unavailable` when the token of one cannot be opened.
    pub(crate) async fn sites_to_ask(&self, target: Option<&str>) -> Result<Vec<Peer>> {
        let rows = sites::list(&mut self.inner.catalog.read().await?, None).await?;
        candidates(&self.inner.site, target, rows).into_iter().map(|row| self.inner.peer(row)).collect()
    }

    /// Asks one site after the other until one has it.
    ///
    /// # Errors
    /// As the catalogue says. That nobody has it is no error.
    pub(crate) async fn ask_sites<T, F>(
        &self,
        target: Option<&str>,
        ask: impl Fn(Peer) -> F,
    ) -> Result<std::result::Result<(T, Peer), Nowhere>>
    where
        F: Future<Output = Said<T>>,
    {
        let mut tally = Tally::default();
        for peer in self.sites_to_ask(target).await? {
            if let Some(found) = tally.take(&peer.site.id, ask(peer.clone()).await) {
                return Ok(Ok((found, peer)));
            }
        }
        Ok(Err(tally.conclude()))
    }
}

/// A site that could not be asked, as the contract's 500.
pub(crate) fn unreachable(nowhere: &Nowhere) -> Option<Error> {
    nowhere.unanswered().map(|names| Error::unavailable(format!("it may be at a site that cannot be asked: {names}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Site;

    fn site(id: &str) -> SiteId {
        SiteId::new(id).unwrap()
    }

    fn row(id: &str, status: SiteStatus) -> SiteRow {
        let site = Site { id: site(id), name: id.into(), uri: "http://127.0.0.1:1".into(), status };
        SiteRow { site, token: None }
    }

    fn after(said: Vec<Said<u8>>) -> std::result::Result<u8, Nowhere> {
        let mut tally = Tally::default();
        for (index, said) in said.into_iter().enumerate() {
            if let Some(found) = tally.take(&site(&format!("s{index}")), said) {
                return Ok(found);
            }
        }
        Err(tally.conclude())
    }

    #[test]
    fn answers_amount_to_what_the_contract_says() {
        let failed = || Said::Failed(Error::unavailable("away"));
        assert_eq!(after(vec![]), Err(Nowhere::Absent));
        assert_eq!(after(vec![Said::Lacks, Said::Forbidden]), Err(Nowhere::Absent));
        assert_eq!(after(vec![Said::Lacks, Said::Deleted]), Err(Nowhere::Deleted));
        assert_eq!(after(vec![failed(), Said::Deleted]), Err(Nowhere::Unknown([site("s0")].into())));
        assert_eq!(after(vec![Said::Lacks, failed(), Said::Lacks]), Err(Nowhere::Unknown([site("s1")].into())));
        assert_eq!(after(vec![failed(), Said::Deleted, Said::Has(7)]), Ok(7));
    }

    #[test]
    fn e17_whom_to_ask() {
        let rows = || {
            vec![
                row("d", SiteStatus::Up),
                row("own", SiteStatus::Up),
                row("b", SiteStatus::Down),
                row("c", SiteStatus::Deleted),
                row("a", SiteStatus::Up),
                row("e", SiteStatus::Unknown),
            ]
        };
        let ids = |target| -> Vec<String> {
            let chosen = candidates(&site("own"), target, rows());
            chosen.into_iter().map(|row| row.site.id.to_string()).collect()
        };
        assert_eq!(ids(None), ["a", "d"]);
        assert_eq!(ids(Some("b")), ["b"]);
        assert_eq!(ids(Some("e")), ["e"]);
        for nobody in ["c", "own", "unknown", ""] {
            assert!(ids(Some(nobody)).is_empty(), "{nobody}");
        }
    }
}

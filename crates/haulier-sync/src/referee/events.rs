//! What the referee tells the world of a batch. Knows no reader.

use haulier_base::Result;
use haulier_catalog::Tx;
use serde_json::json;

use super::write::Judged;
use crate::events::{Happened, publish as tell};
use crate::model::EntryName;
use crate::plan::Became;

/// An event for each file that has another version or none, and for each version that lost.
///
/// That a copy arrived somewhere is no event: it says nothing new of the file.
pub(super) async fn publish(tx: &mut Tx, at: &EntryName, judged: &Judged) -> Result<()> {
    for (name, fid, became) in &judged.became {
        let (what, how) = match became {
            Became::Created => (Happened::FileChanged, "created"),
            Became::Edited => (Happened::FileChanged, "edited"),
            Became::Touched => (Happened::FileChanged, "touched"),
            Became::Deleted => (Happened::FileDeleted, "deleted"),
            Became::Settled => continue,
        };
        let body = json!({ "filename": name.as_str(), "entry": at.as_str(), "change": how });
        tell(tx, what, fid.as_str(), body).await?;
    }
    for (name, conflict) in &judged.conflicts {
        let body = json!({
            "filename": name.as_str(),
            "winner": conflict.winner.as_str(),
            "loser": conflict.loser.as_str(),
            "aside": conflict.aside.as_ref().map(|aside| aside.as_str()),
        });
        tell(tx, Happened::FileConflicted, name.fid().as_str(), body).await?;
    }
    Ok(())
}

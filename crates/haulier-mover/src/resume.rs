//! What a later attempt needs to go on where this one stops.
//!
//! Knows no database: whoever starts a move keeps the points.

use async_trait::async_trait;
use haulier_base::Result;
use serde::{Deserialize, Serialize};

/// A place from which a move can go on, after a crash too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResumePoint {
    /// Identity of the source; another one at the next attempt means starting over.
    pub source_version: Option<String>,
    /// Size of the whole source.
    pub source_size: Option<u64>,
    /// The target writer's token.
    pub token: Option<String>,
    /// Contiguous bytes from the start of the range that were written and flushed.
    pub safe: u64,
    /// The state of the running checksums of exactly the safe bytes; none where none is computed.
    pub hash_state: Option<String>,
}

impl ResumePoint {
    /// Whether a later attempt could tell that it goes on with the same source and target.
    pub(crate) fn is_usable(&self) -> bool {
        self.safe > 0 && self.token.is_some() && (self.source_version.is_some() || self.hash_state.is_some())
    }
}

/// Keeps resume points, and says whether the work is still ours.
#[async_trait]
pub trait Checkpoint: Send + Sync {
    /// Makes a point durable. What it calls safe is flushed already. `LostLease` stops the move at once.
    async fn save(&self, point: &ResumePoint) -> Result<()>;

    /// Told before bytes that a saved point calls safe are thrown away: from now on nothing is safe, and the
    /// point leads nowhere. They are kept, and the attempt fails, when this fails.
    async fn start_over(&self) -> Result<()> {
        Ok(())
    }

    /// Asked right before the target becomes visible, where any error keeps it invisible, and before an
    /// unfinished target is removed, where `LostLease` keeps it.
    async fn publish(&self) -> Result<()> {
        Ok(())
    }
}

/// Keeps nothing: for moves that need not survive a crash.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCheckpoint;

#[async_trait]
impl Checkpoint for NoCheckpoint {
    async fn save(&self, _point: &ResumePoint) -> Result<()> {
        Ok(())
    }
}

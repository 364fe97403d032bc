//! The words every floor uses: errors, identifiers, time, checksums, pages, permits, secrets.
//!
//! Knows no service, no database and no network.

pub mod backoff;
pub mod checksum;
pub mod error;
pub mod id;
pub mod page;
pub mod permit;
pub mod secret;
pub mod time;

pub use backoff::Backoff;
pub use checksum::{Algorithm, Checksum};
pub use error::{Error, ErrorKind, Result};
pub use page::Page;
pub use permit::Permit;
pub use secret::Secret;
pub use time::{Clock, ManualClock, SystemClock, Timestamp};

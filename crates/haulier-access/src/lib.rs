//! Who is asking, and whether a request was made before.
//!
//! Knows no room.

mod authenticator;
mod caller;
pub mod idempotency;

pub use authenticator::{AuthMode, Authenticator, Network, StaticToken, layer};
pub use caller::Caller;

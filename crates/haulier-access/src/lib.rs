//! Who is asking, whether a request was made before, and which locations have names and secrets.
//!
//! Knows no room.

mod authenticator;
mod caller;
pub mod idempotency;
pub mod locations;
mod seal;

pub use authenticator::{AuthMode, Authenticator, Network, StaticToken, layer};
pub use caller::Caller;
pub use locations::Locations;
pub use seal::{Sealer, sealer};

//! Named storage with credentials: given once, used as `NAME:path/to/object` wherever a URL can stand.
//!
//! The one place where stored secrets are opened. Knows no room.

mod api;
mod http;
mod model;
mod open;
mod service;
mod store;
mod trial;

pub use http::{openapi, router};
pub use model::{NamedLocation, Origin, check_name};
pub use open::{Configured, Request};
pub use service::{LocationPage, Locations, NewLocation};
pub use trial::{Trial, TrialStep};

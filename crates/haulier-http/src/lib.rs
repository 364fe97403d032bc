//! What every `http.rs` shares: statuses, bodies, media types, layers, metrics and the server itself.
//!
//! Knows no database, no storage and no room; the shape of an error body belongs to each contract.

pub mod body;
pub mod layers;
pub mod media;
pub mod metrics;
pub mod openapi;
pub mod problem;
pub mod server;

pub use body::{discard_rest, read_body};
pub use layers::{RequestId, standard};
pub use media::{JsonContentType, coding_weight, content_type_is_json, media_weight, prefers_html, prefers_text};
pub use metrics::Metrics;
pub use problem::{Problem, status_of};
pub use server::{Server, ServerConfig};

//! One trait in front of every place bytes can live: connectors, layers around them, and the list of both.
//!
//! Knows no tasks, no SQL and no service.

pub mod capability;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod connector;
pub mod connectors;
pub mod guard;
pub mod layers;

pub mod object;
pub mod storage;

pub use capability::Capabilities;
pub use connector::{CONNECTORS, COPY_OPTIONS, Connector, StorageConfig, Storages, connector, map_secrets, scheme_of};
pub use connectors::memory::MemoryStore;
pub use connectors::network::Network;
pub use guard::{Attributes, Guard};
pub use object::{
    ByteStream, FileHandle, Flushed, ListedObject, ObjectKind, ObjectMeta, ObjectPath, ObjectRead, Placement,
    ReadRequest, StoreSource, Version, WriteRequest, Written,
};
pub use storage::{Location, Look, NO_WAY, ObjectWriter, Storage};

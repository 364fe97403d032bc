//! Stories of the replication room, over its routes.

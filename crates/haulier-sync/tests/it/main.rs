//! Stories of the sync room.

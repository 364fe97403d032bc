//! haulier-storage.

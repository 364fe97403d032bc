//! haulier-catalog.

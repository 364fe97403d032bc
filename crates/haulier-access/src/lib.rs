//! haulier-access.

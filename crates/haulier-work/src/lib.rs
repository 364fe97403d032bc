//! haulier-work.

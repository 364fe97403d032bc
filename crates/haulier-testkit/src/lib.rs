//! haulier-testkit.

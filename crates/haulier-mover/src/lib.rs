//! haulier-mover.

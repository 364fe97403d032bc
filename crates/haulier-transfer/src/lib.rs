//! haulier-transfer.

//! WebDAV tests.

//! haulier-http.

//! The headers of contract §1: their names, and how values are written and read. Pure.

use axum::http::HeaderName;

macro_rules! headers {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub(crate) const $name: HeaderName = HeaderName::from_static(concat!("x-clonecloudstore-", $text));)*
    };
}

headers! {
    /// Who is asking.
    CLIENT_ID = "client-id";
    /// Traces a request and what it causes.
    OP_ID = "op-id";
    /// The only site to ask, or the one that answered.
    TARGET_ID = "target-id";
    /// Which part answered.
    MODULE = "module";
    /// Why it was refused: printable ASCII, at most 512 bytes.
    ERROR = "error";
    /// `NONE`, `BUCKET`, `DIRECTORY` or `OBJECT`.
    TYPE = "type";
    /// The record at the answering site.
    ID = "id";
    /// The site that holds the copy.
    SITE = "site";
    /// The bucket.
    BUCKET = "bucket";
    /// The object, percent-encoded.
    NAME = "name";
    /// When it was created at its origin.
    CREATION = "creation";
    /// Length of the content, bytes.
    SIZE = "size";
    /// SHA-256 of the content.
    HASH = "hash";
    /// A JSON object of texts, in ASCII.
    METADATA = "metadata";
    /// The state.
    STATUS = "status";
    /// When it is purged.
    EXPIRES = "expires";
    /// The site that it was first written at; told between sites alone (§5.4).
    ORIGIN = "origin";
    /// How long tombstones of a purge are kept, and after how long imported objects expire; seconds.
    EXPIRED_SECONDS = "expired-seconds";
    /// The bucket that a purge copies expired objects to; Haulier's own.
    ARCHIVE_BUCKET = "archive-bucket";
}

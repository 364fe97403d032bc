//! The nouns: five kinds of document, each with an owner, a place in the order of creation and a version. Pure.

use haulier_base::{Error, id};
use serde_json::{Map, Value};

/// A JSON object.
pub(crate) type Object = Map<String, Value>;

/// Longest identifier, in bytes.
pub(crate) const ID_BYTES_MAX: usize = 255;

/// What a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The record of one backup (backup contract §6).
    Backup,
    /// A machine that carries out jobs (§7).
    Client,
    /// What is to be done, and when (§9).
    Job,
    /// One step of a job (§11).
    Action,
    /// Jobs that start together (§10).
    Session,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Backup, Self::Client, Self::Job, Self::Action, Self::Session];

    /// The word in the catalogue, and the start of the name of its identifier.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Client => "client",
            Self::Job => "job",
            Self::Action => "action",
            Self::Session => "session",
        }
    }

    /// The collection: the part of the path, and the member of a list's answer.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Backup => "backups",
            Self::Client => "clients",
            Self::Job => "jobs",
            Self::Action => "actions",
            Self::Session => "sessions",
        }
    }

    /// The member that holds the identifier.
    pub fn id_member(self) -> &'static str {
        match self {
            Self::Backup => "backup_id",
            Self::Client => "client_id",
            Self::Job => "job_id",
            Self::Action => "action_id",
            Self::Session => "session_id",
        }
    }

    /// The member that what a client sent lies in, where it is not the document itself.
    pub(crate) fn envelope(self) -> Option<&'static str> {
        match self {
            Self::Backup => Some("backup_metadata"),
            Self::Client => Some("client"),
            Self::Job | Self::Action | Self::Session => None,
        }
    }

    /// Where an identifier is the only one: with its owner for clients (§3), in the whole catalogue for the others.
    pub(crate) fn scope(self, owner: &str) -> &str {
        if self == Self::Client { owner } else { "" }
    }

    /// Whether the answer to GET of one says its version (§6, §9.6; clients are never changed).
    pub(crate) fn shows_version(self) -> bool {
        self != Self::Client
    }

    /// Whether a text can be the identifier of such a document. Nothing else is ever looked for.
    pub(crate) fn can_be_id(self, text: &str) -> bool {
        if self == Self::Client { is_client_id(text) } else { is_id(text) }
    }

    /// What an unknown identifier is told.
    pub(crate) fn unknown(self, id: &str) -> Error {
        let shown: String = id.chars().filter(|c| !c.is_control()).take(64).collect();
        Error::not_found(format!("there is no {} {shown}", self.as_str()))
    }
}

/// One document as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// What it is.
    pub kind: Kind,
    /// Its identifier.
    pub id: String,
    /// The user it belongs to.
    pub owner: String,
    /// Begins at 1 and rises with every accepted change.
    pub version: i64,
    /// JSON text, as it is answered in a list.
    pub body: String,
}

impl Document {
    /// The answer to GET of one: the body with its version as the last member.
    pub fn with_version(&self) -> String {
        match self.body.strip_suffix('}') {
            Some(open) if self.kind.shows_version() => format!("{open},\"_version\":{}}}", self.version),
            _ => self.body.clone(),
        }
    }

    /// The body, to be worked on.
    ///
    /// # Errors
    /// `Corrupt` when the catalogue holds something else than an object.
    pub(crate) fn object(&self) -> haulier_base::Result<Object> {
        serde_json::from_str(&self.body).map_err(|e| {
            Error::corrupt(format!("{} {} is not a JSON object", self.kind.as_str(), self.id)).caused_by(e)
        })
    }
}

/// A new identifier: 32 lower-case hexadecimal digits.
pub(crate) fn new_id() -> String {
    id::random_uuid().replace('-', "")
}

/// `[A-Za-z0-9_-]+`, of a length that an index takes.
pub(crate) fn is_id(text: &str) -> bool {
    (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_word_byte)
}

pub(crate) fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

/// A host name, after an optional prefix that ends with `_` (§7).
pub(crate) fn is_client_id(text: &str) -> bool {
    let host = text.rsplit_once('_').map_or(text, |(_, host)| host);
    let prefix = &text[..text.len() - host.len()];
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= ID_BYTES_MAX && prefix.bytes().all(is_word_byte) && host.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_ids_are_host_names_with_a_prefix() {
        for good in ["alpha", "a.b-c.example", "p1_alpha", "p-1_2_alpha.example", "_alpha", &"a".repeat(63)] {
            assert!(is_client_id(good), "{good}");
        }
        for bad in ["", "p_", "a..b", "-a", "a-", "a b", "p.q_alpha", "a/b", "a.", &"a".repeat(64), "ä"] {
            assert!(!is_client_id(bad), "{bad}");
        }
    }

    #[test]
    fn ids_are_letters_digits_underscores_and_dashes() {
        assert!(is_id("a-B_9") && is_id(&new_id()) && new_id().len() == 32);
        assert!(!is_id("") && !is_id("a.b") && !is_id("a\0") && !is_id(&"a".repeat(256)));
    }

    #[test]
    fn the_version_is_the_last_member() {
        let mut document = Document {
            kind: Kind::Job,
            id: "a".into(),
            owner: "o".into(),
            version: 7,
            body: r#"{"job_id":"a"}"#.into(),
        };
        assert_eq!(document.with_version(), r#"{"job_id":"a","_version":7}"#);
        document.kind = Kind::Client;
        assert_eq!(document.with_version(), r#"{"job_id":"a"}"#);
    }
}

//! Secrets at rest: sealed under a key that is not in the catalogue, each bound to the place it belongs to.

use std::fmt;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use haulier_base::{Error, Result, Secret};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The one member of a sealed value.
const SEALED: &str = "$sealed";
/// Tells this form from later ones.
const FORM: &str = "v1:";
const KEY_BYTES: usize = 32;

/// Seals and opens values. Cheap to clone.
#[derive(Clone)]
pub struct Sealer(Arc<Key>);

struct Key {
    aead: RandomizedNonceKey,
    fingerprint: String,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer({})", self.0.fingerprint)
    }
}

impl Sealer {
    /// Takes a key of 64 hexadecimal digits.
    ///
    /// # Errors
    /// `Invalid` when the text is something else.
    pub fn from_text(text: &str) -> Result<Self> {
        let wrong = || Error::invalid("the key for secrets must be 64 hexadecimal digits (32 random bytes)");
        let bytes = hex::decode(text.trim()).map_err(|_| wrong())?;
        if bytes.len() != KEY_BYTES {
            return Err(wrong());
        }
        Self::from_bytes(&bytes)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let aead = RandomizedNonceKey::new(&AES_256_GCM, bytes)
            .map_err(|_| Error::internal("the key for secrets cannot be used"))?;
        let fingerprint = Sha256::new().chain_update(b"haulier sealing key").chain_update(bytes).finalize();
        Ok(Self(Arc::new(Key { aead, fingerprint: hex::encode(&fingerprint[..8]) })))
    }

    /// Reads the key in a file, which is made, readable by its owner only, when it is missing.
    ///
    /// # Errors
    /// `Invalid` when the file holds no key; else what the file system says.
    pub fn from_file(path: &Path) -> Result<Self> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::from_text(&text)
                .map_err(|error| Error::invalid(format!("{}: {}", path.display(), error.message()))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::make(path),
            Err(error) => Err(Error::from(error).context("path", path.display())),
        }
    }

    fn make(path: &Path) -> Result<Self> {
        let mut bytes = [0; KEY_BYTES];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Error::internal("the system gives no random bytes"))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        // Whole under its name or not there at all; whoever is first has made the key.
        let temporary = folder.join(format!(".secrets.key.{}", std::process::id()));
        let write = || {
            let mut file =
                std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            file.write_all(hex::encode(bytes).as_bytes())?;
            file.sync_all()?;
            let linked = std::fs::hard_link(&temporary, path);
            std::fs::remove_file(&temporary)?;
            std::fs::File::open(folder)?.sync_all()?;
            linked
        };
        match write() {
            Ok(()) => Self::from_bytes(&bytes),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Self::from_file(path),
            Err(error) => Err(Error::from(error).context("path", path.display())),
        }
    }

    /// A name for the key that tells nothing about it.
    pub fn fingerprint(&self) -> &str {
        &self.0.fingerprint
    }

    /// Seals a value for one place, such as `transfer/ID`; it can be opened for the same place only.
    pub fn seal(&self, place: &str, value: &Value) -> Result<Value> {
        let mut text = value.to_string().into_bytes();
        let nonce = self
            .0
            .aead
            .seal_in_place_append_tag(Aad::from(place), &mut text)
            .map_err(|_| Error::internal("a secret could not be sealed"))?;
        Ok(json!({ SEALED: format!("{FORM}{}{}", hex::encode(nonce.as_ref()), hex::encode(text)) }))
    }

    /// Opens a sealed value; any other is returned as it is.
    ///
    /// # Errors
    /// `Unavailable` when it was sealed with another key or for another place, or was changed.
    pub fn open(&self, place: &str, value: &Value) -> Result<Value> {
        let Some(sealed) = value.get(SEALED).and_then(Value::as_str) else { return Ok(value.clone()) };
        let unreadable = || {
            // Another process of the same catalogue may have the right key.
            Error::unavailable(
                "a stored secret cannot be opened with this node's key; give the node the key it was sealed with \
                 (secrets.key), or enter the secret again",
            )
        };
        let mut bytes = sealed.strip_prefix(FORM).and_then(|text| hex::decode(text).ok()).ok_or_else(unreadable)?;
        if bytes.len() < NONCE_LEN {
            return Err(unreadable());
        }
        let mut text = bytes.split_off(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(&bytes).map_err(|_| unreadable())?;
        let opened = self.0.aead.open_in_place(nonce, Aad::from(place), &mut text).map_err(|_| unreadable())?;
        serde_json::from_slice(opened).map_err(|_| unreadable())
    }
}

/// Takes a key from where the configuration says it is, else from the file that the node keeps for itself.
///
/// # Errors
/// As [`Sealer::from_text`] and [`Sealer::from_file`].
pub fn sealer(given: Option<&Secret<String>>, own_file: &Path) -> Result<Sealer> {
    match given {
        Some(key) => Sealer::from_text(key.reveal()),
        None => Sealer::from_file(own_file),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: char) -> Sealer {
        Sealer::from_text(&byte.to_string().repeat(64)).unwrap()
    }

    #[test]
    fn only_the_same_key_opens_for_the_same_place() {
        let secret = json!("s3cret");
        let sealed = key('a').seal("transfer/1", &secret).unwrap();
        assert!(!sealed.to_string().contains("s3cret"));
        assert_ne!(sealed, key('a').seal("transfer/1", &secret).unwrap(), "equal secrets look different");
        assert_eq!(key('a').open("transfer/1", &sealed).unwrap(), secret);
        assert!(key('b').open("transfer/1", &sealed).is_err());
        assert!(key('a').open("transfer/2", &sealed).is_err());
        assert_eq!(key('a').open("transfer/1", &secret).unwrap(), secret, "what is not sealed stays");
    }

    #[test]
    fn what_was_changed_is_refused() {
        let sealer = key('a');
        let sealed = sealer.seal("x", &json!({ "a": 1 })).unwrap()[SEALED].as_str().unwrap().to_owned();
        for bad in ["", "v1:", "v1:00", "v2:00", &sealed[..sealed.len() - 2], &sealed.replace("v1:", "v1:00")] {
            assert!(sealer.open("x", &json!({ SEALED: bad })).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_keeps_the_key_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.key");
        let first = Sealer::from_file(&path).unwrap();
        assert_eq!(Sealer::from_file(&path).unwrap().fingerprint(), first.fingerprint());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
        std::fs::write(&path, "no key").unwrap();
        assert!(Sealer::from_file(&path).unwrap_err().message().contains("64 hexadecimal digits"));
    }
}

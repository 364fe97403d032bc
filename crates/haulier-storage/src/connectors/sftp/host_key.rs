//! Which host keys a login trusts.

use std::str::FromStr;

use haulier_base::{Error, Result};
use russh::keys::ssh_key::Fingerprint;
use russh::keys::{Algorithm, HashAlg, PublicKey};

/// What was said about the keys of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HostKeys {
    /// One of these it must be.
    Known(Vec<Known>),
    /// Nothing was said, so that no key will do.
    Unknown,
    /// Somebody wrote that any key will do.
    Any,
}

/// One trusted key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Key(PublicKey),
    Fingerprint(Fingerprint),
}

impl HostKeys {
    /// Reads lines as in a `known_hosts` file, of which the host names are not looked at, or fingerprints.
    pub(super) fn parse(text: Option<&str>, check: bool) -> Result<Self> {
        let Some(text) = text.filter(|_| check) else {
            return Ok(if check { Self::Unknown } else { Self::Any });
        };
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let known: Vec<_> = lines.map(parse_line).collect::<Result<_>>()?;
        if known.is_empty() { Err(wrong()) } else { Ok(Self::Known(known)) }
    }

    /// The algorithms that the trusted keys are for; none when they cannot be told.
    pub(super) fn algorithms(&self) -> Option<Vec<Algorithm>> {
        let Self::Known(known) = self else { return None };
        let algorithm = |known: &Known| match known {
            Known::Key(key) => Some(key.algorithm()),
            Known::Fingerprint(_) => None,
        };
        known.iter().map(algorithm).collect()
    }

    /// # Errors
    /// `Invalid` when nothing is known about the server yet, `Forbidden` when it shows another key.
    pub(super) fn check(&self, key: &PublicKey, host: &str) -> Result<()> {
        let shown = key.fingerprint(HashAlg::Sha256);
        let trusted = |known: &Known| match known {
            Known::Key(known) => known.key_data() == key.key_data(),
            Known::Fingerprint(known) => *known == shown,
        };
        match self {
            Self::Any => Ok(()),
            Self::Known(known) if known.iter().any(trusted) => Ok(()),
            Self::Known(_) => Err(Error::forbidden(format!(
                "{host} shows another host key than the one in host_key: {shown} ({}). \
                 Either the server was set up anew or somebody stands in between",
                key.algorithm()
            ))),
            Self::Unknown => Err(Error::invalid(format!(
                "the host key of {host} is not known. It shows {shown} ({}): \
                 if that is the right one, set the option host_key to \"{shown}\"",
                key.algorithm()
            ))),
        }
    }
}

fn parse_line(line: &str) -> Result<Known> {
    if line.starts_with("SHA256:") {
        return Fingerprint::from_str(line).map(Known::Fingerprint).map_err(|_| wrong());
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    if words.first().is_some_and(|word| word.starts_with('@')) {
        return Err(Error::invalid("has a host_key with a marker such as @cert-authority, which is not supported"));
    }
    let key = words.windows(2).find_map(|pair| PublicKey::from_openssh(&pair.join(" ")).ok());
    key.map(Known::Key).ok_or_else(wrong)
}

fn wrong() -> Error {
    Error::invalid("has a host_key that is neither a line of known_hosts nor a fingerprint such as SHA256:…")
}

#[cfg(test)]
mod tests {
    use super::*;
    use haulier_base::ErrorKind;

    const ONE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const TWO: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA6rWI3G1sz07DnfFlrouTcysQlj2P+jpNSOEWD9OJ3X";

    #[test]
    fn only_what_was_named_is_trusted() {
        let (one, two) = (PublicKey::from_openssh(ONE).unwrap(), PublicKey::from_openssh(TWO).unwrap());
        let fingerprint = one.fingerprint(HashAlg::Sha256).to_string();
        let lines = format!("# a comment\n\n[h.example]:2222,10.0.0.1 {ONE} a@b\n");
        for text in [ONE, fingerprint.as_str(), lines.as_str()] {
            let keys = HostKeys::parse(Some(text), true).unwrap();
            keys.check(&one, "h").unwrap();
            assert_eq!(keys.check(&two, "h").unwrap_err().kind(), ErrorKind::Forbidden, "{text}");
        }
        let error = HostKeys::parse(None, true).unwrap().check(&one, "h").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains(&fingerprint));
        HostKeys::parse(None, false).unwrap().check(&two, "h").unwrap();
        for bad in ["", "hunter2", "SHA256:x", "ssh-ed25519", "@cert-authority * ssh-ed25519 AAAA"] {
            assert!(HostKeys::parse(Some(bad), true).is_err(), "{bad}");
        }
        assert_eq!(HostKeys::parse(Some(&lines), true).unwrap().algorithms(), Some(vec![Algorithm::Ed25519]));
        assert_eq!(HostKeys::parse(Some(&fingerprint), true).unwrap().algorithms(), None);
    }
}

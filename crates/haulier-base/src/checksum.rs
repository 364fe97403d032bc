//! A digest with the name of its algorithm, written `sha256:<hex>`.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// The digest algorithms that users, contracts and manifests compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// FIPS 180-4 SHA-256, 32 bytes.
    Sha256,
}

/// Algorithm and digest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Checksum {
    algorithm: Algorithm,
    digest: Vec<u8>,
}

impl Checksum {
    /// A SHA-256 digest.
    pub fn sha256(digest: [u8; 32]) -> Self {
        Self { algorithm: Algorithm::Sha256, digest: digest.to_vec() }
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The digest in lower-case hexadecimal, without the algorithm's name.
    pub fn to_hex(&self) -> String {
        hex::encode(&self.digest)
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.algorithm {
            Algorithm::Sha256 => write!(f, "sha256:{}", self.to_hex()),
        }
    }
}

impl FromStr for Checksum {
    type Err = Error;

    /// Reads `sha256:<64 hex digits>`.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::invalid(format!("\"{text}\" is not a checksum: write sha256: and 64 hex digits"));
        let digits = text.strip_prefix("sha256:").ok_or_else(wrong)?;
        let digest: [u8; 32] = hex::decode(digits).ok().and_then(|d| d.try_into().ok()).ok_or_else(wrong)?;
        Ok(Self::sha256(digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_prints() {
        let sum = Checksum::sha256([7; 32]);
        assert_eq!(sum.to_string().parse::<Checksum>().unwrap(), sum);
        for bad in ["", "sha256:", "sha256:00", "md5:00", &format!("sha256:{}", "0".repeat(66))] {
            assert!(bad.parse::<Checksum>().is_err(), "{bad}");
        }
    }
}

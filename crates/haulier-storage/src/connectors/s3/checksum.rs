//! The checksums that go along with bytes, and what a store says about them afterwards.
//!
//! Pure. CRC-64/NVME is the default: it is the fastest, and those of parts can be joined to that of the whole.

use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType};
use aws_smithy_types::base64;
use bytes::Bytes;
use crc_fast::CrcAlgorithm;
use md5::Md5;
use sha2::{Digest as _, Sha256};

/// What is sent along with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// CRC-64/NVME of parts and of the whole.
    Crc64Nvme,
    /// CRC-32C of parts and of the whole.
    Crc32c,
    /// SHA-256 of parts, and that of theirs for the whole.
    Sha256,
    /// `Content-MD5`: damage on the way is found, but the store reports nothing afterwards.
    Md5,
    /// Nothing; the signature covers the bytes instead.
    None,
}

impl Kind {
    /// The value of the option `checksum`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "auto" | "crc64nvme" => Self::Crc64Nvme,
            "crc32c" => Self::Crc32c,
            "sha256" => Self::Sha256,
            "md5" => Self::Md5,
            "none" => Self::None,
            _ => return None,
        })
    }

    /// The name that proofs and locators carry.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Crc64Nvme => "crc64nvme",
            Self::Crc32c => "crc32c",
            Self::Sha256 => "sha256",
            Self::Md5 => "md5",
            Self::None => "none",
        }
    }

    /// What an upload declares; none when the store is told nothing.
    pub(super) fn declared(self) -> Option<(ChecksumAlgorithm, ChecksumType)> {
        match self {
            Self::Crc64Nvme => Some((ChecksumAlgorithm::Crc64Nvme, ChecksumType::FullObject)),
            Self::Crc32c => Some((ChecksumAlgorithm::Crc32C, ChecksumType::FullObject)),
            Self::Sha256 => Some((ChecksumAlgorithm::Sha256, ChecksumType::Composite)),
            Self::Md5 | Self::None => None,
        }
    }

    fn crc(self) -> Option<(CrcAlgorithm, usize)> {
        match self {
            Self::Crc64Nvme => Some((CrcAlgorithm::Crc64Nvme, 8)),
            Self::Crc32c => Some((CrcAlgorithm::Crc32Iscsi, 4)),
            _ => None,
        }
    }
}

/// A checksum while bytes pass.
pub(super) enum Hasher {
    Crc(crc_fast::Digest, usize),
    Sha256(Sha256),
    Md5(Md5),
    None,
}

impl Hasher {
    pub(super) fn new(kind: Kind) -> Self {
        match (kind.crc(), kind) {
            (Some((algorithm, width)), _) => Self::Crc(crc_fast::Digest::new(algorithm), width),
            (None, Kind::Sha256) => Self::Sha256(Sha256::new()),
            (None, Kind::Md5) => Self::Md5(Md5::new()),
            (None, _) => Self::None,
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc(crc, _) => crc.update(bytes),
            Self::Sha256(sha) => sha.update(bytes),
            Self::Md5(md5) => md5.update(bytes),
            Self::None => {}
        }
    }

    /// The checksum in base64, as the wire has it; none when there is none.
    pub(super) fn finish(self) -> Option<String> {
        match self {
            Self::Crc(crc, width) => Some(base64::encode(&crc.finalize().to_be_bytes()[8 - width..])),
            Self::Sha256(sha) => Some(base64::encode(sha.finalize())),
            Self::Md5(md5) => Some(base64::encode(md5.finalize())),
            Self::None => None,
        }
    }
}

/// The checksum of some buffers.
pub(super) async fn checksum_of(kind: Kind, buffers: &[Bytes]) -> Option<String> {
    let mut hasher = Hasher::new(kind);
    for bytes in buffers {
        hasher.update(bytes);
        // Other tasks of this thread wait no longer than one buffer takes.
        tokio::task::yield_now().await;
    }
    hasher.finish()
}

/// The checksum of the whole when its parts, in order, have these checksums and lengths.
///
/// None when one is missing, or when this kind cannot be joined.
pub(super) fn joined<'a>(kind: Kind, parts: impl Iterator<Item = (Option<&'a str>, u64)>) -> Option<String> {
    let (algorithm, width) = kind.crc()?;
    let mut joined = crc_fast::Digest::new(algorithm).finalize();
    for (text, length) in parts {
        joined = crc_fast::checksum_combine(algorithm, joined, number(text?, width)?, length);
    }
    Some(base64::encode(&joined.to_be_bytes()[8 - width..]))
}

/// The checksum of the checksums of parts, as stores write it: with the number of parts behind it.
fn composed(kind: Kind, parts: &[Option<String>]) -> Option<String> {
    let mut hasher = Hasher::new(kind);
    for text in parts {
        hasher.update(&base64::decode(text.as_deref()?).ok()?);
    }
    Some(format!("{}-{}", hasher.finish()?, parts.len()))
}

/// What a checksum that a store reported says about the bytes it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It holds just these.
    Same,
    /// It holds others.
    Different,
    /// It says nothing that could be compared.
    Silent,
}

/// What is known of the bytes that an object was given.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    /// The checksum of all of them.
    pub(super) whole: Option<String>,
    /// Those of the parts, in order.
    pub(super) parts: Vec<Option<String>>,
}

impl Sums {
    /// Compares a checksum that a store reported: that of the whole, or that of the parts' own.
    pub(super) fn judge(&self, kind: Kind, reported: &str) -> Verdict {
        match reported.contains('-') {
            true => compare(composed(kind, &self.parts).as_deref(), reported),
            false => compare(self.whole.as_deref(), reported),
        }
    }
}

/// Compares with one checksum that is wanted.
pub(super) fn compare(wanted: Option<&str>, reported: &str) -> Verdict {
    match wanted {
        None => Verdict::Silent,
        Some(wanted) if wanted == reported => Verdict::Same,
        Some(_) => Verdict::Different,
    }
}

/// The number that a store's CRC-64/NVME of a whole object is.
pub(super) fn crc64_of(text: &str) -> Option<u64> {
    number(text, 8)
}

fn number(text: &str, width: usize) -> Option<u64> {
    let bytes = base64::decode(text).ok().filter(|bytes| bytes.len() == width)?;
    Some(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// What a store reports of one kind: answers of many operations have the same members.
macro_rules! reported {
    ($kind:expr, $answer:expr) => {
        match $kind {
            Kind::Crc64Nvme => $answer.checksum_crc64_nvme(),
            Kind::Crc32c => $answer.checksum_crc32_c(),
            Kind::Sha256 => $answer.checksum_sha256(),
            Kind::Md5 | Kind::None => None,
        }
    };
}
pub(super) use reported;

/// Puts a checksum into a request that carries bytes.
macro_rules! send_along {
    ($kind:expr, $request:expr, $checksum:expr) => {
        match $kind {
            Kind::Crc64Nvme => $request.set_checksum_crc64_nvme($checksum),
            Kind::Crc32c => $request.set_checksum_crc32_c($checksum),
            Kind::Sha256 => $request.set_checksum_sha256($checksum),
            Kind::Md5 => $request.set_content_md5($checksum),
            Kind::None => $request,
        }
    };
}
pub(super) use send_along;

#[cfg(test)]
mod tests {
    use super::*;

    async fn of(kind: Kind, bytes: &'static [u8]) -> Option<String> {
        checksum_of(kind, &[Bytes::from_static(bytes)]).await
    }

    #[tokio::test]
    async fn checksums_are_the_ones_of_the_catalogues() {
        // The check values of the CRC catalogue, and the digests of RFC 1321 and FIPS 180.
        let text = b"123456789";
        assert_eq!(of(Kind::Crc64Nvme, text).await, Some(base64::encode(0xae8b_1486_0a79_9888_u64.to_be_bytes())));
        assert_eq!(of(Kind::Crc32c, text).await, Some(base64::encode(0xe306_9283_u32.to_be_bytes())));
        assert_eq!(of(Kind::Md5, b"").await.as_deref(), Some("1B2M2Y8AsgTpgAmY7PhCfg=="));
        let sha = of(Kind::Sha256, b"").await;
        assert_eq!(sha.as_deref(), Some("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="));
        assert_eq!(of(Kind::None, text).await, None);
    }

    #[tokio::test]
    async fn parts_join_to_the_whole() {
        for kind in [Kind::Crc64Nvme, Kind::Crc32c] {
            let (a, b, all) = (of(kind, b"1234").await, of(kind, b"56789").await, of(kind, b"123456789").await);
            let parts = [(a.as_deref(), 4), (b.as_deref(), 5)];
            assert_eq!(joined(kind, parts.into_iter()), all);
            assert_eq!(joined(kind, [(a.as_deref(), 4), (None, 5)].into_iter()), None);
            assert_eq!(joined(kind, [(Some("?"), 4)].into_iter()), None);
            assert_eq!(joined(kind, std::iter::empty()), of(kind, b"").await);
            let sums = Sums { whole: all.clone(), parts: vec![a.clone(), b.clone()] };
            assert_eq!(sums.judge(kind, all.as_deref().unwrap()), Verdict::Same);
            assert_eq!(sums.judge(kind, a.as_deref().unwrap()), Verdict::Different);
            let composite = composed(kind, &sums.parts).unwrap();
            assert!(composite.ends_with("-2"));
            assert_eq!(sums.judge(kind, &composite), Verdict::Same);
            let unknown = Sums { parts: vec![a, None], ..sums };
            assert_eq!(unknown.judge(kind, &composite), Verdict::Silent);
        }
        let sums = Sums { whole: None, parts: vec![of(Kind::Sha256, b"1234").await] };
        assert_eq!(sums.judge(Kind::Sha256, "x"), Verdict::Silent);
        assert_eq!(sums.judge(Kind::Sha256, "x-1"), Verdict::Different);
    }
}

//! Checksums: computed for what arrives, compared with what was sent along, told when asked for.
//!
//! Pure. Those of parts and of wholes are both here, since the rules say which of them an upload has.

use bytes::Bytes;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::{Checksum, ChecksumAlgorithm, ChecksumType};
use s3s::{S3Result, s3_error};

/// What a request says of checksums, from any of the library's types that have these members.
macro_rules! sent {
    ($from:expr) => {
        s3s::dto::Checksum {
            checksum_crc32: $from.checksum_crc32.clone(),
            checksum_crc32c: $from.checksum_crc32c.clone(),
            checksum_crc64nvme: $from.checksum_crc64nvme.clone(),
            checksum_sha1: $from.checksum_sha1.clone(),
            checksum_sha256: $from.checksum_sha256.clone(),
            ..Default::default()
        }
    };
}

/// Puts checksums into an answer.
macro_rules! tell {
    ($sums:expr, $to:expr) => {{
        let (sums, to) = ($sums, &mut $to);
        to.checksum_crc32 = sums.checksum_crc32.clone();
        to.checksum_crc32c = sums.checksum_crc32c.clone();
        to.checksum_crc64nvme = sums.checksum_crc64nvme.clone();
        to.checksum_sha1 = sums.checksum_sha1.clone();
        to.checksum_sha256 = sums.checksum_sha256.clone();
    }};
}

pub(crate) use {sent, tell};

/// The checksum that an upload declared: of the whole, or of the checksums of its parts.
#[derive(Clone, Debug)]
pub(crate) struct Declared {
    pub(crate) algorithm: ChecksumAlgorithm,
    pub(crate) style: ChecksumType,
}

impl Declared {
    /// What an upload has that asks for these; CRC-64/NVME of the whole when it asks for nothing.
    pub(crate) fn new(algorithm: Option<ChecksumAlgorithm>, style: Option<ChecksumType>) -> S3Result<Self> {
        let (full, parts) = (ChecksumType::FULL_OBJECT, ChecksumType::COMPOSITE);
        let Some(algorithm) = algorithm else {
            let algorithm = ChecksumAlgorithm::from_static(ChecksumAlgorithm::CRC64NVME);
            return Ok(Self { algorithm, style: ChecksumType::from_static(full) });
        };
        let is_nvme = algorithm.as_str() == ChecksumAlgorithm::CRC64NVME;
        let is_digest = algorithm.as_str().starts_with("SHA");
        let style = style.unwrap_or_else(|| ChecksumType::from_static(if is_nvme { full } else { parts }));
        if (is_nvme && style.as_str() == parts) || (is_digest && style.as_str() == full) {
            return Err(s3_error!(InvalidRequest, "this algorithm has no such type of checksum"));
        }
        Ok(Self { algorithm, style })
    }

    /// Whether the checksum is made of those of the parts.
    pub(crate) fn is_composite(&self) -> bool {
        self.style.as_str() == ChecksumType::COMPOSITE
    }
}

/// The checksums of some bytes: those that were sent along and the algorithm that was named; CRC-64/NVME if none was.
///
/// # Errors
/// `BadDigest` when one that was sent along is another one.
pub(crate) fn checked(bytes: &Bytes, algorithm: Option<&ChecksumAlgorithm>, sent: &Checksum) -> S3Result<Checksum> {
    let named = |name: &str| algorithm.is_some_and(|algorithm| algorithm.as_str() == name);
    let wants = |name: &str, sent: &Option<String>| named(name) || sent.is_some();
    let mut hasher = ChecksumHasher {
        crc32: wants(ChecksumAlgorithm::CRC32, &sent.checksum_crc32).then(Default::default),
        crc32c: wants(ChecksumAlgorithm::CRC32C, &sent.checksum_crc32c).then(Default::default),
        sha1: wants(ChecksumAlgorithm::SHA1, &sent.checksum_sha1).then(Default::default),
        sha256: wants(ChecksumAlgorithm::SHA256, &sent.checksum_sha256).then(Default::default),
        crc64nvme: wants(ChecksumAlgorithm::CRC64NVME, &sent.checksum_crc64nvme).then(Default::default),
    };
    let ChecksumHasher { crc32, crc32c, sha1, sha256, crc64nvme } = &hasher;
    if crc32.is_none() && crc32c.is_none() && sha1.is_none() && sha256.is_none() && crc64nvme.is_none() {
        hasher.crc64nvme = Some(Default::default());
    }
    hasher.update(bytes);
    let found = hasher.finalize();
    compare(sent, &found)?;
    Ok(Checksum { checksum_type: Some(ChecksumType::from_static(ChecksumType::FULL_OBJECT)), ..found })
}

/// Refuses what was said of bytes when it is not so.
pub(crate) fn compare(sent: &Checksum, found: &Checksum) -> S3Result<()> {
    for (sent, found) in each(sent).into_iter().zip(each(found)) {
        if sent.is_some() && sent != found {
            return Err(s3_error!(BadDigest, "the bytes have another checksum than the one that was sent along"));
        }
    }
    Ok(())
}

/// The checksum of the checksums of parts, with their number behind it.
pub(crate) fn composed(declared: &Declared, parts: &[&Checksum]) -> S3Result<Checksum> {
    let decode = |text: &str| from_base64(text).ok_or_else(|| s3_error!(InternalError));
    let mut joined = Vec::new();
    for part in parts {
        let sum = each(part).into_iter().flatten().next().ok_or_else(|| s3_error!(InternalError))?;
        joined.extend(decode(sum)?);
    }
    let mut sums = checked(&joined.into(), Some(&declared.algorithm), &Checksum::default())?;
    let all = [
        &mut sums.checksum_crc32,
        &mut sums.checksum_crc32c,
        &mut sums.checksum_crc64nvme,
        &mut sums.checksum_sha1,
        &mut sums.checksum_sha256,
    ];
    for sum in all.into_iter().flatten() {
        sum.push_str(&format!("-{}", parts.len()));
    }
    sums.checksum_type = Some(declared.style.clone());
    Ok(sums)
}

/// MD5 of some bytes.
pub(crate) fn md5(bytes: &[u8]) -> [u8; 16] {
    Md5::checksum(bytes)
}

/// Refuses bytes whose MD5 is not the one that was sent along, in base64.
pub(crate) fn check_md5(sent: Option<&str>, found: &[u8; 16]) -> S3Result<()> {
    match sent.map(from_base64) {
        Some(None) => Err(s3_error!(InvalidDigest)),
        Some(Some(sent)) if sent != found => Err(s3_error!(BadDigest, "the bytes have another MD5")),
        _ => Ok(()),
    }
}

fn each(sums: &Checksum) -> [Option<&String>; 5] {
    [
        sums.checksum_crc32.as_ref(),
        sums.checksum_crc32c.as_ref(),
        sums.checksum_crc64nvme.as_ref(),
        sums.checksum_sha1.as_ref(),
        sums.checksum_sha256.as_ref(),
    ]
}

/// Bytes from base64 with its padding.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    base64_simd::STANDARD.decode_to_vec(text).ok()
}

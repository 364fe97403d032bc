//! Names from the raw paths of requests, where `%2F` and stray `%` are still what they were (contract §2).

use axum::http::request::Parts;
use haulier_base::Result;

use crate::model::{BucketName, ObjectName};
use crate::names::{decode, prefix_from_path};

/// The bucket in a path below `mount`, which ends in a slash.
///
/// # Errors
/// `Invalid`, with the rule.
pub(crate) fn bucket(parts: &Parts, mount: &str) -> Result<BucketName> {
    BucketName::from_path(split(parts, mount).0)
}

/// The bucket and the object in a path below `mount`.
///
/// # Errors
/// `Invalid`, with the rule.
pub(crate) fn object(parts: &Parts, mount: &str) -> Result<(BucketName, ObjectName)> {
    let (bucket, rest) = split(parts, mount);
    Ok((BucketName::from_path(bucket)?, ObjectName::from_path(rest)?))
}

/// The bucket, and the object's name or its beginning, in a path below `mount` (§2.3).
///
/// # Errors
/// `Invalid`, with the rule.
pub(crate) fn prefix(parts: &Parts, mount: &str) -> Result<(BucketName, String)> {
    let (bucket, rest) = split(parts, mount);
    Ok((BucketName::from_path(bucket)?, prefix_from_path(rest)?))
}

/// The segments of a path below `mount`, each decoded once; those that are missing are empty.
///
/// # Errors
/// `Invalid` when one is not UTF-8 or has a stray `%`.
pub(crate) fn segments<const N: usize>(parts: &Parts, mount: &str) -> Result<[String; N]> {
    let path = parts.uri.path();
    let mut decoded = std::array::from_fn(|_| String::new());
    for (at, segment) in decoded.iter_mut().zip(path.strip_prefix(mount).unwrap_or(path).split('/')) {
        *at = decode(segment)?;
    }
    Ok(decoded)
}

fn split<'a>(parts: &'a Parts, mount: &str) -> (&'a str, &'a str) {
    let path = parts.uri.path();
    let below = path.strip_prefix(mount).unwrap_or(path);
    below.split_once('/').unwrap_or((below, ""))
}

/// The value of a parameter of the query.
pub(crate) fn query(parts: &Parts, name: &str) -> Option<String> {
    let pairs = url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
    pairs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// Whether storage is to be looked at as well: only the word `true`, in any case, says so (§4.1).
pub(crate) fn full_check(parts: &Parts) -> bool {
    query(parts, "fullCheck").is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

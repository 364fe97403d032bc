//! SHA-256 as the wire has it (contract §1.3): read in base32hex, hexadecimal or base64, written in hexadecimal.

use data_encoding::{BASE32HEX_NOPAD, BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD, HEXLOWER};
use haulier_base::{Checksum, Error, Result};

/// Reads a SHA-256; gives 64 lower-case hexadecimal digits.
///
/// # Errors
/// `Invalid`, with the spellings that are read.
pub(crate) fn read_sha256(text: &str) -> Result<String> {
    let url = text.contains(['-', '_']);
    let digest = match text.len() {
        64 => HEXLOWER.decode(text.to_ascii_lowercase().as_bytes()),
        52 => BASE32HEX_NOPAD.decode(text.to_ascii_uppercase().as_bytes()),
        44 if url => BASE64URL.decode(text.as_bytes()),
        44 => BASE64.decode(text.as_bytes()),
        43 if url => BASE64URL_NOPAD.decode(text.as_bytes()),
        _ => BASE64_NOPAD.decode(text.as_bytes()),
    };
    match digest {
        Ok(digest) if digest.len() == 32 => Ok(HEXLOWER.encode(&digest)),
        _ => Err(Error::invalid(
            "the hash is no SHA-256; write 64 hexadecimal digits, 52 of base32hex, or 43 or 44 of base64",
        )),
    }
}

/// The checksum that a hash of [`read_sha256`] stands for.
///
/// # Errors
/// `Invalid` when it is none.
pub(crate) fn checksum(sha256: &str) -> Result<Checksum> {
    format!("sha256:{sha256}").parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn reads_every_spelling() {
        for text in [
            EMPTY,
            &EMPTY.to_uppercase(),
            "SEOC8GKOVGE196NRUJ49IRTP4GJQSGF4CIDP6J54IMCHMU2IN1AG",
            "seoc8gkovge196nruj49irtp4gjqsgf4cidp6j54imchmu2in1ag",
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU",
            "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU",
        ] {
            assert_eq!(read_sha256(text).unwrap(), EMPTY, "{text}");
        }
        assert_eq!(checksum(EMPTY).unwrap().to_hex(), EMPTY);
    }

    #[test]
    fn refuses_what_is_none() {
        let short = &EMPTY[1..];
        for text in
            ["", "string", "fakeHash", short, &"z".repeat(64), &"z".repeat(52), &"é".repeat(32), &"A".repeat(44)]
        {
            assert!(read_sha256(text).is_err(), "{text}");
        }
    }
}

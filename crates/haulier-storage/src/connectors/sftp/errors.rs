//! What can be done about what an SSH server says.

use haulier_base::{Error, ErrorKind, Result};
use russh::AlgorithmKind;
use russh_sftp::client::error::Error as SftpError;
use russh_sftp::protocol::StatusCode;

/// An answer that is an error.
pub(super) fn sftp_error(error: SftpError) -> Error {
    match &error {
        SftpError::Status(status) => match status.status_code {
            StatusCode::NoSuchFile => Error::not_found("no such file or directory"),
            StatusCode::PermissionDenied => Error::forbidden("the server denies the permission"),
            StatusCode::OpUnsupported => Error::invalid("the server does not support what is needed"),
            StatusCode::BadMessage => Error::invalid("the server did not understand the request"),
            // Servers say this for everything that has no number of its own, so it may pass.
            _ => Error::unavailable("the server answered that it failed"),
        }
        .caused_by(error),
        SftpError::Timeout => silent(),
        SftpError::Limited(_) => Error::invalid("the server's limits are too small").caused_by(error),
        SftpError::IO(_) | SftpError::UnexpectedPacket | SftpError::UnexpectedBehavior(_) => {
            Error::unavailable("the connection to the server broke").caused_by(error)
        }
    }
}

/// Whether the server answered with its word for "failed", whose reason it does not say.
pub(super) fn is_failure(error: &SftpError) -> bool {
    matches!(error, SftpError::Status(status) if status.status_code == StatusCode::Failure)
}

pub(super) fn is_end_of_file(error: &SftpError) -> bool {
    matches!(error, SftpError::Status(status) if status.status_code == StatusCode::Eof)
}

/// A server that answers nothing within the allowed time.
pub(super) fn silent() -> Error {
    Error::unavailable("the server does not answer")
}

/// A connection that could not be made or that broke.
pub(super) fn ssh_error(error: russh::Error, host: &str) -> Error {
    match &error {
        russh::Error::NoCommonAlgo { kind: AlgorithmKind::Key, theirs, .. } => {
            let theirs = theirs.join(", ");
            Error::invalid(format!(
                "{host} has host keys of the kinds {theirs} only, which are not supported: give it an Ed25519 or ECDSA \
                 host key as well; `ssh-keygen -A` makes what is missing"
            ))
        }
        russh::Error::NoCommonAlgo { kind, theirs, .. } => {
            let theirs = theirs.join(", ");
            Error::invalid(format!("{host} offers no {kind:?} algorithm that is safe enough, only {theirs}"))
        }
        _ => Error::unavailable(format!("the connection to {host} broke")),
    }
    .context("host", host)
    .caused_by(error)
}

pub(super) fn missing_is_none<T>(outcome: Result<T>) -> Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

//! Owner, mode, attributes and times of what was put back; and links, devices and pipes.

use std::ffi::{CStr, CString};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use haulier_base::{Error, Result};
use rustic_core::jiff::Timestamp;
use rustic_core::repofile::{Node, NodeType};
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};

use super::super::mode;

/// Bytes that the names of all attributes of a file take at most.
const NAMES_MAX: usize = 64 << 10;

/// Makes what is neither a file nor a folder.
pub(super) fn make(path: &Path, node: &Node) -> Result<()> {
    let (kind, device) = match node.node_type {
        NodeType::Symlink { .. } => {
            std::os::unix::fs::symlink(node.node_type.to_link(), path)?;
            return Ok(());
        }
        NodeType::Dev { device } => (FileType::BlockDevice, device),
        NodeType::Chardev { device } => (FileType::CharacterDevice, device),
        NodeType::Fifo => (FileType::Fifo, 0),
        NodeType::Socket => (FileType::Socket, 0),
        NodeType::File | NodeType::Dir => return Err(Error::internal("a file is not made but written")),
    };
    rustix::fs::mknodat(CWD, path, kind, Mode::empty(), device).map_err(std::io::Error::from)?;
    Ok(())
}

/// Gives a thing its owner, mode, attributes and times; what cannot be set is told and goes on.
pub(super) fn dress(path: &Path, node: &Node, owner: bool, warn: &mut dyn FnMut(String)) {
    let mut note = |what: &str, outcome: std::io::Result<()>| {
        if let Err(error) = outcome {
            warn(format!("{}: {what}: {error}", path.display()));
        }
    };
    if owner {
        let uid = node.meta.uid.map(Uid::from_raw);
        let gid = node.meta.gid.map(Gid::from_raw);
        note("owner", rustix::fs::chownat(CWD, path, uid, gid, AtFlags::SYMLINK_NOFOLLOW).map_err(Into::into));
    }
    if let (Some(mode), false) = (node.meta.mode, node.is_symlink()) {
        note("mode", fs::set_permissions(path, Permissions::from_mode(mode::from_stored(mode))));
    }
    note("attributes", set_attributes(path, node));
    if let Some(modified) = node.meta.mtime {
        let times =
            Timestamps { last_access: spec(node.meta.atime.unwrap_or(modified)), last_modification: spec(modified) };
        note("times", rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(Into::into));
    }
}

fn spec(time: Timestamp) -> Timespec {
    // The library counts the rest down from the second before 1970; the system always counts it up.
    let (mut tv_sec, mut tv_nsec) = (time.as_second(), i64::from(time.subsec_nanosecond()));
    if tv_nsec < 0 {
        tv_sec -= 1;
        tv_nsec += 1_000_000_000;
    }
    Timespec { tv_sec, tv_nsec }
}

fn set_attributes(path: &Path, node: &Node) -> std::io::Result<()> {
    let wanted = &node.meta.extended_attributes;
    for name in names(path)? {
        let text = name.to_string_lossy();
        // What a default of the folder gave to a new file, such as an access list, was not on the old one.
        if !text.starts_with("security.") && !wanted.iter().any(|attribute| attribute.name == text) {
            rustix::fs::lremovexattr(path, name.as_c_str())?;
        }
    }
    for attribute in wanted {
        let value = attribute.value.as_deref().unwrap_or_default();
        rustix::fs::lsetxattr(path, attribute.name.as_str(), value, XattrFlags::empty())?;
    }
    Ok(())
}

fn names(path: &Path) -> std::io::Result<Vec<CString>> {
    let mut buffer = vec![0_u8; NAMES_MAX];
    let length = match rustix::fs::llistxattr(path, &mut buffer[..]) {
        Ok(length) => length,
        Err(rustix::io::Errno::NOTSUP) => 0,
        Err(error) => return Err(error.into()),
    };
    let mut rest = &buffer[..length];
    let mut found = Vec::new();
    while let Ok(name) = CStr::from_bytes_until_nul(rest) {
        rest = &rest[name.to_bytes_with_nul().len()..];
        found.push(name.to_owned());
    }
    Ok(found)
}

//! Permission bits as a repository stores them: those of the Go language, which wrote the first one.

const STICKY: (u32, u32) = (0o1000, 1 << 20);
const SETGID: (u32, u32) = (0o2000, 1 << 22);
const SETUID: (u32, u32) = (0o4000, 1 << 23);
/// The kind of file is a bit too, for folders as for others.
const FOLDER: (u32, u32) = (0o040_000, 1 << 31);
const KIND: u32 = 0o170_000;

/// The stored form of the mode of a folder or a regular file.
pub(super) fn to_stored(mode: u32) -> u32 {
    let mut stored = mode & 0o777;
    for (ours, theirs) in [STICKY, SETGID, SETUID] {
        if mode & ours != 0 {
            stored |= theirs;
        }
    }
    if mode & KIND == FOLDER.0 {
        stored |= FOLDER.1;
    }
    stored
}

/// Permission bits with setuid, setgid and sticky, from the stored form.
pub(super) fn from_stored(stored: u32) -> u32 {
    let mut mode = stored & 0o777;
    for (ours, theirs) in [STICKY, SETGID, SETUID] {
        if stored & theirs != 0 {
            mode |= ours;
        }
    }
    mode
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_go_there_and_back() {
        for mode in [0o644, 0o4755, 0o2770, 0o1777, 0o7777] {
            assert_eq!(from_stored(to_stored(mode)), mode);
        }
        assert_eq!(to_stored(0o040_755), 0o755 | 1 << 31);
    }
}

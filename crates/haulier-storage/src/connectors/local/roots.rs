//! The folders that may be touched, and the only ways to reach something in them.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use haulier_base::{Error, Result};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::{NO_FOLLOW, meta_of, normalize, os_error};
use crate::{NO_WAY, ObjectKind, ObjectMeta};

/// As many links in a row as the kernel follows.
const LINKS_MAX: usize = 40;

/// The allowed folders, held open.
#[derive(Debug)]
pub struct Roots {
    all: Vec<Root>,
    /// Whether links are followed, as long as they lead into a root.
    follows: bool,
}

#[derive(Debug)]
struct Root {
    given: PathBuf,
    canonical: PathBuf,
    folder: OwnedFd,
}

impl Roots {
    /// Opens the folders; `any` adds the root of the file system.
    pub fn open(paths: &[PathBuf], any: bool) -> Result<Self> {
        let all = paths.iter().map(PathBuf::as_path).chain(any.then_some(Path::new("/")));
        Ok(Self { all: all.map(Root::open).collect::<Result<_>>()?, follows: true })
    }

    /// Opens one folder, below which no link is followed.
    pub(super) fn confined(path: &Path) -> Result<Self> {
        Ok(Self { all: vec![Root::open(path)?], follows: false })
    }

    /// The first root's path, links resolved.
    pub(super) fn first(&self) -> &Path {
        self.all.first().map_or(Path::new("/"), |root| &root.canonical)
    }

    /// Whether every root's path leads to the folder that is open.
    pub(super) fn is_in_place(&self) -> Result<bool> {
        for root in &self.all {
            let open = rustix::fs::fstat(&root.folder).map_err(os_error)?;
            match rustix::fs::stat(&root.canonical) {
                Ok(found) if (found.st_dev, found.st_ino) == (open.st_dev, open.st_ino) => {}
                Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => return Ok(false),
                Err(errno) => return Err(os_error(errno)),
            }
        }
        Ok(true)
    }

    /// Refuses a path that lies outside every root, as written or after following links.
    pub(crate) fn check(&self, full: &Path) -> Result<()> {
        self.resolve(full).map(|_| ())
    }

    /// The path without links; its last parts may be missing. Always inside a root.
    pub(super) fn resolve(&self, full: &Path) -> Result<PathBuf> {
        let inside = |root: &Root| full.starts_with(&root.given) || full.starts_with(&root.canonical);
        if !self.all.iter().any(inside) {
            return Err(outside(full));
        }
        if !self.follows {
            return Ok(full.to_owned());
        }
        let canonical = follow(full)?;
        self.root_of(&canonical).map(|_| ()).ok_or_else(|| outside(full))?;
        Ok(canonical)
    }

    /// Opens a resolved path; a link anywhere in it is an error.
    pub(super) fn open_at(&self, canonical: &Path, flags: OFlags) -> Result<OwnedFd> {
        let root = self.root_of(canonical).ok_or_else(|| outside(canonical))?;
        let below = canonical.strip_prefix(&root.canonical).unwrap_or(Path::new(""));
        let below = if below.as_os_str().is_empty() { Path::new(".") } else { below };
        if self.follows {
            return open_beneath(&root.folder, below, flags, Mode::empty());
        }
        open_without_links(&root.folder, below, flags)
    }

    pub(super) fn look_at(&self, full: &Path) -> Result<ObjectMeta> {
        // With NOFOLLOW a link that was not to be followed is itself what is found.
        let flags = if self.follows { OFlags::PATH } else { OFlags::PATH | OFlags::NOFOLLOW };
        let opened = self.open_at(&self.resolve(full)?, flags)?;
        Ok(meta_of(&File::from(opened).metadata()?))
    }

    /// Where a path leads, links followed: an open folder and a name in it.
    pub(super) fn place_of(&self, full: &Path) -> Result<Place> {
        self.place(&self.resolve(full)?)
    }

    /// The entry itself, which may be a link.
    pub(super) fn place_of_entry(&self, full: &Path) -> Result<Place> {
        match (full.parent(), full.file_name()) {
            (Some(parent), Some(name)) => self.place(&self.resolve(parent)?.join(name)),
            _ => Err(Error::invalid("the path is a directory")),
        }
    }

    /// Like `place_of`, making the missing folders.
    pub(super) fn place_with_parents(&self, full: &Path) -> Result<Place> {
        let canonical = self.resolve(full)?;
        let parent = canonical.parent().unwrap_or(Path::new("/"));
        self.make_folders(parent)?;
        self.place(&canonical)
    }

    fn place(&self, canonical: &Path) -> Result<Place> {
        let (Some(parent), Some(name)) = (canonical.parent(), canonical.file_name()) else {
            return Err(Error::invalid("the path is a directory"));
        };
        let folder = self.open_at(parent, OFlags::RDONLY | OFlags::DIRECTORY);
        let folder = folder.map_err(|error| match error.kind() {
            haulier_base::ErrorKind::NotFound => Error::not_found("the folder of the path does not exist"),
            _ => error,
        })?;
        Ok(Place { folder: folder.into(), name: name.to_owned() })
    }

    fn make_folders(&self, canonical: &Path) -> Result<()> {
        match self.open_at(canonical, OFlags::PATH | OFlags::DIRECTORY) {
            Err(error) if error.kind() == haulier_base::ErrorKind::NotFound => {}
            other => return other.map(|_| ()),
        }
        let parent = canonical.parent().ok_or_else(|| outside(canonical))?;
        self.make_folders(parent)?;
        let place = self.place(canonical)?;
        match rustix::fs::mkdirat(&place.folder, &place.name, Mode::from_raw_mode(0o777)) {
            Ok(()) => place.sync(),
            Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(os_error(errno)),
        }
    }

    fn root_of(&self, canonical: &Path) -> Option<&Root> {
        self.all.iter().find(|root| canonical.starts_with(&root.canonical))
    }
}

impl Root {
    fn open(given: &Path) -> Result<Self> {
        let fail = |error: io::Error| {
            Error::invalid(format!("the root {} cannot be opened: {error}", given.display())).caused_by(error)
        };
        let canonical = fs::canonicalize(given).map_err(fail)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(&canonical, flags, Mode::empty()).map_err(|errno| fail(errno.into()))?;
        Ok(Self { given: normalize(given), canonical, folder })
    }
}

fn outside(path: &Path) -> Error {
    Error::invalid(format!("{} is outside the configured roots", path.display()))
}

/// An open folder and a name in it. Every change goes through the descriptor, never through a path.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) folder: File,
    pub(super) name: OsString,
}

impl Place {
    pub(super) fn open(&self, name: &OsStr, flags: OFlags) -> Result<File> {
        let creates = flags.contains(OFlags::CREATE);
        let mode = if creates { Mode::from_raw_mode(0o666) } else { Mode::empty() };
        Ok(open_beneath(&self.folder, Path::new(name), flags | OFlags::NOFOLLOW, mode)?.into())
    }

    /// What is there now, links not followed.
    pub(super) fn stat(&self, name: &OsStr) -> Result<Option<rustix::fs::Stat>> {
        match rustix::fs::statat(&self.folder, name, NO_FOLLOW) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(os_error(errno)),
        }
    }

    pub(super) fn kind(&self) -> Result<Option<ObjectKind>> {
        Ok(self.stat(&self.name)?.map(|found| match FileType::from_raw_mode(found.st_mode) {
            FileType::RegularFile => ObjectKind::Regular,
            FileType::Directory => ObjectKind::Directory,
            _ => ObjectKind::Special,
        }))
    }

    pub(super) fn is_link(&self) -> Result<bool> {
        Ok(self.stat(&self.name)?.is_some_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Symlink))
    }

    pub(super) fn unlink(&self, name: &OsStr) -> Result<()> {
        match rustix::fs::unlinkat(&self.folder, name, rustix::fs::AtFlags::empty()) {
            Ok(()) => self.sync(),
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(os_error(errno)),
        }
    }

    pub(super) fn rename(&self, from: &OsStr) -> Result<()> {
        rustix::fs::renameat(&self.folder, from, &self.folder, &self.name).map_err(os_error)?;
        self.sync()
    }

    /// Makes the entries of the folder survive a crash of the machine.
    pub(super) fn sync(&self) -> Result<()> {
        Ok(self.folder.sync_all()?)
    }
}

/// Opens below a folder where links were not resolved before: one that is found was there all the time.
fn open_without_links(folder: &OwnedFd, path: &Path, flags: OFlags) -> Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(folder, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve).map_err(|errno| match errno {
        Errno::LOOP => Error::invalid("a symbolic link is in the way").context(NO_WAY, true),
        other => os_error(other),
    })
}

pub(super) fn open_beneath(folder: impl std::os::fd::AsFd, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY;
    // PATH tolerates few other flags, but NOCTTY is among those it ignores only from open(2).
    let flags = if flags.contains(OFlags::PATH) { flags - OFlags::NOCTTY } else { flags };
    rustix::fs::openat2(folder, path, flags, mode, resolve).map_err(os_error)
}

/// Whether no part of a path is a link, as far as it exists; no means that it takes a closer look.
fn is_plain(full: &Path) -> bool {
    let look = |path: &Path| {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(rustix::fs::CWD, path, flags, Mode::empty(), resolve).map(drop)
    };
    match look(full) {
        Ok(()) => true,
        // A dangling link would not be missing.
        Err(Errno::NOENT) => full.parent().is_some_and(|parent| look(parent).is_ok()),
        Err(_) => false,
    }
}

/// Follows all links. What is missing at the end stays as it is written, also behind a dangling link.
fn follow(full: &Path) -> io::Result<PathBuf> {
    if full.is_absolute() && is_plain(full) {
        return Ok(normalize(full));
    }
    let mut path = full.to_owned();
    for _ in 0..LINKS_MAX {
        match fs::canonicalize(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(path) };
        let entry = follow(parent)?.join(name);
        match fs::read_link(&entry) {
            Ok(link) => path = normalize(&entry.parent().unwrap_or(Path::new("/")).join(link)),
            Err(_) => return Ok(entry),
        }
    }
    Err(Errno::LOOP.into())
}

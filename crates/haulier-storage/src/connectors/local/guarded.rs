//! Replacing, removing and renaming exactly the version that was expected, and keeping it.
//!
//! Looking and changing cannot be one step, so what comes out of a path is looked at again and put back if it is
//! something else. Every name that a crash may leave a version at is one that nobody clears away.

use std::path::{Path, PathBuf};

use haulier_base::{Error, Result};
use rustix::fs::{FileType, RenameFlags, Stat};
use rustix::io::Errno;

use super::roots::Place;
use super::{Roots, meta_of_stat, os_error};
use crate::connectors::temp_name::aside_name;
use crate::{Guard, ObjectKind, ObjectMeta};

/// Where the old version goes: where it is kept, or a name beside it from which it is removed at once.
pub(super) struct Aside {
    place: Place,
    keeps: bool,
}

impl Aside {
    pub(super) fn open(place: &Place, keep: Option<(&Roots, &Path)>, label: &str) -> Result<Self> {
        match keep {
            Some((roots, keep)) => Ok(Self { place: roots.place_with_parents(keep)?, keeps: true }),
            None => {
                let name = aside_name(label, &place.name.to_string_lossy());
                Ok(Self { place: Place { folder: place.folder.try_clone()?, name: name.into() }, keeps: false })
            }
        }
    }

    /// The old version is here and the change is done: makes that last.
    fn settle(&self, place: &Place) -> Result<()> {
        if !self.keeps {
            return self.place.unlink(&self.place.name);
        }
        self.place.sync()?;
        place.sync()
    }
}

/// What a version is called by when it was renamed, which changes the version's own text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    size: i64,
    modified: (i64, i64),
}

impl Identity {
    fn of(found: &Stat) -> Self {
        Self {
            device: found.st_dev,
            inode: found.st_ino,
            size: found.st_size,
            modified: (found.st_mtime, i64::try_from(found.st_mtime_nsec).unwrap_or(0)),
        }
    }
}

/// Looks at a place, and refuses what is not the version that the guard wants.
fn expect(place: &Place, guard: &Guard) -> Result<Option<Identity>> {
    let found = place.stat(&place.name)?;
    if let Some(found) = &found {
        refuse_irregular(found)?;
    }
    guard.check(found.as_ref().map(meta_of_stat).as_ref())?;
    Ok(found.as_ref().map(Identity::of))
}

/// What is no regular file is never replaced, whatever the guard says, and another look would not help.
pub(super) fn refuse_irregular(found: &Stat) -> Result<()> {
    match FileType::from_raw_mode(found.st_mode) {
        FileType::RegularFile => Ok(()),
        FileType::Directory => Err(Error::invalid("the path is a directory")),
        FileType::Symlink => Err(Error::invalid("a symbolic link is in the way")),
        _ => Err(Error::invalid("something that is no regular file is in the way")),
    }
}

/// Gives a new name that nobody has yet. False: something has it.
fn rename_new(from: &Place, to: &Place) -> Result<bool> {
    match rustix::fs::renameat_with(&from.folder, &from.name, &to.folder, &to.name, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        // A file system that cannot look and rename in one step.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => match to.stat(&to.name)? {
            Some(_) => Ok(false),
            None => {
                rustix::fs::renameat(&from.folder, &from.name, &to.folder, &to.name).map(|()| true).map_err(os_error)
            }
        },
        Err(Errno::XDEV) => Err(Error::invalid("the place where old versions are kept is on another file system")),
        Err(errno) => Err(os_error(errno)),
    }
}

/// Gives a finished temporary file its final name if nothing has it.
pub(super) fn publish_new(place: &Place, temp: &Place) -> Result<()> {
    if rename_new(temp, place)? {
        return place.sync();
    }
    if let Some(found) = place.stat(&place.name)? {
        refuse_irregular(&found)?;
    }
    Err(Guard::Absent.refusal())
}

/// A finished file that takes the place of an expected version. Each step may be the last one before a crash.
pub(super) struct Swap<'a> {
    place: &'a Place,
    aside: &'a Aside,
    guard: &'a Guard,
    expected: Identity,
    own: u64,
}

impl<'a> Swap<'a> {
    /// Moves the finished file to where the old version will be: what an exchange leaves there is never cleared away,
    /// whichever of the two it is.
    pub(super) fn stage(place: &'a Place, temp: &Place, aside: &'a Aside, guard: &'a Guard) -> Result<Self> {
        let expected = expect(place, guard)?.ok_or_else(|| guard.refusal())?;
        let own = temp.stat(&temp.name)?.ok_or_else(|| Error::unavailable("the temporary file is gone"))?.st_ino;
        if !rename_new(temp, &aside.place)? {
            return Err(Guard::keep_taken());
        }
        Ok(Self { place, aside, guard, expected, own })
    }

    /// Exchanges the two.
    pub(super) fn exchange(&self) -> Result<()> {
        match self.swap() {
            Ok(()) => Ok(()),
            Err(Errno::NOENT) => Err(self.withdraw()),
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => self.exchange_in_turn(),
            Err(errno) => {
                self.withdraw();
                Err(os_error(errno))
            }
        }
    }

    /// Looks at what came out. What was not expected is put back, unless something newer is there by now: then it
    /// stays where old versions are kept.
    pub(super) fn settle(self) -> Result<()> {
        if self.came_out()?.map(|found| Identity::of(&found)) == Some(self.expected) {
            return self.aside.settle(self.place);
        }
        match self.swap() {
            Ok(()) => {}
            // Our file was removed by somebody: what came out goes back into the empty place.
            Err(Errno::NOENT) => {
                rename_new(&self.aside.place, self.place)?;
            }
            Err(errno) => return Err(os_error(errno)),
        }
        match self.came_out()? {
            Some(found) if found.st_ino == self.own => return Err(self.withdraw()),
            // Somebody replaced our file meanwhile: theirs is the newest, and goes back.
            Some(_) => self.swap().map_err(os_error)?,
            None => {}
        }
        self.aside.place.sync()?;
        self.place.sync()?;
        Err(self.guard.refusal())
    }

    fn swap(&self) -> Result<(), Errno> {
        let (place, aside) = (self.place, &self.aside.place);
        rustix::fs::renameat_with(&place.folder, &place.name, &aside.folder, &aside.name, RenameFlags::EXCHANGE)
    }

    fn came_out(&self) -> Result<Option<Stat>> {
        self.aside.place.stat(&self.aside.place.name)
    }

    /// Removes the new version, and says why.
    fn withdraw(&self) -> Error {
        let aside = &self.aside.place;
        match aside.unlink(&aside.name) {
            Ok(()) => self.guard.refusal(),
            Err(trouble) => trouble,
        }
    }

    /// For file systems that cannot exchange: the new version makes room, the old one goes where it was.
    fn exchange_in_turn(&self) -> Result<()> {
        let waiting = Place {
            folder: self.place.folder.try_clone()?,
            name: aside_name("new", &self.place.name.to_string_lossy()).into(),
        };
        let steps = [(&self.aside.place, &waiting), (self.place, &self.aside.place), (&waiting, self.place)];
        for (from, to) in steps {
            if !rename_new(from, to)? {
                return Err(self.guard.refusal());
            }
        }
        Ok(())
    }
}

/// Takes an expected version away: to where it is kept, or for good.
pub(super) fn remove(place: &Place, aside: &Aside, guard: &Guard) -> Result<()> {
    let Some(expected) = expect(place, guard)? else { return Ok(()) };
    take(place, &aside.place, guard, (!guard.is_any()).then_some(expected))?;
    aside.settle(place)
}

/// Gives an expected version a name that nobody has.
pub(super) fn rename(from: &Place, guard: &Guard, to: &Place) -> Result<ObjectMeta> {
    let expected = expect(from, guard)?.ok_or_else(|| Error::not_found("there is nothing to rename"))?;
    take(from, to, guard, (!guard.is_any()).then_some(expected))?;
    to.sync()?;
    from.sync()?;
    let found = to.stat(&to.name)?.ok_or_else(|| Error::unavailable("the object was renamed again"))?;
    Ok(meta_of_stat(&found))
}

fn take(from: &Place, to: &Place, guard: &Guard, expected: Option<Identity>) -> Result<()> {
    match rename_new(from, to) {
        Ok(true) => {}
        Ok(false) => {
            if let Some(found) = to.stat(&to.name)? {
                refuse_irregular(&found)?;
            }
            return Err(Guard::Absent.refusal());
        }
        Err(error) if error.kind() == haulier_base::ErrorKind::NotFound => return Err(guard.refusal()),
        Err(error) => return Err(error),
    }
    let Some(expected) = expected else { return Ok(()) };
    if to.stat(&to.name)?.map(|found| Identity::of(&found)) == Some(expected) {
        return Ok(());
    }
    // If something newer is at the old name by now, this one stays at the new one.
    rename_new(to, from)?;
    to.sync()?;
    from.sync()?;
    Err(guard.refusal())
}

/// Removes a folder if it is empty; says whether there is none now.
pub(super) fn remove_folder(roots: &Roots, full: &Path) -> Result<bool> {
    let Some(place) = super::missing_is_none(roots.place_of_entry(full))? else { return Ok(true) };
    match rustix::fs::unlinkat(&place.folder, &place.name, rustix::fs::AtFlags::REMOVEDIR) {
        Ok(()) => place.sync().map(|()| true),
        Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR | Errno::BUSY) => Ok(false),
        Err(errno) => Err(os_error(errno)),
    }
}

/// A whole path as a key is turned into, with what it is needed for.
pub(super) struct Ends {
    pub(super) from: PathBuf,
    pub(super) to: PathBuf,
}

impl Ends {
    pub(super) fn rename(&self, roots: &Roots, guard: &Guard) -> Result<ObjectMeta> {
        let place = roots.place_of_entry(&self.from)?;
        let kind = place.kind()?;
        if kind == Some(ObjectKind::Directory) {
            return Err(Error::invalid("the path is a directory"));
        }
        rename(&place, guard, &roots.place_with_parents(&self.to)?)
    }
}

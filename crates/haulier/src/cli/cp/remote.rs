//! A tree with at least one end that is not on this machine, copied object by object, many at once.
//!
//! An object whose copy has its size, and a time of change that is not before its own, is taken to be there:
//! storages give a copy the time at which it was written. Checksums are not compared.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::stream::{Stream, StreamExt};
use haulier_base::{Error, ErrorKind, Result};
use haulier_mover::{ByteRange, Progress};
use haulier_storage::{ListedObject, Location, ObjectKind, ObjectMeta, ObjectPath};

use super::CpArgs;
use super::filter::Filter;
use super::local::{Copier, name_of};
use super::many::{self, Done};
use super::place::Place;
use super::state::Memory;
use super::summary::Summary;
use super::there::There;
use crate::cli::{Failure, Outcome, Output};

/// Up to here an object is one request and one write.
const SMALL_BYTES: u64 = 256 << 10;

/// What every copy of one tree knows.
struct Tree {
    copier: Copier,
    source: Location,
    target: Location,
    /// Both URLs, which a copy is remembered by.
    urls: [String; 2],
    /// Whether the target takes every key, as object stores do, or only paths of plain names.
    any_key: bool,
    ignore_times: bool,
    dry_run: bool,
    filter: Filter,
    there: There,
}

/// Copies a tree.
pub(super) async fn copy(args: &CpArgs, copier: Copier, source: &Place, target: &Place, output: &Output) -> Outcome {
    let failed = |error| Failure::new(format!("cannot copy {}", args.source), error);
    let open = || -> Result<_> {
        let from = copier.storages.open_source(&source.url, &source.options)?;
        Ok((from, copier.storages.open_target(&target.url, &target.options)?))
    };
    let (from, to) = open().map_err(failed)?;
    let stores_differ = matches!((from.storage.store(), to.storage.store()), (Some(a), Some(b)) if a != b);
    if !stores_differ && is_inside(&target.url, &source.url) {
        return Err(failed(Error::invalid("the target is inside the source")));
    }
    let urls = [source.url.clone(), target.url.clone()];
    let alone = || Memory::of(&name_of(&["tree", &urls[0], &urls[1]])).lock().map_err(failed);
    let _alone = if args.dry_run { None } else { Some(alone()?) };
    let stop = copier.stop.clone();
    let there = There::look(&to).await;
    let tree = Arc::new(Tree {
        any_key: to.storage.capabilities().any_key,
        copier,
        source: from,
        target: to,
        urls,
        ignore_times: args.ignore_times,
        dry_run: args.dry_run,
        filter: args.filter.clone(),
        there,
    });
    let mut summary = Summary::begin(output, args.dry_run);
    copy_all(&tree, &mut summary).await.map_err(failed)?;
    if stop.is_cancelled() {
        return Err(failed(Error::canceled("interrupted")));
    }
    Ok(summary.end())
}

/// Whether a URL is another one, or below it.
fn is_inside(inner: &str, outer: &str) -> bool {
    let rest = inner.strip_prefix(outer.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

async fn copy_all(tree: &Arc<Tree>, summary: &mut Summary<'_>) -> Result<()> {
    let listing = tree.source.storage.list(&tree.source.path).await?;
    let found_any = AtomicBool::new(false);
    let wanted = wanted(tree, listing, &found_any);
    let share = |object: &ListedObject| match object.meta.size {
        Some(size) if size <= SMALL_BYTES => many::SMALL,
        _ => many::LARGE,
    };
    many::each(wanted, share, |object| copy_one(tree.clone(), object), &tree.copier.stop, summary).await;
    if !found_any.load(Ordering::Relaxed) && !tree.copier.stop.is_cancelled() {
        check_exists(&tree.source).await?;
    }
    Ok(())
}

/// What a listing holds and the filter takes, to its end or its first error.
fn wanted<'a>(
    tree: &'a Tree,
    listing: impl Stream<Item = Result<ListedObject>> + 'a,
    found_any: &'a AtomicBool,
) -> impl Stream<Item = Result<ListedObject>> + 'a {
    let mut broken = false;
    let until_broken = listing.take_while(move |object| {
        let go_on = !broken;
        broken = object.is_err();
        ready(go_on)
    });
    until_broken.filter_map(move |object| {
        found_any.store(true, Ordering::Relaxed);
        ready(match object {
            // What has no name below the source is told where it is copied.
            Ok(object) => {
                let left_out = relative(&tree.source.path, &object.path).is_ok_and(|name| !tree.filter.takes(name));
                (!left_out).then_some(Ok(object))
            }
            Err(error) => {
                Some(Err(Error::new(error.kind(), format!("the rest of the source cannot be listed: {error}"))))
            }
        })
    })
}

/// An empty folder lists nothing, and so does one that is not there.
async fn check_exists(source: &Location) -> Result<()> {
    let folder = source.path.as_str().trim_end_matches('/');
    if folder.is_empty() {
        return Ok(());
    }
    match source.storage.stat(&ObjectPath::new(folder)).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::not_found("there is nothing there")),
        _ => Ok(()),
    }
}

async fn copy_one(tree: Arc<Tree>, object: ListedObject) -> Result<Done> {
    let copied = try_copy(&tree, &object).await;
    copied.map_err(|error| Error::new(error.kind(), format!("{}: {error}", object.path)))
}

async fn try_copy(tree: &Tree, object: &ListedObject) -> Result<Done> {
    let relative = relative(&tree.source.path, &object.path)?;
    if object.meta.kind == ObjectKind::Special {
        return Err(Error::invalid("it is neither a file nor a folder"));
    }
    if !tree.any_key && !is_plain(relative) {
        return Err(Error::invalid("its name is no path below the target: a part of it is empty, \".\" or \"..\""));
    }
    let target = Location { storage: tree.target.storage.clone(), path: tree.target.path.join(relative) };
    if !tree.ignore_times && is_there(&object.meta, tree.there.find(&target).await) {
        return Ok(Done::There);
    }
    if tree.dry_run {
        return Ok(Done::WouldCopy(relative.to_owned(), object.meta.size));
    }
    let source = Location { storage: tree.source.storage.clone(), path: object.path.clone() };
    let name = name_of(&[&tree.urls[0], &tree.urls[1], relative]);
    let (memory, progress) = (Memory::of(&name), Progress::new());
    let copied = tree.copier.copy_object(&source, &target, ByteRange::default(), &memory, &name, &progress).await?;
    Ok(Done::Copied(copied.bytes))
}

/// The key of an object below the source.
fn relative<'a>(source: &ObjectPath, key: &'a ObjectPath) -> Result<&'a str> {
    let (folder, key) = (source.as_str(), key.as_str());
    if folder.is_empty() {
        return Ok(key);
    }
    let below = key.strip_prefix(folder.trim_end_matches('/'));
    match below.map(|below| below.strip_prefix('/').unwrap_or("")) {
        Some("") => Err(Error::invalid("it is an object and not a folder; leave out -r to copy it")),
        Some(below) => Ok(below),
        None => Err(Error::internal("the storage listed something that is not below the source")),
    }
}

/// Whether a key is a relative path that stays where it is put.
fn is_plain(key: &str) -> bool {
    !key.contains('\0') && key.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
}

/// Whether the target holds as many bytes, written no earlier than the source changed.
fn is_there(source: &ObjectMeta, there: Option<ObjectMeta>) -> bool {
    // A target that cannot be looked at is copied to, and that says why it fails.
    let Some(there) = there else { return false };
    let same_size = source.size.is_some() && there.size == source.size;
    let not_older = matches!((source.modified, there.modified), (Some(source), Some(there)) if there >= source);
    there.kind == ObjectKind::Regular && same_size && not_older
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_kept_below_the_source() {
        let below = |folder: &str, key: &str| {
            let key = ObjectPath::new(key);
            relative(&ObjectPath::new(folder), &key).map(str::to_owned).map_err(|error| error.kind())
        };
        assert_eq!(below("", "/a").as_deref(), Ok("/a"));
        assert_eq!(below("/", "/a/b").as_deref(), Ok("a/b"));
        assert_eq!(below("a/", "a//b").as_deref(), Ok("/b"));
        assert_eq!(below("a", "a"), Err(ErrorKind::Invalid));
        assert_eq!(below("a", "b/a"), Err(ErrorKind::Internal));
    }

    #[test]
    fn names_that_lead_elsewhere_are_not_plain() {
        assert!(is_plain("a/b..c/...d") && is_plain("-"));
        for bad in ["", "/a", "a//b", "a/", "..", "a/../b", "./a", "a/.", "a\0b"] {
            assert!(!is_plain(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_target_inside_the_source_is_seen() {
        assert!(is_inside("s3://b/a", "s3://b/a/") && is_inside("s3://b/a/b", "s3://b/a"));
        assert!(!is_inside("s3://b/ab", "s3://b/a") && !is_inside("s3://b", "s3://b/a"));
    }
}

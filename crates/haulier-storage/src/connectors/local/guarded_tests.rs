//! What happens between the steps of a replacement: changes by others, and crashes.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::guarded::{Aside, Swap, publish_new};
use super::roots::Place;
use super::*;

/// A folder with the file `f`, a finished new version of it, and a place for the old one.
struct Scene {
    folder: TempDir,
    roots: Roots,
    place: Place,
    temp: Place,
    guard: Guard,
}

impl Scene {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("f"), "expected").unwrap();
        fs::write(folder.path().join("temp"), "new").unwrap();
        let roots = Roots::confined(folder.path()).unwrap();
        let place = |name: &str| roots.place_of(&roots.first().join(name)).unwrap();
        let (place, temp) = (place("f"), place("temp"));
        let found = place.stat("f".as_ref()).unwrap().unwrap();
        let guard = Guard::Version(meta_of_stat(&found).version.unwrap());
        Self { folder, roots, place, temp, guard }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn aside(&self, keeps: bool) -> Aside {
        let keep = self.roots.first().join("kept/old");
        Aside::open(&self.place, keeps.then_some((&self.roots, &*keep)), "t").unwrap()
    }

    /// Somebody else's program saves the file, as most do: under another name, then renamed.
    fn save(&self, text: &str) {
        fs::write(self.at("saved"), text).unwrap();
        fs::rename(self.at("saved"), self.at("f")).unwrap();
    }

    /// Every file that there is, by content.
    fn contents(&self) -> Vec<String> {
        fn walk(folder: &Path, into: &mut Vec<String>) {
            for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                match entry.is_dir() {
                    true => walk(&entry, into),
                    false => into.push(fs::read_to_string(entry).unwrap()),
                }
            }
        }
        let mut contents = Vec::new();
        walk(self.folder.path(), &mut contents);
        contents.sort();
        contents
    }

    fn f(&self) -> String {
        fs::read_to_string(self.at("f")).unwrap()
    }
}

#[test]
fn the_expected_version_is_kept_or_removed() {
    for keeps in [true, false] {
        let scene = Scene::new();
        let aside = scene.aside(keeps);
        let swap = Swap::stage(&scene.place, &scene.temp, &aside, &scene.guard).unwrap();
        swap.exchange().unwrap();
        swap.settle().unwrap();
        assert_eq!(scene.f(), "new");
        assert_eq!(scene.contents(), if keeps { vec!["expected", "new"] } else { vec!["new"] });
    }
}

#[test]
fn what_is_saved_between_the_look_and_the_exchange_goes_back() {
    for keeps in [true, false] {
        let scene = Scene::new();
        let aside = scene.aside(keeps);
        let swap = Swap::stage(&scene.place, &scene.temp, &aside, &scene.guard).unwrap();
        scene.save("theirs");
        swap.exchange().unwrap();
        assert!(Guard::is_refusal(&swap.settle().unwrap_err()));
        assert_eq!((scene.f(), scene.contents()), ("theirs".to_owned(), vec!["theirs".to_owned()]));
    }
}

#[test]
fn what_is_written_in_place_after_the_look_goes_back() {
    let scene = Scene::new();
    let aside = scene.aside(true);
    let swap = Swap::stage(&scene.place, &scene.temp, &aside, &scene.guard).unwrap();
    fs::write(scene.at("f"), "written in place").unwrap();
    swap.exchange().unwrap();
    assert!(Guard::is_refusal(&swap.settle().unwrap_err()));
    assert_eq!((scene.f(), scene.contents()), ("written in place".to_owned(), vec!["written in place".to_owned()]));
}

#[test]
fn of_two_that_are_saved_neither_is_lost_and_the_newer_stays() {
    let scene = Scene::new();
    let aside = scene.aside(true);
    let swap = Swap::stage(&scene.place, &scene.temp, &aside, &scene.guard).unwrap();
    scene.save("first");
    swap.exchange().unwrap();
    scene.save("second");
    assert!(Guard::is_refusal(&swap.settle().unwrap_err()));
    assert_eq!(scene.f(), "second");
    assert_eq!(fs::read_to_string(scene.at("kept/old")).unwrap(), "first");
}

#[test]
fn what_somebody_removes_meanwhile_stays_removed() {
    let scene = Scene::new();
    let aside = scene.aside(true);
    let swap = Swap::stage(&scene.place, &scene.temp, &aside, &scene.guard).unwrap();
    fs::remove_file(scene.at("f")).unwrap();
    assert!(Guard::is_refusal(&swap.exchange().unwrap_err()));
    assert_eq!(scene.contents(), Vec::<String>::new());
    // And after the exchange: what came out unexpected is not lost with it.
    let scene = Scene::new();
    let aside = scene.aside(true);
    let swap = Swap::stage(&scene.place, &scene.temp, &aside, &scene.guard).unwrap();
    scene.save("theirs");
    swap.exchange().unwrap();
    fs::remove_file(scene.at("f")).unwrap();
    assert!(Guard::is_refusal(&swap.settle().unwrap_err()));
    assert_eq!(scene.f(), "theirs");
}

#[test]
fn a_crash_after_any_step_loses_neither_version() {
    for (keeps, steps) in [(true, 1), (true, 2), (false, 1), (false, 2)] {
        for theirs in [false, true] {
            let scene = Scene::new();
            let aside = scene.aside(keeps);
            let swap = Swap::stage(&scene.place, &scene.temp, &aside, &scene.guard).unwrap();
            if theirs {
                scene.save("theirs");
            }
            if steps == 2 {
                swap.exchange().unwrap();
            }
            // Here the process ends: nothing more is done with the swap.
            let _ended = swap;
            // What a later start clears away: the temporary name and nothing else.
            writer::discard(&scene.roots, &scene.roots.first().join("f"), "t", None).unwrap();
            let old = if theirs { "theirs" } else { "expected" };
            assert!(scene.contents().contains(&old.to_owned()), "{:?}", scene.contents());
            assert!(scene.contents().contains(&"new".to_owned()), "{:?}", scene.contents());
            assert!(!scene.f().is_empty(), "the name always leads to a whole version");
        }
    }
}

#[test]
fn what_is_taken_away_is_looked_at_again() {
    let scene = Scene::new();
    let aside = scene.aside(true);
    scene.save("theirs");
    assert!(Guard::is_refusal(&guarded::remove(&scene.place, &aside, &scene.guard).unwrap_err()));
    assert_eq!(scene.f(), "theirs");
    assert!(Guard::is_refusal(&publish_new(&scene.place, &scene.temp).unwrap_err()));
    assert_eq!(scene.f(), "theirs");
}

#[tokio::test]
async fn a_confined_folder_follows_no_link() {
    let (inside, outside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    fs::write(outside.path().join("x"), "secret").unwrap();
    std::os::unix::fs::symlink(outside.path(), inside.path().join("trap")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("x"), inside.path().join("link")).unwrap();
    let storage = LocalStorage::confined(inside.path()).await.unwrap();
    let path = |name: &str| ObjectPath::new(name);
    assert_eq!(storage.stat(&path("link")).await.unwrap().kind, ObjectKind::Special);
    assert!(storage.stat(&path("trap/x")).await.unwrap_err().detail(NO_WAY).is_some());
    for name in ["trap/x", "trap/new/y", "link"] {
        for guard in [Guard::Any, Guard::Absent] {
            let how = WriteRequest { create_parents: true, guard, ..WriteRequest::default() };
            assert!(storage.write(&path(name), how).await.is_err(), "{name}");
        }
        storage.read(&path(name), ReadRequest::default()).await.unwrap_err();
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    assert!(storage.is_in_place().await.unwrap());
    let elsewhere = inside.path().with_extension("moved");
    fs::rename(inside.path(), &elsewhere).unwrap();
    assert!(!storage.is_in_place().await.unwrap());
    fs::create_dir(inside.path()).unwrap();
    assert!(!storage.is_in_place().await.unwrap());
    fs::remove_dir_all(elsewhere).unwrap();
}

#[tokio::test]
async fn what_a_label_left_is_swept_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    let storage = LocalStorage::confined(folder.path()).await.unwrap();
    for (label, name) in [("sync", "a/b/x"), ("sync", "y"), ("sync-2", "y"), ("other", "y")] {
        let how = WriteRequest { label: label.to_owned(), create_parents: true, ..WriteRequest::default() };
        drop(storage.write(&ObjectPath::new(name), how).await.unwrap());
    }
    fs::write(folder.path().join(".haulier-sync-z"), "no temporary file").unwrap();
    assert_eq!(storage.sweep("other").await.unwrap(), 1);
    assert_eq!(storage.sweep("sync-2").await.unwrap(), 1);
    assert_eq!(storage.sweep("sync").await.unwrap(), 2);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[tokio::test]
async fn only_empty_folders_are_removed() {
    let folder = TempDir::new().unwrap();
    fs::create_dir_all(folder.path().join("a/b")).unwrap();
    fs::write(folder.path().join("f"), "x").unwrap();
    let storage = LocalStorage::confined(folder.path()).await.unwrap();
    for (name, gone) in [("a", false), ("a/b", true), ("a/b", true), ("a", true), ("f", false)] {
        assert_eq!(storage.remove_folder(&ObjectPath::new(name)).await.unwrap(), gone, "{name}");
    }
}

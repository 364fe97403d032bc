//! Watching real folders with the real kernel.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::timeout;

use super::dirty::Noticed;
use super::*;
use crate::model::FileName;

/// The kernel and the machine are given so long.
const PATIENCE: Duration = Duration::from_secs(20);
/// Set for the run of this program in which only few watches are allowed.
const FEW_WATCHES: &str = "HAULIER_TEST_FEW_WATCHES";

struct Scene {
    folder: TempDir,
    watch: Watch,
}

impl Scene {
    async fn new(prepare: impl FnOnce(&Path)) -> Self {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("root")).unwrap();
        prepare(&folder.path().join("root"));
        let watch = Watch::start(&fs::canonicalize(folder.path().join("root")).unwrap()).await.unwrap();
        Self { folder, watch }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("root").join(name)
    }

    /// What is noticed until all these names were, or what is gone.
    async fn until(&self, names: &[&str]) -> (BTreeSet<String>, BTreeSet<String>) {
        let (mut seen, mut gone) = (BTreeSet::new(), BTreeSet::new());
        let all = async {
            while !names.iter().all(|name| seen.contains(*name) || gone.contains(*name)) {
                let notices = self.watch.next().await;
                assert_eq!(notices.lost, None);
                seen.extend(notices.names.into_iter().map(|noticed| noticed.name.as_str().to_owned()));
                gone.extend(notices.gone.into_iter().map(|(name, _)| name.as_str().to_owned()));
            }
        };
        timeout(PATIENCE, all).await.unwrap_or_else(|_| panic!("not all of {names:?} noticed"));
        (seen, gone)
    }

    async fn lost(&self) -> Lost {
        let lost = async {
            loop {
                if let Some(lost) = self.watch.next().await.lost {
                    return lost;
                }
            }
        };
        timeout(PATIENCE, lost).await.expect("nothing was lost")
    }
}

fn plain(_: &Path) {}

#[tokio::test]
async fn a_created_and_a_rewritten_file_are_noticed() {
    let scene = Scene::new(|root| fs::write(root.join("old"), "1").unwrap()).await;
    fs::write(scene.path("new"), "x").unwrap();
    fs::write(scene.path("old"), "2").unwrap();
    let (seen, _) = scene.until(&["new", "old"]).await;
    assert_eq!(seen, BTreeSet::from(["new".to_owned(), "old".to_owned()]));
}

#[tokio::test]
async fn a_file_held_open_is_noticed_when_it_is_quiet_and_not_as_done() {
    let scene = Scene::new(plain).await;
    let mut file = File::create(scene.path("log")).unwrap();
    file.write_all(b"line").unwrap();
    let notices = timeout(PATIENCE, scene.watch.next()).await.unwrap();
    assert_eq!(notices.names, [Noticed { name: FileName::new("log").unwrap(), done: false }]);
    drop(file);
    let notices = timeout(PATIENCE, scene.watch.next()).await.unwrap();
    assert_eq!(notices.names, [Noticed { name: FileName::new("log").unwrap(), done: true }]);
}

#[tokio::test]
async fn renames_in_out_and_within_are_noticed() {
    let scene = Scene::new(|root| {
        fs::write(root.join("a"), "a").unwrap();
        fs::write(root.join("out"), "o").unwrap();
    })
    .await;
    let outside = |name: &str| scene.folder.path().join(name);
    fs::write(outside("in"), "i").unwrap();
    fs::rename(scene.path("a"), scene.path("b")).unwrap();
    fs::rename(scene.path("out"), outside("out")).unwrap();
    fs::rename(outside("in"), scene.path("in")).unwrap();
    let (seen, gone) = scene.until(&["a", "b", "out", "in"]).await;
    assert_eq!(seen.len(), 4);
    assert_eq!(gone, BTreeSet::from(["a".to_owned(), "out".to_owned()]));
}

#[tokio::test]
async fn deletes_links_and_times_are_noticed() {
    let scene = Scene::new(|root| {
        for name in ["a", "b", "c"] {
            fs::write(root.join(name), name).unwrap();
        }
    })
    .await;
    fs::remove_file(scene.path("a")).unwrap();
    fs::hard_link(scene.path("b"), scene.path("linked")).unwrap();
    File::open(scene.path("c")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    scene.until(&["a", "linked", "c"]).await;
}

#[tokio::test]
async fn files_in_folders_of_the_same_instant_are_not_missed() {
    let scene = Scene::new(plain).await;
    let mut names = Vec::new();
    for round in 0..50 {
        let folder = format!("r{round}/b/c");
        fs::create_dir_all(scene.path(&folder)).unwrap();
        fs::write(scene.path(&format!("{folder}/f")), "x").unwrap();
        names.push(format!("{folder}/f"));
    }
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    scene.until(&names).await;
    // And the new folders stay watched.
    fs::write(scene.path("r49/b/c/later"), "x").unwrap();
    scene.until(&["r49/b/c/later"]).await;
}

#[tokio::test]
async fn a_folder_moved_in_is_looked_through_and_watched() {
    let scene = Scene::new(plain).await;
    let outside = scene.folder.path().join("tree");
    fs::create_dir_all(outside.join("deep/er")).unwrap();
    fs::write(outside.join("deep/er/f"), "x").unwrap();
    fs::rename(&outside, scene.path("tree")).unwrap();
    scene.until(&["tree/deep/er/f"]).await;
    fs::write(scene.path("tree/deep/er/g"), "x").unwrap();
    scene.until(&["tree/deep/er/g"]).await;
}

#[tokio::test]
async fn a_folder_renamed_back_and_forth_stays_watched_under_its_new_name() {
    let scene = Scene::new(|root| fs::create_dir_all(root.join("a/sub")).unwrap()).await;
    fs::rename(scene.path("a"), scene.path("b")).unwrap();
    fs::write(scene.path("b/sub/one"), "1").unwrap();
    let (_, gone) = scene.until(&["a", "b/sub/one"]).await;
    assert!(gone.contains("a"));
    fs::rename(scene.path("b"), scene.path("a")).unwrap();
    scene.until(&["b", "a/sub/one"]).await;
    fs::write(scene.path("a/sub/two"), "2").unwrap();
    let (seen, _) = scene.until(&["a/sub/two"]).await;
    assert!(!seen.iter().any(|name| name.starts_with("b/sub/two")), "{seen:?}");
}

#[tokio::test]
async fn a_folder_moved_out_is_gone_and_not_watched_any_more() {
    let scene = Scene::new(|root| {
        fs::create_dir(root.join("dir")).unwrap();
        fs::write(root.join("dir/f"), "x").unwrap();
    })
    .await;
    let outside = scene.folder.path().join("elsewhere");
    fs::rename(scene.path("dir"), &outside).unwrap();
    let (_, gone) = scene.until(&["dir"]).await;
    assert_eq!(gone, BTreeSet::from(["dir".to_owned()]));
    fs::write(outside.join("g"), "x").unwrap();
    fs::write(scene.path("marker"), "x").unwrap();
    let (seen, _) = scene.until(&["marker"]).await;
    assert!(!seen.contains("dir/g"), "{seen:?}");
}

#[tokio::test]
async fn ours_and_links_are_nobodys_files() {
    let scene = Scene::new(|root| fs::create_dir_all(root.join(".haulier/kept")).unwrap()).await;
    let outside = scene.folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, scene.path("link")).unwrap();
    fs::write(scene.path(".haulier/kept/old"), "x").unwrap();
    fs::write(scene.path(".haulier-label-f.part"), "x").unwrap();
    fs::write(scene.path(".f.onitu-tmp"), "x").unwrap();
    fs::write(outside.join("f"), "x").unwrap();
    fs::write(scene.path("marker"), "x").unwrap();
    // The link itself is noticed, and will be found to be no file.
    let (seen, _) = scene.until(&["marker", "link"]).await;
    assert_eq!(seen, BTreeSet::from(["link".to_owned(), "marker".to_owned()]));
}

#[tokio::test]
async fn a_moved_a_removed_and_a_replaced_root_are_noticed() {
    let scene = Scene::new(plain).await;
    fs::rename(scene.path(""), scene.folder.path().join("moved")).unwrap();
    assert_eq!(scene.lost().await, Lost::Root);
    assert!(!scene.watch.is_in_place().await);
    fs::create_dir(scene.path("")).unwrap();
    assert!(!scene.watch.is_in_place().await, "another folder of that name");

    let scene = Scene::new(plain).await;
    assert!(scene.watch.is_in_place().await);
    fs::remove_dir(scene.path("")).unwrap();
    assert_eq!(scene.lost().await, Lost::Root);
    let missing = Watch::start(&scene.path("")).await.unwrap_err();
    assert_eq!(missing.kind(), haulier_base::ErrorKind::NotFound);
}

#[tokio::test]
async fn more_than_the_kernel_keeps_is_told() {
    let scene = Scene::new(plain).await;
    {
        // Nobody takes anything from the kernel meanwhile, and it keeps 16,384 unless told otherwise.
        let _nobody_listens = scene.watch.inner.shared.dirty();
        let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
        let limit: usize = limit.trim().parse().unwrap();
        for number in 0..limit / 2 {
            File::create(scene.path(&format!("f{number}"))).unwrap();
        }
    }
    assert_eq!(scene.lost().await, Lost::Overflow);
}

#[tokio::test]
async fn more_than_we_keep_is_told() {
    let folder = TempDir::new().unwrap();
    let watch = Watch::start_with(&fs::canonicalize(folder.path()).unwrap(), 20).await.unwrap();
    let scene = Scene { watch, folder };
    fs::create_dir(scene.folder.path().join("root")).unwrap();
    for number in 0..40 {
        fs::write(scene.path(&format!("f{number}")), "x").unwrap();
    }
    assert_eq!(scene.lost().await, Lost::Overflow);
}

/// Runs itself in a user namespace in which three watches are allowed.
#[test]
fn too_many_folders_are_told_and_the_first_ones_watched() {
    let program = std::env::current_exe().unwrap();
    let name = "watch::tests::few_watches";
    let script = format!(
        "echo 3 > /proc/sys/user/max_inotify_watches && exec '{}' --exact {name} --nocapture",
        program.display()
    );
    let mut run = Command::new("unshare");
    run.args(["--user", "--map-root-user", "sh", "-c", &script]).env(FEW_WATCHES, "1");
    let output = run.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if text.contains("unshare failed") || text.contains("max_inotify_watches:") {
        eprintln!("this machine lets nobody make user namespaces: {text}");
        return;
    }
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the run in the namespace is told by its environment")]
async fn few_watches() {
    if std::env::var(FEW_WATCHES).is_err() {
        return;
    }
    let scene = Scene::new(|root| {
        for number in 0..10 {
            fs::create_dir(root.join(format!("d{number}"))).unwrap();
        }
    })
    .await;
    assert!(scene.watch.is_limited());
    fs::write(scene.path("f"), "x").unwrap();
    scene.until(&["f"]).await;
}

//! Every way in which files change, once with the kernel's word alone and once with polling alone.

use std::fs::{create_dir, read, remove_dir_all, remove_file, rename, write};
use std::io::Write;
use std::os::unix::fs::symlink;

use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use super::*;

/// Longer than anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A folder with `file`, which holds `old` and is followed, and `last`, which is changed to see that nothing else was.
struct Scene {
    folder: TempDir,
    watch: Watch,
    runtime: Runtime,
}

/// Runs the same with the kernel's word and no poll in a day, and with polls and no word of the kernel.
fn each_way(act: impl Fn(Scene)) {
    let rung = Arc::new(Notify::new());
    let bells = Bells::new(Arc::clone(&rung)).unwrap();
    act(Scene::new(Watch::with(rung, Some(bells), Duration::from_secs(86_400))));
    act(Scene::new(Watch::with(Arc::default(), None, Duration::from_millis(10))));
}

impl Scene {
    fn new(watch: Watch) -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let mut scene = Scene { folder, watch, runtime };
        write(scene.path("file"), "old").unwrap();
        scene.follow("file");
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    /// Follows a file besides `last`, and returns once it has been looked at, so that its changes are told from its state.
    fn follow(&mut self, name: &str) {
        std::fs::OpenOptions::new().create(true).append(true).open(self.path("last")).unwrap().write_all(b"0").unwrap();
        self.watch.follow([self.path(name), self.path("last")]);
        self.nothing_else();
    }

    fn changed(&mut self) -> Vec<PathBuf> {
        let changed = async { tokio::time::timeout(PATIENCE, self.watch.changed()).await };
        self.runtime.block_on(changed).expect("a change that is reported")
    }

    /// Fails unless the next thing that is reported is `last` alone.
    fn nothing_else(&mut self) {
        let last = self.path("last");
        let more = [read(&last).unwrap(), b"+".to_vec()].concat();
        write(&last, more).unwrap();
        assert_eq!(self.changed(), [last]);
    }

    /// Fails unless `file`, and nothing else, is reported once.
    fn reports(&mut self, name: &str) {
        assert_eq!(self.changed(), [self.path(name)]);
        self.nothing_else();
    }
}

#[test]
fn an_edit_in_place_is_reported_once() {
    each_way(|mut scene| {
        write(scene.path("file"), "new").unwrap();

        scene.reports("file");
    });
}

#[test]
fn a_file_that_is_renamed_over_it_is_reported() {
    each_way(|mut scene| {
        write(scene.path("fresh"), "new").unwrap();
        rename(scene.path("fresh"), scene.path("file")).unwrap();

        scene.reports("file");
    });
}

#[test]
fn a_file_that_is_deleted_and_made_anew_is_reported() {
    each_way(|mut scene| {
        remove_file(scene.path("file")).unwrap();
        write(scene.path("file"), "new").unwrap();

        scene.reports("file");
    });
}

/// A volume of Kubernetes: the file is a link into `..data`, which is a link to a folder with a version of everything.
#[test]
fn a_config_map_that_is_swapped_is_reported() {
    each_way(|mut scene| {
        for (version, content) in [("..1", "one"), ("..2", "two")] {
            create_dir(scene.path(version)).unwrap();
            write(scene.path(version).join("mapped"), content).unwrap();
        }
        symlink("..1", scene.path("..data")).unwrap();
        symlink("..data/mapped", scene.path("mapped")).unwrap();
        scene.follow("mapped");

        symlink("..2", scene.path("..data_tmp")).unwrap();
        rename(scene.path("..data_tmp"), scene.path("..data")).unwrap();
        remove_dir_all(scene.path("..1")).unwrap();
        scene.reports("mapped");

        // The folder that the link leads to since then is watched too.
        write(scene.path("..2").join("mapped"), "three").unwrap();
        scene.reports("mapped");
    });
}

#[test]
fn a_folder_that_vanishes_and_comes_back_is_followed_on() {
    each_way(|mut scene| {
        create_dir(scene.path("folder")).unwrap();
        write(scene.path("folder/file"), "old").unwrap();
        scene.follow("folder/file");

        remove_dir_all(scene.path("folder")).unwrap();
        scene.reports("folder/file");
        create_dir(scene.path("folder")).unwrap();
        write(scene.path("folder/file"), "old").unwrap();
        scene.reports("folder/file");
        write(scene.path("folder/file"), "new").unwrap();

        scene.reports("folder/file");
    });
}

#[test]
fn a_file_that_comes_into_being_is_reported() {
    each_way(|mut scene| {
        scene.follow("later/file");

        create_dir(scene.path("later")).unwrap();
        write(scene.path("later/file"), "new").unwrap();

        scene.reports("later/file");
    });
}

#[test]
fn the_same_bytes_are_no_change_however_they_come() {
    each_way(|mut scene| {
        write(scene.path("file"), "old").unwrap();
        scene.nothing_else();
        write(scene.path("fresh"), "old").unwrap();
        rename(scene.path("fresh"), scene.path("file")).unwrap();
        scene.nothing_else();
    });
}

#[test]
fn what_is_missing_or_empty_for_less_than_a_second_is_not_reported() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let look = |content: &str| {
        write(&path, content).unwrap();
        sight::all(&[(path.clone(), None)])[0]
    };
    let (old, empty, start) = (look("old"), look(""), Instant::now());
    let mut file = Followed::new(path.clone());
    file.accepted = Accepted::Content(old.content);

    assert!(!file.differs(empty, start));
    assert!(!file.differs(empty, start + ABSENCE - Duration::from_millis(1)));
    assert!(!file.differs(old, start + ABSENCE));
    assert!(!file.differs(empty, start + ABSENCE), "absence is counted from its own beginning");
    assert!(file.differs(empty, start + ABSENCE * 2));
    assert!(!file.differs(empty, start + ABSENCE * 3), "once is enough");
}

#[test]
fn a_file_that_stays_missing_is_reported_and_so_is_its_return() {
    each_way(|mut scene| {
        remove_file(scene.path("file")).unwrap();
        scene.reports("file");
        write(scene.path("file"), "old").unwrap();

        scene.reports("file");
    });
}

#[test]
fn what_changed_since_it_was_read_is_reported() {
    each_way(|mut scene| {
        write(scene.path("read"), "new").unwrap();
        scene.watch.follow([scene.path("read"), scene.path("last")]);
        scene.watch.accept(&scene.path("read"), Digest::of(b"old"));
        scene.reports("read");

        scene.watch.accept(&scene.path("read"), Digest::of(b"new"));
        scene.nothing_else();
    });
}

#[test]
fn what_is_followed_on_keeps_a_change_that_nobody_heard_of() {
    each_way(|mut scene| {
        write(scene.path("file"), "new").unwrap();
        let both = [scene.path("last"), scene.path("file")];
        scene.watch.follow(both);

        scene.reports("file");
    });
}

#[test]
fn a_caller_that_gives_up_again_and_again_hears_of_every_change() {
    each_way(|mut scene| {
        write(scene.path("file"), "new").unwrap();

        let impatient = async {
            for _ in 0..20_000 {
                let wait = tokio::time::timeout(Duration::from_millis(1), scene.watch.changed());
                if let Ok(changed) = wait.await {
                    return changed;
                }
            }
            Vec::new()
        };
        let changed = scene.runtime.block_on(impatient);

        assert_eq!(changed, [scene.path("file")]);
    });
}

#[test]
fn what_is_not_followed_any_more_is_not_reported() {
    each_way(|mut scene| {
        scene.watch.follow([scene.path("last")]);

        write(scene.path("file"), "new").unwrap();

        scene.nothing_else();
    });
}

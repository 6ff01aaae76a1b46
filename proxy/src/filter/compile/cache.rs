//! Compiled code kept in a folder, so that a module that is known need not be compiled again.
//!
//! Code is native code: every entry carries a MAC under a key that never leaves the folder, and one that does not prove
//! itself is removed. Nothing here fails a module: what cannot be read or written is a warning.

mod folder;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use tollgate_abi::{Artifact, Fingerprint};

use super::wire::ANSWER_LIMIT;
use crate::filter::blob::Blob;
use crate::filter::digest::Digest;
use folder::{Entry, Folder, UNFINISHED};

const MAGIC: [u8; 8] = *b"TGCODE1\n";
const MAC: usize = 32;
/// Magic, length, MAC.
const HEAD: usize = MAGIC.len() + 8 + MAC;

const KEY: &str = "key";
const ENDING: &str = ".cwasm";

/// How old an unfinished file is that nobody will finish any more.
const STALE: Duration = Duration::from_hours(1);

/// How much is kept; the entries that were not used for longest go first.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    entries: usize,
    bytes: u64,
}

const BOUNDS: Bounds = Bounds { entries: 256, bytes: 1 << 30 };

/// Whose code an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    /// The module.
    pub(super) digest: Digest,
    /// The engine.
    pub(super) fingerprint: Fingerprint,
}

impl Subject {
    fn name(&self) -> String {
        format!("{}-{}{ENDING}", self.digest, self.fingerprint)
    }
}

/// An open cache. Processes may share its folder.
pub(super) struct Cache {
    path: PathBuf,
    folder: Folder,
    key: hmac::Key,
    bounds: Bounds,
}

impl Cache {
    /// Opens the folder and the key in it, and makes what is missing.
    pub(super) fn open(path: &Path) -> io::Result<Cache> {
        let folder = Folder::open(path)?;
        let key = key(&folder).map_err(|error| io::Error::new(error.kind(), format!("{KEY}: {error}")))?;
        Ok(Cache { path: path.to_owned(), folder, key, bounds: BOUNDS })
    }

    /// The code of `subject`, which now counts as used. An entry that is not what was stored is removed.
    pub(super) fn load(&self, subject: &Subject) -> Option<Artifact> {
        let (file, bytes) = match self.folder.read(&subject.name(), HEAD.saturating_add(ANSWER_LIMIT)) {
            Ok(found) => found,
            Err(error) => {
                self.unread(subject, &error);
                return None;
            }
        };
        let Some(code) = self.proven(subject, &bytes) else {
            self.discard(subject, "it is not as it was written");
            return None;
        };
        // A folder that cannot be written to still serves.
        let _ = file.set_modified(SystemTime::now());
        Some(Artifact::vouched(bytes.slice_ref(code)))
    }

    /// Keeps the code of `subject`, whole or not at all, and makes room for it.
    pub(super) fn store(&self, subject: &Subject, artifact: &Artifact) {
        let entry = self.entry(subject, artifact.as_bytes());
        let stored = entry.and_then(|entry| self.folder.replace(&subject.name(), entry.as_ref()));
        if let Err(error) = stored.and(self.tidy()) {
            tracing::warn!(folder = %self.path.display(), %error, "compiled code is not kept");
        }
    }

    /// Removes an entry that is of no use, and says so.
    pub(super) fn discard(&self, subject: &Subject, reason: &str) {
        let entry = self.path.join(subject.name());
        tracing::warn!(entry = %entry.display(), reason, "an entry of the cache of compiled code is bad and removed");
        if let Err(error) = self.folder.remove(&subject.name()) {
            tracing::warn!(entry = %entry.display(), %error, "it cannot be removed");
        }
    }

    /// An entry that is bad goes; one that a moment's trouble hides stays.
    fn unread(&self, subject: &Subject, error: &io::Error) {
        match error.kind() {
            io::ErrorKind::NotFound => {}
            io::ErrorKind::InvalidData => self.discard(subject, &error.to_string()),
            _ => {
                let entry = self.path.join(subject.name());
                tracing::warn!(entry = %entry.display(), %error, "an entry of the cache of compiled code cannot be read");
            }
        }
    }

    fn entry(&self, subject: &Subject, code: &[u8]) -> io::Result<Blob> {
        let mut entry = Blob::default();
        entry.reserve(HEAD + code.len())?;
        let length = u64::try_from(code.len()).unwrap_or(u64::MAX).to_le_bytes();
        for part in [&MAGIC[..], &length, self.mac(subject, code).as_ref(), code] {
            entry.extend(part)?;
        }
        Ok(entry)
    }

    /// The code of an entry that was written with this key for this subject.
    fn proven<'a>(&self, subject: &Subject, entry: &'a [u8]) -> Option<&'a [u8]> {
        let rest = entry.strip_prefix(&MAGIC)?;
        let (length, rest) = rest.split_first_chunk()?;
        let (mac, code) = rest.split_first_chunk::<MAC>()?;
        let whole = u64::from_le_bytes(*length) == u64::try_from(code.len()).ok()?;
        (whole && verify_slices_are_equal(mac, self.mac(subject, code).as_ref()).is_ok()).then_some(code)
    }

    /// All parts but the last have one length, so no two subjects come to the same bytes.
    fn mac(&self, subject: &Subject, code: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [&MAGIC[..], &subject.fingerprint.0, &subject.digest.0, code] {
            context.update(part);
        }
        context.sign()
    }

    /// Removes what is too much or was given up.
    fn tidy(&self) -> io::Result<()> {
        let entries = self.folder.entries()?;
        for name in superfluous(entries, self.bounds, SystemTime::now()) {
            // Another process may tidy too.
            let _ = self.folder.remove(&name);
        }
        Ok(())
    }
}

/// The key of the folder; the first of several processes makes it.
fn key(folder: &Folder) -> io::Result<hmac::Key> {
    let (_, bytes) = match folder.read(KEY, MAC) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut fresh = [0; MAC];
            // From the kernel itself: the generator of the TLS library takes 20 ms to start, and nobody else here needs it.
            getrandom::fill(&mut fresh)?;
            folder.establish(KEY, &fresh)?;
            folder.read(KEY, MAC)?
        }
        found => found?,
    };
    if bytes.len() == MAC {
        return Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes));
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("it has not {MAC} bytes: remove it")))
}

/// The names of the files to remove.
fn superfluous(files: Vec<Entry>, bounds: Bounds, now: SystemTime) -> Vec<String> {
    let stale = |entry: &Entry| {
        let age = now.duration_since(entry.modified).unwrap_or_default();
        entry.name.starts_with(UNFINISHED) && age > STALE
    };
    let mut names: Vec<String> = files.iter().filter(|entry| stale(entry)).map(|entry| entry.name.clone()).collect();
    let mut kept: Vec<Entry> = files.into_iter().filter(|entry| entry.name.ends_with(ENDING)).collect();
    kept.sort_by_key(|entry| std::cmp::Reverse(entry.modified));
    let mut bytes: u64 = 0;
    for (place, entry) in kept.into_iter().enumerate() {
        bytes = bytes.saturating_add(entry.size);
        if place >= bounds.entries || bytes > bounds.bytes {
            names.push(entry.name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::symlink;

    use super::*;

    const SUBJECT: Subject = Subject { digest: Digest([1; 32]), fingerprint: Fingerprint([2; 16]) };

    fn cache() -> (tempfile::TempDir, Cache) {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        (folder, cache)
    }

    fn written(cache: &Cache, subject: &Subject) -> Vec<u8> {
        cache.entry(subject, b"code").unwrap().as_ref().to_vec()
    }

    fn code() -> Artifact {
        Artifact::vouched(b"code".to_vec())
    }

    fn names(folder: &tempfile::TempDir) -> Vec<String> {
        let names = std::fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<String> = names.map(|name| name.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_was_stored_comes_back_in_another_process() {
        let (folder, cache) = cache();

        cache.store(&SUBJECT, &code());
        let again = Cache::open(folder.path()).unwrap();

        assert_eq!(again.load(&SUBJECT), Some(code()));
        assert_eq!(names(&folder), [SUBJECT.name(), KEY.to_owned()]);
    }

    #[test]
    fn an_entry_with_any_byte_changed_or_missing_is_removed() {
        let (folder, cache) = cache();
        let path = folder.path().join(SUBJECT.name());
        let whole = written(&cache, &SUBJECT);
        let mut bad: Vec<Vec<u8>> = (0..whole.len()).map(|end| whole[..end].to_vec()).collect();
        bad.push([&whole[..], b"!"].concat());
        bad.extend((0..whole.len()).map(|place| {
            let mut flipped = whole.clone();
            flipped[place] ^= 1;
            flipped
        }));

        for bytes in bad {
            cache.store(&SUBJECT, &code());
            std::fs::write(&path, &bytes).unwrap();

            assert_eq!(cache.load(&SUBJECT), None, "{bytes:?}");
            assert!(!path.exists(), "{bytes:?}");
        }
    }

    #[test]
    fn an_entry_of_another_key_module_or_engine_is_removed() {
        let (folder, cache) = cache();
        let (_other_folder, other_key) = self::cache();
        let other_module = Subject { digest: Digest([3; 32]), ..SUBJECT };
        let other_engine = Subject { fingerprint: Fingerprint([3; 16]), ..SUBJECT };
        let path = folder.path().join(SUBJECT.name());

        for entry in [written(&other_key, &SUBJECT), written(&cache, &other_module), written(&cache, &other_engine)] {
            cache.store(&SUBJECT, &code());
            std::fs::write(&path, entry).unwrap();

            assert_eq!(cache.load(&SUBJECT), None);
            assert!(!path.exists());
        }
    }

    #[test]
    fn the_code_of_another_engine_is_not_found() {
        let (_folder, cache) = cache();
        cache.store(&SUBJECT, &code());

        assert_eq!(cache.load(&Subject { fingerprint: Fingerprint([3; 16]), ..SUBJECT }), None);
        assert_eq!(cache.load(&SUBJECT), Some(code()));
    }

    #[test]
    fn a_link_is_removed_and_what_it_names_is_neither_read_nor_changed() {
        let (folder, cache) = cache();
        let target = folder.path().join("target");
        let entry = written(&cache, &SUBJECT);
        std::fs::write(&target, &entry).unwrap();
        symlink(&target, folder.path().join(SUBJECT.name())).unwrap();

        assert_eq!(cache.load(&SUBJECT), None);

        assert_eq!(std::fs::read(&target).unwrap(), entry);
        assert_eq!(names(&folder), [KEY, "target"]);
    }

    #[test]
    fn a_full_disk_leaves_the_entry_of_before_and_nothing_half_written() {
        let (folder, mut cache) = cache();
        cache.store(&SUBJECT, &code());
        let before = names(&folder);
        cache.folder.writer = |file, bytes| {
            folder::whole(file, &bytes[..bytes.len() / 2])?;
            Err(io::ErrorKind::StorageFull.into())
        };

        cache.store(&SUBJECT, &Artifact::vouched(b"other".to_vec()));
        cache.store(&Subject { digest: Digest([3; 32]), ..SUBJECT }, &code());

        assert_eq!(names(&folder), before);
        assert_eq!(cache.load(&SUBJECT), Some(code()));
    }

    #[test]
    fn a_folder_that_is_gone_loses_entries_and_nothing_else() {
        let (folder, cache) = cache();
        folder.close().unwrap();

        cache.store(&SUBJECT, &code());

        assert_eq!(cache.load(&SUBJECT), None);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();

        assert!(Cache::open(&file.path().join("cache")).is_err());
    }

    #[test]
    fn a_key_of_another_length_is_refused_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        drop(cache);
        for length in [MAC - 1, MAC + 1] {
            std::fs::write(folder.path().join(KEY), vec![0; length]).unwrap();

            assert!(Cache::open(folder.path()).is_err(), "{length}");
            assert_eq!(folder.path().join(KEY).metadata().unwrap().len(), length as u64);
        }
    }

    #[test]
    fn processes_that_begin_at_once_agree_on_the_key_and_never_see_half_an_entry() {
        let folder = tempfile::tempdir().unwrap();
        let barrier = std::sync::Barrier::new(8);
        let large = Artifact::vouched(vec![7; 1 << 20]);

        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    barrier.wait();
                    let cache = Cache::open(folder.path()).unwrap();
                    for _ in 0..5 {
                        cache.store(&SUBJECT, &large);
                        // Nothing is ever removed, so that what is found missing was found bad.
                        assert_eq!(cache.load(&SUBJECT).as_ref(), Some(&large));
                    }
                });
            }
        });

        assert_eq!(names(&folder), [SUBJECT.name(), KEY.to_owned()]);
    }

    #[test]
    fn what_was_used_last_is_kept_up_to_the_bounds() {
        let now = SystemTime::now();
        let entry =
            |name: &str, size, age| Entry { name: name.to_owned(), size, modified: now - Duration::from_secs(age) };
        let files = || vec![entry("a.cwasm", 4, 3), entry("b.cwasm", 4, 1), entry("c.cwasm", 4, 2), entry(KEY, 32, 9)];
        let removed = |entries, bytes| superfluous(files(), Bounds { entries, bytes }, now);

        assert_eq!(removed(3, 12), [""; 0]);
        assert_eq!(removed(2, 12), ["a.cwasm"]);
        assert_eq!(removed(3, 11), ["a.cwasm"]);
        assert_eq!(removed(3, 7), ["c.cwasm", "a.cwasm"]);
    }

    #[test]
    fn a_use_makes_an_entry_the_youngest() {
        let (folder, mut cache) = cache();
        cache.bounds.entries = 2;
        let [first, second, third] = [1, 2, 3].map(|number| Subject { digest: Digest([number; 32]), ..SUBJECT });
        for (subject, age) in [(&first, 20), (&second, 10)] {
            cache.store(subject, &code());
            let file = File::options().write(true).open(folder.path().join(subject.name())).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        }

        cache.load(&first);
        cache.store(&third, &code());

        assert_eq!(cache.load(&second), None);
        assert!(cache.load(&first).is_some() && cache.load(&third).is_some());
    }

    #[test]
    fn an_unfinished_file_is_left_for_an_hour() {
        let now = SystemTime::now();
        let removed = |age| {
            let file = Entry { name: format!("{UNFINISHED}1"), size: 1, modified: now - age };
            superfluous(vec![file], BOUNDS, now)
        };

        assert_eq!(removed(STALE), [""; 0]);
        assert_eq!(removed(STALE + Duration::from_nanos(1)), [format!("{UNFINISHED}1")]);
    }
}

//! One look at a file: what it is from outside, and a hash of what it holds where that is in doubt.

use std::fs::Metadata;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{Context, SHA256};

use crate::filter::digest::Digest;

/// A file that changed is looked at again after so long, until it rests.
const QUIET: Duration = Duration::from_millis(20);
/// Such looks at most, so that a file that is written to all the time is seen too: with the first, a tenth of a second.
const LOOKS: usize = 5;
/// Larger files count by their size and the time of their change: no module and no configuration is as large.
const HASHED: u64 = 64 << 20;
/// Bytes that are read at once.
const CHUNK: usize = 64 << 10;
/// File systems tell the times of changes that are as near as this apart by nothing: a file is hashed again until its last
/// change is older.
const COARSE: Duration = Duration::from_secs(2);

/// What a file was when somebody looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sight {
    /// From outside; `None` when there is none.
    pub(super) stamp: Option<Stamp>,
    pub(super) content: Content,
    /// True when another change would have shown in the stamp.
    settled: bool,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Nothing that could be taken: it is missing, empty or unreadable.
    Nothing,
    Hash(Digest),
    /// Too much to hash.
    Large {
        size: u64,
        modified: (i64, i64),
    },
}

/// What the file system says of a file without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: (u64, u64),
    size: u64,
    modified: (i64, i64),
    /// Moves even when somebody sets the time of modification back.
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(path: &Path) -> Option<Stamp> {
        std::fs::metadata(path).ok().filter(Metadata::is_file).map(|metadata| Stamp::from(&metadata))
    }

    fn content(&self) -> Content {
        Content::Large { size: self.size, modified: self.modified }
    }

    fn is_old(&self) -> bool {
        let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(self.changed.0).unwrap_or(0));
        changed.elapsed().is_ok_and(|age| age > COARSE)
    }
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Stamp {
        Stamp {
            inode: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Looks at every file, given what was seen of it before, once those that are being changed rest. Blocks.
pub(super) fn all(files: &[(PathBuf, Option<Sight>)]) -> Vec<Sight> {
    let stamps = || files.iter().map(|(path, _)| Stamp::of(path)).collect::<Vec<_>>();
    let mut before: Vec<_> = files.iter().map(|(_, seen)| seen.and_then(|seen| seen.stamp)).collect();
    for _ in 0..LOOKS {
        let now = stamps();
        if now == before {
            break;
        }
        before = now;
        std::thread::sleep(QUIET);
    }
    files.iter().map(|(path, seen)| one(path, *seen)).collect()
}

fn one(path: &Path, seen: Option<Sight>) -> Sight {
    let stamp = Stamp::of(path);
    if let Some(seen) = seen.filter(|seen| seen.settled && seen.stamp == stamp) {
        return seen;
    }
    let settled = stamp.is_none_or(|stamp| stamp.is_old());
    let content = match stamp {
        None => Content::Nothing,
        Some(stamp) if stamp.size > HASHED => stamp.content(),
        Some(_) => hash(path).unwrap_or(Content::Nothing),
    };
    // What could not be read is tried again, whatever its stamp says.
    Sight { stamp, content, settled: settled && content != Content::Nothing }
}

/// `None` when it cannot be read, or holds nothing.
fn hash(path: &Path) -> Option<Content> {
    // A pipe may have come in its place since its stamp was taken.
    let mut file = tollgate_config::open(path).ok()?;
    let (mut context, mut chunk, mut read) = (Context::new(&SHA256), vec![0; CHUNK], 0);
    while read <= HASHED {
        match file.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => {
                context.update(chunk.get(..length)?);
                read += u64::try_from(length).ok()?;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    (read > 0).then_some(Content::Hash(Digest(digest)))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn look(path: &Path) -> Content {
        one(path, None).content
    }

    #[test]
    fn what_is_missing_empty_or_a_directory_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty");
        std::fs::write(&empty, "").unwrap();

        let looks = [look(&folder.path().join("missing")), look(&empty), look(folder.path())];

        assert_eq!(looks, [Content::Nothing; 3]);
    }

    #[test]
    fn a_file_is_hashed_up_to_its_limit_and_counts_by_its_size_past_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large");
        let file = File::create(&path).unwrap();

        file.set_len(HASHED).unwrap();
        assert!(matches!(look(&path), Content::Hash(_)));
        file.set_len(HASHED + 1).unwrap();
        assert!(matches!(look(&path), Content::Large { size, .. } if size == HASHED + 1));
    }

    #[test]
    fn the_hash_is_that_of_all_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let bytes = b"abc".repeat(CHUNK);
        std::fs::write(&path, &bytes).unwrap();

        assert_eq!(look(&path), Content::Hash(Digest::of(&bytes)));
    }
}

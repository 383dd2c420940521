//! What was read from the database and is still so, known without asking it.

use std::fmt;
use std::fs::File;
use std::future::Future;
use std::hash::Hash;
use std::os::unix::fs::FileExt;
use std::path::Path;

use moka::sync::Cache;

use super::StoreError;

/// Which commit was the last, of whichever process: the header of the index of the write-ahead log, by which every reader
/// of the database chooses what it sees (<https://sqlite.org/walformat.html>, section 2.2).
#[derive(Debug, Clone, Copy)]
pub(super) struct Commits(Option<&'static File>);

type Header = [u8; 48];

impl Commits {
    /// Of the database in this file, open already.
    pub(super) fn of(database: &Path) -> Self {
        let mut index = database.as_os_str().to_owned();
        index.push("-shm");
        // Never closed: to close any handle of this file would free the locks that SQLite holds on it in this process.
        Self(File::open(index).ok().map(|file| &*Box::leak(Box::new(file))))
    }

    /// `None` where it can't be told.
    fn last(&self) -> Option<Header> {
        let mut header = [0; size_of::<Header>()];
        self.0?.read_exact_at(&mut header, 0).ok()?;
        Some(header)
    }
}

/// Answers that hold until the next commit.
pub(super) struct Remembered<K, V> {
    commits: Commits,
    answers: Cache<K, (Header, V)>,
}

impl<K, V> fmt::Debug for Remembered<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remembered").finish_non_exhaustive()
    }
}

impl<K: Hash + Eq + Send + Sync + 'static, V: Clone + Send + Sync + 'static> Remembered<K, V> {
    pub(super) fn new(commits: Commits, capacity: u64) -> Self {
        Self { commits, answers: Cache::new(capacity) }
    }

    /// What `read` gives, or gave since the last commit. `None` is not remembered.
    pub(super) async fn get(
        &self,
        key: K,
        read: impl Future<Output = Result<Option<V>, StoreError>>,
    ) -> Result<Option<V>, StoreError> {
        // Told before the reading: what is committed meanwhile may have been read, but then it counts as not known.
        let last = self.commits.last();
        if let Some((_, answer)) = self.answers.get(&key).filter(|(told, _)| Some(*told) == last) {
            return Ok(Some(answer));
        }
        let answer = read.await?;
        if let (Some(last), Some(answer)) = (last, &answer) {
            self.answers.insert(key, (last, answer.clone()));
        }
        Ok(answer)
    }
}

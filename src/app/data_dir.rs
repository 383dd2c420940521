//! The data directory: served by one process at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

const LOCK: &str = "lock";
const DONE_SUFFIX: &str = "done";

/// A data directory held by this process. The lock goes with the process, however it ends, so none is ever left behind.
#[derive(Debug)]
pub(super) struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the directory where needed, and takes it.
    ///
    /// # Errors
    /// When another process holds it, or it can't be made.
    pub(super) fn take(path: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(path).with_context(|| format!("{} cannot be made", path.display()))?;
        let lock = path.join(LOCK);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock)
            .with_context(|| format!("{} cannot be opened", lock.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: file }),
            Err(TryLockError::WouldBlock) => bail!("another process serves {}", path.display()),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("{} cannot be locked", lock.display()))
            }
        }
    }

    /// Does something once in the directory's life. What was cut off is done again, so it must bear that.
    ///
    /// # Errors
    /// What `work` meets, or when its being done can't be noted.
    pub(super) async fn once(&self, name: &str, work: impl AsyncFnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
        let done = self.path.join(format!("{name}.{DONE_SUFFIX}"));
        if !done.exists() {
            work().await?;
            File::create(&done).with_context(|| format!("{} cannot be made", done.display()))?.sync_all()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data");
        let held = DataDir::take(&path).unwrap();
        let message = DataDir::take(&path).unwrap_err().to_string();
        assert!(message.contains("another process"), "{message}");
        drop(held);
        DataDir::take(&path).unwrap();
    }

    #[tokio::test]
    async fn once_is_once_unless_it_failed() {
        let directory = tempfile::tempdir().unwrap();
        let data_dir = DataDir::take(directory.path()).unwrap();
        let mut calls = 0;
        let failed = data_dir.once("it", async || bail!("no")).await;
        assert!(failed.is_err());
        for _ in 0..2 {
            data_dir
                .once("it", async || {
                    calls += 1;
                    Ok(())
                })
                .await
                .unwrap();
        }
        assert_eq!(calls, 1);
    }
}

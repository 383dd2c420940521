//! A write in progress, and the count of those that ended.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::{Sqlite, SqliteConnection, Transaction};

/// How many writes this process has ended. What was read under one count is what would be read now while the count is
/// the same, as far as no other process writes: and those write nothing but keys.
#[derive(Debug, Clone, Default)]
pub(super) struct Changes(Arc<AtomicU64>);

impl Changes {
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    fn add(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

/// A write, begun. Dropped without a commit, it never happened.
pub(super) struct Write {
    transaction: Transaction<'static, Sqlite>,
    changes: Changes,
}

impl Write {
    pub(super) fn new(transaction: Transaction<'static, Sqlite>, changes: Changes) -> Self {
        Self { transaction, changes }
    }

    /// # Errors
    /// The database.
    pub(super) async fn commit(self) -> Result<(), sqlx::Error> {
        let Self { transaction, changes } = self;
        // On a task of its own: when the caller is cut off, the database commits all the same, and it has to be counted.
        let committed = tokio::spawn(async move {
            let committed = transaction.commit().await;
            changes.add();
            committed
        });
        // A task that isn't aborted ends early only when the runtime stops.
        committed.await.map_err(|_| sqlx::Error::WorkerCrashed)?
    }
}

impl Deref for Write {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.transaction
    }
}

impl DerefMut for Write {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }
}

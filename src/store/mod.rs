//! The only SQL: SQLite in WAL mode, one writer, a pool of readers; one file per table, one function per question asked.
//!
//! Every write goes through one connection, in a transaction that takes the write lock as it begins: a transaction that
//! reads first and writes later can find itself out of date, and no waiting helps it then. Readers see the last commit and
//! never wait. The tables, with the reasons for them, are in `migrations/`; a query that doesn't fit them does not compile.

mod commits;
mod cursor;
mod detectors;
mod evaluations;
mod families;
mod graphs;
mod idempotency;
mod jobs;
mod json;
mod keys;
mod moment;
mod served_scores;
#[cfg(test)]
mod tests;

pub use cursor::{Page, PageRequest};
pub use detectors::{ActiveDetector, DetectorRow, FamilyPanel, NewDetector};
pub use families::{FamilyOverview, FamilyRow, NewFamily, SizeStatistics};
pub use graphs::{AddedGraph, GraphRow, NewGraph, StoredGraph};
pub use idempotency::Idempotency;
pub use jobs::{ClaimedJob, NewJob};
pub use keys::{KeyRow, Scope};
pub use served_scores::{KeptScores, Retention, ServedScore, Window};

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, SqlitePool, Transaction};
use thiserror::Error;
use tokio::sync::Mutex;

use commits::{Commits, Remembered};

/// How long a connection waits for another process's lock: a backup or a command-line key, both short.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Families whose panels are remembered, and keys.
const REMEMBERED: u64 = 4_096;

#[derive(Debug, Error)]
pub enum StoreError {
    #[error("there is no {what}")]
    NotFound { what: String },
    #[error("{what}")]
    Conflict { what: String },
    #[error("the cursor is not one this list gave")]
    BadCursor,
    /// The attempt that wants to commit is no longer the job's: its lease was taken over, or the job was cancelled.
    #[error("the job is no longer held by this attempt")]
    Fenced,
    #[error("the stored {what} is damaged: {detail}")]
    Damaged { what: &'static str, detail: String },
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    #[error("the database's schema cannot be brought up to date")]
    Migration(#[from] sqlx::migrate::MigrateError),
}

#[derive(Debug, Clone)]
pub struct Config {
    /// The database's file; its directory is made where needed.
    pub path: std::path::PathBuf,
    /// Connections that read at once; at least one is opened.
    pub readers: u32,
}

/// A cheap handle on the database.
#[derive(Debug, Clone)]
pub struct Store {
    /// One connection. Whoever begins a transaction on it waits here for the one before.
    writer: SqlitePool,
    readers: SqlitePool,
    /// Held while graphs are added: who is whose twin is decided outside the write transaction, and two batches deciding
    /// at once would each miss the twins in the other.
    additions: Arc<Mutex<()>>,
    remembered: Arc<Memory>,
}

/// What every score asks.
#[derive(Debug)]
struct Memory {
    /// Who scores for a family, by its name, and whose key a hash is of.
    panels: Remembered<String, Arc<FamilyPanel>>,
    keys: Remembered<[u8; 32], KeyRow>,
    /// Whether a key was ever made.
    has_keys: Remembered<(), bool>,
}

impl Store {
    /// Opens the database, made and migrated where needed.
    ///
    /// # Errors
    /// When it can't be opened or migrated.
    pub async fn open(config: &Config) -> Result<Self, StoreError> {
        if let Some(directory) = config.path.parent() {
            tokio::fs::create_dir_all(directory).await.map_err(sqlx::Error::Io)?;
        }
        let options = SqliteConnectOptions::new()
            .filename(&config.path)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .optimize_on_close(true, None);
        // FULL: a commit is on the disk when it returns. NORMAL could lose the last ones with the power.
        let writing = options
            .clone()
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        let writer = pool(1).connect_with(writing).await?;
        sqlx::migrate!().run(&writer).await?;
        let readers =
            pool(config.readers.max(1)).connect_with(options.optimize_on_close(false, None).read_only(true)).await?;
        let commits = Commits::of(&config.path);
        Ok(Self {
            writer,
            readers,
            additions: Arc::default(),
            remembered: Arc::new(Memory {
                panels: Remembered::new(commits, REMEMBERED),
                keys: Remembered::new(commits, REMEMBERED),
                has_keys: Remembered::new(commits, 1),
            }),
        })
    }

    /// Answers when the database does: for readiness.
    ///
    /// # Errors
    /// When it doesn't.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query_scalar!(r#"SELECT count(*) AS "count!: i64" FROM active_detectors"#)
            .fetch_one(&self.readers)
            .await?;
        Ok(())
    }

    /// A consistent copy of the whole database in a new file, durable and whole when it has its name.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the file exists; the database's or the file's errors.
    pub async fn backup_to(&self, file: &Path) -> Result<(), StoreError> {
        let directory = match file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => std::path::PathBuf::from("."),
        };
        // Beside its place, then renamed: no half-written file ever has the backup's name.
        let beside = tempfile::NamedTempFile::new_in(&directory).map_err(sqlx::Error::Io)?.into_temp_path();
        let name = beside.to_str().ok_or_else(|| sqlx::Error::Io(std::io::ErrorKind::InvalidFilename.into()))?;
        sqlx::query("VACUUM INTO ?").bind(name).execute(&self.readers).await?;
        let file = file.to_owned();
        off_thread(move || {
            // SQLite doesn't sync what it vacuums into.
            std::fs::File::open(&beside)?.sync_all()?;
            beside.persist_noclobber(&file).map_err(|error| error.error)?;
            std::fs::File::open(directory)?.sync_all()
        })
        .await?
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => StoreError::Conflict { what: "the backup file exists already".into() },
            _ => sqlx::Error::Io(error).into(),
        })
    }

    /// Ends the pools, the write-ahead log folded in.
    pub async fn close(&self) {
        self.readers.close().await;
        // Last, and alone by now: closing it folds the log in.
        self.writer.close().await;
    }

    /// Begins a write, the lock already taken. Dropped without a commit, it never happened.
    async fn write(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }
}

/// A pool whose connections stay open: each new one would read the whole schema again. Nor are they asked, before each
/// use, whether they still are: a file doesn't hang up, and asking takes as long as a short query.
fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .min_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
}

/// Runs `work`, which computes or touches files for long, off the threads that serve requests.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => Ok(result),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is stopping.
            Err(_) => Err(sqlx::Error::WorkerCrashed.into()),
        },
    }
}

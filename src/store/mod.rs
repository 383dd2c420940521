//! The only SQL: SQLite in WAL mode, one writer, a pool of readers; one file per table, one function per question asked.
//!
//! Signatures below are the contract with `http`, `worker` and `app`; each file adds its `impl Store`.

mod detectors;
mod families;
mod graphs;
mod idempotency;
mod jobs;
mod keys;

pub use detectors::{ActiveDetector, DetectorRow, NewDetector};
pub use families::{FamilyOverview, FamilyRow, NewFamily, SizeStatistics};
pub use graphs::{AddedGraph, GraphRow, NewGraph, StoredGraph};
pub use idempotency::Idempotency;
pub use jobs::{ClaimedJob, NewJob};
pub use keys::{KeyRow, Scope};

use thiserror::Error;

/// A page of a list: rows after a position, and where the next page begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Opaque position of the last item when more follow.
    pub next: Option<String>,
}

/// Which page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    pub limit: u32,
    /// A position given by an earlier page; [`StoreError::BadCursor`] when it is not one.
    pub after: Option<String>,
}

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
    pub path: std::path::PathBuf,
    pub readers: u32,
}

/// A cheap handle on the database.
#[derive(Debug, Clone)]
pub struct Store {
    _todo: (),
}

impl Store {
    /// Opens the database, made and migrated where needed.
    ///
    /// # Errors
    /// When it can't be opened or migrated.
    pub async fn open(_config: &Config) -> Result<Self, StoreError> {
        todo!()
    }

    /// Answers when the database does: for readiness.
    ///
    /// # Errors
    /// When it doesn't.
    pub async fn ping(&self) -> Result<(), StoreError> {
        todo!()
    }

    /// A consistent copy of the whole database in a new file.
    ///
    /// # Errors
    /// When the file exists or can't be written.
    pub async fn backup_to(&self, _file: &std::path::Path) -> Result<(), StoreError> {
        todo!()
    }

    /// Ends the pools, the write-ahead log folded in.
    pub async fn close(&self) {
        todo!()
    }
}

//! API keys: only their hashes.

use std::fmt;
use std::str::FromStr;

use time::OffsetDateTime;

use super::{Store, StoreError};

/// What a key may do; each scope includes those below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    Read,
    Score,
    Admin,
}

impl Scope {
    pub const ALL: [Self; 3] = [Self::Read, Self::Score, Self::Admin];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Score => "score",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or_else(|| format!("`{text}` is not a scope: read, score or admin"))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    pub name: String,
    pub scope: Scope,
    pub created_at: OffsetDateTime,
    pub revoked_at: Option<OffsetDateTime>,
}

impl Store {
    /// # Errors
    /// [`StoreError::Conflict`] when a key of that name is in use.
    pub async fn create_key(&self, _name: &str, _scope: Scope, _key_sha256: &[u8; 32]) -> Result<KeyRow, StoreError> {
        todo!()
    }

    /// The unrevoked key with this hash.
    ///
    /// # Errors
    /// The database.
    pub async fn find_key(&self, _key_sha256: &[u8; 32]) -> Result<Option<KeyRow>, StoreError> {
        todo!()
    }

    /// # Errors
    /// The database.
    pub async fn list_keys(&self) -> Result<Vec<KeyRow>, StoreError> {
        todo!()
    }

    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn revoke_key(&self, _name: &str) -> Result<(), StoreError> {
        todo!()
    }

    /// How many unrevoked keys there are with at least this scope.
    ///
    /// # Errors
    /// The database.
    pub async fn count_keys(&self, _at_least: Scope) -> Result<u64, StoreError> {
        todo!()
    }
}

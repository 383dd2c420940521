//! API keys: only their hashes.

use std::fmt;
use std::str::FromStr;

use time::OffsetDateTime;

use super::{Store, StoreError, json, moment};

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
    pub async fn create_key(&self, name: &str, scope: Scope, key_sha256: &[u8; 32]) -> Result<KeyRow, StoreError> {
        let (scope_name, hash, now) = (scope.as_str(), key_sha256.as_slice(), moment::now());
        let mut transaction = self.write().await?;
        sqlx::query!(
            "INSERT INTO api_keys (name, scope, key_sha256, created_at) VALUES (?, ?, ?, ?)",
            name,
            scope_name,
            hash,
            now
        )
        .execute(&mut *transaction)
        .await
        .map_err(|error| match &error {
            sqlx::Error::Database(database) if database.is_unique_violation() => {
                StoreError::Conflict { what: format!("there is a key named `{name}` already") }
            }
            _ => error.into(),
        })?;
        transaction.commit().await?;
        Ok(KeyRow { name: name.to_owned(), scope, created_at: moment::to_time(now)?, revoked_at: None })
    }

    /// The unrevoked key with this hash.
    ///
    /// # Errors
    /// The database.
    pub async fn find_key(&self, key_sha256: &[u8; 32]) -> Result<Option<KeyRow>, StoreError> {
        let read = async {
            let hash = key_sha256.as_slice();
            sqlx::query_as!(
                KeyRecord,
                "SELECT name, scope, created_at, revoked_at FROM api_keys WHERE key_sha256 = ? AND revoked_at IS NULL",
                hash
            )
            .fetch_optional(&self.readers)
            .await?
            .map(KeyRow::try_from)
            .transpose()
        };
        self.remembered.keys.get(*key_sha256, read).await
    }

    /// Whether a key was ever made, revoked or not.
    ///
    /// # Errors
    /// The database.
    pub async fn has_keys(&self) -> Result<bool, StoreError> {
        let read = async {
            let found = sqlx::query_scalar!(r#"SELECT EXISTS (SELECT 1 FROM api_keys) AS "found!: bool""#);
            Ok(Some(found.fetch_one(&self.readers).await?))
        };
        Ok(self.remembered.has_keys.get((), read).await?.unwrap_or(true))
    }

    /// Every key there ever was, the oldest first.
    ///
    /// # Errors
    /// The database.
    pub async fn list_keys(&self) -> Result<Vec<KeyRow>, StoreError> {
        sqlx::query_as!(KeyRecord, "SELECT name, scope, created_at, revoked_at FROM api_keys ORDER BY id")
            .fetch_all(&self.readers)
            .await?
            .into_iter()
            .map(KeyRow::try_from)
            .collect()
    }

    /// # Errors
    /// [`StoreError::NotFound`] when no key in use has that name.
    pub async fn revoke_key(&self, name: &str) -> Result<(), StoreError> {
        let now = moment::now();
        let mut transaction = self.write().await?;
        let revoked =
            sqlx::query!("UPDATE api_keys SET revoked_at = ? WHERE name = ? AND revoked_at IS NULL", now, name)
                .execute(&mut *transaction)
                .await?
                .rows_affected();
        if revoked == 0 {
            return Err(StoreError::NotFound { what: format!("key `{name}` in use") });
        }
        transaction.commit().await?;
        Ok(())
    }

    /// How many unrevoked keys there are with at least this scope.
    ///
    /// # Errors
    /// The database.
    pub async fn count_keys(&self, at_least: Scope) -> Result<u64, StoreError> {
        let scopes: Vec<_> = Scope::ALL.into_iter().filter(|scope| *scope >= at_least).map(Scope::as_str).collect();
        let scopes = json::encode(&scopes)?;
        let count = sqlx::query_scalar!(
            r#"
            SELECT count(*) AS "count!: u64" FROM api_keys
            WHERE revoked_at IS NULL AND scope IN (SELECT value FROM json_each(?))
            "#,
            scopes
        )
        .fetch_one(&self.readers)
        .await?;
        Ok(count)
    }
}

struct KeyRecord {
    name: String,
    scope: String,
    created_at: i64,
    revoked_at: Option<i64>,
}

impl TryFrom<KeyRecord> for KeyRow {
    type Error = StoreError;

    fn try_from(record: KeyRecord) -> Result<Self, StoreError> {
        Ok(Self {
            scope: record.scope.parse().map_err(|detail| StoreError::Damaged { what: "key", detail })?,
            name: record.name,
            created_at: moment::to_time(record.created_at)?,
            revoked_at: record.revoked_at.map(moment::to_time).transpose()?,
        })
    }
}

//! What succeeded evaluations found.

use sqlx::SqliteConnection;

use super::{Store, StoreError, json};
use crate::evaluate::Evaluation;
use crate::id::JobId;

impl Store {
    /// The report of a succeeded evaluation.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is none (yet).
    pub async fn evaluation_report(&self, job: JobId) -> Result<Evaluation, StoreError> {
        let id = job.uuid();
        let report = sqlx::query_scalar!("SELECT report FROM evaluations WHERE job = ?", id)
            .fetch_optional(&self.readers)
            .await?
            .ok_or_else(|| StoreError::NotFound { what: format!("report of evaluation {job}") })?;
        json::decode("evaluation", &report)
    }

    /// Deletes an evaluation with its history and its report.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Conflict`] while it is queued or running.
    pub async fn delete_evaluation(&self, job: JobId) -> Result<(), StoreError> {
        let id = job.uuid();
        let mut transaction = self.write().await?;
        let state = sqlx::query_scalar!("SELECT state FROM jobs WHERE id = ? AND task = 'evaluation'", id)
            .fetch_optional(&mut *transaction)
            .await?
            .ok_or_else(|| StoreError::NotFound { what: format!("evaluation {job}") })?;
        if matches!(state.as_str(), "queued" | "running") {
            return Err(StoreError::Conflict { what: format!("evaluation {job} is {state}; cancel it first") });
        }
        sqlx::query!("DELETE FROM jobs WHERE id = ?", id).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(())
    }
}

pub(super) async fn insert(connection: &mut SqliteConnection, job: JobId, report: &str) -> Result<(), StoreError> {
    let id = job.uuid();
    sqlx::query!("INSERT INTO evaluations (job, report) VALUES (?, ?)", id, report).execute(connection).await?;
    Ok(())
}

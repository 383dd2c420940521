//! Keeps artefacts and rows in step: an artefact is durable before its row, and outlives it by a little.

use std::collections::HashSet;
use std::error::Error;

use tracing::{error, info};

use super::pool::Pool;
use crate::artifact::{ArtifactError, Artifacts};
use crate::store::{Store, StoreError};

/// What kept the janitor from its work.
#[derive(Debug, thiserror::Error)]
pub enum TidyError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
}

/// Deletes artefacts that no row names. A failure is logged: the next round comes.
pub(super) async fn tidy(pool: &Pool) {
    if let Err(error) = delete_orphans(pool).await {
        error!(error = &error as &dyn Error, "orphaned artefacts were not deleted");
    }
}

/// The order matters: artefacts first, then who is at work, then the rows. A detector seen in the first list is then
/// either still in the making or already has its row.
async fn delete_orphans(pool: &Pool) -> Result<(), TidyError> {
    let (store, artifacts) = (&pool.store, &pool.artifacts);
    let stored = artifacts.list_detectors().await?;
    let mut kept: HashSet<_> = pool.detectors_in_making().into_iter().collect();
    kept.extend(store.detector_ids().await?);
    for id in stored.into_iter().filter(|id| !kept.contains(id)) {
        pool.registry.forget(id).await;
        artifacts.delete_detector(id).await?;
        info!(detector.id = %id, "an artefact without a row was deleted");
    }
    let checkpoints = artifacts.list_checkpoints().await?;
    let wanted: HashSet<_> = store.jobs_with_checkpoints().await?.into_iter().collect();
    for id in checkpoints.into_iter().filter(|id| !wanted.contains(id)) {
        artifacts.delete_checkpoint(id).await?;
        info!(job.id = %id, "a checkpoint that no job wants was deleted");
    }
    Ok(())
}

/// Removes the rows of detectors whose artefact is lost, at start: they could never score again.
///
/// # Errors
/// When the store or the artefact storage fails: nothing is dropped on a guess.
pub async fn drop_lost_detectors(store: &Store, artifacts: &Artifacts) -> Result<(), TidyError> {
    let stored: HashSet<_> = artifacts.list_detectors().await?.into_iter().collect();
    for id in store.detector_ids().await?.into_iter().filter(|id| !stored.contains(id)) {
        // A listing may lag behind; only what is missing by its own name is lost.
        if matches!(artifacts.summary(id).await, Err(ArtifactError::Missing(_))) {
            error!(detector.id = %id, "the artefact of a detector is lost: its row was removed");
            store.drop_lost_detector(id).await?;
        }
    }
    Ok(())
}

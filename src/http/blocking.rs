//! Work that would hold up the server's threads, done on others.

use super::error::Problem;

/// Runs `work` on a thread that may block.
///
/// # Errors
/// 500 when it panics.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Problem::internal(&error))
}

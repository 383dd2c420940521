//! Whether the device is lost for good, and who is told.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::model::device::DeviceError;

type Check = Box<dyn Fn() -> Result<(), DeviceError> + Send + Sync>;

/// Looks at the device whenever something failed. One failure may be a graph's own fault, or want of memory; a device that
/// then can't add a few numbers has failed for good, and every answer after that would be a failure, given fast. One that
/// doesn't come back at all can't be asked: it is lost once its patience is over.
pub(super) struct Watch {
    check: Check,
    lost: CancellationToken,
    /// How long one computation may take, where none takes long.
    patience: Option<Duration>,
    /// When what is computed now was begun, where there is a patience.
    busy_since: Mutex<Option<Instant>>,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("lost", &self.is_lost()).finish_non_exhaustive()
    }
}

impl Watch {
    /// `check` computes a little on the device. `patience` is for a device that one thread feeds.
    pub(super) fn new(
        check: impl Fn() -> Result<(), DeviceError> + Send + Sync + 'static,
        patience: Option<Duration>,
    ) -> Self {
        Self { check: Box::new(check), lost: CancellationToken::new(), patience, busy_since: Mutex::default() }
    }

    /// Does what the device computes, on the thread that feeds it, under the eye of [`Watch::look_at_the_clock`].
    pub(super) fn over<R>(&self, work: impl FnOnce() -> R) -> R {
        let note = |begun: Option<Instant>| {
            if self.patience.is_some() {
                *self.busy_since.lock().unwrap_or_else(PoisonError::into_inner) = begun;
            }
        };
        note(Some(Instant::now()));
        let result = work();
        note(None);
        result
    }

    /// To be called now and then: a computation that doesn't end means that the device is lost.
    pub(super) fn look_at_the_clock(&self) {
        let busy_since = *self.busy_since.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(patience), Some(busy_since)) = (self.patience, busy_since) else { return };
        if busy_since.elapsed() > patience && !self.is_lost() {
            error!(seconds = busy_since.elapsed().as_secs(), "the device has failed for good: it doesn't answer");
            self.lost.cancel();
        }
    }

    /// Looks, on a compute thread, after something failed there; whether the device is lost.
    pub(super) fn look(&self) -> bool {
        if self.is_lost() {
            return true;
        }
        // What the device's library does when it is gone includes a panic.
        match catch_unwind(AssertUnwindSafe(&self.check)) {
            Ok(Ok(())) => return false,
            Ok(Err(error)) => error!(error = &error as &dyn std::error::Error, "the device has failed for good"),
            Err(_) => error!("the device has failed for good: its library panicked"),
        }
        self.lost.cancel();
        true
    }

    #[cfg(test)]
    pub(super) fn lose(&self) {
        self.lost.cancel();
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost.is_cancelled()
    }

    /// Comes when the device is lost.
    pub(super) async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

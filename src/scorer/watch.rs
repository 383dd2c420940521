//! Whether the device is lost for good, and who is told.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::model::device::DeviceError;

type Check = Box<dyn Fn() -> Result<(), DeviceError> + Send + Sync>;

/// Looks at the device whenever something failed. One failure may be a graph's own fault, or want of memory; a device that
/// then can't add a few numbers has failed for good, and every answer after that would be a failure, given fast.
pub(super) struct Watch {
    check: Check,
    lost: CancellationToken,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("lost", &self.is_lost()).finish_non_exhaustive()
    }
}

impl Watch {
    /// `check` computes a little on the device.
    pub(super) fn new(check: impl Fn() -> Result<(), DeviceError> + Send + Sync + 'static) -> Self {
        Self { check: Box::new(check), lost: CancellationToken::new() }
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

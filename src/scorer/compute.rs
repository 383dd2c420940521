//! What the compute threads ask of a computation, whatever it computes.

use crate::model::Cost;
use crate::model::device::DeviceError;

/// A way to compute units: all that a result depends on besides its unit.
pub(super) trait Compute: Send + Sync + 'static {
    type Unit: Send + Sync;
    type Output: Send + 'static;

    /// Whether units of this and of `other` may be computed in one call.
    fn joins(&self, other: &Self) -> bool;

    fn cost(&self, unit: &Self::Unit) -> Cost;

    /// A result for each unit, in their order, and on the CPU the same whatever the company of a unit is.
    ///
    /// # Errors
    /// When the device fails.
    fn compute(&self, units: &[&Self::Unit]) -> Result<Vec<Self::Output>, DeviceError>;
}

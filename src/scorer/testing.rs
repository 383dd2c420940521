//! A made-up computation in place of detectors, and a real one, for tests.

use std::path::Path;

use super::compute::Compute;
use crate::detector::Detector;
use crate::model::Cost;
use crate::model::device::DeviceError;

type Call = Box<dyn Fn(&[usize]) -> Result<Vec<usize>, DeviceError> + Send + Sync>;

/// Computes numbers. Those of one company join.
pub(super) struct Made {
    company: &'static str,
    call: Call,
}

impl Made {
    /// Of a computation of many units in one call.
    pub(super) fn together(
        company: &'static str,
        call: impl Fn(&[usize]) -> Vec<usize> + Send + Sync + 'static,
    ) -> Self {
        Self { company, call: Box::new(move |units| Ok(call(units))) }
    }

    /// Of a computation of one unit on a device that fails at what `fails` says.
    pub(super) fn on_a_device(fails: impl Fn(usize) -> bool + Send + Sync + 'static) -> Self {
        let call = move |units: &[usize]| {
            let broken = units.iter().any(|&unit| fails(unit));
            if broken { Err(broken_device()) } else { Ok(units.to_vec()) }
        };
        Self { company: "device", call: Box::new(call) }
    }

    /// Of a computation of one unit.
    pub(super) fn each(compute: impl Fn(usize) -> usize + Send + Sync + 'static) -> Self {
        Self::together("each", move |units| units.iter().map(|&unit| compute(unit)).collect())
    }
}

/// What a device says that is broken.
pub(super) fn broken_device() -> DeviceError {
    DeviceError::WrongNumbers("cuda:0".to_owned())
}

/// What units of this and larger numbers cost: what they are; others cost 1.
pub(super) const COSTLY: usize = 10_000;

impl Compute for Made {
    type Unit = usize;
    type Output = usize;

    fn joins(&self, other: &Self) -> bool {
        self.company == other.company
    }

    fn cost(&self, unit: &usize) -> Cost {
        let multiply_adds = if *unit < COSTLY { 1 } else { *unit as u64 };
        Cost { multiply_adds, bytes: 1 }
    }

    fn compute(&self, units: &[&usize]) -> Result<Vec<usize>, DeviceError> {
        (self.call)(&units.iter().map(|unit| **unit).collect::<Vec<_>>())
    }
}

/// One of the samples that ship.
pub(super) fn any_detector() -> Detector {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/ladder/full-mask");
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let mut manifest: serde_json::Value = serde_json::from_slice(&read("manifest.json")).unwrap();
    let manifest = serde_json::from_value(manifest["detector"].take()).unwrap();
    Detector::decode(manifest, &read("weights.safetensors")).unwrap()
}

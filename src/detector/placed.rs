//! A detector that scores on a device.

use super::explanation::{edges_to_explain, of_grounds};
use super::{Detector, Portrait, Score, ScoreOptions};
use crate::graph::Graph;
use crate::model::device::{ComputeDevice, DeviceError};
use crate::model::{Observation, PlacedModel};

/// The networks of a detector's members on a device.
#[derive(Debug)]
pub struct PlacedDetector(Vec<PlacedModel>);

impl Detector {
    /// Puts the networks on a device.
    ///
    /// # Errors
    /// When the device fails.
    pub fn place(&self, device: &ComputeDevice) -> Result<PlacedDetector, DeviceError> {
        let manifest = self.manifest();
        let place = |model| PlacedModel::new(model, manifest.kind, &manifest.hyperparameters, device);
        self.members.iter().map(|member| place(member.model())).collect::<Result<_, _>>().map(PlacedDetector)
    }

    /// [`Detector::score_portraits`] by its own networks where they were placed. The numbers differ by rounding, and may from
    /// one batch to another: a device has other kernels for other shapes.
    ///
    /// # Errors
    /// When the device fails.
    pub fn score_portraits_on(
        &self,
        PlacedDetector(models): &PlacedDetector,
        portraits: &[&Portrait<'_>],
        options: &ScoreOptions,
    ) -> Result<Vec<Score>, DeviceError> {
        let draws = self.draws(options);
        if options.explain {
            let explained = |portrait: &&Portrait<'_>| {
                let graph = portrait.graph();
                let edges = edges_to_explain(graph);
                let (mut observations, mut grounds): (Vec<Observation>, Vec<_>) = (Vec::new(), Vec::new());
                for model in models {
                    let (observed, ground) = model.observe_and_explain(graph, &edges, draws, options.seed)?;
                    observations.extend(observed);
                    grounds.push(ground);
                }
                Ok(self.judge(portrait, &observations, Some(of_grounds(&grounds, &edges, graph)), options))
            };
            return portraits.iter().map(explained).collect();
        }
        let graphs: Vec<&Graph> = portraits.iter().map(|portrait| portrait.graph()).collect();
        let observe = |model: &PlacedModel| model.observe_batch(&graphs, draws, options.seed);
        let observed: Vec<Vec<Observation>> = models.iter().map(observe).collect::<Result<_, _>>()?;
        Ok(self.judge_batch(portraits, observed.into_iter(), options))
    }
}

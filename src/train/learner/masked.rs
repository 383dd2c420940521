//! The masked kinds in training.

use candle_core::{DType, Device, Result, Tensor, bail};
use rand_chacha::ChaCha8Rng;

use super::{Learner, Prepared, network};
use crate::graph::Graph;
use crate::model::masked::batch::BatchBuilder;
use crate::model::masked::network::MaskedNetwork;
use crate::model::masked::sample::draw;
use crate::model::masked::{MaskedModel, Masking};
use crate::model::{Kind, MaskedHyperparameters, Vocabulary};
use crate::nn::loss::binary_cross_entropy;
use crate::nn::parameters::{Parameters, Scheme};
use crate::nn::seed::stream;
use crate::train::Weights;

/// Samples of a validation graph: enough for a steady loss, cheap beside an epoch.
const VALIDATION_SAMPLES: usize = 32;

pub(super) struct MaskedLearner {
    kind: Kind,
    config: MaskedHyperparameters,
    vocabulary: Vocabulary,
    network: MaskedNetwork,
    parameters: Parameters,
    masking: Masking,
    device: Device,
}

impl MaskedLearner {
    pub(super) fn new(
        kind: Kind,
        config: &MaskedHyperparameters,
        vocabulary: Vocabulary,
        device: &Device,
        seed: u64,
    ) -> Result<Self> {
        let Some(masking) = Masking::of(kind) else { bail!("{kind} masks nothing") };
        let build = |vb: &candle_nn::VarBuilder| MaskedNetwork::new(config, &vocabulary, vb);
        let (network, parameters) = network(device, Scheme::Glorot, seed, build)?;
        Ok(Self { kind, masking, config: config.clone(), vocabulary, network, parameters, device: device.clone() })
    }
}

impl Learner for MaskedLearner {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn prepare(&self, graphs: &[&Graph], rng: &mut ChaCha8Rng) -> Prepared {
        let mut builder = BatchBuilder::new(self.masking, self.config.layers, self.vocabulary.clone());
        for graph in graphs {
            builder.push(graph, &draw(graph, self.config.edges_per_graph, rng));
        }
        Prepared::Masked(builder.finish())
    }

    fn loss(&self, batch: &Prepared) -> Result<Tensor> {
        let Prepared::Masked(batch) = batch else { bail!("a batch of another kind") };
        self.network.loss(batch, DType::F32, &self.device)
    }

    fn weights(&self, snapshot: &Weights) -> Weights {
        snapshot.clone()
    }

    fn validate(&self, graphs: &[&Graph], seed: u64) -> Result<f64> {
        let weights = self.parameters.snapshot()?;
        let model = MaskedModel::new(self.kind, &self.config, self.vocabulary.clone(), weights)?;
        let (mut sum, mut count) = (0.0, 0_usize);
        for (index, graph) in (0..).zip(graphs) {
            let samples = draw(graph, VALIDATION_SAMPLES, &mut stream(seed, "validation", index));
            let logits = model.logits(graph, &samples);
            sum += logits.edges.iter().map(|&logit| binary_cross_entropy(f64::from(logit), true)).sum::<f64>();
            sum += logits.non_edges.iter().map(|&logit| binary_cross_entropy(f64::from(logit), false)).sum::<f64>();
            count += logits.edges.len() + logits.non_edges.len();
        }
        Ok(sum / count.max(1) as f64)
    }
}

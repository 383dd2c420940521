//! The differentiable network on a device, to score with.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Result, Tensor, bail};

use super::Masking;
use super::batch::BatchBuilder;
use super::inference::{Logits, sigmoid};
use super::network::MaskedNetwork;
use super::sample::EdgeSample;
use super::statistics::{drawn, observation};
use crate::graph::Graph;
use crate::model::{Kind, MaskedHyperparameters, Observation, Vocabulary};
use crate::nn::parameters::stored;

/// Nodes and pairs computed at once, about: enough to fill a GPU, few enough for its memory.
const ROWS_AT_ONCE: usize = 1 << 17;

/// A trained masked model on a device.
#[derive(Debug, Clone)]
pub struct PlacedMasked {
    masking: Masking,
    layers: usize,
    vocabulary: Vocabulary,
    network: MaskedNetwork,
    device: Device,
}

impl PlacedMasked {
    /// # Errors
    /// When the weights don't fit, the kind masks nothing, or the device fails.
    pub fn new(
        kind: Kind,
        config: &MaskedHyperparameters,
        vocabulary: &Vocabulary,
        weights: &BTreeMap<String, Tensor>,
        device: &Device,
    ) -> Result<Self> {
        let Some(masking) = Masking::of(kind) else { bail!("{kind} masks nothing") };
        let network = MaskedNetwork::new(config, vocabulary, &stored(weights, device))?;
        let (layers, vocabulary, device) = (config.layers, vocabulary.clone(), device.clone());
        Ok(Self { masking, layers, vocabulary, network, device })
    }

    /// What `MaskedModel` observes of each graph, but for rounding.
    ///
    /// # Errors
    /// When the device fails.
    pub fn observe_batch(&self, graphs: &[&Graph], samples: usize, seed: u64) -> Result<Vec<Observation>> {
        let samples = graphs.iter().map(|graph| drawn(graph, samples, seed));
        let asked: Vec<(&Graph, Vec<EdgeSample>)> = graphs.iter().copied().zip(samples).collect();
        Ok(self.logits(&asked)?.iter().map(observation).collect())
    }

    /// The completion score, in (0, 1), of each of the edges given; nothing is sampled.
    ///
    /// # Errors
    /// When the device fails.
    pub fn edge_completions(&self, graph: &Graph, edges: &[(u32, u32)]) -> Result<Vec<f64>> {
        let samples = edges.iter().map(|&edge| EdgeSample { edge, non_edge: None }).collect();
        let logits = self.logits(&[(graph, samples)])?.into_iter().flat_map(|logits| logits.edges);
        Ok(logits.map(|logit| sigmoid(f64::from(logit))).collect())
    }

    /// The logits of each graph's samples, in their order.
    fn logits(&self, asked: &[(&Graph, Vec<EdgeSample>)]) -> Result<Vec<Logits>> {
        let mut logits: Vec<Logits> = asked.iter().map(|_| Logits::default()).collect();
        let mut builder = BatchBuilder::new(self.masking, self.layers, self.vocabulary.clone());
        // The graph of each pair collected.
        let mut owners = Vec::new();
        for (owner, (graph, samples)) in asked.iter().enumerate() {
            // A sample with its edge masked is a graph of its own, where the others share one.
            let together = match self.masking {
                Masking::Removed => 1,
                Masking::Kept => samples.len().max(1),
            };
            for samples in samples.chunks(together) {
                builder.push(graph, samples);
                let pairs: usize = samples.iter().map(|sample| 1 + usize::from(sample.non_edge.is_some())).sum();
                owners.extend(std::iter::repeat_n(owner, pairs));
                if builder.size() >= ROWS_AT_ONCE {
                    self.judge(&mut builder, &mut owners, &mut logits)?;
                }
            }
        }
        if !owners.is_empty() {
            self.judge(&mut builder, &mut owners, &mut logits)?;
        }
        Ok(logits)
    }

    /// Judges the pairs collected, and gives each logit to its graph.
    fn judge(&self, builder: &mut BatchBuilder, owners: &mut Vec<usize>, logits: &mut [Logits]) -> Result<()> {
        let batch = builder.finish();
        let judged = self.network.forward(&batch, DType::F32, &self.device)?.to_vec1::<f32>()?;
        for ((owner, logit), &target) in owners.drain(..).zip(judged).zip(&batch.targets) {
            let Logits { edges, non_edges } = &mut logits[owner];
            if target > 0.5 { edges.push(logit) } else { non_edges.push(logit) }
        }
        Ok(())
    }
}

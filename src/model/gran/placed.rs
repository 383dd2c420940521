//! The differentiable network on a device, to score with.

use candle_core::{DType, Device, Result};

use super::GranModel;
use super::blocks::{Batch, BlockRoom, Blocks, Ways, block_count};
use super::inference::block_means;
use super::mixture::Mixture;
use super::network::GranNetwork;
use crate::model::likelihood::{OrderingLikelihood, Terms};
use crate::model::sequence::Sequence;
use crate::nn::parameters::stored;
use crate::nn::simd::bernoulli_costs;

/// Edges and entries computed at once, about: enough to fill a GPU, few enough for its memory.
const PAIRS_AT_ONCE: usize = 1 << 16;

/// A trained GRAN on a device.
#[derive(Debug, Clone)]
pub struct PlacedGran {
    /// For what isn't computed by the network.
    model: GranModel,
    network: GranNetwork,
    device: Device,
}

impl PlacedGran {
    /// # Errors
    /// When the device fails.
    pub fn new(model: &GranModel, device: &Device) -> Result<Self> {
        let network = GranNetwork::new(model.shape(), &stored(model.weights(), device))?;
        Ok(Self { model: model.clone(), network, device: device.clone() })
    }

    /// [`GranModel::likelihoods`], but for rounding.
    ///
    /// # Errors
    /// When the device fails.
    pub fn likelihoods<T: Terms>(&self, sequences: &[Sequence], terms: &mut T) -> Result<Vec<OrderingLikelihood>> {
        let shape = self.model.shape();
        let mut likelihoods = vec![OrderingLikelihood::default(); sequences.len()];
        let (mut ways, mut batch, mut room) = (Ways::default(), Batch::default(), BlockRoom::default());
        for (ordering, sequence) in sequences.iter().enumerate() {
            let count = block_count(shape, sequence.node_count());
            let blocks = Blocks::new(sequence, *shape, &mut ways);
            self.model.charge_the_rest(ordering, &blocks, count, &mut likelihoods[ordering], terms);
            for index in 0..count {
                batch.push(&blocks, index, ordering, &mut room);
                if batch.edge_count().max(batch.entry_count()) >= PAIRS_AT_ONCE {
                    self.charge(&mut batch, sequences, &mut likelihoods, terms)?;
                }
            }
        }
        if !batch.blocks.is_empty() {
            self.charge(&mut batch, sequences, &mut likelihoods, terms)?;
        }
        Ok(likelihoods)
    }

    /// Charges the blocks of a batch, and empties it.
    fn charge<T: Terms>(
        &self,
        batch: &mut Batch,
        sequences: &[Sequence],
        likelihoods: &mut [OrderingLikelihood],
        terms: &mut T,
    ) -> Result<()> {
        let (theta, alpha) = self.network.forward(batch, DType::F32, &self.device)?;
        let (mut costs, alpha) = (theta.flatten_all()?.to_vec1()?, alpha.flatten_all()?.to_vec1::<f32>()?);
        let entries = costs.chunks_exact_mut(self.model.shape().mixtures).zip(&batch.labels);
        for (logits, _) in entries.filter(|(_, present)| !**present) {
            logits.iter_mut().for_each(|logit: &mut f32| *logit = -*logit);
        }
        bernoulli_costs(&mut costs);
        let mut alphas = Vec::new();
        block_means(batch, &alpha, self.model.shape().mixtures, &mut alphas);
        self.model.charge_blocks(batch, (&costs, &alphas), sequences, likelihoods, &mut Mixture::default(), terms);
        batch.clear();
        Ok(())
    }
}

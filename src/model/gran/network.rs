//! The differentiable network: what is trained.

use std::sync::Arc;

use candle_core::{D, DType, Device, Result, Tensor};
use candle_nn::VarBuilder;
use candle_nn::ops::log_softmax;

use super::blocks::{Batch, input_dim};
use super::{LARGEST_BLOCK, Shape};
use crate::model::Mode;
use crate::nn::edges::{EdgeList, gather_pairs, sum_into};
use crate::nn::gated_messages::{GatedMessages, Ways};
use crate::nn::gru::{Gru, Steps};
use crate::nn::layer::Linear;
use crate::nn::loss::{Targets, bernoulli_cost_sums};

/// The codes that tell nodes apart on either end of an edge: one for nodes that exist, one for each place in a block.
pub(super) const CODES: usize = LARGEST_BLOCK + 1;

/// The GNN and its two heads (Liao et al. 2019, eqs. 3 to 9).
#[derive(Debug, Clone)]
pub struct GranNetwork {
    shape: Shape,
    input: Linear,
    layers: Vec<Layer>,
    theta: Vec<Linear>,
    alpha: Vec<Linear>,
}

#[derive(Debug, Clone)]
struct Layer {
    messages: GatedMessages,
    update: Gru,
}

impl GranNetwork {
    /// # Errors
    /// When the parameters aren't there or have other shapes.
    pub fn new(shape: &Shape, vb: &VarBuilder) -> Result<Self> {
        let (h, a, c) = (shape.hidden_dim, shape.attention_hidden_dim, shape.mixtures);
        let head = |name: &str| {
            let vb = vb.pp(name);
            (0..3).map(|i| Linear::new(h, if i == 2 { c } else { h }, &vb.pp(i))).collect::<Result<Vec<_>>>()
        };
        let layers = vb.pp("layers");
        Ok(Self {
            shape: *shape,
            input: Linear::new(input_dim(shape), h, &vb.pp("input"))?,
            layers: (0..shape.layers)
                .map(|layer| {
                    let vb = layers.pp(layer);
                    Ok(Layer {
                        messages: GatedMessages::new(h, [h, a], CODES, &vb)?,
                        update: Gru::new(h, h, &vb.pp("update"))?,
                    })
                })
                .collect::<Result<_>>()?,
            theta: head("theta")?,
            alpha: head("alpha")?,
        })
    }

    /// θ and α of each entry, `[entries, C]` both: the components' logits of an edge, and the mixture's before they are
    /// averaged over the block.
    ///
    /// # Errors
    /// When candle fails.
    pub fn forward(&self, batch: &Batch, dtype: DType, device: &Device) -> Result<(Tensor, Tensor)> {
        let nodes = batch.node_count();
        let inputs =
            Tensor::from_vec(dense_features(batch, input_dim(&self.shape)), (nodes, input_dim(&self.shape)), device)?;
        // A node that a block adds starts from zero, without the input's bias.
        let exists: Vec<f32> = batch.codes.iter().map(|&code| f32::from(u8::from(code == 0))).collect();
        let exists = Tensor::from_vec(exists, (nodes, 1), device)?.to_dtype(dtype)?;
        let mut h = self.input.forward(&inputs.to_dtype(dtype)?)?.broadcast_mul(&exists)?; // [V, H]
        // Nothing passes where there are no edges. A tensor without rows is more than CUDA can take, so one that carries
        // nothing stands in.
        let silent = batch.edges.is_empty();
        let edges = if silent { EdgeList { sources: vec![0], destinations: vec![0] } } else { batch.edges.clone() };
        let ways = Ways { edges: Arc::new(edges), codes: Arc::new(batch.codes.clone()) };
        let one = Arc::new(Steps::one(nodes));
        for (index, layer) in self.layers.iter().enumerate() {
            if index > 0 {
                h = h.relu()?;
            }
            for _ in 0..self.shape.propagations {
                let mut received = layer.messages.forward(&h, &ways)?; // [V, H]
                if silent {
                    received = (received * 0.0)?;
                }
                h = layer.update.forward(&layer.update.project(&received)?, &h, &one)?;
            }
        }
        let difference = gather_pairs(&h, &h.neg()?, &Arc::new(batch.entries.clone()))?; // [entries, H]
        Ok((head(&self.theta, &difference)?, head(&self.alpha, &difference)?))
    }

    /// The log-probability of each block, `[blocks]`, in nats: `ln Σ_c α_c Π_e θ_ce` over the entries that count, with α
    /// the softmax of the mean over all of the block's entries.
    ///
    /// # Errors
    /// When candle fails.
    pub fn log_probabilities(&self, batch: &Batch, dtype: DType, device: &Device) -> Result<Tensor> {
        let (theta, alpha) = self.forward(batch, dtype, device)?;
        let entries = batch.labels.len();
        let of_block = (0_u32..).zip(&batch.blocks).flat_map(|(b, block)| std::iter::repeat_n(b, block.entries.len()));
        let of_block = Arc::new(of_block.collect::<Vec<u32>>());
        let blocks = batch.blocks.len();
        let targets = Targets { present: batch.labels.clone(), counted: batch.counted.clone() };
        let costs = bernoulli_cost_sums(&theta, targets, &of_block, blocks)?; // [blocks, C]
        let shares = batch
            .blocks
            .iter()
            .flat_map(|block| std::iter::repeat_n(1.0 / block.entries.len() as f64, block.entries.len()));
        let shares = Tensor::from_vec(shares.collect::<Vec<f64>>(), (entries, 1), device)?.to_dtype(dtype)?;
        let mixture = log_softmax(&sum_into(&alpha.broadcast_mul(&shares)?, &of_block, blocks)?, D::Minus1)?;
        (mixture - costs)?.log_sum_exp(1)
    }

    /// In mode `proper` the negative log-likelihood of the batch's blocks in nats per row; in mode `faithful` the original's
    /// mean over graphs of a graph's negative log-likelihood per entry.
    ///
    /// # Errors
    /// When candle fails.
    pub fn loss(&self, batch: &Batch, dtype: DType, device: &Device) -> Result<Tensor> {
        let log_probabilities = self.log_probabilities(batch, dtype, device)?;
        let weights: Vec<f64> = match self.shape.mode {
            Mode::Proper => {
                let rows: usize = batch.blocks.iter().map(|block| block.rows).sum();
                vec![-1.0 / rows.max(1) as f64; batch.blocks.len()]
            }
            Mode::Faithful => {
                let of_graph = batch.blocks.chunk_by(|a, b| a.sequence == b.sequence);
                let graphs = of_graph.clone().count() as f64;
                of_graph
                    .flat_map(|blocks| {
                        let entries: usize = blocks.iter().map(|block| block.entries.len()).sum();
                        std::iter::repeat_n(-1.0 / (entries as f64 * graphs), blocks.len())
                    })
                    .collect()
            }
        };
        let weights = Tensor::from_vec(weights, batch.blocks.len(), device)?.to_dtype(dtype)?;
        (log_probabilities * weights)?.sum_all()
    }
}

fn head(layers: &[Linear], x: &Tensor) -> Result<Tensor> {
    let mut x = x.clone();
    for (index, layer) in layers.iter().enumerate() {
        x = if index + 1 < layers.len() { layer.rectified(&x)? } else { layer.forward(&x)? };
    }
    Ok(x)
}

fn dense_features(batch: &Batch, width: usize) -> Vec<f32> {
    let mut dense = vec![0.0; batch.node_count() * width];
    for (row, range) in dense.chunks_exact_mut(width).zip(batch.feature_offsets.windows(2)) {
        batch.features[range[0] as usize..range[1] as usize].iter().for_each(|&column| row[column as usize] = 1.0);
    }
    dense
}

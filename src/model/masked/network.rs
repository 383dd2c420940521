//! The differentiable network: what is trained.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{Init, VarBuilder};

use super::PATH_CLASSES;
use super::batch::Batch;
use crate::model::{MaskedHyperparameters, Vocabulary};
use crate::nn::edges::sums_and_products;
use crate::nn::graph_convolution::GraphConvolution;
use crate::nn::layer::Linear;
use crate::nn::loss::binary_cross_entropy_with_logits;
use crate::nn::rows::pick;

/// Structural node inputs: the constant 1 and ln(1 + degree). They need no attributes.
pub const NODE_INPUTS: usize = 2;

#[derive(Debug, Clone)]
pub struct MaskedNetwork {
    input: Linear,
    /// `[labels + 1, H]`, the last row for a label not seen in training; none where labels are no input.
    label_embedding: Option<Tensor>,
    convolutions: Vec<GraphConvolution>,
    pair_first: Linear,
    /// `[PATH_CLASSES, H]`.
    path_embedding: Tensor,
    pair_second: Linear,
    output: Linear,
}

impl MaskedNetwork {
    /// # Errors
    /// When the parameters aren't there or have other shapes.
    pub fn new(config: &MaskedHyperparameters, vocabulary: &Vocabulary, vb: &VarBuilder) -> Result<Self> {
        let h = config.hidden_dim;
        let embedding = |rows: usize, name: &str| vb.pp(name).get_with_hints((rows, h), "weight", Init::Const(0.0));
        let labels = vocabulary.node_labels.len();
        Ok(Self {
            input: Linear::new(NODE_INPUTS, h, &vb.pp("input"))?,
            label_embedding: (labels > 0).then(|| embedding(labels + 1, "label_embedding")).transpose()?,
            convolutions: (0..config.layers)
                .map(|layer| GraphConvolution::new(config.convolution, h, &vb.pp("convolutions").pp(layer)))
                .collect::<Result<_>>()?,
            pair_first: Linear::new(2 * h, h, &vb.pp("pair_first"))?,
            path_embedding: embedding(PATH_CLASSES, "path_embedding")?,
            pair_second: Linear::new(h, h, &vb.pp("pair_second"))?,
            output: Linear::new(h, 1, &vb.pp("output"))?,
        })
    }

    /// The logits `[P]` of the batch's pairs.
    ///
    /// # Errors
    /// When candle fails.
    pub fn forward(&self, batch: &Batch, dtype: DType, device: &Device) -> Result<Tensor> {
        let n = batch.node_count();
        let inputs = Tensor::from_slice(&batch.node_features, (n, NODE_INPUTS), device)?.to_dtype(dtype)?;
        let mut h = self.input.forward(&inputs)?; // [N, H]
        if let Some(embedding) = &self.label_embedding {
            h = (h + pick(embedding, &batch.labels)?)?;
        }
        for convolution in &self.convolutions {
            h = convolution.forward(&h, &batch.adjacency)?;
        }
        // Sum and product say all of an unordered pair that [z_u, z_v] says of an ordered one.
        let pair = sums_and_products(&h, &batch.pairs)?; // [P, 2 H]
        let path = pick(&self.path_embedding, &batch.path_classes)?; // [P, H]
        let hidden = (self.pair_first.forward(&pair)? + path)?.relu()?;
        let hidden = self.pair_second.rectified(&hidden)?;
        self.output.forward(&hidden)?.squeeze(1) // [P, 1] -> [P]
    }

    /// The mean binary cross-entropy of the batch's pairs, in nats.
    ///
    /// # Errors
    /// When candle fails.
    pub fn loss(&self, batch: &Batch, dtype: DType, device: &Device) -> Result<Tensor> {
        let logits = self.forward(batch, dtype, device)?;
        let targets = Tensor::from_slice(&batch.targets, batch.pair_count(), device)?.to_dtype(dtype)?;
        binary_cross_entropy_with_logits(&logits, &targets)?.mean_all()
    }
}

//! The differentiable network: what is trained.

use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::VarBuilder;

use super::batch::{Batch, DependentSlots, Slots};
use super::rows::input_dim;
use super::{Shape, Variant};
use crate::model::Mode;
use crate::nn::gru::{Gru, Steps};
use crate::nn::layer::Linear;
use crate::nn::loss::binary_cross_entropy_with_logits;
use crate::nn::rows::pick;

/// The graph-level RNN, the output module, and in mode `proper` the stop bit.
#[derive(Debug, Clone)]
pub struct GraphRnnNetwork {
    shape: Shape,
    input: Linear,
    graph_level: Vec<Gru>,
    output: Output,
    stop: Option<Mlp>,
}

#[derive(Debug, Clone)]
enum Output {
    /// GraphRNN-S: all slots of a row at once.
    Independent(Mlp),
    /// GraphRNN: `start` gives the edge-level RNN's first state.
    Dependent { start: Mlp, input: Linear, edge_level: Vec<Gru>, head: Mlp },
}

/// Two layers with a ReLU between.
#[derive(Debug, Clone)]
struct Mlp {
    first: Linear,
    second: Linear,
}

impl Mlp {
    fn new([input, hidden, output]: [usize; 3], vb: &VarBuilder) -> Result<Self> {
        Ok(Self {
            first: Linear::new(input, hidden, &vb.pp("first"))?,
            second: Linear::new(hidden, output, &vb.pp("second"))?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.second.forward(&self.first.rectified(x)?)
    }
}

/// The logits of a batch, each row in the batch's order.
#[derive(Debug)]
pub struct GraphRnnLogits {
    /// `[S, M]` of an output MLP, `[slots]` of an edge-level RNN.
    pub slots: Tensor,
    /// `[S]`, in mode `proper`.
    pub stops: Option<Tensor>,
}

impl GraphRnnNetwork {
    /// # Errors
    /// When the parameters aren't there or have other shapes.
    pub fn new(shape: &Shape, vb: &VarBuilder) -> Result<Self> {
        let (h, e) = (shape.hidden_dim, shape.embedding_dim);
        let (edge_h, edge_e) = (shape.edge_hidden_dim, shape.edge_embedding_dim);
        let layers = |input: usize, hidden: usize, vb: &VarBuilder| {
            (0..shape.layers)
                .map(|layer| Gru::new(if layer == 0 { input } else { hidden }, hidden, &vb.pp(layer)))
                .collect::<Result<Vec<_>>>()
        };
        Ok(Self {
            shape: *shape,
            input: Linear::new(input_dim(shape), e, &vb.pp("input"))?,
            graph_level: layers(e, h, &vb.pp("graph_level"))?,
            output: match shape.variant {
                Variant::Mlp => Output::Independent(Mlp::new([h, e, shape.max_prev_node], &vb.pp("slots"))?),
                Variant::Rnn => Output::Dependent {
                    start: Mlp::new([h, e, edge_h], &vb.pp("edge_start"))?,
                    input: Linear::new(1, edge_e, &vb.pp("edge_input"))?,
                    edge_level: layers(edge_e, edge_h, &vb.pp("edge_level"))?,
                    head: Mlp::new([edge_h, edge_e, 1], &vb.pp("slots"))?,
                },
            },
            stop: (shape.mode == Mode::Proper).then(|| Mlp::new([h, e, 1], &vb.pp("stop"))).transpose()?,
        })
    }

    /// # Errors
    /// When candle fails.
    pub fn forward(&self, batch: &Batch, dtype: DType, device: &Device) -> Result<GraphRnnLogits> {
        let inputs = Tensor::from_slice(&batch.inputs, (batch.steps.rows(), input_dim(&self.shape)), device)?;
        let state = self.states(&inputs.to_dtype(dtype)?, batch.graphs, &batch.steps)?;
        let dependent = match &batch.slots {
            Slots::Dependent(slots) => Some(slots),
            Slots::Independent { .. } => None,
        };
        Ok(GraphRnnLogits { slots: self.slots(&state, dependent)?, stops: self.stops(&state)? })
    }

    /// The graph-level RNN's states `[S, H]` after the rows of `inputs`.
    pub(super) fn states(&self, inputs: &Tensor, graphs: usize, steps: &Arc<Steps>) -> Result<Tensor> {
        let mut state = self.input.rectified(inputs)?; // [S, E]
        let zeros = Tensor::zeros((graphs, self.shape.hidden_dim), state.dtype(), state.device())?;
        for layer in &self.graph_level {
            state = layer.forward(&layer.project(&state)?, &zeros, steps)?; // [S, H]
        }
        Ok(state)
    }

    /// The logits of the slots of all rows `[S, M]`, or of those that an edge-level RNN is to go through `[slots]`.
    pub(super) fn slots(&self, state: &Tensor, dependent: Option<&DependentSlots>) -> Result<Tensor> {
        match (&self.output, dependent) {
            (Output::Independent(mlp), _) => mlp.forward(state),
            (Output::Dependent { start, input, edge_level, head }, Some(slots)) => {
                let start = start.forward(state)?;
                let sizes = (self.shape.edge_hidden_dim, state.dtype());
                head.forward(&edge_states(&start, input, edge_level, slots, sizes)?)?.squeeze(1)
            }
            (Output::Dependent { .. }, None) => candle_core::bail!("the batch was made for another variant"),
        }
    }

    /// The logits of the stops `[S]`, in mode `proper`.
    pub(super) fn stops(&self, state: &Tensor) -> Result<Option<Tensor>> {
        self.stop.as_ref().map(|stop| stop.forward(state)?.squeeze(1)).transpose()
    }

    /// In mode `proper` the batch's negative log-likelihood in nats per node, what is out of reach left out, for it doesn't
    /// depend on the parameters; in mode `faithful` the original's mean over padded slots.
    ///
    /// # Errors
    /// When candle fails.
    pub fn loss(&self, batch: &Batch, dtype: DType, device: &Device) -> Result<Tensor> {
        let logits = self.forward(batch, dtype, device)?;
        let tensor = |values: &[f32]| Tensor::from_slice(values, values.len(), device)?.to_dtype(dtype);
        let of_slots = match &batch.slots {
            Slots::Independent { targets, weights } => {
                let costs = binary_cross_entropy_with_logits(&logits.slots.flatten_all()?, &tensor(targets)?)?;
                (costs * tensor(weights)?)?.sum_all()?
            }
            Slots::Dependent(slots) => {
                let costs = binary_cross_entropy_with_logits(&logits.slots, &tensor(&slots.targets)?)?;
                (costs.sum_all()? * slots.weight)?
            }
        };
        let total = match logits.stops {
            Some(stops) => (of_slots + binary_cross_entropy_with_logits(&stops, &tensor(&batch.stops)?)?.sum_all()?)?,
            None => of_slots,
        };
        total / batch.divisor
    }
}

/// The edge-level RNN's states `[slots, H']`. The first layer starts from what the graph-level RNN gives, the others from
/// zero.
fn edge_states(
    start: &Tensor,
    input: &Linear,
    layers: &[Gru],
    slots: &DependentSlots,
    (hidden_dim, dtype): (usize, DType),
) -> Result<Tensor> {
    let device = start.device();
    let rows = slots.rows.len();
    let mut start = pick(start, &slots.rows)?;
    let bits = Tensor::new(&[[0.0_f32], [1.0]], device)?.to_dtype(dtype)?;
    // A slot's input is one of two, so both are projected once and each slot takes its own.
    let bits = input.rectified(&bits)?; // [2, E']
    let mut states: Option<Tensor> = None;
    for layer in layers {
        let projected = match &states {
            None => pick(&layer.project(&bits)?, &slots.inputs)?,
            Some(states) => layer.project(states)?,
        };
        states = Some(layer.forward(&projected, &start, &slots.steps)?);
        start = Tensor::zeros((rows, hidden_dim), dtype, device)?;
    }
    states.map_or_else(|| Tensor::zeros((0, hidden_dim), dtype, device), Ok)
}

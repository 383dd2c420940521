//! The hyper-parameters of GRAN.

use garde::Validate;
use serde::{Deserialize, Serialize};

use crate::model::figures::FamilyFigures;
use crate::model::{Mode, Schedule, Unresolved};

/// The most nodes of a block: the original's 64 codes for nodes, less the one for those that exist already.
pub const LARGEST_BLOCK: usize = 63;

/// GRAN: blocks of nodes joined to the graph so far, by a GNN with attention and a mixture of Bernoullis.
///
/// What is `None` is chosen from the training graphs when training starts. Widths are Liao et al. 2019 (§4, and the
/// authors' configurations) made smaller where that cost nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct GranHyperparameters {
    #[garde(skip)]
    pub mode: Mode,
    /// K: nodes of a block.
    #[garde(inner(range(min = 1, max = 63)))]
    pub block_size: Option<usize>,
    /// S: nodes from the start of a block to that of the next; at most K.
    #[garde(inner(range(min = 1, max = 63)))]
    pub stride: Option<usize>,
    /// Mode `proper`: W, how many earlier positions a block reaches back to. By default the training orderings' bandwidth.
    #[garde(inner(range(min = 1, max = 1_024)))]
    pub max_prev_node: Option<usize>,
    /// Mode `faithful`: N, the positions that a node's input tells apart. By default the largest training graph's nodes.
    #[garde(inner(range(min = 1, max = 10_000)))]
    pub max_num_nodes: Option<usize>,
    /// H: width of node states and of messages.
    #[garde(inner(range(min = 4, max = 512)))]
    pub hidden_dim: Option<usize>,
    /// Layers of the GNN, each with weights of its own.
    #[garde(range(min = 1, max = 8))]
    pub layers: usize,
    /// Rounds of messages within a layer, with the same weights.
    #[garde(range(min = 1, max = 8))]
    pub propagations: usize,
    /// Width of the attention's hidden layer.
    #[garde(range(min = 4, max = 512))]
    pub attention_hidden_dim: usize,
    /// C: components of the mixture.
    #[garde(range(min = 1, max = 100))]
    pub mixtures: usize,
    /// Whether the verdict looks at node labels beside the likelihood, where the family has them.
    #[garde(skip)]
    pub node_labels: bool,
    /// Upper bound on epochs; training ends earlier when the validation loss stops falling.
    #[garde(inner(range(min = 1, max = 10_000)))]
    pub epochs: Option<u64>,
    #[garde(range(min = 1, max = 10_000))]
    pub steps_per_epoch: u64,
    /// B: graphs a step, each in a fresh random ordering.
    #[garde(inner(range(min = 1, max = 1_024)))]
    pub batch_size: Option<usize>,
    /// Blocks drawn of each graph in a step.
    #[garde(range(min = 1, max = 10_000))]
    pub blocks_per_graph: usize,
    #[garde(range(min = 1e-7, max = 1.0))]
    pub learning_rate: f64,
    /// Steps after which the learning rate is multiplied by `gamma`.
    #[garde(length(max = 100))]
    pub milestones: Vec<u64>,
    #[garde(range(min = 1e-3, max = 1.0))]
    pub gamma: f64,
    #[garde(range(min = 0.0, max = 1.0))]
    pub weight_decay: f64,
    /// Largest norm of all gradients together.
    #[garde(range(min = 1e-3, max = 1e6))]
    pub grad_clip: f64,
    /// Epochs without a lower validation loss before training ends.
    #[garde(range(min = 1, max = 10_000))]
    pub patience: u64,
    /// Random orderings of a graph when it is scored; the reference distributions are made with as many.
    #[garde(range(min = 1, max = 100))]
    pub orderings: usize,
}

impl Default for GranHyperparameters {
    fn default() -> Self {
        Self {
            mode: Mode::Proper,
            block_size: None,
            stride: None,
            max_prev_node: None,
            max_num_nodes: None,
            hidden_dim: None,
            layers: 2,
            propagations: 1,
            attention_hidden_dim: 32,
            mixtures: 10,
            node_labels: true,
            epochs: None,
            steps_per_epoch: 32,
            batch_size: None,
            blocks_per_graph: 8,
            learning_rate: 4e-3,
            milestones: vec![800, 1_300],
            gamma: 0.3,
            weight_decay: 0.0,
            grad_clip: 1.0,
            patience: 8,
            orderings: 10,
        }
    }
}

/// The widest reach chosen by default: beyond it blocks cost more than they tell.
const WIDEST_DEFAULT: usize = 256;

/// Blocks grow by one node for each so many nodes of the median graph.
const NODES_PER_BLOCK_NODE: usize = 16;

impl GranHyperparameters {
    /// Chooses what is still open by the family's size.
    #[must_use]
    pub fn resolve(&self, figures: &FamilyFigures) -> Self {
        let by_size = (figures.median_nodes / NODES_PER_BLOCK_NODE).clamp(1, 16);
        let block_size = self.block_size.unwrap_or(by_size.max(self.stride.unwrap_or(1)));
        let small = figures.median_nodes <= 128;
        Self {
            block_size: Some(block_size),
            stride: self.stride.or(Some(block_size)),
            max_prev_node: self.max_prev_node.or(Some(figures.bandwidth.clamp(1, WIDEST_DEFAULT))),
            max_num_nodes: self.max_num_nodes.or(Some(figures.max_nodes.clamp(1, 10_000))),
            hidden_dim: self.hidden_dim.or(Some(32)),
            epochs: self.epochs.or(Some(if small { 32 } else { 12 })),
            batch_size: self.batch_size.or(Some(if small { 16 } else { 4 })),
            ..self.clone()
        }
    }

    pub(in crate::model) fn schedule(&self) -> Result<Schedule, Unresolved> {
        Ok(Schedule {
            epochs: self.epochs.ok_or(Unresolved("epochs"))?,
            steps_per_epoch: self.steps_per_epoch,
            batch_size: self.batch_size.ok_or(Unresolved("batch_size"))?,
            learning_rate: self.learning_rate,
            milestones: self.milestones.clone(),
            gamma: self.gamma,
            weight_decay: self.weight_decay,
            grad_clip: self.grad_clip,
            patience: self.patience,
        })
    }

    /// # Errors
    /// When something was left to the family and no family has been seen yet.
    pub fn shape(&self) -> Result<Shape, Unresolved> {
        Ok(Shape {
            mode: self.mode,
            block_size: self.block_size.ok_or(Unresolved("block_size"))?,
            stride: self.stride.ok_or(Unresolved("stride"))?,
            max_prev_node: self.max_prev_node.ok_or(Unresolved("max_prev_node"))?,
            max_num_nodes: self.max_num_nodes.ok_or(Unresolved("max_num_nodes"))?,
            hidden_dim: self.hidden_dim.ok_or(Unresolved("hidden_dim"))?,
            layers: self.layers,
            propagations: self.propagations,
            attention_hidden_dim: self.attention_hidden_dim,
            mixtures: self.mixtures,
        })
    }
}

/// What shapes the network and its blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub mode: Mode,
    pub block_size: usize,
    pub stride: usize,
    pub max_prev_node: usize,
    pub max_num_nodes: usize,
    pub hidden_dim: usize,
    pub layers: usize,
    pub propagations: usize,
    pub attention_hidden_dim: usize,
    pub mixtures: usize,
}

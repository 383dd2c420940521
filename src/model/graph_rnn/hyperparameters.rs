//! The hyper-parameters of GraphRNN.

use garde::Validate;
use serde::{Deserialize, Serialize};

use crate::model::figures::FamilyFigures;
use crate::model::{Mode, Schedule, Unresolved};

/// How a row's slots depend on one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// GraphRNN: an edge-level RNN, each slot given those before it.
    #[default]
    Rnn,
    /// GraphRNN-S: independent Bernoullis from an MLP.
    Mlp,
}

/// GraphRNN: an RNN over the rows of a graph's sequence, and an output module over the slots of a row.
///
/// What is `None` is chosen from the training graphs when training starts. Widths and rates are You et al. 2018 (§3, and
/// the authors' code) made smaller where that cost nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct GraphRnnHyperparameters {
    #[garde(skip)]
    pub mode: Mode,
    #[garde(skip)]
    pub variant: Variant,
    /// M: how many earlier positions a row reaches back to. By default the training orderings' bandwidth.
    #[garde(inner(range(min = 1, max = 1_024)))]
    pub max_prev_node: Option<usize>,
    /// H: width of the graph-level RNN.
    #[garde(inner(range(min = 4, max = 512)))]
    pub hidden_dim: Option<usize>,
    /// E: width of its input embedding and of the heads.
    #[garde(inner(range(min = 4, max = 512)))]
    pub embedding_dim: Option<usize>,
    /// Layers of either RNN.
    #[garde(range(min = 1, max = 8))]
    pub layers: usize,
    /// Width of the edge-level RNN.
    #[garde(range(min = 2, max = 256))]
    pub edge_hidden_dim: usize,
    /// Width of its input embedding and of its head.
    #[garde(range(min = 2, max = 256))]
    pub edge_embedding_dim: usize,
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
    /// Slots that the edge-level RNN trains on in a step, about: of larger batches a random part of the rows stands for all.
    #[garde(range(min = 100, max = 10_000_000))]
    pub slots_per_step: usize,
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

impl Default for GraphRnnHyperparameters {
    fn default() -> Self {
        Self {
            mode: Mode::Proper,
            variant: Variant::Rnn,
            max_prev_node: None,
            hidden_dim: None,
            embedding_dim: None,
            layers: 2,
            edge_hidden_dim: 16,
            edge_embedding_dim: 8,
            node_labels: true,
            epochs: None,
            steps_per_epoch: 32,
            batch_size: None,
            slots_per_step: 20_000,
            learning_rate: 3e-3,
            milestones: vec![800, 1_300],
            gamma: 0.3,
            weight_decay: 0.0,
            grad_clip: 1.0,
            patience: 8,
            orderings: 10,
        }
    }
}

/// The widest reach chosen by default: beyond it rows cost more than they tell.
const WIDEST_DEFAULT: usize = 256;

impl GraphRnnHyperparameters {
    /// Chooses what is still open by the family's size.
    #[must_use]
    pub fn resolve(&self, figures: &FamilyFigures) -> Self {
        let small = figures.median_nodes <= 128;
        Self {
            max_prev_node: self.max_prev_node.or(Some(figures.bandwidth.clamp(1, WIDEST_DEFAULT))),
            hidden_dim: self.hidden_dim.or(Some(if small { 64 } else { 96 })),
            embedding_dim: self.embedding_dim.or(Some(if small { 32 } else { 48 })),
            epochs: self.epochs.or(Some(if small { 48 } else { 12 })),
            batch_size: self.batch_size.or(Some(if small { 32 } else { 8 })),
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
            variant: self.variant,
            max_prev_node: self.max_prev_node.ok_or(Unresolved("max_prev_node"))?,
            hidden_dim: self.hidden_dim.ok_or(Unresolved("hidden_dim"))?,
            embedding_dim: self.embedding_dim.ok_or(Unresolved("embedding_dim"))?,
            layers: self.layers,
            edge_hidden_dim: self.edge_hidden_dim,
            edge_embedding_dim: self.edge_embedding_dim,
        })
    }
}

/// What shapes the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub mode: Mode,
    pub variant: Variant,
    pub max_prev_node: usize,
    pub hidden_dim: usize,
    pub embedding_dim: usize,
    pub layers: usize,
    pub edge_hidden_dim: usize,
    pub edge_embedding_dim: usize,
}

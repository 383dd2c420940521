//! The kinds of model, their hyper-parameters, and the one interface that all kinds meet.

mod autoregressive;
pub mod device;
pub mod figures;
#[cfg(test)]
pub(crate) mod golden;
pub mod gran;
pub mod graph_rnn;
mod hyperparameters;
pub mod likelihood;
pub mod masked;
mod placed;
pub mod sequence;
pub mod spread;
#[cfg(test)]
pub(crate) mod testing;
mod workspace;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

pub use hyperparameters::{HyperparameterError, Hyperparameters, MaskedHyperparameters, Schedule};

use crate::graph::Graph;
use autoregressive::Network;
pub use autoregressive::{AutoregressiveModel, Surprises};
use gran::GranModel;
use graph_rnn::GraphRnnModel;
use likelihood::Likelihood;
use masked::MaskedModel;
pub use placed::PlacedModel;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    #[serde(rename = "graphrnn")]
    GraphRnn,
    Gran,
    FullMask,
    FullEdgePrediction,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::GraphRnn, Self::Gran, Self::FullMask, Self::FullEdgePrediction];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GraphRnn => "graphrnn",
            Self::Gran => "gran",
            Self::FullMask => "full-mask",
            Self::FullEdgePrediction => "full-edge-prediction",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(())
    }
}

/// Which likelihood an autoregressive model computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// A probability distribution over whole graphs of any size, in their breadth-first orderings.
    #[default]
    Proper,
    /// What the authors' code computes, defects included, for comparison with published figures.
    Faithful,
}

/// A hyper-parameter that is chosen from training graphs, and none were seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the hyper-parameter {0} has not been chosen yet")]
pub struct Unresolved(pub &'static str);

/// What besides the weights shapes a model, found in its training graphs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Vocabulary {
    /// The node labels of the training graphs, ascending; empty when labels are no input.
    pub node_labels: Vec<i64>,
}

impl Vocabulary {
    /// The labels that `graphs` use.
    #[must_use]
    pub fn of<'a>(graphs: impl Iterator<Item = &'a Graph>) -> Self {
        let mut node_labels: Vec<i64> = graphs.filter_map(Graph::labels).flatten().copied().collect();
        node_labels.sort_unstable();
        node_labels.dedup();
        Self { node_labels }
    }

    /// The place of a label among those known, or one past them.
    pub(crate) fn index(&self, label: Option<i64>) -> usize {
        label.and_then(|label| self.node_labels.binary_search(&label).ok()).unwrap_or(self.node_labels.len())
    }
}

/// A trained model, ready to score: weights packed, no autograd.
#[derive(Debug, Clone)]
pub enum Model {
    Masked(Box<MaskedModel>),
    Autoregressive(Box<AutoregressiveModel>),
}

/// What a model says of a graph, before any comparison with the family.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// As many as [`Model::statistics`] names; each finite.
    pub statistics: Vec<f64>,
    /// How unlike the family one-sidedly: the study's own reading, higher is less likely.
    pub unlikeliness: f64,
    pub evidence: Evidence,
}

/// What an observation was made from.
#[derive(Debug, Clone, PartialEq)]
pub enum Evidence {
    /// Completion scores of the graph's own edges, and of non-edges, in (0, 1).
    Completions {
        edges: Vec<f64>,
        non_edges: Vec<f64>,
    },
    Likelihood(Likelihood),
}

/// What an explanation is made from.
#[derive(Debug, Clone)]
pub enum Grounds {
    /// The completion score of each edge asked about, in (0, 1).
    Completions(Vec<f64>),
    Surprises(Surprises),
}

impl Model {
    /// # Errors
    /// When a parameter is missing, unknown, or of another shape than the hyper-parameters say, or when these are of
    /// another kind.
    pub fn new(
        kind: Kind,
        hyperparameters: &Hyperparameters,
        vocabulary: Vocabulary,
        weights: BTreeMap<String, Tensor>,
    ) -> candle_core::Result<Self> {
        match (kind, hyperparameters) {
            (Kind::FullMask | Kind::FullEdgePrediction, Hyperparameters::Masked(masked)) => {
                MaskedModel::new(kind, masked, vocabulary, weights).map(|model| Self::Masked(Box::new(model)))
            }
            (Kind::GraphRnn, Hyperparameters::GraphRnn(graph_rnn)) => {
                let shape = graph_rnn.shape().map_err(candle_core::Error::wrap)?;
                let network = GraphRnnModel::new(shape, weights)?;
                Ok(Self::Autoregressive(Box::new(AutoregressiveModel::new(Network::GraphRnn(network), vocabulary))))
            }
            (Kind::Gran, Hyperparameters::Gran(gran)) => {
                let shape = gran.shape().map_err(candle_core::Error::wrap)?;
                let network = GranModel::new(shape, weights)?;
                Ok(Self::Autoregressive(Box::new(AutoregressiveModel::new(Network::Gran(network), vocabulary))))
            }
            _ => candle_core::bail!("these are no hyper-parameters of {kind}"),
        }
    }

    /// What it was made of, as [`Model::new`] takes it.
    #[must_use]
    pub fn weights(&self) -> &BTreeMap<String, Tensor> {
        match self {
            Self::Masked(model) => model.weights(),
            Self::Autoregressive(model) => model.weights(),
        }
    }

    #[must_use]
    pub fn vocabulary(&self) -> &Vocabulary {
        match self {
            Self::Masked(model) => model.vocabulary(),
            Self::Autoregressive(model) => model.vocabulary(),
        }
    }

    /// The names of the statistics of every observation, in order.
    #[must_use]
    pub fn statistics(&self) -> Vec<String> {
        match self {
            Self::Masked(_) => masked::statistics::names(),
            Self::Autoregressive(_) => autoregressive::statistic_names(),
        }
    }

    /// Observes a graph through `draws` completions or orderings from the stream of `seed`.
    #[must_use]
    pub fn observe(&self, graph: &Graph, draws: usize, seed: u64) -> Observation {
        match self {
            Self::Masked(model) => masked::statistics::observe(model, graph, draws, seed),
            Self::Autoregressive(model) => model.observe(graph, draws, seed),
        }
    }

    /// [`Model::observe`], and what an explanation is made from: of a masked kind, of these edges alone.
    #[must_use]
    pub fn observe_and_explain(
        &self,
        graph: &Graph,
        edges: &[(u32, u32)],
        draws: usize,
        seed: u64,
    ) -> (Observation, Grounds) {
        match self {
            Self::Masked(model) => {
                (self.observe(graph, draws, seed), Grounds::Completions(model.edge_completions(graph, edges)))
            }
            Self::Autoregressive(model) => {
                let (observation, surprises) = model.observe_and_explain(graph, draws, seed);
                (observation, Grounds::Surprises(surprises))
            }
        }
    }

    /// [`Model::observe`] of each graph, to the same bits.
    #[must_use]
    pub fn observe_batch(&self, graphs: &[&Graph], draws: usize, seed: u64) -> Vec<Observation> {
        match self {
            Self::Masked(_) => graphs.iter().map(|graph| self.observe(graph, draws, seed)).collect(),
            Self::Autoregressive(model) => model.observe_batch(graphs, draws, seed),
        }
    }

    /// Estimated multiply-adds and bytes of observing a graph through `draws`.
    #[must_use]
    pub fn cost(&self, nodes: usize, edges: usize, draws: usize) -> Cost {
        match self {
            Self::Masked(model) => model.cost(nodes, edges, draws),
            Self::Autoregressive(model) => model.cost(nodes, edges, draws),
        }
    }
}

/// What work takes, estimated before it is done. For limits and turns, not for clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    pub multiply_adds: u64,
    /// Memory held while it is done.
    pub bytes: u64,
}

impl Cost {
    /// Of this work and then the other.
    #[must_use]
    pub fn after(self, other: Self) -> Self {
        Self {
            multiply_adds: self.multiply_adds.saturating_add(other.multiply_adds),
            bytes: self.bytes.max(other.bytes),
        }
    }
}

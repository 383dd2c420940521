//! The kinds of model, their hyper-parameters, and the one interface that all kinds meet.

mod hyperparameters;
pub mod masked;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

pub use hyperparameters::{HyperparameterError, Hyperparameters, MaskedHyperparameters};

use crate::graph::Graph;
use masked::MaskedModel;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    FullMask,
    FullEdgePrediction,
}

impl Kind {
    pub const ALL: [Self; 2] = [Self::FullMask, Self::FullEdgePrediction];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
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
    Masked(MaskedModel),
}

/// What a model says of a graph, before any comparison with the family.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// As many as [`Model::statistics`] names; each finite.
    pub statistics: Vec<f64>,
    /// How unlike the family one-sidedly: the study's own reading, higher is less likely.
    pub unlikeliness: f64,
    /// Completion scores of the graph's own edges, in (0, 1).
    pub completions: Vec<f64>,
}

impl Model {
    /// # Errors
    /// When a parameter is missing, unknown, or of another shape than the hyper-parameters say.
    pub fn new(
        kind: Kind,
        hyperparameters: &Hyperparameters,
        vocabulary: Vocabulary,
        weights: BTreeMap<String, Tensor>,
    ) -> candle_core::Result<Self> {
        match (kind, hyperparameters) {
            (Kind::FullMask | Kind::FullEdgePrediction, Hyperparameters::Masked(masked)) => {
                MaskedModel::new(masked::Masking::of(kind), masked.clone(), vocabulary, weights).map(Self::Masked)
            }
        }
    }

    /// What it was made of, as [`Model::new`] takes it.
    #[must_use]
    pub fn weights(&self) -> &BTreeMap<String, Tensor> {
        match self {
            Self::Masked(model) => model.weights(),
        }
    }

    #[must_use]
    pub fn vocabulary(&self) -> &Vocabulary {
        match self {
            Self::Masked(model) => model.vocabulary(),
        }
    }

    /// The names of the statistics of every observation, in order.
    #[must_use]
    pub fn statistics(&self) -> Vec<String> {
        match self {
            Self::Masked(_) => masked::statistics::names(),
        }
    }

    /// Observes a graph, drawing `samples` completions from the stream of `seed`.
    #[must_use]
    pub fn observe(&self, graph: &Graph, samples: usize, seed: u64) -> Observation {
        match self {
            Self::Masked(model) => masked::statistics::observe(model, graph, samples, seed),
        }
    }

    /// The completion score of each of the graph's edges given, sampling nothing.
    #[must_use]
    pub fn edge_completions(&self, graph: &Graph, edges: &[(u32, u32)]) -> Vec<f64> {
        match self {
            Self::Masked(model) => model.edge_completions(graph, edges),
        }
    }
}

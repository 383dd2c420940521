//! GraphRNN and GRAN in training: each graph in a fresh random breadth-first ordering every time it comes up.

use candle_core::{DType, Device, Error, Result, Tensor};
use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::{Learner, Prepared, network};
use crate::graph::Graph;
use crate::graph::order::random_bfs_order;
use crate::model::gran::{self, GranNetwork};
use crate::model::graph_rnn::{self, GraphRnnNetwork, Rows};
use crate::model::likelihood::{NoTerms, OrderingLikelihood};
use crate::model::sequence::Sequence;
use crate::model::{Hyperparameters, Kind, Model, Vocabulary};
use crate::nn::parameters::{Parameters, Scheme};
use crate::nn::seed::stream;
use crate::train::{TrainingSpec, Weights};

/// Orderings of each training graph that tell how often edges lie out of reach.
const ORDERINGS_FOR_BUFFERS: usize = 4;

/// Orderings of a validation graph.
const VALIDATION_ORDERINGS: usize = 2;

/// Nodes of the validation graphs together, about: enough for a steady loss, cheap beside an epoch.
const VALIDATION_NODES: usize = 6_000;

pub(super) struct AutoregressiveLearner {
    kind: Kind,
    hyperparameters: Hyperparameters,
    vocabulary: Vocabulary,
    network: Network,
    parameters: Parameters,
    buffers: Weights,
    device: Device,
}

enum Network {
    GraphRnn { network: GraphRnnNetwork, shape: graph_rnn::Shape, slots_per_step: usize },
    Gran { network: GranNetwork, shape: gran::Shape, blocks_per_graph: usize },
}

impl AutoregressiveLearner {
    pub(super) fn new(
        spec: &TrainingSpec,
        vocabulary: Vocabulary,
        train: &[&Graph],
        device: &Device,
        seed: u64,
    ) -> Result<Self> {
        let sequences: Vec<Sequence> = (0..)
            .zip(train)
            .flat_map(|(index, graph)| {
                let mut rng = stream(seed, "reach", index);
                (0..ORDERINGS_FOR_BUFFERS).map(move |_| sequence(graph, &mut rng))
            })
            .collect();
        let (network, parameters, buffers) = match &spec.hyperparameters {
            Hyperparameters::GraphRnn(config) => {
                let shape = config.shape().map_err(Error::wrap)?;
                let (network, parameters) =
                    network(device, Scheme::GraphRnn, seed, |vb| GraphRnnNetwork::new(&shape, vb))?;
                let buffers = graph_rnn::buffers(sequences.iter(), &shape)?;
                let slots_per_step = config.slots_per_step;
                (Network::GraphRnn { network, shape, slots_per_step }, parameters, buffers)
            }
            Hyperparameters::Gran(config) => {
                let shape = config.shape().map_err(Error::wrap)?;
                let (network, parameters) = network(device, Scheme::PyTorch, seed, |vb| GranNetwork::new(&shape, vb))?;
                let sizes: Vec<usize> = train.iter().map(|graph| graph.node_count()).collect();
                let buffers = gran::buffers(&shape, &sequences, &sizes)?;
                let blocks_per_graph = config.blocks_per_graph;
                (Network::Gran { network, shape, blocks_per_graph }, parameters, buffers)
            }
            Hyperparameters::Masked(_) => candle_core::bail!("the masked kinds have a learner of their own"),
        };
        Ok(Self {
            kind: spec.kind,
            hyperparameters: spec.hyperparameters.clone(),
            vocabulary,
            network,
            parameters,
            buffers,
            device: device.clone(),
        })
    }
}

fn sequence(graph: &Graph, rng: &mut ChaCha8Rng) -> Sequence {
    Sequence::new(graph, random_bfs_order(graph, rng))
}

impl Learner for AutoregressiveLearner {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn prepare(&self, graphs: &[&Graph], rng: &mut ChaCha8Rng) -> Prepared {
        match &self.network {
            Network::GraphRnn { shape, slots_per_step, .. } => {
                let mut builder = graph_rnn::batch::BatchBuilder::new(*shape, *slots_per_step);
                graphs.iter().for_each(|graph| builder.push(Rows::new(&sequence(graph, rng), shape)));
                Prepared::GraphRnn(builder.finish(rng))
            }
            Network::Gran { shape, blocks_per_graph, .. } => {
                let mut builder = gran::BatchBuilder::new(*shape);
                for graph in graphs {
                    let sequence = sequence(graph, rng);
                    let count = gran::block_count(shape, graph.node_count());
                    let mut blocks = index::sample(rng, count, count.min(*blocks_per_graph)).into_vec();
                    blocks.sort_unstable();
                    builder.push(&sequence, blocks.into_iter());
                }
                Prepared::Gran(builder.finish())
            }
        }
    }

    fn loss(&self, batch: &Prepared) -> Result<Tensor> {
        match (&self.network, batch) {
            (Network::GraphRnn { network, .. }, Prepared::GraphRnn(batch)) => {
                network.loss(batch, DType::F32, &self.device)
            }
            (Network::Gran { network, .. }, Prepared::Gran(batch)) => network.loss(batch, DType::F32, &self.device),
            _ => candle_core::bail!("a batch of another kind"),
        }
    }

    fn weights(&self, snapshot: &Weights) -> Weights {
        let mut weights = snapshot.clone();
        weights.extend(self.buffers.iter().map(|(name, buffer)| (name.clone(), buffer.clone())));
        weights
    }

    /// The negative log-likelihood per node.
    fn validate(&self, graphs: &[&Graph], seed: u64) -> Result<f64> {
        let weights = self.weights(&self.parameters.snapshot()?);
        let model = Model::new(self.kind, &self.hyperparameters, self.vocabulary.clone(), weights)?;
        let Model::Autoregressive(model) = model else { candle_core::bail!("{} has no likelihood", self.kind) };
        let mut nodes = 0;
        let few = graphs.iter().take_while(|graph| {
            let room = nodes < VALIDATION_NODES;
            nodes += graph.node_count();
            room
        });
        let few: Vec<&Graph> = few.copied().collect();
        let sums: Vec<(f64, usize)> = few
            .par_iter()
            .map(|graph| {
                let likelihood = model.likelihood(graph, VALIDATION_ORDERINGS, seed, &mut NoTerms);
                (likelihood.mean(OrderingLikelihood::total), likelihood.nodes)
            })
            .collect();
        let (total, nodes) = sums.iter().fold((0.0, 0), |(total, nodes), (t, n)| (total + t, nodes + n));
        Ok(total / nodes.max(1) as f64)
    }
}

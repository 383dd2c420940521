//! The autoregressive kinds, GraphRNN and GRAN: a graph's likelihood over random breadth-first orderings.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;

use candle_core::Tensor;

use super::gran::{self, GranModel};
use super::graph_rnn::{self, GraphRnnModel};
use super::likelihood::{Likelihood, NoTerms, OrderingLikelihood, Terms};
use super::sequence::{Sequence, SequenceRoom};
use super::{Cost, Evidence, Observation, Vocabulary, spread, workspace};
use crate::graph::Graph;
use crate::nn::seed::stream;

/// Nodes and edges of all orderings that are held at once: bounds the memory of large graphs under many orderings.
const HELD_AT_ONCE: usize = 4_000_000;

/// Bytes held of each node and edge of an ordering: its place, its row, its slots.
const BYTES_HELD: u64 = 40;

/// Bytes that either network computes with, whatever the graph: chunks are bounded.
const BYTES_OF_A_CHUNK: u64 = 64 << 20;

/// A trained autoregressive model.
#[derive(Debug, Clone)]
pub struct AutoregressiveModel {
    network: Network,
    /// For the profile beside the likelihood; the networks themselves see structure alone.
    vocabulary: Vocabulary,
}

#[derive(Debug, Clone)]
pub(super) enum Network {
    GraphRnn(GraphRnnModel),
    Gran(GranModel),
}

impl Network {
    /// Of each sequence, spread over the threads there are unless the terms are wanted, which come in order.
    fn likelihoods<T: Terms>(&self, sequences: &[Sequence], terms: &mut T) -> Vec<OrderingLikelihood> {
        match self {
            Self::GraphRnn(model) if T::WANTED => model.likelihoods(sequences, terms),
            Self::Gran(model) if T::WANTED => model.likelihoods(sequences, terms),
            // A few sequences share the time that reading the weights takes.
            Self::GraphRnn(model) => spread::parts(sequences, 4, |part| model.likelihoods(part, &mut NoTerms)),
            Self::Gran(model) => spread::parts(sequences, 1, |part| model.likelihoods(part, &mut NoTerms)),
        }
    }
}

#[must_use]
pub(super) fn statistic_names() -> Vec<String> {
    ["nll_per_node", "log_nll_per_slot", "stop_nll", "ordering_deviation", "log_far_edges"].map(str::to_owned).to_vec()
}

impl AutoregressiveModel {
    pub(super) fn network(&self) -> &Network {
        &self.network
    }

    pub(super) fn new(network: Network, vocabulary: Vocabulary) -> Self {
        Self { network, vocabulary }
    }

    #[must_use]
    pub fn weights(&self) -> &BTreeMap<String, Tensor> {
        match &self.network {
            Network::GraphRnn(model) => model.weights(),
            Network::Gran(model) => model.weights(),
        }
    }

    #[must_use]
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// Observes a graph through random orderings, ordering k from stream k of `seed` alone.
    #[must_use]
    pub fn observe(&self, graph: &Graph, orderings: usize, seed: u64) -> Observation {
        observation(self.likelihood(graph, orderings, seed, &mut NoTerms))
    }

    /// [`AutoregressiveModel::observe`] of each graph, to the same bits.
    #[must_use]
    pub fn observe_batch(&self, graphs: &[&Graph], orderings: usize, seed: u64) -> Vec<Observation> {
        self.likelihoods(graphs, orderings, seed).into_iter().map(observation).collect()
    }

    /// [`AutoregressiveModel::observe`], and what of the graph was surprising.
    #[must_use]
    pub fn observe_and_explain(&self, graph: &Graph, orderings: usize, seed: u64) -> (Observation, Surprises) {
        let mut surprises = Surprises::new(graph, orderings);
        let likelihood = self.likelihood(graph, orderings, seed, &mut surprises);
        (observation(likelihood), surprises)
    }

    /// The graph's likelihood in `orderings` random orderings, at least one.
    pub fn likelihood<T: Terms>(&self, graph: &Graph, orderings: usize, seed: u64, terms: &mut T) -> Likelihood {
        let mut found = self.batch(&[graph], orderings, seed, terms).into_iter();
        Likelihood { nodes: graph.node_count(), orderings: found.next().unwrap_or_default() }
    }

    /// [`AutoregressiveModel::likelihood`] of each graph, to the same bits.
    #[must_use]
    pub fn likelihoods(&self, graphs: &[&Graph], orderings: usize, seed: u64) -> Vec<Likelihood> {
        let found = self.batch(graphs, orderings, seed, &mut NoTerms);
        let nodes = graphs.iter().map(|graph| graph.node_count());
        nodes.zip(found).map(|(nodes, orderings)| Likelihood { nodes, orderings }).collect()
    }

    /// Each graph's orderings. `terms` is for one graph.
    fn batch<T: Terms>(
        &self,
        graphs: &[&Graph],
        orderings: usize,
        seed: u64,
        terms: &mut T,
    ) -> Vec<Vec<OrderingLikelihood>> {
        let compute = |sequences: &[Sequence]| Ok::<_, Infallible>(self.network.likelihoods(sequences, terms));
        let Ok(found) = in_orderings(graphs, orderings, seed, compute);
        found
    }

    /// Estimated multiply-adds and bytes of a likelihood.
    #[must_use]
    pub fn cost(&self, nodes: usize, edges: usize, orderings: usize) -> Cost {
        let of_one = match &self.network {
            Network::GraphRnn(model) => graph_rnn::cost(model.shape(), nodes, edges),
            Network::Gran(model) => gran::cost(model.shape(), nodes, edges),
        };
        let held =
            ((nodes + edges) as u64).saturating_mul(orderings as u64).min((HELD_AT_ONCE).max(nodes + edges) as u64);
        let of_chunk = match &self.network {
            Network::GraphRnn(_) => BYTES_OF_A_CHUNK,
            Network::Gran(model) => BYTES_OF_A_CHUNK.saturating_add(gran::block_bytes(model.shape(), nodes, edges)),
        };
        Cost {
            multiply_adds: of_one.saturating_mul(orderings as u64),
            bytes: held.saturating_mul(BYTES_HELD).saturating_add(of_chunk),
        }
    }
}

/// What `compute` says of each graph's orderings, ordering k from stream k of `seed` alone, with as many sequences at once
/// as may be held.
///
/// # Errors
/// Those of `compute`.
pub(super) fn in_orderings<E>(
    graphs: &[&Graph],
    orderings: usize,
    seed: u64,
    mut compute: impl FnMut(&[Sequence]) -> Result<Vec<OrderingLikelihood>, E>,
) -> Result<Vec<Vec<OrderingLikelihood>>, E> {
    let count = orderings.max(1);
    let mut found: Vec<Vec<OrderingLikelihood>> = graphs.iter().map(|_| Vec::with_capacity(count)).collect();
    let mut graph_of_next = (0..graphs.len()).flat_map(|graph| std::iter::repeat_n(graph, count));
    let mut compute = |sequences: &[Sequence]| {
        for (likelihood, graph) in compute(sequences)?.into_iter().zip(&mut graph_of_next) {
            found[graph].push(likelihood);
        }
        Ok(())
    };
    HELD.with(|kept| {
        workspace::with(kept, |Held { sequences, room }| {
            let (mut held, mut size) = (0, 0);
            for graph in graphs {
                let weight = graph.node_count() + graph.edge_count();
                for index in 0..count as u64 {
                    if size + weight > HELD_AT_ONCE && held > 0 {
                        compute(&sequences[..held])?;
                        (held, size) = (0, 0);
                    }
                    if held == sequences.len() {
                        sequences.push(Sequence::default());
                    }
                    sequences[held].draw(graph, &mut stream(seed, "orderings", index), room);
                    held += 1;
                    size += weight;
                }
            }
            compute(&sequences[..held])
        })
    })?;
    Ok(found)
}

thread_local! {
    static HELD: workspace::Kept<Held> = const { workspace::Kept::new(None) };
}

/// Sequences that are scored together.
#[derive(Debug, Default)]
struct Held {
    sequences: Vec<Sequence>,
    room: SequenceRoom,
}

impl workspace::Workspace for Held {
    fn bytes(&self) -> usize {
        self.sequences.iter().map(Sequence::bytes).sum()
    }
}

/// The statistics that a graph is judged by (Morningstar et al. 2020, density of states estimation: several statistics of a model tell more than its
/// likelihood): each in nats or a logarithm, so that a unit of each is a comparable deviation.
pub(super) fn observation(likelihood: Likelihood) -> Observation {
    let slots = likelihood.mean(|ordering| ordering.slots as f64).max(1.0);
    let of_slots = likelihood.mean(|ordering| ordering.rows + ordering.out_of_reach);
    let statistics = vec![
        likelihood.per_node(),
        (of_slots / slots).max(SMALLEST_PER_SLOT).ln(),
        likelihood.mean(|ordering| ordering.stop),
        likelihood.deviation() / (likelihood.nodes as f64).sqrt(),
        likelihood.mean(|ordering| ordering.far_edges as f64).ln_1p(),
    ];
    Observation { statistics, unlikeliness: likelihood.per_node(), evidence: Evidence::Likelihood(likelihood) }
}

/// A slot that costs less than this costs nothing worth a logarithm.
const SMALLEST_PER_SLOT: f64 = 1e-4;

/// Absences that cost less than this in an ordering are no surprise.
const SURPRISING_ABSENCE: f64 = 0.25;

/// Pairs of nodes whose absent edge is kept, at most: a large graph has more of them than fit in memory. Those that come
/// first stay, for a pair that comes late has few orderings left to come again in.
const MOST_ABSENCES: usize = 500_000;

/// Where a graph's negative log-likelihood lies, averaged over orderings.
#[derive(Debug, Clone)]
pub struct Surprises {
    share: f64,
    nodes: Vec<f64>,
    edges: HashMap<(u32, u32), f64>,
    absences: HashMap<(u32, u32), f64>,
}

impl Surprises {
    pub(super) fn new(graph: &Graph, orderings: usize) -> Self {
        Self {
            share: 1.0 / orderings.max(1) as f64,
            nodes: vec![0.0; graph.node_count()],
            edges: HashMap::with_capacity(graph.edge_count()),
            absences: HashMap::new(),
        }
    }

    /// Each node's share in nats: what it costs by itself, and half of each of its slots. They add up to the mean total.
    #[must_use]
    pub fn nodes(&self) -> &[f64] {
        &self.nodes
    }

    /// What each edge costs in nats.
    #[must_use]
    pub fn edges(&self) -> &HashMap<(u32, u32), f64> {
        &self.edges
    }

    /// What absent edges cost in nats: those that the model expected most, the rest left out.
    #[must_use]
    pub fn absences(&self) -> &HashMap<(u32, u32), f64> {
        &self.absences
    }
}

impl Terms for Surprises {
    fn slot(&mut self, _ordering: usize, (a, b): (u32, u32), present: bool, nll: f64) {
        let nll = nll * self.share;
        self.nodes[a as usize] += nll / 2.0;
        self.nodes[b as usize] += nll / 2.0;
        let pair = (a.min(b), a.max(b));
        if present {
            *self.edges.entry(pair).or_default() += nll;
        } else if nll > SURPRISING_ABSENCE * self.share
            && (self.absences.len() < MOST_ABSENCES || self.absences.contains_key(&pair))
        {
            *self.absences.entry(pair).or_default() += nll;
        }
    }

    fn node(&mut self, _ordering: usize, node: u32, nll: f64) {
        self.nodes[node as usize] += nll * self.share;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Limits;

    /// Graphs of which two orderings and a half may be held, and a small one between them.
    #[test]
    fn what_is_more_than_may_be_held_is_computed_in_parts_and_comes_back_to_its_graph() {
        let of_size = |nodes: usize| {
            let limits = Limits { max_nodes: nodes, max_edges: 0 };
            Graph::new(nodes as u64, &[], None, &limits).unwrap().0
        };
        let (large, small) = (of_size(HELD_AT_ONCE * 2 / 5), of_size(3));
        let mut parts = Vec::new();
        let found = in_orderings(&[&large, &small, &large], 2, 1, |sequences| {
            parts.push(sequences.len());
            let rows = |sequence: &Sequence| sequence.node_count() as f64;
            let told = sequences.iter().map(|one| OrderingLikelihood { rows: rows(one), ..Default::default() });
            Ok::<_, Infallible>(told.collect())
        });
        assert_eq!(parts, [4, 2]);
        let Ok(found) = found;
        let rows: Vec<Vec<f64>> = found.iter().map(|of_graph| of_graph.iter().map(|one| one.rows).collect()).collect();
        assert_eq!(rows, [large.node_count(), 3, large.node_count()].map(|nodes| vec![nodes as f64; 2]));
    }

    #[test]
    fn statistics_are_as_many_as_their_names_and_finite_at_the_borders() {
        for orderings in
            [vec![OrderingLikelihood::default()], vec![OrderingLikelihood { rows: 1e6, ..Default::default() }; 2]]
        {
            let observation = observation(Likelihood { nodes: 1, orderings });
            assert_eq!(observation.statistics.len(), statistic_names().len());
            assert!(observation.statistics.iter().all(|value| value.is_finite()));
        }
    }
}

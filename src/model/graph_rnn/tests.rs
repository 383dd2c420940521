//! GraphRNN against all sequences there are, and against itself.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use candle_nn::{VarBuilder, VarMap};
use proptest::prelude::*;

use super::batch::{Batch, BatchBuilder};
use super::{GraphRnnModel, GraphRnnNetwork, Rows, Shape, Variant, buffers};
use crate::graph::order::random_bfs_order;
use crate::graph::testing::{any_graph, complete, graph, random_graph};
use crate::model::autoregressive::Network;
use crate::model::golden::{assert_close, values};
use crate::model::likelihood::{NoTerms, OrderingLikelihood, Terms};
use crate::model::sequence::Sequence;
use crate::model::testing::{TermSums, assert_no_memory_again, orders, sequences, told};
use crate::model::{AutoregressiveModel, Mode, Vocabulary};
use crate::nn::loss::binary_cross_entropy;
use crate::nn::parameters::{Parameters, Scheme};
use crate::nn::seed::stream;

pub(super) const SHAPE: Shape = Shape {
    mode: Mode::Proper,
    variant: Variant::Rnn,
    max_prev_node: 3,
    hidden_dim: 5,
    embedding_dim: 4,
    layers: 2,
    edge_hidden_dim: 4,
    edge_embedding_dim: 5,
};

pub(super) fn network(shape: &Shape, dtype: DType, seed: u64) -> (GraphRnnNetwork, Parameters, VarMap) {
    let map = VarMap::new();
    let network = GraphRnnNetwork::new(shape, &VarBuilder::from_varmap(&map, dtype, &Device::Cpu)).unwrap();
    let parameters = Parameters::initialise(&map, Scheme::GraphRnn, seed).unwrap();
    (network, parameters, map)
}

/// A batch of graphs, each in the ordering given.
pub(super) fn batch(shape: &Shape, sequences: &[&Sequence]) -> Batch {
    let mut builder = BatchBuilder::new(*shape, usize::MAX);
    sequences.iter().for_each(|sequence| builder.push(Rows::new(sequence, shape)));
    builder.finish(&mut stream(0, "test", 0))
}

pub(super) fn model(shape: &Shape, weights: BTreeMap<String, Tensor>, far: f64) -> GraphRnnModel {
    let mut weights = weights;
    weights.insert("far_edge_probability".to_owned(), Tensor::new(&[far], &Device::Cpu).unwrap());
    GraphRnnModel::new(*shape, weights).unwrap()
}

fn variants() -> [Shape; 4] {
    [
        (Mode::Proper, Variant::Rnn),
        (Mode::Proper, Variant::Mlp),
        (Mode::Faithful, Variant::Rnn),
        (Mode::Faithful, Variant::Mlp),
    ]
    .map(|(mode, variant)| Shape { mode, variant, ..SHAPE })
}

#[test]
fn sequences_scored_again_take_no_memory_but_the_answers() {
    let (_, parameters, _) = network(&SHAPE, DType::F32, 3);
    let model = model(&SHAPE, parameters.snapshot().unwrap(), 0.3);
    assert_no_memory_again(|sequences| model.likelihoods(sequences, &mut NoTerms));
}

#[test]
fn orderings_drawn_again_take_no_memory_but_the_answers() {
    let (_, parameters, _) = network(&SHAPE, DType::F32, 3);
    let model = model(&SHAPE, parameters.snapshot().unwrap(), 0.3);
    let model = AutoregressiveModel::new(Network::GraphRnn(model), Vocabulary::default());
    for (nodes, orderings) in [(30, 1), (600, 10)] {
        let graph = random_graph(nodes, 2 * nodes, 1);
        let first = model.likelihood(&graph, orderings, 1, &mut NoTerms);
        let again = || assert_eq!(model.likelihood(&graph, orderings, 1, &mut NoTerms), first);
        // The list of the graphs, of this one's orderings, and the one that the model gives those in.
        assert_eq!(allocation_counter::measure(again).count_total, 3, "{orderings} orderings of {nodes} nodes");
    }
}

// Normalisation.

#[test]
fn the_probabilities_of_all_sequences_add_up_to_one() {
    const LARGEST: usize = 5;
    for variant in [Variant::Rnn, Variant::Mlp] {
        // With M = 2 some slots are out of reach.
        for max_prev_node in [2, 4] {
            let shape = Shape { variant, max_prev_node, ..SHAPE };
            let (_, parameters, _) = network(&shape, DType::F32, 3);
            let model = model(&shape, parameters.snapshot().unwrap(), 0.3);
            let (mut sum, mut going_on) = (0.0, 0.0);
            for nodes in 1..=LARGEST {
                for graph in sequences(nodes) {
                    let order: Vec<u32> = graph.nodes().collect();
                    let mut last_stop = LastStop::default();
                    let likelihood = model.likelihoods(&told(&graph, &[order]), &mut last_stop)[0];
                    sum += (-likelihood.total()).exp();
                    if nodes == LARGEST {
                        // The same rows without an end: what the stop bit at the last node gives to going on.
                        let stopped = (-last_stop.cost).exp();
                        going_on += (-(likelihood.total() - last_stop.cost)).exp() * (1.0 - stopped);
                    }
                }
            }
            assert!((sum + going_on - 1.0).abs() < 1e-5, "{variant:?}, M = {max_prev_node}: {sum} + {going_on}");
            assert!(sum > 0.05 && going_on > 0.05, "both are tested");
        }
    }
}

/// Keeps the stop term of the node that came last.
#[derive(Default)]
struct LastStop {
    node: u32,
    cost: f64,
}

impl Terms for LastStop {
    fn slot(&mut self, _ordering: usize, _nodes: (u32, u32), _present: bool, _nll: f64) {}

    /// Charges for absences out of reach come first, stops in the order of the nodes after them.
    fn node(&mut self, _ordering: usize, node: u32, nll: f64) {
        if node >= self.node {
            *self = Self { node, cost: nll };
        }
    }
}

// The model against itself.

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn packed_is_differentiable_and_the_sum_of_its_terms(graph in any_graph(14), seed in 0..100_u64) {
        for shape in variants() {
            let (network, parameters, _) = network(&shape, DType::F32, seed);
            let model = model(&shape, parameters.snapshot().unwrap(), 0.01);
            let orders = orders(&graph, 3);
            let mut terms = TermSums::default();
            let found = model.likelihoods(&told(&graph, &orders), &mut terms);
            prop_assert_eq!(&found, &model.likelihoods(&told(&graph, &orders), &mut NoTerms));
            for (index, (order, found)) in orders.iter().zip(&found).enumerate() {
                prop_assert!((terms.0[&index] - found.total()).abs() < 1e-9 * found.total().max(1.0));
                prop_assert!(found.total().is_finite() && found.total() > 0.0);
                let sequence = Sequence::new(&graph, order.clone());
                if graph.node_count() == 1 && shape.mode == Mode::Proper && shape.variant == Variant::Rnn {
                    continue; // no slot at all, which no training batch has
                }
                let batch = batch(&shape, &[&sequence]);
                let logits = network.forward(&batch, DType::F32, &Device::Cpu).unwrap();
                let stops = logits.stops.as_ref().map_or(0.0, |stops| {
                    let pairs = values(stops).into_iter().zip(&batch.stops);
                    pairs.map(|(logit, &stop)| binary_cross_entropy(logit, stop > 0.5)).sum::<f64>()
                });
                let slots = match &batch.slots {
                    super::batch::Slots::Dependent(slots) => {
                        let pairs = values(&logits.slots).into_iter().zip(&slots.targets);
                        pairs.map(|(logit, &target)| binary_cross_entropy(logit, target > 0.5)).sum::<f64>()
                    }
                    super::batch::Slots::Independent { targets, .. } => {
                        let rows = Rows::new(&sequence, &shape);
                        let m = shape.max_prev_node;
                        values(&logits.slots).iter().zip(targets).enumerate()
                            .filter(|(i, _)| i / m < rows.predicted(shape.mode) && i % m < rows.width(i / m))
                            .map(|(_, (&logit, &target))| binary_cross_entropy(logit, target > 0.5)).sum::<f64>()
                    }
                };
                let expected = slots + stops + found.out_of_reach;
                prop_assert!((found.total() - expected).abs() < 1e-4 * expected.max(1.0), "{:?}: {} {}", shape, found.total(), expected);
            }
        }
    }

    /// What does not fit the reach is charged, and no edge is lost.
    #[test]
    fn every_edge_is_charged_once(graph in any_graph(16), seed: u64) {
        let order = random_bfs_order(&graph, &mut stream(seed, "test", 0));
        let sequence = Sequence::new(&graph, order);
        let rows = Rows::new(&sequence, &Shape { max_prev_node: 2, ..SHAPE });
        let near: usize = (0..rows.count()).map(|index| rows.ones(index).len()).sum();
        let far: u64 = (0..rows.count()).map(|index| rows.far(index).1).sum();
        prop_assert_eq!(near + far as usize, graph.edge_count());
        prop_assert_eq!(rows.lost_nodes(), 0);
        for index in 0..rows.count() {
            prop_assert!(rows.far(index).1 <= rows.far(index).0);
            prop_assert!(rows.ones(index).iter().all(|&slot| (slot as usize) < rows.width(index)));
        }
    }
}

#[test]
fn every_parameter_learns() {
    let graphs = [random_graph(9, 14, 1), random_graph(7, 8, 2), graph(5, &[(0, 1), (2, 3)])];
    let sequences: Vec<Sequence> =
        graphs.iter().map(|graph| Sequence::new(graph, orders(graph, 1).remove(0))).collect();
    for shape in variants() {
        let (network, parameters, _) = network(&shape, DType::F64, 1);
        let batch = batch(&shape, &sequences.iter().collect::<Vec<_>>());
        let loss = network.loss(&batch, DType::F64, &Device::Cpu).unwrap();
        let gradients = loss.backward().unwrap();
        for (name, variable) in parameters.iter() {
            let gradient = values(gradients.get(variable).unwrap_or_else(|| panic!("{name} is dead in {shape:?}")));
            assert!(gradient.iter().all(|g| g.is_finite()), "{name}");
            assert!(gradient.iter().any(|g| g.abs() > 1e-9), "{name} is dead in {shape:?}");
        }
    }
}

#[test]
fn a_batch_is_the_mean_of_its_graphs_per_node() {
    let graphs = [random_graph(9, 14, 1), random_graph(7, 8, 2), random_graph(4, 3, 3)];
    let sequences: Vec<Sequence> =
        graphs.iter().map(|graph| Sequence::new(graph, orders(graph, 1).remove(0))).collect();
    for shape in variants().into_iter().filter(|shape| shape.mode == Mode::Proper) {
        let (network, _, _) = network(&shape, DType::F64, 1);
        let loss = |sequences: &[&Sequence]| {
            network.loss(&batch(&shape, sequences), DType::F64, &Device::Cpu).unwrap().to_scalar::<f64>().unwrap()
        };
        let alone: f64 = sequences.iter().map(|sequence| loss(&[sequence]) * sequence.node_count() as f64).sum();
        let nodes: usize = sequences.iter().map(Sequence::node_count).sum();
        let together = loss(&sequences.iter().collect::<Vec<_>>());
        assert!((together - alone / nodes as f64).abs() < 1e-12, "{shape:?}");
    }
}

/// Rows drawn at random stand for all: over many draws their loss is that of all.
#[test]
fn a_part_of_the_rows_stands_for_all() {
    let sequence = Sequence::new(&random_graph(40, 90, 1), orders(&random_graph(40, 90, 1), 1).remove(0));
    let shape = Shape { max_prev_node: 12, ..SHAPE };
    let (network, _, _) = network(&shape, DType::F32, 1);
    let loss =
        |batch: &Batch| f64::from(network.loss(batch, DType::F32, &Device::Cpu).unwrap().to_scalar::<f32>().unwrap());
    let whole = loss(&batch(&shape, &[&sequence]));
    let draws = 400;
    let mut sum = 0.0;
    for draw in 0..draws {
        let mut builder = BatchBuilder::new(shape, 100);
        builder.push(Rows::new(&sequence, &shape));
        let part = builder.finish(&mut stream(7, "test", draw));
        assert!(matches!(&part.slots, super::batch::Slots::Dependent(slots) if slots.rows.len() < 20));
        sum += loss(&part) / draws as f64;
    }
    assert!((sum / whole - 1.0).abs() < 0.02, "{sum}, not {whole}");
}

#[test]
fn graphs_unlike_any_in_training_get_a_finite_score() {
    let strange = [
        graph(1, &[]),
        graph(4, &[]),
        complete(30),
        graph(7, &[(0, 1), (3, 4), (4, 5), (5, 3)]),
        random_graph(300, 900, 1),
    ];
    for shape in variants() {
        let (_, parameters, _) = network(&shape, DType::F32, 1);
        let model = model(&shape, parameters.snapshot().unwrap(), 1e-6);
        for graph in &strange {
            for found in model.likelihoods(&told(graph, &orders(graph, 2)), &mut NoTerms) {
                assert!(found.total().is_finite() && found.total() > 0.0, "{shape:?}, {} nodes", graph.node_count());
                let clique = graph.node_count() == 30;
                assert_eq!(found.far_edges > 0, clique || graph.node_count() == 300, "{shape:?}");
                assert_eq!(found.out_of_reach > 0.0, found.far_edges > 0 && shape.mode == Mode::Proper);
            }
        }
        let lost: Vec<u64> = model
            .likelihoods(&told(&strange[3], &orders(&strange[3], 1)), &mut NoTerms)
            .iter()
            .map(|l| l.lost_nodes)
            .collect();
        assert_eq!(lost[0] > 0, shape.mode == Mode::Faithful);
    }
}

#[test]
fn an_ordering_costs_the_same_bits_whatever_is_scored_beside_it() {
    let graphs = [random_graph(500, 900, 4), random_graph(9, 14, 1), graph(1, &[]), random_graph(60, 200, 2)];
    for shape in variants() {
        let (_, parameters, _) = network(&shape, DType::F32, 1);
        let model = model(&shape, parameters.snapshot().unwrap(), 1e-4);
        let sequences: Vec<Sequence> = graphs.iter().flat_map(|graph| told(graph, &orders(graph, 10))).collect();
        let together = model.likelihoods(&sequences, &mut NoTerms);
        for (sequence, expected) in sequences.iter().zip(&together) {
            let alone: Vec<OrderingLikelihood> = model.likelihoods(std::slice::from_ref(sequence), &mut NoTerms);
            assert_eq!(alone, [*expected], "{shape:?}, {} nodes", sequence.node_count());
        }
    }
}

#[test]
fn far_edges_are_learnt_from_training_orderings() {
    let path: Vec<(u64, u64)> = (0..9).map(|i| (i, i + 1)).collect();
    let sequence = Sequence::new(&graph(10, &path), (0..10).collect());
    let learnt = buffers([&sequence].into_iter(), &SHAPE).unwrap();
    // Nine rows, each of one open slot: none is out of reach.
    assert_close("probability", &values(&learnt["far_edge_probability"]), &[0.5 / 10.0], 1e-12);
}

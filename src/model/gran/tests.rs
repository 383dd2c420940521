//! GRAN against all sequences there are, and against itself.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{DType, Device, Tensor};
use candle_nn::{VarBuilder, VarMap};
use proptest::prelude::*;

use super::blocks::{BlockRoom, Blocks, Ways};
use super::{Batch, BatchBuilder, GranModel, GranNetwork, Shape, block_count, buffers};
use crate::graph::testing::{any_graph, complete, graph, random_graph};
use crate::model::Mode;
use crate::model::golden::{assert_close, values};
use crate::model::likelihood::NoTerms;
use crate::model::sequence::Sequence;
use crate::model::testing::{TermSums, assert_no_memory_again, orders, sequences, told};
use crate::nn::parameters::{Parameters, Scheme};

pub(super) const SHAPE: Shape = Shape {
    mode: Mode::Proper,
    block_size: 2,
    stride: 2,
    max_prev_node: 4,
    max_num_nodes: 6,
    hidden_dim: 8,
    layers: 2,
    propagations: 1,
    attention_hidden_dim: 16,
    mixtures: 3,
};

pub(super) fn network(shape: &Shape, dtype: DType, seed: u64) -> (GranNetwork, Parameters, VarMap) {
    let map = VarMap::new();
    let network = GranNetwork::new(shape, &VarBuilder::from_varmap(&map, dtype, &Device::Cpu)).unwrap();
    let parameters = Parameters::initialise(&map, Scheme::PyTorch, seed).unwrap();
    (network, parameters, map)
}

/// All blocks of each sequence.
pub(super) fn batch(shape: &Shape, sequences: &[&Sequence]) -> Batch {
    let mut builder = BatchBuilder::new(*shape);
    for sequence in sequences {
        builder.push(sequence, 0..block_count(shape, sequence.node_count()));
    }
    builder.finish()
}

pub(super) fn model(shape: &Shape, mut weights: BTreeMap<String, Tensor>, far: f64) -> GranModel {
    weights.insert("far_edge_probability".to_owned(), Tensor::new(&[far], &Device::Cpu).unwrap());
    weights.insert("sizes".to_owned(), Tensor::new(&[[4.0, 3.0], [6.0, 1.0]], &Device::Cpu).unwrap());
    GranModel::new(*shape, weights).unwrap()
}

fn shapes() -> Vec<Shape> {
    let mut shapes = Vec::new();
    for mode in [Mode::Proper, Mode::Faithful] {
        for (block_size, stride) in [(1, 1), (2, 2), (3, 2), (3, 1)] {
            shapes.push(Shape { mode, block_size, stride, ..SHAPE });
        }
    }
    shapes.push(Shape { propagations: 2, layers: 1, ..SHAPE });
    shapes
}

#[test]
fn sequences_scored_again_take_no_memory_but_the_answers() {
    let (_, parameters, _) = network(&SHAPE, DType::F32, 3);
    let model = model(&SHAPE, parameters.snapshot().unwrap(), 0.3);
    assert_no_memory_again(|sequences| model.likelihoods(sequences, &mut NoTerms));
}

// Normalisation.

#[test]
fn the_probabilities_of_all_sequences_of_a_size_add_up_to_one() {
    for (block_size, stride) in [(1, 1), (2, 2), (3, 3), (2, 1), (3, 2)] {
        // With W = 2 some slots are out of reach; five nodes leave a smaller last block.
        for max_prev_node in [2, 5] {
            let shape = Shape { block_size, stride, max_prev_node, ..SHAPE };
            let (_, parameters, _) = network(&shape, DType::F32, 3);
            let model = model(&shape, parameters.snapshot().unwrap(), 0.3);
            for nodes in 1..=5 {
                let mut far = false;
                let sum: f64 = sequences(nodes)
                    .iter()
                    .map(|graph| {
                        let found = model.likelihoods(&told(graph, &[graph.nodes().collect()]), &mut NoTerms)[0];
                        far |= found.out_of_reach > 0.0;
                        (-(found.rows + found.out_of_reach)).exp()
                    })
                    .sum();
                assert!(
                    (sum - 1.0).abs() < 1e-5,
                    "K = {block_size}, S = {stride}, W = {max_prev_node}, n = {nodes}: {sum}"
                );
                // A block of which all nodes before may be open begins with the first multiple of S above W.
                assert_eq!(far, (max_prev_node + 1).next_multiple_of(stride) < nodes);
            }
        }
    }
}

// The model against itself.

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn packed_is_differentiable_and_the_sum_of_its_terms(graph in any_graph(12), seed in 0..100_u64) {
        for shape in shapes() {
            let (network, parameters, _) = network(&shape, DType::F32, seed);
            let model = model(&shape, parameters.snapshot().unwrap(), 0.01);
            let orders = orders(&graph, 3);
            let mut terms = TermSums::default();
            let found = model.likelihoods(&told(&graph, &orders), &mut terms);
            prop_assert_eq!(&found, &model.likelihoods(&told(&graph, &orders), &mut NoTerms));
            for (index, (order, found)) in orders.iter().zip(&found).enumerate() {
                let sum = terms.0.get(&index).copied().unwrap_or(0.0);
                prop_assert!((sum - found.total()).abs() < 1e-9 * found.total().max(1.0), "{} {}", sum, found.total());
                let sequence = Sequence::new(&graph, order.clone());
                let batch = batch(&shape, &[&sequence]);
                let rows = if batch.blocks.is_empty() { 0.0 } else {
                    -values(&network.log_probabilities(&batch, DType::F32, &Device::Cpu).unwrap()).iter().sum::<f64>()
                };
                prop_assert!((found.rows - rows).abs() < 1e-4 * rows.max(1.0), "{:?}: {} {}", shape, found.rows, rows);
            }
        }
    }

    /// What a block doesn't gather can't reach it.
    #[test]
    fn a_block_gathers_all_that_matters(graph in any_graph(16), seed in 0..100_u64) {
        for shape in [SHAPE, Shape { max_prev_node: 2, ..SHAPE }, Shape { layers: 1, block_size: 1, stride: 1, ..SHAPE }] {
            let (network, _, _) = network(&shape, DType::F64, seed);
            let sequence = Sequence::new(&graph, orders(&graph, 1).remove(0));
            let (mut ways, mut more_ways) = (Ways::default(), Ways::default());
            let blocks = Blocks::new(&sequence, shape, &mut ways);
            // With as many rounds to gather for as there are nodes, all that is connected is gathered.
            let greedy = Blocks::new(&sequence, Shape { propagations: graph.node_count(), ..shape }, &mut more_ways);
            for index in 0..block_count(&shape, graph.node_count()) {
                let log_probability = |blocks: &Blocks<'_>| {
                    let mut batch = Batch::default();
                    batch.push(blocks, index, 0, &mut BlockRoom::default());
                    values(&network.log_probabilities(&batch, DType::F64, &Device::Cpu).unwrap())[0]
                };
                let (lean, whole) = (log_probability(&blocks), log_probability(&greedy));
                prop_assert!((lean - whole).abs() < 1e-12 * whole.abs().max(1.0), "{} {}", lean, whole);
            }
        }
    }

    #[test]
    fn every_slot_is_charged_once(graph in any_graph(16), seed in 0..100_u64) {
        for shape in shapes().into_iter().filter(|shape| shape.mode == Mode::Proper) {
            let shape = Shape { max_prev_node: 2, ..shape };
            let order = orders(&graph, seed % 3 + 1).pop().unwrap();
            let sequence = Sequence::new(&graph, order);
            let batch = batch(&shape, &[&sequence]);
            let mut ways = Ways::default();
            let blocks = Blocks::new(&sequence, shape, &mut ways);
            let counted: Vec<(u32, u32)> =
                batch.positions.iter().zip(&batch.counted).filter(|(_, counted)| **counted).map(|(p, _)| *p).collect();
            let distinct: BTreeSet<(u32, u32)> = counted.iter().copied().collect();
            prop_assert_eq!(counted.len(), distinct.len());
            let near = batch.labels.iter().zip(&batch.counted).filter(|(label, counted)| **label && **counted).count();
            let far: u64 = (0..graph.node_count()).map(|position| blocks.far(position).1).sum();
            prop_assert_eq!(near + far as usize, graph.edge_count(), "{:?}", shape);
        }
    }
}

#[test]
fn every_parameter_learns() {
    let graphs = [random_graph(9, 14, 1), random_graph(7, 8, 2), graph(5, &[(0, 1), (2, 3)])];
    let sequences: Vec<Sequence> =
        graphs.iter().map(|graph| Sequence::new(graph, orders(graph, 1).remove(0))).collect();
    for shape in shapes() {
        let (network, parameters, _) = network(&shape, DType::F64, 1);
        let batch = batch(&shape, &sequences.iter().collect::<Vec<_>>());
        let gradients = network.loss(&batch, DType::F64, &Device::Cpu).unwrap().backward().unwrap();
        for (name, variable) in parameters.iter() {
            let gradient = values(gradients.get(variable).unwrap_or_else(|| panic!("{name} is dead in {shape:?}")));
            assert!(gradient.iter().all(|g| g.is_finite()), "{name}");
            assert!(gradient.iter().any(|g| g.abs() > 1e-12), "{name} is dead in {shape:?}");
        }
    }
}

#[test]
fn gradients_are_those_of_finite_differences() {
    const STEP: f64 = 1e-6;
    let sequence = Sequence::new(&random_graph(8, 11, 5), orders(&random_graph(8, 11, 5), 1).remove(0));
    let (network, parameters, _) = network(&SHAPE, DType::F64, 2);
    let batch = batch(&SHAPE, &[&sequence]);
    let loss = || network.loss(&batch, DType::F64, &Device::Cpu).unwrap();
    let gradients = loss().backward().unwrap();
    for (name, variable) in parameters.iter() {
        let before = values(variable);
        let analytic = values(gradients.get(variable).unwrap());
        let at = |index: usize, by: f64| {
            let mut moved = before.clone();
            moved[index] += by;
            variable.set(&Tensor::from_vec(moved, variable.shape(), &Device::Cpu).unwrap()).unwrap();
            loss().to_scalar::<f64>().unwrap()
        };
        for index in (0..before.len()).step_by((before.len() / 5).max(1)) {
            let numeric = (at(index, STEP) - at(index, -STEP)) / (2.0 * STEP);
            at(index, 0.0);
            assert!((analytic[index] - numeric).abs() < 1e-7, "{name}[{index}]: {}, not {numeric}", analytic[index]);
        }
    }
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
    for shape in shapes() {
        let (_, parameters, _) = network(&shape, DType::F32, 1);
        let model = model(&shape, parameters.snapshot().unwrap(), 1e-6);
        for graph in &strange {
            for found in model.likelihoods(&told(graph, &orders(graph, 2)), &mut NoTerms) {
                let told = shape.mode == Mode::Proper || graph.node_count() >= shape.block_size;
                assert!(
                    found.total().is_finite() && (found.total() > 0.0) == told,
                    "{shape:?}, {} nodes",
                    graph.node_count()
                );
                assert_eq!(found.out_of_reach > 0.0, found.far_edges > 0, "{shape:?}");
                let trailing = shape.mode == Mode::Faithful && found.lost_nodes > 0;
                assert_eq!(
                    trailing,
                    shape.mode == Mode::Faithful
                        && block_count(&shape, graph.node_count())
                            .checked_sub(1)
                            .is_none_or(|last| last * shape.stride + shape.block_size < graph.node_count())
                );
            }
        }
        let clique = model.likelihoods(&told(&strange[2], &orders(&strange[2], 1)), &mut NoTerms)[0];
        assert_eq!(clique.far_edges > 0, shape.mode == Mode::Proper);
    }
}

#[test]
fn an_ordering_costs_the_same_bits_whatever_is_scored_beside_it() {
    let graphs = [random_graph(400, 700, 4), random_graph(9, 14, 1), graph(1, &[]), random_graph(60, 200, 2)];
    for shape in shapes() {
        let shape = Shape { max_prev_node: 60, ..shape };
        let (_, parameters, _) = network(&shape, DType::F32, 1);
        let model = model(&shape, parameters.snapshot().unwrap(), 1e-4);
        let sequences: Vec<Sequence> = graphs.iter().flat_map(|graph| told(graph, &orders(graph, 3))).collect();
        let together = model.likelihoods(&sequences, &mut NoTerms);
        for (sequence, expected) in sequences.iter().zip(&together) {
            let alone = model.likelihoods(std::slice::from_ref(sequence), &mut NoTerms);
            assert_eq!(alone, [*expected], "{shape:?}, {} nodes", sequence.node_count());
        }
    }
}

#[test]
fn far_edges_and_sizes_are_learnt_from_training_graphs() {
    let path: Vec<(u64, u64)> = (0..9).map(|i| (i, i + 1)).collect();
    let sequence = Sequence::new(&graph(10, &path), (0..10).collect());
    let learnt = buffers(&SHAPE, &[sequence], &[10, 12, 10]).unwrap();
    assert_close("probability", &values(&learnt["far_edge_probability"]), &[0.5 / 10.0], 1e-12);
    assert_close("sizes", &values(&learnt["sizes"]), &[10.0, 2.0, 12.0, 1.0], 0.0);
}

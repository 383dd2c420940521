//! The packed model against the differentiable one, which is checked against finite differences and PyTorch.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use candle_nn::{VarBuilder, VarMap};
use proptest::prelude::*;
use rand::RngExt;
use rand::seq::SliceRandom;

use super::batch::BatchBuilder;
use super::network::MaskedNetwork;
use super::sample::{EdgeSample, draw};
use super::{MaskedModel, Masking};
use crate::graph::{Graph, Limits};
use crate::model::{Kind, MaskedHyperparameters, Vocabulary};
use crate::nn::graph_convolution::Convolution;
use crate::nn::parameters::{Parameters, Scheme};
use crate::nn::seed::stream;

fn random_graph(n: u64, density: f64, seed: u64) -> Graph {
    let mut rng = stream(seed, "graph", n);
    let pairs = (0..n).flat_map(|a| (a + 1..n).map(move |b| (a, b)));
    let edges: Vec<_> = pairs.filter(|_| rng.random_bool(density)).collect();
    let labels = (0..n).map(|_| rng.random_range(0..4)).collect();
    Graph::new(n, &edges, Some(labels), &Limits::default()).unwrap().0
}

const fn kind_of(masking: Masking) -> Kind {
    match masking {
        Masking::Removed => Kind::FullMask,
        Masking::Kept => Kind::FullEdgePrediction,
    }
}

struct Fixture {
    config: MaskedHyperparameters,
    vocabulary: Vocabulary,
    network: MaskedNetwork,
    parameters: Parameters,
}

impl Fixture {
    /// Seeded weights, biases included, so that nothing vanishes.
    fn new(convolution: Convolution, labels: bool, dtype: DType) -> Self {
        let config = MaskedHyperparameters { convolution, hidden_dim: 8, ..MaskedHyperparameters::default() };
        // Label 3 occurs in the graphs but not here.
        let vocabulary = Vocabulary { node_labels: if labels { vec![0, 1, 2] } else { Vec::new() } };
        let map = VarMap::new();
        let vb = VarBuilder::from_varmap(&map, dtype, &Device::Cpu);
        let network = MaskedNetwork::new(&config, &vocabulary, &vb).unwrap();
        let parameters = Parameters::initialise(&map, Scheme::Glorot, 5).unwrap();
        let weights: BTreeMap<String, Tensor> = parameters
            .iter()
            .map(|(name, variable)| {
                let mut rng = stream(9, name, 0);
                let values: Vec<f64> = (0..variable.elem_count()).map(|_| rng.random_range(-0.6..0.6)).collect();
                let tensor = Tensor::from_vec(values, variable.shape(), &Device::Cpu).unwrap();
                (name.to_owned(), tensor.to_dtype(dtype).unwrap())
            })
            .collect();
        parameters.restore(&weights).unwrap();
        Self { config, vocabulary, network, parameters }
    }

    fn model(&self, masking: Masking) -> MaskedModel {
        let weights = self.parameters.snapshot().unwrap();
        MaskedModel::new(kind_of(masking), &self.config, self.vocabulary.clone(), weights).unwrap()
    }

    /// The differentiable network's logits of edges and non-edges.
    fn logits(&self, masking: Masking, graph: &Graph, samples: &[EdgeSample]) -> (Vec<f32>, Vec<f32>) {
        let mut builder = BatchBuilder::new(masking, self.config.layers, self.vocabulary.clone());
        builder.push(graph, samples);
        let batch = builder.finish();
        let all = self.network.forward(&batch, DType::F32, &Device::Cpu).unwrap().to_vec1::<f32>().unwrap();
        let (edges, non_edges): (Vec<_>, Vec<_>) = all.iter().zip(&batch.targets).partition(|(_, t)| **t > 0.5);
        (edges.into_iter().map(|(x, _)| *x).collect(), non_edges.into_iter().map(|(x, _)| *x).collect())
    }
}

/// With labels, so that all buffers are in use; of one connected graph, so that no pair wants to know of another component.
#[test]
fn scored_again_a_graph_takes_no_memory_but_for_the_logits() {
    let fixture = Fixture::new(Convolution::Gin, true, DType::F32);
    let graph = random_graph(40, 0.2, 1);
    let samples = draw(&graph, 100, &mut stream(2, "test", 0));
    for masking in [Masking::Kept, Masking::Removed] {
        let model = fixture.model(masking);
        let logits = model.logits(&graph, &samples);
        let allocated = allocation_counter::measure(|| assert_eq!(model.logits(&graph, &samples), logits));
        assert_eq!(allocated.count_total, 2, "{masking:?}");
    }
}

#[test]
fn samples_take_as_little_memory_of_a_large_graph_as_of_a_small_one() {
    for nodes in [30, 300] {
        let graph = random_graph(nodes, 0.2, 1);
        let allocated = allocation_counter::measure(|| drop(draw(&graph, 100, &mut stream(2, "test", 0))));
        assert!(allocated.count_total <= 6, "{} allocations for {nodes} nodes", allocated.count_total);
    }
}

fn assert_close(a: &[f32], b: &[f32], what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= 1e-4 * (1.0 + b.abs()), "{what}: {a} {b}");
    }
}

#[test]
fn packed_equals_differentiable() {
    for convolution in [Convolution::Gin, Convolution::Sage] {
        for labels in [false, true] {
            let fixture = Fixture::new(convolution, labels, DType::F32);
            for masking in [Masking::Kept, Masking::Removed] {
                let model = fixture.model(masking);
                for (n, density) in [(2, 1.0), (7, 0.4), (12, 0.9), (30, 0.1), (60, 0.05), (9, 1.0)] {
                    let graph = random_graph(n, density, 1);
                    let samples = draw(&graph, 90, &mut stream(2, "test", 0));
                    let packed = model.logits(&graph, &samples);
                    let (edges, non_edges) = fixture.logits(masking, &graph, &samples);
                    let what = format!("{convolution:?}, labels {labels}, {masking:?}, {n} nodes");
                    assert_close(&packed.edges, &edges, &what);
                    assert_close(&packed.non_edges, &non_edges, &what);
                }
            }
        }
    }
}

/// `full-mask` says of an edge what `full-edge-prediction` says of the same pair in the graph without it.
#[test]
fn masking_is_removal() {
    let fixture = Fixture::new(Convolution::Gin, true, DType::F32);
    let (masked, kept) = (fixture.model(Masking::Removed), fixture.model(Masking::Kept));
    let graph = random_graph(25, 0.12, 3);
    for edge in graph.edges() {
        let rest: Vec<(u64, u64)> =
            graph.edges().filter(|&other| other != edge).map(|(a, b)| (a.into(), b.into())).collect();
        let (without, _) = Graph::new(25, &rest, graph.labels().map(<[i64]>::to_vec), &Limits::default()).unwrap();
        let sample = [EdgeSample { edge, non_edge: None }];
        assert_close(&masked.logits(&graph, &sample).edges, &kept.logits(&without, &sample).edges, "the masked edge");
    }
}

#[test]
fn every_parameter_has_a_finite_gradient_that_finite_differences_confirm() {
    for convolution in [Convolution::Gin, Convolution::Sage] {
        let fixture = Fixture::new(convolution, true, DType::F64);
        let mut builder = BatchBuilder::new(Masking::Removed, fixture.config.layers, fixture.vocabulary.clone());
        for seed in 0..3 {
            let graph = random_graph(14, 0.25, seed);
            builder.push(&graph, &draw(&graph, 12, &mut stream(seed, "test", 0)));
        }
        let batch = builder.finish();
        let loss = || fixture.network.loss(&batch, DType::F64, &Device::Cpu).unwrap();
        let gradients = loss().backward().unwrap();
        for (name, variable) in fixture.parameters.iter() {
            let gradient = gradients.get(variable).unwrap_or_else(|| panic!("{name} has no gradient"));
            let gradient = gradient.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            assert!(gradient.iter().all(|g| g.is_finite()), "{name}");
            assert!(gradient.iter().any(|&g| g != 0.0), "{name} is dead");
            let before = variable.as_tensor().copy().unwrap();
            let values = before.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            for place in [0, values.len() / 2, values.len() - 1] {
                let at = |step: f64| {
                    let mut moved = values.clone();
                    moved[place] += step;
                    variable.set(&Tensor::from_vec(moved, before.shape(), &Device::Cpu).unwrap()).unwrap();
                    loss().to_scalar::<f64>().unwrap()
                };
                let difference = (at(1e-6) - at(-1e-6)) / 2e-6;
                variable.set(&before).unwrap();
                let error = (difference - gradient[place]).abs();
                assert!(error < 1e-6 + 1e-4 * difference.abs(), "{name}[{place}]: {difference} {}", gradient[place]);
            }
        }
    }
}

#[test]
fn weights_must_be_exactly_those_of_the_network() {
    let fixture = Fixture::new(Convolution::Gin, false, DType::F32);
    let make =
        |weights| MaskedModel::new(Kind::FullEdgePrediction, &fixture.config, fixture.vocabulary.clone(), weights);
    let good = fixture.parameters.snapshot().unwrap();
    let mut missing = good.clone();
    missing.remove("output.weight");
    let mut unknown = good.clone();
    unknown.insert("colour".to_owned(), Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap());
    let mut misshapen = good.clone();
    misshapen.insert("output.weight".to_owned(), Tensor::zeros((1, 9), DType::F32, &Device::Cpu).unwrap());
    assert!(make(good).is_ok());
    for (bad, why) in [(missing, "missing"), (unknown, "not a parameter"), (misshapen, "not [1, 8]")] {
        assert!(make(bad).unwrap_err().to_string().contains(why));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn relabelling_changes_no_completion(n in 2_u64..25, density in 0.05..0.9, seed: u64) {
        let fixture = Fixture::new(Convolution::Gin, true, DType::F32);
        let graph = random_graph(n, density, seed);
        let mut permutation: Vec<u32> = (0..n as u32).collect();
        permutation.shuffle(&mut stream(seed, "permutation", 0));
        let relabelled = graph.relabelled(&permutation);
        let edges: Vec<(u32, u32)> = graph.edges().collect();
        let moved: Vec<(u32, u32)> =
            edges.iter().map(|&(a, b)| (permutation[a as usize], permutation[b as usize])).collect();
        for masking in [Masking::Kept, Masking::Removed] {
            let model = fixture.model(masking);
            let pairs = model.edge_completions(&graph, &edges).into_iter().zip(model.edge_completions(&relabelled, &moved));
            for (before, after) in pairs {
                prop_assert!((before - after).abs() < 1e-4, "{before} {after}");
            }
        }
    }

    #[test]
    fn a_pair_is_judged_alike_from_both_sides(n in 3_u64..20, density in 0.1..0.9, seed: u64) {
        let model = Fixture::new(Convolution::Sage, false, DType::F32).model(Masking::Removed);
        let graph = random_graph(n, density, seed);
        for (u, v) in graph.edges() {
            let there = model.edge_completions(&graph, &[(u, v)]);
            prop_assert_eq!(there, model.edge_completions(&graph, &[(v, u)]));
        }
    }
}

/// The union of graphs gives each the logits it has alone.
#[test]
fn a_batch_is_its_graphs_one_by_one() {
    let fixture = Fixture::new(Convolution::Gin, true, DType::F32);
    let graphs: Vec<Graph> = (0..4).map(|seed| random_graph(10 + seed, 0.3, seed)).collect();
    let samples: Vec<Vec<EdgeSample>> = graphs.iter().map(|graph| draw(graph, 6, &mut stream(1, "test", 0))).collect();
    let mut builder = BatchBuilder::new(Masking::Removed, fixture.config.layers, fixture.vocabulary.clone());
    for (graph, samples) in graphs.iter().zip(&samples) {
        builder.push(graph, samples);
    }
    let forward = |batch: &super::batch::Batch| {
        fixture.network.forward(batch, DType::F32, &Device::Cpu).unwrap().to_vec1::<f32>().unwrap()
    };
    let together = forward(&builder.finish());
    let mut alone = Vec::new();
    for (graph, samples) in graphs.iter().zip(&samples) {
        builder.push(graph, samples);
        let batch = builder.finish();
        assert_eq!(Arc::strong_count(&batch.adjacency), 1);
        alone.extend(forward(&batch));
    }
    assert_close(&together, &alone, "a batch");
}

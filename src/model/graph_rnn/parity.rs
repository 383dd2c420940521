//! GraphRNN against PyTorch: the authors' own modules, and networks of the original's size with a step of training.

use candle_core::{DType, Device, Tensor};
use serde_json::Value;

use super::batch::{Batch, Slots};
use super::tests::{SHAPE, batch, model, network};
use super::{GraphRnnNetwork, Shape, Variant};
use crate::graph::Graph;
use crate::model::Mode;
use crate::model::golden::{
    assert_close, assert_norms, fill, full_size, names, numbers, reference, sequence_of, step_and_compare, values,
};
use crate::model::likelihood::NoTerms;
use crate::model::sequence::Sequence;
use crate::model::testing::told;
use crate::nn::loss::binary_cross_entropy_with_logits;
use crate::nn::parameters::Parameters;

/// Our name of a parameter of the authors' modules.
fn our_name(theirs: &str) -> String {
    let (stem, last) = theirs.rsplit_once('.').unwrap();
    let layer = last.rsplit_once("_l").map(|(part, layer)| (part.to_owned(), layer.to_owned()));
    match (stem, layer) {
        ("rnn.rnn", Some((part, layer))) => format!("graph_level.{layer}.{part}"),
        ("output.rnn", Some((part, layer))) => format!("edge_level.{layer}.{part}"),
        ("rnn.input", _) => format!("input.{last}"),
        ("output.input", _) => format!("edge_input.{last}"),
        ("rnn.output.0", _) => format!("edge_start.first.{last}"),
        ("rnn.output.2", _) => format!("edge_start.second.{last}"),
        ("output.output.0" | "output.deterministic_output.0", _) => format!("slots.first.{last}"),
        ("output.output.2" | "output.deterministic_output.2", _) => format!("slots.second.{last}"),
        _ => panic!("{theirs} is unknown"),
    }
}

fn reference_case(name: &str, dtype: DType) -> (Value, Shape, GraphRnnNetwork, Parameters, Graph, Sequence) {
    let golden = reference();
    let variant = if name == "GraphRNN" { Variant::Rnn } else { Variant::Mlp };
    let shape = Shape { mode: Mode::Faithful, variant, ..SHAPE };
    let (network, parameters, map) = network(&shape, dtype, 0);
    let own = &golden[name];
    fill(&map, &names(own), own["scale"].as_f64().unwrap(), our_name);
    let (graph, sequence) = sequence_of(&golden["graph"]);
    (golden, shape, network, parameters, graph, sequence)
}

/// The total negative log-likelihood of a batch of one graph, differentiable, and the logits of its slots row by row.
fn total(network: &GraphRnnNetwork, batch: &Batch, dtype: DType) -> (Tensor, Vec<Vec<f64>>) {
    let logits = network.forward(batch, dtype, &Device::Cpu).unwrap();
    let n = batch.steps.rows();
    let device = &Device::Cpu;
    match &batch.slots {
        Slots::Dependent(slots) => {
            let targets =
                Tensor::from_slice(&slots.targets, slots.targets.len(), device).unwrap().to_dtype(dtype).unwrap();
            let total = binary_cross_entropy_with_logits(&logits.slots, &targets).unwrap().sum_all().unwrap();
            let mut rows = vec![Vec::new(); n];
            let mut flat = values(&logits.slots).into_iter();
            for &alive in slots.steps.sizes() {
                slots.rows[..alive].iter().for_each(|&row| rows[row as usize].push(flat.next().unwrap()));
            }
            (total, rows)
        }
        Slots::Independent { targets, .. } => {
            let m = targets.len() / n;
            let valid: Vec<f32> = (0..n * m).map(|i| f32::from(u8::from(i % m < (i / m + 1).min(m)))).collect();
            let tensor = |values: &[f32]| Tensor::from_slice(values, (n, m), device).unwrap().to_dtype(dtype).unwrap();
            let costs = binary_cross_entropy_with_logits(&logits.slots, &tensor(targets)).unwrap();
            let total = (costs * tensor(&valid)).unwrap().sum_all().unwrap();
            (total, values(&logits.slots).chunks_exact(m).map(<[f64]>::to_vec).collect())
        }
    }
}

fn holds_to_the_reference(name: &str, [total_key, loss_key, logits_key]: [&str; 3], dtype: DType, tolerance: f64) {
    let (golden, shape, network, parameters, graph, sequence) = reference_case(name, dtype);
    let own = &golden[name];
    let batch = batch(&shape, &[&sequence]);
    let expected_inputs = numbers(&golden["x"]);
    assert_eq!(batch.inputs.iter().copied().map(f64::from).collect::<Vec<_>>(), expected_inputs);

    let (total, logits) = total(&network, &batch, dtype);
    let expected = own[logits_key].as_array().unwrap();
    for (row, expected) in logits.iter().zip(expected) {
        assert_close(logits_key, row, &numbers(expected), tolerance);
    }
    assert_close(total_key, &values(&total), &numbers(&own[total_key]), tolerance);
    let loss = network.loss(&batch, dtype, &Device::Cpu).unwrap();
    assert_close(loss_key, &values(&loss), &numbers(&own[loss_key]), tolerance);

    assert_norms(
        &own["grad_l2_norm_of_total_nll_per_param"],
        our_name,
        &parameters,
        &total.backward().unwrap(),
        tolerance,
    );

    let packed = model(&shape, parameters.snapshot().unwrap(), 0.5);
    let likelihood = packed.likelihoods(&told(&graph, &[(0..6).collect()]), &mut NoTerms)[0];
    assert_close("packed", &[likelihood.total()], &numbers(&own[total_key]), tolerance.max(1e-6));
    if let Some(without) = own["total_nll_without_EOS_row"].as_f64() {
        assert_close("packed rows", &[likelihood.rows], &[without], tolerance.max(1e-6));
    }
}

const MLP_KEYS: [&str; 3] =
    ["total_nll_faithful(mask k<min(t+1,M), incl EOS row)", "train_loss_mean_over_n*M(unmasked)", "logits"];
const RNN_KEYS: [&str; 3] = ["total_nll_faithful(incl EOS step)", "train_loss_mean_over_padded", "logits_per_step"];

#[test]
fn graph_rnn_s_is_the_authors() {
    holds_to_the_reference("GraphRNN-S", MLP_KEYS, DType::F64, 1e-9);
    holds_to_the_reference("GraphRNN-S", MLP_KEYS, DType::F32, 1e-4);
}

#[test]
fn graph_rnn_is_the_authors() {
    holds_to_the_reference("GraphRNN", RNN_KEYS, DType::F64, 1e-9);
    holds_to_the_reference("GraphRNN", RNN_KEYS, DType::F32, 1e-4);
}

fn holds_to_full_size(name: &str, variant: Variant, dtype: DType, tolerance: f64) {
    let golden = full_size();
    let own = &golden[name];
    let size = |of: &Value, key: &str| usize::try_from(of[key].as_u64().unwrap_or(1)).unwrap();
    let arch = &own["arch"];
    let shape = Shape {
        mode: Mode::Faithful,
        variant,
        max_prev_node: size(arch, "m"),
        hidden_dim: size(arch, "hidden"),
        embedding_dim: size(arch, "embedding"),
        layers: size(arch, "layers"),
        edge_hidden_dim: size(&arch["edge"], "hidden"),
        edge_embedding_dim: size(&arch["edge"], "embedding"),
    };
    let (network, parameters, map) = network(&shape, dtype, 0);
    fill(&map, &names(own), own["scale"].as_f64().unwrap(), our_name);
    let (graph, sequence) = sequence_of(&golden["graph"]);
    let alone = batch(&shape, &[&sequence]);
    let (total, logits) = total(&network, &alone, dtype);
    for (row, expected) in logits.iter().zip(own["logits"].as_array().unwrap()) {
        assert_close("logits", row, &numbers(expected), tolerance);
    }
    let expected = numbers(&own["total_nll"]);
    assert_close("total", &values(&total), &expected, tolerance);
    let loss = network.loss(&alone, dtype, &Device::Cpu).unwrap();
    assert_close("loss", &values(&loss), &numbers(&own["training_loss"]), tolerance);
    let gradients = loss.backward().unwrap();
    assert_norms(&own["gradient_l2_norm_of_training_loss"], our_name, &parameters, &gradients, tolerance);

    let packed = model(&shape, parameters.snapshot().unwrap(), 0.5);
    let found = packed.likelihoods(&told(&graph, &[graph.nodes().collect()]), &mut NoTerms)[0];
    assert_close("packed", &[found.total()], &expected, 1e-5);
    assert_close("packed rows", &[found.rows], &numbers(&own["total_nll_without_end_row"]), 1e-5);

    let (_, small) = sequence_of(&golden["small_graph"]);
    let both = batch(&shape, &[&sequence, &small]);
    let loss = || network.loss(&both, dtype, &Device::Cpu).unwrap();
    step_and_compare(&own["adam_step"], our_name, &parameters, loss, tolerance);
}

#[test]
fn networks_of_full_size_and_a_step_of_training_are_pytorchs() {
    for (name, variant) in [("GraphRNN-S", Variant::Mlp), ("GraphRNN", Variant::Rnn)] {
        holds_to_full_size(name, variant, DType::F64, 1e-9);
        holds_to_full_size(name, variant, DType::F32, 1e-4);
    }
}

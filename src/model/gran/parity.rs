//! GRAN against PyTorch: the authors' own modules, and networks of the original's size with a step of training.

use std::collections::BTreeSet;

use candle_core::{DType, Device};
use serde_json::Value;

use super::tests::{SHAPE, batch, model, network};
use super::{Batch, Shape};
use crate::model::Mode;
use crate::model::golden::{
    assert_close, assert_norms, fill, full_size, names, numbers, reference, sequence_of, step_and_compare, values,
};
use crate::model::likelihood::NoTerms;
use crate::model::testing::told;
use crate::nn::loss::binary_cross_entropy;

/// Our name of a parameter of the authors' modules.
fn our_name(theirs: &str) -> String {
    let theirs = theirs.strip_prefix("gran.").unwrap_or(theirs);
    let parts: Vec<&str> = theirs.split('.').collect();
    let place = |index: &str| ["first", "second"][index.parse::<usize>().unwrap() / 2];
    let number = |index: &str| index.parse::<usize>().unwrap() / 2;
    match parts.as_slice() {
        ["output_theta", index, last] => format!("theta.{}.{last}", number(index)),
        ["output_alpha", index, last] => format!("alpha.{}.{last}", number(index)),
        ["decoder_input", _, last] => format!("input.{last}"),
        ["decoder", "update_func", layer, last] => format!("layers.{layer}.update.{last}"),
        ["decoder", "msg_func", layer, index, last] => format!("layers.{layer}.message.{}.{last}", place(index)),
        ["decoder", "att_head", layer, index, last] => format!("layers.{layer}.attention.{}.{last}", place(index)),
        _ => panic!("{theirs} is unknown"),
    }
}

/// The negative log-likelihood of the entries that `counts`, from logits.
fn cost(batch: &Batch, theta: &[f64], alpha: &[f64], counts: impl Fn(u32, u32) -> bool) -> Vec<f64> {
    let components = theta.len() / batch.labels.len();
    batch
        .blocks
        .iter()
        .map(|block| {
            let mut joint = vec![0.0; components];
            for entry in block.entries.clone() {
                let row = entry * components..(entry + 1) * components;
                let share = 1.0 / block.entries.len() as f64;
                joint.iter_mut().zip(&alpha[row]).for_each(|(joint, alpha)| *joint += alpha * share);
            }
            let normaliser = joint.iter().map(|mean| mean.exp()).sum::<f64>().ln();
            for entry in block.entries.clone() {
                let (row, column) = batch.positions[entry];
                if counts(row, column) {
                    let logits = &theta[entry * components..(entry + 1) * components];
                    let costs = logits.iter().map(|&logit| binary_cross_entropy(logit, batch.labels[entry]));
                    joint.iter_mut().zip(costs).for_each(|(joint, cost)| *joint -= cost);
                }
            }
            joint.iter().map(|joint| (joint - normaliser).exp()).sum::<f64>().ln()
        })
        .collect()
}

fn pairs(value: &Value) -> BTreeSet<(u64, u64)> {
    let pair = |pair: &Value| (pair[0].as_u64().unwrap(), pair[1].as_u64().unwrap());
    value.as_array().unwrap().iter().map(pair).collect()
}

fn holds_to_the_reference(name: &str, block_size: usize, stride: usize, dtype: DType, tolerance: f64) {
    let golden = reference();
    let own = &golden[name];
    let shape = Shape { mode: Mode::Faithful, block_size, stride, attention_hidden_dim: 128, ..SHAPE };
    let (network, parameters, map) = network(&shape, dtype, 0);
    fill(&map, &names(own), own["scale"].as_f64().unwrap(), our_name);
    let (graph, sequence) = sequence_of(&golden["graph"]);
    let batch = batch(&shape, &[&sequence]);

    let edges: BTreeSet<(u64, u64)> =
        batch.edges.sources.iter().zip(&batch.edges.destinations).map(|(&s, &d)| (s.into(), d.into())).collect();
    assert_eq!(edges, pairs(&own["batch"]["edges"]));
    let labels: Vec<f64> = batch.labels.iter().map(|&label| f64::from(u8::from(label))).collect();
    assert_eq!(labels, numbers(&own["labels"]));
    let codes: Vec<f64> = batch.codes.iter().map(|&code| code.into()).collect();
    assert_eq!(codes, numbers(&own["batch"]["att_idx"]));

    let (theta, alpha) = network.forward(&batch, dtype, &Device::Cpu).unwrap();
    let (theta, alpha) = (values(&theta), values(&alpha));
    assert_close("log_theta", &theta, &numbers(&own["log_theta"]), tolerance);
    assert_close("log_alpha", &alpha, &numbers(&own["log_alpha"]), tolerance);
    let blocks = values(&network.log_probabilities(&batch, dtype, &Device::Cpu).unwrap());
    assert_close("blocks", &blocks, &numbers(&own["block_log_probs_faithful"]), tolerance);
    let faithful = numbers(&own["faithful -log p(lower+diag+dup entries)"]);
    assert_close("faithful", &[-blocks.iter().sum::<f64>()], &faithful, tolerance);
    let lower = cost(&batch, &theta, &alpha, |row, column| column < row);
    assert_close("lower blocks", &lower, &numbers(&own["block_log_probs_lower"]), tolerance);
    let expected = numbers(&own["strict-lower-triangle -log p (alpha still averaged over all entries)"]);
    assert_close("lower", &[-lower.iter().sum::<f64>()], &expected, tolerance);

    let loss = network.loss(&batch, dtype, &Device::Cpu).unwrap();
    assert_close("loss", &values(&loss), &numbers(&own["original loss (per-entry normalised)"]), tolerance);
    let gradients = loss.backward().unwrap();
    assert_norms(&own["grad_l2_norm_of_original_loss_per_param"], our_name, &parameters, &gradients, tolerance);

    let packed = model(&shape, parameters.snapshot().unwrap(), 0.5);
    let found = packed.likelihoods(&told(&graph, &[(0..6).collect()]), &mut NoTerms)[0];
    assert_close("packed", &[found.total()], &faithful, 1e-5);
    assert_eq!(found.slots, own["n_entries"].as_u64().unwrap());
}

#[test]
fn gran_is_the_authors() {
    for (name, block_size, stride) in [("GRAN_K1_S1", 1, 1), ("GRAN_K2_S2", 2, 2), ("GRAN_K2_S1", 2, 1)] {
        holds_to_the_reference(name, block_size, stride, DType::F64, 1e-9);
        holds_to_the_reference(name, block_size, stride, DType::F32, 1e-4);
    }
}

fn holds_to_full_size(name: &str, dtype: DType, tolerance: f64) {
    let golden = full_size();
    let own = &golden[name];
    let size = |key: &str| usize::try_from(own["arch"][key].as_u64().unwrap()).unwrap();
    let shape = Shape {
        mode: Mode::Faithful,
        block_size: size("block"),
        stride: size("stride"),
        max_prev_node: 1,
        max_num_nodes: size("nodes"),
        hidden_dim: size("hidden"),
        layers: size("layers"),
        propagations: 1,
        attention_hidden_dim: size("attention"),
        mixtures: size("mixtures"),
    };
    let (network, parameters, map) = network(&shape, dtype, 0);
    fill(&map, &names(own), own["scale"].as_f64().unwrap(), our_name);
    let (graph, sequence) = sequence_of(&golden["graph"]);
    let batch = batch(&shape, &[&sequence]);
    let (theta, alpha) = network.forward(&batch, dtype, &Device::Cpu).unwrap();
    let (theta, alpha) = (values(&theta), values(&alpha));
    for (what, found) in [("log_theta", &theta), ("log_alpha", &alpha)] {
        let first = numbers(&own[what]["first_rows"]);
        assert_close(what, &found[..first.len()], &first, tolerance);
        let last = numbers(&own[what]["last_rows"]);
        assert_close(what, &found[found.len() - last.len()..], &last, tolerance);
        let norm = found.iter().map(|value| value * value).sum::<f64>().sqrt();
        assert_close(what, &[norm], &numbers(&own[what]["l2_norm"]), tolerance);
    }
    let blocks = values(&network.log_probabilities(&batch, dtype, &Device::Cpu).unwrap());
    assert_close("blocks", &blocks, &numbers(&own["block_log_probs"]), tolerance);
    let lower = cost(&batch, &theta, &alpha, |row, column| column < row);
    assert_close("lower blocks", &lower, &numbers(&own["block_log_probs_lower"]), tolerance);
    let loss = || network.loss(&batch, dtype, &Device::Cpu).unwrap();
    assert_close("loss", &values(&loss()), &numbers(&own["training_loss"]), tolerance);
    let gradients = loss().backward().unwrap();
    assert_norms(&own["gradient_l2_norm_of_training_loss"], our_name, &parameters, &gradients, tolerance);

    let packed = model(&shape, parameters.snapshot().unwrap(), 0.5);
    let found = packed.likelihoods(&told(&graph, &[graph.nodes().collect()]), &mut NoTerms)[0];
    assert_close("packed", &[found.total()], &numbers(&own["total_nll"]), 1e-5);
    assert_eq!(found.slots, own["n_entries"].as_u64().unwrap());

    step_and_compare(&own["adam_step"], our_name, &parameters, loss, tolerance);
}

#[test]
fn networks_of_full_size_and_a_step_of_training_are_pytorchs() {
    for name in ["GRAN_K1_S1", "GRAN_K4_S2"] {
        holds_to_full_size(name, DType::F64, 1e-9);
        holds_to_full_size(name, DType::F32, 1e-4);
    }
}

//! The committed numbers of reference implementations (`tests/golden/README.md`), for tests of the models.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor};
use candle_nn::VarMap;
use serde_json::Value;

use super::sequence::Sequence;
use crate::graph::Graph;
use crate::graph::testing::graph;
use crate::nn::adam::{Adam, AdamConfig};
use crate::nn::parameters::{Parameters, set};

/// The likelihoods, logits and gradients of the authors' own modules on a graph of six nodes.
pub(crate) fn reference() -> Value {
    serde_json::from_str(include_str!("../../tests/golden/reference_likelihoods.json")).unwrap()
}

/// Networks of the original's size on a graph of 24 nodes, and one step of training.
pub(crate) fn full_size() -> Value {
    serde_json::from_str(include_str!("../../tests/golden/full_size.json")).unwrap()
}

/// A graph of a golden file, in the order of its nodes, which is breadth-first.
pub(crate) fn sequence_of(golden: &Value) -> (Graph, Sequence) {
    let end = |edge: &Value, end: usize| edge[end].as_u64().unwrap();
    let edges: Vec<(u64, u64)> =
        golden["edges"].as_array().unwrap().iter().map(|edge| (end(edge, 0), end(edge, 1))).collect();
    let graph = graph(golden["n"].as_u64().unwrap(), &edges);
    let sequence = Sequence::new(&graph, graph.nodes().collect());
    (graph, sequence)
}

/// The names of a network's parameters, in the order that they are filled in.
pub(crate) fn names(network: &Value) -> Vec<String> {
    network["params"].as_array().unwrap().iter().map(|entry| entry[0].as_str().unwrap().to_owned()).collect()
}

/// Holds the norm of each parameter's gradient to its counterpart.
pub(crate) fn assert_norms(
    expected: &Value,
    ours: impl Fn(&str) -> String,
    parameters: &Parameters,
    gradients: &GradStore,
    tolerance: f64,
) {
    let expected: BTreeMap<String, f64> =
        expected.as_object().unwrap().iter().map(|(name, norm)| (ours(name), norm.as_f64().unwrap())).collect();
    assert_eq!(expected.len(), parameters.iter().count());
    for (name, variable) in parameters.iter() {
        let norm = values(gradients.get(variable).unwrap()).iter().map(|g| g * g).sum::<f64>().sqrt();
        assert_close(name, &[norm], &[expected[name]], tolerance);
    }
}

/// Takes one step of Adam, and holds the loss before and after it and every parameter to their counterparts.
pub(crate) fn step_and_compare(
    expected: &Value,
    ours: impl Fn(&str) -> String,
    parameters: &Parameters,
    loss: impl Fn() -> Tensor,
    tolerance: f64,
) {
    let learning_rate = expected["learning_rate"].as_f64().unwrap();
    let mut adam = Adam::new(AdamConfig { learning_rate, weight_decay: 0.0, grad_clip: f64::INFINITY });
    let before = loss();
    assert_close("loss before", &values(&before), &numbers(&expected["loss_before"]), tolerance);
    adam.update(parameters, &before.backward().unwrap()).unwrap();
    let after: BTreeMap<String, &Value> =
        expected["params_after"].as_object().unwrap().iter().map(|(name, value)| (ours(name), value)).collect();
    assert_close("loss after", &values(&loss()), &numbers(&expected["loss_after"]), tolerance);
    // In single precision the sign of a gradient near zero decides a whole step of that element, in PyTorch as here.
    if tolerance > 1e-6 {
        return;
    }
    for (name, variable) in parameters.iter() {
        let found = values(variable);
        let norm = found.iter().map(|value| value * value).sum::<f64>().sqrt();
        assert_close(name, &[norm], &numbers(&after[name]["l2_norm"]), tolerance);
        assert_close(name, &[found.iter().sum()], &numbers(&after[name]["sum"]), tolerance);
    }
}

/// Weight `index` of the closed formula that all golden files share: bit-identical wherever arithmetic is IEEE's.
pub(crate) fn weight(index: usize, scale: f64) -> f64 {
    let place = index as f64 + 1.0;
    let u = place * place * 0.618_033_988_749_894_9;
    scale * (2.0 * (u - u.floor()) - 1.0)
}

/// Fills the variables of `map` in the order of `names`, a golden file's names by way of `ours`.
pub(crate) fn fill(map: &VarMap, names: &[String], scale: f64, ours: impl Fn(&str) -> String) {
    let variables = map.data().lock().unwrap();
    let mut next = 0;
    for name in names {
        let variable = variables.get(&ours(name)).unwrap_or_else(|| panic!("{name} is {} here", ours(name)));
        let values: Vec<f64> = (next..next + variable.elem_count()).map(|index| weight(index, scale)).collect();
        next += values.len();
        set(variable, &values).unwrap();
    }
    assert_eq!(names.len(), variables.len(), "every parameter is filled");
}

/// The numbers of a JSON array of any depth, in order.
pub(crate) fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        value => vec![value.as_f64().unwrap()],
    }
}

/// All of a tensor, in `f64`.
pub(crate) fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.to_device(&Device::Cpu).unwrap().flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
}

/// Holds each number to its counterpart within `tolerance`, relative to the larger of it and one.
pub(crate) fn assert_close(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let scale = expected.abs().max(1.0);
        assert!((found - expected).abs() <= tolerance * scale, "{what}[{index}]: {found}, not {expected}");
    }
}

//! The recurrence against candle's own operations, against finite differences, and against the packed layer.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{VarBuilder, VarMap};
use proptest::prelude::*;
use rand::RngExt;

use super::{Gru, PackedGru, Steps};
use crate::nn::dispatch::composed;
use crate::nn::parameters::{Parameters, Scheme};
use crate::nn::seed::stream;

fn random(shape: (usize, usize), dtype: DType, seed: u64) -> Tensor {
    let mut rng = stream(seed, "test", 0);
    let values: Vec<f64> = (0..shape.0 * shape.1).map(|_| rng.random_range(-1.0..1.0)).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
}

struct Case {
    gru: Gru,
    parameters: Parameters,
    x: Var,
    start: Var,
    steps: Arc<Steps>,
}

fn case(lengths: &[usize], (f, h): (usize, usize), dtype: DType, seed: u64) -> Case {
    let map = VarMap::new();
    let gru = Gru::new(f, h, &VarBuilder::from_varmap(&map, dtype, &Device::Cpu)).unwrap();
    let parameters = Parameters::initialise(&map, Scheme::PyTorch, seed).unwrap();
    let steps = Arc::new(Steps::of_lengths(lengths));
    let x = Var::from_tensor(&random((steps.rows(), f), dtype, seed + 1)).unwrap();
    let start = Var::from_tensor(&random((lengths.len(), h), dtype, seed + 2)).unwrap();
    Case { gru, parameters, x, start, steps }
}

impl Case {
    /// A number that depends on every state in a way of its own.
    fn loss(&self, fused: bool) -> Tensor {
        let projected = self.gru.project(&self.x).unwrap();
        let states = if fused {
            self.gru.forward(&projected, &self.start, &self.steps).unwrap()
        } else {
            composed(|| self.gru.forward(&projected, &self.start, &self.steps)).unwrap()
        };
        let weights = random(states.dims2().unwrap(), states.dtype(), 99);
        (states * weights).unwrap().sum_all().unwrap()
    }

    fn variables(&self) -> Vec<(String, Var)> {
        let inputs = [("x".to_owned(), self.x.clone()), ("start".to_owned(), self.start.clone())];
        self.parameters.iter().map(|(name, variable)| (name.to_owned(), variable.clone())).chain(inputs).collect()
    }
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
}

#[test]
fn steps_shrink_as_sequences_end() {
    assert_eq!(Steps::of_lengths(&[4, 2, 2, 1]).sizes(), [4, 3, 1, 1]);
    assert_eq!(Steps::of_lengths(&[4, 2, 2, 1]).rows(), 9);
    assert_eq!(Steps::of_lengths(&[]).sizes(), [0_usize; 0]);
    assert_eq!(Steps::one(3).sizes(), [3]);
}

#[test]
fn gradients_are_those_of_finite_differences() {
    const STEP: f64 = 1e-5;
    let case = case(&[4, 3, 1], (3, 4), DType::F64, 5);
    let gradients = case.loss(true).backward().unwrap();
    for (name, variable) in case.variables() {
        let analytic = numbers(gradients.get(&variable).unwrap());
        let values = numbers(&variable);
        for (index, analytic) in analytic.iter().enumerate() {
            let loss_at = |value: f64| {
                let mut moved = values.clone();
                moved[index] = value;
                variable.set(&Tensor::from_vec(moved, variable.shape(), &Device::Cpu).unwrap()).unwrap();
                case.loss(true).to_scalar::<f64>().unwrap()
            };
            let numeric = (loss_at(values[index] + STEP) - loss_at(values[index] - STEP)) / (2.0 * STEP);
            loss_at(values[index]);
            assert!((analytic - numeric).abs() < 1e-8, "{name}[{index}]: {analytic}, not {numeric}");
        }
    }
}

#[test]
fn shapes_that_do_not_fit_are_an_error() {
    let case = case(&[2, 1], (3, 4), DType::F32, 1);
    let projected = case.gru.project(&case.x).unwrap();
    let other = Arc::new(Steps::of_lengths(&[2, 2]));
    assert!(case.gru.forward(&projected, &case.start, &other).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn fused_is_composed(mut lengths in prop::collection::vec(1..6_usize, 1..5), h in 1..7_usize, seed in 0..1_000_u64) {
        lengths.sort_by_key(|&length| std::cmp::Reverse(length));
        let case = case(&lengths, (2, h), DType::F64, seed);
        let (fused, composed) = (case.loss(true), case.loss(false));
        prop_assert!((fused.to_scalar::<f64>().unwrap() - composed.to_scalar::<f64>().unwrap()).abs() < 1e-12);
        let (fused, composed) = (fused.backward().unwrap(), composed.backward().unwrap());
        for (name, variable) in case.variables() {
            let pairs = numbers(fused.get(&variable).unwrap()).into_iter().zip(numbers(composed.get(&variable).unwrap()));
            for (fused, composed) in pairs {
                prop_assert!((fused - composed).abs() < 1e-11, "{}: {} {}", name, fused, composed);
            }
        }
    }

    #[test]
    fn packed_is_fused(h in 1..9_usize, batch in 1..5_usize, seed in 0..1_000_u64) {
        let case = case(&vec![3; batch], (2, h), DType::F32, seed);
        let projected = case.gru.project(&case.x).unwrap();
        let fused = case.gru.forward(&projected, &case.start, &case.steps).unwrap();
        let packed = PackedGru::new(&case.parameters.snapshot().unwrap().into_iter().map(|(name, weight)| (format!("gru.{name}"), weight)).collect(), "gru").unwrap();
        let mut state: Vec<f32> = case.start.flatten_all().unwrap().to_vec1().unwrap();
        let mut scratch = Vec::new();
        for step in 0..3 {
            let x: Vec<f32> = case.x.narrow(0, step * batch, batch).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            packed.step(&packed.input.forward(&x), &mut state, &mut scratch);
            let expected: Vec<f32> = fused.narrow(0, step * batch, batch).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            for (found, expected) in state.iter().zip(expected) {
                prop_assert!((found - expected).abs() < 1e-6);
            }
        }
    }
}

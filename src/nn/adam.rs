//! Adam with decoupled weight decay, whose state can be kept.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Result, Tensor};

use super::parameters::{Parameters, set};

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamConfig {
    pub learning_rate: f64,
    /// Decoupled (Loshchilov and Hutter 2019, algorithm 2).
    pub weight_decay: f64,
    /// The largest norm of all gradients together; larger ones are scaled down to it.
    pub grad_clip: f64,
}

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// Adam (Kingma and Ba 2015, algorithm 1). candle's own keeps its moments to itself, so a run could not be resumed.
#[derive(Debug, Clone)]
pub struct Adam {
    config: AdamConfig,
    step: u64,
    /// First and second moment of each parameter, by name.
    moments: BTreeMap<String, (Vec<f64>, Vec<f64>)>,
}

impl Adam {
    #[must_use]
    pub fn new(config: AdamConfig) -> Self {
        Self { config, step: 0, moments: BTreeMap::new() }
    }

    /// Sets the learning rate of the steps to come.
    pub fn set_learning_rate(&mut self, learning_rate: f64) {
        self.config.learning_rate = learning_rate;
    }

    /// Changes every parameter along its gradient.
    ///
    /// # Errors
    /// When a parameter has no gradient: candle drops some silently, and a dead parameter is a bug.
    pub fn update(&mut self, parameters: &Parameters, gradients: &GradStore) -> Result<()> {
        let mut all = Vec::new();
        for (name, variable) in parameters.iter() {
            let gradient = gradients
                .get(variable)
                .ok_or_else(|| candle_core::Error::Msg(format!("parameter {name} has no gradient")))?;
            all.push((name, variable, values(gradient)?));
        }
        let norm = all.iter().flat_map(|(_, _, gradient)| gradient).map(|g| g * g).sum::<f64>().sqrt();
        let scale = if norm > self.config.grad_clip { self.config.grad_clip / norm } else { 1.0 };
        self.step += 1;
        let correction_1 = 1.0 - BETA_1.powf(self.step as f64);
        let correction_2 = 1.0 - BETA_2.powf(self.step as f64);
        for (name, variable, gradient) in all {
            let mut parameter = values(variable.as_tensor())?;
            let (first, second) = self
                .moments
                .entry(name.to_owned())
                .or_insert_with(|| (vec![0.0; gradient.len()], vec![0.0; gradient.len()]));
            for (((value, gradient), m), v) in parameter.iter_mut().zip(gradient).zip(first).zip(second) {
                let gradient = gradient * scale;
                *m = BETA_1 * *m + (1.0 - BETA_1) * gradient;
                *v = BETA_2 * *v + (1.0 - BETA_2) * gradient * gradient;
                let direction = (*m / correction_1) / ((*v / correction_2).sqrt() + EPSILON);
                *value -= self.config.learning_rate * (direction + self.config.weight_decay * *value);
            }
            set(variable, &parameter)?;
        }
        Ok(())
    }

    /// The state as tensors, to be kept beside the parameters.
    ///
    /// # Errors
    /// When candle fails.
    pub fn state(&self) -> Result<(u64, BTreeMap<String, Tensor>)> {
        let mut tensors = BTreeMap::new();
        for (name, (first, second)) in &self.moments {
            tensors.insert(format!("{name}.first"), Tensor::from_slice(first, first.len(), &Device::Cpu)?);
            tensors.insert(format!("{name}.second"), Tensor::from_slice(second, second.len(), &Device::Cpu)?);
        }
        Ok((self.step, tensors))
    }

    /// Goes on from a state.
    ///
    /// # Errors
    /// When a moment is missing or has another length than its parameter.
    pub fn restore(&mut self, step: u64, state: &BTreeMap<String, Tensor>, parameters: &Parameters) -> Result<()> {
        self.moments.clear();
        self.step = step;
        if step == 0 {
            return Ok(());
        }
        for (name, variable) in parameters.iter() {
            let moment = |part: &str| match state.get(&format!("{name}.{part}")) {
                Some(tensor) if tensor.elem_count() == variable.elem_count() => values(tensor),
                _ => Err(candle_core::Error::Msg(format!("the optimiser's state doesn't fit parameter {name}"))),
            };
            self.moments.insert(name.to_owned(), (moment("first")?, moment("second")?));
        }
        Ok(())
    }
}

fn values(tensor: &Tensor) -> Result<Vec<f64>> {
    tensor.flatten_all()?.to_dtype(DType::F64)?.to_vec1()
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};
    use candle_nn::{Init, VarBuilder, VarMap};

    use super::{Adam, AdamConfig};
    use crate::nn::parameters::{Parameters, Scheme};

    /// Expected values by PyTorch 2.5:
    /// ```python
    /// w = torch.tensor([1., -2.], dtype=torch.float64, requires_grad=True)
    /// o = torch.optim.AdamW([w], lr=0.1, weight_decay=0.01)
    /// for _ in range(3): o.zero_grad(); (w ** 4).sum().backward(); o.step()
    /// ```
    /// whose recurrences were also followed by hand; here in f64 and unclipped.
    #[test]
    fn follows_the_published_recurrence() {
        let map = VarMap::new();
        let vb = VarBuilder::from_varmap(&map, DType::F64, &Device::Cpu);
        let w = vb.get_with_hints(2, "w", Init::Const(0.0)).unwrap();
        let parameters = Parameters::initialise(&map, Scheme::Glorot, 0).unwrap();
        let start = candle_core::Tensor::new(&[1.0_f64, -2.0], &Device::Cpu).unwrap();
        parameters.restore(&[("w".to_owned(), start)].into()).unwrap();
        let config = AdamConfig { learning_rate: 0.1, weight_decay: 0.01, grad_clip: f64::INFINITY };
        let mut adam = Adam::new(config);
        let (mut expected, mut m, mut v) = ([1.0_f64, -2.0], [0.0_f64; 2], [0.0_f64; 2]);
        for step in 1..=3 {
            let loss = w.powf(4.0).unwrap().sum_all().unwrap();
            adam.update(&parameters, &loss.backward().unwrap()).unwrap();
            for i in 0..2 {
                let g = 4.0 * expected[i].powi(3);
                expected[i] *= 1.0 - 0.1 * 0.01;
                m[i] = 0.9 * m[i] + 0.1 * g;
                v[i] = 0.999 * v[i] + 0.001 * g * g;
                expected[i] -=
                    0.1 * (m[i] / (1.0 - 0.9_f64.powi(step))) / ((v[i] / (1.0 - 0.999_f64.powi(step))).sqrt() + 1e-8);
            }
            let now = w.to_vec1::<f64>().unwrap();
            assert!(now.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{now:?} {expected:?}");
        }
    }

    #[test]
    fn a_restored_state_goes_on_with_the_same_bits() {
        let run = |interrupted: bool| {
            let map = VarMap::new();
            let vb = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
            let w = vb.get_with_hints((2, 3), "w", Init::Const(0.0)).unwrap();
            let parameters = Parameters::initialise(&map, Scheme::Glorot, 7).unwrap();
            let config = AdamConfig { learning_rate: 0.01, weight_decay: 0.1, grad_clip: 0.5 };
            let mut adam = Adam::new(config);
            for step in 0..6 {
                if interrupted && step == 3 {
                    let (step, state) = adam.state().unwrap();
                    adam = Adam::new(config);
                    adam.restore(step, &state, &parameters).unwrap();
                }
                let loss = w.sin().unwrap().sum_all().unwrap();
                adam.update(&parameters, &loss.backward().unwrap()).unwrap();
            }
            w.to_vec2::<f32>().unwrap()
        };
        assert_eq!(run(false), run(true));
    }
}

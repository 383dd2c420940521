//! The trainable parameters of a network, by name and in a fixed order.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::{VarBuilder, VarMap};
use rand::RngExt;

use super::seed::stream;

/// How parameters start. Weights have two dimensions, `[out, in]`; a recurrent layer's end in `_ih` and `_hh` and stack
/// three gates in `out`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Weights Xavier-uniform with gain √2 (Glorot and Bengio 2010, eq. 16), the rest zero.
    Glorot,
    /// As the authors of GraphRNN start it: weights Xavier-uniform, with gain √2 or, in recurrent layers, 1; recurrent
    /// biases 0.25, other biases as PyTorch's.
    GraphRnn,
    /// PyTorch's defaults: uniform within 1/√fan-in, in recurrent layers within 1/√H.
    PyTorch,
}

enum Law {
    Constant(f64),
    /// Uniform in [-bound, bound).
    Uniform {
        bound: f64,
    },
}

impl Scheme {
    fn law<'a>(self, name: &str, dims: &[usize], shape_of: impl Fn(&str) -> Option<&'a [usize]>) -> Law {
        let recurrent = name.ends_with("_ih") || name.ends_with("_hh");
        let xavier = |gain: f64, rows: usize, columns: usize| Law::Uniform {
            bound: gain * (6.0 / (rows + columns) as f64).sqrt(),
        };
        let within = |fan: usize| Law::Uniform { bound: 1.0 / (fan.max(1) as f64).sqrt() };
        let weight_of_bias = || name.strip_suffix("bias").and_then(|stem| shape_of(&format!("{stem}weight")));
        match (self, dims) {
            (Self::Glorot, &[rows, columns]) => xavier(2.0_f64.sqrt(), rows, columns),
            (Self::GraphRnn, &[rows, columns]) if recurrent => xavier(1.0, rows, columns),
            (Self::GraphRnn, &[rows, columns]) => xavier(2.0_f64.sqrt(), rows, columns),
            (Self::GraphRnn, _) if recurrent => Law::Constant(0.25),
            (Self::PyTorch, &[rows, ..]) if recurrent => within(rows / 3),
            (Self::PyTorch, &[_, columns]) => within(columns),
            (Self::GraphRnn | Self::PyTorch, _) => match weight_of_bias() {
                Some(&[_, columns]) => within(columns),
                _ => Law::Constant(0.0),
            },
            (Self::Glorot, _) => Law::Constant(0.0),
        }
    }
}

/// Variables by name, sorted, so that no result depends on the order of a hash map.
#[derive(Debug, Clone)]
pub struct Parameters {
    variables: BTreeMap<String, Var>,
}

impl Parameters {
    /// The parameters that a constructor registered in `map`, set to their initial values by `scheme`.
    ///
    /// Each draws from a stream of its own name: candle's CPU generator can't be seeded, and a hash map's order must not
    /// reach a number.
    ///
    /// # Errors
    /// When candle fails.
    pub fn initialise(map: &VarMap, scheme: Scheme, seed: u64) -> Result<Self> {
        let variables: BTreeMap<String, Var> = map
            .data()
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .iter()
            .map(|(name, variable)| (name.clone(), variable.clone()))
            .collect();
        for (name, variable) in &variables {
            let shape_of = |name: &str| variables.get(name).map(|variable| variable.dims());
            let values = match scheme.law(name, variable.dims(), shape_of) {
                Law::Constant(value) => vec![value; variable.elem_count()],
                Law::Uniform { bound } => {
                    let mut rng = stream(seed, name, 0);
                    (0..variable.elem_count()).map(|_| rng.random_range(-bound..bound)).collect()
                }
            };
            set(variable, &values)?;
        }
        Ok(Self { variables })
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.variables.iter().map(|(name, variable)| (name.as_str(), variable))
    }

    /// How many numbers there are in all.
    #[must_use]
    pub fn count(&self) -> usize {
        self.variables.values().map(|variable| variable.elem_count()).sum()
    }

    /// A copy of all values, by name, on the CPU.
    ///
    /// # Errors
    /// When candle fails.
    pub fn snapshot(&self) -> Result<BTreeMap<String, Tensor>> {
        self.variables
            .iter()
            .map(|(name, variable)| Ok((name.clone(), variable.as_tensor().to_device(&Device::Cpu)?.copy()?)))
            .collect()
    }

    /// Sets every parameter from a snapshot.
    ///
    /// # Errors
    /// When a name is missing or a shape differs.
    pub fn restore(&self, snapshot: &BTreeMap<String, Tensor>) -> Result<()> {
        for (name, variable) in &self.variables {
            let value = snapshot
                .get(name)
                .ok_or_else(|| candle_core::Error::Msg(format!("the snapshot has no parameter {name}")))?;
            variable.set(&value.to_device(variable.device())?)?;
        }
        Ok(())
    }
}

/// Stored weights as a network on `device` takes them, in single precision: plain tensors, which record no operations.
#[must_use]
pub fn stored(weights: &BTreeMap<String, Tensor>, device: &Device) -> VarBuilder<'static> {
    let weights = weights.iter().map(|(name, weight)| (name.clone(), weight.clone())).collect();
    VarBuilder::from_tensors(weights, DType::F32, device)
}

/// Sets a variable from `f64` values in its own precision.
pub(crate) fn set(variable: &Var, values: &[f64]) -> Result<()> {
    let device = variable.device();
    let tensor = match variable.dtype() {
        DType::F64 => Tensor::from_slice(values, variable.shape(), device)?,
        dtype => {
            let narrow: Vec<f32> = values.iter().map(|&value| value as f32).collect();
            Tensor::from_vec(narrow, variable.shape(), device)?.to_dtype(dtype)?
        }
    };
    variable.set(&tensor)
}

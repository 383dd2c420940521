//! The trainable parameters of a network, by name and in a fixed order.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::VarMap;
use rand::RngExt;

use super::seed::stream;

/// Variables by name, sorted, so that no result depends on the order of a hash map.
#[derive(Debug, Clone)]
pub struct Parameters {
    variables: BTreeMap<String, Var>,
}

impl Parameters {
    /// The parameters that a constructor registered in `map`, set to their initial values.
    ///
    /// Weights (two dimensions, `[out, in]`) are Xavier-uniform with gain √2 (Glorot and Bengio 2010, eq. 16), the rest
    /// zero. Each draws from a stream of its own name: candle's CPU generator can't be seeded, and a hash map's order
    /// must not reach a number.
    ///
    /// # Errors
    /// When candle fails.
    pub fn initialise(map: &VarMap, seed: u64) -> Result<Self> {
        let variables: BTreeMap<String, Var> = map
            .data()
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .iter()
            .map(|(name, variable)| (name.clone(), variable.clone()))
            .collect();
        for (name, variable) in &variables {
            let values = match variable.dims() {
                [rows, columns] => {
                    let bound = (2.0_f64 * 6.0 / (rows + columns) as f64).sqrt();
                    let mut rng = stream(seed, name, 0);
                    (0..rows * columns).map(|_| rng.random_range(-bound..bound)).collect()
                }
                _ => vec![0.0; variable.elem_count()],
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

/// Sets a variable from `f64` values in its own precision.
pub(super) fn set(variable: &Var, values: &[f64]) -> Result<()> {
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

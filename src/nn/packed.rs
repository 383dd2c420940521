//! Weights packed for inference: plain numbers, transposed once.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Result, Tensor, bail};
use candle_nn::{VarBuilder, VarMap};

use super::matmul::matmul;

/// `y = x W + b`, the weight stored `[F, H]`.
#[derive(Debug, Clone)]
pub struct Affine {
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
    input: usize,
}

impl Affine {
    /// The layer that `nn::layer::Linear` has under `name`.
    ///
    /// # Errors
    /// When `name.weight` or `name.bias` is missing.
    pub fn new(weights: &BTreeMap<String, Tensor>, name: &str) -> Result<Self> {
        Self::of(weights, &format!("{name}.weight"), &format!("{name}.bias"))
    }

    /// The layer of a weight `[H, F]` and a bias `[H]` of these names.
    ///
    /// # Errors
    /// When one of them is missing.
    pub fn of(weights: &BTreeMap<String, Tensor>, weight: &str, bias: &str) -> Result<Self> {
        let stored = floats(weights, weight)?;
        let bias = floats(weights, bias)?;
        let input = stored.len().checked_div(bias.len()).unwrap_or(0);
        Ok(Self::from_parts(transposed(&stored, input), bias))
    }

    /// The layer of a weight `[F, H]`, already transposed, and a bias `[H]`.
    #[must_use]
    pub fn from_parts(weight: Vec<f32>, bias: Vec<f32>) -> Self {
        let input = weight.len().checked_div(bias.len()).unwrap_or(0);
        Self { weight, bias, input }
    }

    /// F.
    #[must_use]
    pub fn input_dim(&self) -> usize {
        self.input
    }

    /// H.
    #[must_use]
    pub fn output_dim(&self) -> usize {
        self.bias.len()
    }

    /// The row of the weight that input `index` is multiplied with.
    #[must_use]
    pub fn row(&self, index: usize) -> &[f32] {
        &self.weight[index * self.bias.len()..(index + 1) * self.bias.len()]
    }

    #[must_use]
    pub fn forward(&self, x: &[f32]) -> Vec<f32> {
        let mut y = Vec::new();
        self.forward_into(x, &mut y);
        y
    }

    /// [`Affine::forward`] into a buffer that is kept.
    pub fn forward_into(&self, x: &[f32], y: &mut Vec<f32>) {
        self.product_into(x, y);
        for row in y.chunks_exact_mut(self.bias.len()) {
            row.iter_mut().zip(&self.bias).for_each(|(y, b)| *y += b);
        }
    }

    /// `x W`, without the bias.
    pub fn product_into(&self, x: &[f32], y: &mut Vec<f32>) {
        let columns = self.bias.len();
        y.clear();
        y.resize(x.len() / self.input * columns, 0.0);
        matmul(x, &self.weight, y, self.input, columns);
    }
}

/// `[F, H]` of `[H, F]`.
pub(super) fn transposed(stored: &[f32], input: usize) -> Vec<f32> {
    (0..input).flat_map(|i| stored.iter().skip(i).step_by(input)).copied().collect()
}

/// Sets what is negative to zero.
pub fn relu(x: &mut [f32]) {
    x.iter_mut().for_each(|x| *x = x.max(0.0));
}

/// The numbers of a weight.
///
/// # Errors
/// When it is missing.
pub fn floats(weights: &BTreeMap<String, Tensor>, name: &str) -> Result<Vec<f32>> {
    match weights.get(name) {
        Some(tensor) => tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1(),
        None => bail!("{name} is missing"),
    }
}

/// Holds `weights` to the parameters that `network` asks for, and to `buffers`, names of tensors that are not trained.
///
/// # Errors
/// When one is missing, unknown, or of another shape.
pub fn check_weights<N>(
    weights: &BTreeMap<String, Tensor>,
    buffers: &[&str],
    network: impl FnOnce(&VarBuilder) -> Result<N>,
) -> Result<()> {
    let map = VarMap::new();
    network(&VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu))?;
    let expected = map.data().lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for (name, variable) in expected.iter() {
        match weights.get(name) {
            Some(tensor) if tensor.dims() == variable.dims() => {}
            Some(tensor) => bail!("{name} is {:?}, not {:?}", tensor.dims(), variable.dims()),
            None => bail!("{name} is missing"),
        }
    }
    if let Some(name) = buffers.iter().find(|name| !weights.contains_key(**name)) {
        bail!("{name} is missing");
    }
    match weights.keys().find(|name| !expected.contains_key(*name) && !buffers.contains(&name.as_str())) {
        Some(name) => bail!("{name} is not a parameter of this model"),
        None => Ok(()),
    }
}

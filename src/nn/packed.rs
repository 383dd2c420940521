//! Weights packed for inference: plain numbers, transposed once.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Result, Tensor, bail};
use candle_nn::{VarBuilder, VarMap};
use pulp::{Arch, Simd, WithSimd};

use super::simd::store;

/// `y = x W + b` row by row, each the same bits whatever rows stand beside it.
#[derive(Debug, Clone)]
pub struct Affine {
    /// `[F, W]`: the H columns, and zeros up to W, a multiple of [`PADDING`].
    weight: Vec<f32>,
    /// `[W]`.
    bias: Vec<f32>,
    input: usize,
    output: usize,
}

/// Columns are padded to a multiple of this: the widest vector that there is.
const PADDING: usize = 16;

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
        Ok(Self::from_parts(&transposed(&stored, input), &bias))
    }

    /// The layer of a weight `[F, H]`, already transposed, and a bias `[H]`.
    #[must_use]
    pub fn from_parts(weight: &[f32], bias: &[f32]) -> Self {
        let output = bias.len();
        let width = output.next_multiple_of(PADDING);
        let padded = |row: &[f32]| {
            let mut row = row.to_vec();
            row.resize(width, 0.0);
            row
        };
        Self {
            weight: weight.chunks_exact(output.max(1)).flat_map(padded).collect(),
            bias: padded(bias),
            input: weight.len().checked_div(output).unwrap_or(0),
            output,
        }
    }

    /// F.
    #[must_use]
    pub fn input_dim(&self) -> usize {
        self.input
    }

    /// H.
    #[must_use]
    pub fn output_dim(&self) -> usize {
        self.output
    }

    /// `[H]`.
    #[must_use]
    pub fn bias(&self) -> &[f32] {
        &self.bias[..self.output]
    }

    /// Sets the bias to zero.
    pub fn drop_bias(&mut self) {
        self.bias.fill(0.0);
    }

    /// The row of the weight that input `index` is multiplied with, `[H]`.
    #[must_use]
    pub fn row(&self, index: usize) -> &[f32] {
        &self.weight[index * self.bias.len()..][..self.output]
    }

    #[must_use]
    pub fn forward(&self, x: &[f32]) -> Vec<f32> {
        let mut y = Vec::new();
        self.forward_into(x, &mut y);
        y
    }

    /// `x [N, F]` to `y [N, H]`, a buffer that is kept.
    pub fn forward_into(&self, x: &[f32], y: &mut Vec<f32>) {
        self.raised_into(x, f32::NEG_INFINITY, y);
    }

    /// [`Affine::forward_into`], and what is negative set to zero.
    pub fn rectified_into(&self, x: &[f32], y: &mut Vec<f32>) {
        self.raised_into(x, 0.0, y);
    }

    /// How many vectors a row of the result fills, the last one perhaps in part.
    #[inline(always)]
    pub(super) fn vectors<S: Simd>(&self) -> usize {
        self.bias.len() / S::F32_LANES
    }

    /// The product of R rows `[F]` with C vectors of columns, from vector `first` on: for kernels that go on with it in
    /// registers.
    #[inline(always)]
    pub(super) fn sums<S: Simd, const R: usize, const C: usize>(
        &self,
        simd: S,
        rows: [&[f32]; R],
        first: usize,
    ) -> [[S::f32s; C]; R] {
        let (f, vectors) = (self.input, self.vectors::<S>());
        let bias = &S::as_simd_f32s(&self.bias).0[first..first + C];
        let mut sums = [[simd.splat_f32s(0.0); C]; R];
        for sums in &mut sums {
            sums.copy_from_slice(bias);
        }
        let mut rows = rows;
        for row in &mut rows {
            *row = &row[..f];
        }
        for (k, weight) in S::as_simd_f32s(&self.weight).0.chunks_exact(vectors).enumerate().take(f) {
            let weight = &weight[first..first + C];
            for (sums, row) in sums.iter_mut().zip(&rows) {
                let x = simd.splat_f32s(row[k]);
                for (sum, weight) in sums.iter_mut().zip(weight) {
                    *sum = simd.mul_add_e_f32s(x, *weight, *sum);
                }
            }
        }
        sums
    }

    fn raised_into(&self, x: &[f32], floor: f32, y: &mut Vec<f32>) {
        y.resize(x.len() / self.input * self.output, 0.0);
        Arch::new().dispatch(Product { layer: self, x, floor, y });
    }
}

/// The product, each result raised to `floor`.
struct Product<'a> {
    layer: &'a Affine,
    x: &'a [f32],
    floor: f32,
    y: &'a mut [f32],
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { layer, x, floor, y } = self;
        let (f, h) = (layer.input, layer.output);
        let (mut x, mut y) = (x, y);
        // As many rows at once as keep their sums, two vectors each, in registers.
        while x.len() >= 6 * f && !y.is_empty() {
            strip::<S, 6>(simd, layer, &x[..6 * f], floor, &mut y[..6 * h]);
            (x, y) = (&x[6 * f..], &mut y[6 * h..]);
        }
        if y.len() >= 4 * h && !y.is_empty() {
            strip::<S, 4>(simd, layer, &x[..4 * f], floor, &mut y[..4 * h]);
            (x, y) = (&x[4 * f..], &mut y[4 * h..]);
        }
        while !y.is_empty() {
            strip::<S, 1>(simd, layer, &x[..f], floor, &mut y[..h]);
            (x, y) = (&x[f..], &mut y[h..]);
        }
    }
}

/// R rows.
#[inline(always)]
fn strip<S: Simd, const R: usize>(simd: S, layer: &Affine, x: &[f32], floor: f32, y: &mut [f32]) {
    let columns = layer.vectors::<S>();
    for first in (0..columns - columns % 2).step_by(2) {
        block::<S, R, 2>(simd, layer, x, floor, y, first);
    }
    if columns % 2 == 1 {
        block::<S, R, 1>(simd, layer, x, floor, y, columns - 1);
    }
}

/// R rows of C vectors of columns, from vector `first` on.
#[inline(always)]
fn block<S: Simd, const R: usize, const C: usize>(
    simd: S,
    layer: &Affine,
    x: &[f32],
    floor: f32,
    y: &mut [f32],
    first: usize,
) {
    let mut rows: [&[f32]; R] = [&[]; R];
    for (row, x) in rows.iter_mut().zip(x.chunks_exact(layer.input)) {
        *row = x;
    }
    let sums = layer.sums::<S, R, C>(simd, rows, first);
    for (sums, y) in sums.iter().zip(y.chunks_exact_mut(layer.output)) {
        let parts = y[first * S::F32_LANES..].chunks_mut(S::F32_LANES);
        for (sum, part) in sums.iter().zip(parts) {
            store(simd, part, simd.max_f32s(simd.splat_f32s(floor), *sum));
        }
    }
}

/// `[F, H]` of `[H, F]`.
fn transposed(stored: &[f32], input: usize) -> Vec<f32> {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::RngExt;

    use super::Affine;
    use crate::nn::seed::stream;

    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        let mut rng = stream(seed, "test", 0);
        (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
    }

    proptest! {
        #[test]
        fn it_is_the_product_and_each_row_the_same_bits_alone(
            rows in 0_usize..20, input in 1_usize..40, output in 1_usize..70, seed in 0..1_000_u64,
        ) {
            let (weight, bias) = (numbers(input * output, seed), numbers(output, seed + 1));
            let x = numbers(rows * input, seed + 2);
            let layer = Affine::from_parts(&weight, &bias);
            let (y, mut rectified) = (layer.forward(&x), vec![7.0; 3]);
            layer.rectified_into(&x, &mut rectified);
            prop_assert_eq!(y.len(), rows * output);
            for (row, x) in x.chunks_exact(input).enumerate() {
                let y = &y[row * output..(row + 1) * output];
                prop_assert_eq!(layer.forward(x), y);
                for (column, &y) in y.iter().enumerate() {
                    let products = x.iter().enumerate().map(|(k, x)| f64::from(*x) * f64::from(weight[k * output + column]));
                    let exact = products.sum::<f64>() + f64::from(bias[column]);
                    prop_assert!((f64::from(y) - exact).abs() < 1e-5, "{} {}", y, exact);
                    prop_assert_eq!(rectified[row * output + column], y.max(0.0));
                }
            }
        }
    }
}

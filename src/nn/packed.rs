//! Weights packed for inference: plain numbers, transposed once.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Result, Tensor, bail};
use candle_nn::{VarBuilder, VarMap};
use pulp::{Arch, Simd, WithSimd};

use super::simd::store;

/// A layer's numbers as they are: for inputs that are mostly zero, whose rows are looked up and added.
#[derive(Debug, Clone)]
pub struct Table {
    /// `[F, H]`.
    weight: Vec<f32>,
    /// `[H]`.
    bias: Vec<f32>,
}

impl Table {
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
        Self { weight, bias }
    }

    /// F.
    #[must_use]
    pub fn input_dim(&self) -> usize {
        self.weight.len().checked_div(self.bias.len()).unwrap_or(0)
    }

    /// H.
    #[must_use]
    pub fn output_dim(&self) -> usize {
        self.bias.len()
    }

    /// `[H]`.
    #[must_use]
    pub fn bias(&self) -> &[f32] {
        &self.bias
    }

    /// The row of the weight that input `index` is multiplied with, `[H]`.
    #[must_use]
    pub fn row(&self, index: usize) -> &[f32] {
        &self.weight[index * self.bias.len()..][..self.bias.len()]
    }
}

/// `y = x W + b` row by row, each the same bits whatever rows stand beside it.
#[derive(Debug, Clone)]
pub struct Affine {
    /// Panels of [`PANEL`] columns, `[F, PANEL]` each, so that a product reads them from end to end. Zeros fill the columns up
    /// to a multiple of [`PADDING`]; the last panel may have but so many.
    weight: Vec<f32>,
    /// `[W]`: H, filled up alike.
    bias: Vec<f32>,
    input: usize,
    output: usize,
}

/// Columns are filled up to a multiple of this: the widest vector that there is.
const PADDING: usize = 16;

/// Two of the widest vectors, which are computed together.
const PANEL: usize = 2 * PADDING;

/// Rows computed together: as many as keep their sums, two vectors each, in registers.
pub(super) const STRIP: usize = 6;

/// Rows that are taken past a panel before the next: few enough for them and the panel to stay in the nearest cache.
const ROWS_AT_ONCE: usize = 4 * STRIP;

/// Calls `$strip` for all of `0..$count`, the most rows at once first.
macro_rules! strips {
    ($count:expr, |$first:ident, $rows:ident| $strip:expr) => {{
        let count = $count;
        let mut $first = 0;
        while $first + super::packed::STRIP <= count {
            const $rows: usize = super::packed::STRIP;
            $strip;
            $first += $rows;
        }
        if $first + 4 <= count {
            const $rows: usize = 4;
            $strip;
            $first += $rows;
        }
        if $first + 2 <= count {
            const $rows: usize = 2;
            $strip;
            $first += $rows;
        }
        if $first < count {
            const $rows: usize = 1;
            $strip;
        }
    }};
}
pub(super) use strips;

/// Calls `$block` with the number of the first of two vectors of columns, or of one where one is left.
macro_rules! columns {
    ($vectors:expr, |$first:ident, $count:ident| $block:expr) => {{
        let vectors = $vectors;
        for $first in (0..vectors - vectors % 2).step_by(2) {
            const $count: usize = 2;
            $block;
        }
        if vectors % 2 == 1 {
            let $first = vectors - 1;
            const $count: usize = 1;
            $block;
        }
    }};
}
pub(super) use columns;

/// `len` columns from column `from` on of the first R rows of `matrix [.., width]`.
#[inline(always)]
pub(super) fn rows<const R: usize>(matrix: &[f32], width: usize, from: usize, len: usize) -> [&[f32]; R] {
    let mut rows: [&[f32]; R] = [&[]; R];
    // As many rounds as there are rows, known beforehand: else the compiler scatters the slices into memory, which takes as
    // long as some of the products do.
    for (index, row) in rows.iter_mut().enumerate() {
        *row = &matrix[index * width + from..][..len];
    }
    rows
}

/// A row from vector `vector` on; nothing where only what fills a weight up is.
#[inline(always)]
pub(super) fn part<S: Simd>(row: &mut [f32], vector: usize) -> &mut [f32] {
    let start = (vector * S::F32_LANES).min(row.len());
    &mut row[start..]
}

impl Affine {
    /// The layer that `nn::layer::Linear` has under `name`.
    ///
    /// # Errors
    /// When `name.weight` or `name.bias` is missing.
    pub fn new(weights: &BTreeMap<String, Tensor>, name: &str) -> Result<Self> {
        Ok(Self::pack(&Table::new(weights, name)?))
    }

    /// The layer of a weight `[H, F]` and a bias `[H]` of these names.
    ///
    /// # Errors
    /// When one of them is missing.
    pub fn of(weights: &BTreeMap<String, Tensor>, weight: &str, bias: &str) -> Result<Self> {
        Ok(Self::pack(&Table::of(weights, weight, bias)?))
    }

    #[must_use]
    pub fn pack(table: &Table) -> Self {
        Self::from_parts(&table.weight, &table.bias)
    }

    /// The layer of a weight `[F, H]`, already transposed, and a bias `[H]`.
    #[must_use]
    pub fn from_parts(weight: &[f32], bias: &[f32]) -> Self {
        let output = bias.len();
        let width = output.next_multiple_of(PADDING);
        let mut panels = Vec::with_capacity(weight.len().checked_div(output).unwrap_or(0) * width);
        for first in (0..width).step_by(PANEL) {
            let columns = first..(first + PANEL).min(output);
            let filled = PANEL.min(width - first);
            for row in weight.chunks_exact(output) {
                panels.extend_from_slice(&row[columns.clone()]);
                panels.resize(panels.len() + filled - columns.len(), 0.0);
            }
        }
        let mut bias = bias.to_vec();
        bias.resize(width, 0.0);
        Self { weight: panels, bias, input: weight.len().checked_div(output).unwrap_or(0), output }
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

    /// The product of R rows `[F]` with C vectors of columns, from vector `first` on, an even number: for kernels that go on
    /// with it in registers.
    #[inline(always)]
    pub(super) fn sums<S: Simd, const R: usize, const C: usize>(
        &self,
        simd: S,
        rows: [&[f32]; R],
        first: usize,
    ) -> [[S::f32s; C]; R] {
        let bias = &S::as_simd_f32s(&self.bias).0[first..first + C];
        let mut sums = [[simd.splat_f32s(0.0); C]; R];
        for sums in &mut sums {
            sums.copy_from_slice(bias);
        }
        let f = self.input;
        let mut rows = rows;
        for row in &mut rows {
            *row = &row[..f];
        }
        let in_panel = PANEL / S::F32_LANES;
        let (panel, at) = (first / in_panel * in_panel, first % in_panel);
        let width = in_panel.min(self.vectors::<S>() - panel);
        let weight = &S::as_simd_f32s(&self.weight).0[panel * f..(panel + width) * f];
        for (k, weight) in weight.chunks_exact(width).enumerate().take(f) {
            let weight = &weight[at..at + C];
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
        for (x, y) in x.chunks(ROWS_AT_ONCE * f).zip(y.chunks_mut(ROWS_AT_ONCE * h)) {
            let count = y.len() / h;
            columns!(layer.vectors::<S>(), |column, C| {
                strips!(count, |first, R| {
                    let y = &mut y[first * h..(first + R) * h];
                    strip::<S, R, C>(simd, layer, &x[first * f..], floor, y, column);
                });
            });
        }
    }
}

/// R rows of C vectors of columns, from vector `column` on.
#[inline(always)]
fn strip<S: Simd, const R: usize, const C: usize>(
    simd: S,
    layer: &Affine,
    x: &[f32],
    floor: f32,
    y: &mut [f32],
    column: usize,
) {
    let sums = layer.sums::<S, R, C>(simd, rows(x, layer.input, 0, layer.input), column);
    for (row, sums) in sums.into_iter().enumerate() {
        let y = &mut y[row * layer.output..][..layer.output];
        for (vector, sum) in sums.into_iter().enumerate() {
            store(simd, part::<S>(y, column + vector), simd.max_f32s(simd.splat_f32s(floor), sum));
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

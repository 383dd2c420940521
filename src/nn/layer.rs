//! Dense layers whose gradients are right and not slow.

use candle_core::{CpuStorage, CustomOp1, D, DType, Layout, Result, Shape, Tensor};
use candle_nn::{Init, VarBuilder};

use super::dense::Dense;
use super::dispatch::is_fused;
use super::real::{Real, contiguous, with_numbers};
use super::simd::vectorised;

/// `y = x Wᵀ + b`, with `x [N, F]`, `W [H, F]`, `b [1, H]`, `y [N, H]`.
///
/// One operation on the CPU ([`super::dense`]). Elsewhere the bias is added as a product with a column of ones: its gradient
/// is then a matrix product, where that of a broadcast sum is a strided reduction.
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    /// # Errors
    /// When the parameters aren't there or have other shapes.
    pub fn new(input_dim: usize, output_dim: usize, vb: &VarBuilder) -> Result<Self> {
        Ok(Self {
            weight: vb.get_with_hints((output_dim, input_dim), "weight", Init::Const(0.0))?,
            bias: vb.get_with_hints(output_dim, "bias", Init::Const(0.0))?,
        })
    }

    /// W and b.
    pub(super) fn parameters(&self) -> [&Tensor; 2] {
        [&self.weight, &self.bias]
    }

    /// # Errors
    /// When the shapes don't fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        affine(x, &self.weight, &self.bias, false)
    }

    /// [`Linear::forward`], and what is negative set to zero.
    ///
    /// # Errors
    /// When the shapes don't fit.
    pub fn rectified(&self, x: &Tensor) -> Result<Tensor> {
        affine(x, &self.weight, &self.bias, true)
    }
}

/// `x Wᵀ + b` as [`Linear`] computes it, and what is negative set to zero where `rectified`.
pub(crate) fn affine(x: &Tensor, weight: &Tensor, bias: &Tensor, rectified: bool) -> Result<Tensor> {
    let (n, _) = x.dims2()?;
    if is_fused(x) && n > 0 {
        return x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, Dense { rectified });
    }
    let y = (x.matmul(&weight.t()?)? + repeat_row(bias, n)?)?;
    if rectified { rectify(&y) } else { Ok(y) }
}

/// What is negative set to zero, with no gradient at zero, as the fused operations have it: candle's own has one there, and a
/// row whose inputs are all zero stands just there.
pub(super) fn rectify(x: &Tensor) -> Result<Tensor> {
    if x.track_op() { x * x.gt(0.0)?.to_dtype(x.dtype())? } else { x.relu() }
}

/// All numbers of several tensors, for operations of more parameters than candle lets an operation have.
pub(super) fn one_after_another(tensors: &[&Tensor]) -> Result<Tensor> {
    let flat = tensors.iter().map(|tensor| tensor.flatten_all()).collect::<Result<Vec<_>>>()?;
    Tensor::cat(&flat, 0)
}

/// `[N, H]` of one row `[H]`.
pub(crate) fn repeat_row(row: &Tensor, n: usize) -> Result<Tensor> {
    Tensor::ones((n, 1), row.dtype(), row.device())?.matmul(&row.unsqueeze(0)?)
}

/// Layer normalisation without an affine part (Ba et al. 2016, eq. 3): each row of `x [N, H]` to mean 0 and variance 1.
///
/// A row's result depends on that row alone. candle's own `LayerNorm` gives no gradient on contiguous input.
///
/// # Errors
/// When candle fails.
pub fn normalise_rows(x: &Tensor) -> Result<Tensor> {
    if is_fused(x) {
        return x.contiguous()?.apply_op1(NormaliseRows);
    }
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?; // [N, 1]
    centred.broadcast_div(&(variance + NORMALISE_EPSILON)?.sqrt()?)
}

struct NormaliseRows;

impl NormaliseRows {
    fn forward<T: Real>(x: &[T], width: usize) -> Vec<T> {
        let mut y = x.to_vec();
        normalise(&mut y, width);
        y
    }

    /// Turns the gradient of y into that of x.
    fn gradient<T: Real>(x: &[T], y: &[T], gradient: &mut [T], width: usize) {
        vectorised(
            #[inline(always)]
            || {
                let share = T::from_f64(1.0 / width as f64);
                let rows = x.chunks_exact(width.max(1)).zip(y.chunks_exact(width.max(1)));
                for (gradient, (x, y)) in gradient.chunks_exact_mut(width.max(1)).zip(rows) {
                    let mean = sum(x, x, |x, _| x) * share;
                    let factor = normalising_factor(sum(x, x, |x, _| (x - mean) * (x - mean)) * share);
                    normalise_row_gradient(y, factor, gradient);
                }
            },
        );
    }
}

/// Turns the gradient of a normalised row y into that of the row before, which was multiplied by `factor`:
/// `factor (g - mean(g) - y mean(g ⊙ y))`.
#[inline(always)]
pub(super) fn normalise_row_gradient<T: Real>(y: &[T], factor: T, gradient: &mut [T]) {
    let share = T::from_f64(1.0 / y.len() as f64);
    let level = sum(gradient, gradient, |g, _| g) * share;
    let along = sum(gradient, y, |g, y| g * y) * share;
    gradient.iter_mut().zip(y).for_each(|(g, &y)| *g = factor * (*g - level - y * along));
}

/// [`normalise_rows`] of numbers, in place: `rows [N, width]`.
pub(crate) fn normalise<T: Real>(rows: &mut [T], width: usize) {
    vectorised(
        #[inline(always)]
        || {
            for row in rows.chunks_exact_mut(width.max(1)) {
                normalise_row(row);
            }
        },
    );
}

/// [`normalise_rows`] of one row; gives the mean that was taken from it and the factor that it was multiplied by.
#[inline(always)]
pub(super) fn normalise_row<T: Real>(row: &mut [T]) -> [T; 2] {
    let share = T::from_f64(1.0 / row.len() as f64);
    let mean = sum(row, row, |x, _| x) * share;
    row.iter_mut().for_each(|x| *x -= mean);
    let factor = normalising_factor(sum(row, row, |x, _| x * x) * share);
    row.iter_mut().for_each(|x| *x *= factor);
    [mean, factor]
}

#[inline(always)]
fn normalising_factor<T: Real>(variance: T) -> T {
    T::ONE / (variance + T::from_f64(NORMALISE_EPSILON)).sqrt()
}

/// A sum over two rows in strands, which vectors hold: one strand would wait for each addition.
#[inline(always)]
fn sum<T: Real>(a: &[T], b: &[T], of: impl Fn(T, T) -> T) -> T {
    const STRANDS: usize = 8;
    let mut strands = [T::default(); STRANDS];
    let ((whole_a, rest_a), (whole_b, rest_b)) = (a.as_chunks::<STRANDS>(), b.as_chunks::<STRANDS>());
    for (a, b) in whole_a.iter().zip(whole_b) {
        for (sum, (&a, &b)) in strands.iter_mut().zip(a.iter().zip(b)) {
            *sum += of(a, b);
        }
    }
    let mut sum = T::default();
    strands.into_iter().for_each(|strand| sum += strand);
    rest_a.iter().zip(rest_b).for_each(|(&a, &b)| sum += of(a, b));
    sum
}

impl CustomOp1 for NormaliseRows {
    fn name(&self) -> &'static str {
        "normalise-rows"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, width) = layout.shape().dims2()?;
        let y = match storage {
            CpuStorage::F64(_) => f64::into_storage(Self::forward(contiguous::<f64>(storage, layout)?, width)),
            _ => f32::into_storage(Self::forward(contiguous::<f32>(storage, layout)?, width)),
        };
        Ok((y, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        fn of<T: Real>(x: &Tensor, y: &Tensor, gradient: &Tensor) -> Result<Tensor> {
            let (_, width) = x.dims2()?;
            let mut values = with_numbers(gradient, |gradient: &[T]| gradient.to_vec())?;
            with_numbers(x, |x| with_numbers(y, |y| NormaliseRows::gradient(x, y, &mut values, width)))??;
            Tensor::from_vec(values, x.shape(), x.device())
        }
        match gradient.dtype() {
            DType::F64 => of::<f64>(x, y, gradient).map(Some),
            _ => of::<f32>(x, y, gradient).map(Some),
        }
    }
}

/// Added to the variance before its root, in [`normalise_rows`] and wherever it is computed otherwise.
pub const NORMALISE_EPSILON: f64 = 1e-5;

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor, Var};

    use super::{affine, normalise_rows};
    use crate::nn::dispatch::composed;

    fn numbers(tensor: &Tensor) -> Vec<f64> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    fn variable(shape: (usize, usize), seed: usize) -> Var {
        let values: Vec<f64> =
            (0..shape.0 * shape.1).map(|i| ((i * 37 + seed * 11) % 101) as f64 / 50.0 - 1.0).collect();
        Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap()).unwrap()
    }

    /// Values, and gradients of a number that depends on every value in a way of its own.
    fn assert_same(own: &Tensor, composed: &Tensor, variables: &[&Var]) {
        let close = |own: &Tensor, composed: &Tensor| {
            numbers(own).iter().zip(numbers(composed)).all(|(own, composed)| (own - composed).abs() < 1e-10)
        };
        assert!(close(own, composed), "{:?}, not {:?}", numbers(own), numbers(composed));
        let weights = variable(own.dims2().unwrap(), 5);
        let loss = |y: &Tensor| (y.sqr().unwrap() * weights.as_tensor()).unwrap().sum_all().unwrap();
        let (own, composed) = (loss(own).backward().unwrap(), loss(composed).backward().unwrap());
        for variable in variables {
            assert!(close(own.get(variable).unwrap(), composed.get(variable).unwrap()));
        }
    }

    #[test]
    fn a_dense_layer_is_its_composition() {
        for (n, f, h) in [(1, 1, 1), (5, 3, 4), (7, 19, 10)] {
            let (x, weight, bias) = (variable((n, f), 1), variable((h, f), 2), variable((1, h), 3));
            let bias = bias.flatten_all().unwrap();
            let bias = Var::from_tensor(&bias).unwrap();
            for rectified in [false, true] {
                let y = || affine(&x, &weight, &bias, rectified).unwrap();
                assert_same(&y(), &composed(y), &[&x, &weight, &bias]);
            }
        }
        let (x, weight) = (variable((2, 3), 1), variable((4, 2), 2));
        assert!(affine(&x, &weight, &Tensor::zeros(4, candle_core::DType::F64, &Device::Cpu).unwrap(), false).is_err());
    }

    #[test]
    fn normalised_rows_are_their_composition() {
        for width in [1, 5, 8, 21] {
            let x = variable((4, width), width);
            let y = || normalise_rows(&x).unwrap();
            assert_same(&y(), &composed(y), &[&x]);
        }
    }
}

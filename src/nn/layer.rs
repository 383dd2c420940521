//! Dense layers whose gradients are right and not slow.

use candle_core::{D, Result, Tensor};
use candle_nn::{Init, VarBuilder};

/// `y = x Wᵀ + b`, with `x [N, F]`, `W [H, F]`, `b [1, H]`, `y [N, H]`.
///
/// The bias is added as a product with a column of ones: its gradient is then a matrix product, where that of a
/// broadcast sum is a strided reduction, sixty times slower in candle 0.11.
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

    /// # Errors
    /// When the shapes don't fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        affine(x, &self.weight, &self.bias)
    }
}

/// `x Wᵀ + b` as [`Linear`] computes it.
pub(crate) fn affine(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let (n, _) = x.dims2()?;
    x.matmul(&weight.t()?)? + repeat_row(bias, n)?
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
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?; // [N, 1]
    centred.broadcast_div(&(variance + NORMALISE_EPSILON)?.sqrt()?)
}

/// Added to the variance before its root, in [`normalise_rows`] and wherever it is computed otherwise.
pub const NORMALISE_EPSILON: f64 = 1e-5;

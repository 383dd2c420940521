//! Gated recurrent units over packed sequences.

mod kernel;
mod packed;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp3, DType, Layout, Result, Shape, Tensor, bail};
use candle_nn::ops::sigmoid;
use candle_nn::{Init, VarBuilder};

use kernel::Inputs;
pub use packed::PackedGru;

use super::dispatch::is_fused;
use super::layer::affine;
use super::matmul::View;
use super::real::{Real, contiguous};

/// Sequences packed step by step, the longest first: the rows of step 0, then those of step 1, and so on.
///
/// Step t has a row for each sequence longer than t, so the sizes never grow, and a step's rows are the first of the step
/// before, gone on by one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Steps {
    sizes: Vec<usize>,
}

impl Steps {
    /// The steps of sequences of these lengths, which never grow.
    #[must_use]
    pub fn of_lengths(lengths: &[usize]) -> Self {
        debug_assert!(lengths.is_sorted_by(|a, b| a >= b), "the longest first");
        let longest = lengths.first().copied().unwrap_or(0);
        let mut alive = lengths.len();
        let sizes = (0..longest)
            .map(|step| {
                while alive > 0 && lengths[alive - 1] <= step {
                    alive -= 1;
                }
                alive
            })
            .collect();
        Self { sizes }
    }

    /// One step of `rows` sequences: a cell by itself.
    #[must_use]
    pub fn one(rows: usize) -> Self {
        Self { sizes: vec![rows] }
    }

    /// The rows of each step.
    #[must_use]
    pub fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// S: the rows of all steps.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.sizes.iter().sum()
    }
}

/// One layer of gated recurrent units (Cho et al. 2014; the gates as PyTorch has them, in the order reset, update, new):
///
/// ```text
/// r = σ(W_ir x + b_ir + W_hr h + b_hr)
/// z = σ(W_iz x + b_iz + W_hz h + b_hz)
/// n = tanh(W_in x + b_in + r ⊙ (W_hn h + b_hn))
/// h' = (1 - z) ⊙ n + z ⊙ h
/// ```
#[derive(Debug, Clone)]
pub struct Gru {
    /// `[3 H, F]`.
    weight_ih: Tensor,
    /// `[3 H, H]`.
    weight_hh: Tensor,
    /// `[3 H]`.
    bias_ih: Tensor,
    bias_hh: Tensor,
}

impl Gru {
    /// # Errors
    /// When the parameters `weight_ih`, `weight_hh`, `bias_ih`, `bias_hh` aren't there or have other shapes.
    pub fn new(input_dim: usize, hidden_dim: usize, vb: &VarBuilder) -> Result<Self> {
        let zero = Init::Const(0.0);
        Ok(Self {
            weight_ih: vb.get_with_hints((3 * hidden_dim, input_dim), "weight_ih", zero)?,
            weight_hh: vb.get_with_hints((3 * hidden_dim, hidden_dim), "weight_hh", zero)?,
            bias_ih: vb.get_with_hints(3 * hidden_dim, "bias_ih", zero)?,
            bias_hh: vb.get_with_hints(3 * hidden_dim, "bias_hh", zero)?,
        })
    }

    /// The input's part of the gates, `W_i x + b_i`: `x [S, F]` to `[S, 3 H]`.
    ///
    /// # Errors
    /// When the shapes don't fit.
    pub fn project(&self, x: &Tensor) -> Result<Tensor> {
        affine(x, &self.weight_ih, &self.bias_ih, false)
    }

    /// The states `[S, H]` after each row of `projected [S, 3 H]` ([`Gru::project`]), from `start [B, H]`, a row a sequence.
    ///
    /// # Errors
    /// When the shapes don't fit.
    pub fn forward(&self, projected: &Tensor, start: &Tensor, steps: &Arc<Steps>) -> Result<Tensor> {
        let (_, h) = self.weight_hh.dims2()?;
        let rows = steps.rows();
        let sequences = steps.sizes().first().copied().unwrap_or(0);
        if projected.dims() != [rows, 3 * h] || start.dims() != [sequences, h] {
            bail!("gru: {:?} and {:?} for {rows} rows of {sequences} sequences", projected.dims(), start.dims());
        }
        if is_fused(projected) && rows > 0 {
            let recurrent = Tensor::cat(&[&self.weight_hh, &self.bias_hh.unsqueeze(1)?], 1)?; // [3 H, H + 1]
            return projected.contiguous()?.apply_op3(&recurrent, &start.contiguous()?, Recurrence(Arc::clone(steps)));
        }
        self.composed(projected, start, steps)
    }

    /// The same from candle's own operations.
    fn composed(&self, projected: &Tensor, start: &Tensor, steps: &Steps) -> Result<Tensor> {
        let (_, h) = self.weight_hh.dims2()?;
        let mut states: Vec<Tensor> = Vec::with_capacity(steps.sizes().len());
        let mut first = 0;
        for &rows in steps.sizes() {
            let previous = states.last().unwrap_or(start).narrow(0, 0, rows)?;
            let x = projected.narrow(0, first, rows)?;
            let a = affine(&previous, &self.weight_hh, &self.bias_hh, false)?; // [rows, 3 H]
            let gate = |of: &Tensor, index: usize| of.narrow(1, index * h, h);
            let r = sigmoid(&(gate(&x, 0)? + gate(&a, 0)?)?)?;
            let z = sigmoid(&(gate(&x, 1)? + gate(&a, 1)?)?)?;
            let n = (gate(&x, 2)? + (r * gate(&a, 2)?)?)?.tanh()?;
            states.push((&n + (z * (previous - &n)?)?)?);
            first += rows;
        }
        if states.is_empty() { start.narrow(0, 0, 0) } else { Tensor::cat(&states, 0) }
    }
}

/// The recurrence as one operation on the CPU: of `projected [S, 3 H]`, of weight and bias together `[3 H, H + 1]`, and of
/// the start `[B, H]`. Composed of candle's operations its backward would copy all of `projected` for every step.
struct Recurrence(Arc<Steps>);

impl Recurrence {
    fn states<T: Real>(&self, arguments: [(&CpuStorage, &Layout); 3]) -> Result<(CpuStorage, Shape)> {
        let [projected, recurrent, start] = arguments.map(|(storage, layout)| contiguous::<T>(storage, layout));
        let (projected, recurrent, start) = (projected?, recurrent?, start?);
        let (_, width) = arguments[1].1.shape().dims2()?;
        let h = width - 1;
        let bias = bias(recurrent, h);
        let states =
            kernel::forward(&Inputs { projected, weight: weight(recurrent, h), bias: &bias, start, steps: &self.0, h });
        Ok((T::into_storage(states), Shape::from((self.0.rows(), h))))
    }

    fn gradients<T: Real>(&self, arguments: [&Tensor; 3], states: &Tensor, gradient: &Tensor) -> Result<[Tensor; 3]> {
        let [projected, recurrent, start] = arguments;
        let values = |tensor: &Tensor| tensor.flatten_all()?.to_vec1::<T>();
        let (_, h) = start.dims2()?;
        let packed = values(recurrent)?;
        let inputs = Inputs {
            projected: &values(projected)?,
            weight: weight(&packed, h),
            bias: &bias(&packed, h),
            start: &values(start)?,
            steps: &self.0,
            h,
        };
        let gradients = kernel::backward(&inputs, &values(states)?, &values(gradient)?);
        let tensor = |values: Vec<T>, like: &Tensor| Tensor::from_vec(values, like.shape(), like.device());
        Ok([
            tensor(gradients.projected, projected)?,
            tensor(gradients.recurrent, recurrent)?,
            tensor(gradients.start, start)?,
        ])
    }
}

/// The weight in weight and bias together.
fn weight<T>(recurrent: &[T], h: usize) -> View<'_, T> {
    View::strided(recurrent, 3 * h, h, h + 1)
}

/// The bias in weight and bias together.
fn bias<T: Real>(recurrent: &[T], h: usize) -> Vec<T> {
    recurrent.chunks_exact(h + 1).map(|row| row[h]).collect()
}

impl CustomOp3 for Recurrence {
    fn name(&self) -> &'static str {
        "gru"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let arguments = [(s1, l1), (s2, l2), (s3, l3)];
        match s1 {
            CpuStorage::F64(_) => self.states::<f64>(arguments),
            _ => self.states::<f32>(arguments),
        }
    }

    fn bwd(
        &self,
        projected: &Tensor,
        recurrent: &Tensor,
        start: &Tensor,
        states: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let arguments = [projected, recurrent, start];
        let [projected, recurrent, start] = match gradient.dtype() {
            DType::F64 => self.gradients::<f64>(arguments, states, gradient)?,
            _ => self.gradients::<f32>(arguments, states, gradient)?,
        };
        Ok((Some(projected), Some(recurrent), Some(start)))
    }
}

//! A GIN convolution as one operation on the CPU, there and back, on slices of either precision.
//!
//! Nodes are taken in blocks: what a block needs in between stays in the cache.

use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

use crate::nn::edges::row;
use crate::nn::layer::{normalise_row, normalise_row_gradient};
use crate::nn::matmul::{View, Write, multiply};
use crate::nn::message_passing::Adjacency;
use crate::nn::real::{Real, contiguous, with_numbers};
use crate::nn::simd::vectorised;

/// Nodes of a block.
const BLOCK: usize = 256;

/// `normalise(relu(W₂ relu(W₁ x_u + b₁) + b₂))` with `x_u = h_u + Σ_v h_v`, of `h [N, H]` and of W₁, b₁, W₂, b₂ one after
/// another.
pub(super) struct GinUpdate<T> {
    adjacency: Arc<Adjacency>,
    kept: OnceLock<Vec<Kept<T>>>,
}

/// What the way back needs of the way there, of a block of nodes.
struct Kept<T> {
    /// x, `[.., H]`.
    aggregate: Vec<T>,
    /// `[.., H]`, rectified.
    hidden: Vec<T>,
    scales: Vec<Scale<T>>,
}

/// How a row was normalised.
#[derive(Clone, Copy)]
struct Scale<T> {
    /// What it was multiplied by.
    factor: T,
    /// What became of zero: only what is above was let through by the rectifier.
    level: T,
}

/// The parameters.
struct Network<'a, T> {
    /// H.
    width: usize,
    /// `[H, H]`, `[H]`.
    first: (&'a [T], &'a [T]),
    second: (&'a [T], &'a [T]),
}

impl<'a, T: Real> Network<'a, T> {
    fn new(flat: &'a [T], width: usize) -> Result<Self> {
        if flat.len() != 2 * (width + 1) * width {
            bail!("gin-update: {} parameters for width {width}", flat.len());
        }
        let (first, second) = flat.split_at((width + 1) * width);
        Ok(Self { width, first: first.split_at(width * width), second: second.split_at(width * width) })
    }

    /// `y [.., H]` of a block's `aggregate`.
    fn forward(&self, aggregate: Vec<T>, y: &mut [T]) -> Kept<T> {
        let (width, rows) = (self.width, aggregate.len() / self.width);
        let product = |x: &[T], weight: &[T], y: &mut [T]| {
            multiply(View::new(x, rows, width), View::new(weight, width, width).transposed(), y, Write::Replace);
        };
        let mut hidden = vec![T::default(); aggregate.len()];
        product(&aggregate, self.first.0, &mut hidden);
        vectorised(
            #[inline(always)]
            || hidden.chunks_exact_mut(width).for_each(|row| add_and_rectify(row, self.first.1)),
        );
        product(&hidden, self.second.0, y);
        let mut scales = Vec::with_capacity(rows);
        vectorised(
            #[inline(always)]
            || {
                for row in y.chunks_exact_mut(width) {
                    add_and_rectify(row, self.second.1);
                    let [mean, factor] = normalise_row(row);
                    scales.push(Scale { factor, level: -mean * factor });
                }
            },
        );
        Kept { aggregate, hidden, scales }
    }

    /// Adds the gradients of the parameters to `of_flat`, from that of a block's `y`; that of its aggregate goes to
    /// `of_aggregate`.
    fn backward(&self, kept: &Kept<T>, [y, gradient]: [&[T]; 2], of_aggregate: &mut [T], of_flat: &mut [T]) {
        let (width, rows) = (self.width, kept.scales.len());
        let (of_first, of_second) = of_flat.split_at_mut((width + 1) * width);
        let (of_first, of_first_bias) = of_first.split_at_mut(width * width);
        let (of_second, of_second_bias) = of_second.split_at_mut(width * width);
        let mut of_update = gradient.to_vec();
        vectorised(
            #[inline(always)]
            || {
                let of_rows = of_update.chunks_exact_mut(width).zip(y.chunks_exact(width));
                for ((gradient, y), &Scale { factor, level }) in of_rows.zip(&kept.scales) {
                    normalise_row_gradient(y, factor, gradient);
                    pass_and_sum(gradient, y, level, of_second_bias);
                }
            },
        );
        let by_row = View::new(&of_update, rows, width);
        multiply(by_row.transposed(), View::new(&kept.hidden, rows, width), of_second, Write::Add);
        let mut of_hidden = vec![T::default(); gradient.len()];
        multiply(by_row, View::new(self.second.0, width, width), &mut of_hidden, Write::Replace);
        vectorised(
            #[inline(always)]
            || {
                for (gradient, hidden) in of_hidden.chunks_exact_mut(width).zip(kept.hidden.chunks_exact(width)) {
                    pass_and_sum(gradient, hidden, T::default(), of_first_bias);
                }
            },
        );
        let by_row = View::new(&of_hidden, rows, width);
        multiply(by_row.transposed(), View::new(&kept.aggregate, rows, width), of_first, Write::Add);
        multiply(by_row, View::new(self.first.0, width, width), of_aggregate, Write::Replace);
    }
}

/// `relu(y + b)`; NaN stays.
#[inline(always)]
fn add_and_rectify<T: Real>(row: &mut [T], bias: &[T]) {
    for (y, &bias) in row.iter_mut().zip(bias) {
        let sum = *y + bias;
        *y = if sum < T::default() { T::default() } else { sum };
    }
}

/// The gradient where `y` is above what the rectifier made of its negatives, zero elsewhere; adds it to `sums`.
#[inline(always)]
fn pass_and_sum<T: Real>(gradient: &mut [T], y: &[T], level: T, sums: &mut [T]) {
    for ((g, &y), sum) in gradient.iter_mut().zip(y).zip(sums) {
        *g = if y <= level { T::default() } else { *g };
        *sum += *g;
    }
}

impl<T: Real> GinUpdate<T> {
    pub(super) fn new(adjacency: &Arc<Adjacency>) -> Self {
        Self { adjacency: Arc::clone(adjacency), kept: OnceLock::new() }
    }

    /// `[N, H]`.
    fn forward(&self, h: &[T], network: &Network<'_, T>) -> Vec<T> {
        let mut result = vec![T::default(); h.len()];
        let blocks = result.chunks_mut(BLOCK * network.width).enumerate();
        let kept = blocks.map(|(block, y)| {
            let mut aggregate = vec![T::default(); y.len()];
            self.aggregate(h, block, &mut aggregate, network.width);
            network.forward(aggregate, y)
        });
        // Computed anew for the same arguments it would be the same.
        let _ = self.kept.set(kept.collect());
        result
    }

    /// The gradients of `h` and of the parameters, from that of the result.
    fn backward(&self, network: &Network<'_, T>, result: &[T], gradient: &[T]) -> Result<[Vec<T>; 2]> {
        let Some(kept) = self.kept.get() else { bail!("gin-update: back before there") };
        let numbers = BLOCK * network.width;
        let mut of_aggregates = vec![T::default(); result.len()];
        let mut of_flat = vec![T::default(); 2 * (network.width + 1) * network.width];
        let blocks = kept.iter().zip(of_aggregates.chunks_mut(numbers));
        for ((kept, of_aggregate), (y, gradient)) in blocks.zip(result.chunks(numbers).zip(gradient.chunks(numbers))) {
            network.backward(kept, [y, gradient], of_aggregate, &mut of_flat);
        }
        // An edge takes as much back as it brought there.
        let mut of_h = vec![T::default(); result.len()];
        for (block, of_h) in of_h.chunks_mut(numbers).enumerate() {
            self.aggregate(&of_aggregates, block, of_h, network.width);
        }
        Ok([of_h, of_flat])
    }

    /// `y_u = x_u + Σ_v x_v` of a block's nodes.
    fn aggregate(&self, x: &[T], block: usize, y: &mut [T], width: usize) {
        let Adjacency { offsets, neighbours } = &*self.adjacency;
        let first = block * BLOCK;
        vectorised(
            #[inline(always)]
            || {
                let own = x[first * width..].chunks_exact(width);
                for ((y, own), range) in y.chunks_exact_mut(width).zip(own).zip(offsets[first..].windows(2)) {
                    y.copy_from_slice(own);
                    for &v in &neighbours[range[0] as usize..range[1] as usize] {
                        y.iter_mut().zip(row(x, v, width)).for_each(|(y, &x)| *y += x);
                    }
                }
            },
        );
    }
}

impl<T: Real> CustomOp2 for GinUpdate<T> {
    fn name(&self) -> &'static str {
        "gin-update"
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, width) = l1.shape().dims2()?;
        let network = Network::new(contiguous(s2, l2)?, width)?;
        Ok((T::into_storage(self.forward(contiguous(s1, l1)?, &network)), l1.shape().clone()))
    }

    fn bwd(
        &self,
        h: &Tensor,
        flat: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (_, width) = h.dims2()?;
        let gradients = with_numbers(gradient, |gradient: &[T]| {
            with_numbers(result, |result: &[T]| {
                with_numbers(flat, |flat: &[T]| self.backward(&Network::new(flat, width)?, result, gradient))
            })
        })???;
        let [of_h, of_flat] = gradients?;
        let tensor = |values: Vec<T>, like: &Tensor| Tensor::from_vec(values, like.shape(), like.device()).map(Some);
        Ok((tensor(of_h, h)?, tensor(of_flat, flat)?))
    }
}

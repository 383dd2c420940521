//! A dense layer as one operation on the CPU: product, bias and rectifier, and all three gradients.
//!
//! Composed of candle's operations it would make a tensor for each, and the bias would cost a product of its own.

use candle_core::{CpuStorage, CustomOp3, DType, Layout, Result, Shape, Tensor, bail};

use super::matmul::{View, Write, column_sums, multiply};
use super::real::{Real, contiguous, with_numbers};
use super::simd::vectorised;

/// `x Wᵀ + b`, and what is negative set to zero where `rectified`: of `x [N, F]`, `W [H, F]`, `b [H]`.
pub(super) struct Dense {
    pub(super) rectified: bool,
}

impl Dense {
    fn forward<T: Real>(&self, arguments: [(&CpuStorage, &Layout); 3]) -> Result<(CpuStorage, Shape)> {
        let (n, f) = arguments[0].1.shape().dims2()?;
        let (h, inner) = arguments[1].1.shape().dims2()?;
        let [x, weight, bias] = arguments.map(|(storage, layout)| contiguous::<T>(storage, layout));
        let (x, weight, bias) = (x?, weight?, bias?);
        if inner != f || bias.len() != h {
            bail!("dense: [{n}, {f}] by [{h}, {inner}] and [{}]", bias.len());
        }
        let mut y = bias.repeat(n);
        multiply(View::new(x, n, f), View::new(weight, h, f).transposed(), &mut y, Write::Add);
        if self.rectified {
            vectorised(
                #[inline(always)]
                || y.iter_mut().for_each(|y| *y = if *y > T::default() { *y } else { T::default() }),
            );
        }
        Ok((T::into_storage(y), Shape::from((n, h))))
    }

    /// The gradients of x, unless nobody asks for it, of W and of b.
    fn backward<T: Real>(&self, [x, weight, bias]: [&Tensor; 3], y: &Tensor, dy: &Tensor) -> Result<Gradients> {
        let ((n, f), (h, _)) = (x.dims2()?, weight.dims2()?);
        let mut gradient = with_numbers(dy, <[T]>::to_vec)?;
        if self.rectified {
            with_numbers(y, |y: &[T]| {
                vectorised(
                    #[inline(always)]
                    || {
                        for (gradient, &y) in gradient.iter_mut().zip(y) {
                            *gradient = if y > T::default() { *gradient } else { T::default() };
                        }
                    },
                );
            })?;
        }
        let of_rows = View::new(&gradient, n, h);
        let of_x = if x.track_op() {
            let mut to = vec![T::default(); n * f];
            with_numbers(weight, |weight: &[T]| multiply(of_rows, View::new(weight, h, f), &mut to, Write::Replace))?;
            Some(Tensor::from_vec(to, x.shape(), x.device())?)
        } else {
            None
        };
        let mut of_weight = vec![T::default(); h * f];
        with_numbers(x, |x: &[T]| multiply(of_rows.transposed(), View::new(x, n, f), &mut of_weight, Write::Replace))?;
        let of_bias = column_sums(&gradient, h);
        let tensor = |values: Vec<T>, like: &Tensor| Tensor::from_vec(values, like.shape(), like.device()).map(Some);
        Ok((of_x, tensor(of_weight, weight)?, tensor(of_bias, bias)?))
    }
}

type Gradients = (Option<Tensor>, Option<Tensor>, Option<Tensor>);

impl CustomOp3 for Dense {
    fn name(&self) -> &'static str {
        "dense"
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
            CpuStorage::F64(_) => self.forward::<f64>(arguments),
            _ => self.forward::<f32>(arguments),
        }
    }

    fn bwd(&self, x: &Tensor, weight: &Tensor, bias: &Tensor, y: &Tensor, gradient: &Tensor) -> Result<Gradients> {
        match gradient.dtype() {
            DType::F64 => self.backward::<f64>([x, weight, bias], y, gradient),
            _ => self.backward::<f32>([x, weight, bias], y, gradient),
        }
    }
}

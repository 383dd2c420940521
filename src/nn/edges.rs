//! From nodes to edges and back: gathers and sums over lists of directed edges.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, CustomOp2, DType, Layout, Result, Shape, Tensor, bail};
use candle_nn::ops::sigmoid;

use super::dispatch::is_fused;
use super::layer::rectify;
use super::real::{Real, contiguous, with_numbers};
use super::rows::{add_up, pick};
use super::simd::vectorised;

/// For each of E edges the row of its source and of its destination.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EdgeList {
    pub sources: Vec<u32>,
    pub destinations: Vec<u32>,
}

impl EdgeList {
    #[must_use]
    pub fn len(&self) -> usize {
        self.sources.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }
}

/// `y_e = x_source(e) + z_destination(e)`, and what is negative set to zero where `rectified`: `x, z [N, H]` to `[E, H]`.
///
/// # Errors
/// When the shapes differ.
pub fn gather_pairs(x: &Tensor, z: &Tensor, edges: &Arc<EdgeList>, rectified: bool) -> Result<Tensor> {
    if x.dims2()? != z.dims2()? {
        bail!("gather-pairs: {:?} and {:?}", x.dims(), z.dims());
    }
    if is_fused(x) {
        return x.contiguous()?.apply_op2(&z.contiguous()?, GatherPairs { edges: Arc::clone(edges), rectified });
    }
    let pairs = (pick(x, &edges.sources)? + pick(z, &edges.destinations)?)?;
    if rectified { rectify(&pairs) } else { Ok(pairs) }
}

/// `y_i = Σ_{e: rows_e = i} x_e ⊙ σ(a_e)`: `x, a [E, H]` to `[count, H]`.
///
/// # Errors
/// When the shapes differ, or there are not as many rows as names of them.
pub fn gated_sum_into(x: &Tensor, a: &Tensor, rows: &Arc<Vec<u32>>, count: usize) -> Result<Tensor> {
    if x.dims2()? != a.dims2()? || x.dims2()?.0 != rows.len() {
        bail!("gated-sum-into: {:?} and {:?} for {} names", x.dims(), a.dims(), rows.len());
    }
    if is_fused(x) {
        return x.contiguous()?.apply_op2(&a.contiguous()?, GatedSumInto { rows: Arc::clone(rows), count });
    }
    sum_into(&(x * sigmoid(a)?)?, rows, count)
}

/// `y_i = Σ_{e: rows_e = i} x_e`: `x [E, H]` to `[count, H]`.
///
/// # Errors
/// When there are not as many rows as names of them.
pub fn sum_into(x: &Tensor, rows: &Arc<Vec<u32>>, count: usize) -> Result<Tensor> {
    let (edges, _) = x.dims2()?;
    if edges != rows.len() {
        bail!("sum-into: {edges} rows for {} names", rows.len());
    }
    if is_fused(x) {
        return x.contiguous()?.apply_op1(SumInto { rows: Arc::clone(rows), count });
    }
    add_up(x, rows, count)
}

struct GatherPairs {
    edges: Arc<EdgeList>,
    rectified: bool,
}

impl GatherPairs {
    fn gather<T: Real>(&self, x: &[T], z: &[T], width: usize) -> Vec<T> {
        let mut pairs = vec![T::default(); self.edges.len() * width];
        vectorised(
            #[inline(always)]
            || {
                let ends = self.edges.sources.iter().zip(&self.edges.destinations);
                for (pair, (&source, &destination)) in pairs.chunks_exact_mut(width.max(1)).zip(ends) {
                    let (x, z) = (row(x, source, width), row(z, destination, width));
                    pair.iter_mut().zip(x).zip(z).for_each(|((pair, &x), &z)| {
                        let sum = x + z;
                        *pair = if self.rectified && sum < T::default() { T::default() } else { sum };
                    });
                }
            },
        );
        pairs
    }

    /// The gradients `[count, H]` of both ends.
    fn scatter<T: Real>(&self, y: &Tensor, gradient: &Tensor, like: &Tensor) -> Result<[Tensor; 2]> {
        let (count, width) = like.dims2()?;
        let mut ends = [(); 2].map(|()| vec![T::default(); count * width]);
        with_numbers(gradient, |gradient: &[T]| {
            with_numbers(y, |y: &[T]| {
                let [of_sources, of_destinations] = &mut ends;
                vectorised(
                    #[inline(always)]
                    || {
                        let rows = gradient.chunks_exact(width.max(1)).zip(y.chunks_exact(width.max(1)));
                        let edges = self.edges.sources.iter().zip(&self.edges.destinations);
                        for ((gradient, y), (&source, &destination)) in rows.zip(edges) {
                            let x = row_mut(of_sources, source, width).iter_mut();
                            let z = row_mut(of_destinations, destination, width).iter_mut();
                            for (((x, z), &gradient), &y) in x.zip(z).zip(gradient).zip(y) {
                                let passed = if self.rectified && y <= T::default() { T::default() } else { gradient };
                                *x += passed;
                                *z += passed;
                            }
                        }
                    },
                );
            })
        })??;
        let [x, z] = ends.map(|end| Tensor::from_vec(end, (count, width), like.device()));
        Ok([x?, z?])
    }
}

impl CustomOp2 for GatherPairs {
    fn name(&self) -> &'static str {
        "gather-pairs"
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, width) = l1.shape().dims2()?;
        let pairs = match s1 {
            CpuStorage::F64(_) => {
                f64::into_storage(self.gather(contiguous::<f64>(s1, l1)?, contiguous(s2, l2)?, width))
            }
            _ => f32::into_storage(self.gather(contiguous::<f32>(s1, l1)?, contiguous(s2, l2)?, width)),
        };
        Ok((pairs, Shape::from((self.edges.len(), width))))
    }

    fn bwd(&self, x: &Tensor, _z: &Tensor, y: &Tensor, gradient: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [x, z] = match gradient.dtype() {
            DType::F64 => self.scatter::<f64>(y, gradient, x)?,
            _ => self.scatter::<f32>(y, gradient, x)?,
        };
        Ok((Some(x), Some(z)))
    }
}

struct GatedSumInto {
    rows: Arc<Vec<u32>>,
    count: usize,
}

impl GatedSumInto {
    fn sum<T: Real>(&self, x: &[T], a: &[T], width: usize) -> Vec<T> {
        let mut sums = vec![T::default(); self.count * width];
        vectorised(
            #[inline(always)]
            || {
                let messages = x.chunks_exact(width.max(1)).zip(a.chunks_exact(width.max(1)));
                for (&to, (x, a)) in self.rows.iter().zip(messages) {
                    let sum = row_mut(&mut sums, to, width).iter_mut();
                    sum.zip(x).zip(a).for_each(|((sum, &x), &a)| *sum += x * a.sigmoid());
                }
            },
        );
        sums
    }

    fn gradients<T: Real>(&self, [x, a]: [&Tensor; 2], gradient: &Tensor) -> Result<[Tensor; 2]> {
        let (count, width) = x.dims2()?;
        let mut gradients = [(); 2].map(|()| vec![T::default(); count * width]);
        with_numbers(gradient, |gradient: &[T]| {
            with_numbers(x, |x: &[T]| {
                with_numbers(a, |a: &[T]| {
                    let [of_x, of_a] = &mut gradients;
                    vectorised(
                        #[inline(always)]
                        || {
                            let to = of_x.chunks_exact_mut(width.max(1)).zip(of_a.chunks_exact_mut(width.max(1)));
                            let from = x.chunks_exact(width.max(1)).zip(a.chunks_exact(width.max(1)));
                            for ((&named, (of_x, of_a)), (x, a)) in self.rows.iter().zip(to).zip(from) {
                                let gradient = row(gradient, named, width);
                                let (of_x, of_a, x, a) =
                                    (&mut of_x[..width], &mut of_a[..width], &x[..width], &a[..width]);
                                for i in 0..width {
                                    let gate = a[i].sigmoid();
                                    of_x[i] = gradient[i] * gate;
                                    of_a[i] = of_x[i] * x[i] * (T::ONE - gate);
                                }
                            }
                        },
                    );
                })
            })
        })???;
        let [of_x, of_a] = gradients.map(|values| Tensor::from_vec(values, (count, width), x.device()));
        Ok([of_x?, of_a?])
    }
}

impl CustomOp2 for GatedSumInto {
    fn name(&self) -> &'static str {
        "gated-sum-into"
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, width) = l1.shape().dims2()?;
        let sums = match s1 {
            CpuStorage::F64(_) => f64::into_storage(self.sum(contiguous::<f64>(s1, l1)?, contiguous(s2, l2)?, width)),
            _ => f32::into_storage(self.sum(contiguous::<f32>(s1, l1)?, contiguous(s2, l2)?, width)),
        };
        Ok((sums, Shape::from((self.count, width))))
    }

    fn bwd(&self, x: &Tensor, a: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [x, a] = match gradient.dtype() {
            DType::F64 => self.gradients::<f64>([x, a], gradient)?,
            _ => self.gradients::<f32>([x, a], gradient)?,
        };
        Ok((Some(x), Some(a)))
    }
}

struct SumInto {
    rows: Arc<Vec<u32>>,
    count: usize,
}

impl SumInto {
    fn sum<T: Real>(&self, x: &[T], width: usize) -> Vec<T> {
        let mut sums = vec![T::default(); self.count * width];
        for (&to, x) in self.rows.iter().zip(x.chunks_exact(width.max(1))) {
            let sum = &mut sums[to as usize * width..(to as usize + 1) * width];
            sum.iter_mut().zip(x).for_each(|(sum, &x)| *sum += x);
        }
        sums
    }
}

impl CustomOp1 for SumInto {
    fn name(&self) -> &'static str {
        "sum-into"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, width) = layout.shape().dims2()?;
        let sums = match storage {
            CpuStorage::F64(_) => f64::into_storage(self.sum(contiguous::<f64>(storage, layout)?, width)),
            _ => f32::into_storage(self.sum(contiguous::<f32>(storage, layout)?, width)),
        };
        Ok((sums, Shape::from((self.count, width))))
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let index = Tensor::from_slice(&self.rows, self.rows.len(), gradient.device())?;
        gradient.contiguous()?.index_select(&index, 0).map(Some)
    }
}

pub(super) fn row<T>(x: &[T], index: u32, width: usize) -> &[T] {
    &x[index as usize * width..(index as usize + 1) * width]
}

pub(super) fn row_mut<T>(x: &mut [T], index: u32, width: usize) -> &mut [T] {
    &mut x[index as usize * width..(index as usize + 1) * width]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use candle_core::{Device, Tensor, Var};

    use super::{EdgeList, gated_sum_into, gather_pairs, sum_into};
    use crate::nn::dispatch::composed;

    fn edges() -> Arc<EdgeList> {
        Arc::new(EdgeList { sources: vec![0, 2, 2, 1], destinations: vec![1, 0, 1, 1] })
    }

    fn variable(values: &[f64]) -> Var {
        Var::from_tensor(&Tensor::from_slice(values, (values.len() / 2, 2), &Device::Cpu).unwrap()).unwrap()
    }

    /// A number that depends on every element in a way of its own.
    fn mixed(y: &Tensor) -> Tensor {
        let count = y.elem_count();
        let weights: Vec<f64> = (0..count).map(|i| ((i * 7 + 3) % 11) as f64 - 4.5).collect();
        let weights = Tensor::from_vec(weights, y.shape(), &Device::Cpu).unwrap();
        (y.sqr().unwrap() * weights).unwrap().sum_all().unwrap()
    }

    fn numbers(tensor: &Tensor) -> Vec<f64> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    /// Held to candle's own operations, with pairs below and above zero.
    #[test]
    fn values_and_gradients_are_those_of_candles_own_operations() {
        let (x, z) = (variable(&[1.0, 2.0, 3.0, -4.0, 5.0, 6.0]), variable(&[0.1, -0.2, -3.3, -0.4, 0.5, -6.6]));
        let rows = Arc::new(edges().destinations.clone());
        let sums = |rectified| {
            let pairs = gather_pairs(&x, &z, &edges(), rectified).unwrap();
            assert_eq!(numbers(&pairs).iter().any(|&pair| pair < 0.0), !rectified);
            sum_into(&pairs, &rows, 3).unwrap()
        };
        for rectified in [false, true] {
            assert_same(&sums(rectified), &composed(|| sums(rectified)), [&x, &z]);
        }
    }

    #[test]
    fn gates_and_their_gradients_are_those_of_candles_own_operations() {
        let (x, a) = (
            variable(&[1.0, 2.0, 3.0, -4.0, 5.0, 6.0, -1.0, 0.5]),
            variable(&[0.1, -0.2, -3.3, 0.4, 2.5, -6.6, 0.0, 1.0]),
        );
        let sums = || gated_sum_into(&x, &a, &Arc::new(vec![2, 0, 2, 1]), 3).unwrap();
        assert_same(&sums(), &composed(sums), [&x, &a]);
    }

    fn assert_same(own: &Tensor, composed: &Tensor, variables: [&Var; 2]) {
        let close = |own: &Tensor, composed: &Tensor| {
            numbers(own).iter().zip(numbers(composed)).all(|(own, composed)| (own - composed).abs() < 1e-12)
        };
        assert!(close(own, composed), "{:?}, not {:?}", numbers(own), numbers(composed));
        let gradients = [own, composed].map(|y| mixed(y).backward().unwrap());
        for variable in variables {
            let [own, composed] = [0, 1].map(|side| gradients[side].get(variable).unwrap());
            assert!(close(own, composed), "{:?}, not {:?}", numbers(own), numbers(composed));
        }
    }

    #[test]
    fn wrong_shapes_are_an_error() {
        let (x, z) = (variable(&[1.0; 6]), variable(&[1.0; 4]));
        assert!(gather_pairs(&x, &z, &edges(), false).is_err());
        assert!(gated_sum_into(&x, &z, &Arc::new(vec![0, 0]), 1).is_err());
        assert!(sum_into(&x, &Arc::new(vec![0]), 1).is_err());
    }
}

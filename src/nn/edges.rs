//! From nodes to edges and back: gathers and sums over lists of directed edges.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, CustomOp2, DType, Layout, Result, Shape, Tensor, bail};

use super::dispatch::is_fused;
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

    /// Source and destination of each.
    pub(super) fn ends(&self) -> impl Iterator<Item = (u32, u32)> {
        self.sources.iter().copied().zip(self.destinations.iter().copied())
    }
}

/// `y_e = x_source(e) + z_destination(e)`: `x, z [N, H]` to `[E, H]`.
///
/// # Errors
/// When the shapes differ.
pub fn gather_pairs(x: &Tensor, z: &Tensor, edges: &Arc<EdgeList>) -> Result<Tensor> {
    if x.dims2()? != z.dims2()? {
        bail!("gather-pairs: {:?} and {:?}", x.dims(), z.dims());
    }
    if is_fused(x) {
        return x.contiguous()?.apply_op2(&z.contiguous()?, GatherPairs(Arc::clone(edges)));
    }
    pick(x, &edges.sources)? + pick(z, &edges.destinations)?
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

/// `y_e = [x_s + x_d, x_s ⊙ x_d]` for e between s and d: `x [N, H]` to `[E, 2 H]`, the same whichever way e points.
///
/// # Errors
/// When candle fails.
pub fn sums_and_products(x: &Tensor, edges: &Arc<EdgeList>) -> Result<Tensor> {
    if is_fused(x) {
        return x.contiguous()?.apply_op1(SumsAndProducts(Arc::clone(edges)));
    }
    let (s, d) = (pick(x, &edges.sources)?, pick(x, &edges.destinations)?);
    Tensor::cat(&[(&s + &d)?, (s * d)?], 1)
}

struct GatherPairs(Arc<EdgeList>);

impl GatherPairs {
    fn gather<T: Real>(&self, x: &[T], z: &[T], width: usize) -> Vec<T> {
        let mut pairs = vec![T::default(); self.0.len() * width];
        vectorised(
            #[inline(always)]
            || {
                let ends = self.0.sources.iter().zip(&self.0.destinations);
                for (pair, (&source, &destination)) in pairs.chunks_exact_mut(width.max(1)).zip(ends) {
                    let (x, z) = (row(x, source, width), row(z, destination, width));
                    pair.iter_mut().zip(x).zip(z).for_each(|((pair, &x), &z)| *pair = x + z);
                }
            },
        );
        pairs
    }

    /// The gradients `[count, H]` of both ends.
    fn scatter<T: Real>(&self, gradient: &Tensor, like: &Tensor) -> Result<[Tensor; 2]> {
        let (count, width) = like.dims2()?;
        let mut ends = [(); 2].map(|()| vec![T::default(); count * width]);
        with_numbers(gradient, |gradient: &[T]| {
            let [of_sources, of_destinations] = &mut ends;
            vectorised(
                #[inline(always)]
                || {
                    let edges = self.0.sources.iter().zip(&self.0.destinations);
                    for (gradient, (&source, &destination)) in gradient.chunks_exact(width.max(1)).zip(edges) {
                        let x = row_mut(of_sources, source, width).iter_mut();
                        let z = row_mut(of_destinations, destination, width).iter_mut();
                        for ((x, z), &gradient) in x.zip(z).zip(gradient) {
                            *x += gradient;
                            *z += gradient;
                        }
                    }
                },
            );
        })?;
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
        Ok((pairs, Shape::from((self.0.len(), width))))
    }

    fn bwd(&self, x: &Tensor, _z: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [x, z] = match gradient.dtype() {
            DType::F64 => self.scatter::<f64>(gradient, x)?,
            _ => self.scatter::<f32>(gradient, x)?,
        };
        Ok((Some(x), Some(z)))
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

struct SumsAndProducts(Arc<EdgeList>);

impl SumsAndProducts {
    fn forward<T: Real>(&self, x: &[T], width: usize) -> Vec<T> {
        let mut y = Vec::with_capacity(2 * self.0.len() * width);
        for (s, d) in self.0.ends() {
            let ends = || row(x, s, width).iter().zip(row(x, d, width));
            y.extend(ends().map(|(&s, &d)| s + d));
            y.extend(ends().map(|(&s, &d)| s * d));
        }
        y
    }

    fn backward<T: Real>(&self, x: &Tensor, gradient: &Tensor) -> Result<Tensor> {
        let (count, width) = x.dims2()?;
        let mut of_x = vec![T::default(); count * width];
        with_numbers(gradient, |gradient: &[T]| {
            with_numbers(x, |x: &[T]| {
                for ((s, d), gradient) in self.0.ends().zip(gradient.chunks_exact(2 * width.max(1))) {
                    let (of_sum, of_product) = gradient.split_at(width);
                    for (to, other) in [(s, d), (d, s)] {
                        let of_x = row_mut(&mut of_x, to, width).iter_mut().zip(row(x, other, width));
                        for ((of_x, &other), (&of_sum, &of_product)) in of_x.zip(of_sum.iter().zip(of_product)) {
                            *of_x += of_sum + of_product * other;
                        }
                    }
                }
            })
        })??;
        Tensor::from_vec(of_x, (count, width), x.device())
    }
}

impl CustomOp1 for SumsAndProducts {
    fn name(&self) -> &'static str {
        "sums-and-products"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, width) = layout.shape().dims2()?;
        let y = match storage {
            CpuStorage::F64(_) => f64::into_storage(self.forward(contiguous::<f64>(storage, layout)?, width)),
            _ => f32::into_storage(self.forward(contiguous::<f32>(storage, layout)?, width)),
        };
        Ok((y, Shape::from((self.0.len(), 2 * width))))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        match gradient.dtype() {
            DType::F64 => self.backward::<f64>(x, gradient).map(Some),
            _ => self.backward::<f32>(x, gradient).map(Some),
        }
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

    use super::{EdgeList, gather_pairs, sum_into, sums_and_products};
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

    #[test]
    fn values_and_gradients_are_those_of_candles_own_operations() {
        let (x, z) = (variable(&[1.0, 2.0, 3.0, -4.0, 5.0, 6.0]), variable(&[0.1, -0.2, -3.3, -0.4, 0.5, -6.6]));
        let rows = Arc::new(edges().destinations.clone());
        let sums = || sum_into(&gather_pairs(&x, &z, &edges()).unwrap(), &rows, 3).unwrap();
        assert_same(&sums(), &composed(sums), [&x, &z]);
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
    fn sums_and_products_are_theirs_whichever_way_an_edge_points() {
        let x = variable(&[1.0, 2.0, 3.0, -4.0, 5.0, 6.0]);
        let own = || sums_and_products(&x, &edges()).unwrap();
        assert_eq!(numbers(&own())[..4], [4.0, -2.0, 3.0, -8.0]);
        assert_same(&own(), &composed(own), [&x, &x]);
        let EdgeList { sources, destinations } = (*edges()).clone();
        let turned = Arc::new(EdgeList { sources: destinations, destinations: sources });
        assert_same(&own(), &sums_and_products(&x, &turned).unwrap(), [&x, &x]);
    }

    #[test]
    fn wrong_shapes_are_an_error() {
        let (x, z) = (variable(&[1.0; 6]), variable(&[1.0; 4]));
        assert!(gather_pairs(&x, &z, &edges()).is_err());
        assert!(sum_into(&x, &Arc::new(vec![0]), 1).is_err());
    }
}

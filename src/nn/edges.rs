//! From nodes to edges and back: gathers and sums over lists of directed edges.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};

use super::real::Real;

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

    fn tensors(&self, like: &Tensor) -> Result<(Tensor, Tensor)> {
        let tensor = |rows: &[u32]| Tensor::from_slice(rows, rows.len(), like.device());
        Ok((tensor(&self.sources)?, tensor(&self.destinations)?))
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
    if x.device().is_cpu() {
        return x.contiguous()?.apply_op2(&z.contiguous()?, GatherPairs(Arc::clone(edges)));
    }
    let (sources, destinations) = edges.tensors(x)?;
    x.index_select(&sources, 0)? + z.index_select(&destinations, 0)?
}

/// `y_i = Σ_{e: rows_e = i} x_e`: `x [E, H]` to `[count, H]`.
///
/// # Errors
/// When there are not as many rows as names of them.
pub fn sum_into(x: &Tensor, rows: &Arc<Vec<u32>>, count: usize) -> Result<Tensor> {
    let (edges, width) = x.dims2()?;
    if edges != rows.len() {
        bail!("sum-into: {edges} rows for {} names", rows.len());
    }
    if x.device().is_cpu() {
        return x.contiguous()?.apply_op1(SumInto { rows: Arc::clone(rows), count });
    }
    let index = Tensor::from_slice(rows, rows.len(), x.device())?;
    Tensor::zeros((count, width), x.dtype(), x.device())?.index_add(&index, x, 0)
}

struct GatherPairs(Arc<EdgeList>);

impl GatherPairs {
    fn gather<T: Real>(&self, x: &[T], z: &[T], width: usize) -> Vec<T> {
        let mut pairs = Vec::with_capacity(self.0.len() * width);
        for (&source, &destination) in self.0.sources.iter().zip(&self.0.destinations) {
            let (x, z) = (row(x, source, width), row(z, destination, width));
            pairs.extend(x.iter().zip(z).map(|(&x, &z)| x + z));
        }
        pairs
    }
}

impl CustomOp2 for GatherPairs {
    fn name(&self) -> &'static str {
        "gather-pairs"
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, width) = l1.shape().dims2()?;
        let pairs = match s1 {
            CpuStorage::F64(_) => f64::into_storage(self.gather(rows::<f64>(s1, l1)?, rows(s2, l2)?, width)),
            _ => f32::into_storage(self.gather(rows::<f32>(s1, l1)?, rows(s2, l2)?, width)),
        };
        Ok((pairs, Shape::from((self.0.len(), width))))
    }

    fn bwd(&self, x: &Tensor, _z: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (count, _) = x.dims2()?;
        let to = |rows: &[u32]| sum_into(gradient, &Arc::new(rows.to_vec()), count);
        Ok((Some(to(&self.0.sources)?), Some(to(&self.0.destinations)?)))
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
            CpuStorage::F64(_) => f64::into_storage(self.sum(rows::<f64>(storage, layout)?, width)),
            _ => f32::into_storage(self.sum(rows::<f32>(storage, layout)?, width)),
        };
        Ok((sums, Shape::from((self.count, width))))
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let index = Tensor::from_slice(&self.rows, self.rows.len(), gradient.device())?;
        gradient.contiguous()?.index_select(&index, 0).map(Some)
    }
}

fn rows<'a, T: Real>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    let Some((start, end)) = layout.contiguous_offsets() else { bail!("contiguous rows are wanted") };
    Ok(&T::of_storage(storage)?[start..end])
}

fn row<T>(x: &[T], index: u32, width: usize) -> &[T] {
    &x[index as usize * width..(index as usize + 1) * width]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use candle_core::{Device, Tensor, Var};

    use super::{EdgeList, gather_pairs, sum_into};

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
        let (x, z) = (variable(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), variable(&[0.1, -0.2, 0.3, -0.4, 0.5, -0.6]));
        let (sources, destinations) = edges().tensors(&x).unwrap();
        let own = gather_pairs(&x, &z, &edges()).unwrap();
        let composed = (x.index_select(&sources, 0).unwrap() + z.index_select(&destinations, 0).unwrap()).unwrap();
        assert_eq!(numbers(&own), numbers(&composed));
        let rows = Arc::new(edges().destinations.clone());
        let own = sum_into(&own, &rows, 3).unwrap();
        let zeros = Tensor::zeros((3, 2), candle_core::DType::F64, &Device::Cpu).unwrap();
        let composed = zeros.index_add(&destinations, &composed, 0).unwrap();
        assert_eq!(numbers(&own), numbers(&composed));
        let (own, composed) = (mixed(&own).backward().unwrap(), mixed(&composed).backward().unwrap());
        for variable in [&x, &z] {
            assert_eq!(numbers(own.get(variable).unwrap()), numbers(composed.get(variable).unwrap()));
        }
    }

    #[test]
    fn wrong_shapes_are_an_error() {
        let (x, z) = (variable(&[1.0; 6]), variable(&[1.0; 4]));
        assert!(gather_pairs(&x, &z, &edges()).is_err());
        assert!(sum_into(&x, &Arc::new(vec![0]), 1).is_err());
    }
}

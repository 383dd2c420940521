//! Sums over neighbours.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor, bail};

use super::dispatch::is_fused;
use super::rows::add_up_neighbours;

/// The edges of a batch of graphs, in both directions, as compressed sparse rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Adjacency {
    /// `offsets[u]..offsets[u + 1]` is the range of `u`'s neighbours; N + 1 entries.
    pub offsets: Vec<u32>,
    /// `2 E` entries. Symmetric: `v` stands in `u`'s row as often as `u` in `v`'s.
    pub neighbours: Vec<u32>,
}

impl Adjacency {
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Degrees as a column `[N, 1]`, at least 1: the divisor of a mean.
    ///
    /// # Errors
    /// When candle fails.
    pub fn mean_divisor(&self, device: &Device) -> Result<Tensor> {
        let degrees: Vec<f32> = self.offsets.windows(2).map(|pair| ((pair[1] - pair[0]).max(1)) as f32).collect();
        let n = degrees.len();
        Tensor::from_vec(degrees, (n, 1), device)
    }
}

/// `y_u = Σ_{v ∈ N(u)} x_v` for `x [N, H]`.
///
/// On the CPU one pass over the rows; since the adjacency is symmetric the gradient is the same operation.
///
/// # Errors
/// When `x` has another number of rows than the adjacency has nodes.
pub fn neighbour_sum(x: &Tensor, adjacency: &Arc<Adjacency>) -> Result<Tensor> {
    if x.dim(0)? != adjacency.node_count() {
        bail!("neighbour-sum: {} rows for {} nodes", x.dim(0)?, adjacency.node_count());
    }
    if is_fused(x) {
        return x.contiguous()?.apply_op1(NeighbourSum(Arc::clone(adjacency)));
    }
    add_up_neighbours(x, &adjacency.offsets, &adjacency.neighbours)
}

struct NeighbourSum(Arc<Adjacency>);

impl NeighbourSum {
    fn sum<T: Copy + std::ops::AddAssign + Default>(&self, x: &[T], width: usize) -> Vec<T> {
        let mut sums = vec![T::default(); x.len()];
        for (sum, range) in sums.chunks_exact_mut(width.max(1)).zip(self.0.offsets.windows(2)) {
            for &v in &self.0.neighbours[range[0] as usize..range[1] as usize] {
                let row = &x[v as usize * width..(v as usize + 1) * width];
                for (total, &value) in sum.iter_mut().zip(row) {
                    *total += value;
                }
            }
        }
        sums
    }
}

impl CustomOp1 for NeighbourSum {
    fn name(&self) -> &'static str {
        "neighbour-sum"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, width) = layout.shape().dims2()?;
        let Some((start, end)) = layout.contiguous_offsets() else { bail!("neighbour-sum wants contiguous rows") };
        let sums = match storage {
            CpuStorage::F32(x) => CpuStorage::F32(self.sum(&x[start..end], width)),
            CpuStorage::F64(x) => CpuStorage::F64(self.sum(&x[start..end], width)),
            _ => bail!("neighbour-sum wants f32 or f64"),
        };
        Ok((sums, layout.shape().clone()))
    }

    fn bwd(&self, _argument: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        neighbour_sum(gradient, &self.0).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use candle_core::{Device, Tensor, Var};

    use super::{Adjacency, neighbour_sum};
    use crate::nn::dispatch::composed;

    /// The path 0-1-2 and the lonely node 3.
    fn path() -> Arc<Adjacency> {
        Arc::new(Adjacency { offsets: vec![0, 1, 3, 4, 4], neighbours: vec![1, 0, 2, 1] })
    }

    #[test]
    fn sums_neighbours() {
        let x = Tensor::new(&[[1.0_f32, 10.0], [2.0, 20.0], [4.0, 40.0], [8.0, 80.0]], &Device::Cpu).unwrap();
        let y = neighbour_sum(&x, &path()).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(y, [[2.0, 20.0], [5.0, 50.0], [2.0, 20.0], [0.0, 0.0]]);
    }

    #[test]
    fn composed_of_gathers_it_is_the_same_and_has_the_same_gradient() {
        let x = Var::new(&[[1.0_f64, -1.0], [2.0, 0.5], [4.0, 3.0], [8.0, 2.0]], &Device::Cpu).unwrap();
        let weights = Tensor::new(&[[0.3_f64, -2.0], [1.5, 0.7], [-0.4, 1.1], [0.9, 0.2]], &Device::Cpu).unwrap();
        let sums = || neighbour_sum(x.as_tensor(), &path()).unwrap();
        let gradient = |sums: Tensor| {
            let loss = (sums.sqr().unwrap() * &weights).unwrap().sum_all().unwrap();
            loss.backward().unwrap().get(&x).unwrap().to_vec2::<f64>().unwrap()
        };
        assert_eq!(sums().to_vec2::<f64>().unwrap(), composed(sums).to_vec2::<f64>().unwrap());
        assert_eq!(gradient(sums()), gradient(composed(sums)));
    }

    #[test]
    fn wrong_number_of_rows_is_an_error() {
        let x = Tensor::zeros((3, 2), candle_core::DType::F32, &Device::Cpu).unwrap();
        assert!(neighbour_sum(&x, &path()).is_err());
    }
}

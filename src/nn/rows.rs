//! Rows picked, and rows added up, by index.
//!
//! candle's `index_add` on CUDA, which is also the gradient of its `index_select`, gives each column to one thread that
//! walks all indices in turn. Here a sum over lists of rows is a few gathers instead, which a GPU does for all rows at once,
//! and always in the same order. Picking and adding up are each other's gradient, so neither ever scatters.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CudaStorage, CustomOp2, Layout, Result, Shape, Tensor};

use super::dispatch::is_fused;

/// Rows that are added up at once, at most. A longer list is added up in parts, and the parts in turn.
const WIDTH: usize = 8;

/// The index of no row: gathers give zeros for it.
const NO_ROW: u32 = u32::MAX;

/// `y_i = x_{rows_i}`: `x [N, H]` to `[rows, H]`.
///
/// # Errors
/// When a row isn't there.
pub fn pick(x: &Tensor, rows: &[u32]) -> Result<Tensor> {
    if is_fused(x) {
        return x.index_select(&Tensor::from_slice(rows, rows.len(), x.device())?, 0);
    }
    let count = x.dim(0)?;
    sum(x, &Lists::of_singles(rows), || Lists::by_name(rows, count))
}

/// `y_i = Σ_{e: names_e = i} x_e`: `x [E, H]` to `[count, H]`.
///
/// # Errors
/// When candle fails.
pub(super) fn add_up(x: &Tensor, names: &[u32], count: usize) -> Result<Tensor> {
    sum(x, &Lists::by_name(names, count), || Lists::of_singles(names))
}

/// `y_i` is the sum of the rows `neighbours[offsets[i]..offsets[i + 1]]` of x, for a symmetric relation: the gradient is then
/// the same sum.
///
/// # Errors
/// When candle fails.
pub(super) fn add_up_neighbours(x: &Tensor, offsets: &[u32], neighbours: &[u32]) -> Result<Tensor> {
    let lists = || Lists::new(offsets.to_vec(), neighbours.to_vec());
    sum(x, &lists(), lists)
}

/// The sums of x over `there`, and over `back` those of the gradient.
fn sum(x: &Tensor, there: &Lists, back: impl FnOnce() -> Lists) -> Result<Tensor> {
    let y = there.sum(&x.detach())?;
    if x.track_op() { x.contiguous()?.apply_op2(&y, WithGradient(back())) } else { Ok(y) }
}

/// Lists of rows, laid out for gathers.
struct Lists(Vec<Level>);

/// Lists of at most [`WIDTH`] rows of the level before, or of the tensor.
struct Level {
    lists: usize,
    /// The first row of each list, the second, and so on; [`NO_ROW`] past the end of a list.
    columns: Vec<Vec<u32>>,
}

impl Lists {
    /// List i is `members[offsets[i]..offsets[i + 1]]`.
    fn new(mut offsets: Vec<u32>, mut members: Vec<u32>) -> Self {
        let mut levels = Vec::new();
        loop {
            let lists = || offsets.windows(2).map(|range| &members[range[0] as usize..range[1] as usize]);
            let longest = lists().map(<[u32]>::len).max().unwrap_or(0);
            if longest <= WIDTH {
                let column = |place: usize| lists().map(|list| list.get(place).copied().unwrap_or(NO_ROW)).collect();
                levels.push(Level { lists: lists().len(), columns: (0..longest).map(column).collect() });
                return Self(levels);
            }
            let parts: Vec<&[u32]> = lists().flat_map(|list| list.chunks(WIDTH)).collect();
            let column =
                |place: usize| parts.iter().map(|part| part.get(place).copied().unwrap_or(NO_ROW)).collect::<Vec<_>>();
            levels.push(Level { lists: parts.len(), columns: (0..WIDTH).map(column).collect() });
            let mut of_parts = vec![0];
            let mut count = 0;
            for list in lists() {
                count += list.len().div_ceil(WIDTH) as u32;
                of_parts.push(count);
            }
            (offsets, members) = (of_parts, (0..count).collect());
        }
    }

    /// List i is row i of `rows` alone.
    fn of_singles(rows: &[u32]) -> Self {
        Self(vec![Level { lists: rows.len(), columns: vec![rows.to_vec()] }])
    }

    /// List i, of `count`, is all the places at which `names` has i, ascending.
    fn by_name(names: &[u32], count: usize) -> Self {
        let mut offsets = vec![0_u32; count + 1];
        names.iter().for_each(|&name| offsets[name as usize + 1] += 1);
        (0..count).for_each(|list| offsets[list + 1] += offsets[list]);
        let mut next = offsets.clone();
        let mut members = vec![0; names.len()];
        for (place, &name) in (0..).zip(names) {
            let to = &mut next[name as usize];
            members[*to as usize] = place;
            *to += 1;
        }
        Self::new(offsets, members)
    }

    fn sum(&self, x: &Tensor) -> Result<Tensor> {
        let mut rows = x.contiguous()?;
        for Level { lists, columns } in &self.0 {
            let mut sum: Option<Tensor> = None;
            for column in columns {
                let picked = rows.index_select(&Tensor::from_slice(column, *lists, x.device())?, 0)?;
                sum = Some(match sum {
                    None => picked,
                    Some(sum) => (sum + picked)?,
                });
            }
            rows = match sum {
                Some(sum) => sum,
                None => Tensor::zeros((*lists, x.dim(1)?), x.dtype(), x.device())?,
            };
        }
        Ok(rows)
    }
}

/// Gives the second argument, which is a sum of the first that no gradient is known of, the gradient that it has.
struct WithGradient(Lists);

impl CustomOp2 for WithGradient {
    fn name(&self) -> &'static str {
        "sum-of-lists"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, y: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((y.try_clone(layout)?, layout.shape().clone()))
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout, y: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        Ok((y.try_clone(layout)?, layout.shape().clone()))
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((Some(self.0.sum(gradient)?), None))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor, Var};
    use proptest::prelude::*;

    use super::{add_up, pick};
    use crate::nn::dispatch::composed;

    fn numbers(tensor: &Tensor) -> Vec<f64> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    /// Numbers of which no two sums are alike.
    fn counted(rows: usize) -> Tensor {
        let values: Vec<f64> = (0..rows * 2).map(|i| (i * i % 97) as f64 + 0.5).collect();
        Tensor::from_vec(values, (rows, 2), &Device::Cpu).unwrap()
    }

    /// Values and gradients of a weighted sum of squares.
    fn both(x: &Var, y: &Tensor) -> (Vec<f64>, Vec<f64>) {
        let loss = (y.sqr().unwrap() * counted(y.dim(0).unwrap())).unwrap().sum_all().unwrap();
        (numbers(y), numbers(loss.backward().unwrap().get(x).unwrap()))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Lists of every length, in one level and in several.
        #[test]
        fn sums_and_their_gradients_are_those_of_candles_scatter(
            names in prop::collection::vec(0..5_u32, 1..200), hub in prop::bool::ANY
        ) {
            let names: Vec<u32> = names.iter().map(|&name| if hub { name / 4 } else { name }).collect();
            let x = Var::from_tensor(&counted(names.len())).unwrap();
            let own = add_up(&x, &names, 6).unwrap();
            let index = Tensor::from_slice(&names, names.len(), &Device::Cpu).unwrap();
            let zeros = Tensor::zeros((6, 2), DType::F64, &Device::Cpu).unwrap();
            prop_assert_eq!(both(&x, &own), both(&x, &zeros.index_add(&index, &x, 0).unwrap()));

            let x = Var::from_tensor(&counted(6)).unwrap();
            let own = composed(|| pick(&x, &names)).unwrap();
            prop_assert_eq!(both(&x, &own), both(&x, &x.index_select(&index, 0).unwrap()));
        }
    }

    #[test]
    fn lists_without_rows_are_zero() {
        let x = counted(3);
        assert_eq!(numbers(&add_up(&x, &[1, 1, 1], 3).unwrap())[..2], [0.0; 2]);
        let sums = super::add_up_neighbours(&x, &[0, 0, 0, 0], &[]).unwrap();
        assert_eq!(numbers(&sums), [0.0; 6]);
    }
}

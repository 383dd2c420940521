//! Layers over sixteen rows at once, a row a lane.
//!
//! A tile holds [`LANES`] rows of F features as `[F, LANES]`: all rows' first feature, then all rows' second. A weight is then
//! one number against a whole vector, so that no row waits for another, small layers need no packing, and what a row gives
//! is the same bits whatever stands in the other lanes.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor};
use pulp::Simd;

use super::packed::{Table, floats};
use super::simd::{hyperbolic_tangents, sigmoids};

/// Rows of a tile: the widest vector that there is.
pub const LANES: usize = 16;

/// Units of a recurrent layer computed together: eight sums are under way at once, enough to hide a multiplication's latency
/// and few enough to stay in registers.
const UNITS: usize = 2;

/// Outputs of a dense layer computed together.
const OUTPUTS: usize = 8;

/// A [`super::gru::Gru`], for tiles.
#[derive(Debug, Clone)]
pub struct LaneGru {
    input: usize,
    hidden: usize,
    /// For every [`UNITS`] units, padded with empty ones, `[F + H, 3 UNITS]`: gates reset, update, new of each unit.
    weight: Vec<f32>,
    /// `[units, 4]`: reset, update, and of new the input's and the state's.
    bias: Vec<f32>,
}

impl LaneGru {
    /// The layer that [`super::gru::Gru`] has under `name`.
    ///
    /// # Errors
    /// When a parameter is missing.
    pub fn new(weights: &BTreeMap<String, Tensor>, name: &str) -> Result<Self> {
        let part = |part: &str| floats(weights, &format!("{name}.{part}"));
        let (weight_ih, bias_ih) = (part("weight_ih")?, part("bias_ih")?);
        Ok(Self::from_parts(&weight_ih, &bias_ih, &part("weight_hh")?, &part("bias_hh")?))
    }

    /// Of `weight_ih [3 H, F]`, `bias_ih [3 H]`, `weight_hh [3 H, H]`, `bias_hh [3 H]`.
    #[must_use]
    pub fn from_parts(weight_ih: &[f32], bias_ih: &[f32], weight_hh: &[f32], bias_hh: &[f32]) -> Self {
        let hidden = bias_hh.len() / 3;
        let input = weight_ih.len() / (3 * hidden);
        let units = hidden.next_multiple_of(UNITS);
        let mut weight = Vec::with_capacity(units * 3 * (input + hidden));
        let of = |from: &[f32], width: usize, gate: usize, unit: usize, k: usize| {
            if unit < hidden { from[(gate * hidden + unit) * width + k] } else { 0.0 }
        };
        for first in (0..units).step_by(UNITS) {
            for (from, width) in [(weight_ih, input), (weight_hh, hidden)] {
                for k in 0..width {
                    for unit in first..first + UNITS {
                        weight.extend((0..3).map(|gate| of(from, width, gate, unit, k)));
                    }
                }
            }
        }
        let bias = (0..units).flat_map(|unit| {
            let [i, h] = [bias_ih, bias_hh].map(|from| [0, 1, 2].map(|gate| of(from, 1, gate, unit, 0)));
            [i[0] + h[0], i[1] + h[1], i[2], h[2]]
        });
        Self { input, hidden, bias: bias.collect(), weight }
    }

    /// H.
    #[must_use]
    pub fn hidden_dim(&self) -> usize {
        self.hidden
    }

    /// The length of a tile of states, padding included.
    #[must_use]
    pub fn state_len(&self) -> usize {
        self.hidden.next_multiple_of(UNITS) * LANES
    }

    /// A step: `state` from the tile `x [F, LANES]` and the states before.
    #[inline(always)]
    pub fn step<S: Simd>(&self, simd: S, x: &[f32], previous: &[f32], state: &mut [f32]) {
        let vectors = LANES / S::F32_LANES;
        let (x, _) = S::as_simd_f32s(&x[..self.input * LANES]);
        let (previous, _) = S::as_simd_f32s(previous);
        let (state, _) = S::as_mut_simd_f32s(state);
        let blocks = self.weight.chunks_exact((self.input + self.hidden) * 3 * UNITS);
        for (block, (weight, bias)) in blocks.zip(self.bias.chunks_exact(4 * UNITS)).enumerate() {
            let (of_input, of_state) = weight.split_at(self.input * 3 * UNITS);
            for vector in 0..vectors {
                let mut gates = [[simd.splat_f32s(0.0); UNITS]; 4];
                for (gate, sums) in gates.iter_mut().enumerate() {
                    for (unit, sum) in sums.iter_mut().enumerate() {
                        *sum = simd.splat_f32s(bias[unit * 4 + gate]);
                    }
                }
                let [mut r, mut z, mut n, mut m] = gates;
                accumulate(simd, of_input, x, vector, [&mut r, &mut z, &mut n]);
                accumulate(simd, of_state, &previous[..self.hidden * vectors], vector, [&mut r, &mut z, &mut m]);
                let [r0, r1, z0, z1] = sigmoids(simd, [r[0], r[1], z[0], z[1]]);
                let inner = [simd.mul_add_e_f32s(r0, m[0], n[0]), simd.mul_add_e_f32s(r1, m[1], n[1])];
                let n = hyperbolic_tangents(simd, inner);
                for (unit, z) in [z0, z1].into_iter().enumerate() {
                    let at = (block * UNITS + unit) * vectors + vector;
                    state[at] = simd.mul_add_e_f32s(z, simd.sub_f32s(previous[at], n[unit]), n[unit]);
                }
            }
        }
    }
}

/// Adds to each gate's sums its weights `[K, 3 UNITS]` times the `K` rows of a tile.
#[inline(always)]
fn accumulate<S: Simd>(simd: S, weight: &[f32], x: &[S::f32s], vector: usize, gates: [&mut [S::f32s; UNITS]; 3]) {
    let vectors = LANES / S::F32_LANES;
    let [r, z, n] = gates;
    for (weight, x) in weight.chunks_exact(3 * UNITS).zip(x.chunks_exact(vectors)) {
        let x = x[vector];
        for unit in 0..UNITS {
            r[unit] = simd.mul_add_e_f32s(simd.splat_f32s(weight[unit * 3]), x, r[unit]);
            z[unit] = simd.mul_add_e_f32s(simd.splat_f32s(weight[unit * 3 + 1]), x, z[unit]);
            n[unit] = simd.mul_add_e_f32s(simd.splat_f32s(weight[unit * 3 + 2]), x, n[unit]);
        }
    }
}

/// A [`super::layer::Linear`], for tiles.
#[derive(Debug, Clone)]
pub struct LaneAffine {
    input: usize,
    output: usize,
    /// For every [`OUTPUTS`] outputs `[F, OUTPUTS]`; those left over follow one by one, `[F]` each.
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl LaneAffine {
    /// The layer that `Linear` has under `name`.
    ///
    /// # Errors
    /// When a parameter is missing.
    pub fn new(weights: &BTreeMap<String, Tensor>, name: &str) -> Result<Self> {
        Ok(Self::of(&Table::new(weights, name)?))
    }

    fn of(table: &Table) -> Self {
        let (input, output) = (table.input_dim(), table.output_dim());
        let whole = output - output % OUTPUTS;
        let mut weight = Vec::with_capacity(input * output);
        for first in (0..whole).step_by(OUTPUTS) {
            (0..input).for_each(|k| weight.extend_from_slice(&table.row(k)[first..first + OUTPUTS]));
        }
        for one in whole..output {
            weight.extend((0..input).map(|k| table.row(k)[one]));
        }
        Self { input, output, weight, bias: table.bias().to_vec() }
    }

    /// F.
    #[must_use]
    pub fn input_dim(&self) -> usize {
        self.input
    }

    /// H.
    #[must_use]
    pub fn output_dim(&self) -> usize {
        self.output
    }

    /// The first outputs of `x [F, LANES]`, as many as `y [.., LANES]` has room for, each raised to `floor`.
    #[inline(always)]
    pub fn forward<S: Simd>(&self, simd: S, x: &[f32], floor: f32, y: &mut [f32]) {
        let vectors = LANES / S::F32_LANES;
        let (x, _) = S::as_simd_f32s(&x[..self.input * LANES]);
        let wanted = y.len() / LANES;
        let (y, _) = S::as_mut_simd_f32s(y);
        let whole = self.output - self.output % OUTPUTS;
        for first in (0..wanted.min(whole)).step_by(OUTPUTS) {
            let weight = &self.weight[first * self.input..(first + OUTPUTS) * self.input];
            for vector in 0..vectors {
                let mut sums = [simd.splat_f32s(0.0); OUTPUTS];
                for (sum, bias) in sums.iter_mut().zip(&self.bias[first..first + OUTPUTS]) {
                    *sum = simd.splat_f32s(*bias);
                }
                for (weight, x) in weight.chunks_exact(OUTPUTS).zip(x.chunks_exact(vectors)) {
                    for (sum, weight) in sums.iter_mut().zip(weight) {
                        *sum = simd.mul_add_e_f32s(simd.splat_f32s(*weight), x[vector], *sum);
                    }
                }
                let rows = y[first * vectors..].chunks_exact_mut(vectors);
                for (row, sum) in rows.zip(sums) {
                    row[vector] = simd.max_f32s(simd.splat_f32s(floor), sum);
                }
            }
        }
        for output in whole..wanted {
            let weight = &self.weight[output * self.input..(output + 1) * self.input];
            for vector in 0..vectors {
                let mut sum = simd.splat_f32s(self.bias[output]);
                for (weight, x) in weight.iter().zip(x.chunks_exact(vectors)) {
                    sum = simd.mul_add_e_f32s(simd.splat_f32s(*weight), x[vector], sum);
                }
                y[output * vectors + vector] = simd.max_f32s(simd.splat_f32s(floor), sum);
            }
        }
    }
}

/// No floor of [`LaneAffine::forward`].
pub const LINEAR: f32 = f32::NEG_INFINITY;

/// The floor of [`LaneAffine::forward`] that makes it a rectified layer.
pub const RELU: f32 = 0.0;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pulp::{Arch, Simd, WithSimd};
    use rand::RngExt;

    use super::{LANES, LINEAR, LaneAffine, LaneGru, RELU};
    use crate::nn::packed::{Affine, Table};
    use crate::nn::seed::stream;

    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        let mut rng = stream(seed, "test", 0);
        (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
    }

    fn lane(tile: &[f32], lane: usize) -> Vec<f32> {
        tile.iter().skip(lane).step_by(LANES).copied().collect()
    }

    /// A step of a recurrent layer, then a dense one with and without a rectifier.
    struct Both<'a> {
        gru: &'a LaneGru,
        affine: &'a LaneAffine,
        x: &'a [f32],
        state: &'a [f32],
    }

    impl WithSimd for Both<'_> {
        type Output = [Vec<f32>; 3];

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
            let mut state = vec![0.0; self.gru.state_len()];
            self.gru.step(simd, self.x, self.state, &mut state);
            let mut outputs = [LINEAR, RELU].map(|_| vec![0.0; self.affine.output_dim() * LANES]);
            self.affine.forward(simd, &state, LINEAR, &mut outputs[0]);
            self.affine.forward(simd, &state, RELU, &mut outputs[1]);
            let [linear, rectified] = outputs;
            [state, linear, rectified]
        }
    }

    proptest! {
        #[test]
        fn they_are_the_layers_row_by_row_and_no_lane_sees_another(
            input in 1_usize..12, hidden in 1_usize..20, output in 1_usize..20, seed in 0..1_000_u64,
        ) {
            let [weight_ih, bias_ih, weight_hh, bias_hh] =
                [(3 * hidden * input, 0), (3 * hidden, 1), (3 * hidden * hidden, 2), (3 * hidden, 3)]
                    .map(|(count, part)| numbers(count, seed * 10 + part));
            let gru = LaneGru::from_parts(&weight_ih, &bias_ih, &weight_hh, &bias_hh);
            let table = Table::from_parts(numbers(hidden * output, seed + 7), numbers(output, seed + 8));
            let (dense, affine) = (Affine::pack(&table), LaneAffine::of(&table));
            let x = numbers(input * LANES, seed + 9);
            let mut previous = numbers(hidden * LANES, seed + 10);
            previous.resize(gru.state_len(), 0.0);
            let arch = Arch::new();
            let [state, linear, rectified] = arch.dispatch(Both { gru: &gru, affine: &affine, x: &x, state: &previous });
            for row in 0..LANES {
                let (x, h) = (lane(&x, row), lane(&previous, row));
                let gate = |gate: usize, unit: usize, weight: &[f32], bias: &[f32], x: &[f32]| {
                    let products = x.iter().take(weight.len() / (3 * hidden)).enumerate().map(|(k, &x)| {
                        f64::from(weight[(gate * hidden + unit) * (weight.len() / (3 * hidden)) + k]) * f64::from(x)
                    });
                    products.sum::<f64>() + f64::from(bias[gate * hidden + unit])
                };
                let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
                for unit in 0..hidden {
                    let of_input = |g: usize| gate(g, unit, &weight_ih, &bias_ih, &x);
                    let of_state = |g: usize| gate(g, unit, &weight_hh, &bias_hh, &h);
                    let (r, z) = (sigmoid(of_input(0) + of_state(0)), sigmoid(of_input(1) + of_state(1)));
                    let n = (of_input(2) + r * of_state(2)).tanh();
                    let exact = (1.0 - z) * n + z * f64::from(h[unit]);
                    prop_assert!((f64::from(lane(&state, row)[unit]) - exact).abs() < 2e-6);
                }
                let expected = dense.forward(&lane(&state, row)[..hidden]);
                for ((y, rectified), expected) in lane(&linear, row).into_iter().zip(lane(&rectified, row)).zip(expected) {
                    prop_assert!((y - expected).abs() < 1e-5);
                    prop_assert_eq!(rectified, y.max(0.0));
                }
            }
            // The last lane's row, alone among others.
            let moved = |tile: &[f32], seed: u64| {
                let mut other = numbers(tile.len(), seed);
                for (to, from) in other.iter_mut().step_by(LANES).zip(lane(tile, LANES - 1)) {
                    *to = from;
                }
                other
            };
            let (x, previous) = (moved(&x, seed + 20), moved(&previous, seed + 21));
            let again = arch.dispatch(Both { gru: &gru, affine: &affine, x: &x, state: &previous });
            for (again, before) in again.iter().zip([&state, &linear, &rectified]) {
                prop_assert_eq!(lane(again, 0), lane(before, LANES - 1));
            }
        }
    }
}

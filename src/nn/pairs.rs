//! Small networks over pairs of nodes, without autograd and without keeping a row for each pair.
//!
//! What goes in at a pair (i, j) is `max(0, a_i - b_j)`, both computed at the nodes. Pairs are taken a few at a time: what
//! they have between two layers stays in registers and the nearest cache. A pair gives the same bits whatever pairs stand
//! beside it.

use pulp::{Arch, Simd, WithSimd};

use super::edges::EdgeList;
use super::packed::Affine;
use super::simd::{load, sigmoid_pair, store};

/// Pairs computed together: as many as keep their sums, two vectors each, in registers.
const STRIP: usize = 6;

/// For each pair (i, j), `max(0, a_i - b_j)`.
#[derive(Debug, Clone, Copy)]
pub struct RectifiedDifferences<'a> {
    /// i is a source, j a destination.
    pub pairs: &'a EdgeList,
    /// `[V, W]` each.
    pub a: &'a [f32],
    pub b: &'a [f32],
    /// W.
    pub width: usize,
}

impl RectifiedDifferences<'_> {
    /// `y_p = max(0, layer(x_p))` of each pair's difference x: `[E, H]`. `scratch` is overwritten.
    pub fn rectified_into(self, layer: &Affine, y: &mut Vec<f32>, scratch: &mut Vec<f32>) {
        y.resize(self.pairs.len() * layer.output_dim(), 0.0);
        scratch.resize(STRIP * self.width, 0.0);
        Arch::new().dispatch(Rectified { differences: self, layer, y, scratch });
    }

    /// Adds `message(x) ⊙ σ(attention(z))` of each pair to the row of its destination in `received [V, H]`, where x and z
    /// are the first and the last columns of the difference, as many as the layers take. `scratch` is overwritten.
    ///
    /// Messages and gates are those of Liao et al. 2019, equations 5 to 7.
    pub fn gated_sum_into(self, message: &Affine, attention: &Affine, received: &mut [f32], scratch: &mut Vec<f32>) {
        scratch.resize(STRIP * self.width, 0.0);
        Arch::new().dispatch(GatedSum { differences: self, message, attention, received, scratch });
    }

    /// The differences of R pairs from `first` on, to `rows [R, W]`.
    #[inline(always)]
    fn write<S: Simd, const R: usize>(&self, simd: S, first: usize, rows: &mut [f32]) {
        let width = self.width;
        let sources = &self.pairs.sources[first..first + R];
        let destinations = &self.pairs.destinations[first..first + R];
        let zero = simd.splat_f32s(0.0);
        for ((to, &i), &j) in rows.chunks_exact_mut(width).zip(sources).zip(destinations) {
            let (a, b) = (&self.a[i as usize * width..][..width], &self.b[j as usize * width..][..width]);
            let parts = to.chunks_mut(S::F32_LANES).zip(a.chunks(S::F32_LANES)).zip(b.chunks(S::F32_LANES));
            for ((to, a), b) in parts {
                // The difference stands second: of a number and a NaN, this gives the second.
                store(simd, to, simd.max_f32s(zero, simd.sub_f32s(load(simd, a), load(simd, b))));
            }
        }
    }
}

/// Calls `$strip` for all of `0..$count`, the most pairs at once first.
macro_rules! strips {
    ($count:expr, |$first:ident, $rows:ident| $strip:expr) => {{
        let count = $count;
        let mut $first = 0;
        while $first + STRIP <= count {
            const $rows: usize = STRIP;
            $strip;
            $first += STRIP;
        }
        while $first < count {
            const $rows: usize = 1;
            $strip;
            $first += 1;
        }
    }};
}

/// Calls `$block` with the number of the first of two vectors of columns, or of one where one is left.
macro_rules! columns {
    ($vectors:expr, |$first:ident, $count:ident| $block:expr) => {{
        let vectors = $vectors;
        for $first in (0..vectors - vectors % 2).step_by(2) {
            const $count: usize = 2;
            $block;
        }
        if vectors % 2 == 1 {
            let $first = vectors - 1;
            const $count: usize = 1;
            $block;
        }
    }};
}

struct Rectified<'a> {
    differences: RectifiedDifferences<'a>,
    layer: &'a Affine,
    y: &'a mut [f32],
    scratch: &'a mut [f32],
}

impl WithSimd for Rectified<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        strips!(self.differences.pairs.len(), |first, R| self.strip::<S, R>(simd, first));
    }
}

impl Rectified<'_> {
    #[inline(always)]
    fn strip<S: Simd, const R: usize>(&mut self, simd: S, first: usize) {
        let h = self.layer.output_dim();
        self.differences.write::<S, R>(simd, first, self.scratch);
        let rows = rows::<R>(self.scratch, self.differences.width, 0);
        let y = &mut self.y[first * h..(first + R) * h];
        columns!(self.layer.vectors::<S>(), |column, C| {
            let sums = self.layer.sums::<S, R, C>(simd, rows, column);
            for (sums, y) in sums.into_iter().zip(y.chunks_exact_mut(h)) {
                for (sum, part) in sums.into_iter().zip(y[column * S::F32_LANES..].chunks_mut(S::F32_LANES)) {
                    store(simd, part, simd.max_f32s(simd.splat_f32s(0.0), sum));
                }
            }
        });
    }
}

struct GatedSum<'a> {
    differences: RectifiedDifferences<'a>,
    message: &'a Affine,
    attention: &'a Affine,
    received: &'a mut [f32],
    scratch: &'a mut [f32],
}

impl WithSimd for GatedSum<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        strips!(self.differences.pairs.len(), |first, R| self.strip::<S, R>(simd, first));
    }
}

impl GatedSum<'_> {
    #[inline(always)]
    fn strip<S: Simd, const R: usize>(&mut self, simd: S, first: usize) {
        let (h, width) = (self.message.output_dim(), self.differences.width);
        self.differences.write::<S, R>(simd, first, self.scratch);
        let of_message = rows::<R>(self.scratch, width, 0);
        let of_attention = rows::<R>(self.scratch, width, width - self.attention.input_dim());
        let destinations = &self.differences.pairs.destinations[first..first + R];
        columns!(self.message.vectors::<S>(), |column, C| {
            let gates = self.attention.sums::<S, R, C>(simd, of_attention, column);
            let mut opened = [[simd.splat_f32s(0.0); C]; R];
            for (opened, gates) in opened.iter_mut().zip(gates) {
                // Two vectors of the same pair share a division.
                let both = sigmoid_pair(simd, [gates[0], gates[C - 1]]);
                opened.copy_from_slice(&both[..C]);
            }
            let messages = self.message.sums::<S, R, C>(simd, of_message, column);
            for ((messages, opened), &to) in messages.into_iter().zip(opened).zip(destinations) {
                let row = &mut self.received[to as usize * h..(to as usize + 1) * h];
                let parts = row[column * S::F32_LANES..].chunks_mut(S::F32_LANES);
                for ((message, gate), part) in messages.into_iter().zip(opened).zip(parts) {
                    store(simd, part, simd.mul_add_e_f32s(message, gate, load(simd, part)));
                }
            }
        });
    }
}

/// The first R rows of `[.., W]`, each from column `from` on.
#[inline(always)]
fn rows<const R: usize>(all: &[f32], width: usize, from: usize) -> [&[f32]; R] {
    let mut rows: [&[f32]; R] = [&[]; R];
    for (row, whole) in rows.iter_mut().zip(all.chunks_exact(width)) {
        *row = &whole[from..];
    }
    rows
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::RngExt;

    use super::RectifiedDifferences;
    use crate::nn::edges::EdgeList;
    use crate::nn::packed::Affine;
    use crate::nn::seed::stream;

    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        let mut rng = stream(seed, "test", 0);
        (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
    }

    fn pairs(count: usize, nodes: u32, seed: u64) -> EdgeList {
        let mut rng = stream(seed, "pairs", 0);
        let mut ends = || (0..count).map(|_| rng.random_range(0..nodes)).collect();
        EdgeList { sources: ends(), destinations: ends() }
    }

    fn close(got: &[f32], expected: &[f64]) -> bool {
        got.iter().zip(expected).all(|(&got, expected)| (f64::from(got) - expected).abs() < 1e-4)
    }

    proptest! {
        #[test]
        fn they_are_the_layers_pair_by_pair_and_no_pair_sees_another(
            count in 0_usize..20, of_message in 1_usize..20, of_attention in 1_usize..20, output in 1_usize..40,
            seed in 0..1_000_u64,
        ) {
            const NODES: u32 = 5;
            let width = of_message + of_attention;
            let pairs = pairs(count, NODES, seed);
            let (a, b) = (numbers(NODES as usize * width, seed), numbers(NODES as usize * width, seed + 1));
            let layer = |input: usize, seed: u64| {
                Affine::from_parts(&numbers(input * output, seed), &numbers(output, seed + 1))
            };
            let (message, attention, both) = (layer(of_message, seed + 2), layer(of_attention, seed + 4), layer(width, seed + 6));
            let differences = RectifiedDifferences { pairs: &pairs, a: &a, b: &b, width };
            let start = numbers(NODES as usize * output, seed + 8);
            let (mut received, mut y, mut scratch) = (start.clone(), Vec::new(), vec![9.0; 2]);
            differences.gated_sum_into(&message, &attention, &mut received, &mut scratch);
            differences.rectified_into(&both, &mut y, &mut scratch);

            let mut expected: Vec<f64> = start.iter().copied().map(f64::from).collect();
            for (pair, (&i, &j)) in pairs.sources.iter().zip(&pairs.destinations).enumerate() {
                let row = |of: &[f32], node: u32| of[node as usize * width..][..width].to_vec();
                let x: Vec<f32> = row(&a, i).iter().zip(row(&b, j)).map(|(a, b)| (a - b).max(0.0)).collect();
                let rectified: Vec<f64> = both.forward(&x).iter().map(|y| f64::from(y.max(0.0))).collect();
                prop_assert!(close(&y[pair * output..(pair + 1) * output], &rectified));
                let gates = attention.forward(&x[of_message..]);
                for ((sum, message), gate) in
                    expected[j as usize * output..].iter_mut().zip(message.forward(&x[..of_message])).zip(gates)
                {
                    *sum += f64::from(message) / (1.0 + f64::from(-gate).exp());
                }
                let alone = EdgeList { sources: vec![i], destinations: vec![j] };
                let mut again = Vec::new();
                RectifiedDifferences { pairs: &alone, ..differences }.rectified_into(&both, &mut again, &mut scratch);
                prop_assert_eq!(&again, &y[pair * output..(pair + 1) * output]);
            }
            prop_assert!(close(&received, &expected));

            // Two halves one after the other are the whole.
            let (left, right) = (count / 2, count);
            let part = |from: usize, to: usize| EdgeList {
                sources: pairs.sources[from..to].to_vec(),
                destinations: pairs.destinations[from..to].to_vec(),
            };
            let mut halves = start;
            for pairs in [part(0, left), part(left, right)] {
                RectifiedDifferences { pairs: &pairs, ..differences }
                    .gated_sum_into(&message, &attention, &mut halves, &mut scratch);
            }
            prop_assert_eq!(halves, received);
        }
    }
}

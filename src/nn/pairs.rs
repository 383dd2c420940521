//! Small networks over pairs of nodes, without autograd and without keeping a row for each pair.
//!
//! What goes in at a pair (i, j) is `max(0, a_i - b_j)`, both computed at the nodes. Pairs are taken a few at a time: what
//! they have between two layers stays in registers and the nearest cache. A pair gives the same bits whatever pairs stand
//! beside it.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::edges::EdgeList;
use super::packed::{Affine, STRIP, columns, part, rows, strips};
use super::simd::{load, sigmoid_pair, store};

/// Pairs whose differences are kept: few enough for them and some columns of a weight to stay in the nearest cache.
const PAIRS_AT_ONCE: usize = 2 * STRIP;

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
        scratch.resize(PAIRS_AT_ONCE * self.width, 0.0);
        Arch::new().dispatch(Rectified { differences: self, layer, y, scratch });
    }

    /// Adds `message(x) ⊙ σ(attention(z))` of each pair to the row of its destination in `received [V, H]`, where x and z
    /// are the first and the last columns of the difference, as many as the layers take. `scratch` is overwritten.
    ///
    /// Messages and gates are those of Liao et al. 2019, equations 5 to 7.
    pub fn gated_sum_into(self, message: &Affine, attention: &Affine, received: &mut [f32], scratch: &mut Vec<f32>) {
        scratch.resize(PAIRS_AT_ONCE * self.width, 0.0);
        Arch::new().dispatch(GatedSum { differences: self, message, attention, received, scratch });
    }

    /// The differences of the pairs `range`, to `rows [pairs, W]`.
    #[inline(always)]
    fn write<S: Simd>(&self, simd: S, range: Range<usize>, rows: &mut [f32]) {
        let width = self.width;
        let ends = self.pairs.sources[range.clone()].iter().zip(&self.pairs.destinations[range]);
        let zero = simd.splat_f32s(0.0);
        for (index, (&i, &j)) in ends.enumerate() {
            let to = &mut rows[index * width..(index + 1) * width];
            let (a, b) = (&self.a[i as usize * width..][..width], &self.b[j as usize * width..][..width]);
            let parts = to.chunks_mut(S::F32_LANES).zip(a.chunks(S::F32_LANES)).zip(b.chunks(S::F32_LANES));
            for ((to, a), b) in parts {
                // The difference stands second: of a number and a NaN, this gives the second.
                store(simd, to, simd.max_f32s(zero, simd.sub_f32s(load(simd, a), load(simd, b))));
            }
        }
    }

    /// The pairs, [`PAIRS_AT_ONCE`] at a time.
    #[inline(always)]
    fn chunks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let count = self.pairs.len();
        (0..count).step_by(PAIRS_AT_ONCE).map(move |first| first..(first + PAIRS_AT_ONCE).min(count))
    }
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
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { differences, layer, y, scratch } = self;
        let (f, h) = (layer.input_dim(), layer.output_dim());
        for pairs in differences.chunks() {
            differences.write(simd, pairs.clone(), scratch);
            let y = &mut y[pairs.start * h..pairs.end * h];
            columns!(layer.vectors::<S>(), |column, C| {
                strips!(pairs.len(), |first, R| {
                    let x = &scratch[first * differences.width..];
                    let sums = layer.sums::<S, R, C>(simd, rows(x, differences.width, 0, f), column);
                    for (row, sums) in sums.into_iter().enumerate() {
                        let y = &mut y[(first + row) * h..(first + row + 1) * h];
                        for (vector, sum) in sums.into_iter().enumerate() {
                            store(simd, part::<S>(y, column + vector), simd.max_f32s(simd.splat_f32s(0.0), sum));
                        }
                    }
                });
            });
        }
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
        for pairs in self.differences.chunks() {
            self.differences.write(simd, pairs.clone(), self.scratch);
            columns!(self.message.vectors::<S>(), |column, C| {
                strips!(pairs.len(), |first, R| self.strip::<S, R, C>(simd, pairs.start, first, column));
            });
        }
    }
}

impl GatedSum<'_> {
    /// Pair `first` and those after it of the ones at hand, which begin with pair `start`.
    #[inline(always)]
    fn strip<S: Simd, const R: usize, const C: usize>(&mut self, simd: S, start: usize, first: usize, column: usize) {
        let Self { differences, message, attention, received, scratch } = self;
        let (h, width) = (message.output_dim(), differences.width);
        let x = &scratch[first * width..];
        let (of_message, of_attention) = (message.input_dim(), attention.input_dim());
        let gates = attention.sums::<S, R, C>(simd, rows(x, width, width - of_attention, of_attention), column);
        let mut opened = [[simd.splat_f32s(0.0); C]; R];
        for (opened, gates) in opened.iter_mut().zip(gates) {
            // Two vectors of the same pair share a division.
            let both = sigmoid_pair(simd, [gates[0], gates[C - 1]]);
            opened.copy_from_slice(&both[..C]);
        }
        let messages = message.sums::<S, R, C>(simd, rows(x, width, 0, of_message), column);
        let destinations = &differences.pairs.destinations[start + first..start + first + R];
        for ((messages, opened), &to) in messages.into_iter().zip(opened).zip(destinations) {
            let row = &mut received[to as usize * h..(to as usize + 1) * h];
            for (vector, (message, gate)) in messages.into_iter().zip(opened).enumerate() {
                let sum = part::<S>(row, column + vector);
                store(simd, sum, simd.mul_add_e_f32s(message, gate, load(simd, sum)));
            }
        }
    }
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

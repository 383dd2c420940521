//! Functions of whole vectors, as wide as the processor's: `pulp` finds its instructions when the program runs.
//!
//! Each is inlined into a kernel that is dispatched as a whole ([`pulp::WithSimd`]); a closure in a kernel that isn't
//! marked `#[inline(always)]` costs several times what it computes, and so does `array::map`. What a lane gives depends on that lane
//! alone. NaN stays NaN, so that a network that has lost its mind is noticed.

use std::f32::consts::LOG2_E;

use pulp::{Arch, NullaryFnOnce, Simd, WithSimd};

/// Runs a closure compiled for the processor's own instructions; it and what it calls must be inlined (`#[inline(always)]`).
pub fn vectorised<F: NullaryFnOnce>(closure: F) -> F::Output {
    Arch::new().dispatch(closure)
}

/// The first lanes of a slice; the others are zero where it is shorter.
#[inline(always)]
pub fn load<S: Simd>(simd: S, from: &[f32]) -> S::f32s {
    match S::as_simd_f32s(from).0.first() {
        Some(whole) => *whole,
        None => simd.partial_load_f32s(from),
    }
}

/// The opposite of [`load`].
#[inline(always)]
pub fn store<S: Simd>(simd: S, to: &mut [f32], vector: S::f32s) {
    match S::as_mut_simd_f32s(to).0.first_mut() {
        Some(whole) => *whole = vector,
        None => simd.partial_store_f32s(to, vector),
    }
}

/// 2ˣ for x in [-limit, limit], and at the nearer end beyond: x = k + r with |r| ≤ ½, a minimax polynomial for 2ʳ
/// (relative error below 2e-7, rounding included), and 2ᵏ by its bits. `limit` is at most 126.
#[inline(always)]
fn exp2<S: Simd>(simd: S, x: S::f32s, limit: f32) -> S::f32s {
    /// 1.5 × 2²³: adding it rounds to the nearest integer, which then stands in the lowest bits.
    const ROUNDER: f32 = 12_582_912.0;
    const COEFFICIENTS: [f32; 6] = [1.327_647_2e-3, 9.675_541e-3, 5.550_713e-2, 2.402_212e-1, 6.931_469_4e-1, 1.0];
    // The variable stands second: of a NaN and a number, these give the second.
    let x = simd.min_f32s(simd.splat_f32s(limit), simd.max_f32s(simd.splat_f32s(-limit), x));
    let rounder = simd.splat_f32s(ROUNDER);
    let rounded = simd.add_f32s(x, rounder);
    let r = simd.sub_f32s(x, simd.sub_f32s(rounded, rounder));
    let mut p = simd.splat_f32s(COEFFICIENTS[0]);
    for coefficient in &COEFFICIENTS[1..] {
        p = simd.mul_add_e_f32s(p, r, simd.splat_f32s(*coefficient));
    }
    let exponent = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(rounded), simd.splat_u32s(23));
    simd.transmute_f32s_u32s(simd.add_u32s(simd.transmute_u32s_f32s(p), exponent))
}

/// 1 + 2^(factor x).
#[inline(always)]
fn one_and_exp<S: Simd>(simd: S, x: S::f32s, factor: f32, limit: f32) -> S::f32s {
    simd.add_f32s(exp2(simd, simd.mul_f32s(x, simd.splat_f32s(factor)), limit), simd.splat_f32s(1.0))
}

/// σ(x) of four vectors, within 1e-9 of its ends from |x| of about 21 on: a division costs more than the products that save
/// three of them.
#[inline(always)]
pub fn sigmoids<S: Simd>(simd: S, x: [S::f32s; 4]) -> [S::f32s; 4] {
    let [a, b, c, d] = x;
    // The product of four stays below 2¹²⁴.
    let (a, b) = (one_and_exp(simd, a, -LOG2_E, 30.0), one_and_exp(simd, b, -LOG2_E, 30.0));
    let (c, d) = (one_and_exp(simd, c, -LOG2_E, 30.0), one_and_exp(simd, d, -LOG2_E, 30.0));
    let (ab, cd) = (simd.mul_f32s(a, b), simd.mul_f32s(c, d));
    let inverse = simd.div_f32s(simd.splat_f32s(1.0), simd.mul_f32s(ab, cd));
    let (of_ab, of_cd) = (simd.mul_f32s(inverse, cd), simd.mul_f32s(inverse, ab));
    [simd.mul_f32s(of_ab, b), simd.mul_f32s(of_ab, a), simd.mul_f32s(of_cd, d), simd.mul_f32s(of_cd, c)]
}

/// σ(x) of two vectors, as [`sigmoids`] gives it.
#[inline(always)]
pub fn sigmoid_pair<S: Simd>(simd: S, x: [S::f32s; 2]) -> [S::f32s; 2] {
    let [a, b] = x;
    let (a, b) = (one_and_exp(simd, a, -LOG2_E, 60.0), one_and_exp(simd, b, -LOG2_E, 60.0));
    let inverse = simd.div_f32s(simd.splat_f32s(1.0), simd.mul_f32s(a, b));
    [simd.mul_f32s(inverse, b), simd.mul_f32s(inverse, a)]
}

/// The hyperbolic tangent of two vectors, by one division.
#[inline(always)]
pub fn hyperbolic_tangents<S: Simd>(simd: S, x: [S::f32s; 2]) -> [S::f32s; 2] {
    let one = simd.splat_f32s(1.0);
    let [a, b] = x;
    let (a, b) = (one_and_exp(simd, a, 2.0 * LOG2_E, 60.0), one_and_exp(simd, b, 2.0 * LOG2_E, 60.0));
    let twice = simd.div_f32s(simd.splat_f32s(2.0), simd.mul_f32s(a, b));
    [simd.sub_f32s(one, simd.mul_f32s(twice, b)), simd.sub_f32s(one, simd.mul_f32s(twice, a))]
}

/// `ln(1 + e⁻ˣ)`: what a Bernoulli of logit x costs in nats if it comes true.
#[inline(always)]
pub fn bernoulli_cost<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    /// `ln(1 + e) / e` for e in [0, 1], a minimax polynomial (relative error below 4e-8).
    const COEFFICIENTS: [f32; 9] = [
        5.232_691e-3,
        -2.950_522_9e-2,
        7.822_594e-2,
        -1.366_324_6e-1,
        1.910_600_8e-1,
        -2.484_298_2e-1,
        3.331_909_8e-1,
        -4.999_949_3e-1,
        9.999_999_4e-1,
    ];
    let e = exp2(simd, simd.mul_f32s(simd.abs_f32s(x), simd.splat_f32s(-LOG2_E)), 126.0);
    let mut p = simd.splat_f32s(COEFFICIENTS[0]);
    for coefficient in &COEFFICIENTS[1..] {
        p = simd.mul_add_e_f32s(p, e, simd.splat_f32s(*coefficient));
    }
    let against = simd.max_f32s(simd.splat_f32s(0.0), simd.neg_f32s(x));
    simd.mul_add_e_f32s(p, e, against)
}

/// [`bernoulli_cost`] of each logit, in its place.
pub fn bernoulli_costs(logits: &mut [f32]) {
    Arch::new().dispatch(BernoulliCosts(logits));
}

struct BernoulliCosts<'a>(&'a mut [f32]);

impl WithSimd for BernoulliCosts<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (vectors, rest) = S::as_mut_simd_f32s(self.0);
        for logits in vectors {
            *logits = bernoulli_cost(simd, *logits);
        }
        let costs = bernoulli_cost(simd, simd.partial_load_f32s(rest));
        simd.partial_store_f32s(rest, costs);
    }
}

#[cfg(test)]
mod tests {
    use pulp::{Arch, Simd, WithSimd};

    use super::{bernoulli_cost, bernoulli_costs, hyperbolic_tangents, sigmoid_pair, sigmoids};
    use crate::nn::loss::binary_cross_entropy;

    /// σ both ways, tanh and the cost of each number.
    struct All<'a>(&'a [f32]);

    impl WithSimd for All<'_> {
        type Output = Vec<[f32; 4]>;

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
            let first = |vector: S::f32s| {
                let mut one = [0.0];
                simd.partial_store_f32s(&mut one, vector);
                one[0]
            };
            let of = |x: f32| {
                let x = simd.splat_f32s(x);
                // The neighbours that share a division are at its other end.
                let far = simd.neg_f32s(simd.mul_f32s(x, simd.splat_f32s(7.0)));
                let [.., sigmoid, _] = sigmoids(simd, [far, far, x, far]);
                let [_, of_pair] = sigmoid_pair(simd, [far, x]);
                let [_, tangent] = hyperbolic_tangents(simd, [far, x]);
                [first(sigmoid), first(of_pair), first(tangent), first(bernoulli_cost(simd, x))]
            };
            self.0.iter().map(|&x| of(x)).collect()
        }
    }

    #[test]
    fn they_are_those_of_double_precision() {
        let x: Vec<f32> = (-40_000..=40_000).map(|step| step as f32 / 1_000.0).collect();
        for (&x, [sigmoid, of_pair, tangent, cost]) in x.iter().zip(Arch::new().dispatch(All(&x))) {
            let exact = f64::from(x);
            assert!((f64::from(sigmoid) - 1.0 / (1.0 + (-exact).exp())).abs() < 2e-7, "σ({x})");
            assert!((f64::from(of_pair) - 1.0 / (1.0 + (-exact).exp())).abs() < 2e-7, "σ({x}) of a pair");
            assert!((f64::from(tangent) - exact.tanh()).abs() < 4e-7, "tanh({x})");
            let expected = binary_cross_entropy(exact, true);
            // What is cheap is told as exactly as what is dear: relative to itself, or to the largest exponent left.
            let tolerance = 1e-6 * (1.0 + exact.abs());
            assert!((f64::from(cost) / expected - 1.0).abs() < tolerance, "cost({x}): {cost}, not {expected}");
        }
    }

    #[test]
    fn a_slice_of_any_length_is_its_elements() {
        let x: Vec<f32> = (0..70).map(|step| step as f32 / 7.0 - 4.0).collect();
        let expected: Vec<f32> = Arch::new().dispatch(All(&x)).into_iter().map(|[.., cost]| cost).collect();
        for length in 0..x.len() {
            let mut costs = x[..length].to_vec();
            bernoulli_costs(&mut costs);
            assert_eq!(costs, expected[..length]);
        }
    }

    #[test]
    fn the_ends_are_finite_and_nan_stays_nan() {
        for [sigmoid, of_pair, tangent, cost] in Arch::new().dispatch(All(&[-1e30, 1e30, -3e38])) {
            assert!(
                (0.0..=1.0).contains(&sigmoid)
                    && (0.0..=1.0).contains(&of_pair)
                    && (-1.0..=1.0).contains(&tangent)
                    && cost >= 0.0
            );
            assert!(cost.is_finite());
        }
        assert!(Arch::new().dispatch(All(&[f32::NAN]))[0].iter().all(|value| value.is_nan()));
    }
}

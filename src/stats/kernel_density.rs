//! The density of one number among normal ones, by Gaussian kernels.

use super::summary::Summary;

/// The narrowest kernel, as a share of the mean's size (at least of 1): where the normals never vary, another value is a
/// deviation, but no infinite one.
const NARROWEST: f64 = 1e-3;

/// A kernel at each normal value, as wide as Scott's rule has it: σ n^(-1/5) (Scott 1992; scipy's default).
#[derive(Debug, Clone, PartialEq)]
pub struct KernelDensity {
    values: Vec<f64>,
    width: f64,
}

impl KernelDensity {
    /// The density of the finite ones among `values`; `None` when there are none.
    #[must_use]
    pub fn fit(values: &[f64]) -> Option<Self> {
        let Summary { count, mean, std, .. } = Summary::of(values)?;
        let width = (std * (count as f64).powf(-0.2)).max(NARROWEST * mean.abs().max(1.0));
        Some(Self { values: values.iter().copied().filter(|value| value.is_finite()).collect(), width })
    }

    /// −ln of the density at `value`: two-sided by nature, and finite however far out.
    #[must_use]
    pub fn surprise(&self, value: f64) -> f64 {
        self.surprise_without(value, None)
    }

    /// The same for one of the normals, without its own kernel; with it where it is the only one.
    #[must_use]
    pub fn surprise_among_others(&self, value: f64) -> f64 {
        let own = self.values.iter().position(|&other| other == value);
        self.surprise_without(value, own.filter(|_| self.values.len() > 1))
    }

    fn surprise_without(&self, value: f64, left_out: Option<usize>) -> f64 {
        let others = self.values.iter().enumerate().filter(|&(index, _)| Some(index) != left_out);
        let exponents = others.map(|(_, other)| -0.5 * ((value - other) / self.width).powi(2));
        let largest = exponents.clone().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = exponents.map(|exponent| (exponent - largest).exp()).sum();
        let count = self.values.len() - usize::from(left_out.is_some());
        let kernels = count as f64 * self.width * std::f64::consts::TAU.sqrt();
        kernels.ln() - largest - sum.ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the formula, in Python: h = 2.3345 · 5^(-1/5), and the logarithm of the mean of five normal densities.
    #[test]
    fn agrees_with_the_formula() {
        let density = KernelDensity::fit(&[1.0, 2.0, 2.5, 4.0, 7.0]).unwrap();
        for (at, expected) in [(0.0, 2.503817405565), (3.0, 1.892639085372), (30.0, 95.442639197822)] {
            assert!((density.surprise(at) - expected).abs() < 1e-9, "{at}: {}", density.surprise(at));
        }
    }

    #[test]
    fn a_normal_beside_the_others_is_as_if_it_were_not_there() {
        let (all, others) = ([1.0, 2.0, 2.5, 4.0, 7.0], [1.0, 2.0, 4.0, 7.0]);
        let KernelDensity { width, .. } = KernelDensity::fit(&all).unwrap();
        let expected = KernelDensity { values: others.to_vec(), width }.surprise(2.5);
        assert!((KernelDensity::fit(&all).unwrap().surprise_among_others(2.5) - expected).abs() < 1e-12);
        assert!(KernelDensity::fit(&[3.0]).unwrap().surprise_among_others(3.0).is_finite());
        assert!(KernelDensity::fit(&[0.0, 0.1, 1e9]).unwrap().surprise_among_others(1e9).is_finite());
    }

    #[test]
    fn both_sides_are_strange_and_farther_out_is_stranger() {
        let density = KernelDensity::fit(&[9.0, 10.0, 11.0]).unwrap();
        assert!((density.surprise(5.0) - density.surprise(15.0)).abs() < 1e-9);
        assert!(density.surprise(1e6) > density.surprise(1e5) && density.surprise(1e6).is_finite());
    }

    #[test]
    fn normals_that_never_vary_have_a_density() {
        let density = KernelDensity::fit(&[60.0; 20]).unwrap();
        assert!(density.surprise(61.0) > density.surprise(60.0) + 10.0);
        assert_eq!(KernelDensity::fit(&[f64::NAN]), None);
    }
}

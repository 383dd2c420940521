//! One-class densities: how far a vector of statistics lies from those of the normal class.

use nalgebra::DMatrix;

/// Neighbours whose mean distance is taken.
const NEIGHBOURS: usize = 5;

/// The smallest difference of scaled distances that counts, where the normals hardly differ.
const SMALLEST_STEP: f64 = 0.1;

/// The distance of a point to its nearest neighbours among normal ones, each coordinate in its own unit, told as a
/// surprise.
///
/// Two-sided by nature: what matters is how few normals lie near, not on which side of them. Coordinates are scaled but
/// not decorrelated: a covariance in twenty dimensions, of a hundred normals, would be mostly noise.
#[derive(Debug, Clone, PartialEq)]
pub struct OneClass {
    /// `[d]`: the unit of each coordinate.
    units: Vec<f64>,
    /// `[n, d]`: the normals, in those units.
    points: Vec<f64>,
    /// Ascending: each normal's own distance to the others.
    reference: Vec<f64>,
}

/// A density as plain numbers, for keeping: units `[d]`, points `[n, d]`, reference `[n]`.
pub type DensityArrays = [Vec<f64>; 3];

/// The standard deviation of each coordinate of `points`, at least `smallest`: a coordinate that never varies among the
/// normals is measured in units of that, not of zero.
#[must_use]
pub fn deviations(points: &[Vec<f64>], smallest: f64) -> Vec<f64> {
    let n = points.len().max(1) as f64;
    let d = points.first().map_or(0, Vec::len);
    (0..d)
        .map(|j| {
            let mean = points.iter().map(|point| point[j]).sum::<f64>() / n;
            let variance = points.iter().map(|point| (point[j] - mean).powi(2)).sum::<f64>() / n;
            variance.sqrt().max(smallest)
        })
        .collect()
}

impl OneClass {
    /// Fits a density to `points`, each of dimension `units.len()`.
    ///
    /// # Panics
    /// When there are no points: training checks that there are.
    #[must_use]
    pub fn fit(points: &[Vec<f64>], units: Vec<f64>) -> Self {
        assert!(!points.is_empty(), "a density needs points");
        let d = units.len();
        let mut density = Self { units, points: Vec::with_capacity(points.len() * d), reference: Vec::new() };
        for point in points {
            let scaled = density.scale(point);
            density.points.extend(scaled);
        }
        let mut reference: Vec<f64> = (0..points.len())
            .map(|i| density.neighbour_distance(&density.points[i * d..(i + 1) * d], Some(i)))
            .collect();
        reference.sort_unstable_by(f64::total_cmp);
        density.reference = reference;
        density
    }

    /// How surprising `point` is: −ln of the share of normals at least as far from their neighbours.
    ///
    /// Interpolated between ranks, and continued beyond the farthest normal, so that it ranks what lies farther out.
    /// Surprises of different densities are comparable.
    #[must_use]
    pub fn surprise(&self, point: &[f64]) -> f64 {
        let distance = self.neighbour_distance(&self.scale(point), None);
        let n = self.reference.len();
        // −ln of the share of normals at least as far, when `nearer` of them are nearer.
        let surprise = |nearer: f64| ((n as f64 + 1.0) / (n as f64 + 1.0 - nearer)).ln();
        let nearer = self.reference.partition_point(|&other| other < distance);
        if nearer == 0 {
            return 0.0;
        }
        let before = self.reference[nearer - 1];
        let Some(&after) = self.reference.get(nearer) else {
            // Go on at the pace at which surprise grows over the farthest quarter of the normals, slowing down as the
            // logarithm does: a tail of normals that thins out like a power, not one that ends.
            let quarter = n / 4;
            let grown = (surprise(n as f64) - surprise((n - quarter) as f64)).max(1.0);
            let step = (before - self.reference[n - 1 - quarter]).max(SMALLEST_STEP);
            return surprise(n as f64) + grown * ((distance - before) / step).ln_1p();
        };
        // Ties count against surprise: exactly at `after`, only those strictly nearer are counted.
        surprise(nearer as f64 - 1.0 + (distance - before) / (after - before))
    }

    fn scale(&self, point: &[f64]) -> Vec<f64> {
        point.iter().zip(&self.units).map(|(x, unit)| x / unit).collect()
    }

    /// The mean distance of a scaled point to its nearest normals, but for the one `except`.
    fn neighbour_distance(&self, scaled: &[f64], except: Option<usize>) -> f64 {
        let mut squares: Vec<f64> = self
            .points
            .chunks_exact(self.units.len())
            .enumerate()
            .filter(|&(index, _)| Some(index) != except)
            .map(|(_, other)| other.iter().zip(scaled).map(|(a, b)| (a - b) * (a - b)).sum())
            .collect();
        let k = NEIGHBOURS.min(squares.len());
        if k == 0 {
            return 0.0;
        }
        squares.select_nth_unstable_by(k - 1, f64::total_cmp);
        squares[..k].sort_unstable_by(f64::total_cmp);
        squares[..k].iter().map(|square| square.sqrt()).sum::<f64>() / k as f64
    }

    #[must_use]
    pub fn to_arrays(&self) -> DensityArrays {
        [self.units.clone(), self.points.clone(), self.reference.clone()]
    }

    /// The density that gave these arrays; `None` when their lengths don't fit each other.
    #[must_use]
    pub fn from_arrays([units, points, reference]: DensityArrays) -> Option<Self> {
        let (d, n) = (units.len(), reference.len());
        (d > 0 && n > 0 && points.len() == n * d).then_some(Self { units, points, reference })
    }
}

/// A linear regression of several outputs on a few inputs, by ridge-stabilised least squares.
#[derive(Debug, Clone, PartialEq)]
pub struct Regression {
    /// `[outputs, inputs + 1]`, row-major; the last column is the constant.
    coefficients: Vec<f64>,
    inputs: usize,
}

impl Regression {
    /// Fits `y [n, outputs]` on `x [n, inputs]`.
    ///
    /// # Panics
    /// When there are no rows: training checks that there are.
    #[must_use]
    pub fn fit(x: &[Vec<f64>], y: &[Vec<f64>]) -> Self {
        let (n, inputs, outputs) = (x.len(), x[0].len(), y[0].len());
        let center = |rows: &[Vec<f64>], width: usize| -> Vec<f64> {
            (0..width).map(|j| rows.iter().map(|row| row[j]).sum::<f64>() / n as f64).collect()
        };
        let (x_mean, y_mean) = (center(x, inputs), center(y, outputs));
        let x_centred = DMatrix::from_fn(n, inputs, |i, j| x[i][j] - x_mean[j]);
        let y_centred = DMatrix::from_fn(n, outputs, |i, j| y[i][j] - y_mean[j]);
        // A ridge of 1e-3 a row: sizes are logarithms, so this is nothing where they vary and zero slope where they don't.
        let normal = x_centred.transpose() * &x_centred + DMatrix::identity(inputs, inputs) * (1e-3 * n as f64);
        let slopes = normal.cholesky().map_or_else(
            || DMatrix::zeros(inputs, outputs),
            |factor| factor.solve(&(x_centred.transpose() * y_centred)),
        );
        let mut coefficients = Vec::with_capacity(outputs * (inputs + 1));
        for output in 0..outputs {
            coefficients.extend((0..inputs).map(|input| slopes[(input, output)]));
            coefficients.push(y_mean[output] - (0..inputs).map(|i| slopes[(i, output)] * x_mean[i]).sum::<f64>());
        }
        Self { coefficients, inputs }
    }

    /// What of `y` the regression on `x` leaves unexplained.
    #[must_use]
    pub fn residual(&self, x: &[f64], y: &[f64]) -> Vec<f64> {
        self.coefficients
            .chunks_exact(self.inputs + 1)
            .zip(y)
            .map(|(row, y)| y - row.iter().zip(x.iter().chain([&1.0])).map(|(c, x)| c * x).sum::<f64>())
            .collect()
    }

    #[must_use]
    pub fn coefficients(&self) -> &[f64] {
        &self.coefficients
    }

    /// The regression on `inputs` that has these coefficients; `None` when their number doesn't fit.
    #[must_use]
    pub fn from_coefficients(coefficients: Vec<f64>, inputs: usize) -> Option<Self> {
        let fits = !coefficients.is_empty() && coefficients.len().is_multiple_of(inputs + 1);
        fits.then_some(Self { coefficients, inputs })
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::{OneClass, Regression, deviations};
    use crate::nn::seed::stream;

    fn cloud(n: usize) -> Vec<Vec<f64>> {
        let mut rng = stream(3, "test", 0);
        (0..n)
            .map(|_| {
                let (a, b): (f64, f64) = (rng.random_range(-1.0..1.0), rng.random_range(-1.0..1.0));
                vec![10.0 * a, b, 7.0]
            })
            .collect()
    }

    #[test]
    fn surprise_grows_away_from_the_normals_on_every_side() {
        let density = OneClass::fit(&cloud(300), deviations(&cloud(300), 0.01));
        let inside = density.surprise(&[0.0, 0.0, 7.0]);
        for direction in [[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.2, 0.0], [0.0, -0.2, 0.1], [0.0, 0.0, 0.05]] {
            let mut last = inside;
            for reach in [15.0, 20.0, 30.0, 60.0] {
                let point: Vec<f64> = [0.0, 0.0, 7.0].iter().zip(direction).map(|(x, d)| x + reach * d).collect();
                let surprise = density.surprise(&point);
                assert!(surprise > last && surprise.is_finite(), "{direction:?} {reach}: {surprise} after {last}");
                last = surprise;
            }
        }
    }

    #[test]
    fn identical_normals_surprise_nobody_but_a_stranger() {
        let density = OneClass::fit(&vec![vec![4.0, 4.0]; 50], vec![0.01; 2]);
        assert_eq!(density.surprise(&[4.0, 4.0]), 0.0);
        assert!(density.surprise(&[4.0, 4.1]) > 5.0);
    }

    #[test]
    fn one_normal_is_enough() {
        let density = OneClass::fit(&[vec![1.0]], vec![0.1]);
        assert!(density.surprise(&[5.0]) > density.surprise(&[1.0]));
    }

    #[test]
    fn arrays_round_trip_and_are_checked() {
        let density = OneClass::fit(&cloud(20), vec![0.5; 3]);
        assert_eq!(OneClass::from_arrays(density.to_arrays()).as_ref(), Some(&density));
        let [units, mut points, reference] = density.to_arrays();
        points.pop();
        assert_eq!(OneClass::from_arrays([units, points, reference]), None);
    }

    #[test]
    fn residuals_of_a_line_vanish() {
        let x: Vec<Vec<f64>> = (0..50).map(|i| vec![f64::from(i) / 5.0, 1.0]).collect();
        let y: Vec<Vec<f64>> = x.iter().map(|x| vec![3.0 * x[0] + 2.0, -x[0]]).collect();
        let regression = Regression::fit(&x, &y);
        let residual = regression.residual(&x[7], &y[7]);
        assert!(residual.iter().all(|r| r.abs() < 1e-2), "{residual:?}");
        let copy = Regression::from_coefficients(regression.coefficients().to_vec(), 2);
        assert_eq!(copy, Some(regression));
    }
}

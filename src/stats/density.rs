//! One-class densities: how far a graph's numbers lie from those of the normal class.
//!
//! A point's distance to its nearest normals, set against the normals' own distances to one another, is a surprise in nats.
//! Two-sided by nature: what matters is how few normals lie near, not on which side of them.

use nalgebra::DMatrix;

/// The smallest difference of distances that counts, where the normals hardly differ.
const SMALLEST_STEP: f64 = 0.1;

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

/// Normal points, each coordinate in its own unit.
///
/// Coordinates are scaled but not decorrelated: a covariance in twenty dimensions, of a hundred normals, would be mostly
/// noise.
#[derive(Debug, Clone, PartialEq)]
pub struct Points {
    /// `[d]`: the unit of each coordinate.
    units: Vec<f64>,
    /// `[n, d]`, in those units.
    scaled: Vec<f64>,
}

impl Points {
    /// `points`, each of dimension `units.len()`.
    #[must_use]
    pub fn new(points: &[Vec<f64>], units: Vec<f64>) -> Self {
        let scaled = points.iter().flat_map(|point| point.iter().zip(&units).map(|(x, unit)| x / unit)).collect();
        Self { units, scaled }
    }

    /// The points in their units `[n, d]`, and the units `[d]`.
    #[must_use]
    pub fn parts(&self) -> (&[f64], &[f64]) {
        (&self.scaled, &self.units)
    }

    /// The points that have these parts; `None` when their lengths don't fit each other.
    #[must_use]
    pub fn from_parts(scaled: Vec<f64>, units: Vec<f64>) -> Option<Self> {
        let fits = !units.is_empty() && scaled.len().is_multiple_of(units.len());
        fits.then_some(Self { units, scaled })
    }

    /// n.
    #[must_use]
    pub fn len(&self) -> usize {
        self.scaled.len() / self.units.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.scaled.is_empty()
    }

    /// The distance of a point to each normal.
    pub fn distances(&self, point: &[f64]) -> Vec<f64> {
        let point: Vec<f64> = point.iter().zip(&self.units).map(|(x, unit)| x / unit).collect();
        let distance = |other: &[f64]| other.iter().zip(&point).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt();
        self.scaled.chunks_exact(self.units.len()).map(distance).collect()
    }
}

/// The mean of the `k` smallest distances but for those left out; 0 where none is left.
#[must_use]
pub fn to_nearest(distances: &[f64], k: usize, is_left_out: impl Fn(usize) -> bool) -> f64 {
    let mut distances: Vec<f64> =
        distances.iter().enumerate().filter(|&(index, _)| !is_left_out(index)).map(|(_, &distance)| distance).collect();
    let k = k.min(distances.len());
    if k == 0 {
        return 0.0;
    }
    distances.select_nth_unstable_by(k - 1, f64::total_cmp);
    // Added up in order: the sum must not depend on how they were found.
    distances[..k].sort_unstable_by(f64::total_cmp);
    distances[..k].iter().sum::<f64>() / k as f64
}

/// What the normals' distances are, and so how surprising another one is.
#[derive(Debug, Clone, PartialEq)]
pub struct Surprises {
    /// Ascending.
    reference: Vec<f64>,
}

impl Surprises {
    /// # Panics
    /// When there are no values: training checks that there are.
    #[must_use]
    pub fn of(mut reference: Vec<f64>) -> Self {
        assert!(!reference.is_empty(), "a density needs points");
        reference.sort_unstable_by(f64::total_cmp);
        Self { reference }
    }

    /// Ascending.
    #[must_use]
    pub fn reference(&self) -> &[f64] {
        &self.reference
    }

    /// The surprises that have this reference; `None` without any.
    #[must_use]
    pub fn from_reference(reference: Vec<f64>) -> Option<Self> {
        (!reference.is_empty()).then(|| Self::of(reference))
    }

    /// How surprising a value is: −ln of the share of normals at least as far.
    ///
    /// Interpolated between ranks, and continued beyond the farthest normal, so that it ranks what lies farther out.
    /// Surprises of different densities are comparable.
    #[must_use]
    pub fn surprise(&self, value: f64) -> f64 {
        let n = self.reference.len();
        // −ln of the share of normals at least as far, when `nearer` of them are nearer.
        let surprise = |nearer: f64| ((n as f64 + 1.0) / (n as f64 + 1.0 - nearer)).ln();
        let nearer = self.reference.partition_point(|&other| other < value);
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
            return surprise(n as f64) + grown * ((value - before) / step).ln_1p();
        };
        // Ties count against surprise: exactly at `after`, only those strictly nearer are counted.
        surprise(nearer as f64 - 1.0 + (value - before) / (after - before))
    }
}

/// How distances shrink as graphs grow, and what of a distance that leaves unexplained.
///
/// Numbers that are shares of a graph's nodes scatter by sampling alone, as n^(−½): uncorrected, small graphs look strange
/// and large ones typical.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SizeTrend {
    /// Of ln(distance + [`DISTANCE_FLOOR`]) over ln n; between −½ and 0.
    slope: f64,
    /// The mean of ln n over the normals.
    centre: f64,
    /// The normals' smallest and largest ln n: no trend is carried beyond.
    range: [f64; 2],
}

/// Distances are told apart by their logarithm down to about this.
pub const DISTANCE_FLOOR: f64 = 0.1;

impl SizeTrend {
    /// Takes nothing out.
    pub const NONE: Self = Self { slope: 0.0, centre: 0.0, range: [0.0; 2] };

    /// By least squares, with a little ridge: no trend where sizes don't vary. One ln n and one distance for each normal.
    #[must_use]
    pub fn fit(log_sizes: &[f64], distances: &[f64]) -> Self {
        const RIDGE: f64 = 1e-3;
        let n = log_sizes.len().max(1) as f64;
        let logs: Vec<f64> = distances.iter().map(|distance| (distance + DISTANCE_FLOOR).ln()).collect();
        let centre = log_sizes.iter().sum::<f64>() / n;
        let mean = logs.iter().sum::<f64>() / n;
        let products: f64 = log_sizes.iter().zip(&logs).map(|(x, y)| (x - centre) * (y - mean)).sum();
        let squares: f64 = log_sizes.iter().map(|x| (x - centre).powi(2)).sum();
        let range = log_sizes.iter().fold([centre; 2], |[low, high], &x| [low.min(x), high.max(x)]);
        Self { slope: (products / (squares + RIDGE * n)).clamp(-0.5, 0.0), centre, range }
    }

    /// A distance as it would be in a graph of the normals' mean size, and [`DISTANCE_FLOOR`].
    #[must_use]
    pub fn residual(&self, log_size: f64, distance: f64) -> f64 {
        let x = log_size.clamp(self.range[0], self.range[1]);
        (distance + DISTANCE_FLOOR) * (-self.slope * (x - self.centre)).exp()
    }

    /// Slope, centre and range.
    #[must_use]
    pub fn to_array(&self) -> [f64; 4] {
        [self.slope, self.centre, self.range[0], self.range[1]]
    }

    /// `None` where the numbers are no trend's.
    #[must_use]
    pub fn from_array([slope, centre, low, high]: [f64; 4]) -> Option<Self> {
        (low <= high && slope.is_finite() && centre.is_finite()).then_some(Self { slope, centre, range: [low, high] })
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

    use super::{Points, Regression, SizeTrend, Surprises, deviations, to_nearest};
    use crate::nn::seed::stream;

    /// Points with the surprises of their distances to their 5 nearest.
    struct Cloud {
        points: Points,
        surprises: Surprises,
    }

    impl Cloud {
        fn of(points: &[Vec<f64>], units: Vec<f64>) -> Self {
            let known = Points::new(points, units);
            let own =
                |(index, point): (usize, &Vec<f64>)| to_nearest(&known.distances(point), 5, |other| other == index);
            Self { surprises: Surprises::of(points.iter().enumerate().map(own).collect()), points: known }
        }

        fn surprise(&self, point: &[f64]) -> f64 {
            self.surprises.surprise(to_nearest(&self.points.distances(point), 5, |_| false))
        }
    }

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
        let density = Cloud::of(&cloud(300), deviations(&cloud(300), 0.01));
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
        let density = Cloud::of(&vec![vec![4.0, 4.0]; 50], vec![0.01; 2]);
        assert_eq!(density.surprise(&[4.0, 4.0]), 0.0);
        assert!(density.surprise(&[4.0, 4.1]) > 5.0);
    }

    #[test]
    fn one_normal_is_enough() {
        let density = Cloud::of(&[vec![1.0]], vec![0.1]);
        assert!(density.surprise(&[5.0]) > density.surprise(&[1.0]));
    }

    #[test]
    fn the_nearest_are_averaged_and_some_left_out() {
        let distances = [9.0, 1.0, 2.0, 100.0, 3.0];
        assert_eq!(to_nearest(&distances, 3, |_| false), 2.0);
        assert_eq!(to_nearest(&distances, 2, |index| index == 1), 2.5);
        assert_eq!(to_nearest(&distances, 9, |index| index == 3), 15.0 / 4.0);
        assert_eq!(to_nearest(&distances, 3, |_| true), 0.0);
    }

    #[test]
    fn parts_round_trip_and_are_checked() {
        let points = Points::new(&cloud(20), vec![0.5; 3]);
        let (scaled, units) = points.parts();
        assert_eq!(Points::from_parts(scaled.to_vec(), units.to_vec()).as_ref(), Some(&points));
        assert_eq!(Points::from_parts(scaled[1..].to_vec(), units.to_vec()), None);
        assert_eq!(points.len(), 20);
        let trend = SizeTrend::fit(&[1.0, 2.0, 3.0], &[0.3, 0.2, 0.1]);
        assert_eq!(SizeTrend::from_array(trend.to_array()), Some(trend));
    }

    #[test]
    fn what_scatters_by_sampling_alone_is_taken_out() {
        let log_sizes: Vec<f64> = (0..60).map(|index| 2.0 + f64::from(index) / 20.0).collect();
        let distances: Vec<f64> = log_sizes.iter().map(|x| 4.0 * (-0.5 * x).exp() - 0.1).collect();
        let trend = SizeTrend::fit(&log_sizes, &distances);
        let residuals: Vec<f64> = log_sizes.iter().zip(&distances).map(|(&x, &d)| trend.residual(x, d)).collect();
        assert!(residuals.iter().all(|residual| (residual - residuals[0]).abs() < 0.02), "{residuals:?}");
        // Beyond the normals' sizes nothing is taken out that they didn't show.
        assert_eq!(trend.residual(9.0, 1.0), trend.residual(log_sizes[59], 1.0));
        // Distances that grow with size are no noise of sampling.
        let growing = SizeTrend::fit(&log_sizes, &log_sizes);
        assert_eq!(growing.residual(2.0, 1.0), growing.residual(4.0, 1.0));
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

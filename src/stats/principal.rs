//! The two directions in which points vary most (principal component analysis).

use nalgebra::{DMatrix, SymmetricEigen};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Projection {
    /// Of each point, along the first and the second component.
    pub coordinates: Vec<[f64; 2]>,
    /// The share of the variance that each of the two has.
    pub explained: [f64; 2],
}

/// A component with no more than this share of the variance is rounding, and all points are at 0 along it.
const NOTHING: f64 = 1e-12;

/// Projects points, all of one dimension and finite, to their first two principal components.
///
/// A component's sign is that in which its largest entry is positive, so that the same points give the same picture.
#[must_use]
pub fn two_components(points: &[Vec<f64>]) -> Projection {
    let (n, d) = (points.len(), points.first().map_or(0, Vec::len));
    if n == 0 || d == 0 {
        return Projection { coordinates: vec![[0.0; 2]; n], explained: [0.0; 2] };
    }
    let mut centred = DMatrix::from_fn(n, d, |i, j| points[i][j]);
    for mut column in centred.column_iter_mut() {
        let mean = column.mean();
        column.add_scalar_mut(-mean);
    }
    let SymmetricEigen { eigenvectors, eigenvalues } = SymmetricEigen::new(centred.transpose() * &centred);
    let mut order: Vec<usize> = (0..d).collect();
    order.sort_by(|&a, &b| eigenvalues[b].total_cmp(&eigenvalues[a]));
    let total: f64 = eigenvalues.iter().map(|value| value.max(0.0)).sum();
    let mut projection = Projection { coordinates: vec![[0.0; 2]; n], explained: [0.0; 2] };
    let varies = |component: &&usize| eigenvalues[**component] > NOTHING * total;
    for (place, &component) in order.iter().take(2).filter(varies).enumerate() {
        let direction = eigenvectors.column(component);
        let largest =
            direction.iter().copied().fold(0.0, |largest: f64, x| if x.abs() > largest.abs() { x } else { largest });
        let along = &centred * direction * if largest < 0.0 { -1.0 } else { 1.0 };
        projection.coordinates.iter_mut().zip(along.iter()).for_each(|(point, x)| point[place] = *x);
        projection.explained[place] = eigenvalues[component] / total;
    }
    projection
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: &[f64; 2], b: [f64; 2]) -> bool {
        a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9)
    }

    /// By hand: points on the line (1, 2)/√5 through (0, 1), and nothing beside it.
    #[test]
    fn a_line_is_its_first_component() {
        let points: Vec<Vec<f64>> = [-1.0, 0.0, 1.0].iter().map(|t| vec![*t, 1.0 + 2.0 * t]).collect();
        let Projection { coordinates, explained } = two_components(&points);
        for (point, x) in coordinates.iter().zip([-5.0_f64.sqrt(), 0.0, 5.0_f64.sqrt()]) {
            assert!(close(point, [x, 0.0]) && point[1] == 0.0, "{coordinates:?}");
        }
        assert!(close(&explained, [1.0, 0.0]) && explained[1] == 0.0);
    }

    /// By hand: three units to both sides along (0.6, 0.8), one along (-0.8, 0.6), so 9/10 and 1/10 of the variance. The
    /// largest entry of the second direction is its first, so it points along (0.8, -0.6).
    #[test]
    fn axes_come_in_the_order_of_their_variance_with_their_signs() {
        let around = |x: f64, y: f64| vec![5.0 + x, -2.0 + y];
        let points = [around(-0.8, 0.6), around(1.8, 2.4), around(0.8, -0.6), around(-1.8, -2.4)];
        let projection = two_components(&points);
        for (point, expected) in projection.coordinates.iter().zip([[0.0, -1.0], [3.0, 0.0], [0.0, 1.0], [-3.0, 0.0]]) {
            assert!(close(point, expected), "{:?}", projection.coordinates);
        }
        assert!(close(&projection.explained, [0.9, 0.1]), "{:?}", projection.explained);
    }

    #[test]
    fn what_does_not_vary_has_no_component() {
        assert_eq!(two_components(&[]).coordinates, Vec::<[f64; 2]>::new());
        assert_eq!(two_components(&[vec![], vec![]]).coordinates, [[0.0; 2]; 2]);
        let same = two_components(&[vec![3.0, 1.0], vec![3.0, 1.0]]);
        assert_eq!((same.coordinates, same.explained), (vec![[0.0; 2]; 2], [0.0; 2]));
        assert_eq!(two_components(&[vec![1.0], vec![3.0]]).coordinates, [[-1.0, 0.0], [1.0, 0.0]]);
    }
}

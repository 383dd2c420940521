//! Twelve numbers that graph theory has always had, and the nearest neighbours by them.

use rayon::prelude::*;

use super::{Asked, NEIGHBOURS};
use crate::graph::Graph;
use crate::graph::structure::Structure;
use crate::stats::density::{deviations, to_nearest};

/// The smallest deviation of a statistic that counts: those that never vary among the normals would else decide alone.
const SMALLEST_DEVIATION: f64 = 0.01;

/// Each graph's mean distance to the nearest references, every statistic in units of its deviation over these.
pub(super) fn distances(references: &[&Graph], graphs: &[Asked<'_>]) -> Vec<f64> {
    let known: Vec<Vec<f64>> = references.par_iter().map(|graph| statistics(graph).to_vec()).collect();
    let units = deviations(&known, SMALLEST_DEVIATION);
    let distance = |a: &[f64], b: &[f64]| {
        a.iter().zip(b).zip(&units).map(|((a, b), unit)| ((a - b) / unit).powi(2)).sum::<f64>().sqrt()
    };
    let of_graph = |asked: &Asked<'_>| {
        let own = statistics(asked.graph);
        let distances: Vec<f64> = known.iter().map(|other| distance(&own, other)).collect();
        to_nearest(&distances, NEIGHBOURS, |index| Some(index) == asked.twin)
    };
    graphs.par_iter().map(of_graph).collect()
}

/// ln n, ln(1 + m), density, mean degree, ln of 1 + the greatest degree, the deviation of the degrees, ln of 1 + triangles
/// a node, transitivity, ln of components, ln of 1 + isolated nodes, the share of leaves, ln of 1 + independent cycles.
fn statistics(graph: &Graph) -> [f64; 12] {
    let of = Structure::of(graph);
    [
        of.nodes.ln(),
        of.edges.ln_1p(),
        of.density(),
        of.mean_degree(),
        of.greatest_degree.ln_1p(),
        of.degree_deviation,
        (of.triangles / of.nodes).ln_1p(),
        of.transitivity(),
        of.components.ln(),
        of.isolated.ln_1p(),
        of.leaves / of.nodes,
        of.independent_cycles().ln_1p(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::testing::graph;

    /// By hand: a triangle with a tail of one, and a node beside it.
    #[test]
    fn a_triangle_with_a_tail_and_a_lone_node() {
        let found = statistics(&graph(5, &[(0, 1), (1, 2), (2, 0), (2, 3)]));
        // Degrees 2, 2, 3, 1, 0: the mean is 1.6, the variance 1.04; 1 + 1 + 3 pairs of neighbours.
        let expected = [
            5.0_f64.ln(),
            5.0_f64.ln(),
            0.4,
            1.6,
            4.0_f64.ln(),
            1.04_f64.sqrt(),
            1.2_f64.ln(),
            3.0 / 5.0,
            2.0_f64.ln(),
            2.0_f64.ln(),
            0.2,
            2.0_f64.ln(),
        ];
        for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
            assert!((found - expected).abs() < 1e-12, "{index}: {found} is not {expected}");
        }
    }

    #[test]
    fn every_graph_has_finite_statistics() {
        for lone in [graph(1, &[]), graph(2, &[(0, 1)]), graph(3, &[])] {
            assert!(statistics(&lone).iter().all(|value| value.is_finite()), "{lone:?}");
        }
    }
}

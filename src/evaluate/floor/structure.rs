//! Twelve numbers that graph theory has always had, and the nearest neighbours by them.

use rayon::prelude::*;

use super::mean_of_nearest;
use crate::graph::Graph;
use crate::stats::density::deviations;

/// The smallest deviation of a statistic that counts: those that never vary among the normals would else decide alone.
const SMALLEST_DEVIATION: f64 = 0.01;

/// Each graph's mean distance to its nearest train graphs, every statistic in units of its deviation over these.
pub(super) fn distances(train: &[&Graph], graphs: &[&Graph]) -> Vec<f64> {
    let known: Vec<Vec<f64>> = train.par_iter().map(|graph| statistics(graph).to_vec()).collect();
    let units = deviations(&known, SMALLEST_DEVIATION);
    let distance = |a: &[f64], b: &[f64]| {
        a.iter().zip(b).zip(&units).map(|((a, b), unit)| ((a - b) / unit).powi(2)).sum::<f64>().sqrt()
    };
    let of_graph = |graph: &&Graph| {
        let own = statistics(graph);
        mean_of_nearest(known.iter().map(|other| distance(&own, other)).collect())
    };
    graphs.par_iter().map(of_graph).collect()
}

/// ln n, ln(1 + m), density, mean degree, ln of 1 + the greatest degree, the deviation of the degrees, ln of 1 + triangles
/// a node, transitivity, ln of components, ln of 1 + isolated nodes, the share of leaves, ln of 1 + independent cycles.
fn statistics(graph: &Graph) -> [f64; 12] {
    let (n, m) = (graph.node_count() as f64, graph.edge_count() as f64);
    let degrees: Vec<f64> = graph.nodes().map(|node| graph.degree(node) as f64).collect();
    let mean_degree = 2.0 * m / n;
    let variance = degrees.iter().map(|degree| (degree - mean_degree).powi(2)).sum::<f64>() / n;
    let pairs_of_neighbours: f64 = degrees.iter().map(|degree| degree * (degree - 1.0) / 2.0).sum();
    let triangles = triangles(graph) as f64;
    let components = components(graph) as f64;
    let with_degree = |wanted: f64| degrees.iter().filter(|&&degree| degree == wanted).count() as f64;
    [
        n.ln(),
        m.ln_1p(),
        if n > 1.0 { 2.0 * m / (n * (n - 1.0)) } else { 0.0 },
        mean_degree,
        degrees.iter().copied().fold(0.0, f64::max).ln_1p(),
        variance.sqrt(),
        (triangles / n).ln_1p(),
        if pairs_of_neighbours > 0.0 { 3.0 * triangles / pairs_of_neighbours } else { 0.0 },
        components.ln(),
        with_degree(0.0).ln_1p(),
        with_degree(1.0) / n,
        (m - n + components).ln_1p(),
    ]
}

/// Each triangle is found at its edge between the two smaller nodes.
fn triangles(graph: &Graph) -> usize {
    let common_above = |(a, b): (u32, u32)| {
        let (mut left, mut right) = (graph.neighbours(a), graph.neighbours(b));
        let mut count = 0;
        while let (Some(&x), Some(&y)) = (left.first(), right.first()) {
            count += usize::from(x == y && x > b);
            left = &left[usize::from(x <= y)..];
            right = &right[usize::from(y <= x)..];
        }
        count
    };
    graph.edges().map(common_above).sum()
}

fn components(graph: &Graph) -> usize {
    let mut seen = vec![false; graph.node_count()];
    let mut waiting = Vec::new();
    let mut count = 0;
    for start in graph.nodes() {
        if std::mem::replace(&mut seen[start as usize], true) {
            continue;
        }
        count += 1;
        waiting.push(start);
        while let Some(node) = waiting.pop() {
            for &next in graph.neighbours(node) {
                if !std::mem::replace(&mut seen[next as usize], true) {
                    waiting.push(next);
                }
            }
        }
    }
    count
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

    #[test]
    fn cliques_have_all_their_triangles() {
        let clique = |n: u64| graph(n, &(0..n).flat_map(|a| (a + 1..n).map(move |b| (a, b))).collect::<Vec<_>>());
        assert_eq!((triangles(&clique(4)), triangles(&clique(7))), (4, 35));
    }
}

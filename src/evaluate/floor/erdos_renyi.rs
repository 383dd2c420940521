//! The likelihood of the simplest model there is: every pair of nodes is an edge with the same probability.

use crate::graph::Graph;

/// The probability of an edge, from the train graphs; half an edge more each way, so that it is never 0 or 1.
pub(super) fn density(train: &[&Graph]) -> f64 {
    let edges: f64 = train.iter().map(|graph| graph.edge_count() as f64).sum();
    let pairs: f64 = train.iter().map(|graph| pairs(graph)).sum();
    (edges + 0.5) / (pairs + 1.0)
}

/// (−m ln p − (n(n−1)/2 − m) ln(1 − p))/n, in nats.
pub(super) fn nll_per_node(graph: &Graph, p: f64) -> f64 {
    let edges = graph.edge_count() as f64;
    -(edges * p.ln() + (pairs(graph) - edges) * (-p).ln_1p()) / graph.node_count() as f64
}

fn pairs(graph: &Graph) -> f64 {
    let n = graph.node_count() as f64;
    n * (n - 1.0) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::testing::graph;

    /// By hand: 3 of 6 pairs and 1 of 1 give p = 4.5/8; a path of four then costs (3 ln(16/9) + 3 ln(16/7))/4.
    #[test]
    fn a_path_of_four() {
        let (path, edge) = (graph(4, &[(0, 1), (1, 2), (2, 3)]), graph(2, &[(0, 1)]));
        let p = density(&[&path, &edge]);
        assert_eq!(p, 4.5 / 8.0);
        let expected = 3.0 * ((16.0_f64 / 9.0).ln() + (16.0_f64 / 7.0).ln()) / 4.0;
        assert!((nll_per_node(&path, p) - expected).abs() < 1e-12);
    }

    #[test]
    fn graphs_of_one_node_and_of_no_edge_have_a_likelihood() {
        let lone = graph(1, &[]);
        let p = density(&[&lone]);
        assert_eq!((p, nll_per_node(&lone, p)), (0.5, 0.0));
        assert!(nll_per_node(&graph(5, &[]), density(&[&graph(5, &[])])).is_finite());
    }
}

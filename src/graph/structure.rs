//! Numbers that graph theory has always had, counted once.

use super::Graph;
use super::connectivity::Connectivity;

/// What can be counted of a graph without learning anything.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Structure {
    pub nodes: f64,
    pub edges: f64,
    pub greatest_degree: f64,
    /// The standard deviation of the degrees.
    pub degree_deviation: f64,
    pub triangles: f64,
    /// Paths of two edges: pairs of neighbours of a node.
    pub wedges: f64,
    pub components: f64,
    /// Nodes without a neighbour, and with one.
    pub isolated: f64,
    pub leaves: f64,
    /// Mean and standard deviation over the nodes of the share of their pairs of neighbours that are joined (Watts & Strogatz
    /// 1998); 0 for a node with fewer than two neighbours.
    pub clustering: f64,
    pub clustering_deviation: f64,
}

impl Structure {
    #[must_use]
    pub fn of(graph: &Graph) -> Self {
        let n = graph.node_count() as f64;
        let degrees: Vec<f64> = graph.nodes().map(|node| graph.degree(node) as f64).collect();
        let triangles = triangles(graph);
        let pairs = |degree: f64| degree * (degree - 1.0) / 2.0;
        let clustering: Vec<f64> = degrees
            .iter()
            .zip(&triangles)
            .map(|(&degree, &triangles)| if degree < 2.0 { 0.0 } else { triangles as f64 / pairs(degree) })
            .collect();
        let with_degree = |wanted: f64| degrees.iter().filter(|&&degree| degree == wanted).count() as f64;
        let (_, degree_deviation) = moments(&degrees);
        let (clustering, clustering_deviation) = moments(&clustering);
        Self {
            nodes: n,
            edges: graph.edge_count() as f64,
            greatest_degree: degrees.iter().copied().fold(0.0, f64::max),
            degree_deviation,
            triangles: triangles.iter().sum::<u64>() as f64 / 3.0,
            wedges: degrees.iter().map(|&degree| pairs(degree)).sum(),
            components: Connectivity::of(graph).component_count() as f64,
            isolated: with_degree(0.0),
            leaves: with_degree(1.0),
            clustering,
            clustering_deviation,
        }
    }

    #[must_use]
    pub fn mean_degree(&self) -> f64 {
        2.0 * self.edges / self.nodes
    }

    /// The share of pairs of nodes that are joined; 0 of a lone node.
    #[must_use]
    pub fn density(&self) -> f64 {
        if self.nodes > 1.0 { 2.0 * self.edges / (self.nodes * (self.nodes - 1.0)) } else { 0.0 }
    }

    /// The share of wedges whose ends are joined; 0 without wedges.
    #[must_use]
    pub fn transitivity(&self) -> f64 {
        if self.wedges > 0.0 { 3.0 * self.triangles / self.wedges } else { 0.0 }
    }

    /// Edges beyond those of a forest of as many components.
    #[must_use]
    pub fn independent_cycles(&self) -> f64 {
        self.edges - self.nodes + self.components
    }
}

/// Mean and standard deviation.
fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt())
}

/// How many triangles each node is in.
///
/// Each edge is followed from its end of smaller degree: no node has many such edges, so that a hub costs no more than
/// others (Chiba & Nishizeki 1985: at most √m steps an edge).
fn triangles(graph: &Graph) -> Vec<u64> {
    let rank = |node: u32| (graph.degree(node), node);
    let ahead: Vec<Vec<u32>> = graph
        .nodes()
        .map(|node| graph.neighbours(node).iter().copied().filter(|&other| rank(other) > rank(node)).collect())
        .collect();
    let mut count = vec![0; graph.node_count()];
    for a in graph.nodes() {
        for &b in &ahead[a as usize] {
            let (mut left, mut right) = (ahead[a as usize].as_slice(), ahead[b as usize].as_slice());
            while let (Some(&x), Some(&y)) = (left.first(), right.first()) {
                if x == y {
                    [a, b, x].into_iter().for_each(|node| count[node as usize] += 1);
                }
                left = &left[usize::from(x <= y)..];
                right = &right[usize::from(y <= x)..];
            }
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Structure, triangles};
    use crate::graph::testing::{any_graph, any_relabelling, complete, graph};

    /// By hand: a triangle with a tail of one, and a node beside it.
    #[test]
    fn a_triangle_with_a_tail_and_a_lone_node() {
        let found = Structure::of(&graph(5, &[(0, 1), (1, 2), (2, 0), (2, 3)]));
        assert_eq!((found.nodes, found.edges, found.greatest_degree), (5.0, 4.0, 3.0));
        assert_eq!((found.triangles, found.wedges, found.components), (1.0, 5.0, 2.0));
        assert_eq!((found.isolated, found.leaves), (1.0, 1.0));
        assert_eq!((found.mean_degree(), found.density(), found.transitivity()), (1.6, 0.4, 0.6));
        assert_eq!(found.independent_cycles(), 1.0);
        // Clustering 1, 1, 1/3, 0, 0.
        assert!((found.clustering - 7.0 / 15.0).abs() < 1e-12);
        let variance =
            (2.0 * (8.0_f64 / 15.0).powi(2) + (2.0_f64 / 15.0).powi(2) + 2.0 * (7.0_f64 / 15.0).powi(2)) / 5.0;
        assert!((found.clustering_deviation - variance.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn the_ends() {
        let lone = Structure::of(&graph(1, &[]));
        assert_eq!((lone.density(), lone.transitivity(), lone.clustering), (0.0, 0.0, 0.0));
        let clique = Structure::of(&complete(5));
        assert_eq!(
            (clique.triangles, clique.density(), clique.transitivity(), clique.clustering),
            (10.0, 1.0, 1.0, 1.0)
        );
    }

    proptest! {
        #[test]
        fn triangles_are_those_of_all_triples(graph in any_graph(10)) {
            let mut expected = vec![0; graph.node_count()];
            for a in graph.nodes() {
                for b in a + 1..graph.node_count() as u32 {
                    for c in b + 1..graph.node_count() as u32 {
                        if graph.has_edge(a, b) && graph.has_edge(b, c) && graph.has_edge(a, c) {
                            [a, b, c].into_iter().for_each(|node| expected[node as usize] += 1);
                        }
                    }
                }
            }
            prop_assert_eq!(triangles(&graph), expected);
        }

        #[test]
        fn the_names_of_nodes_do_not_matter((graph, permutation) in any_relabelling(8)) {
            let (one, two) = (Structure::of(&graph), Structure::of(&graph.relabelled(&permutation)));
            prop_assert_eq!((one.triangles, one.components, one.leaves), (two.triangles, two.components, two.leaves));
            prop_assert!((one.clustering - two.clustering).abs() < 1e-12);
        }
    }
}

//! Which edges and non-edges of a graph are judged.

use rand::{Rng, RngExt};

use crate::graph::Graph;

/// An edge, and a non-edge to set against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EdgeSample {
    pub edge: (u32, u32),
    /// A pair of distinct nodes without an edge, anchored at an end of `edge` where that end has a non-neighbour. `None`
    /// when the graph is complete: it has no non-edge.
    pub non_edge: Option<(u32, u32)>,
}

/// Draws `count` edges of the graph, each with a non-edge; none when the graph has no edges.
///
/// Every edge comes up ⌊count/m⌋ or ⌈count/m⌉ times: with at most `count` edges nothing is left to chance but the
/// remainder, with more they are drawn without replacement. The edges come sorted, so that repeats stand together.
pub fn draw(graph: &Graph, count: usize, rng: &mut impl Rng) -> Vec<EdgeSample> {
    let mut edges = Vec::with_capacity(graph.edge_count());
    edges.extend(graph.edges());
    if edges.is_empty() {
        return Vec::new();
    }
    let mut chosen = Vec::with_capacity(count);
    chosen.extend((0..edges.len()).flat_map(|edge| std::iter::repeat_n(edge, count / edges.len())));
    let remainder = count % edges.len();
    chosen.extend(rand::seq::index::sample(rng, edges.len(), remainder));
    chosen.sort_unstable();
    chosen
        .into_iter()
        .map(|index| {
            let (u, v) = edges[index];
            let (first, second) = if rng.random() { (u, v) } else { (v, u) };
            let non_edge = draw_non_neighbour(graph, first, rng)
                .or_else(|| draw_non_neighbour(graph, second, rng))
                .or_else(|| draw_elsewhere(graph, rng));
            EdgeSample { edge: (u, v), non_edge }
        })
        .collect()
}

/// A uniform non-neighbour of `anchor`, as a pair; `None` for a universal node.
fn draw_non_neighbour(graph: &Graph, anchor: u32, rng: &mut impl Rng) -> Option<(u32, u32)> {
    let free = graph.node_count() - 1 - graph.degree(anchor);
    if free == 0 {
        return None;
    }
    // The k-th node that is neither the anchor nor a neighbour: walk over the sorted gaps.
    let mut node = rng.random_range(0..free as u32);
    let neighbours = graph.neighbours(anchor);
    let (before, after) = neighbours.split_at(neighbours.partition_point(|&neighbour| neighbour < anchor));
    for &occupied in before.iter().chain([&anchor]).chain(after) {
        if node < occupied {
            break;
        }
        node += 1;
    }
    Some((anchor, node))
}

/// A non-edge anywhere: the anchor is a uniform node that isn't universal.
fn draw_elsewhere(graph: &Graph, rng: &mut impl Rng) -> Option<(u32, u32)> {
    let n = graph.node_count();
    let anchors = || graph.nodes().filter(|&node| graph.degree(node) + 1 < n);
    let chosen = rng.random_range(0..anchors().count().max(1));
    let anchor = anchors().nth(chosen)?;
    draw_non_neighbour(graph, anchor, rng)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::draw;
    use crate::graph::{Graph, Limits};
    use crate::nn::seed::stream;

    fn graph(nodes: u64, edges: &[(u64, u64)]) -> Graph {
        Graph::new(nodes, edges, None, &Limits::default()).unwrap().0
    }

    #[test]
    fn a_graph_without_edges_has_no_samples() {
        assert!(draw(&graph(3, &[]), 100, &mut stream(0, "test", 0)).is_empty());
    }

    #[test]
    fn a_clique_has_positives_alone() {
        let clique = graph(4, &[(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]);
        let samples = draw(&clique, 10, &mut stream(0, "test", 0));
        assert_eq!(samples.len(), 10);
        assert!(samples.iter().all(|sample| sample.non_edge.is_none()));
    }

    #[test]
    fn a_universal_edge_takes_its_non_edge_elsewhere() {
        // 0 and 1 are universal; 2 and 3 are not joined.
        let wheel = graph(4, &[(0, 1), (0, 2), (0, 3), (1, 2), (1, 3)]);
        let samples = draw(&wheel, 50, &mut stream(0, "test", 0));
        for sample in samples {
            let (a, b) = sample.non_edge.unwrap();
            assert_eq!((a.min(b), a.max(b)), (2, 3));
        }
    }

    proptest! {
        #[test]
        fn edges_come_evenly_and_non_edges_are_none(
            n in 2_u64..12, seed: u64, count in 0_usize..60, bits in proptest::collection::vec(any::<bool>(), 66)
        ) {
            let pairs = (0..n).flat_map(|a| (a + 1..n).map(move |b| (a, b)));
            let edges: Vec<_> = pairs.zip(bits).filter_map(|(pair, bit)| bit.then_some(pair)).collect();
            let graph = graph(n, &edges);
            let samples = draw(&graph, count, &mut stream(seed, "test", 0));
            prop_assert_eq!(samples.len(), if edges.is_empty() { 0 } else { count });
            let mut times: BTreeMap<_, usize> = BTreeMap::new();
            let complete = edges.len() as u64 == n * (n - 1) / 2;
            for sample in samples {
                prop_assert!(graph.has_edge(sample.edge.0, sample.edge.1));
                *times.entry(sample.edge).or_default() += 1;
                prop_assert_eq!(sample.non_edge.is_none(), complete);
                if let Some((a, b)) = sample.non_edge {
                    prop_assert!(a != b && u64::from(b) < n && !graph.has_edge(a, b));
                }
            }
            if !edges.is_empty() {
                let low = count / edges.len();
                let all = edges.iter().map(|&(a, b)| times.get(&(a as u32, b as u32)).copied().unwrap_or(0));
                prop_assert!(all.into_iter().all(|times| times == low || times == low + 1));
            }
        }
    }
}

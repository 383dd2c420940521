//! Shortest paths, with and without a given edge.

use super::Graph;

/// The distance of a node that was not reached.
pub const UNREACHED: u32 = u32::MAX;

/// Breadth-first searches that reuse their memory: after the first search in a graph of some size, none allocates.
#[derive(Debug, Default)]
pub struct PathFinder {
    /// For each node, the search and side that saw it last: `2 × search` from the start, `2 × search + 1` from the end.
    stamps: Vec<u64>,
    search: u64,
    forward: Frontier,
    backward: Frontier,
    distances: Vec<u32>,
}

/// One side of a search: the nodes at the last distance that it reached.
#[derive(Debug, Default)]
struct Frontier {
    nodes: Vec<u32>,
    next: Vec<u32>,
}

impl Frontier {
    fn start_at(&mut self, node: u32) {
        self.nodes.clear();
        self.nodes.push(node);
        self.next.clear();
    }

    fn advance(&mut self) {
        std::mem::swap(&mut self.nodes, &mut self.next);
        self.next.clear();
    }

    /// The arcs that the next step follows.
    fn cost(&self, graph: &Graph) -> usize {
        self.nodes.iter().map(|&node| graph.degree(node)).sum()
    }
}

impl PathFinder {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of edges on a shortest path between two nodes, as if `without_edge` were not in the graph; `None`
    /// where there is no path, or none of at most `cap` edges.
    ///
    /// Searches from both ends, always the cheaper one next, until they meet.
    ///
    /// # Panics
    /// If `from` or `to` is not a node of `graph`.
    pub fn distance(
        &mut self,
        graph: &Graph,
        from: u32,
        to: u32,
        without_edge: Option<(u32, u32)>,
        cap: u32,
    ) -> Option<u32> {
        if from == to {
            return Some(0);
        }
        // Of neighbours most have another in common, where edges cluster.
        if cap >= 2
            && have_common_neighbour(graph, from, to, without_edge)
            && (is_edge(without_edge, from, to) || !graph.has_edge(from, to))
        {
            return Some(2);
        }
        self.search += 1;
        let (seen_forward, seen_backward) = (2 * self.search, 2 * self.search + 1);
        if self.stamps.len() < graph.node_count() {
            self.stamps.resize(graph.node_count(), 0);
        }
        self.stamps[from as usize] = seen_forward;
        self.stamps[to as usize] = seen_backward;
        self.forward.start_at(from);
        self.backward.start_at(to);
        for length in 1..=cap {
            // Both sides go on a whole step at a time, so the first edge between them closes a shortest path.
            let is_forward_cheaper = self.forward.cost(graph) <= self.backward.cost(graph);
            let (side, own, other) = if is_forward_cheaper {
                (&mut self.forward, seen_forward, seen_backward)
            } else {
                (&mut self.backward, seen_backward, seen_forward)
            };
            for &node in &side.nodes {
                for &neighbour in graph.neighbours(node) {
                    let stamp = &mut self.stamps[neighbour as usize];
                    if *stamp == own || is_edge(without_edge, node, neighbour) {
                        continue;
                    }
                    if *stamp == other {
                        return Some(length);
                    }
                    *stamp = own;
                    side.next.push(neighbour);
                }
            }
            side.advance();
            if side.nodes.is_empty() {
                return None;
            }
        }
        None
    }

    /// The distances of all nodes from `source`, as if `without_edge` were not in the graph; [`UNREACHED`] for those
    /// farther than `cap` or in another component.
    ///
    /// # Panics
    /// If `source` is not a node of `graph`.
    pub fn distances_from(&mut self, graph: &Graph, source: u32, without_edge: Option<(u32, u32)>, cap: u32) -> &[u32] {
        self.distances.clear();
        self.distances.resize(graph.node_count(), UNREACHED);
        self.distances[source as usize] = 0;
        let side = &mut self.forward;
        side.start_at(source);
        for distance in 1..=cap {
            for &node in &side.nodes {
                for &neighbour in graph.neighbours(node) {
                    let known = &mut self.distances[neighbour as usize];
                    if *known == UNREACHED && !is_edge(without_edge, node, neighbour) {
                        *known = distance;
                        side.next.push(neighbour);
                    }
                }
            }
            side.advance();
            if side.nodes.is_empty() {
                break;
            }
        }
        &self.distances
    }
}

/// Whether a path of two edges leads from one node to the other.
fn have_common_neighbour(graph: &Graph, a: u32, b: u32, without_edge: Option<(u32, u32)>) -> bool {
    let (mut of_a, mut of_b) = (graph.neighbours(a), graph.neighbours(b));
    while let (Some((x, rest_of_a)), Some((y, rest_of_b))) = (of_a.split_first(), of_b.split_first()) {
        if x == y && !is_edge(without_edge, a, *x) && !is_edge(without_edge, b, *x) {
            return true;
        }
        (of_a, of_b) = (if x <= y { rest_of_a } else { of_a }, if y <= x { rest_of_b } else { of_b });
    }
    false
}

fn is_edge(edge: Option<(u32, u32)>, a: u32, b: u32) -> bool {
    edge.is_some_and(|edge| edge == (a, b) || edge == (b, a))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::graph::testing::{any_graph, cycle, graph, path};

    /// All distances by Floyd and Warshall, the edge taken out.
    fn brute_force(graph: &Graph, without_edge: Option<(u32, u32)>) -> Vec<Vec<Option<u32>>> {
        let n = graph.node_count();
        let mut distance = vec![vec![None; n]; n];
        for (node, row) in distance.iter_mut().enumerate() {
            row[node] = Some(0);
        }
        for (a, b) in graph.edges().filter(|&(a, b)| !is_edge(without_edge, a, b)) {
            distance[a as usize][b as usize] = Some(1);
            distance[b as usize][a as usize] = Some(1);
        }
        for via in 0..n {
            for a in 0..n {
                for b in 0..n {
                    if let (Some(first), Some(second)) = (distance[a][via], distance[via][b])
                        && distance[a][b].is_none_or(|known| first + second < known)
                    {
                        distance[a][b] = Some(first + second);
                    }
                }
            }
        }
        distance
    }

    #[test]
    fn the_way_round_a_cycle_and_none_over_a_bridge() {
        let mut finder = PathFinder::new();
        assert_eq!(finder.distance(&cycle(7), 0, 1, None, u32::MAX), Some(1));
        assert_eq!(finder.distance(&cycle(7), 0, 1, Some((1, 0)), u32::MAX), Some(6));
        assert_eq!(finder.distance(&cycle(7), 0, 1, Some((1, 0)), 6), Some(6));
        assert_eq!(finder.distance(&cycle(7), 0, 1, Some((1, 0)), 5), None);
        assert_eq!(finder.distance(&path(4), 1, 2, Some((1, 2)), u32::MAX), None);
        assert_eq!(finder.distance(&path(4), 3, 3, None, 0), Some(0));
        assert_eq!(finder.distance(&path(2), 0, 1, None, 0), None);
        assert_eq!(finder.distances_from(&path(4), 1, None, 1), [1, 0, 1, UNREACHED]);
        assert_eq!(finder.distances_from(&graph(2, &[]), 1, None, u32::MAX), [UNREACHED, 0]);
    }

    proptest! {
        /// One finder serves every search on both graphs, so what one search leaves behind would show in the next.
        #[test]
        fn distances_are_those_of_the_graph_without_the_edge(
            graphs in [any_graph(12), any_graph(12)],
            edge in any::<prop::sample::Index>(),
            has_edge_out: bool,
            cap in prop_oneof![0..5_u32, Just(u32::MAX)],
        ) {
            let mut finder = PathFinder::new();
            for graph in &graphs {
                let edges: Vec<_> = graph.edges().collect();
                let without = (has_edge_out && !edges.is_empty()).then(|| *edge.get(&edges));
                let expected = brute_force(graph, without);
                for from in graph.nodes() {
                    let within_cap: Vec<Option<u32>> =
                        expected[from as usize].iter().map(|distance| distance.filter(|&d| d <= cap)).collect();
                    for to in graph.nodes() {
                        let found = finder.distance(graph, from, to, without.map(|(a, b)| (b, a)), cap);
                        prop_assert_eq!(found, within_cap[to as usize], "{} to {}", from, to);
                    }
                    let all: Vec<u32> = within_cap.iter().map(|distance| distance.unwrap_or(UNREACHED)).collect();
                    prop_assert_eq!(finder.distances_from(graph, from, without, cap), all);
                }
            }
        }
    }
}

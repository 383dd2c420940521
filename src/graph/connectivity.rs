//! Which nodes are connected, with and without a given edge.

use super::Graph;

/// One depth-first search of a graph: whether two nodes are connected, even when an edge is taken out, is then answered
/// without another.
///
/// An edge of the search's tree is a bridge if no edge leads from below it past it (Tarjan 1974, "A note on finding the
/// bridges of a graph").
#[derive(Debug, Clone, Default)]
pub struct Connectivity {
    nodes: Vec<Visit>,
    /// The lowest number that an edge leads to from a node or from below it, the edge to its parent aside.
    lowest: Vec<u32>,
    /// The nodes from the root to the one at hand, and how many of its edges each has followed.
    path: Vec<(u32, u32)>,
}

/// When the search came to a node; it numbers nodes as it meets them.
#[derive(Debug, Clone, Copy, Default)]
struct Visit {
    number: u32,
    /// The last number below the node in its tree.
    last: u32,
    /// The number of the tree's root.
    root: u32,
    /// Whether the edge to the node above is a bridge; that node's number.
    is_bridge: bool,
    parent: u32,
}

impl Connectivity {
    #[must_use]
    pub fn of(graph: &Graph) -> Self {
        let mut connectivity = Self::default();
        connectivity.search(graph);
        connectivity
    }

    /// Searches another graph, in the memory that the last search took.
    pub fn search(&mut self, graph: &Graph) {
        const NEW: u32 = u32::MAX;
        let Self { nodes, lowest, path } = self;
        nodes.clear();
        nodes.resize(graph.node_count(), Visit { number: NEW, ..Visit::default() });
        lowest.clear();
        lowest.resize(graph.node_count(), 0);
        let mut next = 0;
        for root in graph.nodes() {
            if nodes[root as usize].number != NEW {
                continue;
            }
            let root_number = next;
            let mut meet = |node: u32, parent: u32, nodes: &mut [Visit], lowest: &mut [u32]| {
                nodes[node as usize] = Visit { number: next, last: next, root: root_number, is_bridge: false, parent };
                lowest[node as usize] = next;
                next += 1;
            };
            meet(root, NEW, nodes, lowest);
            path.push((root, 0));
            while let Some((node, followed)) = path.last_mut() {
                let of = *node as usize;
                let at = nodes[of];
                let Some(&other) = graph.neighbours(*node).get(*followed as usize) else {
                    path.pop();
                    if let Some(&(above, _)) = path.last() {
                        nodes[of].is_bridge = lowest[of] == at.number;
                        lowest[above as usize] = lowest[above as usize].min(lowest[of]);
                        nodes[above as usize].last = nodes[above as usize].last.max(nodes[of].last);
                    }
                    continue;
                };
                *followed += 1;
                match nodes[other as usize].number {
                    NEW => {
                        meet(other, at.number, nodes, lowest);
                        path.push((other, 0));
                    }
                    // A graph is simple: the only edge to the parent is the tree's.
                    number if number == at.parent => {}
                    number => lowest[of] = lowest[of].min(number),
                }
            }
        }
    }

    #[must_use]
    pub fn component_count(&self) -> usize {
        self.nodes.iter().filter(|visit| visit.number == visit.root).count()
    }

    /// Whether there is a path between two nodes that doesn't take `without_edge`.
    ///
    /// # Panics
    /// If one of the nodes is not in the graph.
    #[must_use]
    pub fn connected(&self, a: u32, b: u32, without_edge: Option<(u32, u32)>) -> bool {
        let [a, b] = [a, b].map(|node| self.nodes[node as usize]);
        if a.root != b.root {
            return false;
        }
        let Some((u, v)) = without_edge else { return true };
        let [u, v] = [u, v].map(|node| self.nodes[node as usize]);
        let below = if v.parent == u.number { v } else { u };
        let above = if v.parent == u.number { u } else { v };
        if !below.is_bridge || below.parent != above.number {
            return true;
        }
        // What a bridge cuts off is what lies below it.
        let is_below = |node: Visit| (below.number..=below.last).contains(&node.number);
        is_below(a) == is_below(b)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Connectivity;
    use crate::graph::path::PathFinder;
    use crate::graph::testing::{any_graph, graph};

    #[test]
    fn a_bridge_parts_two_triangles_and_another_edge_does_not() {
        let bow = graph(8, &[(0, 1), (1, 2), (0, 2), (2, 3), (3, 4), (4, 5), (3, 5), (6, 7)]);
        let connectivity = Connectivity::of(&bow);
        assert!(connectivity.connected(0, 5, None) && !connectivity.connected(0, 6, None));
        assert!(!connectivity.connected(0, 5, Some((3, 2))) && connectivity.connected(0, 1, Some((2, 3))));
        assert!(connectivity.connected(0, 5, Some((0, 2))));
        assert_eq!(connectivity.component_count(), 2);
        assert!(!connectivity.connected(6, 7, Some((6, 7))) && connectivity.connected(7, 7, Some((6, 7))));
    }

    proptest! {
        #[test]
        fn it_is_whether_a_search_finds_a_path(graph in any_graph(9)) {
            let connectivity = Connectivity::of(&graph);
            let mut finder = PathFinder::new();
            let without = graph.edges().map(Some).chain([None]);
            for without in without {
                for a in graph.nodes() {
                    for b in graph.nodes() {
                        let expected = finder.distance(&graph, a, b, without, u32::MAX).is_some();
                        let turned = without.map(|(u, v)| (v, u));
                        prop_assert_eq!(connectivity.connected(a, b, without), expected, "{} {} {:?}", a, b, without);
                        prop_assert_eq!(connectivity.connected(a, b, turned), expected);
                    }
                }
            }
        }
    }
}

//! Which nodes lie around each node, as sets of bits: distances of many pairs without a search for each.

use super::Graph;

/// For each node and radius r of 1, 2, …, the nodes at most r edges away.
///
/// Nodes lie within r + s edges of each other just when the ball of radius r around one meets that of radius s around the
/// other, so balls tell distances up to twice their largest radius. One word holds 64 nodes: in a graph of some hundred all
/// balls are made, and two are compared, in about the time of a few searches; memory grows with n².
#[derive(Debug, Clone, Default)]
pub struct Balls {
    /// Words of a ball.
    words: usize,
    /// For each radius from 1 on, `[n, words]`.
    by_radius: Vec<Vec<u64>>,
}

impl Balls {
    #[must_use]
    pub fn of(graph: &Graph, radius: u32) -> Self {
        let mut balls = Self::default();
        balls.fill(graph, radius);
        balls
    }

    /// Makes the balls of another graph, in the memory that the last ones took.
    pub fn fill(&mut self, graph: &Graph, radius: u32) {
        let words = words(graph);
        self.words = words;
        self.by_radius.resize_with(radius.max(1) as usize, Vec::new);
        let Some((first, larger)) = self.by_radius.split_first_mut() else { return };
        first.clear();
        first.resize(graph.node_count() * words, 0);
        for (node, ball) in graph.nodes().zip(first.chunks_exact_mut(words)) {
            for &within in graph.neighbours(node).iter().chain([&node]) {
                let (word, bit) = place(within);
                ball[word] |= bit;
            }
        }
        let mut smaller: &[u64] = first;
        for larger in larger {
            larger.clear();
            larger.extend_from_slice(smaller);
            for (node, ball) in graph.nodes().zip(larger.chunks_exact_mut(words)) {
                for &neighbour in graph.neighbours(node) {
                    let around = &smaller[neighbour as usize * words..][..words];
                    ball.iter_mut().zip(around).for_each(|(word, other)| *word |= other);
                }
            }
            smaller = larger;
        }
    }

    /// Words that [`Balls::fill`] reads, about.
    #[must_use]
    pub fn cost(graph: &Graph, radius: u32) -> usize {
        words(graph) * (graph.node_count() + 2 * graph.edge_count()) * radius as usize
    }

    /// The number of edges on a shortest path between two nodes that are not one; `None` where there is no path, or none of at
    /// most `cap` edges, which is at most twice the radius.
    ///
    /// # Panics
    /// If one of them is not a node of the graph.
    #[must_use]
    pub fn distance(&self, a: u32, b: u32, cap: u32) -> Option<u32> {
        // Of two nodes at random most are farther apart than all that is told.
        if !self.are_within(a, b, cap) {
            return None;
        }
        (1..=cap).find(|&distance| self.are_within(a, b, distance))
    }

    fn are_within(&self, a: u32, b: u32, distance: u32) -> bool {
        let ball =
            |node: u32, radius: u32| &self.by_radius[radius as usize - 1][node as usize * self.words..][..self.words];
        if distance <= 1 {
            let (word, bit) = place(b);
            return distance == 1 && ball(a, 1)[word] & bit != 0;
        }
        let (around_a, around_b) = (ball(a, distance.div_ceil(2)), ball(b, distance / 2));
        // No early end: whole vectors of words are faster.
        around_a.iter().zip(around_b).fold(0, |common, (a, b)| common | (a & b)) != 0
    }
}

/// Words that hold all nodes; at least one.
fn words(graph: &Graph) -> usize {
    graph.node_count().div_ceil(u64::BITS as usize).max(1)
}

/// The word and the bit of a node.
fn place(node: u32) -> (usize, u64) {
    ((node / u64::BITS) as usize, 1 << (node % u64::BITS))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Balls;
    use crate::graph::path::PathFinder;
    use crate::graph::testing::{any_graph, path};

    #[test]
    fn nodes_of_different_words_meet() {
        let line = path(200);
        let balls = Balls::of(&line, 4);
        let of: Vec<Option<u32>> = (61..71).map(|to| balls.distance(60, to, 8)).collect();
        assert_eq!(of, [Some(1), Some(2), Some(3), Some(4), Some(5), Some(6), Some(7), Some(8), None, None]);
        assert_eq!((balls.distance(199, 192, 7), balls.distance(199, 192, 6)), (Some(7), None));
        assert_eq!(Balls::cost(&line, 4), 4 * 4 * (200 + 2 * 199));
    }

    proptest! {
        #[test]
        fn balls_tell_what_a_search_finds(graph in any_graph(70), radius in 1..5_u32, less in 0..2_u32) {
            let (balls, cap) = (Balls::of(&graph, radius), 2 * radius - less);
            let mut finder = PathFinder::new();
            for a in graph.nodes() {
                for b in graph.nodes().filter(|&b| b != a) {
                    prop_assert_eq!(balls.distance(a, b, cap), finder.distance(&graph, a, b, None, cap));
                }
            }
        }
    }
}

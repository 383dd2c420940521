//! A graph as a sequence: its nodes in a breadth-first ordering, each with its links to earlier ones.

use rand::Rng;

use crate::graph::Graph;
use crate::graph::order::BreadthFirst;

/// A graph in an ordering: position t holds the node `order[t]`.
///
/// Of a breadth-first ordering more is known than its links. A node's *parent* is its first neighbour, and parents never
/// step back within a component: node t + 1 links to nothing before the parent of node t, and to nothing in an earlier
/// component. So the *slots* of a row, the positions that it may link to, begin at a frontier that the rows before it
/// settle; no slot before it needs a probability, and dropping those keeps the sum over all sequences at one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sequence {
    order: Vec<u32>,
    /// `offsets[t]..offsets[t + 1]` is the range of row t in `links`; N + 1 entries.
    offsets: Vec<u32>,
    /// The earlier positions that each position links to, ascending within a row.
    links: Vec<u32>,
    /// For each position, and one past the last, the first that it may link to; position 0 may link to none and has 0.
    frontier: Vec<u32>,
}

impl Sequence {
    /// `order` names each node of `graph` once, breadth-first ([`crate::graph::order::random_bfs_order`]).
    #[must_use]
    pub fn new(graph: &Graph, order: Vec<u32>) -> Self {
        let mut sequence = Self { order, ..Self::default() };
        sequence.link(graph, &mut Vec::new());
        sequence
    }

    /// Becomes the graph in a random breadth-first ordering.
    pub fn draw<R: Rng + ?Sized>(&mut self, graph: &Graph, rng: &mut R, room: &mut SequenceRoom) {
        room.search.order(graph, rng, &mut self.order);
        self.link(graph, &mut room.places);
    }

    /// Makes the rows of the ordering; `places` is room for the position of each node.
    fn link(&mut self, graph: &Graph, places: &mut Vec<u32>) {
        let Self { order, offsets, links, frontier } = self;
        let n = graph.node_count();
        debug_assert_eq!(order.len(), n, "an ordering names every node");
        places.resize(n, 0);
        for (position, &node) in (0..).zip(order.iter()) {
            places[node as usize] = position;
        }
        offsets.clear();
        offsets.reserve(n + 1);
        links.clear();
        links.reserve(graph.edge_count());
        frontier.clear();
        frontier.reserve(n + 1);
        offsets.push(0);
        frontier.push(0);
        for (position, &node) in (0..).zip(order.iter()) {
            let start = links.len();
            links.extend(graph.neighbours(node).iter().map(|&v| places[v as usize]).filter(|&p| p < position));
            links[start..].sort_unstable();
            // A node without a parent starts a component: the next may link to it and to nothing before.
            frontier.push(links.get(start).copied().unwrap_or(position));
            offsets.push(links.len() as u32);
        }
    }

    /// Bytes that it holds room for.
    pub(super) fn bytes(&self) -> usize {
        let Self { order, offsets, links, frontier } = self;
        [order, offsets, links, frontier].iter().map(|list| list.capacity() * size_of::<u32>()).sum()
    }

    #[must_use]
    pub fn node_count(&self) -> usize {
        self.order.len()
    }

    /// The node at a position.
    #[must_use]
    pub fn node(&self, position: usize) -> u32 {
        self.order[position]
    }

    /// The earlier positions that a position links to, ascending.
    #[must_use]
    pub fn row(&self, position: usize) -> &[u32] {
        &self.links[self.offsets[position] as usize..self.offsets[position + 1] as usize]
    }

    /// The first position that a position may link to, as the rows before it settle. Known for one position more than there
    /// are nodes: where the sequence stops is decided as if it went on.
    #[must_use]
    pub fn frontier(&self, position: usize) -> usize {
        self.frontier[position] as usize
    }

    /// Nodes in the first component: those that a search from the first node reaches.
    #[must_use]
    pub fn first_component(&self) -> usize {
        (1..self.node_count()).find(|&position| self.row(position).is_empty()).unwrap_or(self.node_count())
    }

    /// The most positions that a link spans; 0 without links.
    #[must_use]
    pub fn bandwidth(&self) -> usize {
        (0..self.node_count())
            .filter_map(|position| self.row(position).first().map(|&first| position - first as usize))
            .max()
            .unwrap_or(0)
    }
}

/// Room to draw sequences in.
#[derive(Debug, Default)]
pub struct SequenceRoom {
    search: BreadthFirst,
    places: Vec<u32>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::Sequence;
    use crate::graph::order::{bandwidth, random_bfs_order};
    use crate::graph::testing::{any_graph, graph};

    #[test]
    fn rows_and_frontiers_of_a_known_graph() {
        // A triangle with a tail, and a second component of one edge.
        let graph = graph(6, &[(0, 1), (0, 2), (1, 2), (2, 3), (4, 5)]);
        let sequence = Sequence::new(&graph, vec![0, 1, 2, 3, 5, 4]);
        let rows: Vec<Vec<u32>> = (0..6).map(|t| sequence.row(t).to_vec()).collect();
        assert_eq!(rows, [vec![], vec![0], vec![0, 1], vec![2], vec![], vec![4]]);
        let frontiers: Vec<usize> = (0..=6).map(|t| sequence.frontier(t)).collect();
        assert_eq!(frontiers, [0, 0, 0, 0, 2, 4, 4]);
        assert_eq!((sequence.first_component(), sequence.bandwidth(), sequence.node(4)), (4, 2, 5));
    }

    proptest! {
        #[test]
        fn no_row_of_a_breadth_first_ordering_reaches_behind_its_frontier(graph in any_graph(20), seed: u64) {
            let order = random_bfs_order(&graph, &mut ChaCha8Rng::seed_from_u64(seed));
            let sequence = Sequence::new(&graph, order.clone());
            let mut links = 0;
            for position in 0..sequence.node_count() {
                let row = sequence.row(position);
                links += row.len();
                prop_assert!(row.iter().all(|&p| (sequence.frontier(position)..position).contains(&(p as usize))));
                prop_assert!(row.iter().all(|&p| graph.has_edge(sequence.node(position), sequence.node(p as usize))));
            }
            prop_assert_eq!(links, graph.edge_count());
            prop_assert_eq!(sequence.bandwidth(), bandwidth(&graph, &order));
        }
    }
}

//! How far apart the nodes of a pair are, as the network is told.

use crate::graph::Graph;
use crate::graph::balls::Balls;
use crate::graph::connectivity::Connectivity;
use crate::graph::path::PathFinder;

/// The classes of shortest-path length that the MLP has an embedding for: 2, 3, …, 7, "8 or more", "none".
///
/// Embedded, not as 1/length: in a trial the raw inverse left the loss at chance. Length 1 can't occur: the direct edge
/// is avoided, and a non-edge has none.
pub const PATH_CLASSES: usize = 8;

/// Paths of as many edges or more are of one class: they are not searched, only told from none by connectivity.
const LONG: u32 = 8;

/// Words of balls that are read in the time of a search, about: where a graph's many pairs are worth them, they are made.
const WORDS_A_SEARCH: usize = 1_000;

/// Room for searches in one graph after another.
#[derive(Debug, Default)]
pub(super) struct PathRoom {
    finder: PathFinder,
    balls: Balls,
    connectivity: Connectivity,
}

/// The path classes of pairs of a graph's nodes.
#[derive(Debug)]
pub(super) struct PathClasses<'a> {
    graph: &'a Graph,
    room: &'a mut PathRoom,
    /// Pairs in the whole graph that will be asked for.
    pairs: usize,
    /// Whether the room has this graph's: made when first asked for.
    has_balls: bool,
    has_connectivity: bool,
}

impl<'a> PathClasses<'a> {
    /// `pairs` is about how many are asked for without an edge to avoid.
    pub(super) fn new(graph: &'a Graph, room: &'a mut PathRoom, pairs: usize) -> Self {
        Self { graph, room, pairs, has_balls: false, has_connectivity: false }
    }

    /// The class of the shortest path between two nodes, as if `without_edge` were not in the graph.
    pub(super) fn of(&mut self, (a, b): (u32, u32), without_edge: Option<(u32, u32)>) -> usize {
        if let Some(length) = self.length(a, b, without_edge) {
            return length.saturating_sub(2) as usize;
        }
        if !self.has_connectivity {
            self.room.connectivity.search(self.graph);
            self.has_connectivity = true;
        }
        if self.room.connectivity.connected(a, b, without_edge) { PATH_CLASSES - 2 } else { PATH_CLASSES - 1 }
    }

    /// The number of edges on a shortest path, where it isn't long.
    fn length(&mut self, a: u32, b: u32, without_edge: Option<(u32, u32)>) -> Option<u32> {
        const RADIUS: u32 = LONG / 2;
        if without_edge.is_some() || Balls::cost(self.graph, RADIUS) > self.pairs * WORDS_A_SEARCH {
            return self.room.finder.distance(self.graph, a, b, without_edge, LONG - 1);
        }
        if !self.has_balls {
            self.room.balls.fill(self.graph, RADIUS);
            self.has_balls = true;
        }
        self.room.balls.distance(a, b, LONG - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::{PathClasses, PathRoom};
    use crate::graph::testing::{cycle, path};

    #[test]
    fn lengths_from_two_on_then_long_then_none() {
        let mut room = PathRoom::default();
        let line = path(12);
        // By search, and by balls.
        for pairs in [0, 1_000] {
            let mut classes = PathClasses::new(&line, &mut room, pairs);
            let of: Vec<usize> = (2..12).map(|to| classes.of((0, to), None)).collect();
            assert_eq!(of, [0, 1, 2, 3, 4, 5, 6, 6, 6, 6]);
            assert_eq!(classes.of((4, 5), Some((4, 5))), 7);
        }
        let ring = cycle(12);
        assert_eq!(PathClasses::new(&ring, &mut room, 1).of((4, 5), Some((5, 4))), 6);
    }
}

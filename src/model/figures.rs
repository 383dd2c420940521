//! What the defaults of the autoregressive kinds are chosen by: figures of a family's training graphs.

use rand::Rng;

use super::sequence::Sequence;
use crate::graph::Graph;
use crate::graph::order::random_bfs_order;

/// Orderings drawn of each graph to find the bandwidth.
const DRAWS: usize = 4;

/// Figures of training graphs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FamilyFigures {
    pub graphs: usize,
    pub median_nodes: usize,
    pub max_nodes: usize,
    /// The most positions that an edge spanned in any of the orderings drawn.
    pub bandwidth: usize,
    /// The most positions that an edge spanned in the middle one of those orderings.
    pub median_bandwidth: usize,
}

impl FamilyFigures {
    /// # Panics
    /// Never: no graphs have figures of zero.
    pub fn of<'a, R: Rng + ?Sized>(graphs: impl Iterator<Item = &'a Graph>, rng: &mut R) -> Self {
        let (mut nodes, mut bandwidths) = (Vec::new(), Vec::new());
        for graph in graphs {
            nodes.push(graph.node_count());
            for _ in 0..DRAWS {
                bandwidths.push(Sequence::new(graph, random_bfs_order(graph, rng)).bandwidth());
            }
        }
        nodes.sort_unstable();
        bandwidths.sort_unstable();
        let (middle, last) = (|of: &[usize]| of.get(of.len() / 2).copied(), |of: &[usize]| of.last().copied());
        Self {
            graphs: nodes.len(),
            median_nodes: middle(&nodes).unwrap_or(0),
            max_nodes: last(&nodes).unwrap_or(0),
            bandwidth: last(&bandwidths).unwrap_or(0),
            median_bandwidth: middle(&bandwidths).unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::FamilyFigures;
    use crate::graph::testing::{complete, path};

    #[test]
    fn figures_of_known_graphs() {
        let graphs = [path(5), complete(6), complete(9)];
        let figures = FamilyFigures::of(graphs.iter(), &mut ChaCha8Rng::seed_from_u64(1));
        let expected = FamilyFigures { graphs: 3, median_nodes: 6, max_nodes: 9, bandwidth: 8, median_bandwidth: 5 };
        assert_eq!(figures, expected);
    }
}

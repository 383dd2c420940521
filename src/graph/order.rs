//! Breadth-first orderings.

use rand::Rng;
use rand::seq::SliceRandom;

use super::Graph;

/// A random breadth-first ordering of all nodes: a random start, each node's neighbours in random order, and a random
/// start again in the next component where one ends.
#[must_use]
pub fn random_bfs_order<R: Rng + ?Sized>(graph: &Graph, rng: &mut R) -> Vec<u32> {
    let mut order = Vec::with_capacity(graph.node_count());
    BreadthFirst::default().order(graph, rng, &mut order);
    order
}

/// Draws orderings, one after another in the same memory.
#[derive(Debug, Default)]
pub struct BreadthFirst {
    starts: Vec<u32>,
    seen: Vec<bool>,
}

impl BreadthFirst {
    /// Makes `order` what [`random_bfs_order`] gives.
    pub fn order<R: Rng + ?Sized>(&mut self, graph: &Graph, rng: &mut R, order: &mut Vec<u32>) {
        let Self { starts, seen } = self;
        starts.clear();
        starts.extend(graph.nodes());
        starts.shuffle(rng);
        seen.clear();
        seen.resize(graph.node_count(), false);
        order.clear();
        let mut is_new = |node: u32| !std::mem::replace(&mut seen[node as usize], true);
        for &start in starts.iter() {
            if !is_new(start) {
                continue;
            }
            // What was found and not yet gone on from is the end of the ordering itself.
            let mut next = order.len();
            order.push(start);
            while let Some(&node) = order.get(next) {
                next += 1;
                let found = order.len();
                order.extend(graph.neighbours(node).iter().copied().filter(|&neighbour| is_new(neighbour)));
                order[found..].shuffle(rng);
            }
        }
    }
}

/// The most places that an edge spans in an ordering of all nodes; 0 without edges.
#[must_use]
pub fn bandwidth(graph: &Graph, order: &[u32]) -> usize {
    let mut place = vec![0_usize; graph.node_count()];
    for (index, &node) in order.iter().enumerate() {
        place[node as usize] = index;
    }
    graph.edges().map(|(a, b)| place[a as usize].abs_diff(place[b as usize])).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::graph::testing::{any_graph, complete, cycle, graph, path, star};

    fn order(graph: &Graph, seed: u64) -> Vec<u32> {
        random_bfs_order(graph, &mut ChaCha8Rng::seed_from_u64(seed))
    }

    #[test]
    fn bandwidths_of_known_graphs() {
        assert_eq!(bandwidth(&path(5), &[0, 1, 2, 3, 4]), 1);
        assert_eq!(bandwidth(&path(5), &[2, 1, 3, 0, 4]), 2);
        assert_eq!(bandwidth(&graph(3, &[]), &[2, 0, 1]), 0);
        for seed in 0..10 {
            assert_eq!(bandwidth(&cycle(9), &order(&cycle(9), seed)), 2);
            assert_eq!(bandwidth(&complete(6), &order(&complete(6), seed)), 5);
        }
    }

    #[test]
    fn every_start_and_every_order_of_leaves_is_equally_likely() {
        let mut seen: HashMap<Vec<u32>, usize> = HashMap::new();
        let rounds = 4_000;
        for seed in 0..rounds {
            *seen.entry(order(&star(3), seed)).or_default() += 1;
        }
        // From the centre 6 orders of the leaves, each 1/24; from a leaf the centre, then 2 orders, each 1/8.
        assert_eq!(seen.len(), 6 + 3 * 2);
        for (order, count) in seen {
            let share = count as f64 / rounds as f64;
            let expected = if order[0] == 0 { 1.0 / 24.0 } else { 1.0 / 8.0 };
            assert!((share - expected).abs() < 0.025, "{order:?}: {share}, not {expected}");
        }
    }

    proptest! {
        #[test]
        fn each_node_comes_once_and_breadth_first_within_its_component(graph in any_graph(20), seed: u64) {
            let order = order(&graph, seed);
            let mut place = vec![usize::MAX; graph.node_count()];
            for (index, &node) in order.iter().enumerate() {
                prop_assert_eq!(std::mem::replace(&mut place[node as usize], index), usize::MAX);
            }
            prop_assert_eq!(order.len(), graph.node_count());

            // A node's parent is its first neighbour in the order. Parents never step back within a component, and a
            // node without one starts a component, when all earlier nodes have all their neighbours.
            let mut last_parent = 0;
            for (index, &node) in order.iter().enumerate() {
                let parent = graph.neighbours(node).iter().map(|&v| place[v as usize]).min().filter(|&p| p < index);
                match parent {
                    Some(parent) => {
                        prop_assert!(parent >= last_parent);
                        last_parent = parent;
                    }
                    None => {
                        let before = &order[..index];
                        let unfinished = before.iter().flat_map(|&u| graph.neighbours(u)).any(|&v| place[v as usize] >= index);
                        prop_assert!(!unfinished);
                        last_parent = index;
                    }
                }
            }
        }
    }
}

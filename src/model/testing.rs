//! What the tests of both autoregressive models share.

use std::collections::BTreeMap;

use super::likelihood::{OrderingLikelihood, Terms};
use super::sequence::Sequence;
use crate::graph::Graph;
use crate::graph::order::random_bfs_order;
use crate::graph::testing::{graph, random_graph};
use crate::nn::seed::stream;

/// Every breadth-first sequence of `nodes` nodes as a graph whose nodes stand in that order.
pub(crate) fn sequences(nodes: usize) -> Vec<Graph> {
    let mut found = Vec::new();
    extend(nodes, 1, 0, &mut Vec::new(), &mut found);
    found
}

fn extend(nodes: usize, position: usize, frontier: usize, edges: &mut Vec<(u64, u64)>, found: &mut Vec<Graph>) {
    if position == nodes {
        found.push(graph(nodes as u64, edges));
        return;
    }
    for subset in 0..1_u32 << (position - frontier) {
        let before = edges.len();
        let links = (frontier..position).filter(|link| subset >> (link - frontier) & 1 == 1);
        edges.extend(links.map(|link| (link as u64, position as u64)));
        let next = edges.get(before).map_or(position, |&(first, _)| first as usize);
        extend(nodes, position + 1, next, edges, found);
        edges.truncate(before);
    }
}

/// Adds up all terms.
#[derive(Default)]
pub(crate) struct TermSums(pub(crate) BTreeMap<usize, f64>);

impl Terms for TermSums {
    fn slot(&mut self, ordering: usize, _nodes: (u32, u32), _present: bool, nll: f64) {
        *self.0.entry(ordering).or_default() += nll;
    }

    fn node(&mut self, ordering: usize, _node: u32, nll: f64) {
        *self.0.entry(ordering).or_default() += nll;
    }
}

/// Random orderings.
pub(crate) fn orders(graph: &Graph, count: u64) -> Vec<Vec<u32>> {
    (0..count).map(|index| random_bfs_order(graph, &mut stream(1, "test order", index))).collect()
}

/// The graph in each of the orderings.
pub(crate) fn told(graph: &Graph, orders: &[Vec<u32>]) -> Vec<Sequence> {
    orders.iter().map(|order| Sequence::new(graph, order.clone())).collect()
}

/// That sequences scored again take no memory but the list that their likelihoods are given in.
pub(crate) fn assert_no_memory_again(likelihoods: impl Fn(&[Sequence]) -> Vec<OrderingLikelihood>) {
    for (nodes, count) in [(30, 1), (600, 4), (30, 40)] {
        let graph = random_graph(nodes, 2 * nodes, 1);
        let sequences = told(&graph, &orders(&graph, count));
        let first = likelihoods(&sequences);
        let allocated = allocation_counter::measure(|| assert_eq!(likelihoods(&sequences), first)).count_total;
        assert_eq!(allocated, 1, "{count} sequences of {nodes} nodes");
    }
}

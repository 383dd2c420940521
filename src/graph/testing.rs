//! Graphs for tests: arbitrary ones for property tests, and well-known ones.

use proptest::prelude::*;
use rand::SeedableRng;
use rand::seq::{SliceRandom, index};
use rand_chacha::ChaCha8Rng;

use super::{Graph, Limits};

/// A graph of these edges, which must be valid.
pub(crate) fn graph(nodes: u64, edges: &[(u64, u64)]) -> Graph {
    Graph::new(nodes, edges, None, &Limits::default()).expect("a valid graph").0
}

/// Any graph of up to `max_nodes` nodes, sparse to complete, with and without labels.
pub(crate) fn any_graph(max_nodes: usize) -> impl Strategy<Value = Graph> {
    (1..=max_nodes, 0.0..=1.0_f64).prop_flat_map(|(nodes, density)| {
        let pairs = nodes * (nodes - 1) / 2;
        let labels = prop_oneof![
            2 => prop::collection::vec(0..3_i64, nodes),
            1 => prop::collection::vec(any::<i64>(), nodes),
        ];
        (prop::collection::vec(prop::bool::weighted(density), pairs), prop::option::of(labels)).prop_map(
            move |(present, labels)| {
                let pairs = (0..nodes as u64).flat_map(|a| (a + 1..nodes as u64).map(move |b| (a, b)));
                let edges: Vec<_> = pairs.zip(present).filter_map(|(pair, present)| present.then_some(pair)).collect();
                Graph::new(nodes as u64, &edges, labels, &Limits::default()).expect("a valid graph").0
            },
        )
    })
}

/// Any graph with a permutation of its nodes.
pub(crate) fn any_relabelling(max_nodes: usize) -> impl Strategy<Value = (Graph, Vec<u32>)> {
    any_graph(max_nodes).prop_flat_map(|graph| {
        let nodes: Vec<u32> = graph.nodes().collect();
        (Just(graph), Just(nodes).prop_shuffle())
    })
}

/// A permutation of `count` nodes.
pub(crate) fn permutation(count: usize, seed: u64) -> Vec<u32> {
    let mut permutation: Vec<u32> = (0..count as u32).collect();
    permutation.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    permutation
}

/// A uniformly random graph with exactly this many edges.
pub(crate) fn random_graph(nodes: usize, edges: usize, seed: u64) -> Graph {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let chosen = index::sample(&mut rng, nodes * nodes.saturating_sub(1) / 2, edges);
    let edges: Vec<(u64, u64)> = chosen.iter().map(pair).collect();
    graph(nodes as u64, &edges)
}

/// The pair `(a, b)`, `a < b`, of a place in the list (0,1), (0,2), (1,2), (0,3), …
fn pair(index: usize) -> (u64, u64) {
    let index = index as u64;
    let mut b = ((1.0 + (1.0 + 8.0 * index as f64).sqrt()) / 2.0) as u64;
    while b * (b - 1) / 2 > index {
        b -= 1;
    }
    while b * (b + 1) / 2 <= index {
        b += 1;
    }
    (index - b * (b - 1) / 2, b)
}

pub(crate) fn complete(nodes: u64) -> Graph {
    let edges: Vec<_> = (0..nodes).flat_map(|a| (a + 1..nodes).map(move |b| (a, b))).collect();
    graph(nodes, &edges)
}

pub(crate) fn cycle(nodes: u64) -> Graph {
    let edges: Vec<_> = (0..nodes).map(|node| (node, (node + 1) % nodes)).collect();
    graph(nodes, &edges)
}

pub(crate) fn path(nodes: u64) -> Graph {
    let edges: Vec<_> = (1..nodes).map(|node| (node - 1, node)).collect();
    graph(nodes, &edges)
}

pub(crate) fn star(leaves: u64) -> Graph {
    let edges: Vec<_> = (1..=leaves).map(|leaf| (0, leaf)).collect();
    graph(leaves + 1, &edges)
}

/// The neighbours differ by these steps on the 4 × 4 torus: both graphs are srg(16, 6, 2, 2), so refinement alone
/// can't tell them apart.
pub(crate) fn rook() -> Vec<(u64, u64)> {
    torus(|dx, dy| (dx == 0) != (dy == 0))
}

pub(crate) fn shrikhande() -> Vec<(u64, u64)> {
    torus(|dx, dy| matches!((dx, dy), (0, 1 | 3) | (1 | 3, 0) | (1, 1) | (3, 3)))
}

fn torus(adjacent: impl Fn(u64, u64) -> bool) -> Vec<(u64, u64)> {
    let pairs = (0..16).flat_map(|a| (a + 1..16).map(move |b| (a, b)));
    pairs.filter(|&(a, b)| adjacent((b / 4 + 4 - a / 4) % 4, (b % 4 + 4 - a % 4) % 4)).collect()
}

fn side_by_side(parts: &[Vec<(u64, u64)>]) -> Graph {
    let edges: Vec<_> = (0..)
        .zip(parts)
        .flat_map(|(part, edges)| edges.iter().map(move |(a, b)| (16 * part + a, 16 * part + b)))
        .collect();
    graph(16 * parts.len() as u64, &edges)
}

/// Twelve rook's graphs side by side, and the same with one of Shrikhande's among them: not isomorphic, which takes more than
/// the work of one test to tell.
pub(crate) fn hardly_alike() -> [Graph; 2] {
    [side_by_side(&vec![rook(); 12]), side_by_side(&[&vec![rook(); 11][..], &[shrikhande()]].concat())]
}

//! Which graphs are the same up to the names of their nodes.
//!
//! Colour refinement does most of the work: nodes start with a colour of their surroundings, and each round a node's new
//! colour tells its old one and those of its neighbours, until no class of nodes splits further. All colours are values
//! computed from structure alone, never positions in a table, so those of two graphs can be compared directly. Two
//! classes' colours may coincide by accident; that makes them less telling, never wrong.

mod between_ends;
mod search;

use sha2::{Digest, Sha256};

use super::Graph;

/// Rounds of refinement behind a hash. It bounds the work on long paths, which need half their length in rounds to
/// settle; what differs only farther away than this shares a hash, and [`are_isomorphic`] tells it apart.
const HASH_ROUNDS: usize = 32;

/// Arcs followed over all nodes of a graph when looking at their surroundings, and at least for each of them.
const SURROUNDINGS_ARCS: usize = 1 << 15;
const SURROUNDINGS_ARCS_PER_NODE: usize = 64;

/// Nodes that colours leave alike, on average, from which on a graph is looked at more closely.
const NODES_A_CLASS: usize = 4;

/// A Weisfeiler-Leman hash: equal for isomorphic graphs, and rarely equal otherwise.
///
/// It is stored, so its value must never change from one version to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WlHash(pub [u8; 16]);

/// What isomorphic graphs have in common, and hardly any others do.
///
/// The hash tells which colours there are once they have settled, but not always which of them are neighbours: the three
/// perfect matchings of four nodes with four labels share one. A round more tells that. Where colours leave most nodes
/// alike, as in strongly regular graphs, which refinement never gets past, edges tell what lies between their ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint {
    pub hash: WlHash,
    /// The bag of all colours after that round.
    refined: u64,
}

impl Fingerprint {
    #[must_use]
    pub fn of(graph: &Graph) -> Self {
        let (colours, classes) = settle(graph, surroundings(graph));
        let few = classes <= graph.node_count() / NODES_A_CLASS;
        let refined = match few.then(|| between_ends::colours(graph)).flatten() {
            None => bag(refine(graph, &colours).into_iter()),
            Some(between) => {
                let both = colours.iter().zip(between).map(|(&colour, between)| chain(colour, between)).collect();
                bag(refine(graph, &settle(graph, both).0).into_iter())
            }
        };
        Self { hash: hash_of(graph, colours), refined }
    }
}

/// The hash of a graph, node labels included; a graph without labels never equals one with them.
fn hash_of(graph: &Graph, mut settled: Vec<u64>) -> WlHash {
    settled.sort_unstable();
    let mut hasher = Sha256::new();
    hasher.update(b"graphkin wl 1");
    hasher.update([u8::from(graph.labels.is_some())]);
    hasher.update((graph.node_count() as u64).to_le_bytes());
    hasher.update((graph.edge_count() as u64).to_le_bytes());
    for colour in settled {
        hasher.update(colour.to_le_bytes());
    }
    let mut hash = [0; 16];
    hash.copy_from_slice(&hasher.finalize()[..16]);
    WlHash(hash)
}

/// Colours that a further round of refinement makes no more of, or those after [`HASH_ROUNDS`], and how many there are.
fn settle(graph: &Graph, mut colours: Vec<u64>) -> (Vec<u64>, usize) {
    let mut classes = class_count(&colours);
    for _ in 0..HASH_ROUNDS {
        let refined = refine(graph, &colours);
        let refined_classes = class_count(&refined);
        if refined_classes == classes {
            break;
        }
        (colours, classes) = (refined, refined_classes);
    }
    (colours, classes)
}

/// What tests of isomorphism may take together.
///
/// The tests of a batch number up to the square of its graphs where many are alike to colour refinement and none are twins,
/// such as Latin squares; the work that they share grows with the graphs.
#[derive(Debug)]
pub struct Effort(search::Budget);

impl Default for Effort {
    fn default() -> Self {
        Self(search::Budget::for_many())
    }
}

impl Effort {
    /// Makes room for the tests of one graph more.
    pub fn add(&mut self, graph: &Graph) {
        self.0.grow_by(graph);
    }
}

/// Whether two graphs are isomorphic, node labels included.
///
/// `None` for graphs so alike that telling them apart would take more than a bounded amount of work, of a pair or of all
/// pairs that share the effort (graphs built to that end: the problem has no known polynomial bound). Equal graphs, and
/// those that a glance tells apart, take none of it.
#[must_use]
pub fn are_isomorphic(a: &Graph, b: &Graph, effort: &mut Effort) -> Option<bool> {
    let mut budget = effort.0.take_for(a);
    let answer = search::isomorphic_within(a, b, &mut budget);
    effort.0.give_back(budget);
    answer
}

/// Scrambles 64 bits; the finaliser of `SplitMix64` (Steele, Lea, Flood 2014).
const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// A colour of `colour` and, after it, `next`: not symmetric, else the two ends of an edge could never be told apart,
/// each seeing the other's colour.
const fn chain(colour: u64, next: u64) -> u64 {
    mix(mix(!colour) ^ next)
}

/// The colour of a bag of colours, whatever their order.
pub fn bag(colours: impl Iterator<Item = u64>) -> u64 {
    colours.fold(0, |sum, colour| sum.wrapping_add(mix(colour)))
}

/// A colour of a round, told from those of others. Refined colours are scattered over all 64 bits; first ones are small
/// numbers, which stay apart.
#[must_use]
pub const fn salted(round: usize, colour: u64) -> u64 {
    colour ^ (round as u64).rotate_right(4)
}

/// One round of refinement: each node's colour with the bag of its neighbours'. `colours` has one for each node.
#[must_use]
pub fn refine(graph: &Graph, colours: &[u64]) -> Vec<u64> {
    graph
        .nodes()
        .map(|node| {
            let around = bag(graph.neighbours(node).iter().map(|&neighbour| colours[neighbour as usize]));
            chain(colours[node as usize], around)
        })
        .collect()
}

fn class_count(colours: &[u64]) -> usize {
    let mut sorted = colours.to_vec();
    sorted.sort_unstable();
    sorted.chunk_by(|a, b| a == b).count()
}

/// Each node's first colour: its label, and the shape of the balls around it.
///
/// A ball of radius r tells how many nodes it adds and how many edges run among those; at radius one that is the degree
/// and the triangles at the node. Plain refinement starts from equal colours and never gets past them in a regular
/// graph; these differ there almost surely. Balls stop growing where the arcs to follow would exceed the node's share of
/// a budget. The share depends on the node count and the balls alone, so isomorphic graphs stop at the same places.
fn surroundings(graph: &Graph) -> Vec<u64> {
    let share = (SURROUNDINGS_ARCS / graph.node_count()).max(SURROUNDINGS_ARCS_PER_NODE);
    let mut ball = Ball { depth: vec![NOT_SEEN; graph.node_count()], nodes: Vec::new() };
    graph
        .nodes()
        .map(|node| {
            let label = graph.labels.as_ref().map_or(0, |labels| labels[node as usize] as u64);
            chain(chain(mix(label), graph.degree(node) as u64), ball.shape(graph, node, share))
        })
        .collect()
}

const NOT_SEEN: u32 = u32::MAX;

/// Scratch space for a breadth-first search from each node in turn.
struct Ball {
    /// Distance from the centre, for the nodes in `nodes`; [`NOT_SEEN`] for all others.
    depth: Vec<u32>,
    nodes: Vec<u32>,
}

impl Ball {
    fn shape(&mut self, graph: &Graph, centre: u32, mut arcs_left: usize) -> u64 {
        self.depth[centre as usize] = 0;
        self.nodes.push(centre);
        let mut shape = 0;
        let mut shell = 0..1;
        for radius in 1.. {
            let arcs: usize = self.nodes[shell.clone()].iter().map(|&node| graph.degree(node)).sum();
            if shell.is_empty() || arcs > arcs_left {
                break;
            }
            arcs_left -= arcs;
            let mut arcs_inside_shell = 0;
            for index in shell.clone() {
                for &neighbour in graph.neighbours(self.nodes[index]) {
                    let depth = &mut self.depth[neighbour as usize];
                    if *depth == NOT_SEEN {
                        *depth = radius;
                        self.nodes.push(neighbour);
                    } else if *depth == radius - 1 {
                        arcs_inside_shell += 1;
                    }
                }
            }
            shell = shell.end..self.nodes.len();
            shape = chain(chain(shape, arcs_inside_shell), shell.len() as u64);
        }
        for node in self.nodes.drain(..) {
            self.depth[node as usize] = NOT_SEEN;
        }
        shape
    }
}

#[cfg(test)]
mod tests;

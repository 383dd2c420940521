//! The study's synthetic families (its Figure 1).

use std::collections::HashSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Graph;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SyntheticType {
    #[serde(rename = "1")]
    Type1,
    #[serde(rename = "2a")]
    Type2a,
    #[serde(rename = "2b")]
    Type2b,
    #[serde(rename = "2c")]
    Type2c,
    #[serde(rename = "3")]
    Type3,
    #[serde(rename = "random-regular")]
    RandomRegular,
}

impl SyntheticType {
    pub const ALL: [Self; 6] =
        [Self::Type1, Self::Type2a, Self::Type2b, Self::Type2c, Self::Type3, Self::RandomRegular];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Type1 => "1",
            Self::Type2a => "2a",
            Self::Type2b => "2b",
            Self::Type2c => "2c",
            Self::Type3 => "3",
            Self::RandomRegular => "random-regular",
        }
    }
}

impl fmt::Display for SyntheticType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SyntheticType {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(())
    }
}

/// What to generate: `count` graphs of `width × height` nodes in `height` layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyntheticSpec {
    pub kind: SyntheticType,
    pub width: usize,
    pub height: usize,
    pub count: usize,
    pub seed: u64,
}

/// The most graphs, and the most nodes of all of them together, that one spec may ask for.
const MAX_COUNT: usize = 100_000;
const MAX_TOTAL_NODES: usize = 6_000_000;

/// Below three, a cycle through a layer, or from the last layer to the first, would need an edge twice.
const WIDTHS: RangeInclusive<usize> = 3..=100;
const HEIGHTS: RangeInclusive<usize> = 3..=1_000;

/// The degree of every node of a random regular graph: the mean degree of types 1, 2c and 3.
const REGULAR_DEGREE: usize = 6;

#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum SyntheticError {
    /// `field` is the offending field of [`SyntheticSpec`].
    #[error("{field}: {detail}")]
    OutOfRange { field: &'static str, detail: String },
}

impl SyntheticSpec {
    /// # Errors
    /// When a field, or the number of all nodes, is out of range.
    pub fn check(&self) -> Result<(), SyntheticError> {
        let fields =
            [("width", self.width, WIDTHS), ("height", self.height, HEIGHTS), ("count", self.count, 1..=MAX_COUNT)];
        for (field, value, range) in fields {
            if !range.contains(&value) {
                let detail = format!("{value} is not within {} to {}", range.start(), range.end());
                return Err(SyntheticError::OutOfRange { field, detail });
            }
        }
        // Each factor was bounded above, so the product can't overflow.
        let total = self.width * self.height * self.count;
        if total > MAX_TOTAL_NODES {
            let detail = format!("{total} nodes in all are more than the limit of {MAX_TOTAL_NODES}");
            return Err(SyntheticError::OutOfRange { field: "count", detail });
        }
        Ok(())
    }
}

/// Generates a family.
///
/// A graph depends on the kind, the sizes, the seed and its own index alone, so asking for more
/// graphs changes none of the first. Nodes are numbered at random: a number tells nothing of a node's place.
///
/// # Errors
/// When the spec is out of range.
pub fn generate(spec: &SyntheticSpec) -> Result<Vec<Graph>, SyntheticError> {
    spec.check()?;
    Ok((0..spec.count as u64).map(|index| generate_one(spec, index)).collect())
}

fn generate_one(spec: &SyntheticSpec, index: u64) -> Graph {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&spec.seed.to_le_bytes());
    // Kinds of one seed share no random numbers, else their graphs would be paired.
    key[8] = spec.kind as u8;
    let mut rng = ChaCha8Rng::from_seed(key);
    rng.set_stream(index);

    let layers = Layers { width: spec.width as u32, height: spec.height as u32 };
    let edges = match spec.kind {
        SyntheticType::Type1 => layers.joined(Ends::Linked, 3, Straight::Absent, &mut rng),
        SyntheticType::Type2a => {
            [layers.within(Ends::Open), layers.joined(Ends::Open, 1, Straight::Present, &mut rng)].concat()
        }
        SyntheticType::Type2b => {
            [layers.within(Ends::Open), layers.joined(Ends::Linked, 1, Straight::Present, &mut rng)].concat()
        }
        SyntheticType::Type2c => {
            [layers.within(Ends::Linked), layers.joined(Ends::Linked, 1, Straight::Present, &mut rng)].concat()
        }
        SyntheticType::Type3 => {
            [layers.within(Ends::Linked), layers.joined(Ends::Linked, 2, Straight::Absent, &mut rng)].concat()
        }
        SyntheticType::RandomRegular => random_regular(layers.width * layers.height, &mut rng),
    };
    with_random_numbers(layers.width * layers.height, &edges, &mut rng)
}

type Edges = Vec<(u32, u32)>;

/// Whether the last in a row is linked to the first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    Open,
    Linked,
}

/// Whether each node is joined to the node at its own place in the next layer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Straight {
    Absent,
    Present,
}

/// `height` layers of `width` nodes each.
struct Layers {
    width: u32,
    height: u32,
}

impl Layers {
    const fn node(&self, layer: u32, place: u32) -> u32 {
        layer * self.width + place
    }

    /// The edges inside the layers: each is a path, or a cycle.
    fn within(&self, ends: Ends) -> Edges {
        let links = match ends {
            Ends::Open => self.width - 1,
            Ends::Linked => self.width,
        };
        (0..self.height)
            .flat_map(|layer| {
                (0..links).map(move |place| (self.node(layer, place), self.node(layer, (place + 1) % self.width)))
            })
            .collect()
    }

    /// The edges between layers: each node has `random_edges` to distinct random nodes of the next layer, beside its
    /// straight edge where there is one.
    fn joined(&self, ends: Ends, random_edges: usize, straight: Straight, rng: &mut ChaCha8Rng) -> Edges {
        let joins = match ends {
            Ends::Open => self.height - 1,
            Ends::Linked => self.height,
        };
        let mut edges = Edges::new();
        let mut places: Vec<u32> = Vec::new();
        for layer in 0..joins {
            let next = (layer + 1) % self.height;
            for place in 0..self.width {
                let node = self.node(layer, place);
                if straight == Straight::Present {
                    edges.push((node, self.node(next, place)));
                }
                places.clear();
                places.extend((0..self.width).filter(|&other| straight == Straight::Absent || other != place));
                let (chosen, _) = places.partial_shuffle(rng, random_edges);
                edges.extend(chosen.iter().map(|&other| (node, self.node(next, other))));
            }
        }
        edges
    }
}

/// A random graph where every node has [`REGULAR_DEGREE`] neighbours: a ring of them, its edges switched at random.
///
/// A switch takes two edges `ab` and `cd` and makes them `ad` and `cb` unless that gives a loop or an edge twice. It keeps
/// every degree; the chain of switches is symmetric and reaches every such graph, so it tends to the uniform
/// distribution. It always ends, which pairing at random and starting over on a clash (once in 6,000 tries without one) doesn't.
fn random_regular(nodes: u32, rng: &mut ChaCha8Rng) -> Edges {
    /// Many times the edges' number, several times what the triangle count takes to forget the ring.
    const SWITCHES_PER_EDGE: usize = 20;

    let mut edges: Edges = (0..nodes)
        .flat_map(|node| (1..=REGULAR_DEGREE as u32 / 2).map(move |step| (node, (node + step) % nodes)))
        .collect();
    let ordered = |a: u32, b: u32| (a.min(b), a.max(b));
    let mut present: HashSet<(u32, u32)> = edges.iter().map(|&(a, b)| ordered(a, b)).collect();
    for _ in 0..SWITCHES_PER_EDGE * edges.len() {
        let (first, second) = (rng.random_range(0..edges.len()), rng.random_range(0..edges.len()));
        let (a, b) = edges[first];
        let (c, d) = if rng.random() { edges[second] } else { (edges[second].1, edges[second].0) };
        let clashes = a == d || c == b || present.contains(&ordered(a, d)) || present.contains(&ordered(c, b));
        // An edge with itself clashes too: either way round, it would make a loop or the same edge again.
        if !clashes {
            present.remove(&ordered(a, b));
            present.remove(&ordered(c, d));
            present.insert(ordered(a, d));
            present.insert(ordered(c, b));
            edges[first] = (a, d);
            edges[second] = (c, b);
        }
    }
    edges
}

fn with_random_numbers(nodes: u32, edges: &[(u32, u32)], rng: &mut ChaCha8Rng) -> Graph {
    let mut number: Vec<u32> = (0..nodes).collect();
    number.shuffle(rng);
    let mut edges: Edges = edges
        .iter()
        .map(|&(a, b)| (number[a as usize], number[b as usize]))
        .map(|(a, b)| (a.min(b), a.max(b)))
        .collect();
    edges.sort_unstable();
    Graph::from_sorted_edges(nodes as usize, &edges, None)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spec(kind: SyntheticType, count: usize) -> SyntheticSpec {
        SyntheticSpec { kind, width: 6, height: 10, count, seed: 1 }
    }

    fn triangles(graph: &Graph) -> usize {
        graph.edges().map(|(a, b)| graph.neighbours(a).iter().filter(|&&c| c > b && graph.has_edge(b, c)).count()).sum()
    }

    fn degree_deviation(graph: &Graph) -> f64 {
        let nodes = graph.node_count() as f64;
        let mean = 2.0 * graph.edge_count() as f64 / nodes;
        (graph.nodes().map(|node| (graph.degree(node) as f64 - mean).powi(2)).sum::<f64>() / nodes).sqrt()
    }

    fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
        let count = values.len() as f64;
        values.sum::<f64>() / count
    }

    /// Edges, triangles and the spread of degrees against those of an independent reading of the study's figure. The
    /// bands are about four standard errors of a mean over these graphs, and as much for the published one.
    #[test]
    fn families_have_the_figures_of_the_study() {
        use SyntheticType::{RandomRegular, Type1, Type2a, Type2b, Type2c, Type3};
        let figures = [
            (Type1, 180, 0.0, Some(1.218)),
            (Type2a, 158, 43.6, None),
            (Type2b, 170, 48.1, None),
            (Type2c, 180, 57.5, Some(0.895)),
            (Type3, 180, 63.8, Some(1.154)),
            (RandomRegular, 180, 22.0, Some(0.0)),
        ];
        for (kind, edges, expected_triangles, expected_deviation) in figures {
            let graphs = generate(&spec(kind, 200)).unwrap();
            assert!(graphs.iter().all(|graph| graph.node_count() == 60 && graph.edge_count() == edges), "{kind}");
            let found = mean(graphs.iter().map(|graph| triangles(graph) as f64));
            println!("{kind}: {found} triangles, {} deviation", mean(graphs.iter().map(degree_deviation)));
            let band = if expected_triangles == 0.0 { 0.0 } else { 2.5 };
            assert!((found - expected_triangles).abs() <= band, "{kind}: {found} triangles");
            if let Some(expected) = expected_deviation {
                let found = mean(graphs.iter().map(degree_deviation));
                assert!((found - expected).abs() < 0.03, "{kind}: a deviation of {found}");
            }
        }
    }

    #[test]
    fn regular_graphs_are_regular_and_differ() {
        let graphs =
            generate(&SyntheticSpec { width: 3, height: 3, ..spec(SyntheticType::RandomRegular, 20) }).unwrap();
        assert!(graphs.iter().all(|graph| graph.nodes().all(|node| graph.degree(node) == 6)));
        let graphs = generate(&spec(SyntheticType::RandomRegular, 50)).unwrap();
        let hashes: HashSet<_> = graphs.iter().map(crate::graph::isomorphism::Fingerprint::of).collect();
        assert_eq!(hashes.len(), 50);
    }

    #[test]
    fn a_number_tells_nothing_of_a_nodes_place() {
        // In a grid numbered by layers, numbers of neighbours differ by 1 or 6; at random, by a third of all nodes.
        for kind in SyntheticType::ALL {
            let graphs = generate(&spec(kind, 100)).unwrap();
            let gap =
                mean(graphs.iter().map(|graph| {
                    graph.edges().map(|(a, b)| f64::from(b - a)).sum::<f64>() / graph.edge_count() as f64
                }));
            assert!((gap - 61.0 / 3.0).abs() < 1.0, "{kind}: {gap}");
        }
    }

    #[test]
    fn more_graphs_leave_the_first_as_they_are_and_seeds_and_kinds_differ() {
        for kind in SyntheticType::ALL {
            let few = generate(&spec(kind, 3)).unwrap();
            assert_eq!(generate(&spec(kind, 10)).unwrap()[..3], few);
            assert_ne!(generate(&SyntheticSpec { seed: 2, ..spec(kind, 3) }).unwrap(), few);
            assert_ne!(few[0], few[1]);
        }
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        let base = spec(SyntheticType::Type2c, 10);
        let cases = [
            (SyntheticSpec { width: 2, ..base }, "width: 2 is not within 3 to 100"),
            (SyntheticSpec { width: usize::MAX, ..base }, "width: 18446744073709551615 is not within 3 to 100"),
            (SyntheticSpec { height: 2, ..base }, "height: 2 is not within 3 to 1000"),
            (SyntheticSpec { count: 0, ..base }, "count: 0 is not within 1 to 100000"),
            (
                SyntheticSpec { width: 100, height: 1_000, count: 61, ..base },
                "count: 6100000 nodes in all are more than the limit of 6000000",
            ),
        ];
        for (spec, message) in cases {
            assert_eq!(generate(&spec).unwrap_err().to_string(), message);
        }
    }

    proptest! {
        #[test]
        fn edge_counts_hold_at_every_size(width in 3..9_usize, height in 3..9_usize, seed: u64) {
            use SyntheticType::{RandomRegular, Type1, Type2a, Type2b, Type2c, Type3};
            let nodes = width * height;
            let in_paths = height * (width - 1);
            for (kind, edges) in [
                (Type1, 3 * nodes),
                (Type2a, in_paths + 2 * (nodes - width)),
                (Type2b, in_paths + 2 * nodes),
                (Type2c, 3 * nodes),
                (Type3, 3 * nodes),
                (RandomRegular, 3 * nodes),
            ] {
                let graph = &generate(&SyntheticSpec { kind, width, height, count: 1, seed }).unwrap()[0];
                prop_assert_eq!(graph.edge_count(), edges, "{}", kind);
                prop_assert!(graph.edges().is_sorted_by(|a, b| a < b));
            }
        }
    }
}

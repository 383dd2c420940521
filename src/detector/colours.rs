//! The colours of Weisfeiler-Leman refinement: how alike graphs are in what surrounds their nodes.

use crate::graph::Graph;
use crate::graph::isomorphism::{bag, refine, salted};
use crate::stats::density::{DISTANCE_FLOOR, to_nearest};

/// Rounds of refinement whose colours are compared; before the first stands the node's label.
const ROUNDS: usize = 3;

/// A graph's colours.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Coloured {
    /// Of each round and colour √ of the share of nodes that have it.
    shares: [Vec<(u64, f32)>; ROUNDS + 1],
    /// All colours after one round more, in one number: the same for isomorphic graphs, and rarely else.
    pub(super) twin: u64,
}

impl Coloured {
    /// With node labels as first colours, or with one for all nodes.
    pub(super) fn of(graph: &Graph, labelled: bool) -> Self {
        // A graph without labels in a family that has some is like none of it.
        let first = |node: u32| match graph.labels() {
            _ if !labelled => 0,
            Some(labels) => labels[node as usize] as u64,
            None => u64::MAX,
        };
        let n = graph.node_count() as f64;
        let mut colours: Vec<u64> = graph.nodes().map(first).collect();
        let shares = std::array::from_fn(|round| {
            if round > 0 {
                colours = refine(graph, &colours);
            }
            let mut salted: Vec<u64> = colours.iter().map(|&colour| salted(round, colour)).collect();
            salted.sort_unstable();
            let of_each = salted.chunk_by(|a, b| a == b);
            of_each.map(|nodes| (nodes[0], (nodes.len() as f64 / n).sqrt() as f32)).collect()
        });
        Self { shares, twin: bag(refine(graph, &colours).into_iter()) }
    }
}

/// The colours of the normal graphs, by colour.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Palette {
    /// Ascending.
    pub(super) colours: Vec<u64>,
    /// `offsets[i]..offsets[i + 1]` are the entries of colour i.
    pub(super) offsets: Vec<u32>,
    /// Of each entry the graph, and √ of the share of its nodes.
    pub(super) graphs: Vec<u32>,
    pub(super) roots: Vec<f32>,
    /// Of each graph: what distances to it are measured in.
    pub(super) scales: Vec<f64>,
}

/// An affinity less than this is none: a quotient of two such would be rounding alone.
const NO_AFFINITY: f64 = 1e-6;

impl Palette {
    /// Distances to a graph are measured in √ of how far its own `k` nearest are (Zelnik-Manor & Perona 2004): what is near
    /// where few graphs are would be far where many are.
    pub(super) fn of(graphs: &[&Coloured], k: usize) -> Self {
        let mut entries: Vec<(u64, u32, f32)> = (0..)
            .zip(graphs)
            .flat_map(|(graph, coloured)| {
                coloured.shares.iter().flatten().map(move |&(colour, root)| (colour, graph, root))
            })
            .collect();
        entries.sort_unstable_by_key(|&(colour, graph, _)| (colour, graph));
        let mut palette = Self { offsets: vec![0], scales: vec![1.0; graphs.len()], ..Self::default() };
        for of_colour in entries.chunk_by(|a, b| a.0 == b.0) {
            palette.colours.push(of_colour[0].0);
            palette.graphs.extend(of_colour.iter().map(|&(_, graph, _)| graph));
            palette.roots.extend(of_colour.iter().map(|&(.., root)| root));
            palette.offsets.push(palette.graphs.len() as u32);
        }
        let scale = |(index, coloured): (usize, &&Coloured)| {
            (to_nearest(&palette.distances(coloured), k, |other| other == index) + DISTANCE_FLOOR).sqrt()
        };
        palette.scales = graphs.iter().enumerate().map(scale).collect();
        palette
    }

    /// The palette with these parts; `None` where they don't fit each other.
    pub(super) fn from_parts(
        colours: Vec<u64>,
        offsets: Vec<u32>,
        graphs: Vec<u32>,
        roots: Vec<f32>,
        scales: Vec<f64>,
    ) -> Option<Self> {
        let fits = offsets.len() == colours.len() + 1
            && offsets.first() == Some(&0)
            && offsets.last().is_some_and(|&end| end as usize == graphs.len())
            && offsets.is_sorted()
            && colours.is_sorted()
            && graphs.len() == roots.len()
            && graphs.iter().all(|&graph| (graph as usize) < scales.len())
            && scales.iter().all(|&scale| scale > 0.0);
        fits.then_some(Self { colours, offsets, graphs, roots, scales })
    }

    /// The distance of a graph to each normal, in the normal's own scale: Hellinger's, averaged over the rounds, each given the
    /// one before. Rounds refine one another, so that of two graphs with few labels in common all colours differ; a round
    /// counts by what it adds.
    pub(super) fn distances(&self, of: &Coloured) -> Vec<f64> {
        let count = self.scales.len();
        let (mut before, mut affinities, mut distances) = (vec![1.0_f64; count], vec![0.0; count], vec![0.0; count]);
        for shares in &of.shares {
            affinities.fill(0.0);
            for &(colour, root) in shares {
                let Ok(place) = self.colours.binary_search(&colour) else { continue };
                for entry in self.offsets[place] as usize..self.offsets[place + 1] as usize {
                    affinities[self.graphs[entry] as usize] += f64::from(root) * f64::from(self.roots[entry]);
                }
            }
            for ((distance, before), &affinity) in distances.iter_mut().zip(&before).zip(&affinities) {
                let added = if *before > NO_AFFINITY { affinity / before } else { 0.0 };
                *distance += (2.0 - 2.0 * added).max(0.0).sqrt();
            }
            std::mem::swap(&mut before, &mut affinities);
        }
        let rounds = of.shares.len() as f64;
        distances.iter().zip(&self.scales).map(|(distance, scale)| distance / (rounds * scale)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::graph::testing::{any_relabelling, graph};

    /// By hand, without labels: at first all nodes are alike (affinity 1), then those of degree 1 are, which are all nodes
    /// of an edge and 2/3 of those of a path (affinity √(2/3)); from the next round on nothing is common. Either's only
    /// neighbour is the other.
    #[test]
    fn an_edge_and_a_path() {
        let (edge, path) = (graph(2, &[(0, 1)]), graph(3, &[(0, 1), (1, 2)]));
        let (edge, path) = (Coloured::of(&edge, false), Coloured::of(&path, false));
        let distances = Palette::of(&[&edge, &path], 3).distances(&edge);
        assert!(distances[0].abs() < 1e-3, "{distances:?}");
        let hellinger = |affinity: f64| (2.0 - 2.0 * affinity).sqrt();
        let unscaled = (hellinger(1.0) + hellinger((2.0_f64 / 3.0).sqrt()) + 2.0 * hellinger(0.0)) / 4.0;
        assert!((distances[1] - unscaled / (unscaled + 0.1).sqrt()).abs() < 1e-6, "{distances:?}");
        assert_ne!(edge.twin, path.twin);
    }

    /// A cycle of four beside one of three, and beside a star, where it has no colour in common but the first.
    #[test]
    fn what_is_common_before_is_counted_once() {
        let cycles = [graph(3, &[(0, 1), (1, 2), (2, 0)]), graph(4, &[(0, 1), (1, 2), (2, 3), (3, 0)])];
        let star = graph(4, &[(0, 1), (0, 2), (0, 3)]);
        let [triangle, square] = cycles.each_ref().map(|cycle| Coloured::of(cycle, false));
        let star = Coloured::of(&star, false);
        let palette = Palette::of(&[&square, &star], 1);
        let distances = palette.distances(&triangle);
        assert!(
            distances[0].abs() < 1e-3,
            "every node of a cycle has two neighbours, as far as one looks: {distances:?}"
        );
        let unscaled = distances[1] * palette.scales[1];
        assert!((unscaled - 3.0 * 2.0_f64.sqrt() / 4.0).abs() < 1e-6, "{distances:?}");
    }

    proptest! {
        #[test]
        fn a_graph_under_other_names_is_its_twin((graph, permutation) in any_relabelling(8), labelled: bool) {
            let (one, two) = (Coloured::of(&graph, labelled), Coloured::of(&graph.relabelled(&permutation), labelled));
            prop_assert_eq!(&one, &two);
            let palette = Palette::of(&[&one], 3);
            prop_assert!(palette.distances(&two)[0] < 1e-3);
            let Palette { colours, offsets, graphs, roots, scales } = palette.clone();
            prop_assert_eq!(Palette::from_parts(colours, offsets, graphs, roots, scales), Some(palette));
        }
    }
}

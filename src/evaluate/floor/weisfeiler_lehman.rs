//! The Weisfeiler-Leman subtree kernel (Shervashidze et al. 2011) and the nearest neighbours by it.

use rayon::prelude::*;

use super::{Asked, NEIGHBOURS};
use crate::graph::Graph;
use crate::graph::isomorphism::{refine, salted};
use crate::stats::density::to_nearest;

/// Rounds of refinement.
const ROUNDS: usize = 3;

/// Each graph's mean distance to the nearest references, ‖a − b‖ of unit vectors, between 0 and √2.
pub(super) fn distances(references: &[&Graph], graphs: &[Asked<'_>]) -> Vec<f64> {
    // Labels are first colours where all of the family has them; degrees are else.
    let labelled = references.iter().all(|graph| graph.labels().is_some());
    let known: Vec<Histogram> = references.par_iter().map(|graph| Histogram::of(graph, labelled)).collect();
    let of_graph = |asked: &Asked<'_>| {
        let own = Histogram::of(asked.graph, labelled);
        let distance = |other: &Histogram| (2.0 - 2.0 * own.dot(other)).max(0.0).sqrt();
        to_nearest(&known.iter().map(distance).collect::<Vec<f64>>(), NEIGHBOURS, |index| Some(index) == asked.twin)
    };
    graphs.par_iter().map(of_graph).collect()
}

/// How often each colour occurs over all rounds, scaled to a vector of length one. Ascending by colour.
struct Histogram(Vec<(u64, f64)>);

impl Histogram {
    fn of(graph: &Graph, labelled: bool) -> Self {
        let first = |node: u32| match graph.labels().filter(|_| labelled) {
            Some(labels) => labels[node as usize] as u64,
            None => graph.degree(node) as u64,
        };
        let mut colours: Vec<u64> = graph.nodes().map(first).collect();
        // A colour of one round must not be taken for that of another.
        let mut all: Vec<(usize, u64)> = colours.iter().map(|&colour| (0, colour)).collect();
        for round in 1..=ROUNDS {
            colours = refine(graph, &colours);
            all.extend(colours.iter().map(|&colour| (round, colour)));
        }
        all.sort_unstable();
        let mut counts: Vec<(u64, f64)> =
            all.chunk_by(|a, b| a == b).map(|equal| (salted(equal[0].0, equal[0].1), equal.len() as f64)).collect();
        counts.sort_unstable_by_key(|(colour, _)| *colour);
        let norm = counts.iter().map(|(_, count)| count * count).sum::<f64>().sqrt();
        counts.iter_mut().for_each(|(_, count)| *count /= norm);
        Self(counts)
    }

    fn dot(&self, other: &Self) -> f64 {
        let (mut left, mut right) = (self.0.as_slice(), other.0.as_slice());
        let mut sum = 0.0;
        while let (Some(&(a, x)), Some(&(b, y))) = (left.first(), right.first()) {
            if a == b {
                sum += x * y;
            }
            left = &left[usize::from(a <= b)..];
            right = &right[usize::from(b <= a)..];
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::graph::testing::{any_relabelling, graph};

    /// By hand, without labels: an edge has two nodes of degree 1, a path of three two of degree 1 and one of degree 2.
    /// From round 1 on their end nodes differ too, so only the first round's 2·2 is common; the norms are
    /// √(4·2²) = 4 and √(4·(2² + 1²)) = √20.
    #[test]
    fn an_edge_and_a_path() {
        let (edge, path) = (graph(2, &[(0, 1)]), graph(3, &[(0, 1), (1, 2)]));
        let similarity = Histogram::of(&edge, false).dot(&Histogram::of(&path, false));
        assert!((similarity - 4.0 / (4.0 * 20.0_f64.sqrt())).abs() < 1e-12, "{similarity}");
    }

    proptest! {
        #[test]
        fn the_names_of_nodes_do_not_matter((graph, permutation) in any_relabelling(8), labelled: bool) {
            let (one, two) = (Histogram::of(&graph, labelled), Histogram::of(&graph.relabelled(&permutation), labelled));
            prop_assert!((one.dot(&two) - 1.0).abs() < 1e-12);
        }
    }
}

//! The floors: what anybody could do without learning. A detector that does no better has learnt nothing.
//!
//! Each is fitted on the normal family's train split and gives a distance from the normal class: higher is stranger, on
//! whichever side of the normals a graph lies. So one floor is honest in both directions of a task.
//!
//! They know the train graphs as detectors do: isomorphic ones once, and of no use to their own twins. Where twins share a
//! split a held-out graph has none among them, and a graph of another family may: to be near its twin would only tell that
//! it was not held out.

mod erdos_renyi;
mod structure;
mod weisfeiler_lehman;

use serde::{Deserialize, Serialize};

use super::kinship::Classes;
use crate::graph::Graph;
use crate::stats::kernel_density::KernelDensity;

/// Neighbours whose mean distance is taken.
const NEIGHBOURS: usize = 5;

/// Train graphs that a floor looks at: of a larger family evenly spaced ones, for each is compared with each.
const MOST_REFERENCES: usize = 4_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Floor {
    /// −ln of the kernel density of ln n. Of the logarithm: sizes are skewed, and one kernel must fit both tails.
    NodeCount,
    /// −ln of the kernel density of ln(1 + m).
    EdgeCount,
    /// −ln of the kernel density of ln(1 + NLL/n) under the Erdos-Renyi model, its p fitted on the train split.
    ErdosRenyi,
    /// The mean distance to the 5 nearest train graphs by twelve structural statistics.
    #[serde(rename = "structure-5nn")]
    Structure,
    /// The same by Weisfeiler-Leman label histograms of three rounds.
    #[serde(rename = "wl-5nn")]
    WeisfeilerLehman,
}

impl Floor {
    pub const ALL: [Self; 5] =
        [Self::NodeCount, Self::EdgeCount, Self::ErdosRenyi, Self::Structure, Self::WeisfeilerLehman];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NodeCount => "node-count",
            Self::EdgeCount => "edge-count",
            Self::ErdosRenyi => "erdos-renyi",
            Self::Structure => "structure-5nn",
            Self::WeisfeilerLehman => "wl-5nn",
        }
    }

    /// How far each graph lies from the references.
    #[must_use]
    pub fn score(self, references: &References<'_>, graphs: &[Asked<'_>]) -> Vec<f64> {
        let known = &references.graphs;
        match self {
            Self::NodeCount => scalar(known, graphs, |graph| (graph.node_count() as f64).ln()),
            Self::EdgeCount => scalar(known, graphs, |graph| (graph.edge_count() as f64).ln_1p()),
            Self::ErdosRenyi => {
                let density = erdos_renyi::density(known);
                scalar(known, graphs, |graph| erdos_renyi::nll_per_node(graph, density).ln_1p())
            }
            Self::Structure => structure::distances(known, graphs),
            Self::WeisfeilerLehman => weisfeiler_lehman::distances(known, graphs),
        }
    }
}

/// The distinct train graphs that a floor compares with.
#[derive(Debug)]
pub struct References<'a> {
    /// In the order of their classes.
    graphs: Vec<&'a Graph>,
    classes: Classes<'a>,
}

/// A graph, and which of the references is isomorphic to it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    graph: &'a Graph,
    twin: Option<usize>,
}

impl<'a> References<'a> {
    /// Of a train split with at least one graph.
    #[must_use]
    pub fn of(train: &[&'a Graph]) -> Self {
        let some: Vec<&Graph> = train.iter().step_by(train.len().div_ceil(MOST_REFERENCES).max(1)).copied().collect();
        let (mut classes, mut graphs) = (Classes::default(), Vec::new());
        for (class, graph) in classes.enter(&some).into_iter().zip(some) {
            if class == graphs.len() {
                graphs.push(graph);
            }
        }
        Self { graphs, classes }
    }

    #[must_use]
    pub fn ask<'g>(&mut self, graphs: &[&'g Graph]) -> Vec<Asked<'g>> {
        let twins = self.classes.find(graphs);
        graphs.iter().zip(twins).map(|(&graph, twin)| Asked { graph, twin }).collect()
    }
}

/// How strange one number of each graph is among those of the references.
fn scalar(known: &[&Graph], graphs: &[Asked<'_>], of: impl Fn(&Graph) -> f64) -> Vec<f64> {
    let values: Vec<f64> = known.iter().map(|graph| of(graph)).collect();
    let Some(density) = KernelDensity::fit(&values) else { return vec![0.0; graphs.len()] };
    // A twin has the same number.
    let surprise = |asked: &Asked<'_>| match asked.twin {
        Some(_) => density.surprise_among_others(of(asked.graph)),
        None => density.surprise(of(asked.graph)),
    };
    graphs.iter().map(surprise).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::testing::{graph, permutation, random_graph};
    use crate::stats::ranking::auroc;

    fn scores(floor: Floor, train: &[Graph], graphs: &[Graph]) -> Vec<f64> {
        let mut references = References::of(&train.iter().collect::<Vec<_>>());
        let asked = references.ask(&graphs.iter().collect::<Vec<_>>());
        floor.score(&references, &asked)
    }

    #[test]
    fn copies_of_train_graphs_change_nothing() {
        let train = family(30, 45, 0);
        let with_copies: Vec<Graph> = train
            .iter()
            .cloned()
            .chain(train.iter().map(|graph| graph.relabelled(&permutation(graph.node_count(), 1))))
            .collect();
        let asked = [&train[..3], &family(30, 45, 1000)].concat();
        for floor in Floor::ALL {
            assert_eq!(scores(floor, &with_copies, &asked), scores(floor, &train, &asked), "{}", floor.as_str());
        }
    }

    #[test]
    fn a_twin_among_the_references_makes_no_graph_less_strange() {
        let train = family(30, 45, 0);
        let moved = train[0].relabelled(&permutation(train[0].node_count(), 1));
        let mut references = References::of(&train.iter().collect::<Vec<_>>());
        let known = references.ask(&[&moved]);
        assert_eq!(known[0].twin, Some(0));
        for floor in Floor::ALL {
            let [apart] = floor.score(&references, &known)[..] else { panic!("one score") };
            let [beside] = floor.score(&references, &[Asked { twin: None, ..known[0] }])[..] else {
                panic!("one score")
            };
            assert!(apart > beside + 1e-3, "{}: {apart} is not above {beside}", floor.as_str());
        }
        // Shares have no unit that depends on the others: exactly as if it had been held out.
        let held_out = scores(Floor::WeisfeilerLehman, &train[1..], &train[..1]);
        assert!((Floor::WeisfeilerLehman.score(&references, &known)[0] - held_out[0]).abs() < 1e-12);
    }

    fn family(nodes: usize, edges: usize, seed: u64) -> Vec<Graph> {
        (0..30).map(|index| random_graph(nodes + index % 5, edges + index % 3, seed + index as u64)).collect()
    }

    #[test]
    fn larger_and_smaller_graphs_are_both_far() {
        let (train, test) = (family(30, 45, 0), family(30, 45, 1000));
        for stranger in [family(60, 90, 2000), family(12, 18, 3000)] {
            // But for label histograms, which are shares: they know nothing of size.
            for floor in Floor::ALL.into_iter().filter(|floor| *floor != Floor::WeisfeilerLehman) {
                let found = auroc(&scores(floor, &train, &test), &scores(floor, &train, &stranger));
                assert!(found >= 0.99, "{} of {} nodes: {found}", floor.as_str(), stranger[0].node_count());
            }
        }
    }

    #[test]
    fn labels_and_degrees_are_what_the_last_floor_sees() {
        let cycle = |n: u64| graph(n, &(0..n).map(|i| (i, (i + 1) % n)).collect::<Vec<_>>());
        let path = |n: u64| graph(n, &(1..n).map(|i| (i - 1, i)).collect::<Vec<_>>());
        let train: Vec<Graph> = (10..30).map(cycle).collect();
        let distances = scores(Floor::WeisfeilerLehman, &train, &[cycle(40), path(40)]);
        assert!(distances[0].abs() < 1e-7, "all nodes of any cycle look alike: {distances:?}");
        assert!(distances[1] > 0.1, "{distances:?}");
    }

    #[test]
    fn a_name_is_what_is_stored() {
        for floor in Floor::ALL {
            assert_eq!(serde_json::to_value(floor).unwrap(), floor.as_str());
        }
    }
}

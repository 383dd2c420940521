//! What is counted of a graph without a model.

use std::sync::OnceLock;

use super::colours::Coloured;
use crate::graph::Graph;
use crate::graph::structure::Structure;

/// A graph, and what is counted of it: once and when first asked for, however many members and detectors judge it.
#[derive(Debug)]
pub struct Portrait<'a> {
    graph: &'a Graph,
    counts: OnceLock<Counts>,
    /// Without node labels, and with them.
    colours: [OnceLock<Coloured>; 2],
}

/// The coordinates that a graph is compared by.
#[derive(Debug)]
pub(super) struct Counts {
    pub(super) log_size: f64,
    /// ln n, and density given size: what a model's statistics are freed of.
    pub(super) size: Vec<f64>,
    pub(super) structure: Vec<f64>,
}

impl<'a> Portrait<'a> {
    #[must_use]
    pub fn of(graph: &'a Graph) -> Self {
        Self { graph, counts: OnceLock::new(), colours: [const { OnceLock::new() }; 2] }
    }

    #[must_use]
    pub fn graph(&self) -> &'a Graph {
        self.graph
    }

    pub(super) fn counts(&self) -> &Counts {
        self.counts.get_or_init(|| Counts::of(self.graph))
    }

    pub(super) fn colours(&self, labelled: bool) -> &Coloured {
        self.colours[usize::from(labelled)].get_or_init(|| Coloured::of(self.graph, labelled))
    }
}

impl Counts {
    fn of(graph: &Graph) -> Self {
        let of = Structure::of(graph);
        Self {
            log_size: of.nodes.ln(),
            // For m may be 0.
            size: vec![of.nodes.ln(), ((1.0 + of.edges) / of.nodes).ln()],
            structure: vec![
                of.nodes.ln(),
                of.edges.ln_1p(),
                of.density(),
                of.mean_degree(),
                of.greatest_degree.ln_1p(),
                of.degree_deviation,
                (of.triangles / of.nodes).ln_1p(),
                of.transitivity(),
                of.components,
                of.isolated / of.nodes,
                of.leaves / of.nodes,
                (of.independent_cycles() / of.nodes).max(0.0).ln_1p(),
                of.clustering,
                of.clustering_deviation,
            ],
        }
    }
}

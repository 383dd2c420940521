//! Loaded detectors of one family, and what they are asked of its graphs.

use std::sync::Arc;

use super::compute::Compute;
use crate::detector::{self, Detector, Score, ScoreOptions, Tail, Verdict};
use crate::graph::{Graph, Limits};
use crate::id::DetectorId;
use crate::model::Cost;

/// Loaded detectors of one family that score together; at least one.
#[derive(Debug, Clone)]
pub struct Jury(Arc<[(DetectorId, Arc<Detector>)]>);

/// What the family's detectors say of one graph.
#[derive(Debug, Clone)]
pub struct Scored {
    /// In the order of the detectors asked for.
    pub scores: Vec<(DetectorId, Score)>,
    pub verdict: Verdict,
}

impl Jury {
    pub(super) fn new(detectors: Vec<(DetectorId, Arc<Detector>)>) -> Self {
        Self(detectors.into())
    }

    fn ids(&self) -> impl Iterator<Item = DetectorId> + '_ {
        self.0.iter().map(|(id, _)| *id)
    }

    /// Estimated work of scoring a graph of `nodes` and `edges` under all of them, one after another.
    #[must_use]
    pub fn cost(&self, nodes: usize, edges: usize, options: &ScoreOptions) -> Cost {
        let costs = self.0.iter().map(|(_, detector)| detector.cost(nodes, edges, options));
        costs.fold(Cost::default(), Cost::after)
    }
}

/// What is asked of a graph.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) jury: Jury,
    pub(super) options: ScoreOptions,
}

impl Compute for Question {
    type Unit = Graph;
    type Output = Scored;

    /// The same detectors, by name: one of them may have been loaded anew in between.
    fn joins(&self, other: &Self) -> bool {
        self.options == other.options && self.jury.ids().eq(other.jury.ids())
    }

    fn cost(&self, graph: &Graph) -> Cost {
        self.jury.cost(graph.node_count(), graph.edge_count(), &self.options)
    }

    fn compute(&self, graphs: &[&Graph]) -> Vec<Scored> {
        let mut scores: Vec<Vec<(DetectorId, Score)>> = graphs.iter().map(|_| Vec::new()).collect();
        for (id, detector) in self.jury.0.iter() {
            for (scores, score) in scores.iter_mut().zip(detector.score_batch(graphs, &self.options)) {
                scores.push((*id, score));
            }
        }
        scores.into_iter().map(|scores| self.judged(scores)).collect()
    }
}

impl Question {
    fn judged(&self, scores: Vec<(DetectorId, Score)>) -> Scored {
        let judged: Vec<(&Detector, &Score)> =
            self.jury.0.iter().zip(&scores).map(|((_, detector), (_, score))| (&**detector, score)).collect();
        let verdict = detector::verdict(&judged, self.options.tail);
        Scored { scores, verdict }
    }
}

/// Scores a triangle with a tail: the smallest graph with an edge on a cycle and a bridge.
pub(super) fn probe(detector: &Detector) {
    let edges = [(0, 1), (1, 2), (2, 0), (2, 3)];
    if let Ok((graph, _)) = Graph::new(4, &edges, None, &Limits::default()) {
        let options =
            ScoreOptions { tail: Tail::default(), samples: Some(1), orderings: Some(1), seed: 0, explain: false };
        std::hint::black_box(detector.score(&graph, &options));
    }
}

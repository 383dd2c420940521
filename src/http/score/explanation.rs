//! An explanation as it is answered.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::wire::Subject;
use crate::detector::{ExplainedEdge, Explanation, Findings, Score, Unlikely};
use crate::model::Kind;
use crate::scorer::Scored;

/// Which edges and nodes the detectors find unlikely, the most unlikely first.
///
/// The most alarmed detector, the one with the smallest p-value, puts the edges in order. Where detectors of both sorts
/// were asked, the most alarmed of the other sort adds what it says of the same edges.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct ExplanationWire {
    /// The kind of the most alarmed detector.
    pub(super) kind: Kind,
    pub(super) edges: Vec<EdgeWire>,
    /// Edges that the graph lacks and a likelihood kind expected.
    pub(super) absent_edges: Vec<EdgeWire>,
    /// Each node's share of the negative log-likelihood under a likelihood kind: what it costs by itself, and half of each
    /// of its edges and absences. All nodes' shares add up to `nll.mean`.
    pub(super) nodes: Vec<NodeWire>,
    /// Whether every edge is named; very large graphs are explained in part.
    pub(super) complete: bool,
}

/// An edge, and how likely the models find it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct EdgeWire {
    /// Its ends: the sender's own node ids.
    #[schema(value_type = Vec<Value>, min_items = 2, max_items = 2, example = json!([3, 7]))]
    pub(super) edge: [Value; 2],
    /// The probability that a masked kind gives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 0.02)]
    pub(super) completion: Option<f64>,
    /// What it costs under a likelihood kind, in nats; of an absent edge, what its absence costs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 4.6)]
    pub(super) nll: Option<f64>,
}

/// A node, and what it costs under a likelihood kind.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct NodeWire {
    /// The sender's own node id.
    #[schema(value_type = Value, example = json!(7))]
    pub(super) node: Value,
    #[schema(example = 4.1)]
    pub(super) nll: f64,
}

impl ExplanationWire {
    /// What the detectors say together; none unless it was asked for.
    pub(super) fn of(scored: &Scored, subject: &Subject) -> Option<Self> {
        let explained = || scored.scores.iter().filter_map(|(_, score)| Some((&**score, score.explanation.as_ref()?)));
        let most_alarmed =
            |(a, _): &(&Score, &Explanation), (b, _): &(&Score, &Explanation)| a.p_value.total_cmp(&b.p_value);
        let (first, explanation) = explained().min_by(most_alarmed)?;
        let same_sort =
            |score: &Score| matches!(score.findings, Findings::Nll(_)) == matches!(first.findings, Findings::Nll(_));
        let other = explained().filter(|(score, _)| !same_sort(score)).min_by(most_alarmed);
        let second: HashMap<(u32, u32), &ExplainedEdge> =
            other.iter().flat_map(|(_, explanation)| &explanation.edges).map(|edge| (edge.edge, edge)).collect();
        let edges = explanation.edges.iter().map(|edge| {
            let wire = EdgeWire::new(edge, subject);
            second.get(&edge.edge).map_or(wire.clone(), |more| wire.with(more))
        });
        let likelihood =
            if matches!(first.findings, Findings::Nll(_)) { Some(explanation) } else { other.map(|(_, e)| e) };
        let nodes = likelihood.iter().flat_map(|explanation| &explanation.nodes);
        Some(Self {
            kind: first.kind,
            edges: edges.collect(),
            absent_edges: likelihood
                .iter()
                .flat_map(|explanation| &explanation.absent_edges)
                .map(|edge| EdgeWire::new(edge, subject))
                .collect(),
            nodes: nodes.map(|&(node, nll)| NodeWire { node: subject.name(node), nll }).collect(),
            complete: explanation.complete,
        })
    }
}

impl EdgeWire {
    fn new(edge: &ExplainedEdge, subject: &Subject) -> Self {
        let (a, b) = edge.edge;
        Self { edge: [subject.name(a), subject.name(b)], completion: None, nll: None }.with(edge)
    }

    /// With what another detector says of the same edge.
    fn with(mut self, edge: &ExplainedEdge) -> Self {
        match edge.how {
            Unlikely::Completion(completion) => self.completion = Some(completion),
            Unlikely::Nll(nll) => self.nll = Some(nll),
        }
        self
    }
}

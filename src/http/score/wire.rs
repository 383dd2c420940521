//! What is sent and answered. Fields stand in the order of the contract.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::explanation::ExplanationWire;
use super::options::{Options, Scope};
use crate::detector::{Completion, Nll, Score};
use crate::graph::format::ParsedGraph;
use crate::graph::format::json::JsonError;
use crate::graph::{Graph, Limits};
use crate::http::error::Problem;
use crate::http::extract::Object;
use crate::http::graph_json::GraphJson;
use crate::id::DetectorId;
use crate::model::Kind;

/// Wrong places named in one answer. A batch that is wrong everywhere is not listed whole.
const MAX_ERRORS: usize = 100;

/// One graph or several, and how to score them. Exactly one of `graph` and `graphs` is given.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"graph": {"nodes": 5, "edges": [[0, 1], [1, 2], [2, 3], [3, 4], [4, 0]], "id": "ring-5"}, "options": {"explain": true}}))]
pub(super) struct ScoreRequest {
    graph: Option<GraphJson>,
    /// Several of them. The answer is `{"results": [...]}` in their order; one bad graph refuses them all.
    #[schema(min_items = 1)]
    graphs: Option<Vec<GraphJson>>,
    #[schema(value_type = Option<Options>)]
    options: Option<Object<Options>>,
}

/// The graphs of a request, as yet unread.
#[derive(Debug)]
pub(super) enum Asked {
    One(GraphJson),
    Many(Vec<GraphJson>),
}

impl ScoreRequest {
    /// # Errors
    /// 422 unless there is exactly one of `graph` and `graphs`, and at most `max_batch` in the latter.
    pub(super) fn split(self, max_batch: usize) -> Result<(Asked, Options), Problem> {
        let asked = match (self.graph, self.graphs) {
            (Some(graph), None) => Asked::One(graph),
            (None, Some(graphs)) if graphs.is_empty() => {
                return Err(Problem::invalid_at("/graphs", "there is no graph to score"));
            }
            (None, Some(graphs)) if graphs.len() > max_batch => {
                let detail = format!("{} graphs are more than the limit of {max_batch}: stream them", graphs.len());
                return Err(Problem::invalid_at("/graphs", detail));
            }
            (None, Some(graphs)) => Asked::Many(graphs),
            _ => return Err(Problem::invalid_at("", "give exactly one of `graph` and `graphs`")),
        };
        Ok((asked, self.options.map(|Object(options)| options).unwrap_or_default()))
    }
}

impl Asked {
    pub(super) const fn scope(&self) -> Scope {
        match self {
            Self::One(_) => Scope::One,
            Self::Many(_) => Scope::Batch,
        }
    }

    /// Reads the graphs, in their order.
    ///
    /// # Errors
    /// 422 naming what is wrong with any of them, by its place in the whole body.
    pub(super) fn parse(&self, limits: &Limits) -> Result<Vec<ParsedGraph>, Problem> {
        match self {
            Self::One(graph) => Ok(vec![graph.parse("/graph", limits)?]),
            Self::Many(graphs) => parse_all(graphs, limits),
        }
    }

    /// The answer of the shape that was asked for.
    pub(super) fn answer(&self, mut results: Vec<ScoreResponse>) -> Answer {
        let alone = matches!(self, Self::One(_));
        match results.pop() {
            Some(only) if alone => Answer::One(Box::new(only)),
            last => {
                results.extend(last);
                Answer::Many(BatchResponse { results })
            }
        }
    }
}

fn parse_all(graphs: &[GraphJson], limits: &Limits) -> Result<Vec<ParsedGraph>, Problem> {
    let mut parsed = Vec::with_capacity(graphs.len());
    let mut errors = Vec::new();
    for (index, graph) in graphs.iter().enumerate() {
        match graph.parse(&format!("/graphs/{index}"), limits) {
            Ok(graph) => parsed.push(graph),
            Err(JsonError::Invalid(places)) => errors.extend(places),
            Err(error) => return Err(error.into()),
        }
        if errors.len() >= MAX_ERRORS {
            break;
        }
    }
    if errors.is_empty() { Ok(parsed) } else { Err(Problem::invalid(errors)) }
}

/// The answer to `{"graphs": [...]}`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BatchResponse {
    pub(super) results: Vec<ScoreResponse>,
}

/// The answer to one graph, or to several.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Answer {
    One(Box<ScoreResponse>),
    Many(BatchResponse),
}

/// What the family's detectors say of one graph.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct ScoreResponse {
    #[schema(example = "aids-0")]
    pub(super) family: String,
    pub(super) graph: ScoredGraph,
    /// What was changed to read the graph as a simple one, and what to know about the numbers.
    pub(super) warnings: Vec<String>,
    /// One per detector.
    pub(super) scores: Vec<KindScore>,
    pub(super) verdict: VerdictWire,
    /// There with `options.explain`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) explanation: Option<ExplanationWire>,
}

/// The graph as it was read.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct ScoredGraph {
    /// The sender's name of it, if it had one.
    #[schema(example = "g1")]
    pub(super) id: Option<String>,
    #[schema(example = 16)]
    pub(super) nodes: usize,
    /// Undirected edges, each counted once.
    #[schema(example = 16)]
    pub(super) edges: usize,
}

/// What one detector says.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct KindScore {
    pub(super) kind: Kind,
    #[schema(value_type = uuid::Uuid)]
    pub(super) detector_id: DetectorId,
    /// Continuous; higher is more anomalous.
    #[schema(example = 3.92)]
    pub(super) nonconformity: f64,
    /// The share of calibration graphs at least as extreme, the graph itself counted.
    #[schema(example = 0.012)]
    pub(super) p_value: f64,
    /// The p-value of what the model itself sees, given the graph's size; `p_value` also looks at the size, and at the
    /// structure as it can be counted without a model.
    #[schema(example = 0.034)]
    pub(super) p_model: f64,
    /// Of the masked kinds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) completion: Option<CompletionWire>,
    /// Of `graphrnn` and `gran`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) nll: Option<NllWire>,
}

/// The graph's negative log-likelihood over random breadth-first orderings, in nats.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct NllWire {
    /// `total` per node: the score of the study.
    #[schema(example = 1.92)]
    pub(super) per_node: f64,
    /// Of the average probability over the orderings: -(ln Σ p - ln K).
    #[schema(example = 30.7)]
    pub(super) total: f64,
    /// The mean of the orderings' own; `rows`, `stop` and `out_of_reach` add up to it.
    #[schema(example = 31.9)]
    pub(super) mean: f64,
    /// The standard error of that mean, per node.
    #[schema(example = 0.04)]
    pub(super) std_error: f64,
    #[schema(example = 10)]
    pub(super) orderings: usize,
    /// Of the edges and absences within the model's reach.
    #[schema(example = 28.3)]
    pub(super) rows: f64,
    /// Of the number of nodes.
    #[schema(example = 3.6)]
    pub(super) stop: f64,
    /// Of the edges and absences farther back in an ordering than the model reaches.
    #[schema(example = 0.0)]
    pub(super) out_of_reach: f64,
}

/// Completion scores: how likely the model finds the graph's own edges.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct CompletionWire {
    #[schema(example = 100)]
    pub(super) samples: usize,
    /// `null` for a graph without edges.
    #[schema(example = 0.63)]
    pub(super) mean: Option<f64>,
    /// 11 borders of the 10 bins of [0, 1].
    pub(super) bin_edges: Vec<f64>,
    pub(super) histogram: Vec<u64>,
}

/// The score against the family's calibration distribution, over all detectors asked.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct VerdictWire {
    /// Whether the p-value is at most `alpha`, or the q-value at most `fdr`. `null` when the calibration graphs are too few for
    /// any to be.
    pub(super) anomalous: Option<bool>,
    #[schema(example = 3.1)]
    pub(super) nonconformity: f64,
    #[schema(example = 0.024)]
    pub(super) p_value: f64,
    /// The level of the verdict; there unless `fdr` is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 0.05)]
    pub(super) alpha: Option<f64>,
    /// The level over all graphs of the request; there if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fdr: Option<f64>,
    /// There with `fdr`: the smallest one at which the graph is anomalous (Benjamini-Hochberg).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) q_value: Option<f64>,
    /// The smallest p-value there can be: 1 / (`calibration_size` + 1).
    #[schema(example = 0.0031)]
    pub(super) min_p: f64,
    #[schema(example = 320)]
    pub(super) calibration_size: usize,
    /// The p-value of the graph's size alone.
    #[schema(example = 0.44)]
    pub(super) p_size: f64,
    /// The p-value of what size does not explain.
    #[schema(example = 0.011)]
    pub(super) p_structure: f64,
}

/// What is kept of a graph while the graph itself is with the scorer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Subject {
    pub(super) summary: ScoredGraph,
    pub(super) node_ids: Option<Vec<Value>>,
    pub(super) warnings: Vec<String>,
}

impl Subject {
    /// Parts a graph from what its answer needs of it.
    pub(super) fn part(parsed: ParsedGraph) -> (Graph, Self) {
        let ParsedGraph { graph, id, node_ids, warnings } = parsed;
        let summary = ScoredGraph { id, nodes: graph.node_count(), edges: graph.edge_count() };
        (graph, Self { summary, node_ids, warnings })
    }

    pub(super) fn name(&self, node: u32) -> Value {
        self.node_ids.as_ref().and_then(|ids| ids.get(node as usize)).cloned().unwrap_or_else(|| node.into())
    }
}

impl KindScore {
    pub(super) fn new(detector_id: DetectorId, score: &Score) -> Self {
        Self {
            kind: score.kind,
            detector_id,
            nonconformity: score.nonconformity,
            p_value: score.p_value,
            p_model: score.p_model,
            completion: score.findings.completion().map(CompletionWire::new),
            nll: score.findings.nll().map(NllWire::new),
        }
    }
}

impl CompletionWire {
    fn new(Completion { values, mean, histogram, .. }: &Completion) -> Self {
        Self {
            samples: values.len(),
            mean: *mean,
            bin_edges: histogram.bin_edges.clone(),
            histogram: histogram.counts.clone(),
        }
    }
}

impl NllWire {
    fn new(nll: &Nll) -> Self {
        let Nll { per_node, total, mean, rows, stop, out_of_reach, std_error, orderings, .. } = *nll;
        Self { per_node, total, mean, std_error, orderings, rows, stop, out_of_reach }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::http::extract::from_json;
    use crate::http::score::options::Options;

    fn split(body: &Value, max_batch: usize) -> Result<(Asked, Options), Problem> {
        from_json::<ScoreRequest>(body.to_string().as_bytes())?.split(max_batch)
    }

    #[test]
    fn one_graph_or_several_but_not_both_or_neither() {
        let graph = json!({"nodes": 1, "edges": []});
        assert!(matches!(split(&json!({"graph": graph}), 2), Ok((Asked::One(_), _))));
        assert!(matches!(split(&json!({"graphs": [graph, graph]}), 2), Ok((Asked::Many(_), _))));
        for (body, pointer) in [
            (json!({}), ""),
            (json!({"graph": graph, "graphs": [graph]}), ""),
            (json!({"graphs": []}), "/graphs"),
            (json!({"graphs": [graph, graph, graph]}), "/graphs"),
            (json!({"graph": graph, "option": {}}), "/option"),
            (json!({"graph": graph, "options": {"alpah": 0.1}}), "/options/alpah"),
            (json!({"graph": graph, "options": {"tail": "lower"}}), "/options/tail"),
            (json!({"graph": graph, "options": {"kinds": ["full-mask", "x"]}}), "/options/kinds/1"),
            (json!({"graph": graph, "options": {"samples": -1}}), "/options/samples"),
        ] {
            let problem = split(&body, 2).expect_err(&body.to_string());
            assert_eq!(problem.status.as_u16(), 422, "{body}");
            assert_eq!(problem.errors[0].pointer, pointer, "{body}");
        }
    }

    #[test]
    fn nodes_go_by_the_names_their_sender_gave() {
        let subject = |node_ids| Subject {
            summary: ScoredGraph { id: None, nodes: 2, edges: 1 },
            node_ids,
            warnings: Vec::new(),
        };
        assert_eq!(subject(None).name(1), json!(1));
        assert_eq!(subject(Some(vec![json!("a"), json!(2.5)])).name(1), json!(2.5));
    }
}

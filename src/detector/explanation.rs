//! Which parts of a graph a detector finds unlikely.

use std::collections::HashMap;
use std::hash::Hash;

use crate::graph::Graph;
use crate::model::{Grounds, Surprises};

/// Edges and nodes that an explanation names, and edges that the masked kinds look at, at most.
pub const EXPLAINED_EDGES: usize = 2_000;

/// Absent edges that an explanation names, at most.
const EXPLAINED_ABSENCES: usize = 100;

/// What is unlikely in a graph, the most unlikely first.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    pub edges: Vec<ExplainedEdge>,
    /// Edges that the graph lacks and the model expected; a likelihood kind's.
    pub absent_edges: Vec<ExplainedEdge>,
    /// What each node costs in nats; a likelihood kind's.
    pub nodes: Vec<(u32, f64)>,
    /// Whether every edge is named, or only [`EXPLAINED_EDGES`] of them.
    pub complete: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExplainedEdge {
    pub edge: (u32, u32),
    pub how: Unlikely,
}

/// How unlikely an edge is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Unlikely {
    /// The probability that a masked kind gives it.
    Completion(f64),
    /// What it costs under a likelihood kind, in nats.
    Nll(f64),
}

/// The edges of a graph that a masked kind is asked about.
pub(super) fn edges_to_explain(graph: &Graph) -> Vec<(u32, u32)> {
    graph.edges().take(EXPLAINED_EDGES).collect()
}

/// What members of one kind say, averaged over them.
pub(super) fn of_grounds(members: &[Grounds], edges: &[(u32, u32)], graph: &Graph) -> Explanation {
    let (mut completions, mut surprises) = (Vec::new(), Vec::new());
    for member in members {
        match member {
            Grounds::Completions(of_edges) => completions.push(of_edges.as_slice()),
            Grounds::Surprises(surprised) => surprises.push(surprised),
        }
    }
    if surprises.is_empty() { of_completions(&completions, edges, graph) } else { of_surprises(&surprises, graph) }
}

/// The completion of each edge, averaged over the members; nothing is sampled.
fn of_completions(members: &[&[f64]], edges: &[(u32, u32)], graph: &Graph) -> Explanation {
    let mut totals = vec![0.0; edges.len()];
    for completions in members {
        for (total, completion) in totals.iter_mut().zip(*completions) {
            *total += completion / members.len() as f64;
        }
    }
    let mut edges: Vec<((u32, u32), f64)> = edges.iter().copied().zip(totals).collect();
    edges.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
    Explanation {
        edges: edges.into_iter().map(|(edge, p)| ExplainedEdge { edge, how: Unlikely::Completion(p) }).collect(),
        absent_edges: Vec::new(),
        nodes: Vec::new(),
        complete: graph.edge_count() <= EXPLAINED_EDGES,
    }
}

/// Where the negative log-likelihood lies, averaged over the members.
fn of_surprises(members: &[&Surprises], graph: &Graph) -> Explanation {
    let nodes = members.iter().flat_map(|surprises| (0..).zip(surprises.nodes().iter().copied()));
    let edges = |costs: HashMap<(u32, u32), f64>, most: usize| -> Vec<ExplainedEdge> {
        let costs = costliest(costs, most).into_iter();
        costs.map(|(edge, nll)| ExplainedEdge { edge, how: Unlikely::Nll(nll) }).collect()
    };
    let of = |part: fn(&Surprises) -> &HashMap<(u32, u32), f64>| {
        average(
            members.iter().flat_map(move |surprises| part(surprises).iter().map(|(&edge, &nll)| (edge, nll))),
            members,
        )
    };
    Explanation {
        edges: edges(of(Surprises::edges), EXPLAINED_EDGES),
        absent_edges: edges(of(Surprises::absences), EXPLAINED_ABSENCES),
        nodes: costliest(average(nodes, members), EXPLAINED_EDGES),
        complete: graph.edge_count() <= EXPLAINED_EDGES,
    }
}

fn average<K: Eq + Hash>(costs: impl Iterator<Item = (K, f64)>, members: &[&Surprises]) -> HashMap<K, f64> {
    let mut averages = HashMap::new();
    for (key, cost) in costs {
        *averages.entry(key).or_default() += cost / members.len() as f64;
    }
    averages
}

/// The `most` that cost most, the costliest first; of equals the smaller key.
fn costliest<K: Ord>(costs: HashMap<K, f64>, most: usize) -> Vec<(K, f64)> {
    let mut costs: Vec<(K, f64)> = costs.into_iter().collect();
    costs.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    costs.truncate(most);
    costs
}

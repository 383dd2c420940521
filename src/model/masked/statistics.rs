//! What a masked model observes of a graph.
//!
//! The study summarises a graph by the histogram of its positives' completion scores. That throws away most of what
//! there is: the logits of positives *and* negatives, their spread and their tails are kept here.

use super::MaskedModel;
use super::inference::{Logits, sigmoid};
use super::sample::{EdgeSample, draw};
use crate::graph::Graph;
use crate::model::{Evidence, Observation};
use crate::nn::seed::stream;
use crate::stats::summary::quantile;

/// The quantiles of the logits that are kept.
const QUANTILES: [f64; 5] = [0.05, 0.25, 0.5, 0.75, 0.95];

/// Logits are clipped to this, so that no statistic is dominated by how very sure the model is.
const LARGEST_LOGIT: f64 = 12.0;

#[must_use]
pub fn names() -> Vec<String> {
    ["edge", "non_edge"]
        .into_iter()
        .flat_map(|of| {
            ["mean", "std"]
                .map(str::to_owned)
                .into_iter()
                .chain(QUANTILES.map(|q| format!("q{:02}", q * 100.0)))
                .map(move |what| format!("{of}_logit_{what}"))
        })
        .collect()
}

/// Observes a graph through `samples` edges, each with a non-edge, from the stream of `seed` alone.
///
/// A graph without edges, or without non-edges, gets zeros for the logits it doesn't have: its size tells it apart.
#[must_use]
pub fn observe(model: &MaskedModel, graph: &Graph, samples: usize, seed: u64) -> Observation {
    observation(&model.logits(graph, &drawn(graph, samples, seed)))
}

/// The edges that a graph is observed through.
pub(super) fn drawn(graph: &Graph, samples: usize, seed: u64) -> Vec<EdgeSample> {
    draw(graph, samples, &mut stream(seed, "scoring", 0))
}

/// What the logits of a graph's samples say of it.
pub(super) fn observation(logits: &Logits) -> Observation {
    let mut statistics = summarise(&logits.edges);
    let unlikeliness = -statistics[0];
    statistics.extend(summarise(&logits.non_edges));
    let completions = |logits: &[f32]| logits.iter().map(|&logit| sigmoid(f64::from(logit))).collect();
    let evidence =
        Evidence::Completions { edges: completions(&logits.edges), non_edges: completions(&logits.non_edges) };
    Observation { statistics, unlikeliness, evidence }
}

fn summarise(logits: &[f32]) -> Vec<f64> {
    let mut values: Vec<f64> =
        logits.iter().map(|&logit| f64::from(logit).clamp(-LARGEST_LOGIT, LARGEST_LOGIT)).collect();
    if values.is_empty() {
        return vec![0.0; 2 + QUANTILES.len()];
    }
    values.sort_unstable_by(f64::total_cmp);
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n;
    let mut summary = vec![mean, variance.sqrt()];
    summary.extend(QUANTILES.map(|q| quantile(&values, q)));
    summary
}

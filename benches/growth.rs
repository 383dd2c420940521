//! How the time of a score grows with the graph: the exponent of n, fitted over two orders of magnitude.

#[path = "support/samples.rs"]
mod samples;
mod support;

use anyhow::Result;
use graphkin::detector::{Detector, ScoreOptions};
use graphkin::graph::{Graph, Limits};
use graphkin::model::Kind;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use support::{Report, medians, seconds};

const NODES: [u64; 5] = [100, 316, 1_000, 3_162, 10_000];
const DEGREE: u64 = 4;
const ROUNDS: usize = 5;

fn main() -> Result<()> {
    let mut report = Report::new("growth")?;
    let graphs = NODES.into_iter().map(random).collect::<Result<Vec<_>>>()?;
    for kind in [Kind::FullMask, Kind::FullEdgePrediction, Kind::GraphRnn] {
        let detector = samples::detector(kind)?;
        let mut times = Vec::new();
        for graph in &graphs {
            let [time] = medians(ROUNDS, [&mut || time(&detector, graph)])?;
            times.push(time);
        }
        let listed: Vec<String> = times.iter().map(|time| format!("{:.1}", time * 1e3)).collect();
        let made_of = format!("{} ms for {NODES:?} nodes", listed.join(", "));
        report.tell(kind.as_str(), &made_of, (exponent(&times), "as exponent of n"), ..=1.2)?;
    }
    Ok(())
}

/// One ordering, and few samples: the rest of a score is in proportion.
fn time(detector: &Detector, graph: &Graph) -> Result<f64> {
    let options = ScoreOptions { orderings: Some(1), samples: Some(10), ..ScoreOptions::default() };
    seconds(|| Ok(detector.score(graph, &options)))
}

/// A graph whose edges are drawn at random.
fn random(nodes: u64) -> Result<Graph> {
    let mut rng = ChaCha8Rng::seed_from_u64(nodes);
    let mut edges = Vec::new();
    for _ in 0..nodes * DEGREE / 2 {
        edges.push((rng.random_range(0..nodes), rng.random_range(0..nodes)));
    }
    Ok(Graph::new(nodes, &edges, None, &Limits::default())?.0)
}

/// The slope of ln time over ln n, by least squares.
fn exponent(times: &[f64]) -> f64 {
    let points: Vec<(f64, f64)> =
        NODES.iter().zip(times).map(|(&nodes, time)| ((nodes as f64).ln(), time.ln())).collect();
    let count = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / count, y + point.1 / count));
    let covariance: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let variance: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    covariance / variance
}

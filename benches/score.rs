//! The time of a score by each kind: graphs together against one by one, and a large graph on all threads against one.
//!
//! The detectors are trained for one step each: what a score costs depends on a network's shape, not on what it learnt.

#[path = "support/dataset.rs"]
mod dataset;
mod support;

use anyhow::{Context as _, Result, anyhow};
use graphkin::detector::{Detector, Score, ScoreOptions};
use graphkin::graph::Graph;
use graphkin::id::GraphId;
use graphkin::model::device::{ComputeDevice, DeviceChoice};
use graphkin::model::{Hyperparameters, Kind};
use graphkin::train::{Checkpoint, Observer, Progress, TrainError, TrainingData, TrainingSpec, fit};
use rayon::ThreadPool;
use serde_json::json;
use support::{Report, medians, seconds};

const ROUNDS: usize = 5;
/// Graphs that a detector is made with, and that are scored together.
const GRAPHS: usize = 40;

fn main() -> Result<()> {
    let mut report = Report::new("score")?;
    let pool = rayon::ThreadPoolBuilder::new().build()?;
    for name in ["AIDS", "IMDB-MULTI", "DD"] {
        let graphs = dataset::graphs(&dataset::read(name)?)?;
        let mut by_size: Vec<&Graph> = graphs.iter().filter(|graph| graph.edge_count() > 0).collect();
        by_size.sort_by_key(|graph| graph.node_count());
        // At even distances in their order by size, the largest left out.
        let some: Vec<&Graph> = (0..GRAPHS).map(|index| by_size[index * by_size.len() / GRAPHS]).collect();
        let median = by_size[by_size.len() / 2];
        let largest = by_size.last().context("a dataset without graphs")?;
        for kind in Kind::ALL {
            let detector = detector(kind, &some)?;
            together(&mut report, name, &detector, &some)?;
            if name == "DD" {
                alone(&mut report, "DD's median graph", &detector, median, &pool)?;
                alone(&mut report, "DD's largest graph", &detector, largest, &pool)?;
            }
        }
    }
    Ok(())
}

fn together(report: &mut Report, name: &str, detector: &Detector, graphs: &[&Graph]) -> Result<()> {
    let options = ScoreOptions::default();
    let one_by_one = || -> Vec<Score> { graphs.iter().map(|graph| detector.score(graph, &options)).collect() };
    let [together, apart] = medians(
        ROUNDS,
        [&mut || seconds(|| Ok(detector.score_batch(graphs, &options))), &mut || seconds(|| Ok(one_by_one()))],
    )?;
    let [together, apart] = [together, apart].map(|time| time * 1e3 / graphs.len() as f64);
    let made_of = format!("{together:.3} ms a graph against {apart:.3} ms one by one");
    report.tell(
        &format!("{name}, {}, {GRAPHS} graphs together", detector.kind()),
        &made_of,
        (apart / together, "x"),
        ..,
    )
}

fn alone(report: &mut Report, what: &str, detector: &Detector, graph: &Graph, pool: &ThreadPool) -> Result<()> {
    let options = ScoreOptions::default();
    let score = || seconds(|| Ok(detector.score(graph, &options)));
    let [spread, one] = medians(3, [&mut || pool.install(score), &mut || score()])?;
    let (nodes, threads) = (graph.node_count(), pool.current_num_threads());
    let made_of =
        format!("{nodes} nodes: {:.1} ms on {threads} threads against {:.1} ms on one", spread * 1e3, one * 1e3);
    report.tell(&format!("{what}, {}, alone", detector.kind()), &made_of, (one / spread, "x"), ..)
}

/// A detector of the kind's default shape for these graphs.
fn detector(kind: Kind, graphs: &[&Graph]) -> Result<Detector> {
    let given = json!({"epochs": 1, "steps_per_epoch": 1});
    let hyperparameters = Hyperparameters::from_json(kind, Some(&given)).map_err(|errors| anyhow!("{errors:?}"))?;
    let spec = TrainingSpec { kind, hyperparameters, seed: 1, device: DeviceChoice::Cpu };
    let numbered = (1..).map(GraphId::new).zip(graphs.iter().map(|graph| (*graph).clone()));
    let mut data = TrainingData::default();
    for (index, graph) in numbered.enumerate() {
        if index % 2 == 0 { data.train.push(graph) } else { data.calibration.push(graph) }
    }
    Ok(fit(&spec, &ComputeDevice::cpu(), &data, None, &mut Nobody)?)
}

/// Watches a training that is over in a moment.
struct Nobody;

impl Observer for Nobody {
    fn progress(&mut self, _: &Progress) {}

    fn checkpoint(&mut self, _: &dyn Fn() -> Result<Checkpoint, TrainError>) -> Result<(), TrainError> {
        Ok(())
    }

    fn should_stop(&self) -> bool {
        false
    }
}

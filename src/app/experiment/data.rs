//! The graphs of a task, dealt to training, calibration and test.

use std::collections::HashMap;
use std::fs;
use std::io::Cursor;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow, ensure};
use rand::seq::SliceRandom as _;

use super::plan::{Protocol, Source, Task};
use crate::evaluate::{Comparison, NormalGraphs};
use crate::graph::format::tu::{self, ArchiveLimits};
use crate::graph::isomorphism::Fingerprint;
use crate::graph::rewire::rewired;
use crate::graph::split::{Split, SplitAssigner, SplitCounts};
use crate::graph::synthetic::{self, SyntheticSpec, SyntheticType};
use crate::graph::{Graph, Limits};
use crate::nn::seed::stream;

/// Graphs of a synthetic family.
const SYNTHETIC_GRAPHS: usize = 300;

/// One graph in this many of those that don't test calibrates, as in the service.
const CALIBRATION_SHARE: f64 = 0.15;

const FOLDS: usize = 5;

/// Whoever runs an experiment brings datasets that they know.
const LIMITS: ArchiveLimits = ArchiveLimits {
    max_entries: 1_000,
    max_unpacked_bytes: 1 << 34,
    max_graphs: 10_000_000,
    graph: Limits { max_nodes: 1_000_000, max_edges: 10_000_000 },
};

/// Reads each dataset once.
#[derive(Debug)]
pub(super) struct Library {
    folder: PathBuf,
    datasets: HashMap<&'static str, Vec<Vec<Graph>>>,
    /// Graphs of a family, at most.
    most: usize,
}

impl Library {
    pub(super) fn new(folder: PathBuf, most: usize) -> Self {
        Self { folder, datasets: HashMap::new(), most }
    }

    /// Whether the datasets of a task are there.
    pub(super) fn has(&self, task: &Task) -> bool {
        task.sources().filter_map(Source::dataset).all(|dataset| self.path(dataset).is_file())
    }

    fn path(&self, dataset: &str) -> PathBuf {
        self.folder.join(format!("{dataset}.zip"))
    }

    /// The graphs of a repeat of a task. Synthetic families are drawn anew for each.
    ///
    /// # Errors
    /// When a dataset can't be read.
    pub(super) fn comparison(&mut self, task: &Task, repeat: u64) -> anyhow::Result<Comparison> {
        let mut families = Vec::new();
        for (place, source) in (0..).zip(task.sources()) {
            let graphs = self.graphs(source, repeat, place)?;
            ensure!(!graphs.is_empty(), "{} has no graphs", source.family());
            families.push((source.family(), graphs));
        }
        let (normal, anomalous) = families.split_first().context("a task without a family")?;
        let (normal, anomalous) = (normal.clone(), anomalous.to_vec());
        Ok(match task.protocol {
            Protocol::Splits => Comparison { normal: split(normal, repeat), anomalous },
            Protocol::Folds => {
                let normal = fold(normal, repeat);
                let anomalous = anomalous.into_iter().map(|(name, graphs)| (name, of_fold(graphs, repeat))).collect();
                Comparison { normal, anomalous }
            }
        })
    }

    fn graphs(&mut self, source: Source, repeat: u64, place: u64) -> anyhow::Result<Vec<Graph>> {
        let most = self.most;
        match source {
            Source::Synthetic(kind) => generate(kind, SYNTHETIC_GRAPHS.min(most), 100 * repeat + place),
            Source::Rewired(kind, kept) => {
                let graphs = generate(kind, SYNTHETIC_GRAPHS.min(most), 100 * repeat + place)?;
                let rewire = |(index, graph)| rewired(graph, kept, &mut stream(repeat, "rewire", index));
                Ok((0..).zip(&graphs).map(rewire).collect())
            }
            Source::Class(dataset, class) => {
                let graphs =
                    self.dataset(dataset)?.get(class).with_context(|| format!("{dataset} has no class {class}"))?;
                // At even distances, so that a part is like the whole.
                let step = graphs.len().div_ceil(most).max(1);
                Ok(graphs.iter().step_by(step).cloned().collect())
            }
        }
    }

    fn dataset(&mut self, name: &'static str) -> anyhow::Result<&[Vec<Graph>]> {
        if !self.datasets.contains_key(name) {
            let path = self.path(name);
            let archive = fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
            let read = tu::read(Cursor::new(archive), &LIMITS).with_context(|| path.display().to_string())?;
            let graphs = |class: tu::TuClass| class.graphs.into_iter().map(|(_, graph)| graph).collect();
            self.datasets.insert(name, read.classes.into_iter().map(graphs).collect());
        }
        self.datasets.get(name).map(Vec::as_slice).ok_or_else(|| anyhow!("{name} is lost"))
    }
}

fn generate(kind: SyntheticType, count: usize, seed: u64) -> anyhow::Result<Vec<Graph>> {
    Ok(synthetic::generate(&SyntheticSpec { kind, width: 6, height: 10, count, seed })?)
}

/// As the service deals the graphs of a new family.
fn split((family, graphs): (String, Vec<Graph>), seed: u64) -> NormalGraphs {
    let fingerprinted: Vec<_> = graphs.iter().map(|graph| (Fingerprint::of(graph), graph)).collect();
    let splits = SplitAssigner::new(seed, SplitCounts::default()).assign(&fingerprinted);
    let mut normal = NormalGraphs { family, ..NormalGraphs::default() };
    for (graph, split) in graphs.into_iter().zip(splits) {
        match split {
            Split::Train => normal.train.push(graph),
            Split::Calibration => normal.calibration.push(graph),
            Split::Test => normal.test.push(graph),
        }
    }
    normal
}

/// Shuffled once for all folds, and dealt.
fn dealt(mut graphs: Vec<Graph>) -> Vec<(usize, Graph)> {
    graphs.shuffle(&mut stream(0, "folds", 0));
    graphs.into_iter().enumerate().map(|(index, graph)| (index % FOLDS, graph)).collect()
}

fn of_fold(graphs: Vec<Graph>, fold: u64) -> Vec<Graph> {
    dealt(graphs).into_iter().filter(|(dealt, _)| *dealt as u64 == fold).map(|(_, graph)| graph).collect()
}

fn fold((family, graphs): (String, Vec<Graph>), fold: u64) -> NormalGraphs {
    let (test, rest): (Vec<_>, Vec<_>) = dealt(graphs).into_iter().partition(|(dealt, _)| *dealt as u64 == fold);
    let graphs = |dealt: Vec<(usize, Graph)>| dealt.into_iter().map(|(_, graph)| graph).collect::<Vec<Graph>>();
    let (test, mut train) = (graphs(test), graphs(rest));
    train.shuffle(&mut stream(fold, "calibration", 0));
    let calibration = train.split_off(train.len() - (train.len() as f64 * CALIBRATION_SHARE) as usize);
    NormalGraphs { family, train, calibration, test }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::experiment::plan::tasks;

    #[test]
    fn folds_test_every_graph_once_and_train_on_none_of_theirs() {
        let graphs = generate(SyntheticType::Type1, 23, 1).unwrap();
        let mut tested = Vec::new();
        for fold in 0..FOLDS as u64 {
            let normal = super::fold(("f".to_owned(), graphs.clone()), fold);
            assert_eq!(normal.train.len() + normal.calibration.len() + normal.test.len(), graphs.len());
            assert_eq!(normal.test, of_fold(graphs.clone(), fold));
            assert!(normal.test.iter().all(|graph| !normal.train.contains(graph)));
            tested.extend(normal.test);
        }
        assert_eq!(tested.len(), graphs.len());
        assert!(graphs.iter().all(|graph| tested.contains(graph)));
    }

    #[test]
    fn synthetic_tasks_need_no_files_and_differ_by_repeat() {
        let mut library = Library::new(PathBuf::from("nowhere"), 20);
        for task in tasks() {
            if task.sources().any(|source| source.dataset().is_some()) {
                assert!(!library.has(&task));
                assert!(library.comparison(&task, 0).is_err());
                continue;
            }
            let [first, again, second] = [0, 0, 1].map(|repeat| library.comparison(&task, repeat).unwrap());
            assert_eq!(first.normal.train, again.normal.train);
            assert_ne!(first.normal.train, second.normal.train);
            assert_eq!(first.anomalous.len(), task.anomalous.len());
        }
    }
}

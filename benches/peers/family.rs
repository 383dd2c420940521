//! The two families that the models are compared on, and what the service would choose for them.

use std::env;
use std::fs;
use std::io::Cursor;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use graphkin::graph::Graph;
use graphkin::graph::Limits;
use graphkin::graph::format::tu::{self, ArchiveLimits};
use graphkin::graph::order::random_bfs_order;
use graphkin::model::figures::FamilyFigures;
use graphkin::model::sequence::Sequence;
use graphkin::model::{Hyperparameters, Kind, Vocabulary};
use graphkin::nn::seed::stream;
use serde_json::Value;

/// Everything random here is drawn under it.
pub(crate) const SEED: u64 = 1;

/// One class of a dataset.
#[derive(Debug)]
pub(crate) struct Family {
    name: &'static str,
    graphs: Vec<Graph>,
    /// How many of them are scored.
    scored: usize,
}

impl Family {
    /// Many small graphs: 2 to 12 nodes.
    pub(crate) fn aids() -> Result<Self> {
        Self::read("AIDS.zip", 1, "aids-1", 200)
    }

    /// Few large ones: 50 to 5,748 nodes, the middle one 311.
    pub(crate) fn dd() -> Result<Self> {
        Self::read("DD.zip", 0, "dd-0", 20)
    }

    fn read(archive: &str, class: usize, name: &'static str, scored: usize) -> Result<Self> {
        let folder = env::var_os("GRAPHKIN_TEST_DATA")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
        let path = folder.join(archive);
        let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
        let limits = ArchiveLimits {
            max_entries: usize::MAX,
            max_unpacked_bytes: u64::MAX,
            max_graphs: usize::MAX,
            graph: Limits::default(),
        };
        let mut dataset = tu::read(Cursor::new(bytes), &limits)?;
        let class = dataset.classes.get_mut(class).ok_or_else(|| anyhow!("{archive} has no class {class}"))?;
        let graphs = std::mem::take(&mut class.graphs).into_iter().map(|(_, graph)| graph).collect();
        Ok(Self { name, graphs, scored })
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// The graphs that are scored.
    pub(crate) fn scored(&self) -> Vec<Graph> {
        self.pick(self.scored)
    }

    /// Graphs at even distances in the dataset's order; they have edges.
    pub(crate) fn pick(&self, count: usize) -> Vec<Graph> {
        let graphs: Vec<&Graph> = self.graphs.iter().filter(|graph| graph.edge_count() > 0).collect();
        (0..count).map(|index| graphs[index * graphs.len() / count].clone()).collect()
    }

    pub(crate) fn sizes(&self) -> Vec<usize> {
        self.graphs.iter().map(Graph::node_count).collect()
    }

    pub(crate) fn vocabulary(&self) -> Vocabulary {
        Vocabulary::of(self.graphs.iter())
    }

    /// An ordering of each graph.
    pub(crate) fn sequences(&self) -> Vec<Sequence> {
        let sequence =
            |(index, graph)| Sequence::new(graph, random_bfs_order(graph, &mut stream(SEED, "reach", index)));
        (0..).zip(&self.graphs).map(sequence).collect()
    }

    /// What the service would train with if nothing but `given` were asked for.
    pub(crate) fn hyperparameters(&self, kind: Kind, given: &Value) -> Result<Hyperparameters> {
        let open = Hyperparameters::from_json(kind, Some(given)).map_err(|wrong| anyhow!("{wrong:?}"))?;
        Ok(open.resolve(&FamilyFigures::of(self.graphs.iter(), &mut stream(SEED, "figures", 0))))
    }
}

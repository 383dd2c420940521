//! A real dataset, which is not part of the repository.

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context as _, Result};
use graphkin::graph::format::tu::{self, ArchiveLimits};
use graphkin::graph::{Graph, Limits};

/// Far beyond any of the datasets.
pub(crate) const LIMITS: ArchiveLimits = ArchiveLimits {
    max_entries: 64,
    max_unpacked_bytes: 1 << 32,
    max_graphs: 1_000_000,
    graph: Limits { max_nodes: 100_000, max_edges: 1_000_000 },
};

/// The packed dataset of this name, from the folder `GRAPHKIN_TEST_DATA`, or else `../shared/data`.
pub(crate) fn read(name: &str) -> Result<Vec<u8>> {
    let folder = env::var_os("GRAPHKIN_TEST_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    let path = folder.join(format!("{name}.zip"));
    fs::read(&path).with_context(|| format!("this bench needs {}", path.display()))
}

/// The graphs of a packed dataset, in the order of its classes.
pub(crate) fn graphs(archive: &[u8]) -> Result<Vec<Graph>> {
    let dataset = tu::read(Cursor::new(archive), &LIMITS)?;
    Ok(dataset.classes.into_iter().flat_map(|class| class.graphs).map(|(_, graph)| graph).collect())
}

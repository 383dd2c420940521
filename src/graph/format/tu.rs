//! TU graph-classification datasets: `NAME/NAME_A.txt`, `_graph_indicator`, `_graph_labels`, `_node_labels` in a zip.

use std::io::{Read, Seek};

use thiserror::Error;

use crate::graph::{Graph, Limits};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveLimits {
    pub max_entries: usize,
    /// Bytes of all entries read, unpacked; counted while reading, never trusted from a header.
    pub max_unpacked_bytes: u64,
    pub max_graphs: usize,
    pub graph: Limits,
}

/// The graphs of one class label.
#[derive(Debug, Clone, PartialEq)]
pub struct TuClass {
    pub label: i64,
    /// Each graph with its number in the dataset, from 1.
    pub graphs: Vec<(usize, Graph)>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct TuDataset {
    /// The name inside the archive (`AIDS`).
    pub name: String,
    /// In the order of the sorted labels.
    pub classes: Vec<TuClass>,
    pub warnings: Vec<String>,
}

#[derive(Debug, Error)]
pub enum TuError {
    #[error("not a zip archive: {0}")]
    NotZip(String),
    /// Over a limit: too many entries, too many bytes once unpacked, a graph too large.
    #[error("{0}")]
    TooLarge(String),
    #[error("the archive has no {0}")]
    Missing(String),
    #[error("{file}, line {line}: {detail}")]
    Line { file: String, line: usize, detail: String },
    #[error("{0}")]
    Invalid(String),
}

/// # Errors
/// When the archive is not a TU dataset within the limits; says which file and line.
pub fn read(_archive: impl Read + Seek, _limits: &ArchiveLimits) -> Result<TuDataset, TuError> {
    todo!()
}

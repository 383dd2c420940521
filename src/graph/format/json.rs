//! Graphs in JSON: the canonical form, NetworkX node-link data (`links` or `edges`), and JSON Graph Format v2.

use serde_json::Value;
use thiserror::Error;

use super::{Located, ParsedGraph};
use crate::graph::{Graph, Limits};

#[derive(Debug, Error, PartialEq, Eq)]
pub enum JsonError {
    /// Not JSON, not UTF-8, or nested too deeply. Line and column count from 1.
    #[error("not JSON at line {line}, column {column}: {detail}")]
    Syntax { line: usize, column: usize, detail: String },
    /// JSON that describes no graph; at most a bounded number of places.
    #[error("{}", .0.first().map_or("not a graph", |place| place.detail.as_str()))]
    Invalid(Vec<Located>),
}

/// # Errors
/// When the bytes are not JSON, or don't describe a graph within the limits.
pub fn parse(_bytes: &[u8], _limits: &Limits) -> Result<ParsedGraph, JsonError> {
    todo!()
}

/// The canonical form: `{"id"?, "nodes", "edges", "node_labels"?}`.
#[must_use]
pub fn to_canonical(_graph: &Graph, _id: Option<&str>) -> Value {
    todo!()
}

//! Graphs as users bring them: bytes in, a graph or a located error out.

pub mod json;
pub mod tu;

// Shared with the integration tests.
#[cfg(test)]
#[path = "../../../tests/api/test_data.rs"]
pub(crate) mod test_data;

use super::Graph;

/// A graph as its sender described it.
#[derive(Debug, Clone, PartialEq)]
pub struct ParsedGraph {
    pub graph: Graph,
    pub id: Option<String>,
    /// The sender's own names of the nodes, by index, where they are not the indices themselves; JSON scalars.
    pub node_ids: Option<Vec<serde_json::Value>>,
    /// What was changed to make a simple graph of it, for the answer's `warnings`.
    pub warnings: Vec<String>,
}

/// A place in a JSON document and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// A JSON Pointer (RFC 6901); empty for the whole document.
    pub pointer: String,
    pub detail: String,
}

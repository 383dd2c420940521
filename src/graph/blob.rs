//! A compact binary form of a graph, for the store.

use thiserror::Error;

use super::Graph;

#[derive(Debug, Error, PartialEq, Eq)]
#[error("the stored graph is damaged at byte {at}: {detail}")]
pub struct BlobError {
    pub at: usize,
    pub detail: &'static str,
}

/// Encodes a graph; equal graphs give equal bytes.
#[must_use]
pub fn encode(_graph: &Graph) -> Vec<u8> {
    todo!()
}

/// # Errors
/// When the bytes are not what [`encode`] writes.
pub fn decode(_bytes: &[u8]) -> Result<Graph, BlobError> {
    todo!()
}

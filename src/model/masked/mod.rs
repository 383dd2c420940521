//! Masked models: a GNN and an MLP learn to tell a family's edges from its non-edges.
//!
//! The study's `full-mask` and `full-edge-prediction`. Both embed the nodes of a graph, then judge a pair (u, v) by the
//! embeddings and by the length of the shortest path between them that avoids the edge itself. `full-mask` takes the edge
//! away before the embedding; `full-edge-prediction` leaves it. The judgement is symmetric in u and v.
//!
//! Letters: N nodes, P pairs, H hidden units.

pub mod batch;
mod changes;
mod embedding;
mod inference;
pub mod network;
mod path;
mod placed;
pub mod sample;
pub mod statistics;

#[cfg(test)]
mod tests;

pub use inference::MaskedModel;
pub use path::PATH_CLASSES;
pub use placed::PlacedMasked;

use super::Kind;

/// Whether the edge in question is in the graph that is embedded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Masking {
    /// `full-mask`: it is taken away.
    Removed,
    /// `full-edge-prediction`: it stays.
    Kept,
}

impl Masking {
    /// `None` for a kind that masks nothing.
    #[must_use]
    pub const fn of(kind: Kind) -> Option<Self> {
        match kind {
            Kind::FullMask => Some(Self::Removed),
            Kind::FullEdgePrediction => Some(Self::Kept),
            Kind::GraphRnn | Kind::Gran => None,
        }
    }
}

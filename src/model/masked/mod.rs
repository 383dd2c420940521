//! Masked models: a GNN and an MLP learn to tell a family's edges from its non-edges.
//!
//! The study's `full-mask` and `full-edge-prediction`. Both embed the nodes of a graph, then judge a pair (u, v) by the
//! embeddings and by the length of the shortest path between them that avoids the edge itself. `full-mask` takes the edge
//! away before the embedding; `full-edge-prediction` leaves it. The judgement is symmetric in u and v.
//!
//! Letters: N nodes, P pairs, H hidden units.

pub mod batch;
mod inference;
pub mod network;
mod placed;
pub mod sample;
pub mod statistics;

#[cfg(test)]
mod tests;

pub use inference::MaskedModel;
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

/// The classes of shortest-path length that the MLP has an embedding for: 2, 3, …, 7, "8 or more", "none".
///
/// Embedded, not as 1/length: in a trial the raw inverse left the loss at chance. Length 1 can't occur: the direct edge
/// is avoided, and a non-edge has none.
pub const PATH_CLASSES: usize = 8;

/// Paths are searched up to this length; longer ones and none at all are told apart by connectivity.
const LONGEST_PATH: u32 = 8;

/// The class of a path length, `None` for no path.
const fn path_class(length: Option<u32>) -> usize {
    match length {
        None => PATH_CLASSES - 1,
        Some(length) if length < 2 => 0,
        Some(length) if length >= LONGEST_PATH => PATH_CLASSES - 2,
        Some(length) => (length - 2) as usize,
    }
}

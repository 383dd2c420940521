//! Which graphs are the same up to the names of their nodes.

use super::Graph;

/// A Weisfeiler-Leman hash: equal for isomorphic graphs, and rarely equal otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WlHash(pub [u8; 16]);

#[must_use]
pub fn wl_hash(_graph: &Graph) -> WlHash {
    todo!()
}

/// Whether two graphs are isomorphic, node labels included.
#[must_use]
pub fn are_isomorphic(_a: &Graph, _b: &Graph) -> bool {
    todo!()
}

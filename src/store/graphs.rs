//! Graphs of a family, as compact blobs.

use super::{Page, PageRequest, Store, StoreError};
use crate::graph::Graph;
use crate::graph::split::Split;
use crate::id::{FamilyId, GraphId};

/// A graph to add. Without an `id` it gets `g<row>`-like one that is free in the family.
#[derive(Debug, Clone, PartialEq)]
pub struct NewGraph {
    pub id: Option<String>,
    pub graph: Graph,
}

/// What became of a graph to add, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddedGraph {
    Added {
        id: String,
        split: Split,
    },
    /// The family has a graph of this id, or the batch named it before.
    IdTaken {
        id: String,
    },
}

/// A row of the list of graphs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphRow {
    pub id: String,
    pub nodes: u64,
    pub edges: u64,
    pub split: Split,
}

/// A graph with its content.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredGraph {
    pub row: GraphId,
    pub id: String,
    pub split: Split,
    pub graph: Graph,
}

impl Store {
    /// Adds graphs in one transaction, each with its split (isomorphic twins share one). A taken id costs that graph only.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the family is gone.
    pub async fn add_graphs(&self, _family: FamilyId, _graphs: Vec<NewGraph>) -> Result<Vec<AddedGraph>, StoreError> {
        todo!()
    }

    /// In the order they were added.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`].
    pub async fn list_graphs(&self, _family: FamilyId, _page: &PageRequest) -> Result<Page<GraphRow>, StoreError> {
        todo!()
    }

    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn find_graph(&self, _family: FamilyId, _id: &str) -> Result<StoredGraph, StoreError> {
        todo!()
    }

    /// Every graph of a family with its content, in the order they were added: for training.
    ///
    /// # Errors
    /// A damaged blob, or the database.
    pub async fn load_graphs(&self, _family: FamilyId) -> Result<Vec<StoredGraph>, StoreError> {
        todo!()
    }
}

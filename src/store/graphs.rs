//! Graphs of a family, as compact blobs.

use std::collections::{BTreeSet, HashSet};

use sha2::{Digest as _, Sha256};
use sqlx::SqliteConnection;

use super::cursor::List;
use super::{Page, PageRequest, Store, StoreError, json, off_thread};
use crate::graph::isomorphism::Fingerprint;
use crate::graph::split::{Split, SplitAssigner, SplitCounts};
use crate::graph::{Graph, blob};
use crate::id::{FamilyId, GraphId};

/// A graph to add. Without an `id`, or with an empty one, it gets `g<number>`, free in the family.
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
    pub async fn add_graphs(&self, family: FamilyId, graphs: Vec<NewGraph>) -> Result<Vec<AddedGraph>, StoreError> {
        // While we hold our turn nobody else adds graphs: what is read here stays true until the transaction at the end.
        let _turn = self.additions.lock().await;
        let mut reader = self.readers.acquire().await?;
        let family_name = family_name(&mut reader, family).await?;
        let already = split_counts(&mut reader, family).await?;
        let count = already.train + already.calibration + already.test;
        let names = name_graphs(&graphs, count, &mut Stored { connection: &mut reader, family }).await?;

        let accepted =
            names.iter().zip(graphs).filter_map(|(name, new)| Some((name.as_ref().ok()?.clone(), new.graph)));
        let accepted: Vec<_> = accepted.collect();
        let prepared = off_thread(move || prepare(accepted)).await?;
        let known = possible_twins(&mut reader, family, &prepared).await?;
        drop(reader);
        let (prepared, splits) = off_thread(move || {
            let splits = assign(&family_name, already, &known, &prepared)?;
            Ok::<_, StoreError>((prepared, splits))
        })
        .await??;

        let mut transaction = self.write().await?;
        insert(&mut transaction, family, &prepared, &splits).await?;
        transaction.commit().await?;

        let mut splits = splits.into_iter();
        let tell = |name| match name {
            Ok(id) => splits.next().map(|split| AddedGraph::Added { id, split }),
            Err(id) => Some(AddedGraph::IdTaken { id }),
        };
        Ok(names.into_iter().filter_map(tell).collect())
    }

    /// In the order they were added.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`].
    pub async fn list_graphs(&self, family: FamilyId, page: &PageRequest) -> Result<Page<GraphRow>, StoreError> {
        let (family, after, rows) = (family.get(), List::Graphs.number(page, 0)?, page.rows());
        let found = sqlx::query!(
            r#"
            SELECT id, external_id, split, nodes AS "nodes: u64", edges AS "edges: u64" FROM graphs
            WHERE family = ? AND id > ? ORDER BY id LIMIT ?
            "#,
            family,
            after,
            rows
        )
        .fetch_all(&self.readers)
        .await?;
        page.fill(
            found,
            |record| List::Graphs.cursor(record.id),
            |record| {
                Ok(GraphRow {
                    id: record.external_id,
                    nodes: record.nodes,
                    edges: record.edges,
                    split: parse_split(&record.split)?,
                })
            },
        )
    }

    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn find_graph(&self, family: FamilyId, id: &str) -> Result<StoredGraph, StoreError> {
        let family = family.get();
        sqlx::query_as!(
            GraphRecord,
            "SELECT id, external_id, split, content FROM graphs WHERE family = ? AND external_id = ?",
            family,
            id
        )
        .fetch_optional(&self.readers)
        .await?
        .ok_or_else(|| StoreError::NotFound { what: format!("graph `{id}` in this family") })?
        .try_into()
    }

    /// Every graph of a family with its content, in the order they were added: for training.
    ///
    /// # Errors
    /// A damaged blob, or the database.
    pub async fn load_graphs(&self, family: FamilyId) -> Result<Vec<StoredGraph>, StoreError> {
        let family = family.get();
        let found = sqlx::query_as!(
            GraphRecord,
            "SELECT id, external_id, split, content FROM graphs WHERE family = ? ORDER BY id",
            family
        )
        .fetch_all(&self.readers)
        .await?;
        off_thread(|| found.into_iter().map(StoredGraph::try_from).collect()).await?
    }
}

/// A graph on its way into the store: what takes time to compute is there already.
pub(super) struct Prepared {
    id: String,
    fingerprint: Fingerprint,
    content: Vec<u8>,
    graph: Graph,
}

/// A graph of the family that has the hash of a newcomer.
pub(super) struct PossibleTwin {
    content: Vec<u8>,
    split: String,
}

/// The ids that a family's graphs have. (A trait, for the futures of async closures can't be said to be `Send`.)
pub(super) trait Ids: Send {
    fn is_taken(&mut self, id: &str) -> impl Future<Output = Result<bool, StoreError>> + Send;
}

/// Of a family that is yet to be made.
pub(super) struct NoneYet;

impl Ids for NoneYet {
    async fn is_taken(&mut self, _: &str) -> Result<bool, StoreError> {
        Ok(false)
    }
}

/// Of a family in the store.
struct Stored<'a> {
    connection: &'a mut SqliteConnection,
    family: FamilyId,
}

impl Ids for Stored<'_> {
    async fn is_taken(&mut self, id: &str) -> Result<bool, StoreError> {
        let family = self.family.get();
        let found = sqlx::query_scalar!("SELECT id FROM graphs WHERE family = ? AND external_id = ?", family, id)
            .fetch_optional(&mut *self.connection)
            .await?;
        Ok(found.is_some())
    }
}

/// Gives every graph its id, or the id that it can't have. Those who ask for one come first: `g7` made up here must not
/// cost a graph of that name later in the batch.
pub(super) async fn name_graphs(
    graphs: &[NewGraph],
    count: usize,
    ids: &mut impl Ids,
) -> Result<Vec<Result<String, String>>, StoreError> {
    let asked = |new: &NewGraph| new.id.clone().filter(|id| !id.is_empty());
    let mut given: HashSet<String> = graphs.iter().filter_map(asked).collect();
    let mut seen = HashSet::new();
    let mut number = count;
    let mut names = Vec::with_capacity(graphs.len());
    for new in graphs {
        names.push(match asked(new) {
            Some(id) if seen.contains(&id) || ids.is_taken(&id).await? => Err(id),
            Some(id) => {
                seen.insert(id.clone());
                Ok(id)
            }
            None => loop {
                number += 1;
                let id = format!("g{number}");
                if !given.contains(&id) && !ids.is_taken(&id).await? {
                    given.insert(id.clone());
                    break Ok(id);
                }
            },
        });
    }
    Ok(names)
}

/// Hashes and encodes: slow for large graphs, so never inside a transaction.
pub(super) fn prepare(graphs: Vec<(String, Graph)>) -> Vec<Prepared> {
    let prepare = |(id, graph): (String, Graph)| {
        let (fingerprint, content) = (Fingerprint::of(&graph), blob::encode(&graph));
        Prepared { id, fingerprint, content, graph }
    };
    graphs.into_iter().map(prepare).collect()
}

/// The splits of `graphs` in a family that has `already` so many, among them the `known` possible twins.
pub(super) fn assign(
    family_name: &str,
    already: SplitCounts,
    known: &[PossibleTwin],
    graphs: &[Prepared],
) -> Result<Vec<Split>, StoreError> {
    let mut assigner = SplitAssigner::new(seed(family_name), already);
    for twin in known {
        let graph = decode(&twin.content)?;
        assigner.know(Fingerprint::of(&graph), &graph, parse_split(&twin.split)?);
    }
    let graphs: Vec<_> = graphs.iter().map(|prepared| (prepared.fingerprint, &prepared.graph)).collect();
    Ok(assigner.assign(&graphs))
}

/// The seed of a family's splits: the same data under the same name is split the same way on every machine.
fn seed(family_name: &str) -> u64 {
    let hash: [u8; 32] = Sha256::digest(family_name).into();
    let [a, b, c, d, e, f, g, h, ..] = hash;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

pub(super) async fn insert(
    connection: &mut SqliteConnection,
    family: FamilyId,
    graphs: &[Prepared],
    splits: &[Split],
) -> Result<(), StoreError> {
    let family = family.get();
    for (prepared, split) in graphs.iter().zip(splits) {
        let split = split.as_str();
        let (nodes, edges) = (prepared.graph.node_count() as i64, prepared.graph.edge_count() as i64);
        let labelled = prepared.graph.labels().is_some();
        let hash = prepared.fingerprint.hash.0.as_slice();
        sqlx::query!(
            "INSERT INTO graphs (family, external_id, split, nodes, edges, labelled, wl_hash, content)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            family,
            prepared.id,
            split,
            nodes,
            edges,
            labelled,
            hash,
            prepared.content
        )
        .execute(&mut *connection)
        .await
        .map_err(|error| match &error {
            // Deleted while its graphs were prepared.
            sqlx::Error::Database(database) if database.is_foreign_key_violation() => no_such_family(),
            _ => error.into(),
        })?;
    }
    Ok(())
}

async fn family_name(connection: &mut SqliteConnection, family: FamilyId) -> Result<String, StoreError> {
    let family = family.get();
    sqlx::query_scalar!("SELECT name FROM families WHERE id = ?", family)
        .fetch_optional(connection)
        .await?
        .ok_or_else(no_such_family)
}

async fn split_counts(connection: &mut SqliteConnection, family: FamilyId) -> Result<SplitCounts, StoreError> {
    let family = family.get();
    let mut counts = SplitCounts::default();
    let found =
        sqlx::query!(r#"SELECT split, count(*) AS "graphs!: u64" FROM graphs WHERE family = ? GROUP BY split"#, family)
            .fetch_all(connection)
            .await?;
    for record in found {
        let graphs = record.graphs as usize;
        match parse_split(&record.split)? {
            Split::Train => counts.train = graphs,
            Split::Calibration => counts.calibration = graphs,
            Split::Test => counts.test = graphs,
        }
    }
    Ok(counts)
}

/// The family's graphs that share a hash with one of `graphs`, equal ones once.
async fn possible_twins(
    connection: &mut SqliteConnection,
    family: FamilyId,
    graphs: &[Prepared],
) -> Result<Vec<PossibleTwin>, StoreError> {
    let family = family.get();
    let hashes: BTreeSet<String> = graphs.iter().map(|prepared| hex::encode(prepared.fingerprint.hash.0)).collect();
    let hashes = json::encode(&hashes)?;
    let twins = sqlx::query_as!(
        PossibleTwin,
        r#"
        SELECT DISTINCT content, split FROM graphs
        WHERE family = ? AND wl_hash IN (SELECT unhex(value) FROM json_each(?))
        "#,
        family,
        hashes
    )
    .fetch_all(connection)
    .await?;
    Ok(twins)
}

struct GraphRecord {
    id: i64,
    external_id: String,
    split: String,
    content: Vec<u8>,
}

impl TryFrom<GraphRecord> for StoredGraph {
    type Error = StoreError;

    fn try_from(record: GraphRecord) -> Result<Self, StoreError> {
        Ok(Self {
            row: GraphId::new(record.id),
            id: record.external_id,
            split: parse_split(&record.split)?,
            graph: decode(&record.content)?,
        })
    }
}

fn decode(content: &[u8]) -> Result<Graph, StoreError> {
    blob::decode(content).map_err(|error| damaged(error.to_string()))
}

pub(super) fn parse_split(text: &str) -> Result<Split, StoreError> {
    text.parse().map_err(|()| damaged(format!("`{text}` is not a split")))
}

fn damaged(detail: impl Into<String>) -> StoreError {
    StoreError::Damaged { what: "graph", detail: detail.into() }
}

pub(super) fn no_such_family() -> StoreError {
    StoreError::NotFound { what: "such family".to_owned() }
}

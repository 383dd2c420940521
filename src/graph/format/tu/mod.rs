//! TU graph-classification datasets: `NAME/NAME_A.txt`, `_graph_indicator`, `_graph_labels`, `_node_labels` in a zip.
//!
//! Files are known by the ends of their names, wherever in the archive they are; all others are left alone. Nothing is
//! written anywhere, and no size is believed before it is counted. The format: <https://chrsmrrs.github.io/datasets/docs/format/>

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use rayon::prelude::*;
use thiserror::Error;
use zip::ZipArchive;

use crate::graph::{Graph, GraphError, Limits};
use lines::{Budget, Lines, Refusal};

mod lines;
#[cfg(test)]
mod tests;

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

/// Reads the graphs of a dataset, by class.
///
/// Edges are read as undirected, as these datasets list each in both directions; those listed more than once and
/// self-loops are counted in `warnings`. A graph that has a label but no nodes is left out, with a warning.
///
/// # Errors
/// When the archive is not a TU dataset within the limits; says which file and line.
pub fn read(archive: impl Read + Seek, limits: &ArchiveLimits) -> Result<TuDataset, TuError> {
    let mut archive = ZipArchive::new(archive).map_err(|error| TuError::NotZip(error.to_string()))?;
    if archive.len() > limits.max_entries {
        let (entries, limit) = (archive.len(), limits.max_entries);
        return Err(TuError::TooLarge(format!("{entries} entries are more than the limit of {limit}")));
    }
    let adjacency = find(&archive, ADJACENCY)?.ok_or_else(|| missing(ADJACENCY))?;
    let graph_labels = find(&archive, GRAPH_LABELS)?.ok_or_else(|| missing(GRAPH_LABELS))?;
    let indicator = find(&archive, INDICATOR)?.ok_or_else(|| missing(INDICATOR))?;
    let node_labels = find(&archive, NODE_LABELS)?;
    let name = adjacency.name.strip_suffix(ADJACENCY).unwrap_or_default().to_owned();

    let mut budget = Budget::new(limits.max_unpacked_bytes);
    let classes = read_graph_labels(lines(&mut archive, &graph_labels, &mut budget)?, limits)?;
    let mut nodes = read_indicator(lines(&mut archive, &indicator, &mut budget)?, classes.len(), &limits.graph)?;
    if let Some(file) = &node_labels {
        read_node_labels(lines(&mut archive, file, &mut budget)?, &file.name, &mut nodes)?;
    }
    let arcs = read_arcs(lines(&mut archive, &adjacency, &mut budget)?, &nodes, &limits.graph)?;
    assemble(name, &classes, &nodes, arcs, &limits.graph)
}

const ADJACENCY: &str = "_A.txt";
const INDICATOR: &str = "_graph_indicator.txt";
const GRAPH_LABELS: &str = "_graph_labels.txt";
const NODE_LABELS: &str = "_node_labels.txt";

fn missing(suffix: &str) -> TuError {
    TuError::Missing(format!("file whose name ends in {suffix}"))
}

/// A file of the archive.
struct Entry {
    index: usize,
    /// Without its folders.
    name: String,
}

/// The one file whose name ends in `suffix`, what macOS adds to archives aside.
fn find<R: Read + Seek>(archive: &ZipArchive<R>, suffix: &str) -> Result<Option<Entry>, TuError> {
    let mut found: Option<Entry> = None;
    for index in 0..archive.len() {
        // A name that can't be decoded is none of ours.
        let Some(Ok(path)) = archive.name_for_index(index) else { continue };
        let mut parts = path.rsplit(['/', '\\']);
        let name = parts.next().unwrap_or_default();
        if !name.ends_with(suffix) || name.starts_with("._") || parts.any(|folder| folder == "__MACOSX") {
            continue;
        }
        let entry = Entry { index, name: shortened(name) };
        if let Some(first) = found.replace(entry) {
            let detail = format!("the archive has several files whose names end in {suffix}, such as {}", first.name);
            return Err(TuError::Invalid(detail));
        }
    }
    Ok(found)
}

/// The end of a name, which may be of any length in an archive and hold anything.
fn shortened(name: &str) -> String {
    const KEPT: usize = 100;
    let skipped = name.chars().count().saturating_sub(KEPT);
    name.chars().skip(skipped).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

fn lines<'a, R: Read + Seek>(
    archive: &'a mut ZipArchive<R>,
    entry: &'a Entry,
    budget: &'a mut Budget,
) -> Result<Lines<'a, impl Read + 'a>, TuError> {
    let unpacked = archive
        .by_index(entry.index)
        .map_err(|error| TuError::Invalid(format!("{} can't be unpacked: {error}", entry.name)))?;
    Ok(Lines::new(&entry.name, unpacked, budget))
}

/// The class of each graph.
fn read_graph_labels(mut lines: Lines<'_, impl Read>, limits: &ArchiveLimits) -> Result<Vec<i64>, TuError> {
    let mut classes = Vec::new();
    while let Some(line) = lines.next()? {
        if classes.len() == limits.max_graphs {
            let limit = limits.max_graphs;
            return Err(TuError::TooLarge(format!("there are more graphs than the limit of {limit}")));
        }
        classes.push(line.first_integer()?);
    }
    if classes.is_empty() {
        return Err(TuError::Invalid("the dataset has no graphs".to_owned()));
    }
    Ok(classes)
}

/// The nodes of a dataset, numbered through all graphs.
struct Nodes {
    /// The graph of each node and its number in there, both from 0.
    place: Vec<(u32, u32)>,
    /// How many nodes each graph has.
    counts: Vec<u32>,
    labels: Option<Vec<i64>>,
}

/// The nodes of a graph need not stand together: each is numbered by its order among those of its graph.
fn read_indicator(mut lines: Lines<'_, impl Read>, graphs: usize, limits: &Limits) -> Result<Nodes, TuError> {
    let mut nodes = Nodes { place: Vec::new(), counts: vec![0; graphs], labels: None };
    lines.integers(|number| {
        let graph = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        let Some((graph, count)) = graph.and_then(|graph| Some((graph, nodes.counts.get_mut(graph)?))) else {
            return Err(format!("there is no graph {number}: there are labels for graphs 1 to {graphs}").into());
        };
        // Here and not when the graph is made: its lines unpack to more than an archive's size says.
        if *count as usize >= limits.max_nodes {
            let limit = limits.max_nodes;
            return Err(Refusal::TooLarge(format!("graph {number}: there are more nodes than the limit of {limit}")));
        }
        if nodes.place.len() == u32::MAX as usize {
            return Err("there are more nodes than can be counted".to_owned().into());
        }
        nodes.place.push((graph as u32, *count));
        *count += 1;
        Ok(())
    })?;
    Ok(nodes)
}

fn read_node_labels(mut lines: Lines<'_, impl Read>, file: &str, nodes: &mut Nodes) -> Result<(), TuError> {
    let count = nodes.place.len();
    let mut labels = Vec::with_capacity(count);
    lines.integers(|label| {
        if labels.len() == count {
            return Err(format!("there are more labels than the {count} nodes").into());
        }
        labels.push(label);
        Ok(())
    })?;
    if labels.len() < count {
        return Err(TuError::Invalid(format!("{file} has {} labels for {count} nodes", labels.len())));
    }
    nodes.labels = Some(labels);
    Ok(())
}

/// The edges of each graph as they are listed, by the numbers of its nodes: each in both directions.
fn read_arcs(mut lines: Lines<'_, impl Read>, nodes: &Nodes, limits: &Limits) -> Result<Vec<Vec<(u32, u32)>>, TuError> {
    let most = limits.max_edges.saturating_mul(2);
    let mut arcs = vec![Vec::new(); nodes.counts.len()];
    lines.pairs(|(a, b)| {
        let place = |node: i64| {
            let index = usize::try_from(node).ok().and_then(|node| node.checked_sub(1));
            let place = index.and_then(|index| nodes.place.get(index)).copied();
            place.ok_or_else(|| format!("there is no node {node}: the nodes are 1 to {}", nodes.place.len()))
        };
        let ((graph, source), (other, target)) = (place(a)?, place(b)?);
        if graph != other {
            let (graph, other) = (graph + 1, other + 1);
            return Err(format!("node {a} is in graph {graph}, but node {b} is in graph {other}").into());
        }
        if let Some(arcs) = arcs.get_mut(graph as usize) {
            if arcs.len() >= most {
                let (graph, limit) = (graph + 1, limits.max_edges);
                return Err(Refusal::TooLarge(format!(
                    "graph {graph}: there are more edges than the limit of {limit}"
                )));
            }
            arcs.push((source, target));
        }
        Ok(())
    })?;
    Ok(arcs)
}

/// A graph as its lines have it.
struct Listed {
    arcs: Vec<(u32, u32)>,
    labels: Option<Vec<i64>>,
    count: u32,
}

/// What became of a graph's lines.
struct Assembled {
    graph: Graph,
    repeated: usize,
    self_loops: usize,
}

fn assemble(
    name: String,
    classes: &[i64],
    nodes: &Nodes,
    arcs: Vec<Vec<(u32, u32)>>,
    limits: &Limits,
) -> Result<TuDataset, TuError> {
    let mut labels = labels_by_graph(nodes);
    let labels = (0..arcs.len()).map(|index| labels.as_mut()?.get_mut(index).map(std::mem::take));
    let listed = arcs.into_iter().zip(labels).zip(&nodes.counts);
    let listed: Vec<Listed> = listed.map(|((arcs, labels), &count)| Listed { arcs, labels, count }).collect();
    let assembled = |listed: Listed| (listed.count > 0).then(|| assemble_graph(listed, limits));
    // Collected before any is looked at, so that of several graphs that can't be read the first is named.
    let graphs: Vec<Option<Result<Assembled, GraphError>>> = listed.into_par_iter().map(assembled).collect();
    let mut by_class: BTreeMap<i64, Vec<(usize, Graph)>> = BTreeMap::new();
    let (mut self_loops, mut repeated, mut empty) = (0, 0, Vec::new());
    for (number, (graph, &class)) in (1..).zip(graphs.into_iter().zip(classes)) {
        let Some(graph) = graph else {
            empty.push(number);
            continue;
        };
        let of_graph = graph.map_err(|error| TuError::TooLarge(format!("graph {number}: {error}")))?;
        repeated += of_graph.repeated;
        self_loops += of_graph.self_loops;
        by_class.entry(class).or_default().push((number, of_graph.graph));
    }
    if by_class.is_empty() {
        return Err(TuError::Invalid("no graph of the dataset has a node".to_owned()));
    }
    let mut warnings = Vec::new();
    if self_loops > 0 {
        warnings.push(format!("self-loops were dropped: {self_loops}"));
    }
    if repeated > 0 {
        warnings.push(format!("lines that repeat an edge were dropped: {repeated}"));
    }
    if let Some(first) = empty.first() {
        warnings.push(format!("graphs without nodes were left out: {}, the first is graph {first}", empty.len()));
    }
    let classes = by_class.into_iter().map(|(label, graphs)| TuClass { label, graphs }).collect();
    Ok(TuDataset { name, classes, warnings })
}

fn assemble_graph(listed: Listed, limits: &Limits) -> Result<Assembled, GraphError> {
    let Listed { mut arcs, labels, count } = listed;
    let repeated = drop_repeated(&mut arcs);
    // Both directions are one edge, so that the limit counts what the graph will have.
    let edges: Vec<(u64, u64)> =
        undirected(arcs, count as usize).into_iter().map(|(a, b)| (a.into(), b.into())).collect();
    let (graph, dropped) = Graph::new(count.into(), &edges, labels, limits)?;
    Ok(Assembled { graph, repeated, self_loops: dropped.self_loops })
}

/// Sorts, and says how many were repetitions of another.
fn drop_repeated(arcs: &mut Vec<(u32, u32)>) -> usize {
    let given = arcs.len();
    // One number is compared several times faster than a pair, where code is little optimised.
    arcs.sort_unstable_by_key(|&(a, b)| u64::from(a) << 32 | u64::from(b));
    arcs.dedup();
    given - arcs.len()
}

/// The edges of sorted arcs, the smaller end first, sorted; both directions are one.
fn undirected(arcs: Vec<(u32, u32)>, nodes: usize) -> Vec<(u32, u32)> {
    let up: Vec<(u32, u32)> = arcs.iter().copied().filter(|&(a, b)| a <= b).collect();
    // The others turned round: sorted by the larger end, they only have to be dealt out by the smaller one.
    let mut next = vec![0_usize; nodes + 1];
    let down = || arcs.iter().filter(|&&(a, b)| a >= b);
    down().for_each(|&(_, b)| next[b as usize + 1] += 1);
    (0..nodes).for_each(|node| next[node + 1] += next[node]);
    let mut turned = vec![(0, 0); next[nodes]];
    for &(a, b) in down() {
        turned[next[b as usize]] = (b, a);
        next[b as usize] += 1;
    }
    if up == turned {
        return up;
    }
    let mut all = arcs;
    all.iter_mut().for_each(|arc| *arc = (arc.0.min(arc.1), arc.0.max(arc.1)));
    drop_repeated(&mut all);
    all
}

/// The labels of each graph's nodes, in their order.
fn labels_by_graph(nodes: &Nodes) -> Option<Vec<Vec<i64>>> {
    let mut by_graph: Vec<Vec<i64>> = nodes.counts.iter().map(|&count| Vec::with_capacity(count as usize)).collect();
    for (&(graph, _), &label) in nodes.place.iter().zip(nodes.labels.as_ref()?) {
        if let Some(labels) = by_graph.get_mut(graph as usize) {
            labels.push(label);
        }
    }
    Some(by_graph)
}

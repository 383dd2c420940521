//! Graphs in JSON: the canonical form, NetworkX node-link data (`links` or `edges`), and JSON Graph Format v2.
//!
//! The forms are told apart by what they hold: `nodes` is a number in the canonical form, an array in node-link data,
//! and an object inside `graph` in JSON Graph Format. Whatever has no meaning to a simple graph is accepted and ignored
//! where its format knows it (weights, metadata), and told in a warning where no format does.

use serde::de::DeserializeSeed;
use serde_json::{Value, json};
use thiserror::Error;

use super::{Located, ParsedGraph};
use crate::graph::{Dropped, Graph, GraphError, Limits, check_node_count};
use document::{Document, ExpectGraph};
use edges::{Edges, UNREADABLE};
use item::{Read, shortened};
use nodes::{NamedNodes, Nodes, UNREADABLE_NAME, token};

mod document;
mod edges;
mod item;
mod nodes;
#[cfg(test)]
mod tests;

#[derive(Debug, Error, PartialEq, Eq)]
pub enum JsonError {
    /// Not JSON or not UTF-8. Line and column count from 1.
    #[error("not JSON at line {line}, column {column}: {detail}")]
    Syntax { line: usize, column: usize, detail: String },
    /// JSON that describes no graph; at most a bounded number of places.
    #[error("{}", .0.first().map_or("not a graph", |place| place.detail.as_str()))]
    Invalid(Vec<Located>),
}

/// Reads a graph in any of the three forms. Pointers are relative to the document given.
///
/// # Errors
/// When the bytes are not JSON, or don't describe a graph within the limits.
pub fn parse(bytes: &[u8], limits: &Limits) -> Result<ParsedGraph, JsonError> {
    let text = std::str::from_utf8(bytes).map_err(|error| not_utf8(bytes, error.valid_up_to()))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut document = Document::new("", limits);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = Read(ExpectGraph(&mut document)).deserialize(&mut deserializer).and_then(|()| deserializer.end());
    if let Err(error) = read {
        return Err(match document.take_too_large() {
            Some(place) => JsonError::Invalid(vec![place]),
            None => not_json(&error),
        });
    }
    build(described(document)?, limits)
}

/// The canonical form: `{"id"?, "nodes", "edges", "node_labels"?}`.
#[must_use]
pub fn to_canonical(graph: &Graph, id: Option<&str>) -> Value {
    let edges: Vec<[u32; 2]> = graph.edges().map(<[u32; 2]>::from).collect();
    let mut value = json!({ "nodes": graph.node_count(), "edges": edges });
    if let Some(id) = id {
        value["id"] = json!(id);
    }
    if let Some(labels) = graph.labels() {
        value["node_labels"] = json!(labels);
    }
    value
}

fn not_utf8(bytes: &[u8], at: usize) -> JsonError {
    let before = &bytes[..at];
    let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
    let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
    JsonError::Syntax { line, column: at - line_start + 1, detail: "these bytes are not UTF-8".to_owned() }
}

fn not_json(error: &serde_json::Error) -> JsonError {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let detail = text.strip_suffix(&place).unwrap_or(&text).to_owned();
    // An empty text ends at column 0 of line 1.
    JsonError::Syntax { line: error.line().max(1), column: error.column().max(1), detail }
}

/// The object that holds the graph: the document itself, or its `graph`.
fn described(mut document: Document<'_>) -> Result<Document<'_>, JsonError> {
    if document.nodes.is_some() || document.edges.is_some() {
        return Ok(document);
    }
    if let Some(mut graph) = document.graph.take() {
        document.places.0.append(&mut graph.places.0);
        graph.places = document.places;
        graph.id = graph.id.or(document.id);
        graph.directed |= document.directed;
        graph.unknown_keys.append(&mut document.unknown_keys);
        graph.unknown_key_count += document.unknown_key_count;
        return Ok(*graph);
    }
    if document.several {
        let detail = "several graphs are in one document; send them one by one".to_owned();
        return Err(JsonError::Invalid(vec![Located { pointer: "/graphs".to_owned(), detail }]));
    }
    Ok(document)
}

/// Makes the graph of what was read, or tells all places that are wrong.
fn build(mut document: Document<'_>, limits: &Limits) -> Result<ParsedGraph, JsonError> {
    let root = document.root;
    let mut warnings = Vec::new();
    let nodes = document.nodes.take().unwrap_or_else(|| {
        document.places.add(format_args!("{root}"), format_args!("the graph has no `nodes`"));
        Nodes::Unreadable
    });
    let is_format_without_edges = matches!(&nodes, Nodes::Named(nodes) if nodes.keyed);
    let edges = document.edges.take().unwrap_or_else(|| {
        if !is_format_without_edges && !matches!(nodes, Nodes::Unreadable) {
            document.places.add(format_args!("{root}"), format_args!("the graph has no `edges`"));
        }
        Edges { key: "edges", ..Edges::default() }
    });
    let (count, ends, labels, node_ids) = match nodes {
        Nodes::Count(count) => {
            check_count(&mut document, count, limits);
            check_pairs(&mut document, &edges, count);
            let labels = document.node_labels.take();
            check_label_count(&mut document, labels.as_deref(), count);
            (count, edges.ends, labels, None)
        }
        Nodes::Named(nodes) => {
            check_count(&mut document, nodes.names.len() as u64, limits);
            let ends = numbered_ends(&mut document, &nodes, &edges);
            if document.node_labels.is_some() {
                document.places.add(
                    format_args!("{root}/node_labels"),
                    format_args!("labels of named nodes go into the nodes, as `label`"),
                );
            }
            let labels = categories(&mut document, &nodes, &mut warnings);
            (nodes.names.len() as u64, ends, labels, own_names(&document, &nodes))
        }
        Nodes::Unreadable => (0, Vec::new(), None, None),
    };
    if !document.places.0.is_empty() {
        return Err(JsonError::Invalid(document.places.0));
    }
    let (graph, dropped) =
        Graph::new(count, &ends, labels, limits).map_err(|error| located(root, edges.key, &error))?;
    warn_of_structure(&mut warnings, document.directed, dropped, &ends);
    warn_of_unknown_keys(&mut warnings, &document);
    Ok(ParsedGraph { graph, id: document.id, node_ids, warnings })
}

/// The place of an error of the constructor. All of them are found before, with better places: this keeps it so that
/// none can be lost.
fn located(root: &str, edges_key: &str, error: &GraphError) -> JsonError {
    let pointer = match error {
        GraphError::NoNodes | GraphError::TooManyNodes { .. } => format!("{root}/nodes"),
        GraphError::TooManyEdges { .. } => format!("{root}/{edges_key}"),
        GraphError::NoSuchNode { index, .. } => format!("{root}/{edges_key}/{index}"),
        GraphError::LabelCount { .. } => format!("{root}/node_labels"),
    };
    JsonError::Invalid(vec![Located { pointer, detail: error.to_string() }])
}

fn check_count(document: &mut Document<'_>, count: u64, limits: &Limits) {
    if let Err(error) = check_node_count(count, limits) {
        document.places.add(format_args!("{}/nodes", document.root), format_args!("{error}"));
    }
}

fn check_pairs(document: &mut Document<'_>, edges: &Edges, count: u64) {
    let (root, key) = (document.root, edges.key);
    if let Some(index) = edges.first_object {
        document.places.add(
            format_args!("{root}/{key}/{index}"),
            format_args!("expected a pair of node numbers, such as [0, 1], as `nodes` is a number"),
        );
        return;
    }
    for (index, &(a, b)) in edges.ends.iter().enumerate().filter(|&(_, &ends)| ends != UNREADABLE) {
        for (end, node) in [a, b].into_iter().enumerate().filter(|&(_, node)| node >= count) {
            document.places.add(
                format_args!("{root}/{key}/{index}/{end}"),
                format_args!("there is no node {node}: the nodes are 0 to {}", count.saturating_sub(1)),
            );
        }
    }
}

fn check_label_count(document: &mut Document<'_>, labels: Option<&[i64]>, count: u64) {
    if let Some(labels) = labels
        && labels.len() as u64 != count
    {
        document.places.add(
            format_args!("{}/node_labels", document.root),
            format_args!("{} labels were given for {count} nodes", labels.len()),
        );
    }
}

/// The edges between named nodes, by the nodes' numbers.
fn numbered_ends(document: &mut Document<'_>, nodes: &NamedNodes, edges: &Edges) -> Vec<(u64, u64)> {
    let (root, key) = (document.root, edges.key);
    if let Some(index) = edges.first_pair {
        document.places.add(
            format_args!("{root}/{key}/{index}"),
            format_args!("expected an object with `source` and `target`, as the nodes have names"),
        );
        return Vec::new();
    }
    let mut number_of = vec![None; document.names.len()];
    for (number, &name) in nodes.names.iter().enumerate() {
        if let Some(slot) = number_of.get_mut(name as usize) {
            *slot = Some(number as u64);
        }
    }
    let mut ends = Vec::with_capacity(edges.ends.len());
    for (index, &(source, target)) in edges.ends.iter().enumerate().filter(|&(_, &ends)| ends != UNREADABLE) {
        let mut number = |name: u64, member: &str| {
            let number = number_of.get(name as usize).copied().flatten();
            if number.is_none() {
                let name = document.names.get_index(name as usize).map(ToString::to_string).unwrap_or_default();
                document.places.add(
                    format_args!("{root}/{key}/{index}/{member}"),
                    format_args!("there is no node {}", shortened(&name)),
                );
            }
            number
        };
        if let (Some(a), Some(b)) = (number(source, "source"), number(target, "target")) {
            ends.push((a, b));
        }
    }
    ends
}

/// The labels of named nodes: all of them have one, or none has.
fn categories(document: &mut Document<'_>, nodes: &NamedNodes, warnings: &mut Vec<String>) -> Option<Vec<i64>> {
    if nodes.categories.iter().all(Option::is_none) {
        if nodes.display_labels > 0 {
            warnings.push("node labels that are not integers were ignored".to_owned());
        }
        return None;
    }
    let mut nodes_read = nodes.categories.iter().zip(&nodes.names).map(|(label, &name)| (label, name));
    if let Some(index) = nodes_read.position(|(label, name)| label.is_none() && name != UNREADABLE_NAME) {
        let name = nodes.names.get(index).and_then(|&name| document.names.get_index(name as usize));
        let token = match name {
            Some(Value::String(name)) if nodes.keyed => token(name),
            _ => index.to_string(),
        };
        document.places.add(
            format_args!("{}/nodes/{token}", document.root),
            format_args!("this node has no integer label, but others have: label all nodes or none"),
        );
    }
    nodes.categories.iter().copied().collect()
}

/// The names of the nodes, unless they are 0, 1, 2, … in order.
fn own_names(document: &Document<'_>, nodes: &NamedNodes) -> Option<Vec<Value>> {
    let names = || nodes.names.iter().filter_map(|&name| document.names.get_index(name as usize));
    let plain = names().enumerate().all(|(number, name)| name.as_u64() == Some(number as u64));
    (!plain).then(|| names().cloned().collect())
}

fn warn_of_structure(warnings: &mut Vec<String>, directed: bool, dropped: Dropped, ends: &[(u64, u64)]) {
    let mut repeated = dropped.repeated_edges;
    if directed {
        // An edge in each direction is nothing repeated in a directed graph.
        repeated = repeated_arcs(ends);
        let opposite = dropped.repeated_edges - repeated;
        warnings.push("the graph is directed; its edges were read as undirected".to_owned());
        if opposite > 0 {
            let what = if opposite == 1 { "pair of opposite edges was" } else { "pairs of opposite edges were" };
            warnings.push(format!("{opposite} {what} read as one edge each"));
        }
    }
    for (count, one, many) in [
        (dropped.self_loops, "self-loop was", "self-loops were"),
        (repeated, "repeated edge was", "repeated edges were"),
    ] {
        if count > 0 {
            warnings.push(format!("{count} {} dropped", if count == 1 { one } else { many }));
        }
    }
}

/// How many edges, self-loops aside, repeat an earlier one in the same direction.
fn repeated_arcs(ends: &[(u64, u64)]) -> usize {
    let mut arcs: Vec<(u64, u64)> = ends.iter().copied().filter(|(a, b)| a != b).collect();
    arcs.sort_unstable();
    let given = arcs.len();
    arcs.dedup();
    given - arcs.len()
}

fn warn_of_unknown_keys(warnings: &mut Vec<String>, document: &Document<'_>) {
    warnings.extend(document.unknown_keys.iter().map(|key| format!("the unknown key {key:?} was ignored")));
    let more = document.unknown_key_count.saturating_sub(document.unknown_keys.len());
    if more > 0 {
        warnings.push(format!("{more} more unknown keys were ignored"));
    }
}

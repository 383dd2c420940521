//! Graphs in request bodies: read where they stand, so that what is wrong is named by its place in the whole body.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, SchemaType, Type};
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::error::Problem;
use crate::graph::Limits;
use crate::graph::format::json::{self, JsonError};
use crate::graph::format::{Located, ParsedGraph};

/// A graph in a request body, as its sender wrote it.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct GraphJson(Box<RawValue>);

impl GraphJson {
    /// Reads the graph; `pointer` is where it stands in the body (`/graphs/3`).
    ///
    /// # Errors
    /// When it is no graph; the places are those of the whole body.
    pub(super) fn parse(&self, pointer: &str, limits: &Limits) -> Result<ParsedGraph, JsonError> {
        json::parse(self.0.get().as_bytes(), limits).map_err(|error| match error {
            JsonError::Invalid(places) => {
                JsonError::Invalid(places.into_iter().map(|place| below(pointer, place)).collect())
            }
            // It was JSON as a part of the body: only what is nested too deeply ends here.
            JsonError::Syntax { detail, .. } => {
                JsonError::Invalid(vec![Located { pointer: pointer.to_owned(), detail }])
            }
        })
    }
}

fn below(pointer: &str, place: Located) -> Located {
    Located { pointer: format!("{pointer}{}", place.pointer), detail: place.detail }
}

impl From<JsonError> for Problem {
    fn from(error: JsonError) -> Self {
        match error {
            JsonError::Syntax { .. } => Self::malformed(error.to_string()),
            JsonError::Invalid(places) => Self::invalid(places),
        }
    }
}

impl ToSchema for GraphJson {
    fn name() -> Cow<'static, str> {
        "Graph".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((CanonicalGraph::name().into_owned(), CanonicalGraph::schema()));
    }
}

impl PartialSchema for GraphJson {
    fn schema() -> RefOr<Schema> {
        let node_link = any_object()
            .title(Some("NetworkX node-link data"))
            .description(Some(
                "As `networkx.node_link_data` writes it: `nodes` with `id` (any JSON scalar) and perhaps `label` (an \
                 integer), and `links` or `edges` with `source` and `target`.",
            ))
            .required("nodes")
            .property("nodes", ArrayBuilder::new().items(any_object()))
            .examples([json!({"nodes": [{"id": "a"}, {"id": "b"}], "links": [{"source": "a", "target": "b"}]})]);
        let json_graph = any_object()
            .title(Some("JSON Graph Format v2"))
            .required("graph")
            .property("graph", any_object())
            .examples([json!({"graph": {"nodes": {"a": {}, "b": {}}, "edges": [{"source": "a", "target": "b"}]}})]);
        OneOfBuilder::new()
            .description(Some("A graph, in any of three forms."))
            .item(Ref::from_schema_name(CanonicalGraph::name()))
            .item(node_link)
            .item(json_graph)
            .into()
    }
}

/// The canonical form of a graph: a schema without a Rust type, for `graph::format` alone reads and writes it.
#[derive(Debug)]
pub(super) enum CanonicalGraph {}

impl ToSchema for CanonicalGraph {
    fn name() -> Cow<'static, str> {
        "CanonicalGraph".into()
    }
}

impl PartialSchema for CanonicalGraph {
    fn schema() -> RefOr<Schema> {
        let integer = || ObjectBuilder::new().schema_type(SchemaType::Type(Type::Integer));
        let edge = ArrayBuilder::new()
            .items(integer().minimum(Some(0)))
            .min_items(Some(2))
            .max_items(Some(2))
            .description(Some("Two nodes, in either order."));
        any_object()
            .title(Some("The canonical form"))
            .required("nodes")
            .required("edges")
            .property("id", ObjectBuilder::new().schema_type(Type::String).description(Some("The sender's own name of the graph.")))
            .property("nodes", integer().minimum(Some(1)).description(Some("How many; they are numbered from 0.")))
            .property("edges", ArrayBuilder::new().items(edge))
            .property(
                "node_labels",
                ArrayBuilder::new().items(integer()).description(Some("A categorical label for each node.")),
            )
            .examples([json!({
                "id": "ring-5", "nodes": 5, "edges": [[0, 1], [1, 2], [2, 3], [3, 4], [4, 0]], "node_labels": [6, 6, 6, 7, 8]
            })])
            .into()
    }
}

fn any_object() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Object)
}

//! What a document says of a graph, read in one pass, before it is known which of the forms it has.
//!
//! Keys come in any order, so edges may precede the nodes they join: names are interned as they are met, and looked up
//! at the end. What is wrong is noted with its place, and the reading goes on; only a limit passed ends it at once.

use std::borrow::Cow;
use std::fmt;

use indexmap::IndexSet;
use serde::Deserialize;
use serde::de::{Error, IgnoredAny, MapAccess};
use serde_json::Value;

use super::edges::{Edges, ExpectEdges};
use super::item::{Anything, Expect, Item, Read, shortened};
use super::nodes::{ExpectLabels, ExpectNodes, Nodes};
use crate::graph::Limits;
use crate::graph::format::Located;

/// Errors told of one document.
const MAX_PLACES: usize = 20;

/// The errors found so far, in the order of the text.
#[derive(Debug, Default)]
pub(super) struct Places(pub(super) Vec<Located>);

impl Places {
    pub(super) fn add(&mut self, pointer: fmt::Arguments<'_>, detail: fmt::Arguments<'_>) {
        // Nothing is formatted for the rest of a document of a million errors.
        if self.0.len() < MAX_PLACES {
            self.0.push(Located { pointer: pointer.to_string(), detail: detail.to_string() });
        }
    }
}

/// An object that describes a graph: the document, or the `graph` in it.
#[derive(Debug)]
pub(super) struct Document<'l> {
    pub(super) limits: &'l Limits,
    /// The JSON Pointer of this object.
    pub(super) root: &'static str,
    pub(super) nodes: Option<Nodes>,
    pub(super) edges: Option<Edges>,
    pub(super) node_labels: Option<Vec<i64>>,
    pub(super) id: Option<String>,
    pub(super) directed: bool,
    /// All names of nodes met, by their interned number.
    pub(super) names: IndexSet<Value>,
    /// The object under `graph`; JSON Graph Format has everything there, node-link data the graph's attributes.
    pub(super) graph: Option<Box<Self>>,
    /// Whether there is a key `graphs`.
    pub(super) several: bool,
    pub(super) unknown_keys: Vec<String>,
    pub(super) unknown_key_count: usize,
    pub(super) places: Places,
    /// The limit that ended the reading.
    too_large: Option<Located>,
}

#[derive(Deserialize)]
pub(super) struct Key<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

impl<'l> Document<'l> {
    pub(super) fn new(root: &'static str, limits: &'l Limits) -> Self {
        Self {
            limits,
            root,
            nodes: None,
            edges: None,
            node_labels: None,
            id: None,
            directed: false,
            names: IndexSet::new(),
            graph: None,
            several: false,
            unknown_keys: Vec::new(),
            unknown_key_count: 0,
            places: Places::default(),
            too_large: None,
        }
    }

    /// The limit that ended the reading, if one did.
    pub(super) fn take_too_large(&mut self) -> Option<Located> {
        self.too_large.take().or_else(|| self.graph.as_mut()?.too_large.take())
    }

    pub(super) fn complain(&mut self, path: fmt::Arguments<'_>, detail: fmt::Arguments<'_>) {
        self.places.add(format_args!("{}{path}", self.root), detail);
    }

    /// Ends the reading.
    pub(super) fn stop<E: Error>(&mut self, key: &str, detail: String) -> E {
        let error = E::custom(&detail);
        self.too_large = Some(Located { pointer: format!("{}/{key}", self.root), detail });
        error
    }

    pub(super) fn too_many_nodes<E: Error>(&mut self, key: &str) -> E {
        self.stop(key, format!("there are more nodes than the limit of {}", self.limits.max_nodes))
    }

    pub(super) fn intern(&mut self, name: Value) -> u32 {
        // At most two names an edge and one a node, and the limits of these are far below 2^32.
        self.names.insert_full(name).0 as u32
    }

    fn read_entry<'de, A: MapAccess<'de>>(&mut self, key: &str, object: &mut A) -> Result<(), A::Error> {
        match key {
            "nodes" if self.nodes.is_none() => {
                self.nodes = Some(Nodes::Unreadable);
                let nodes = object.next_value_seed(Read(ExpectNodes(self)))?;
                self.nodes = Some(nodes);
            }
            "edges" | "links" if self.edges.is_none() => {
                let key = if key == "edges" { "edges" } else { "links" };
                let edges = object.next_value_seed(Read(ExpectEdges { document: self, key }))?;
                self.edges = Some(edges);
            }
            "edges" | "links" => {
                self.complain(format_args!("/{key}"), format_args!("the edges are given twice"));
                object.next_value::<IgnoredAny>()?;
            }
            "node_labels" if self.node_labels.is_none() => {
                self.node_labels = object.next_value_seed(Read(ExpectLabels(self)))?;
            }
            "graph" if self.root.is_empty() && self.graph.is_none() => {
                let mut graph = Self::new("/graph", self.limits);
                let read = object.next_value_seed(Read(ExpectGraph(&mut graph)));
                self.graph = Some(Box::new(graph));
                read?;
            }
            "nodes" | "node_labels" | "graph" if self.root.is_empty() || key != "graph" => {
                self.complain(format_args!("/{key}"), format_args!("this key is given twice"));
                object.next_value::<IgnoredAny>()?;
            }
            "id" => match object.next_value_seed(Read(Anything))? {
                Item::Null => {}
                Item::Text(id) => self.id = Some(id.into_owned()),
                Item::Integer(id) => self.id = Some(id.to_string()),
                other => self.complain(format_args!("/id"), format_args!("expected a string, found {other}")),
            },
            "directed" => match object.next_value_seed(Read(Anything))? {
                Item::Null => {}
                Item::Bool(directed) => self.directed |= directed,
                other => {
                    self.complain(format_args!("/directed"), format_args!("expected true or false, found {other}"));
                }
            },
            "hyperedges" => {
                self.complain(format_args!("/hyperedges"), format_args!("hyperedges can't be read, only edges"));
                object.next_value::<IgnoredAny>()?;
            }
            "graphs" => {
                self.several = true;
                object.next_value::<IgnoredAny>()?;
            }
            // Known to node-link data, and nothing to a simple graph.
            "multigraph" => {
                object.next_value::<IgnoredAny>()?;
            }
            // The same in JSON Graph Format.
            "metadata" | "label" | "type" if !self.root.is_empty() => {
                object.next_value::<IgnoredAny>()?;
            }
            unknown => {
                const SHOWN: usize = 5;
                self.unknown_key_count += 1;
                if self.unknown_keys.len() < SHOWN {
                    self.unknown_keys.push(shortened(unknown).into_owned());
                }
                object.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// Expects an object that describes a graph.
pub(super) struct ExpectGraph<'d, 'l>(pub(super) &'d mut Document<'l>);

impl<'de> Expect<'de> for ExpectGraph<'_, '_> {
    type Out = ();

    fn item(self, item: Item<'de>) {
        self.0.nodes = Some(Nodes::Unreadable);
        self.0.complain(format_args!(""), format_args!("expected a graph, which is a JSON object, found {item}"));
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        while let Some(Key(key)) = object.next_key()? {
            self.0.read_entry(&key, &mut object)?;
        }
        Ok(())
    }
}

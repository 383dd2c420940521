//! The nodes of a document, and their labels.

use std::fmt;

use serde::de::{IgnoredAny, MapAccess, SeqAccess};
use serde_json::Value;

use super::document::{Document, Key};
use super::item::{Anything, Expect, Item, Read, shortened};

/// Stands for the name of a node that could not be read, so that those after it keep their index.
pub(super) const UNREADABLE_NAME: u32 = u32::MAX;

#[derive(Debug)]
pub(super) enum Nodes {
    /// `"nodes": 5`
    Count(u64),
    /// Node-link data: an array of objects; JSON Graph Format: an object with a key for each node.
    Named(NamedNodes),
    /// Neither; the place is noted.
    Unreadable,
}

#[derive(Debug, Default)]
pub(super) struct NamedNodes {
    /// The interned name of each node.
    pub(super) names: Vec<u32>,
    /// The integer labels, where a node has one.
    pub(super) categories: Vec<Option<i64>>,
    /// Nodes with a label that is no integer, and no other.
    pub(super) display_labels: usize,
    /// Whether the names are the keys of an object.
    pub(super) keyed: bool,
}

/// Expects the number of nodes, an array of node objects, or an object of node objects by name.
pub(super) struct ExpectNodes<'d, 'l>(pub(super) &'d mut Document<'l>);

impl<'de> Expect<'de> for ExpectNodes<'_, '_> {
    type Out = Nodes;

    fn item(self, item: Item<'de>) -> Nodes {
        match item.integer() {
            Some(0) => {
                self.0.complain(format_args!("/nodes"), format_args!("a graph needs at least one node"));
                Nodes::Unreadable
            }
            Some(count) => Nodes::Count(count),
            None => {
                let expected = "expected the number of nodes, an integer of at least 1";
                self.0.complain(format_args!("/nodes"), format_args!("{expected}, found {item}"));
                Nodes::Unreadable
            }
        }
    }

    fn array<A: SeqAccess<'de>>(self, mut array: A) -> Result<Nodes, A::Error> {
        let document = self.0;
        let mut nodes = NamedNodes::default();
        let mut known = Vec::new();
        while let Some(node) = array.next_element_seed(Read(ExpectNode))? {
            let index = nodes.names.len();
            if index == document.limits.max_nodes {
                return Err(document.too_many_nodes("nodes"));
            }
            let node = match node {
                Ok(node) => node,
                Err(detail) => {
                    document.complain(format_args!("/nodes/{index}"), format_args!("{detail}"));
                    nodes.add_unreadable();
                    continue;
                }
            };
            match node.id {
                Id::Is(name) => {
                    document.add_node(&mut nodes, &mut known, name, format_args!("/nodes/{index}/id"));
                    nodes.add_label(node.label);
                    continue;
                }
                Id::Missing => {
                    document.complain(format_args!("/nodes/{index}"), format_args!("the node has no `id`"));
                }
                Id::Unfit(found) => {
                    let detail = format_args!("expected a string or a number, found {found}");
                    document.complain(format_args!("/nodes/{index}/id"), detail);
                }
            }
            nodes.add_unreadable();
        }
        Ok(Nodes::Named(nodes))
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<Nodes, A::Error> {
        let document = self.0;
        let mut nodes = NamedNodes { keyed: true, ..NamedNodes::default() };
        let mut known = Vec::new();
        while let Some(Key(name)) = object.next_key()? {
            if nodes.names.len() == document.limits.max_nodes {
                return Err(document.too_many_nodes("nodes"));
            }
            let node = object.next_value_seed(Read(ExpectNode))?;
            let token = token(&name);
            let label = node.map_or_else(
                |detail| {
                    document.complain(format_args!("/nodes/{token}"), format_args!("{detail}"));
                    Label::None
                },
                |node| node.label,
            );
            let name = Value::String(name.into_owned());
            document.add_node(&mut nodes, &mut known, name, format_args!("/nodes/{token}"));
            nodes.add_label(label);
        }
        Ok(Nodes::Named(nodes))
    }
}

impl Document<'_> {
    /// Notes a node by its name; a name given before is an error at `place`.
    fn add_node(&mut self, nodes: &mut NamedNodes, known: &mut Vec<bool>, name: Value, place: fmt::Arguments<'_>) {
        let name = self.intern(name);
        let index = name as usize;
        if known.len() <= index {
            known.resize(index + 1, false);
        }
        if known[index] {
            let name = self.names.get_index(index).map(ToString::to_string).unwrap_or_default();
            self.complain(place, format_args!("there is already a node {}", shortened(&name)));
        }
        known[index] = true;
        nodes.names.push(name);
    }
}

/// A key as a token of a JSON Pointer.
pub(super) fn token(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

impl NamedNodes {
    /// Keeps the place of a node whose error is noted.
    fn add_unreadable(&mut self) {
        self.names.push(UNREADABLE_NAME);
        self.categories.push(None);
    }

    fn add_label(&mut self, label: Label) {
        self.display_labels += usize::from(label == Label::Display);
        self.categories.push(match label {
            Label::Category(category) => Some(category),
            Label::None | Label::Display => None,
        });
    }
}

/// What a node's `label` is to a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Label {
    None,
    Category(i64),
    /// Text for people.
    Display,
}

impl Label {
    fn of(item: &Item<'_>) -> Self {
        match item {
            Item::Null => Self::None,
            item => item.integer().map_or(Self::Display, Self::Category),
        }
    }
}

struct Node {
    id: Id,
    label: Label,
}

enum Id {
    Missing,
    Is(Value),
    /// No scalar, but this.
    Unfit(String),
}

/// Expects a node with its `id`, `label` and `metadata`; gives an error's text for what isn't an object.
struct ExpectNode;

impl<'de> Expect<'de> for ExpectNode {
    type Out = Result<Node, String>;

    fn item(self, item: Item<'de>) -> Self::Out {
        Err(format!("expected a node, which is a JSON object, found {item}"))
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Out, A::Error> {
        let mut node = Node { id: Id::Missing, label: Label::None };
        let mut metadata = Label::None;
        while let Some(Key(key)) = object.next_key()? {
            match &*key {
                "id" => {
                    node.id = match object.next_value_seed(Read(Anything))? {
                        unfit @ (Item::Array | Item::Object) => Id::Unfit(unfit.to_string()),
                        scalar => scalar.into_name().map_or(Id::Missing, Id::Is),
                    };
                }
                "label" => node.label = Label::of(&object.next_value_seed(Read(Anything))?),
                "metadata" => metadata = object.next_value_seed(Read(ExpectMetadata))?,
                _ => {
                    object.next_value::<IgnoredAny>()?;
                }
            }
        }
        // In JSON Graph Format a node's own label is text, and categories are metadata.
        if matches!(metadata, Label::Category(_)) || node.label == Label::None {
            node.label = metadata;
        }
        Ok(Ok(node))
    }
}

/// Looks for a `label` in anything.
struct ExpectMetadata;

impl<'de> Expect<'de> for ExpectMetadata {
    type Out = Label;

    fn item(self, _: Item<'de>) -> Label {
        Label::None
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<Label, A::Error> {
        let mut label = Label::None;
        while let Some(Key(key)) = object.next_key()? {
            if key == "label" {
                label = Label::of(&object.next_value_seed(Read(Anything))?);
            } else {
                object.next_value::<IgnoredAny>()?;
            }
        }
        Ok(label)
    }
}

/// Expects an array of integers, or nothing.
pub(super) struct ExpectLabels<'d, 'l>(pub(super) &'d mut Document<'l>);

impl<'de> Expect<'de> for ExpectLabels<'_, '_> {
    type Out = Option<Vec<i64>>;

    fn item(self, item: Item<'de>) -> Option<Vec<i64>> {
        if item != Item::Null {
            let detail = format_args!("expected an array with an integer for each node, found {item}");
            self.0.complain(format_args!("/node_labels"), detail);
        }
        None
    }

    fn array<A: SeqAccess<'de>>(self, mut array: A) -> Result<Option<Vec<i64>>, A::Error> {
        let document = self.0;
        let mut labels = Vec::new();
        while let Some(item) = array.next_element_seed(Read(Anything))? {
            let index = labels.len();
            if index == document.limits.max_nodes {
                return Err(document.too_many_nodes("node_labels"));
            }
            labels.push(item.integer().unwrap_or_else(|| {
                document.complain(
                    format_args!("/node_labels/{index}"),
                    format_args!("expected an integer label, found {item}"),
                );
                0
            }));
        }
        Ok(Some(labels))
    }
}

//! The edges of a document: pairs of numbers, or objects that name their ends.

use serde::de::{IgnoredAny, MapAccess, SeqAccess};

use super::document::{Document, Key};
use super::item::{Anything, Expect, Item, Read};

/// Stands for an edge that could not be read, so that those after it keep their index.
pub(super) const UNREADABLE: (u64, u64) = (u64::MAX, u64::MAX);

#[derive(Debug, Default)]
pub(super) struct Edges {
    /// Of pairs, the numbers of the nodes; of objects, the interned names of `source` and `target`.
    pub(super) ends: Vec<(u64, u64)>,
    pub(super) first_pair: Option<usize>,
    pub(super) first_object: Option<usize>,
    /// The key it came under.
    pub(super) key: &'static str,
}

/// Expects an array of edges, pairs or objects.
pub(super) struct ExpectEdges<'d, 'l> {
    pub(super) document: &'d mut Document<'l>,
    pub(super) key: &'static str,
}

impl<'de> Expect<'de> for ExpectEdges<'_, '_> {
    type Out = Edges;

    fn item(self, item: Item<'de>) -> Edges {
        self.document.complain(format_args!("/{}", self.key), format_args!("expected an array of edges, found {item}"));
        Edges { key: self.key, ..Edges::default() }
    }

    fn array<A: SeqAccess<'de>>(self, mut array: A) -> Result<Edges, A::Error> {
        let Self { document, key } = self;
        let mut edges = Edges { key, ..Edges::default() };
        while let Some(ends) =
            array.next_element_seed(Read(ExpectEdge { document: &mut *document, edges: &mut edges }))?
        {
            if edges.ends.len() == document.limits.max_edges {
                let limit = document.limits.max_edges;
                return Err(document.stop(key, format!("there are more edges than the limit of {limit}")));
            }
            edges.ends.push(ends);
        }
        Ok(edges)
    }
}

/// Expects `[0, 1]` or `{"source": …, "target": …}`; gives [`UNREADABLE`] for everything else, its place noted.
struct ExpectEdge<'d, 'l> {
    document: &'d mut Document<'l>,
    edges: &'d mut Edges,
}

impl<'de> Expect<'de> for ExpectEdge<'_, '_> {
    type Out = (u64, u64);

    fn item(self, item: Item<'de>) -> (u64, u64) {
        let place = format_args!("/{}/{}", self.edges.key, self.edges.ends.len());
        self.document.complain(place, format_args!("expected an edge, such as [0, 1], found {item}"));
        UNREADABLE
    }

    fn array<A: SeqAccess<'de>>(self, mut pair: A) -> Result<(u64, u64), A::Error> {
        let Self { document, edges } = self;
        let (key, index) = (edges.key, edges.ends.len());
        edges.first_pair.get_or_insert(index);
        let mut ends = [0_u64; 2];
        let mut readable = true;
        let mut length = 0;
        while let Some(item) = pair.next_element_seed(Read(Anything))? {
            if let Some(end) = ends.get_mut(length) {
                match item.integer() {
                    Some(node) => *end = node,
                    None => {
                        readable = false;
                        let expected = "expected the number of a node, an integer of at least 0";
                        let place = format_args!("/{key}/{index}/{length}");
                        document.complain(place, format_args!("{expected}, found {item}"));
                    }
                }
            }
            length += 1;
        }
        if length != 2 {
            readable = false;
            let place = format_args!("/{key}/{index}");
            document.complain(place, format_args!("expected a pair of node numbers, found an array of {length}"));
        }
        Ok(if readable { ends.into() } else { UNREADABLE })
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<(u64, u64), A::Error> {
        let Self { document, edges } = self;
        let (list, index) = (edges.key, edges.ends.len());
        edges.first_object.get_or_insert(index);
        let mut ends: [Option<u32>; 2] = [None; 2];
        let mut seen = [false; 2];
        while let Some(Key(key)) = object.next_key()? {
            let end = match &*key {
                "source" => 0,
                "target" => 1,
                "directed" => {
                    document.directed |= object.next_value_seed(Read(Anything))? == Item::Bool(true);
                    continue;
                }
                _ => {
                    object.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            seen[end] = true;
            let item = object.next_value_seed(Read(Anything))?;
            let found = matches!(item, Item::Array | Item::Object).then(|| item.to_string());
            ends[end] = item.into_name().map(|name| document.intern(name));
            if let Some(found) = found {
                let place = format_args!("/{list}/{index}/{key}");
                document.complain(place, format_args!("expected the id of a node, found {found}"));
            }
        }
        for (name, seen) in ["source", "target"].into_iter().zip(seen) {
            if !seen {
                document.complain(format_args!("/{list}/{index}"), format_args!("the edge has no `{name}`"));
            }
        }
        Ok(match ends {
            [Some(source), Some(target)] => (source.into(), target.into()),
            _ => UNREADABLE,
        })
    }
}

//! A compact binary form of a graph, for the store.
//!
//! | part | bytes |
//! |---|---|
//! | version | one, [`VERSION`] |
//! | nodes | varint of `2 × node_count + (1 if the nodes have labels)` |
//! | edges | for each node `u`, ascending: varint of how many neighbours are above `u`, then a varint for each of them: how many nodes it skips after the one before it (`u` for the first) |
//! | labels | for each node, if there are any: its label as a zig-zag varint |
//!
//! Varints are LEB128, seven bits a byte, low bits first, in their shortest form only. Real graphs number near nodes
//! alike, so most gaps take one byte: about two bytes an edge in all, against ten in JSON.

use thiserror::Error;

use super::{Graph, MAX_ADDRESSABLE_EDGES};

const VERSION: u8 = 1;

#[derive(Debug, Error, PartialEq, Eq)]
#[error("the stored graph is damaged at byte {at}: {detail}")]
pub struct BlobError {
    pub at: usize,
    pub detail: &'static str,
}

/// Encodes a graph; equal graphs give equal bytes.
#[must_use]
pub fn encode(graph: &Graph) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(8 + 2 * graph.node_count() + 2 * graph.edge_count());
    bytes.push(VERSION);
    write_varint(&mut bytes, 2 * graph.node_count() as u64 + u64::from(graph.labels.is_some()));
    for node in graph.nodes() {
        let larger = graph.larger_neighbours(node);
        write_varint(&mut bytes, larger.len() as u64);
        let mut previous = node;
        for &neighbour in larger {
            write_varint(&mut bytes, u64::from(neighbour - previous - 1));
            previous = neighbour;
        }
    }
    for &label in graph.labels.iter().flatten() {
        write_varint(&mut bytes, zigzag(label));
    }
    bytes
}

/// Reads a graph back. The bytes are not trusted: no number in them is believed before the bytes that it speaks of are
/// seen to be there, so that memory stays in proportion to the input.
///
/// # Errors
/// When the bytes are not exactly what [`encode`] writes.
pub fn decode(bytes: &[u8]) -> Result<Graph, BlobError> {
    let mut reader = Reader { bytes, at: 0 };
    if reader.byte()? != VERSION {
        return Err(BlobError { at: 0, detail: "an unknown version" });
    }
    let header_at = reader.at;
    let header = reader.varint()?;
    let labelled = header % 2 == 1;
    // Every node takes at least one byte.
    let nodes = usize::try_from(header / 2)
        .ok()
        .filter(|&nodes| nodes <= reader.remaining() && u32::try_from(nodes).is_ok())
        .ok_or(BlobError { at: header_at, detail: "more nodes than bytes" })?;
    if nodes == 0 {
        return Err(BlobError { at: header_at, detail: "no nodes" });
    }
    let edges = read_edges(&mut reader, nodes as u32)?;
    let labels = labelled.then(|| (0..nodes).map(|_| reader.varint().map(unzigzag)).collect()).transpose()?;
    if reader.remaining() > 0 {
        return Err(reader.damaged("bytes after the end"));
    }
    Ok(Graph::from_sorted_edges(nodes, &edges, labels))
}

/// The edges of all nodes: `a < b`, ascending, distinct, by the way they are written.
fn read_edges(reader: &mut Reader, nodes: u32) -> Result<Vec<(u32, u32)>, BlobError> {
    let mut edges = Vec::new();
    for node in 0..nodes {
        let mut previous = node;
        for _ in 0..reader.varint()? {
            let at = reader.at;
            let gap = reader.varint()?;
            let neighbour = u64::from(previous)
                .checked_add(gap)
                .and_then(|sum| u32::try_from(sum).ok()?.checked_add(1))
                .filter(|&neighbour| neighbour < nodes)
                .ok_or(BlobError { at, detail: "an edge to a node that is not there" })?;
            if edges.len() == MAX_ADDRESSABLE_EDGES {
                return Err(BlobError { at, detail: "too many edges" });
            }
            edges.push((node, neighbour));
            previous = neighbour;
        }
    }
    Ok(edges)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    const fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    const fn damaged(&self, detail: &'static str) -> BlobError {
        BlobError { at: self.at, detail }
    }

    fn byte(&mut self) -> Result<u8, BlobError> {
        let byte = *self.bytes.get(self.at).ok_or(self.damaged("it ends early"))?;
        self.at += 1;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<u64, BlobError> {
        let start = self.at;
        let mut value = 0_u64;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let low = u64::from(byte & 0x7f);
            if low << shift >> shift != low {
                return Err(BlobError { at: start, detail: "a number over 64 bits" });
            }
            value |= low << shift;
            if byte & 0x80 == 0 {
                // One graph has one encoding, so a longer way to write the same number is damage.
                let shortest = byte != 0 || shift == 0;
                return if shortest { Ok(value) } else { Err(BlobError { at: start, detail: "a padded number" }) };
            }
        }
        Err(BlobError { at: start, detail: "a number over 64 bits" })
    }
}

fn write_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// Signed to unsigned so that small magnitudes stay small: 0, -1, 1, -2, … become 0, 1, 2, 3, …
const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::graph::testing::{any_graph, random_graph};

    fn json_size(graph: &Graph) -> usize {
        let edges: Vec<_> = graph.edges().map(|(a, b)| [a, b]).collect();
        serde_json::json!({"nodes": graph.node_count(), "edges": edges, "node_labels": graph.labels()})
            .to_string()
            .len()
    }

    fn assert_ratio(name: &str, graph: &Graph, at_least: f64) {
        let (json, blob) = (json_size(graph), encode(graph).len());
        let ratio = json as f64 / blob as f64;
        println!(
            "{name}: {} nodes, {} edges, JSON {json} bytes, blob {blob}, {ratio:.2} times smaller",
            graph.node_count(),
            graph.edge_count()
        );
        assert!(ratio >= at_least, "{name}: only {ratio:.2} times smaller than JSON");
    }

    #[test]
    fn is_several_times_smaller_than_json() {
        // Sizes and degrees like those of DD's median graph, and numbered at random: the worst case for gaps.
        assert_ratio("like DD", &random_graph(311, 780, 1), 4.0);
        assert_ratio("like DD's largest", &random_graph(5_748, 14_267, 2), 4.0);
        assert_ratio("like AIDS", &random_graph(16, 17, 3), 3.0);
        assert_ratio("like an IMDB-MULTI clique", &random_graph(13, 78, 4), 5.0);
        let labels = (0..311).map(|node| node % 20).collect();
        let labelled = Graph { labels: Some(labels), ..random_graph(311, 780, 1) };
        assert_ratio("like DD, labelled", &labelled, 3.5);
    }

    #[test]
    fn the_layout_is_fixed() {
        let triangle_and_one =
            Graph { labels: Some(vec![0, -1, 1, 300]), ..Graph::from_sorted_edges(4, &[(0, 1), (0, 2), (1, 2)], None) };
        assert_eq!(encode(&triangle_and_one), [1, 9, 2, 0, 0, 1, 0, 0, 0, 0, 1, 2, 0xd8, 4]);
    }

    #[test]
    fn says_where_and_what_is_damaged() {
        let error = |bytes: &[u8]| decode(bytes).unwrap_err();
        assert_eq!(error(&[]), BlobError { at: 0, detail: "it ends early" });
        assert_eq!(error(&[9, 2, 0]), BlobError { at: 0, detail: "an unknown version" });
        assert_eq!(error(&[1, 0]), BlobError { at: 1, detail: "no nodes" });
        let a_billion_nodes = [1, 0x80, 0xa8, 0xd6, 0xb9, 0x07];
        assert_eq!(error(&a_billion_nodes), BlobError { at: 1, detail: "more nodes than bytes" });
        assert_eq!(error(&[1, 4, 1, 1, 0]), BlobError { at: 3, detail: "an edge to a node that is not there" });
        assert_eq!(error(&[1, 2, 0x80, 0]), BlobError { at: 2, detail: "a padded number" });
        assert_eq!(error(&[1, 2, 0, 0]), BlobError { at: 3, detail: "bytes after the end" });
        let mut overlong = vec![1, 2];
        overlong.extend([0xff; 10]);
        assert_eq!(error(&overlong), BlobError { at: 2, detail: "a number over 64 bits" });
    }

    proptest! {
        #[test]
        fn round_trips(graph in any_graph(40)) {
            prop_assert_eq!(decode(&encode(&graph)), Ok(graph));
        }

        #[test]
        fn zigzag_round_trips(value: i64) {
            prop_assert_eq!(unzigzag(zigzag(value)), value);
        }

        #[test]
        fn any_bytes_give_an_error_or_a_graph_with_these_bytes(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(graph) = decode(&bytes) {
                prop_assert_eq!(encode(&graph), bytes);
            }
        }

        #[test]
        fn damaged_bytes_give_an_error_or_a_graph_with_these_bytes(
            graph in any_graph(20),
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            cut in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let mut bytes = encode(&graph);
            for (place, byte) in edits {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            if let Ok(graph) = decode(&bytes) {
                prop_assert_eq!(encode(&graph), bytes);
            }
        }
    }
}

//! Graphs in random breadth-first orderings.

use anyhow::Result;
use graphkin::graph::Graph;
use graphkin::graph::order::random_bfs_order;
use graphkin::model::sequence::Sequence;
use graphkin::nn::seed::stream;
use serde_json::{Value, json};

use crate::case::CaseFile;
use crate::family::SEED;

/// A graph with its orderings.
pub(crate) type Ordered = (Graph, Vec<Vec<u32>>);

/// Each graph with the orderings that the service would draw under the seed.
pub(crate) fn draw(graphs: Vec<Graph>, orderings: usize) -> Vec<Ordered> {
    let draw = |graph: Graph| {
        let order = |index| random_bfs_order(&graph, &mut stream(SEED, "orderings", index));
        let orders = (0..orderings as u64).map(order).collect();
        (graph, orders)
    };
    graphs.into_iter().map(draw).collect()
}

pub(crate) fn sequences((graph, orders): &Ordered) -> Vec<Sequence> {
    told(graph, orders)
}

/// The graph in each of the orderings.
pub(crate) fn told(graph: &Graph, orders: &[Vec<u32>]) -> Vec<Sequence> {
    orders.iter().map(|order| Sequence::new(graph, order.clone())).collect()
}

/// A file that tells of them; each graph has `orderings`.
pub(crate) fn file(mut about: Value, orderings: usize, ordered: &[Ordered]) -> Result<CaseFile> {
    about["orderings"] = json!(orderings);
    let mut file = CaseFile::new(about);
    file.graphs(ordered.iter().map(|(graph, _)| graph))?;
    let positions = ordered.iter().flat_map(|(_, orders)| orders).flatten();
    file.integers("orders", positions.copied().map(i64::from))?;
    Ok(file)
}

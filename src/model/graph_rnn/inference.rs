//! The network without autograd: weights packed, all orderings of a graph advanced together.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;

use candle_core::{Result, Tensor};

use super::network::GraphRnnNetwork;
use super::rows::{Rows, openness};
use super::{Shape, Variant};
use crate::graph::Graph;
use crate::model::Mode;
use crate::model::likelihood::{FarEdges, OrderingLikelihood, Terms};
use crate::model::sequence::Sequence;
use crate::nn::gru::PackedGru;
use crate::nn::loss::binary_cross_entropy;
use crate::nn::packed::{Affine, check_weights, relu};

/// Rows computed at once, over all orderings: what bounds the memory, whatever the graph.
const ROWS_AT_ONCE: usize = 2_048;

/// A trained GraphRNN.
#[derive(Debug, Clone)]
pub struct GraphRnnModel {
    shape: Shape,
    /// As trained and stored; the fields below are packed for use.
    weights: BTreeMap<String, Tensor>,
    far: FarEdges,
    input: Affine,
    graph_level: Vec<PackedGru>,
    output: Output,
    stop: Option<Mlp>,
}

#[derive(Debug, Clone)]
enum Output {
    Independent(Mlp),
    Dependent(EdgeLevel),
}

/// The edge-level RNN.
#[derive(Debug, Clone)]
struct EdgeLevel {
    start: Mlp,
    /// `[2, 3 H']`: the first layer's gates of either bit.
    bits: Vec<f32>,
    layers: Vec<PackedGru>,
    head: Mlp,
}

#[derive(Debug, Clone)]
struct Mlp {
    first: Affine,
    second: Affine,
}

impl Mlp {
    fn new(weights: &BTreeMap<String, Tensor>, name: &str) -> Result<Self> {
        let affine = |part: &str| Affine::new(weights, &format!("{name}.{part}"));
        Ok(Self { first: affine("first")?, second: affine("second")? })
    }

    fn forward_into(&self, x: &[f32], hidden: &mut Vec<f32>, y: &mut Vec<f32>) {
        self.first.forward_into(x, hidden);
        relu(hidden);
        self.second.forward_into(hidden, y);
    }
}

impl GraphRnnModel {
    /// # Errors
    /// When a parameter is missing, unknown, or of another shape than `shape` says.
    pub fn new(shape: Shape, weights: BTreeMap<String, Tensor>) -> Result<Self> {
        check_weights(&weights, &[FarEdges::BUFFER], |vb| GraphRnnNetwork::new(&shape, vb))?;
        let layers = |name: &str| {
            (0..shape.layers)
                .map(|layer| PackedGru::new(&weights, &format!("{name}.{layer}")))
                .collect::<Result<Vec<_>>>()
        };
        let output = match shape.variant {
            Variant::Mlp => Output::Independent(Mlp::new(&weights, "slots")?),
            Variant::Rnn => {
                let layers = layers("edge_level")?;
                let mut bits = Affine::new(&weights, "edge_input")?.forward(&[0.0, 1.0]);
                relu(&mut bits);
                Output::Dependent(EdgeLevel {
                    start: Mlp::new(&weights, "edge_start")?,
                    bits: layers[0].input.forward(&bits),
                    layers,
                    head: Mlp::new(&weights, "slots")?,
                })
            }
        };
        Ok(Self {
            shape,
            far: FarEdges::of_weights(&weights)?,
            input: Affine::new(&weights, "input")?,
            graph_level: layers("graph_level")?,
            output,
            stop: (shape.mode == Mode::Proper).then(|| Mlp::new(&weights, "stop")).transpose()?,
            weights,
        })
    }

    #[must_use]
    pub fn weights(&self) -> &BTreeMap<String, Tensor> {
        &self.weights
    }

    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The likelihood of the graph in each of `orders`, breadth-first orderings of it. `terms` gets what each is the sum of.
    pub fn likelihoods<T: Terms>(&self, graph: &Graph, orders: &[Vec<u32>], terms: &mut T) -> Vec<OrderingLikelihood> {
        let sequences: Vec<Sequence> = orders.iter().map(|order| Sequence::new(graph, order.clone())).collect();
        let orderings: Vec<(&Sequence, Rows)> =
            sequences.iter().map(|sequence| (sequence, Rows::new(sequence, &self.shape))).collect();
        let mut tally =
            Tally { mode: self.shape.mode, likelihoods: vec![OrderingLikelihood::default(); orders.len()], terms };
        for (ordering, (sequence, rows)) in orderings.iter().enumerate() {
            self.charge_far(ordering, sequence, rows, &mut tally);
        }
        let n = graph.node_count();
        let mut states: Vec<Vec<f32>> = vec![vec![0.0; orders.len() * self.shape.hidden_dim]; self.shape.layers];
        let mut buffers = Buffers::default();
        let at_once = (ROWS_AT_ONCE / orders.len().max(1)).max(1);
        for first in (0..n).step_by(at_once) {
            let chunk = Chunk { orderings: &orderings, range: first..(first + at_once).min(n) };
            self.advance(&chunk, &mut states, &mut buffers);
            if let Some(stop) = &self.stop {
                stop.forward_into(&buffers.rows, &mut buffers.hidden, &mut buffers.logits);
                for (place, &logit) in buffers.logits.iter().enumerate() {
                    let (ordering, index) = chunk.row(place);
                    tally.stop(ordering, &orderings[ordering], index, f64::from(logit));
                }
            }
            match &self.output {
                Output::Independent(mlp) => self.independent(mlp, &chunk, &mut buffers, &mut tally),
                Output::Dependent(edge_level) => self.dependent(edge_level, &chunk, &mut buffers, &mut tally),
            }
        }
        tally.likelihoods
    }

    /// Charges what is out of reach in mode `proper`, and counts it in either.
    fn charge_far<T: Terms>(&self, ordering: usize, sequence: &Sequence, rows: &Rows, tally: &mut Tally<'_, T>) {
        let likelihood = &mut tally.likelihoods[ordering];
        likelihood.lost_nodes = rows.lost_nodes() as u64;
        for index in 0..rows.predicted(self.shape.mode) {
            let (slots, edges) = rows.far(index);
            likelihood.far_edges += edges;
            if self.shape.mode == Mode::Faithful || slots == 0 {
                continue;
            }
            likelihood.out_of_reach += self.far.cost(edges, slots);
            let position = index + 1;
            for &link in &sequence.row(position)[..edges as usize] {
                let nodes = (sequence.node(position), sequence.node(link as usize));
                tally.terms.slot(ordering, nodes, true, self.far.edge_cost());
            }
            tally.terms.node(ordering, sequence.node(position), self.far.cost(0, slots - edges));
        }
    }

    /// The graph-level RNN over a chunk's rows; their states `[rows, H]` to `buffers.rows`.
    fn advance(&self, chunk: &Chunk<'_>, states: &mut [Vec<f32>], buffers: &mut Buffers) {
        let (h, m) = (self.shape.hidden_dim, self.shape.max_prev_node);
        buffers.rows.clear();
        for place in 0..chunk.len() {
            let (ordering, index) = chunk.row(place);
            let rows = &chunk.orderings[ordering].1;
            let start = buffers.rows.len();
            buffers.rows.extend_from_slice(&self.input.bias);
            let embedded = &mut buffers.rows[start..];
            let mut add = |column: usize, factor: f32| {
                embedded.iter_mut().zip(self.input.row(column)).for_each(|(x, w)| *x += factor * w);
            };
            match index.checked_sub(1) {
                None => (0..m).for_each(|slot| add(slot, 1.0)),
                Some(before) => rows.ones(before).iter().for_each(|&slot| add(slot as usize, 1.0)),
            }
            if self.shape.mode == Mode::Proper {
                add(m, openness(rows, index, &self.shape));
            }
            relu(embedded);
        }
        let together = chunk.orderings.len();
        for (layer, state) in self.graph_level.iter().zip(states) {
            layer.input.forward_into(&buffers.rows, &mut buffers.hidden);
            buffers.rows.clear();
            for gates in buffers.hidden.chunks_exact(together * 3 * h) {
                layer.step(gates, state, &mut buffers.scratch);
                buffers.rows.extend_from_slice(state);
            }
        }
    }

    /// GraphRNN-S: the slots of each row, independent given its state.
    fn independent<T: Terms>(&self, mlp: &Mlp, chunk: &Chunk<'_>, buffers: &mut Buffers, tally: &mut Tally<'_, T>) {
        mlp.forward_into(&buffers.rows, &mut buffers.hidden, &mut buffers.logits);
        for (place, logits) in buffers.logits.chunks_exact(self.shape.max_prev_node).enumerate() {
            let (ordering, index) = chunk.row(place);
            let told = &chunk.orderings[ordering];
            if index >= told.1.predicted(self.shape.mode) {
                continue;
            }
            let mut ones = told.1.ones(index);
            for (slot, &logit) in logits[..told.1.width(index)].iter().enumerate() {
                let present = take(&mut ones, slot);
                tally.slot(ordering, told, (index, slot), present, f64::from(logit));
            }
        }
    }

    /// GraphRNN: the slots of each row one after another, all rows of the chunk together, the widest first.
    fn dependent<T: Terms>(
        &self,
        edge: &EdgeLevel,
        chunk: &Chunk<'_>,
        buffers: &mut Buffers,
        tally: &mut Tally<'_, T>,
    ) {
        let h = self.shape.edge_hidden_dim;
        edge.start.forward_into(&buffers.rows, &mut buffers.hidden, &mut buffers.logits);
        let mut rows: Vec<EdgeRow<'_>> = (0..chunk.len())
            .filter_map(|place| {
                let (ordering, index) = chunk.row(place);
                let told = &chunk.orderings[ordering].1;
                let row = EdgeRow { place, ordering, index, width: told.width(index), ones: told.ones(index), bit: 1 };
                (index < told.predicted(self.shape.mode)).then_some(row)
            })
            .collect();
        rows.sort_by_key(|row| Reverse(row.width));
        let start = &buffers.logits;
        let mut states: Vec<Vec<f32>> = vec![vec![0.0; rows.len() * h]; edge.layers.len()];
        states[0] = rows.iter().flat_map(|row| &start[row.place * h..(row.place + 1) * h]).copied().collect();
        let mut slot = 0;
        loop {
            let alive = rows.partition_point(|row| row.width > slot);
            if alive == 0 {
                break;
            }
            buffers.hidden.clear();
            for row in &rows[..alive] {
                buffers.hidden.extend_from_slice(&edge.bits[row.bit * 3 * h..(row.bit + 1) * 3 * h]);
            }
            for (index, layer) in edge.layers.iter().enumerate() {
                if let Some(below) = index.checked_sub(1) {
                    layer.input.forward_into(&states[below][..alive * h], &mut buffers.hidden);
                }
                layer.step(&buffers.hidden, &mut states[index][..alive * h], &mut buffers.scratch);
            }
            let top = &states[edge.layers.len() - 1][..alive * h];
            edge.head.forward_into(top, &mut buffers.hidden, &mut buffers.logits);
            for (row, &logit) in rows[..alive].iter_mut().zip(&buffers.logits) {
                let present = take(&mut row.ones, slot);
                let told = &chunk.orderings[row.ordering];
                tally.slot(row.ordering, told, (row.index, slot), present, f64::from(logit));
                row.bit = usize::from(present);
            }
            slot += 1;
        }
    }
}

/// Rows `range` of every ordering: row by row, and within a row ordering by ordering.
struct Chunk<'a> {
    orderings: &'a [(&'a Sequence, Rows)],
    range: Range<usize>,
}

impl Chunk<'_> {
    fn len(&self) -> usize {
        self.range.len() * self.orderings.len()
    }

    /// The ordering and the row's index of a place.
    fn row(&self, place: usize) -> (usize, usize) {
        (place % self.orderings.len(), self.range.start + place / self.orderings.len())
    }
}

/// A row as its slots are gone through.
struct EdgeRow<'a> {
    place: usize,
    ordering: usize,
    index: usize,
    width: usize,
    /// The edges still to come.
    ones: &'a [u32],
    /// The bit of the slot before; 1 at first.
    bit: usize,
}

/// Whether `slot` is the next of `ones`, which is then taken.
fn take(ones: &mut &[u32], slot: usize) -> bool {
    match ones.split_first() {
        Some((&next, rest)) if next as usize == slot => {
            *ones = rest;
            true
        }
        _ => false,
    }
}

#[derive(Default)]
struct Buffers {
    rows: Vec<f32>,
    hidden: Vec<f32>,
    logits: Vec<f32>,
    scratch: Vec<f32>,
}

/// Adds up what the slots and stops cost.
struct Tally<'a, T> {
    mode: Mode,
    likelihoods: Vec<OrderingLikelihood>,
    terms: &'a mut T,
}

impl<T: Terms> Tally<'_, T> {
    fn slot(
        &mut self,
        ordering: usize,
        (sequence, rows): &(&Sequence, Rows),
        (index, slot): (usize, usize),
        present: bool,
        logit: f64,
    ) {
        let cost = binary_cross_entropy(logit, present);
        let likelihood = &mut self.likelihoods[ordering];
        likelihood.slots += 1;
        // In mode `faithful` the empty rows behind the last node say where the sequence ends.
        let told = rows.count() - rows.lost_nodes();
        if self.mode == Mode::Faithful && index + 1 >= told {
            likelihood.stop += cost;
            self.terms.node(ordering, sequence.node(told - 1), cost);
        } else {
            likelihood.rows += cost;
            self.terms.slot(ordering, (sequence.node(index + 1), sequence.node(index - slot)), present, cost);
        }
    }

    fn stop(&mut self, ordering: usize, (sequence, rows): &(&Sequence, Rows), index: usize, logit: f64) {
        let cost = binary_cross_entropy(logit, index + 1 == rows.count());
        self.likelihoods[ordering].stop += cost;
        self.terms.node(ordering, sequence.node(index), cost);
    }
}

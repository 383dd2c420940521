//! The network without autograd: weights packed, the orderings of all graphs advanced together.
//!
//! Sequences are lanes ([`crate::nn::lanes`]), sixteen a tile, the longest first. The graph-level RNN takes a tile through
//! some rows; the slots of those rows, of all its sequences, are then gone through in tiles of their own, the widest first.
//! What a sequence costs is the same bits whatever stands beside it.

mod graph_level;
mod placed;
mod slots;
mod tally;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use candle_core::{Result, Tensor};
use pulp::Arch;

use super::Shape;
use super::network::GraphRnnNetwork;
use super::rows::Rows;
use crate::model::likelihood::{FarEdges, OrderingLikelihood, Terms};
use crate::model::sequence::Sequence;
use crate::nn::lanes::LANES;
use crate::nn::packed::check_weights;
use graph_level::GraphLevel;
pub use placed::PlacedGraphRnn;
use slots::{SlotBuffers, SlotLevel, SlotRow};
use tally::Tally;

/// Rows of each sequence computed at once: what bounds the memory, whatever the graph.
const ROWS_AT_ONCE: usize = 128;

/// A trained GraphRNN.
#[derive(Debug, Clone)]
pub struct GraphRnnModel {
    shape: Shape,
    /// As trained and stored; the rest is packed for use.
    weights: BTreeMap<String, Tensor>,
    far: FarEdges,
    graph_level: GraphLevel,
    slot_level: SlotLevel,
}

/// A sequence and its rows.
struct Told<'a> {
    sequence: &'a Sequence,
    rows: Rows,
}

impl GraphRnnModel {
    /// # Errors
    /// When a parameter is missing, unknown, or of another shape than `shape` says.
    pub fn new(shape: Shape, weights: BTreeMap<String, Tensor>) -> Result<Self> {
        check_weights(&weights, &[FarEdges::BUFFER], |vb| GraphRnnNetwork::new(&shape, vb))?;
        Ok(Self {
            shape,
            far: FarEdges::of_weights(&weights)?,
            graph_level: GraphLevel::new(shape, &weights)?,
            slot_level: SlotLevel::new(&shape, &weights)?,
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

    /// The likelihood of each sequence. `terms` gets what each is the sum of.
    pub fn likelihoods<T: Terms>(&self, sequences: &[Sequence], terms: &mut T) -> Vec<OrderingLikelihood> {
        let told: Vec<Told<'_>> =
            sequences.iter().map(|sequence| Told { sequence, rows: Rows::new(sequence, &self.shape) }).collect();
        let mut tally = Tally::new(self.shape.mode, &told, terms);
        tally.charge_far(&self.far);
        let mut longest_first: Vec<usize> = (0..told.len()).collect();
        longest_first.sort_by_key(|&index| Reverse(told[index].rows.count()));
        let arch = Arch::new();
        let (mut outputs, mut rows, mut buffers) =
            (graph_level::Outputs::default(), Vec::new(), SlotBuffers::default());
        for members in longest_first.chunks(LANES) {
            let lanes: Vec<&Rows> = members.iter().map(|&index| &told[index].rows).collect();
            let longest = lanes.first().map_or(0, |rows| rows.count());
            let mut states = self.graph_level.start();
            for first in (0..longest).step_by(ROWS_AT_ONCE) {
                let range = first..(first + ROWS_AT_ONCE).min(longest);
                self.graph_level.advance(arch, &lanes, range.clone(), &mut states, &mut outputs);
                tally.begin(members, range.clone(), &outputs.stops);
                self.list_slots(&lanes, range, &mut rows);
                for tile in rows.chunks(LANES) {
                    self.slot_level.costs(arch, tile, &outputs.features, &mut buffers);
                    for (lane, row) in tile.iter().enumerate() {
                        tally.charge_row(row, buffers.costs_of(lane, row.width));
                    }
                }
                tally.end();
            }
        }
        tally.likelihoods()
    }

    /// The rows of a tile in `range` that have slots, the widest first.
    fn list_slots<'a>(&self, lanes: &[&'a Rows], range: std::ops::Range<usize>, rows: &mut Vec<SlotRow<'a>>) {
        rows.clear();
        for (lane, told) in lanes.iter().enumerate() {
            for index in range.start..range.end.min(told.predicted(self.shape.mode)) {
                let width = told.width(index);
                if width > 0 {
                    rows.push(SlotRow { place: (index - range.start) * LANES + lane, width, ones: told.ones(index) });
                }
            }
        }
        rows.sort_by_key(|row| Reverse(row.width));
    }
}

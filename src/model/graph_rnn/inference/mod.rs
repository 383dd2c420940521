//! The network without autograd: weights packed, the orderings of all graphs advanced together.
//!
//! The graph-level RNN takes a group of sequences, the longest first, through some rows, as products of their states with its
//! weights; the slots of those rows, of all its sequences, are lanes ([`crate::nn::lanes`]) of tiles, the widest first.
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
use crate::model::workspace;
use crate::nn::lanes::LANES;
use crate::nn::packed::check_weights;
use graph_level::{GraphLevel, Group};
pub use placed::PlacedGraphRnn;
use slots::{SlotBuffers, SlotLevel, SlotRow};
use tally::Tally;

/// Rows of each sequence computed at once, and sequences of a group: what bounds the memory, whatever the graphs.
const ROWS_AT_ONCE: usize = 128;
const GROUP: usize = 24;

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

thread_local! {
    static WORKSPACE: workspace::Kept<Workspace> = const { workspace::Kept::new(None) };
}

/// Room for groups of sequences on their way.
#[derive(Debug, Default)]
struct Workspace {
    group: Group,
    buffers: SlotBuffers,
}

impl workspace::Workspace for Workspace {
    fn bytes(&self) -> usize {
        // What is larger than a step of a group or a tile of rows.
        (self.group.features.capacity() + self.group.stops.capacity()) * size_of::<f32>()
    }
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
        WORKSPACE.with(|kept| workspace::with(kept, |workspace| self.likelihoods_in(sequences, workspace, terms)))
    }

    fn likelihoods_in<T: Terms>(
        &self,
        sequences: &[Sequence],
        Workspace { group, buffers }: &mut Workspace,
        terms: &mut T,
    ) -> Vec<OrderingLikelihood> {
        let told: Vec<Told<'_>> =
            sequences.iter().map(|sequence| Told { sequence, rows: Rows::new(sequence, &self.shape) }).collect();
        let mut tally = Tally::new(self.shape.mode, &told, terms);
        tally.charge_far(&self.far);
        let mut longest_first: Vec<usize> = (0..told.len()).collect();
        longest_first.sort_by_key(|&index| Reverse(told[index].rows.count()));
        let arch = Arch::new();
        let mut slots = Vec::new();
        for members in longest_first.chunks(GROUP) {
            let rows: Vec<&Rows> = members.iter().map(|&index| &told[index].rows).collect();
            let longest = rows.first().map_or(0, |rows| rows.count());
            self.graph_level.start(rows.len(), group);
            for first in (0..longest).step_by(ROWS_AT_ONCE) {
                let range = first..(first + ROWS_AT_ONCE).min(longest);
                self.graph_level.advance(&rows, range.clone(), group);
                tally.begin(members, range.clone(), &group.stops);
                self.list_slots(&rows, range, &mut slots);
                for tile in slots.chunks(LANES) {
                    self.slot_level.costs(arch, tile, &group.features, buffers);
                    for (lane, row) in tile.iter().enumerate() {
                        tally.charge_row(row, buffers.costs_of(lane, row.width));
                    }
                }
                tally.end();
            }
        }
        tally.likelihoods()
    }

    /// The rows of a group in `range` that have slots, the widest first.
    fn list_slots<'a>(&self, group: &[&'a Rows], range: std::ops::Range<usize>, slots: &mut Vec<SlotRow<'a>>) {
        slots.clear();
        for (member, told) in group.iter().enumerate() {
            for index in range.start..range.end.min(told.predicted(self.shape.mode)) {
                let width = told.width(index);
                if width > 0 {
                    let place = (index - range.start) * group.len() + member;
                    slots.push(SlotRow { place, width, ones: told.ones(index) });
                }
            }
        }
        slots.sort_by_key(|row| Reverse(row.width));
    }
}

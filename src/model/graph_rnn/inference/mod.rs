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
use std::ops::Range;

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

/// Room for sequences, of which a group is on its way.
#[derive(Debug, Default)]
struct Workspace {
    rows: Vec<Rows>,
    longest_first: Vec<usize>,
    group: Group,
    slots: Vec<SlotRow>,
    buffers: SlotBuffers,
    costs: Vec<f64>,
}

impl workspace::Workspace for Workspace {
    fn bytes(&self) -> usize {
        // What is larger than a step of a group or a tile of rows.
        self.rows.iter().map(Rows::bytes).sum::<usize>()
            + (self.group.features.capacity() + self.group.stops.capacity()) * size_of::<f32>()
    }
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
        workspace: &mut Workspace,
        terms: &mut T,
    ) -> Vec<OrderingLikelihood> {
        let Workspace { rows, longest_first, group, slots, buffers, costs } = workspace;
        if rows.len() < sequences.len() {
            rows.resize_with(sequences.len(), Rows::default);
        }
        rows.iter_mut().zip(sequences).for_each(|(rows, sequence)| rows.read(sequence, &self.shape));
        let rows = &rows[..sequences.len()];
        let mut tally = Tally::new(self.shape.mode, sequences, rows, terms, costs);
        tally.charge_far(&self.far);
        order_by_length(rows, longest_first);
        let arch = Arch::new();
        for members in longest_first.chunks(GROUP) {
            let longest = rows[members[0]].count();
            self.graph_level.start(members.len(), group);
            for first in (0..longest).step_by(ROWS_AT_ONCE) {
                let range = first..(first + ROWS_AT_ONCE).min(longest);
                self.graph_level.advance(rows, members, range.clone(), group);
                tally.begin(members, range.clone(), &group.stops);
                self.list_slots(rows, members, range, slots);
                for tile in slots.chunks(LANES) {
                    self.slot_level.costs(arch, tile, rows, &group.features, buffers);
                    for (lane, row) in tile.iter().enumerate() {
                        tally.charge_row(row, buffers.costs_of(lane, row.width));
                    }
                }
                tally.end();
            }
        }
        tally.likelihoods()
    }

    /// The rows of the sequences `members` in `range` that have slots, the widest first.
    fn list_slots(&self, rows: &[Rows], members: &[usize], range: Range<usize>, slots: &mut Vec<SlotRow>) {
        slots.clear();
        for (member, &sequence) in members.iter().enumerate() {
            let of_member = &rows[sequence];
            for index in range.start..range.end.min(of_member.predicted(self.shape.mode)) {
                let width = of_member.width(index);
                if width > 0 {
                    let place = (index - range.start) * members.len() + member;
                    slots.push(SlotRow { place, width, sequence, index });
                }
            }
        }
        slots.sort_unstable_by_key(|row| (Reverse(row.width), row.sequence, row.index));
    }
}

/// The numbers of sequences, the longest first, to `order`.
fn order_by_length(rows: &[Rows], order: &mut Vec<usize>) {
    order.clear();
    order.extend(0..rows.len());
    order.sort_unstable_by_key(|&index| (Reverse(rows[index].count()), index));
}

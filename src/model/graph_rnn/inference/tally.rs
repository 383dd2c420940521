//! Adds up what slots and stops cost, in an order that depends on the sequence alone.

use std::ops::Range;

use super::super::rows::Rows;
use super::slots::SlotRow;
use crate::model::Mode;
use crate::model::likelihood::{FarEdges, OrderingLikelihood, Terms};
use crate::model::sequence::Sequence;

/// The likelihoods of sequences as they come together, chunk by chunk.
pub(super) struct Tally<'a, T> {
    mode: Mode,
    sequences: &'a [Sequence],
    rows: &'a [Rows],
    terms: &'a mut T,
    likelihoods: Vec<OrderingLikelihood>,
    /// The sequences of the chunk at hand, and its rows.
    members: &'a [usize],
    range: Range<usize>,
    /// `[rows, members]` in nats: rows come in by width, and are added up by index.
    costs: &'a mut Vec<f64>,
}

impl<'a, T: Terms> Tally<'a, T> {
    /// Of sequences and the rows of each; `costs` is room.
    pub(super) fn new(
        mode: Mode,
        sequences: &'a [Sequence],
        rows: &'a [Rows],
        terms: &'a mut T,
        costs: &'a mut Vec<f64>,
    ) -> Self {
        let likelihoods = vec![OrderingLikelihood::default(); sequences.len()];
        Self { mode, sequences, rows, terms, likelihoods, members: &[], range: 0..0, costs }
    }

    pub(super) fn likelihoods(self) -> Vec<OrderingLikelihood> {
        self.likelihoods
    }

    /// Charges what is out of reach in mode `proper`, and counts it in either.
    pub(super) fn charge_far(&mut self, far: &FarEdges) {
        let told = self.sequences.iter().zip(self.rows);
        for (ordering, ((sequence, rows), likelihood)) in told.zip(&mut self.likelihoods).enumerate() {
            likelihood.lost_nodes = rows.lost_nodes() as u64;
            for index in 0..rows.predicted(self.mode) {
                let (slots, edges) = rows.far(index);
                likelihood.far_edges += edges;
                if self.mode == Mode::Faithful || slots == 0 {
                    continue;
                }
                likelihood.out_of_reach += far.cost(edges, slots);
                let position = index + 1;
                for &link in &sequence.row(position)[..edges as usize] {
                    let nodes = (sequence.node(position), sequence.node(link as usize));
                    self.terms.slot(ordering, nodes, true, far.edge_cost());
                }
                self.terms.node(ordering, sequence.node(position), far.cost(0, slots - edges));
            }
        }
    }

    /// Begins with the rows `range` of the sequences `members`, and charges their stops `[rows, members]`.
    pub(super) fn begin(&mut self, members: &'a [usize], range: Range<usize>, stops: &[f32]) {
        self.members = members;
        self.costs.clear();
        self.costs.resize(range.len() * members.len(), 0.0);
        for (index, stops) in range.clone().zip(stops.chunks_exact(members.len())) {
            for (&ordering, &cost) in members.iter().zip(stops) {
                if index < self.rows[ordering].count() {
                    self.likelihoods[ordering].stop += f64::from(cost);
                    self.terms.node(ordering, self.sequences[ordering].node(index), f64::from(cost));
                }
            }
        }
        self.range = range;
    }

    /// Charges the slots of a row.
    pub(super) fn charge_row(&mut self, row: &SlotRow, costs: impl Iterator<Item = f64> + Clone) {
        self.costs[row.place] = costs.clone().sum();
        if !T::WANTED {
            return;
        }
        let (ordering, index) = (row.sequence, row.index);
        let sequence = &self.sequences[ordering];
        let mut ones = self.rows[ordering].ones(index);
        for (slot, cost) in costs.enumerate() {
            let present = ones.first().is_some_and(|&one| one as usize == slot);
            ones = &ones[usize::from(present)..];
            if let Some(last) = self.ending(ordering, index) {
                self.terms.node(ordering, last, cost);
            } else {
                self.terms.slot(ordering, (sequence.node(index + 1), sequence.node(index - slot)), present, cost);
            }
        }
    }

    /// Adds up the rows of the chunk.
    pub(super) fn end(&mut self) {
        for (member, &ordering) in self.members.iter().enumerate() {
            let rows = &self.rows[ordering];
            for index in self.range.start..self.range.end.min(rows.predicted(self.mode)) {
                let cost = self.costs[(index - self.range.start) * self.members.len() + member];
                let ends = self.ending(ordering, index).is_some();
                let likelihood = &mut self.likelihoods[ordering];
                likelihood.slots += rows.width(index) as u64;
                *(if ends { &mut likelihood.stop } else { &mut likelihood.rows }) += cost;
            }
        }
    }

    /// In mode `faithful` the empty rows behind the last node told say where the sequence ends: that node, for such a row.
    fn ending(&self, ordering: usize, index: usize) -> Option<u32> {
        let rows = &self.rows[ordering];
        let told = rows.count() - rows.lost_nodes();
        (self.mode == Mode::Faithful && index + 1 >= told).then(|| self.sequences[ordering].node(told - 1))
    }
}

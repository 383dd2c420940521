//! Rows of several graphs packed for the differentiable network.

use std::cmp::Reverse;
use std::sync::Arc;

use rand::Rng;
use rand::seq::index;

use super::rows::{Rows, input_dim, openness};
use super::{Shape, Variant};
use crate::model::Mode;
use crate::nn::gru::Steps;

/// A batch. Rows stand step by step, the longest graph first ([`Steps`]).
#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub(super) graphs: usize,
    pub(super) steps: Arc<Steps>,
    /// `[S, M]`, or `[S, M + 1]` in mode `proper`.
    pub(super) inputs: Vec<f32>,
    /// `[S]`: 1 where the sequence ends.
    pub(super) stops: Vec<f32>,
    pub(super) slots: Slots,
    /// What the loss is divided by, beside the sums that are computed.
    pub(super) divisor: f64,
}

impl Batch {
    /// The places, among the rows of all graphs step by step, of the rows whose slots an edge-level RNN goes through.
    #[must_use]
    pub fn told_rows(&self) -> Option<&[u32]> {
        match &self.slots {
            Slots::Independent { .. } => None,
            Slots::Dependent(slots) => Some(&slots.rows),
        }
    }
}

/// The slots that the loss is over.
#[derive(Debug, Clone)]
pub(super) enum Slots {
    /// Of an output MLP: `[S, M]` targets, and weights that are 0 where there is no slot.
    Independent { targets: Vec<f32>, weights: Vec<f32> },
    /// Of an edge-level RNN.
    Dependent(DependentSlots),
}

impl Default for Slots {
    fn default() -> Self {
        Self::Independent { targets: Vec::new(), weights: Vec::new() }
    }
}

/// The slots of chosen rows, slot by slot, the widest row first.
#[derive(Debug, Clone, Default)]
pub(super) struct DependentSlots {
    /// The place among the S rows of each row chosen.
    pub(super) rows: Vec<u32>,
    pub(super) steps: Arc<Steps>,
    /// The bit before each slot: 1 before the first.
    pub(super) inputs: Vec<u32>,
    pub(super) targets: Vec<f32>,
    /// How many rows each chosen row stands for.
    pub(super) weight: f64,
}

impl DependentSlots {
    /// Of rows, the widest first, each with its place among the S rows and its number in its graph.
    pub(super) fn of(chosen: &[(usize, &Rows, usize)]) -> Self {
        let widths: Vec<usize> = chosen.iter().map(|(_, rows, index)| rows.width(*index)).collect();
        let steps = Steps::of_lengths(&widths);
        let (mut inputs, mut targets) = (Vec::with_capacity(steps.rows()), Vec::with_capacity(steps.rows()));
        let mut cursors: Vec<&[u32]> = chosen.iter().map(|(_, rows, index)| rows.ones(*index)).collect();
        let mut before = vec![1; chosen.len()];
        for (slot, &alive) in (0..).zip(steps.sizes()) {
            for (ones, before) in cursors[..alive].iter_mut().zip(&mut before) {
                let present = ones.first() == Some(&slot);
                if present {
                    *ones = &ones[1..];
                }
                inputs.push(*before);
                targets.push(f32::from(u8::from(present)));
                *before = u32::from(present);
            }
        }
        Self {
            rows: chosen.iter().map(|(place, _, _)| *place as u32).collect(),
            steps: Arc::new(steps),
            inputs,
            targets,
            weight: 1.0,
        }
    }
}

/// The rows of graphs, the longest first, in the order of their steps: each with its number in its graph.
pub(super) fn pack<'a>(graphs: &[&'a Rows], steps: &Steps) -> Vec<(&'a Rows, usize)> {
    let sizes = steps.sizes().iter().enumerate();
    sizes.flat_map(|(index, &alive)| graphs[..alive].iter().map(move |&rows| (rows, index))).collect()
}

/// What the graph-level RNN reads before each row, `[S, M]` or `[S, M + 1]`.
pub(super) fn inputs(shape: &Shape, packed: &[(&Rows, usize)]) -> Vec<f32> {
    let (m, width) = (shape.max_prev_node, input_dim(shape));
    let mut inputs = vec![0.0; packed.len() * width];
    for (input, &(rows, index)) in inputs.chunks_exact_mut(width).zip(packed) {
        match index.checked_sub(1) {
            None => input[..m].fill(1.0), // the original's start of a sequence
            Some(before) => rows.ones(before).iter().for_each(|&k| input[k as usize] = 1.0),
        }
        if shape.mode == Mode::Proper {
            input[m] = openness(rows, index, shape);
        }
    }
    inputs
}

/// Gathers graphs into a batch.
#[derive(Debug)]
pub struct BatchBuilder {
    shape: Shape,
    /// Slots of an edge-level RNN to keep, about.
    budget: usize,
    graphs: Vec<Rows>,
}

impl BatchBuilder {
    /// In mode `proper` an edge-level RNN gets about `slots` slots: of a batch with more, a random part of the rows.
    #[must_use]
    pub fn new(shape: Shape, slots: usize) -> Self {
        Self { shape, budget: slots, graphs: Vec::new() }
    }

    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    pub fn push(&mut self, rows: Rows) {
        self.graphs.push(rows);
    }

    /// The batch of what was pushed. `rng` chooses rows when there are too many.
    pub fn finish<R: Rng + ?Sized>(&mut self, rng: &mut R) -> Batch {
        let mut graphs = std::mem::take(&mut self.graphs);
        graphs.sort_by_key(|rows| Reverse(rows.count()));
        let lengths: Vec<usize> = graphs.iter().map(Rows::count).collect();
        let steps = Steps::of_lengths(&lengths);
        let told: Vec<&Rows> = graphs.iter().collect();
        let packed = pack(&told, &steps);
        let slots = match self.shape.variant {
            Variant::Mlp => self.independent(&packed),
            Variant::Rnn => Slots::Dependent(self.dependent(&packed, rng)),
        };
        Batch {
            graphs: graphs.len(),
            inputs: inputs(&self.shape, &packed),
            stops: packed.iter().map(|(rows, index)| f32::from(u8::from(index + 1 == rows.count()))).collect(),
            divisor: self.divisor(&packed, graphs.len(), steps.sizes().len()),
            slots,
            steps: Arc::new(steps),
        }
    }

    fn independent(&self, packed: &[(&Rows, usize)]) -> Slots {
        let (m, mode) = (self.shape.max_prev_node, self.shape.mode);
        let (mut targets, mut weights) = (vec![0.0; packed.len() * m], vec![0.0; packed.len() * m]);
        for ((target, weight), &(rows, index)) in
            targets.chunks_exact_mut(m).zip(weights.chunks_exact_mut(m)).zip(packed)
        {
            if index >= rows.predicted(mode) {
                continue;
            }
            rows.ones(index).iter().for_each(|&k| target[k as usize] = 1.0);
            // The original trains on slots that lie before the first node, too.
            let width = if mode == Mode::Faithful { m } else { rows.width(index) };
            weight[..width].fill(1.0);
        }
        Slots::Independent { targets, weights }
    }

    fn dependent<R: Rng + ?Sized>(&self, packed: &[(&Rows, usize)], rng: &mut R) -> DependentSlots {
        let predicted = |&(_, &(rows, index)): &(usize, &(&Rows, usize))| index < rows.predicted(self.shape.mode);
        let mut chosen: Vec<(usize, &Rows, usize)> =
            packed.iter().enumerate().filter(predicted).map(|(place, &(rows, index))| (place, rows, index)).collect();
        let all = chosen.len();
        let slots: usize = chosen.iter().map(|(_, rows, index)| rows.width(*index)).sum();
        if self.shape.mode == Mode::Proper && slots > self.budget {
            let keep = (all * self.budget).div_ceil(slots);
            let mut places = index::sample(rng, all, keep).into_vec();
            places.sort_unstable();
            chosen = places.into_iter().map(|place| chosen[place]).collect();
        }
        chosen.sort_by_key(|(_, rows, index)| Reverse(rows.width(*index)));
        let weight = all as f64 / chosen.len().max(1) as f64;
        DependentSlots { weight, ..DependentSlots::of(&chosen) }
    }

    /// In mode `proper` the nodes: the loss is in nats per node. In mode `faithful` the slots of the padded batch, as the
    /// original's mean counts them.
    fn divisor(&self, packed: &[(&Rows, usize)], graphs: usize, longest: usize) -> f64 {
        let m = self.shape.max_prev_node;
        let divisor = match (self.shape.mode, self.shape.variant) {
            (Mode::Proper, _) => packed.len(),
            (Mode::Faithful, Variant::Mlp) => graphs * longest * m,
            (Mode::Faithful, Variant::Rnn) => packed.len() * longest.min(m),
        };
        divisor.max(1) as f64
    }
}

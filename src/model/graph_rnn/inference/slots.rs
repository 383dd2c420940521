//! The slots of a tile of rows.

use std::collections::BTreeMap;
use std::mem::swap;

use candle_core::{Result, Tensor};
use pulp::{Arch, Simd, WithSimd};

use super::super::rows::Rows;
use super::super::{Shape, Variant};
use crate::nn::lanes::{LANES, LINEAR, LaneAffine, LaneGru, RELU};
use crate::nn::packed::{Affine, floats, relu};
use crate::nn::simd::bernoulli_cost;

/// A row whose slots are to be charged.
#[derive(Debug, Clone, Copy)]
pub(super) struct SlotRow {
    /// Its place among the rows that the graph-level RNN gave: row by row, sequence by sequence.
    pub(super) place: usize,
    /// Slots in reach.
    pub(super) width: usize,
    /// Which of the sequences it is of, and which of its rows it is.
    pub(super) sequence: usize,
    pub(super) index: usize,
}

/// From what the graph-level RNN gave of a row to the logits of its slots.
#[derive(Debug, Clone)]
pub(super) enum SlotLevel {
    /// GraphRNN-S: the output MLP's second layer, all slots at once.
    Independent(LaneAffine),
    /// GraphRNN: the edge-level RNN, whose first layer reads the bit before.
    Dependent { layers: Vec<LaneGru>, head: [LaneAffine; 2] },
}

/// Room for a tile, kept from one to the next.
#[derive(Debug, Default)]
pub(super) struct SlotBuffers {
    /// `[K, LANES]`.
    start: Vec<f32>,
    /// `[slots + 1, LANES]`: the bit before each slot, and its own after it.
    bits: Vec<f32>,
    /// `[slots, LANES]`: first logits, then what they cost in nats.
    costs: Vec<f32>,
    /// Of each layer the state now and next.
    states: Vec<[Vec<f32>; 2]>,
    hidden: Vec<f32>,
}

impl SlotBuffers {
    /// What each slot of the row in `lane` costs, in nats.
    pub(super) fn costs_of(&self, lane: usize, width: usize) -> impl Iterator<Item = f64> + Clone {
        self.costs[lane..].iter().step_by(LANES).take(width).map(|&cost| f64::from(cost))
    }
}

impl SlotLevel {
    pub(super) fn new(shape: &Shape, weights: &BTreeMap<String, Tensor>) -> Result<Self> {
        let second = LaneAffine::new(weights, "slots.second")?;
        if shape.variant == Variant::Mlp {
            return Ok(Self::Independent(second));
        }
        let mut layers = vec![Self::bit_layer(weights)?];
        for layer in 1..shape.layers {
            layers.push(LaneGru::new(weights, &format!("edge_level.{layer}"))?);
        }
        Ok(Self::Dependent { layers, head: [LaneAffine::new(weights, "slots.first")?, second] })
    }

    /// The first layer with the embedding of its input, which is a bit b: gates g₀ + b (g₁ - g₀) from those of either bit.
    fn bit_layer(weights: &BTreeMap<String, Tensor>) -> Result<LaneGru> {
        let name = |part: &str| format!("edge_level.0.{part}");
        let mut embedded = Affine::new(weights, "edge_input")?.forward(&[0.0, 1.0]);
        relu(&mut embedded);
        let gates = Affine::of(weights, &name("weight_ih"), &name("bias_ih"))?.forward(&embedded);
        let (zero, one) = gates.split_at(gates.len() / 2);
        let difference: Vec<f32> = one.iter().zip(zero).map(|(one, zero)| one - zero).collect();
        let of_state = |part: &str| floats(weights, &name(part));
        Ok(LaneGru::from_parts(&difference, zero, &of_state("weight_hh")?, &of_state("bias_hh")?))
    }

    /// Computes what the slots of at most [`LANES`] rows cost, the widest row first, to [`SlotBuffers::costs_of`].
    /// `features [rows, sequences, K]` are what they start from, `rows` those of each sequence.
    pub(super) fn costs(
        &self,
        arch: Arch,
        tile: &[SlotRow],
        rows: &[Rows],
        features: &[f32],
        buffers: &mut SlotBuffers,
    ) {
        let width = tile.first().map_or(0, |row| row.width);
        self.gather(tile, features, buffers);
        buffers.bits.clear();
        buffers.bits.resize((width + 1) * LANES, 0.0);
        buffers.bits[..LANES].fill(1.0);
        for (lane, row) in tile.iter().enumerate() {
            let ones = rows[row.sequence].ones(row.index);
            ones.iter().for_each(|&slot| buffers.bits[(slot as usize + 1) * LANES + lane] = 1.0);
        }
        buffers.costs.resize(width * LANES, 0.0);
        arch.dispatch(Costs { level: self, buffers });
    }

    /// K.
    fn start_dim(&self) -> usize {
        match self {
            Self::Independent(layer) => layer.input_dim(),
            Self::Dependent { layers, .. } => layers[0].hidden_dim(),
        }
    }

    /// What the rows start from, to a tile of their own.
    fn gather(&self, tile: &[SlotRow], features: &[f32], buffers: &mut SlotBuffers) {
        let k = self.start_dim();
        buffers.start.clear();
        buffers.start.resize(k * LANES, 0.0);
        for (lane, row) in tile.iter().enumerate() {
            let of_row = &features[row.place * k..(row.place + 1) * k];
            buffers.start[lane..].iter_mut().step_by(LANES).zip(of_row).for_each(|(to, from)| *to = *from);
        }
        let Self::Dependent { layers, .. } = self else { return };
        buffers.states.resize_with(layers.len(), Default::default);
        for (index, (layer, states)) in layers.iter().zip(&mut buffers.states).enumerate() {
            for state in states.iter_mut() {
                state.clear();
                state.resize(layer.state_len(), 0.0);
            }
            if index == 0 {
                states[0][..k * LANES].copy_from_slice(&buffers.start);
            }
        }
    }
}

struct Costs<'a> {
    level: &'a SlotLevel,
    buffers: &'a mut SlotBuffers,
}

impl WithSimd for Costs<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let SlotBuffers { start, bits, costs, states, hidden } = self.buffers;
        match self.level {
            SlotLevel::Independent(layer) => layer.forward(simd, start, LINEAR, costs),
            SlotLevel::Dependent { layers, head: [first, second] } => {
                hidden.resize(first.output_dim() * LANES, 0.0);
                for (bit, logits) in bits.chunks_exact(LANES).zip(costs.chunks_exact_mut(LANES)) {
                    let mut input: &[f32] = bit;
                    for (layer, [now, next]) in layers.iter().zip(states.iter_mut()) {
                        layer.step(simd, input, now, next);
                        swap(now, next);
                        input = now;
                    }
                    first.forward(simd, input, RELU, hidden);
                    second.forward(simd, hidden, LINEAR, logits);
                }
            }
        }
        let own = S::as_simd_f32s(&bits[LANES..]).0;
        let (one, two) = (simd.splat_f32s(1.0), simd.splat_f32s(2.0));
        for (cost, bit) in S::as_mut_simd_f32s(costs).0.iter_mut().zip(own) {
            let sign = simd.sub_f32s(simd.mul_f32s(two, *bit), one);
            *cost = bernoulli_cost(simd, simd.mul_f32s(sign, *cost));
        }
    }
}

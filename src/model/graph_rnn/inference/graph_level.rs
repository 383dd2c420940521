//! The graph-level RNN over a group of sequences.

use std::collections::BTreeMap;
use std::ops::Range;

use candle_core::{Result, Tensor};

use super::super::rows::{Rows, openness};
use super::super::{Shape, Variant};
use crate::model::Mode;
use crate::nn::gru::PackedGru;
use crate::nn::packed::{Affine, Table, relu};
use crate::nn::simd::bernoulli_costs;

/// The RNN, and what is computed from its state once a row.
#[derive(Debug, Clone)]
pub(super) struct GraphLevel {
    shape: Shape,
    input: Table,
    /// What the input gives of the first row, all of whose slots are one.
    first: Vec<f32>,
    layers: Vec<PackedGru>,
    head: Head,
    stop: Option<[Affine; 2]>,
}

/// What the slots start from.
#[derive(Debug, Clone)]
enum Head {
    /// The output MLP's hidden layer.
    Independent(Affine),
    /// The edge-level RNN's first state.
    Dependent([Affine; 2]),
}

/// A group of sequences on their way, the longest first, and room for a step.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// Of each layer `[sequences, H]`.
    states: Vec<Vec<f32>>,
    /// `[sequences, E]`.
    embedded: Vec<f32>,
    gates: Vec<f32>,
    scratch: Vec<f32>,
    hidden: Vec<f32>,
    /// What a head gives of a step.
    step: Vec<f32>,
    /// `[rows, sequences, K]`: what the slots of each row start from.
    pub(super) features: Vec<f32>,
    /// `[rows, sequences]` in nats: of whether the sequence ends here. None in mode `faithful`.
    pub(super) stops: Vec<f32>,
}

impl GraphLevel {
    pub(super) fn new(shape: Shape, weights: &BTreeMap<String, Tensor>) -> Result<Self> {
        let mlp = |name: &str| -> Result<[Affine; 2]> {
            let layer = |part: &str| Affine::new(weights, &format!("{name}.{part}"));
            Ok([layer("first")?, layer("second")?])
        };
        let input = Table::new(weights, "input")?;
        let mut first = input.bias().to_vec();
        (0..shape.max_prev_node).for_each(|slot| add(&mut first, input.row(slot), 1.0));
        Ok(Self {
            first,
            input,
            layers: (0..shape.layers)
                .map(|layer| PackedGru::new(weights, &format!("graph_level.{layer}")))
                .collect::<Result<_>>()?,
            head: match shape.variant {
                Variant::Mlp => Head::Independent(Affine::new(weights, "slots.first")?),
                Variant::Rnn => Head::Dependent(mlp("edge_start")?),
            },
            stop: (shape.mode == Mode::Proper).then(|| mlp("stop")).transpose()?,
            shape,
        })
    }

    /// Puts `sequences` of them before their first row.
    pub(super) fn start(&self, sequences: usize, group: &mut Group) {
        group.states.resize_with(self.layers.len(), Vec::new);
        for (state, layer) in group.states.iter_mut().zip(&self.layers) {
            state.clear();
            state.resize(sequences * layer.hidden_dim(), 0.0);
        }
    }

    /// Takes the sequences `members` of a group, the longest first, through their rows `range`.
    pub(super) fn advance(&self, rows: &[Rows], members: &[usize], range: Range<usize>, group: &mut Group) {
        let count = members.len();
        let width = match &self.head {
            Head::Independent(layer) | Head::Dependent([_, layer]) => layer.output_dim(),
        };
        group.features.resize(range.len() * count * width, 0.0);
        group.stops.resize(if self.stop.is_some() { range.len() * count } else { 0 }, 0.0);
        for (step, index) in range.enumerate() {
            let alive = members.partition_point(|&member| index < rows[member].count());
            self.embed(rows, &members[..alive], index, &mut group.embedded);
            let Group { states, embedded, gates, scratch, hidden, step: head, features, stops } = group;
            let mut input: &[f32] = embedded;
            for (layer, state) in self.layers.iter().zip(states) {
                let state = &mut state[..alive * layer.hidden_dim()];
                layer.input.forward_into(input, gates);
                layer.step(gates, state, scratch);
                input = state;
            }
            match &self.head {
                Head::Independent(layer) => layer.rectified_into(input, head),
                Head::Dependent([first, second]) => {
                    first.rectified_into(input, hidden);
                    second.forward_into(hidden, head);
                }
            }
            features[step * count * width..][..head.len()].copy_from_slice(head);
            if let Some([first, second]) = &self.stop {
                first.rectified_into(input, hidden);
                second.forward_into(hidden, head);
                for (logit, &member) in head.iter_mut().zip(members) {
                    *logit *= if index + 1 == rows[member].count() { 1.0 } else { -1.0 };
                }
                bernoulli_costs(head);
                stops[step * count..][..alive].copy_from_slice(head);
            }
        }
    }

    /// What the input gives of the rows before rows `index + 1`, to `embedded [sequences, E]`.
    fn embed(&self, rows: &[Rows], members: &[usize], index: usize, embedded: &mut Vec<f32>) {
        embedded.clear();
        for rows in members.iter().map(|&member| &rows[member]) {
            let start = embedded.len();
            match index.checked_sub(1) {
                None => embedded.extend_from_slice(&self.first),
                Some(before) => {
                    embedded.extend_from_slice(self.input.bias());
                    for &slot in rows.ones(before) {
                        add(&mut embedded[start..], self.input.row(slot as usize), 1.0);
                    }
                }
            }
            let embedded = &mut embedded[start..];
            if self.shape.mode == Mode::Proper {
                add(embedded, self.input.row(self.shape.max_prev_node), openness(rows, index, &self.shape));
            }
            relu(embedded);
        }
    }
}

fn add(to: &mut [f32], row: &[f32], factor: f32) {
    to.iter_mut().zip(row).for_each(|(x, w)| *x += factor * w);
}

//! The graph-level RNN over a tile of sequences.

use std::collections::BTreeMap;
use std::mem::swap;
use std::ops::Range;

use candle_core::{Result, Tensor};
use pulp::{Arch, Simd, WithSimd};

use super::super::rows::{Rows, openness};
use super::super::{Shape, Variant};
use crate::model::Mode;
use crate::nn::lanes::{LANES, LINEAR, LaneAffine, LaneGru, RELU};
use crate::nn::packed::Affine;
use crate::nn::simd::bernoulli_cost;

/// The RNN, and what is computed from its state once a row.
#[derive(Debug, Clone)]
pub(super) struct GraphLevel {
    shape: Shape,
    input: Affine,
    /// What the input gives of the first row, all of whose slots are one.
    first: Vec<f32>,
    layers: Vec<LaneGru>,
    head: Head,
    stop: Option<[LaneAffine; 2]>,
}

/// What the slots start from.
#[derive(Debug, Clone)]
enum Head {
    /// The output MLP's hidden layer.
    Independent(LaneAffine),
    /// The edge-level RNN's first state.
    Dependent([LaneAffine; 2]),
}

/// A layer's state, and room for the next.
#[derive(Debug)]
pub(super) struct State {
    now: Vec<f32>,
    next: Vec<f32>,
}

/// What the rows gave.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    /// `[rows, K, LANES]`: what the slots of each row start from.
    pub(super) features: Vec<f32>,
    /// `[rows, LANES]` in nats: of whether the sequence ends here. None in mode `faithful`.
    pub(super) stops: Vec<f32>,
}

impl GraphLevel {
    pub(super) fn new(shape: Shape, weights: &BTreeMap<String, Tensor>) -> Result<Self> {
        let mlp = |name: &str| -> Result<[LaneAffine; 2]> {
            let layer = |part: &str| LaneAffine::new(weights, &format!("{name}.{part}"));
            Ok([layer("first")?, layer("second")?])
        };
        let input = Affine::new(weights, "input")?;
        let mut first = input.bias().to_vec();
        (0..shape.max_prev_node).for_each(|slot| add(&mut first, input.row(slot), 1.0));
        Ok(Self {
            first,
            input,
            layers: (0..shape.layers)
                .map(|layer| LaneGru::new(weights, &format!("graph_level.{layer}")))
                .collect::<Result<_>>()?,
            head: match shape.variant {
                Variant::Mlp => Head::Independent(LaneAffine::new(weights, "slots.first")?),
                Variant::Rnn => Head::Dependent(mlp("edge_start")?),
            },
            stop: (shape.mode == Mode::Proper).then(|| mlp("stop")).transpose()?,
            shape,
        })
    }

    /// The states before the first row.
    pub(super) fn start(&self) -> Vec<State> {
        self.layers.iter().map(|layer| State { now: layer.zero_state(), next: layer.zero_state() }).collect()
    }

    /// Takes a tile of at most [`LANES`] sequences through their rows `range`.
    pub(super) fn advance(
        &self,
        arch: Arch,
        lanes: &[&Rows],
        range: Range<usize>,
        states: &mut [State],
        outputs: &mut Outputs,
    ) {
        let width = match &self.head {
            Head::Independent(layer) | Head::Dependent([_, layer]) => layer.output_dim(),
        };
        outputs.features.resize(range.len() * width * LANES, 0.0);
        outputs.stops.resize(if self.stop.is_some() { range.len() * LANES } else { 0 }, 0.0);
        arch.dispatch(Advance { level: self, lanes, range, states, outputs, width });
    }

    /// What the input gives of the row before row `index + 1`, before its rectifier.
    #[inline(always)]
    fn embed(&self, rows: &Rows, index: usize, embedded: &mut [f32]) {
        match index.checked_sub(1) {
            None => embedded.copy_from_slice(&self.first),
            Some(before) => {
                embedded.copy_from_slice(self.input.bias());
                rows.ones(before).iter().for_each(|&slot| add(embedded, self.input.row(slot as usize), 1.0));
            }
        }
        if self.shape.mode == Mode::Proper {
            add(embedded, self.input.row(self.shape.max_prev_node), openness(rows, index, &self.shape));
        }
    }
}

#[inline(always)]
fn add(to: &mut [f32], row: &[f32], factor: f32) {
    to.iter_mut().zip(row).for_each(|(x, w)| *x += factor * w);
}

struct Advance<'a> {
    level: &'a GraphLevel,
    lanes: &'a [&'a Rows],
    range: Range<usize>,
    states: &'a mut [State],
    outputs: &'a mut Outputs,
    /// K.
    width: usize,
}

impl WithSimd for Advance<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { level, lanes, range, states, outputs, width } = self;
        let e = level.input.output_dim();
        let (mut embedded, mut x, mut hidden) = (vec![0.0; e], vec![0.0; e * LANES], vec![0.0; e * LANES]);
        let mut features = outputs.features.chunks_exact_mut(width * LANES);
        let mut stops = outputs.stops.chunks_exact_mut(LANES);
        for index in range {
            for (lane, rows) in lanes.iter().enumerate().filter(|(_, rows)| index < rows.count()) {
                level.embed(rows, index, &mut embedded);
                for (to, value) in x[lane..].iter_mut().step_by(LANES).zip(&embedded) {
                    *to = value.max(0.0);
                }
            }
            let mut input: &[f32] = &x;
            for (layer, state) in level.layers.iter().zip(states.iter_mut()) {
                layer.step(simd, input, &state.now, &mut state.next);
                swap(&mut state.now, &mut state.next);
                input = &state.now;
            }
            if let Some(features) = features.next() {
                match &level.head {
                    Head::Independent(layer) => layer.forward(simd, input, RELU, features),
                    Head::Dependent([first, second]) => {
                        first.forward(simd, input, RELU, &mut hidden);
                        second.forward(simd, &hidden, LINEAR, features);
                    }
                }
            }
            if let (Some([first, second]), Some(stops)) = (&level.stop, stops.next()) {
                first.forward(simd, input, RELU, &mut hidden);
                second.forward(simd, &hidden, LINEAR, stops);
                for (logit, rows) in stops.iter_mut().zip(lanes) {
                    *logit *= if index + 1 == rows.count() { 1.0 } else { -1.0 };
                }
                for cost in S::as_mut_simd_f32s(stops).0 {
                    *cost = bernoulli_cost(simd, *cost);
                }
            }
        }
    }
}

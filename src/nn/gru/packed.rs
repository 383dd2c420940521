//! A layer of gated recurrent units without autograd.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor};
use pulp::{Arch, Simd, WithSimd};

use crate::nn::packed::{Affine, floats};
use crate::nn::simd::{hyperbolic_tangents, load, sigmoids, store};

/// A [`super::Gru`] with its weights transposed for inference.
#[derive(Debug, Clone)]
pub struct PackedGru {
    /// `W_i` and `b_i`: the input's part of the gates.
    pub input: Affine,
    /// `W_h`.
    state: Affine,
    /// `b_h`, which the reset gate has to let through.
    bias: Vec<f32>,
}

impl PackedGru {
    /// The layer that [`super::Gru`] has under `name`.
    ///
    /// # Errors
    /// When a parameter is missing.
    pub fn new(weights: &BTreeMap<String, Tensor>, name: &str) -> Result<Self> {
        let affine = |part: &str| Affine::of(weights, &format!("{name}.weight_{part}"), &format!("{name}.bias_{part}"));
        let (input, mut state) = (affine("ih")?, affine("hh")?);
        state.drop_bias();
        Ok(Self { input, state, bias: floats(weights, &format!("{name}.bias_hh"))? })
    }

    /// H.
    #[must_use]
    pub fn hidden_dim(&self) -> usize {
        self.state.input_dim()
    }

    /// Moves `state [B, H]` on by a step, given the input's part of the gates `[B, 3 H]`. `scratch` is overwritten.
    pub fn step(&self, projected: &[f32], state: &mut [f32], scratch: &mut Vec<f32>) {
        self.state.forward_into(state, scratch);
        Arch::new().dispatch(Gates { projected, recurrent: scratch, bias: &self.bias, state });
    }
}

/// What is left of a step when the products are done.
struct Gates<'a> {
    /// `[B, 3 H]` each.
    projected: &'a [f32],
    recurrent: &'a [f32],
    /// `[3 H]`: added to `recurrent`.
    bias: &'a [f32],
    /// `[B, H]`.
    state: &'a mut [f32],
}

impl WithSimd for Gates<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { projected, recurrent, bias, state } = self;
        let h = bias.len() / 3;
        let rows = projected.chunks_exact(3 * h).zip(recurrent.chunks_exact(3 * h));
        for ((projected, recurrent), state) in rows.zip(state.chunks_exact_mut(h)) {
            // Two vectors of units share their divisions.
            for first in (0..h).step_by(2 * S::F32_LANES) {
                let second = (first + S::F32_LANES).min(h);
                let [r0, z0, n0, m0] = gates(simd, [projected, recurrent, bias], first);
                let [r1, z1, n1, m1] = gates(simd, [projected, recurrent, bias], second);
                let [r0, r1, z0, z1] = sigmoids(simd, [r0, r1, z0, z1]);
                let inner = [simd.mul_add_e_f32s(r0, m0, n0), simd.mul_add_e_f32s(r1, m1, n1)];
                let [n0, n1] = hyperbolic_tangents(simd, inner);
                for (start, z, new) in [(first, z0, n0), (second, z1, n1)] {
                    let state = &mut state[start..];
                    let before = load(simd, state);
                    store(simd, state, simd.mul_add_e_f32s(z, simd.sub_f32s(before, new), new));
                }
            }
        }
    }
}

/// Of the units from `first` on: reset and update before they are squashed, and of new the input's and the state's part.
#[inline(always)]
fn gates<S: Simd>(simd: S, [projected, recurrent, bias]: [&[f32]; 3], first: usize) -> [S::f32s; 4] {
    let h = bias.len() / 3;
    let [mut inputs, mut states] = [[simd.splat_f32s(0.0); 3]; 2];
    for (gate, (input, state)) in inputs.iter_mut().zip(&mut states).enumerate() {
        let units = gate * h + first..(gate + 1) * h;
        *input = load(simd, &projected[units.clone()]);
        *state = simd.add_f32s(load(simd, &recurrent[units.clone()]), load(simd, &bias[units]));
    }
    let [r, z, n] = inputs;
    [simd.add_f32s(r, states[0]), simd.add_f32s(z, states[1]), n, states[2]]
}

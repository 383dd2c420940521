//! A layer of gated recurrent units without autograd.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor};

use super::kernel::advance;
use crate::nn::packed::{Affine, floats};
use crate::nn::simd::vectorised;

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
        let h = self.hidden_dim();
        self.state.forward_into(state, scratch);
        vectorised(
            #[inline(always)]
            || {
                let gates = projected.chunks_exact(3 * h).zip(scratch.chunks_exact(3 * h));
                for ((projected, gates), state) in gates.zip(state.chunks_exact_mut(h)) {
                    advance(projected, gates, &self.bias, state);
                }
            },
        );
    }
}

//! A layer of gated recurrent units without autograd.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor};

use super::kernel::advance;
use crate::nn::matmul::matmul;
use crate::nn::packed::Affine;

/// A [`super::Gru`] with its weights transposed for inference.
#[derive(Debug, Clone)]
pub struct PackedGru {
    /// `W_i` and `b_i`: the input's part of the gates.
    pub input: Affine,
    /// `W_h` and `b_h`.
    state: Affine,
}

impl PackedGru {
    /// The layer that [`super::Gru`] has under `name`.
    ///
    /// # Errors
    /// When a parameter is missing.
    pub fn new(weights: &BTreeMap<String, Tensor>, name: &str) -> Result<Self> {
        let affine = |part: &str| Affine::of(weights, &format!("{name}.weight_{part}"), &format!("{name}.bias_{part}"));
        Ok(Self { input: affine("ih")?, state: affine("hh")? })
    }

    /// H.
    #[must_use]
    pub fn hidden_dim(&self) -> usize {
        self.state.input_dim()
    }

    /// Moves `state [B, H]` on by a step, given the input's part of the gates `[B, 3 H]`. `scratch` is overwritten.
    pub fn step(&self, projected: &[f32], state: &mut [f32], scratch: &mut Vec<f32>) {
        let h = self.hidden_dim();
        scratch.clear();
        scratch.resize(state.len() * 4, 0.0);
        let (gates, previous) = scratch.split_at_mut(state.len() * 3);
        previous.copy_from_slice(state);
        matmul(previous, &self.state.weight, gates, h, 3 * h);
        for (((projected, gates), previous), state) in projected
            .chunks_exact(3 * h)
            .zip(gates.chunks_exact(3 * h))
            .zip(previous.chunks_exact(h))
            .zip(state.chunks_exact_mut(h))
        {
            advance(projected, gates, &self.state.bias, previous, state);
        }
    }
}

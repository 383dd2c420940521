//! The recurrence itself, forward and backward, on slices of either precision.
//!
//! Letters: S rows of all steps, B sequences, H hidden units. `projected` is the input's part of the gates, `weight` and
//! `bias` make the state's; the gates stand in the order reset, update, new.

use super::Steps;
use crate::nn::matmul::{View, Write, multiply};
use crate::nn::real::Real;
use crate::nn::simd::vectorised;

/// A step of one row: `state` moves on, given both parts of the gates, the state's without its bias.
#[inline(always)]
pub(super) fn advance<T: Real>(projected: &[T], recurrent: &[T], bias: &[T], state: &mut [T]) {
    let h = state.len();
    let (xr, xz, xn) = (&projected[..h], &projected[h..2 * h], &projected[2 * h..3 * h]);
    let (ar, az, an) = (&recurrent[..h], &recurrent[h..2 * h], &recurrent[2 * h..3 * h]);
    let (br, bz, bn) = (&bias[..h], &bias[h..2 * h], &bias[2 * h..3 * h]);
    for i in 0..h {
        let r = (xr[i] + (ar[i] + br[i])).sigmoid();
        let z = (xz[i] + (az[i] + bz[i])).sigmoid();
        let n = (xn[i] + r * (an[i] + bn[i])).hyperbolic_tangent();
        state[i] = (T::ONE - z) * n + z * state[i];
    }
}

/// What the recurrence is computed from.
pub(super) struct Inputs<'a, T> {
    /// `[S, 3 H]`.
    pub(super) projected: &'a [T],
    /// `[3 H, H]`.
    pub(super) weight: View<'a, T>,
    /// `[3 H]`.
    pub(super) bias: &'a [T],
    /// `[B, H]`.
    pub(super) start: &'a [T],
    pub(super) steps: &'a Steps,
    /// H.
    pub(super) h: usize,
}

/// The states `[S, H]` after each row.
pub(super) fn forward<T: Real>(inputs: &Inputs<'_, T>) -> Vec<T> {
    let &Inputs { projected, weight, bias, start, steps, h } = inputs;
    let mut states = vec![T::default(); steps.rows() * h];
    let mut recurrent = vec![T::default(); steps.sizes().first().map_or(0, |&rows| rows * 3 * h)];
    let (mut before, mut now) = (None, 0);
    for &rows in steps.sizes() {
        let (past, rest) = states.split_at_mut(now * h);
        let previous = match before {
            None => &start[..rows * h],
            Some(first) => &past[first * h..(first + rows) * h],
        };
        let recurrent = &mut recurrent[..rows * 3 * h];
        multiply(View::new(previous, rows, h), weight.transposed(), recurrent, Write::Replace);
        let states = &mut rest[..rows * h];
        states.copy_from_slice(previous);
        let projected = &projected[now * 3 * h..(now + rows) * 3 * h];
        vectorised(
            #[inline(always)]
            || {
                let gates = projected.chunks_exact(3 * h).zip(recurrent.chunks_exact(3 * h));
                for ((projected, gates), state) in gates.zip(states.chunks_exact_mut(h)) {
                    advance(projected, gates, bias, state);
                }
            },
        );
        before = Some(now);
        now += rows;
    }
    states
}

/// What [`backward`] gives: the gradient of each input of [`forward`].
pub(super) struct Gradients<T> {
    /// `[S, 3 H]`.
    pub(super) projected: Vec<T>,
    /// `[3 H, H + 1]`: the weight, and the bias as the last column.
    pub(super) recurrent: Vec<T>,
    /// `[B, H]`.
    pub(super) start: Vec<T>,
}

/// Back through time: `gradient [S, H]` is of the states that [`forward`] gave.
///
/// The gates are computed again from the states, in one product over all rows; nothing but the states is kept of the
/// forward pass.
pub(super) fn backward<T: Real>(inputs: &Inputs<'_, T>, states: &[T], gradient: &[T]) -> Gradients<T> {
    let &Inputs { projected, weight, bias, start, steps, h } = inputs;
    let total = steps.rows();
    let previous = previous_states(start, steps, states, h);
    let mut recurrent = vec![T::default(); total * 3 * h]; // W h + b, then its gradient
    multiply(View::new(&previous, total, h), weight.transposed(), &mut recurrent, Write::Replace);
    let mut projected_gradient = vec![T::default(); total * 3 * h];
    let mut carry = start.to_vec();
    carry.fill(T::default());
    let mut end = total;
    for &rows in steps.sizes().iter().rev() {
        let first = end - rows;
        vectorised(
            #[inline(always)]
            || {
                for row in 0..rows {
                    let at = first + row;
                    retreat(
                        &projected[at * 3 * h..(at + 1) * 3 * h],
                        bias,
                        &previous[at * h..(at + 1) * h],
                        &gradient[at * h..(at + 1) * h],
                        &mut recurrent[at * 3 * h..(at + 1) * 3 * h],
                        &mut projected_gradient[at * 3 * h..(at + 1) * 3 * h],
                        &mut carry[row * h..(row + 1) * h],
                    );
                }
            },
        );
        let of_step = View::new(&recurrent[first * 3 * h..end * 3 * h], rows, 3 * h);
        multiply(of_step, weight, &mut carry[..rows * h], Write::Add);
        end = first;
    }
    Gradients {
        recurrent: recurrent_gradient(&recurrent, &previous, total, h),
        projected: projected_gradient,
        start: carry,
    }
}

/// A step of one row back: turns `recurrent`, the state's part of the gates without its bias, into its gradient, and
/// `carry`, the gradient that came from the step after, into what goes on to the step before by way of the update gate.
#[inline(always)]
fn retreat<T: Real>(
    projected: &[T],
    bias: &[T],
    previous: &[T],
    gradient: &[T],
    recurrent: &mut [T],
    projected_gradient: &mut [T],
    carry: &mut [T],
) {
    let h = carry.len();
    let (xr, xz, xn) = (&projected[..h], &projected[h..2 * h], &projected[2 * h..3 * h]);
    let (br, bz, bn) = (&bias[..h], &bias[h..2 * h], &bias[2 * h..3 * h]);
    let (ar, rest) = recurrent.split_at_mut(h);
    let (az, an) = rest.split_at_mut(h);
    let (dxr, rest) = projected_gradient.split_at_mut(h);
    let (dxz, dxn) = rest.split_at_mut(h);
    let (az, an, dxz, dxn) = (&mut az[..h], &mut an[..h], &mut dxz[..h], &mut dxn[..h]);
    let (previous, gradient) = (&previous[..h], &gradient[..h]);
    for i in 0..h {
        let hidden = an[i] + bn[i];
        let r = (xr[i] + (ar[i] + br[i])).sigmoid();
        let z = (xz[i] + (az[i] + bz[i])).sigmoid();
        let n = (xn[i] + r * hidden).hyperbolic_tangent();
        let d = gradient[i] + carry[i];
        let dn = d * (T::ONE - z) * (T::ONE - n * n);
        let dz = d * (previous[i] - n) * z * (T::ONE - z);
        let dr = dn * hidden * r * (T::ONE - r);
        (dxr[i], dxz[i], dxn[i]) = (dr, dz, dn);
        (ar[i], az[i], an[i]) = (dr, dz, dn * r);
        carry[i] = d * z;
    }
}

/// The state before each row, `[S, H]`.
fn previous_states<T: Real>(start: &[T], steps: &Steps, states: &[T], h: usize) -> Vec<T> {
    let mut previous = Vec::with_capacity(states.len());
    let mut before = None;
    let mut now = 0;
    for &rows in steps.sizes() {
        match before {
            None => previous.extend_from_slice(&start[..rows * h]),
            Some(first) => previous.extend_from_slice(&states[first * h..(first + rows) * h]),
        }
        before = Some(now);
        now += rows;
    }
    previous
}

/// The gradient `[3 H, H + 1]` of weight and bias, from that of their product with the previous states.
fn recurrent_gradient<T: Real>(gates: &[T], previous: &[T], total: usize, h: usize) -> Vec<T> {
    let gates = View::new(gates, total, 3 * h).transposed();
    let mut weight = vec![T::default(); 3 * h * h];
    multiply(gates, View::new(previous, total, h), &mut weight, Write::Replace);
    let mut bias = vec![T::default(); 3 * h];
    multiply(gates, View::new(&vec![T::ONE; total], total, 1), &mut bias, Write::Replace);
    weight.chunks_exact(h).zip(bias).flat_map(|(row, bias)| row.iter().copied().chain([bias])).collect()
}

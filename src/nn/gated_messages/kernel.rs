//! Messages and gates as one operation on the CPU, there and back, on slices of either precision.
//!
//! Letters: V nodes, E edges, H the width of states, H' that of a network's hidden layer.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

use super::Ways;
use crate::nn::edges::{row, row_mut};
use crate::nn::matmul::{View, Write, column_sums, multiply};
use crate::nn::real::{Real, contiguous, with_numbers};
use crate::nn::simd::vectorised;

#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// H: of states and of what is received.
    pub(super) width: usize,
    /// H' of messages and of gates.
    pub(super) hidden: [usize; 2],
    pub(super) codes: usize,
}

impl Sizes {
    /// The width of a network's input.
    fn input(&self) -> usize {
        self.width + 2 * self.codes
    }

    /// How many parameters a network has of each kind.
    fn parameters(&self, hidden: usize) -> [usize; 4] {
        [hidden * self.input(), hidden, self.width * hidden, self.width]
    }
}

/// The parameters of one network, or their gradients.
struct Network<P> {
    /// `[H', H + 2 codes]`.
    first: P,
    /// `[H']`.
    bias: P,
    /// `[H, H']`.
    second: P,
    /// `[H]`.
    second_bias: P,
}

/// `y_d = Σ_{s → d} message(s, d) ⊙ σ(attention(s, d))` of `h [V, H]` and all parameters, one after another.
pub(super) struct Messages<T> {
    sizes: Sizes,
    ways: Ways,
    /// One more than the largest code.
    codes_used: usize,
    kept: OnceLock<Kept<T>>,
}

/// What the way back needs of the way there.
struct Kept<T> {
    /// Of either network `[E, H']`: what its second layer gets.
    hidden: [Vec<T>; 2],
    /// `[E, H]`.
    messages: Vec<T>,
    /// `[E, H]`, opened: σ of what the network gives.
    gates: Vec<T>,
}

impl<T: Real> Messages<T> {
    pub(super) fn new(sizes: Sizes, ways: &Ways) -> Self {
        let codes_used = ways.codes.iter().max().map_or(0, |&code| code as usize + 1);
        Self { sizes, ways: ways.clone(), codes_used, kept: OnceLock::new() }
    }

    fn networks<'a>(&self, flat: &'a [T]) -> Result<[Network<&'a [T]>; 2]> {
        let count: usize = self.sizes.hidden.into_iter().flat_map(|hidden| self.sizes.parameters(hidden)).sum();
        if flat.len() != count {
            bail!("gated-messages: {} parameters", flat.len());
        }
        let mut rest = flat;
        let mut take = |count: usize| {
            let (part, others) = rest.split_at(count);
            rest = others;
            part
        };
        Ok(self.sizes.hidden.map(|hidden| {
            let [first, bias, second, second_bias] = self.sizes.parameters(hidden).map(&mut take);
            Network { first, bias, second, second_bias }
        }))
    }

    fn forward(&self, h: &[T], flat: &[T]) -> Result<Vec<T>> {
        let [message, attention] = self.networks(flat)?;
        let width = self.sizes.width;
        let [of_message, of_attention] = [&message, &attention].map(|network| self.hidden(h, network));
        let [messages, mut gates] = [(&of_message, &message), (&of_attention, &attention)].map(|(hidden, network)| {
            let (edges, inner) = (self.ways.edges.len(), network.bias.len());
            let mut y = network.second_bias.repeat(edges);
            let weight = View::new(network.second, width, inner).transposed();
            multiply(View::new(hidden, edges, inner), weight, &mut y, Write::Add);
            y
        });
        let mut received = vec![T::default(); h.len()];
        vectorised(
            #[inline(always)]
            || {
                let rows = messages.chunks_exact(width).zip(gates.chunks_exact_mut(width));
                for ((_, to), (messages, gates)) in self.ways.edges.ends().zip(rows) {
                    let sums = row_mut(&mut received, to, width).iter_mut();
                    for ((sum, &message), gate) in sums.zip(messages).zip(gates) {
                        *gate = gate.sigmoid();
                        *sum += message * *gate;
                    }
                }
            },
        );
        // Computed anew for the same arguments it would be the same.
        let _ = self.kept.set(Kept { hidden: [of_message, of_attention], messages, gates });
        Ok(received)
    }

    /// What the second layer of a network gets, `[E, H']`.
    fn hidden(&self, h: &[T], network: &Network<&[T]>) -> Vec<T> {
        let (Sizes { width, codes, .. }, input) = (self.sizes, self.sizes.input());
        let (nodes, inner) = (self.ways.codes.len(), network.bias.len());
        let mut from_source = vec![T::default(); nodes * inner];
        let weight = View::strided(network.first, inner, width, input).transposed();
        multiply(View::new(h, nodes, width), weight, &mut from_source, Write::Replace);
        let mut from_destination = network.bias.repeat(nodes);
        // What a code adds, `[codes used, H']`.
        let of_code = |first: usize| -> Vec<T> {
            (0..self.codes_used)
                .flat_map(|code| network.first.chunks_exact(input).map(move |row| row[first + code]))
                .collect()
        };
        let (of_source, of_destination) = (of_code(width), of_code(width + codes));
        let mut hidden = vec![T::default(); self.ways.edges.len() * inner];
        vectorised(
            #[inline(always)]
            || {
                let rows = from_source.chunks_exact_mut(inner).zip(from_destination.chunks_exact_mut(inner));
                for (&code, (source, destination)) in self.ways.codes.iter().zip(rows) {
                    let codes = row(&of_source, code, inner).iter().zip(row(&of_destination, code, inner));
                    for ((x, z), (&of_source, &of_destination)) in source.iter_mut().zip(destination).zip(codes) {
                        *z += of_destination - *x;
                        *x += of_source;
                    }
                }
                for (hidden, (source, destination)) in hidden.chunks_exact_mut(inner).zip(self.ways.edges.ends()) {
                    let (x, z) = (row(&from_source, source, inner), row(&from_destination, destination, inner));
                    for ((y, &x), &z) in hidden.iter_mut().zip(x).zip(z) {
                        let sum = x + z;
                        *y = if sum < T::default() { T::default() } else { sum };
                    }
                }
            },
        );
        hidden
    }

    /// The gradients of `h` and of the parameters, from that of what is received.
    fn backward(&self, h: &[T], flat: &[T], gradient: &[T]) -> Result<[Vec<T>; 2]> {
        let Some(kept) = self.kept.get() else { bail!("gated-messages: back before there") };
        let width = self.sizes.width;
        let [mut of_messages, mut of_gates] = [(); 2].map(|()| vec![T::default(); kept.messages.len()]);
        vectorised(
            #[inline(always)]
            || {
                let to = of_messages.chunks_exact_mut(width).zip(of_gates.chunks_exact_mut(width));
                let from = kept.messages.chunks_exact(width).zip(kept.gates.chunks_exact(width));
                for ((_, named), ((of_message, of_gate), (message, gate))) in self.ways.edges.ends().zip(to.zip(from)) {
                    let gradient = row(gradient, named, width);
                    let (of_message, of_gate) = (&mut of_message[..width], &mut of_gate[..width]);
                    let (message, gate) = (&message[..width], &gate[..width]);
                    for i in 0..width {
                        of_message[i] = gradient[i] * gate[i];
                        of_gate[i] = of_message[i] * message[i] * (T::ONE - gate[i]);
                    }
                }
            },
        );
        let mut of_h = vec![T::default(); h.len()];
        let mut of_flat = Vec::with_capacity(flat.len());
        let outputs = [of_messages, of_gates];
        for ((network, hidden), outputs) in self.networks(flat)?.iter().zip(&kept.hidden).zip(&outputs) {
            let Network { first, bias, second, second_bias } = self.retreat(h, network, hidden, outputs, &mut of_h);
            [first, bias, second, second_bias].iter().for_each(|part| of_flat.extend_from_slice(part));
        }
        Ok([of_h, of_flat])
    }

    /// The gradients of a network's parameters, from `outputs [E, H]`, those of what it gives; adds its part to that of `h`.
    fn retreat(
        &self,
        h: &[T],
        network: &Network<&[T]>,
        hidden: &[T],
        outputs: &[T],
        of_h: &mut [T],
    ) -> Network<Vec<T>> {
        let (Sizes { width, codes, .. }, input) = (self.sizes, self.sizes.input());
        let (nodes, edges, inner) = (self.ways.codes.len(), self.ways.edges.len(), network.bias.len());
        let by_edge = View::new(outputs, edges, width);
        let mut second = vec![T::default(); width * inner];
        multiply(by_edge.transposed(), View::new(hidden, edges, inner), &mut second, Write::Replace);
        let second_bias = column_sums(outputs, width);
        let mut pairs = vec![T::default(); edges * inner];
        multiply(by_edge, View::new(network.second, width, inner), &mut pairs, Write::Replace);
        // Of what nodes bring as sources, then of the product that both ends share; and as destinations.
        let [mut at_source, mut at_destination] = [(); 2].map(|()| vec![T::default(); nodes * inner]);
        let [mut of_source, mut of_destination] = [(); 2].map(|()| vec![T::default(); self.codes_used * inner]);
        vectorised(
            #[inline(always)]
            || {
                let rows = pairs.chunks_exact(inner).zip(hidden.chunks_exact(inner));
                for ((source, destination), (gradient, hidden)) in self.ways.edges.ends().zip(rows) {
                    let x = row_mut(&mut at_source, source, inner).iter_mut();
                    let z = row_mut(&mut at_destination, destination, inner).iter_mut();
                    for (((x, z), &gradient), &hidden) in x.zip(z).zip(gradient).zip(hidden) {
                        let passed = if hidden <= T::default() { T::default() } else { gradient };
                        *x += passed;
                        *z += passed;
                    }
                }
                let rows = at_source.chunks_exact_mut(inner).zip(at_destination.chunks_exact(inner));
                for (&code, (x, z)) in self.ways.codes.iter().zip(rows) {
                    let codes = row_mut(&mut of_source, code, inner).iter_mut();
                    let codes = codes.zip(row_mut(&mut of_destination, code, inner));
                    for ((x, &z), (of_source, of_destination)) in x.iter_mut().zip(z).zip(codes) {
                        *of_source += *x;
                        *of_destination += z;
                        *x -= z;
                    }
                }
            },
        );
        let projected = View::new(&at_source, nodes, inner);
        multiply(projected, View::strided(network.first, inner, width, input), of_h, Write::Add);
        let mut by_state = vec![T::default(); inner * width];
        multiply(projected.transposed(), View::new(h, nodes, width), &mut by_state, Write::Replace);
        let mut first = vec![T::default(); inner * input];
        for (unit, (to, by_state)) in first.chunks_exact_mut(input).zip(by_state.chunks_exact(width)).enumerate() {
            let (states, by_code) = to.split_at_mut(width);
            states.copy_from_slice(by_state);
            let (as_source, as_destination) = by_code.split_at_mut(codes);
            for code in 0..self.codes_used {
                as_source[code] = of_source[code * inner + unit];
                as_destination[code] = of_destination[code * inner + unit];
            }
        }
        Network { first, bias: column_sums(&at_destination, inner), second, second_bias }
    }
}

impl<T: Real> CustomOp2 for Messages<T> {
    fn name(&self) -> &'static str {
        "gated-messages"
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let received = self.forward(contiguous(s1, l1)?, contiguous(s2, l2)?)?;
        Ok((T::into_storage(received), l1.shape().clone()))
    }

    fn bwd(
        &self,
        h: &Tensor,
        flat: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let gradients = with_numbers(gradient, |gradient: &[T]| {
            with_numbers(h, |h: &[T]| with_numbers(flat, |flat: &[T]| self.backward(h, flat, gradient)))
        })???;
        let [of_h, of_flat] = gradients?;
        let tensor = |values: Vec<T>, like: &Tensor| Tensor::from_vec(values, like.shape(), like.device()).map(Some);
        Ok((tensor(of_h, h)?, tensor(of_flat, flat)?))
    }
}

//! Messages along edges, each let through by a gate of its own (Liao et al. 2019, equations 5 to 7).
//!
//! Either is a network of two layers over `[h_s - h_d, code of s, code of d]` of an edge s → d, the codes one-hot. The first
//! layer is linear up to its rectifier, so it is computed once for each node and added up along the edges: `W (h_s - h_d)` is
//! `W h_s - W h_d`, and W applied to a one-hot code is one of its columns.
//!
//! On the CPU both networks and the sum at the destinations are one operation: composed of several, candle would make zeros
//! for every tensor of a row an edge on the way back and add the gradient to them.

use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor, bail};
use candle_nn::ops::sigmoid;
use candle_nn::{Init, VarBuilder};

use super::dispatch::is_fused;
use super::edges::{EdgeList, gather_pairs, row, row_mut, sum_into};
use super::layer::{Linear, rectify, repeat_row};
use super::matmul::{View, Write, multiply};
use super::real::{Real, contiguous, with_numbers};
use super::rows::pick;
use super::simd::vectorised;

/// The networks of messages and of gates.
#[derive(Debug, Clone)]
pub struct GatedMessages {
    message: EdgeMlp,
    attention: EdgeMlp,
    codes: usize,
}

/// What messages pass along, and what tells nodes apart besides their states.
#[derive(Debug, Clone)]
pub struct Ways {
    pub edges: Arc<EdgeList>,
    /// A code of each node, less than the layer's number of codes.
    pub codes: Arc<Vec<u32>>,
}

impl GatedMessages {
    /// Of states of width `width`, and hidden layers of widths `hidden` for messages and for gates.
    ///
    /// # Errors
    /// When the parameters aren't there or have other shapes.
    pub fn new(width: usize, hidden: [usize; 2], codes: usize, vb: &VarBuilder) -> Result<Self> {
        let network = |name: &str, hidden: usize| EdgeMlp::new([width, hidden, width], codes, &vb.pp(name));
        Ok(Self { message: network("message", hidden[0])?, attention: network("attention", hidden[1])?, codes })
    }

    /// What each node receives, `[V, H]`, of the states `h [V, H]`.
    ///
    /// # Errors
    /// When candle fails, or there isn't a code for every node.
    pub fn forward(&self, h: &Tensor, ways: &Ways) -> Result<Tensor> {
        let (nodes, width) = h.dims2()?;
        if ways.codes.len() != nodes || ways.codes.iter().any(|&code| code as usize >= self.codes) {
            bail!("gated-messages: {} codes for {nodes} nodes", ways.codes.len());
        }
        if is_fused(h) {
            let parameters = [&self.message, &self.attention].map(EdgeMlp::parameters);
            let flat = parameters.iter().flatten().map(|part| part.flatten_all()).collect::<Result<Vec<_>>>()?;
            let flat = Tensor::cat(&flat, 0)?;
            let hidden = [&self.message, &self.attention].map(|network| network.hidden);
            let sizes = Sizes { width, hidden, codes: self.codes };
            return match h.dtype() {
                DType::F64 => h.contiguous()?.apply_op2(&flat, Messages::<f64>::new(sizes, ways)),
                _ => h.contiguous()?.apply_op2(&flat, Messages::<f32>::new(sizes, ways)),
            };
        }
        let message = self.message.forward(h, self.codes, ways)?; // [E, H]
        let attention = self.attention.forward(h, self.codes, ways)?;
        sum_into(&(message * sigmoid(&attention)?)?, &Arc::new(ways.edges.destinations.clone()), nodes)
    }
}

#[derive(Debug, Clone)]
struct EdgeMlp {
    hidden: usize,
    /// `[H', H + 2 codes]`.
    weight: Tensor,
    bias: Tensor,
    second: Linear,
}

impl EdgeMlp {
    fn new([input, hidden, output]: [usize; 3], codes: usize, vb: &VarBuilder) -> Result<Self> {
        let first = vb.pp("first");
        Ok(Self {
            hidden,
            weight: first.get_with_hints((hidden, input + 2 * codes), "weight", Init::Const(0.0))?,
            bias: first.get_with_hints(hidden, "bias", Init::Const(0.0))?,
            second: Linear::new(hidden, output, &vb.pp("second"))?,
        })
    }

    /// In the order in which [`Network`] has them.
    fn parameters(&self) -> [&Tensor; 4] {
        let [second, second_bias] = self.second.parameters();
        [&self.weight, &self.bias, second, second_bias]
    }

    /// Composed of candle's operations, `[E, H]`.
    fn forward(&self, h: &Tensor, codes: usize, ways: &Ways) -> Result<Tensor> {
        let (nodes, width) = h.dims2()?;
        let of_code = |first: usize| pick(&self.weight.narrow(1, first, codes)?.t()?.contiguous()?, &ways.codes);
        let projected = h.matmul(&self.weight.narrow(1, 0, width)?.t()?)?; // [V, H']
        let from_source = (&projected + of_code(width)?)?;
        let from_destination = ((of_code(width + codes)? - projected)? + repeat_row(&self.bias, nodes)?)?;
        self.second.forward(&rectify(&gather_pairs(&from_source, &from_destination, &ways.edges)?)?)
    }
}

#[derive(Debug, Clone, Copy)]
struct Sizes {
    /// H: of states and of what is received.
    width: usize,
    /// H' of messages and of gates.
    hidden: [usize; 2],
    codes: usize,
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
struct Messages<T> {
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
    fn new(sizes: Sizes, ways: &Ways) -> Self {
        let codes_used = ways.codes.iter().max().map_or(0, |&code| code as usize + 1);
        Self { sizes, ways: ways.clone(), codes_used, kept: OnceLock::new() }
    }

    /// The edges' ends.
    fn ends(&self) -> impl Iterator<Item = (u32, u32)> {
        self.ways.edges.sources.iter().copied().zip(self.ways.edges.destinations.iter().copied())
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
                for ((_, to), (messages, gates)) in self.ends().zip(rows) {
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
                for (hidden, (source, destination)) in hidden.chunks_exact_mut(inner).zip(self.ends()) {
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
                for ((_, named), ((of_message, of_gate), (message, gate))) in self.ends().zip(to.zip(from)) {
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
                for ((source, destination), (gradient, hidden)) in self.ends().zip(rows) {
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

/// The sum of each column of `rows [.., width]`.
fn column_sums<T: Real>(rows: &[T], width: usize) -> Vec<T> {
    let mut sums = vec![T::default(); width];
    vectorised(
        #[inline(always)]
        || {
            for row in rows.chunks_exact(width) {
                sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += value);
            }
        },
    );
    sums
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use candle_core::{DType, Device, Tensor};
    use candle_nn::{VarBuilder, VarMap};
    use proptest::prelude::*;
    use rand::RngExt;

    use super::{GatedMessages, Ways};
    use crate::nn::dispatch::composed;
    use crate::nn::edges::EdgeList;
    use crate::nn::parameters::{Parameters, Scheme};
    use crate::nn::seed::stream;

    const NODES: usize = 5;
    const WIDTH: usize = 4;
    const CODES: usize = 3;

    fn numbers(tensor: &Tensor) -> Vec<f64> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    fn random(shape: (usize, usize), seed: u64) -> Tensor {
        let mut rng = stream(seed, "test", 0);
        let values: Vec<f64> = (0..shape.0 * shape.1).map(|_| rng.random_range(-1.0..1.0)).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    fn ways(edges: usize, seed: u64) -> Ways {
        let mut rng = stream(seed, "ways", 0);
        let mut below = |count: usize, end: usize| (0..count).map(|_| rng.random_range(0..end as u32)).collect();
        let edges = EdgeList { sources: below(edges, NODES), destinations: below(edges, NODES) };
        Ways { edges: Arc::new(edges), codes: Arc::new(below(NODES, CODES)) }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        /// Fused and composed: two rounds with the same parameters, all of them and the states asked for their gradients.
        #[test]
        fn values_and_gradients_are_those_of_the_composed_form(edges in 1_usize..20, seed in 0..1_000_u64) {
            let map = VarMap::new();
            let vb = VarBuilder::from_varmap(&map, DType::F64, &Device::Cpu);
            let layer = GatedMessages::new(WIDTH, [6, 3], CODES, &vb).unwrap();
            let h = vb.get((NODES, WIDTH), "h").unwrap();
            let parameters = Parameters::initialise(&map, Scheme::PyTorch, seed).unwrap();
            let (ways, weights) = (ways(edges, seed), random((NODES, WIDTH), seed + 1));
            let both = || {
                let once = layer.forward(&(&h + &random((NODES, WIDTH), seed + 2)).unwrap(), &ways).unwrap();
                let twice = layer.forward(&(&h - &once).unwrap(), &ways).unwrap();
                let loss = (twice.sqr().unwrap() * &weights).unwrap().sum_all().unwrap();
                let gradients = loss.backward().unwrap();
                let of_each = parameters.iter().map(|(name, variable)| {
                    (name.to_owned(), numbers(gradients.get(variable).unwrap()))
                });
                (numbers(&twice), of_each.collect::<Vec<_>>())
            };
            let ((own, own_gradients), (expected, expected_gradients)) = (both(), composed(both));
            let close = |own: &[f64], expected: &[f64]| {
                own.len() == expected.len()
                    && own.iter().zip(expected).all(|(own, expected)| (own - expected).abs() < 1e-11 * (1.0 + expected.abs()))
            };
            prop_assert!(close(&own, &expected), "{:?}, not {:?}", own, expected);
            prop_assert_eq!(own_gradients.len(), 9);
            for ((name, own), (_, expected)) in own_gradients.iter().zip(&expected_gradients) {
                prop_assert!(close(own, expected), "{}: {:?}, not {:?}", name, own, expected);
            }
        }
    }

    #[test]
    fn a_code_that_the_layer_does_not_have_is_an_error() {
        let vb = VarBuilder::zeros(DType::F64, &Device::Cpu);
        let layer = GatedMessages::new(WIDTH, [6, 3], CODES, &vb).unwrap();
        let ways = Ways { codes: Arc::new(vec![CODES as u32; NODES]), ..ways(3, 1) };
        assert!(layer.forward(&random((NODES, WIDTH), 1), &ways).is_err());
        let ways = Ways { codes: Arc::new(vec![0; NODES - 1]), ..ways };
        assert!(layer.forward(&random((NODES, WIDTH), 1), &ways).is_err());
    }
}

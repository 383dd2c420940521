//! What the autoregressive kinds say of a graph: its negative log-likelihood in nats, in parts, over orderings.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Result, Tensor, bail};

/// The negative log-likelihood of a graph in one ordering, in nats, by part.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct OrderingLikelihood {
    /// Of the slots in reach.
    pub rows: f64,
    /// Of where the sequence ends: of the number of nodes.
    pub stop: f64,
    /// Of the slots out of reach, edges and absences.
    pub out_of_reach: f64,
    /// Slots in reach.
    pub slots: u64,
    /// Edges out of reach. In mode `proper` they are charged, in mode `faithful` they are lost, as in the original.
    pub far_edges: u64,
    /// Nodes that were not modelled: other components and trailing nodes in mode `faithful`.
    pub lost_nodes: u64,
}

impl OrderingLikelihood {
    #[must_use]
    pub fn total(&self) -> f64 {
        self.rows + self.stop + self.out_of_reach
    }
}

/// The negative log-likelihood of a graph of `nodes` nodes over random orderings.
#[derive(Debug, Clone, PartialEq)]
pub struct Likelihood {
    pub nodes: usize,
    /// One or more.
    pub orderings: Vec<OrderingLikelihood>,
}

impl Likelihood {
    /// -(ln Σ p(S) - ln K), in nats: the average *probability* over the K orderings (GraphRNN, You et al. 2018, §3.1).
    #[must_use]
    pub fn total(&self) -> f64 {
        let least = self.orderings.iter().map(OrderingLikelihood::total).fold(f64::INFINITY, f64::min);
        let relative: f64 = self.orderings.iter().map(|ordering| (least - ordering.total()).exp()).sum();
        least - (relative / self.orderings.len() as f64).ln()
    }

    /// [`Likelihood::total`] per node.
    #[must_use]
    pub fn per_node(&self) -> f64 {
        self.total() / self.nodes as f64
    }

    /// The mean over orderings of a part, in nats.
    pub fn mean(&self, part: impl Fn(&OrderingLikelihood) -> f64) -> f64 {
        self.orderings.iter().map(part).sum::<f64>() / self.orderings.len() as f64
    }

    /// The standard deviation over orderings of the total, in nats; 0 for one ordering.
    #[must_use]
    pub fn deviation(&self) -> f64 {
        let count = self.orderings.len() as f64;
        if count < 2.0 {
            return 0.0;
        }
        let mean = self.mean(OrderingLikelihood::total);
        let squares = self.mean(|ordering| (ordering.total() - mean).powi(2));
        (squares * count / (count - 1.0)).sqrt()
    }

    /// The standard error of the mean over orderings, per node.
    #[must_use]
    pub fn std_error(&self) -> f64 {
        self.deviation() / (self.orderings.len() as f64).sqrt() / self.nodes as f64
    }
}

/// Takes the terms that a likelihood is the sum of, as they are computed.
pub trait Terms {
    /// Whether they are looked at; where not, they need not be computed.
    const WANTED: bool = true;

    /// Of ordering `ordering`: the slot between two nodes, whether there is an edge, and what that costs in nats.
    fn slot(&mut self, ordering: usize, nodes: (u32, u32), present: bool, nll: f64);
    /// Of ordering `ordering`: what a node costs by itself, in nats.
    fn node(&mut self, ordering: usize, node: u32, nll: f64);
}

/// Wants no terms: the sums are enough.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoTerms;

impl Terms for NoTerms {
    const WANTED: bool = false;

    fn slot(&mut self, _ordering: usize, _nodes: (u32, u32), _present: bool, _nll: f64) {}
    fn node(&mut self, _ordering: usize, _node: u32, _nll: f64) {}
}

/// The chance of an edge in a slot out of a model's reach, the same for all such slots.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FarEdges {
    probability: f64,
}

impl FarEdges {
    /// Learnt from training orderings: `edges` of `slots` out of reach, in `rows` rows.
    ///
    /// The estimate of Krichevsky and Trofimov, (e + ½)/(s + 1), where every row counts as one slot more, empty: most
    /// families have no slot out of reach to learn from, and each of their rows says that links end within reach.
    #[must_use]
    pub fn fit(edges: u64, slots: u64, rows: u64) -> Self {
        Self { probability: (edges as f64 + 0.5) / ((slots + rows) as f64 + 1.0) }
    }

    /// The buffer's name among a model's weights.
    pub const BUFFER: &str = "far_edge_probability";

    /// As it is kept among a model's weights.
    ///
    /// # Errors
    /// When candle fails.
    pub fn to_buffer(&self) -> Result<Tensor> {
        Tensor::new(&[self.probability], &Device::Cpu)
    }

    /// # Errors
    /// When the weights have no such buffer, or one that is no probability strictly between 0 and 1.
    pub fn of_weights(weights: &BTreeMap<String, Tensor>) -> Result<Self> {
        let Some(buffer) = weights.get(Self::BUFFER) else { bail!("{} is missing", Self::BUFFER) };
        match buffer.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()?.as_slice() {
            &[probability] if probability > 0.0 && probability < 1.0 => Ok(Self { probability }),
            _ => bail!("{} is no probability", Self::BUFFER),
        }
    }

    #[must_use]
    pub fn probability(&self) -> f64 {
        self.probability
    }

    /// What `edges` edges in `slots` slots cost, in nats.
    #[must_use]
    pub fn cost(&self, edges: u64, slots: u64) -> f64 {
        self.edge_cost() * edges as f64 + self.absence_cost() * slots.saturating_sub(edges) as f64
    }

    /// What an edge costs, in nats.
    #[must_use]
    pub fn edge_cost(&self) -> f64 {
        -self.probability.ln()
    }

    /// What an absence costs, in nats.
    #[must_use]
    pub fn absence_cost(&self) -> f64 {
        -(-self.probability).ln_1p()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use candle_core::{Device, Tensor};

    use super::{FarEdges, Likelihood, OrderingLikelihood};

    fn likelihood(totals: &[f64]) -> Likelihood {
        let orderings = totals.iter().map(|&rows| OrderingLikelihood { rows, ..OrderingLikelihood::default() });
        Likelihood { nodes: 2, orderings: orderings.collect() }
    }

    #[test]
    fn the_total_averages_probabilities_and_the_mean_averages_logarithms() {
        let two = likelihood(&[1.0, 3.0]);
        let exact = -(((-1.0_f64).exp() + (-3.0_f64).exp()) / 2.0).ln();
        assert!((two.total() - exact).abs() < 1e-12);
        assert!((two.per_node() - exact / 2.0).abs() < 1e-12);
        assert!((two.mean(OrderingLikelihood::total) - 2.0).abs() < 1e-12);
        assert!((two.deviation() - 2.0_f64.sqrt()).abs() < 1e-12);
        assert!((two.std_error() - 0.5).abs() < 1e-12);
    }

    #[test]
    fn totals_far_below_the_smallest_number_stay_finite() {
        assert!(
            (likelihood(&[1e6, 1e6 + 2.0]).total() - (1e6 + 2.0_f64.ln() - (1.0 + (-2.0_f64).exp()).ln())).abs() < 1e-6
        );
        assert_eq!(likelihood(&[7.0]).std_error(), 0.0);
    }

    #[test]
    fn far_edges_are_rare_but_never_impossible() {
        let none = FarEdges::fit(0, 0, 999);
        assert!((none.probability() - 0.0005).abs() < 1e-12);
        assert!((none.cost(1, 3) - (-(0.0005_f64.ln()) - 2.0 * 0.9995_f64.ln())).abs() < 1e-12);
        assert!((FarEdges::fit(3, 10, 0).probability() - 3.5 / 11.0).abs() < 1e-12);
    }

    #[test]
    fn a_buffer_is_read_back_or_refused() {
        let weights = |buffer: Tensor| BTreeMap::from([(FarEdges::BUFFER.to_owned(), buffer)]);
        let learnt = FarEdges::fit(3, 10, 7);
        assert_eq!(FarEdges::of_weights(&weights(learnt.to_buffer().unwrap())).unwrap(), learnt);
        for wrong in [0.0, 1.0, f64::NAN, -0.1] {
            assert!(FarEdges::of_weights(&weights(Tensor::new(&[wrong], &Device::Cpu).unwrap())).is_err(), "{wrong}");
        }
        assert!(FarEdges::of_weights(&BTreeMap::new()).is_err());
    }
}

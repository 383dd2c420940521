//! What the entries of a block cost under a mixture of Bernoullis (Liao et al. 2019).

use super::blocks::{Batch, Block};

/// The entries of a block that count: their positions, their label, what they cost under each of `components`, of
/// `costs [all entries, C]` in nats.
pub(super) fn counted<'a>(
    batch: &'a Batch,
    block: &Block,
    costs: &'a [f32],
    components: usize,
) -> impl Iterator<Item = ((u32, u32), bool, &'a [f32])> + Clone {
    let costs = &costs[block.entries.start * components..block.entries.end * components];
    let entries = block.entries.clone().zip(costs.chunks_exact(components));
    entries
        .filter(|(entry, _)| batch.counted[*entry])
        .map(|(entry, costs)| (batch.positions[entry], batch.labels[entry], costs))
}

/// The mixture of Bernoullis of one block after another.
#[derive(Debug, Default)]
pub(super) struct Mixture {
    /// ln α, `[C]`.
    log_weights: Vec<f64>,
    /// Of each component and of what was charged so far, ln of the joint probability.
    joint: Vec<f64>,
}

impl Mixture {
    /// Begins with a block of these `alphas [C]`.
    pub(super) fn begin(&mut self, alphas: &[f32]) {
        self.log_weights.clear();
        self.log_weights.extend(alphas.iter().copied().map(f64::from));
        let normaliser = log_sum_exp(&self.log_weights);
        self.log_weights.iter_mut().for_each(|weight| *weight -= normaliser);
    }

    /// The block's negative log-likelihood in nats, of its entries that count.
    pub(super) fn cost<'a>(&mut self, counted: impl Iterator<Item = ((u32, u32), bool, &'a [f32])>) -> f64 {
        self.joint.clone_from(&self.log_weights);
        counted.for_each(|(_, _, costs)| subtract(&mut self.joint, costs));
        -log_sum_exp(&self.joint)
    }

    /// What each entry costs given those before it: they add up to the block's cost.
    pub(super) fn terms<'a>(
        &mut self,
        counted: impl Iterator<Item = ((u32, u32), bool, &'a [f32])>,
        mut take: impl FnMut((u32, u32), bool, f64),
    ) {
        self.joint.clone_from(&self.log_weights);
        let mut before = log_sum_exp(&self.joint);
        for (positions, present, costs) in counted {
            subtract(&mut self.joint, costs);
            let after = log_sum_exp(&self.joint);
            take(positions, present, before - after);
            before = after;
        }
    }
}

fn subtract(joint: &mut [f64], costs: &[f32]) {
    joint.iter_mut().zip(costs).for_each(|(joint, &cost)| *joint -= f64::from(cost));
}

fn log_sum_exp(values: &[f64]) -> f64 {
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    largest + values.iter().map(|value| (value - largest).exp()).sum::<f64>().ln()
}

//! How many nodes a graph of the family has.

/// The weight ρ^|n - a| of a kernel at a, with its bandwidth at least this: neighbouring sizes are alike.
const NARROWEST: f64 = 0.5;

/// A smoothed distribution over n ≥ 1, which GRAN itself says nothing of.
///
/// `p(n) = (1 - λ) mean_i K(n; n_i) + λ / (n (n + 1))` with λ = 1/(N + 1): kernels ρ^|n - a| at the training sizes, each
/// summing to one over n ≥ 1, and a tail so heavy that no size is impossible. ln ρ = -1/h, h by Silverman's rule.
#[derive(Debug, Clone, PartialEq)]
pub struct SizeLaw {
    /// Sizes and how many training graphs have them, ascending.
    counts: Vec<(u32, u32)>,
    graphs: f64,
    rho: f64,
}

impl SizeLaw {
    #[must_use]
    pub fn of_sizes(sizes: &[usize]) -> Self {
        let mut sorted: Vec<u32> = sizes.iter().map(|&size| size as u32).collect();
        sorted.sort_unstable();
        Self::of_counts(sorted.chunk_by(|a, b| a == b).map(|same| (same[0], same.len() as u32)).collect())
    }

    #[must_use]
    pub fn of_counts(counts: Vec<(u32, u32)>) -> Self {
        let graphs: f64 = counts.iter().map(|&(_, count)| f64::from(count)).sum();
        let mean_of = |of: &dyn Fn(f64) -> f64| {
            counts.iter().map(|&(size, count)| of(f64::from(size)) * f64::from(count)).sum::<f64>() / graphs.max(1.0)
        };
        let mean = mean_of(&|size| size);
        let deviation = mean_of(&|size| (size - mean).powi(2)).sqrt();
        let bandwidth = (1.06 * deviation * graphs.max(1.0).powf(-0.2)).max(NARROWEST);
        Self { rho: (-1.0 / bandwidth).exp(), graphs, counts }
    }

    /// Sizes and how many training graphs have them, ascending.
    #[must_use]
    pub fn counts(&self) -> &[(u32, u32)] {
        &self.counts
    }

    /// -ln p(n), for n ≥ 1.
    #[must_use]
    pub fn cost(&self, nodes: usize) -> f64 {
        let n = nodes as f64;
        let kernels: f64 = self
            .counts
            .iter()
            .map(|&(size, count)| {
                let size = f64::from(size);
                let normaliser = (1.0 + self.rho - self.rho.powf(size)) / (1.0 - self.rho);
                f64::from(count) * self.rho.powf((n - size).abs()) / normaliser
            })
            .sum();
        let tail = 1.0 / (self.graphs + 1.0);
        -((1.0 - tail) * kernels / self.graphs.max(1.0) + tail / (n * (n + 1.0))).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::SizeLaw;

    #[test]
    fn probabilities_add_up_to_one() {
        for sizes in [vec![1], vec![5; 40], vec![2, 3, 3, 9, 30], vec![60, 61, 400]] {
            let law = SizeLaw::of_sizes(&sizes);
            let most = 200_000;
            let sum: f64 = (1..=most).map(|n| (-law.cost(n)).exp()).sum();
            // What is left is the tail beyond, λ / (most + 1).
            let left = 1.0 / (sizes.len() as f64 + 1.0) / (most as f64 + 1.0);
            assert!((sum + left - 1.0).abs() < 1e-9, "{sizes:?}: {sum}");
        }
    }

    #[test]
    fn sizes_seen_are_likelier_than_their_neighbours_and_those_than_strangers() {
        let law = SizeLaw::of_sizes(&[20; 50]);
        assert!(law.cost(20) < law.cost(21) && law.cost(21) < law.cost(30) && law.cost(30) < law.cost(3_000));
        assert!(law.cost(1_000_000).is_finite());
        assert_eq!(SizeLaw::of_counts(law.counts().to_vec()), law);
    }
}

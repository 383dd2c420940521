//! What a detector's models found in a graph, averaged over its members, as it is told to users.

use crate::model::Evidence;
use crate::model::likelihood::{Likelihood, OrderingLikelihood};
use crate::stats::histogram::Histogram;

/// What a score was made from.
#[derive(Debug, Clone, PartialEq)]
pub enum Findings {
    Completion(Completion),
    Nll(Nll),
}

/// Completion scores (probabilities) of a graph's own edges.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// One for each sample.
    pub values: Vec<f64>,
    /// Of the non-edges sampled beside them; one a sample, but where the graph has none.
    pub non_edges: Vec<f64>,
    /// `None` for a graph without edges.
    pub mean: Option<f64>,
    /// 10 bins of [0, 1].
    pub histogram: Histogram,
}

/// A graph's negative log-likelihood over orderings, in nats.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Nll {
    /// Of the average probability over orderings, per node.
    pub per_node: f64,
    /// The same of the whole graph.
    pub total: f64,
    /// The mean over orderings of the negative log-likelihood, and its parts.
    pub mean: f64,
    pub rows: f64,
    pub stop: f64,
    pub out_of_reach: f64,
    /// The standard error of `mean`, per node.
    pub std_error: f64,
    pub orderings: usize,
    /// The mean number of edges out of the model's reach.
    pub far_edges: f64,
    /// The mean number of nodes that the model says nothing of.
    pub lost_nodes: f64,
}

impl Findings {
    /// The average over a detector's members, which all are of one kind. At least one.
    pub(super) fn average<'a>(evidence: impl Iterator<Item = &'a Evidence>) -> Self {
        let (mut completions, mut non_completions, mut likelihoods) = (Vec::new(), Vec::new(), Vec::new());
        for found in evidence {
            match found {
                Evidence::Completions { edges, non_edges } => {
                    completions.push(edges.as_slice());
                    non_completions.push(non_edges.as_slice());
                }
                Evidence::Likelihood(likelihood) => likelihoods.push(likelihood),
            }
        }
        if likelihoods.is_empty() {
            Self::Completion(completion(&completions, &non_completions))
        } else {
            Self::Nll(nll(&likelihoods))
        }
    }

    #[must_use]
    pub fn completion(&self) -> Option<&Completion> {
        match self {
            Self::Completion(completion) => Some(completion),
            Self::Nll(_) => None,
        }
    }

    #[must_use]
    pub fn nll(&self) -> Option<&Nll> {
        match self {
            Self::Completion(_) => None,
            Self::Nll(nll) => Some(nll),
        }
    }
}

/// The completion scores of a graph, averaged over the members sample by sample: every member was asked of the same.
fn completion(edges: &[&[f64]], non_edges: &[&[f64]]) -> Completion {
    let averages = averages(edges);
    Completion {
        mean: (!averages.is_empty()).then(|| averages.iter().sum::<f64>() / averages.len() as f64),
        histogram: Histogram::of(&averages, 0.0, 1.0, 10),
        values: averages,
        non_edges: self::averages(non_edges),
    }
}

fn averages(members: &[&[f64]]) -> Vec<f64> {
    let count = members.iter().map(|values| values.len()).min().unwrap_or(0);
    (0..count).map(|i| members.iter().map(|values| values[i]).sum::<f64>() / members.len() as f64).collect()
}

/// The likelihoods of a graph under each member, averaged figure by figure.
fn nll(members: &[&Likelihood]) -> Nll {
    let average =
        |of: &dyn Fn(&Likelihood) -> f64| members.iter().map(|member| of(member)).sum::<f64>() / members.len() as f64;
    let part = |of: fn(&OrderingLikelihood) -> f64| average(&|likelihood| likelihood.mean(of));
    Nll {
        per_node: average(&Likelihood::per_node),
        total: average(&Likelihood::total),
        mean: part(OrderingLikelihood::total),
        rows: part(|ordering| ordering.rows),
        stop: part(|ordering| ordering.stop),
        out_of_reach: part(|ordering| ordering.out_of_reach),
        std_error: average(&Likelihood::std_error),
        orderings: members.first().map_or(0, |likelihood| likelihood.orderings.len()),
        far_edges: part(|ordering| ordering.far_edges as f64),
        lost_nodes: part(|ordering| ordering.lost_nodes as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::{Findings, OrderingLikelihood};
    use crate::model::Evidence;
    use crate::model::likelihood::Likelihood;

    #[test]
    fn members_are_averaged_figure_by_figure() {
        let of = |rows: f64| {
            let ordering = OrderingLikelihood { rows, stop: 1.0, ..OrderingLikelihood::default() };
            Evidence::Likelihood(Likelihood { nodes: 2, orderings: vec![ordering; 3] })
        };
        let found = Findings::average([of(3.0), of(5.0)].iter());
        let nll = found.nll().unwrap();
        assert_eq!((nll.orderings, nll.std_error, found.completion()), (3, 0.0, None));
        for (figure, expected) in
            [(nll.mean, 5.0), (nll.total, 5.0), (nll.per_node, 2.5), (nll.rows, 4.0), (nll.stop, 1.0)]
        {
            assert!((figure - expected).abs() < 1e-12);
        }

        let of = |edges: &[f64], non_edges: &[f64]| Evidence::Completions {
            edges: edges.to_vec(),
            non_edges: non_edges.to_vec(),
        };
        let found = Findings::average([of(&[0.2, 0.4], &[0.1]), of(&[0.4, 0.8], &[0.3])].iter());
        let completion = found.completion().unwrap();
        assert!((completion.values[0] - 0.3).abs() < 1e-12 && (completion.mean.unwrap() - 0.45).abs() < 1e-12);
        assert!((completion.non_edges[0] - 0.2).abs() < 1e-12);
    }
}

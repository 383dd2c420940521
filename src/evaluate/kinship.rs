//! What isomorphism alone says of a comparison: which anomalies the detectors have met, and how well any score could do.

use std::collections::HashMap;

use rayon::prelude::*;

use crate::graph::Graph;
use crate::graph::isomorphism::{Effort, Fingerprint, are_isomorphic};
use crate::stats::ranking::auroc;

/// Graphs by their isomorphism class.
#[derive(Debug, Default)]
pub struct Classes<'a> {
    by_fingerprint: HashMap<Fingerprint, Vec<(&'a Graph, usize)>>,
    count: usize,
    effort: Effort,
}

impl<'a> Classes<'a> {
    /// The class of each graph, made where it is the first of its class.
    pub fn enter(&mut self, graphs: &[&'a Graph]) -> Vec<usize> {
        let enter = |(&graph, fingerprint): (&&'a Graph, Fingerprint)| {
            self.class_of(graph, fingerprint).unwrap_or_else(|| {
                let class = self.count;
                self.by_fingerprint.entry(fingerprint).or_default().push((graph, class));
                self.count += 1;
                class
            })
        };
        graphs.iter().zip(fingerprints(graphs)).map(enter).collect()
    }

    /// The class of each graph, where it is of one that is there.
    pub fn find(&mut self, graphs: &[&Graph]) -> Vec<Option<usize>> {
        let class_of = |(graph, fingerprint): (&&Graph, Fingerprint)| self.class_of(graph, fingerprint);
        graphs.iter().zip(fingerprints(graphs)).map(class_of).collect()
    }

    fn class_of(&mut self, graph: &Graph, fingerprint: Fingerprint) -> Option<usize> {
        self.effort.add(graph);
        let alike = self.by_fingerprint.get(&fingerprint)?;
        // What can't be told apart with bounded work is taken for different: a ceiling stays one, and no graph is called known.
        let twin = alike.iter().find(|(known, _)| are_isomorphic(known, graph, &mut self.effort) == Some(true));
        twin.map(|&(_, class)| class)
    }
}

fn fingerprints(graphs: &[&Graph]) -> Vec<Fingerprint> {
    graphs.par_iter().map(|graph| Fingerprint::of(graph)).collect()
}

/// How many graphs the largest class has; at most one where no two are isomorphic. `classes` has one of each graph.
pub(super) fn largest_class(classes: &[usize]) -> usize {
    sizes(classes).into_iter().max().unwrap_or(0)
}

/// How many independent graphs say as much of a mean as these, where those of a class all say the same (Kish 1965).
pub(super) fn effective_count(classes: &[usize]) -> f64 {
    let squares: usize = sizes(classes).into_iter().map(|size| size * size).sum();
    (classes.len() * classes.len()) as f64 / squares.max(1) as f64
}

fn sizes(classes: &[usize]) -> Vec<usize> {
    let mut sizes = vec![0; classes.iter().max().map_or(0, |last| last + 1)];
    classes.iter().for_each(|&class| sizes[class] += 1);
    sizes
}

/// The largest AUROC on these very graphs that a score can have which gives isomorphic graphs the same.
///
/// `None` where no normal graph is isomorphic to an anomalous one, and so nothing but 1 is the limit. Graphs are given by
/// their classes. It is that of the score which knows each class's share of anomalies (the likelihood ratio: Neyman and Pearson 1933).
#[must_use]
pub fn ceiling(normal: &[usize], anomalous: &[usize]) -> Option<f64> {
    let count = normal.iter().chain(anomalous).max().map_or(0, |last| last + 1);
    let mut counts = vec![(0_usize, 0_usize); count];
    normal.iter().for_each(|&class| counts[class].0 += 1);
    anomalous.iter().for_each(|&class| counts[class].1 += 1);
    if counts.iter().all(|&(normal, anomalous)| normal == 0 || anomalous == 0) {
        return None;
    }
    let share = |&class: &usize| {
        let (normal, anomalous) = counts[class];
        anomalous as f64 / (normal + anomalous) as f64
    };
    let shares = |of: &[usize]| of.iter().map(share).collect::<Vec<_>>();
    Some(auroc(&shares(normal), &shares(anomalous)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::testing::graph;

    fn path(n: u64) -> Graph {
        graph(n, &(1..n).map(|i| (i - 1, i)).collect::<Vec<_>>())
    }

    fn refs(graphs: &[Graph]) -> Vec<&Graph> {
        graphs.iter().collect()
    }

    #[test]
    fn isomorphic_graphs_are_known_whatever_their_names() {
        let known = [path(3), path(4)];
        let mut classes = Classes::default();
        assert_eq!(classes.enter(&refs(&known)), [0, 1]);
        let asked = [graph(3, &[(0, 2), (2, 1)]), graph(3, &[(0, 1), (1, 2), (2, 0)]), path(4), path(5)];
        assert_eq!(classes.find(&refs(&asked)), [Some(0), None, Some(1), None]);
    }

    #[test]
    fn the_largest_class_is_counted() {
        for (classes, largest) in [(&[][..], 0), (&[0, 1, 2], 1), (&[0, 2, 1, 2], 2)] {
            assert_eq!(largest_class(classes), largest, "{classes:?}");
        }
    }

    #[test]
    fn twins_are_worth_less_than_as_many_graphs() {
        for (classes, worth) in [(&[][..], 0.0), (&[0, 1, 2], 3.0), (&[5, 5, 5], 1.0), (&[0, 2, 2], 9.0 / 5.0)] {
            assert_eq!(effective_count(classes), worth, "{classes:?}");
        }
    }

    /// By hand: paths of 3 are 2 normal and 1 anomalous, of 4 one each, of 5 one anomalous. The shares are 1/3, 1/2 and 1;
    /// of 9 pairs the best score wins 3 (path 5) + 2 + 1/2 (path 4) + 2/2 (path 3) = 6.5.
    #[test]
    fn classes_that_mix_set_a_ceiling() {
        let (normal, anomalous) = ([path(3), path(3), path(4)], [path(3), path(4), path(5)]);
        let mut classes = Classes::default();
        let (normal, anomalous) = (classes.enter(&refs(&normal)), classes.enter(&refs(&anomalous)));
        let found = ceiling(&normal, &anomalous).unwrap();
        assert!((found - 6.5 / 9.0).abs() < 1e-12, "{found}");
        assert_eq!(ceiling(&normal[..2], &anomalous[1..]), None);
    }
}

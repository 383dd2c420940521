//! Graphs asked about, parted into what is known of them and what has to be computed.

use super::compute::Compute as _;
use super::jury::{Candidate, Question, Scored};
use crate::graph::Graph;
use crate::model::Cost;

/// Graphs on their way to their scores, and what is known already.
#[derive(Debug)]
pub struct Inquiry {
    question: Question,
    /// One for each graph; none where something has to be computed.
    known: Vec<Option<Scored>>,
    /// Those graphs, in their order.
    unknown: Vec<Candidate>,
}

impl Inquiry {
    pub(super) fn new(question: Question, graphs: Vec<Graph>) -> Self {
        let mut unknown = Vec::new();
        let known = graphs
            .into_iter()
            .map(|graph| {
                let candidate = question.candidate(graph);
                let known = question.recall(&candidate);
                if known.is_none() {
                    unknown.push(candidate);
                }
                known
            })
            .collect();
        Self { question, known, unknown }
    }

    /// Estimated work of what has to be computed, one graph after another.
    pub(super) fn cost(&self) -> Cost {
        self.unknown.iter().map(|candidate| self.question.cost(candidate)).fold(Cost::default(), Cost::after)
    }

    /// Whether there is nothing to compute.
    pub(super) fn is_known(&self) -> bool {
        self.unknown.is_empty()
    }

    /// The question, what has to be computed for it, and how to make the whole answer of that.
    pub(super) fn part(self) -> (Question, Vec<Candidate>, impl FnOnce(Vec<Scored>) -> Vec<Scored>) {
        let Self { question, known, unknown } = self;
        let complete = move |computed: Vec<Scored>| {
            let mut computed = computed.into_iter();
            known.into_iter().filter_map(|known| known.or_else(|| computed.next())).collect()
        };
        (question, unknown, complete)
    }
}

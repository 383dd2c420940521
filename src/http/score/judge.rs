//! From graphs to answers: one way for one graph, for a batch and for a line of a stream, so that all give the same bits.

use std::collections::HashSet;

use super::options::{Alpha, Checked};
use super::panel::{Panel, refuse_unreachable, shortage};
use super::wire::{ExplanationWire, KindScore, ScoreResponse, Subject, VerdictWire};
use crate::detector::{self, Verdict};
use crate::graph::Graph;
use crate::graph::format::ParsedGraph;
use crate::http::AppState;
use crate::http::error::Problem;
use crate::scorer::{Permit, PermitError, Scored, Scorer, Timing};

/// Who judges and how: everything that an answer depends on besides the graph.
#[derive(Debug, Clone)]
pub(super) struct Judge {
    scorer: Scorer,
    panel: Panel,
    options: Checked,
}

impl Judge {
    /// # Errors
    /// 422 for a kind that isn't there, and for an alpha out of reach.
    pub(super) async fn new(state: &AppState, panel: Panel, options: Checked) -> Result<Self, Problem> {
        let panel = panel.asked(state, &options).await?;
        Ok(Self { scorer: state.scorer.clone(), panel, options })
    }

    /// Room for one graph in the queue.
    ///
    /// # Errors
    /// When there is none now, or never will be.
    pub(super) fn permit(&self, graph: &ParsedGraph) -> Result<Permit, PermitError> {
        self.scorer.permit(self.cost(&graph.graph))
    }

    /// Room for all of `graphs` at once.
    ///
    /// # Errors
    /// When there is none now, or never will be.
    pub(super) fn permit_all(&self, graphs: &[ParsedGraph]) -> Result<Permit, PermitError> {
        self.scorer.permit(graphs.iter().map(|graph| self.cost(&graph.graph)).fold(0, u64::saturating_add))
    }

    /// Estimated multiply-adds of judging `graph`.
    fn cost(&self, graph: &Graph) -> u64 {
        let (nodes, edges) = (graph.node_count(), graph.edge_count());
        let costs = self.panel.detectors.iter().map(|one| detector::cost(one.kind, nodes, edges, &self.options.score));
        costs.fold(0, u64::saturating_add)
    }

    /// Judges graphs, with room for all of them in `permit`.
    ///
    /// # Errors
    /// When the scorer fails, and 422 when an alpha that was asked for turns out to be out of reach.
    pub(super) async fn judge(
        &self,
        permit: Permit,
        parsed: Vec<ParsedGraph>,
    ) -> Result<(Vec<ScoreResponse>, Timing), Problem> {
        let (graphs, subjects): (Vec<Graph>, Vec<Subject>) = parsed.into_iter().map(Subject::part).unzip();
        let (scored, timing) = self.scorer.score(permit, &self.panel.ids(), graphs, self.options.score).await?;
        let answers = subjects.into_iter().zip(scored).map(|(subject, scored)| self.answer(subject, &scored));
        Ok((answers.collect::<Result<_, _>>()?, timing))
    }

    fn answer(&self, subject: Subject, scored: &Scored) -> Result<ScoreResponse, Problem> {
        let (verdict, shortage) = self.verdict(&scored.verdict)?;
        let explanation = ExplanationWire::of(scored, &subject);
        let Subject { summary, warnings, .. } = subject;
        let told = scored.scores.iter().flat_map(|(_, score)| &score.warnings).chain(&scored.verdict.warnings);
        Ok(ScoreResponse {
            family: self.panel.family.clone(),
            graph: summary,
            warnings: once_each(warnings.into_iter().chain(told.cloned()).chain(shortage)),
            scores: scored.scores.iter().map(|(id, score)| KindScore::new(*id, score)).collect(),
            verdict,
            explanation,
        })
    }

    /// The verdict at the level asked for, with a warning when the default level is out of reach.
    fn verdict(&self, verdict: &Verdict) -> Result<(VerdictWire, Option<String>), Problem> {
        let alpha = self.options.alpha.value();
        let reachable = alpha >= verdict.min_p;
        if let Alpha::Asked(alpha) = self.options.alpha {
            refuse_unreachable(alpha, verdict.calibration_size, self.options.place)?;
        }
        let wire = VerdictWire {
            anomalous: reachable.then_some(verdict.p_value <= alpha),
            nonconformity: verdict.nonconformity,
            p_value: verdict.p_value,
            alpha,
            min_p: verdict.min_p,
            calibration_size: verdict.calibration_size,
            p_size: verdict.p_size,
            p_structure: verdict.p_structure,
        };
        let warning = || format!("no verdict: {}", shortage(alpha, verdict.calibration_size));
        Ok((wire, (!reachable).then(warning)))
    }
}

/// Two detectors often have the same thing to say of a graph.
fn once_each(warnings: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = HashSet::new();
    warnings.filter(|warning| seen.insert(warning.clone())).collect()
}

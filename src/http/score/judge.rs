//! From graphs to answers: one way for one graph, for a batch and for a line of a stream, so that all give the same bits.

use std::collections::HashSet;

use super::explanation::ExplanationWire;
use super::options::{Alpha, Checked};
use super::panel::{Panel, refuse_unreachable, shortage};
use super::wire::{KindScore, ScoreResponse, Subject, VerdictWire};
use crate::detector::Verdict;
use crate::graph::Graph;
use crate::graph::format::ParsedGraph;
use crate::http::AppState;
use crate::http::blocking::blocking;
use crate::http::error::Problem;
use crate::scorer::{Inquiry, Jury, Permit, PermitError, Scored, Scorer, Timing};

/// About a hundred microseconds, on a slow machine: to read so many bytes of JSON, and to compare with so many graphs.
const QUICK_BYTES: usize = 8 * 1024;
const QUICK_CALIBRATION: usize = 500;

/// Who judges and how: everything that an answer depends on besides the graph.
#[derive(Debug, Clone)]
pub(super) struct Judge {
    scorer: Scorer,
    family: String,
    jury: Jury,
    options: Checked,
}

/// Graphs to judge, and what their answers need of them besides their scores.
#[derive(Debug)]
pub(super) struct Case {
    subjects: Vec<Subject>,
    inquiry: Inquiry,
}

impl Judge {
    /// # Errors
    /// 422 for a kind that isn't there, and for an alpha out of reach.
    pub(super) async fn new(state: &AppState, panel: Panel, options: Checked) -> Result<Self, Problem> {
        let panel = panel.asked(&options)?;
        let jury = state.scorer.load(&panel.ids()).await?;
        // The largest set of calibration graphs that the detectors can share; the verdict itself knows the exact one.
        if let Alpha::Asked(alpha) = options.alpha {
            refuse_unreachable(alpha, jury.smallest_calibration(), options.place)?;
        }
        Ok(Self { scorer: state.scorer.clone(), family: panel.family, jury, options })
    }

    /// Takes up the graphs that `parse` reads from so many bytes, with what was said of them before.
    ///
    /// # Errors
    /// What `parse` says.
    pub(super) async fn open(
        &self,
        bytes: usize,
        parse: impl FnOnce() -> Result<Vec<ParsedGraph>, Problem> + Send + 'static,
    ) -> Result<Case, Problem> {
        let (scorer, jury, options) = (self.scorer.clone(), self.jury.clone(), self.options.score);
        let calibration = jury.smallest_calibration();
        let open = move || {
            let (graphs, subjects): (Vec<Graph>, Vec<Subject>) = parse()?.into_iter().map(Subject::part).unzip();
            Ok(Case { subjects, inquiry: scorer.look_up(&jury, graphs, options) })
        };
        // It takes time in proportion to both. What is over before another thread has woken need not wait for one.
        if bytes <= QUICK_BYTES && calibration <= QUICK_CALIBRATION { open() } else { blocking(open).await? }
    }

    /// Room in the queue for what has to be computed.
    ///
    /// # Errors
    /// When there is none now, or never will be.
    pub(super) fn permit(&self, case: &Case) -> Result<Permit, PermitError> {
        self.scorer.permit(&case.inquiry)
    }

    /// Judges graphs, with room for all of them in `permit`.
    ///
    /// # Errors
    /// When the scorer fails, and 422 when an alpha that was asked for turns out to be out of reach.
    pub(super) async fn judge(
        &self,
        permit: Permit,
        Case { subjects, inquiry }: Case,
    ) -> Result<(Vec<ScoreResponse>, Timing), Problem> {
        let (scored, timing) = self.scorer.score(permit, inquiry).await?;
        let answers = subjects.into_iter().zip(scored).map(|(subject, scored)| self.answer(subject, &scored));
        Ok((answers.collect::<Result<_, _>>()?, timing))
    }

    fn answer(&self, subject: Subject, scored: &Scored) -> Result<ScoreResponse, Problem> {
        let (verdict, no_verdict) = verdict(&scored.verdict, &self.options)?;
        let explanation = ExplanationWire::of(scored, &subject);
        let Subject { summary, warnings, .. } = subject;
        let told = scored.scores.iter().flat_map(|(_, score)| &score.warnings).chain(&scored.verdict.warnings);
        Ok(ScoreResponse {
            family: self.family.clone(),
            graph: summary,
            warnings: once_each(warnings.into_iter().chain(told.cloned()).chain(no_verdict)),
            scores: scored.scores.iter().map(|(id, score)| KindScore::new(*id, score)).collect(),
            verdict,
            explanation,
        })
    }
}

/// The verdict at the level asked for, with a warning when the default level is out of reach.
fn verdict(verdict: &Verdict, options: &Checked) -> Result<(VerdictWire, Option<String>), Problem> {
    if let Alpha::Asked(alpha) = options.alpha {
        refuse_unreachable(alpha, verdict.calibration_size, options.place)?;
    }
    let alpha = options.alpha.value();
    let reachable = alpha >= verdict.min_p;
    let warning = || format!("no verdict: {}", shortage(alpha, verdict.calibration_size));
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
    Ok((wire, (!reachable).then(warning)))
}

/// Two detectors often have the same thing to say of a graph.
fn once_each(warnings: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = HashSet::new();
    warnings.filter(|warning| seen.insert(warning.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detector::ScoreOptions;
    use crate::http::score::options::Place;
    use crate::stats::conformal::min_p;

    fn asked(alpha: Alpha) -> Checked {
        Checked { score: ScoreOptions::default(), alpha, kinds: None, place: Place::Body }
    }

    fn judged(p_value: f64, calibration_size: usize) -> Verdict {
        let min_p = min_p(calibration_size);
        let (p_size, p_structure) = (p_value, p_value);
        Verdict {
            nonconformity: 1.5,
            p_value,
            p_size,
            p_structure,
            min_p,
            calibration_size,
            folds: Vec::new(),
            warnings: Vec::new(),
        }
    }

    #[test]
    fn a_graph_is_anomalous_from_alpha_down() {
        for (p_value, anomalous) in [(0.05, true), (0.01, true), (0.051, false), (1.0, false)] {
            let (wire, warning) = verdict(&judged(p_value, 99), &asked(Alpha::Default)).unwrap();
            assert_eq!(wire.anomalous, Some(anomalous), "{p_value}");
            assert_eq!((wire.alpha, warning), (0.05, None));
        }
    }

    #[test]
    fn a_default_out_of_reach_gives_no_verdict_but_says_what_it_takes() {
        let (wire, warning) = verdict(&judged(0.125, 7), &asked(Alpha::Default)).unwrap();
        assert_eq!(wire.anomalous, None);
        assert!(warning.unwrap().contains("12 more than the 7"), "19 calibration graphs are needed");
    }

    #[test]
    fn an_alpha_that_was_asked_for_is_refused_out_of_reach_and_taken_at_its_edge() {
        let problem = verdict(&judged(0.125, 7), &asked(Alpha::Asked(0.1))).unwrap_err();
        assert_eq!(problem.status.as_u16(), 422);
        assert_eq!(problem.errors[0].pointer, "/options/alpha");
        let (wire, _) = verdict(&judged(0.125, 7), &asked(Alpha::Asked(0.125))).unwrap();
        assert_eq!(wire.anomalous, Some(true));
    }

    #[test]
    fn a_warning_is_given_once_in_the_order_of_the_first() {
        let given = ["b", "a", "b", "c", "a"].map(str::to_owned);
        assert_eq!(once_each(given.into_iter()), ["b", "a", "c"]);
    }
}

//! From graphs to answers: one way for one graph, for a batch and for a line of a stream, so that all give the same bits.

use std::collections::HashSet;
use std::sync::Arc;

use time::OffsetDateTime;

use super::explanation::ExplanationWire;
use super::options::{Checked, Level};
use super::panel::{Panel, Reach, refuse_unreachable};
use super::wire::{KindScore, ScoreResponse, Subject, VerdictWire};
use crate::detector::{Arrival, Verdict};
use crate::graph::Graph;
use crate::graph::format::ParsedGraph;
use crate::http::AppState;
use crate::http::blocking::blocking;
use crate::http::error::Problem;
use crate::id::{DetectorId, FamilyId};
use crate::recorder::Recorder;
use crate::scorer::{Inquiry, Jury, Permit, PermitError, Scored, Scorer, Timing};
use crate::stats::fdr::{fewest_rejected, is_rejected, q_values};
use crate::store::ServedScore;

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
    /// Where the graphs are counted as traffic, if they are.
    traffic: Option<Traffic>,
}

/// The traffic of a family under its active detectors.
#[derive(Debug, Clone)]
struct Traffic {
    recorder: Recorder,
    family: FamilyId,
    detectors: Arc<[DetectorId]>,
}

/// Graphs to judge, and what their answers need of them besides their scores.
#[derive(Debug)]
pub(super) struct Case {
    arrived: OffsetDateTime,
    subjects: Vec<Subject>,
    inquiry: Inquiry,
}

impl Judge {
    /// # Errors
    /// 422 for a kind that isn't there, and for a level out of reach.
    pub(super) async fn new(state: &AppState, panel: Panel, options: Checked) -> Result<Self, Problem> {
        let panel = panel.asked(&options)?;
        let detectors = panel.ids();
        let jury = state.scorer.load(&detectors).await?;
        // The largest set of calibration graphs that the detectors can share; the verdict itself knows the exact one.
        if options.level.is_asked() {
            refuse_unreachable(options.level, Reach::of(jury.smallest_calibration()), options.place)?;
        }
        let counts = options.record && jury.is_as_calibrated(&options.score);
        let traffic = panel.traffic_of.filter(|_| counts).map(|family| Traffic {
            recorder: state.recorder.clone(),
            family,
            detectors: detectors.into(),
        });
        Ok(Self { scorer: state.scorer.clone(), family: panel.family, jury, options, traffic })
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
        let arrived = OffsetDateTime::now_utc();
        let (scorer, jury, options) = (self.scorer.clone(), self.jury.clone(), self.options.score);
        let calibration = jury.smallest_calibration();
        let open = move || {
            let (graphs, subjects): (Vec<Graph>, Vec<Subject>) = parse()?.into_iter().map(Subject::part).unzip();
            Ok(Case { arrived, subjects, inquiry: scorer.look_up(&jury, graphs, options) })
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
    /// When the scorer fails, and 422 when a level that was asked for turns out to be out of reach.
    pub(super) async fn judge(
        &self,
        permit: Permit,
        Case { arrived, subjects, inquiry }: Case,
    ) -> Result<(Vec<ScoreResponse>, Timing), Problem> {
        let (scored, timing) = self.scorer.score(permit, inquiry).await?;
        let among = Among::each(&scored, self.options.level);
        let answers = subjects.into_iter().zip(&scored).zip(among);
        let answers = answers.map(|((subject, scored), among)| self.answer(subject, scored, among));
        let answers = answers.collect::<Result<_, _>>()?;
        if let Some(traffic) = &self.traffic {
            traffic.record(arrived, &scored);
        }
        Ok((answers, timing))
    }

    fn answer(&self, subject: Subject, scored: &Scored, among: Option<Among>) -> Result<ScoreResponse, Problem> {
        let (verdict, about_level) = verdict(&scored.verdict, &self.options, among)?;
        let explanation = ExplanationWire::of(scored, &subject);
        let Subject { summary, warnings, .. } = subject;
        let told = scored.scores.iter().flat_map(|(_, score)| &score.warnings).chain(&scored.verdict.warnings);
        Ok(ScoreResponse {
            family: self.family.clone(),
            graph: summary,
            warnings: once_each(warnings.into_iter().chain(told.cloned()).chain(about_level)),
            scores: scored.scores.iter().map(|(id, score)| KindScore::new(*id, score)).collect(),
            verdict,
            explanation,
        })
    }
}

impl Traffic {
    /// Counts graphs that have their answer, known before or not.
    fn record(&self, arrived: OffsetDateTime, scored: &[Scored]) {
        // Without a fold there is no scale that the graphs' scores could be compared on.
        for Scored { verdict, .. } in scored.iter().filter(|scored| !scored.verdict.folds.is_empty()) {
            self.recorder.record(ServedScore {
                family: self.family,
                detectors: Arc::clone(&self.detectors),
                at: arrived,
                score: Arrival { folds: verdict.folds.clone(), tie_break: rand::random() },
            });
        }
    }
}

/// A graph's place among all of its request, where the level is one over all of them.
#[derive(Debug, Clone, Copy)]
struct Among {
    graphs: usize,
    q_value: f64,
}

impl Among {
    /// One for each graph; none of them where the level is of one graph.
    fn each(scored: &[Scored], level: Level) -> Vec<Option<Self>> {
        if !matches!(level, Level::Fdr(_)) {
            return vec![None; scored.len()];
        }
        let p_values: Vec<f64> = scored.iter().map(|scored| scored.verdict.p_value).collect();
        let of = |q_value| Some(Self { graphs: p_values.len(), q_value });
        q_values(&p_values).into_iter().map(of).collect()
    }
}

/// The verdict at the level asked for, with a warning when the default level is out of reach, or one over all graphs out of
/// reach for a graph that is the only strange one.
fn verdict(
    verdict: &Verdict,
    options: &Checked,
    among: Option<Among>,
) -> Result<(VerdictWire, Option<String>), Problem> {
    let Checked { level, place, .. } = *options;
    let reach = Reach { min_p: verdict.min_p, calibration_size: verdict.calibration_size };
    if level.is_asked() {
        refuse_unreachable(level, reach, place)?;
    }
    let (anomalous, warning) = match among {
        Some(Among { graphs, q_value }) => (Some(is_rejected(q_value, level.value())), too_many(graphs, reach, level)),
        None if level.value() < verdict.min_p => (None, Some(format!("no verdict: {}", reach.shortage(level)))),
        None => (Some(verdict.p_value <= level.value()), None),
    };
    let wire = VerdictWire {
        anomalous,
        nonconformity: verdict.nonconformity,
        p_value: verdict.p_value,
        alpha: among.is_none().then(|| level.value()),
        fdr: among.map(|_| level.value()),
        q_value: among.map(|among| among.q_value),
        min_p: verdict.min_p,
        calibration_size: verdict.calibration_size,
        p_size: verdict.p_size,
        p_structure: verdict.p_structure,
    };
    Ok((wire, warning))
}

/// What to say where one graph, as extreme as can be, is not anomalous among so many.
fn too_many(graphs: usize, reach: Reach, level: Level) -> Option<String> {
    let fewest = fewest_rejected(graphs, reach.min_p, level.value()).filter(|&fewest| fewest > 1)?;
    Some(format!(
        "{} calibration graphs are few for {graphs} graphs at fdr {}: none is anomalous unless {fewest} of them are as \
         extreme as can be",
        reach.calibration_size,
        level.value()
    ))
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

    fn asked(level: Level) -> Checked {
        Checked { score: ScoreOptions::default(), level, kinds: None, record: true, place: Place::Body }
    }

    fn judged(p_value: f64, calibration_size: usize) -> Verdict {
        Verdict {
            nonconformity: 1.5,
            p_value,
            p_size: p_value,
            p_structure: p_value,
            min_p: min_p(calibration_size),
            calibration_size,
            folds: Vec::new(),
            warnings: Vec::new(),
        }
    }

    #[test]
    fn a_graph_is_anomalous_from_alpha_down() {
        for (p_value, anomalous) in [(0.05, true), (0.01, true), (0.051, false), (1.0, false)] {
            let (wire, warning) = verdict(&judged(p_value, 99), &asked(Level::Default), None).unwrap();
            assert_eq!(wire.anomalous, Some(anomalous), "{p_value}");
            assert_eq!((wire.alpha, wire.fdr, wire.q_value, warning), (Some(0.05), None, None, None));
        }
    }

    #[test]
    fn a_default_out_of_reach_gives_no_verdict_but_says_what_it_takes() {
        let (wire, warning) = verdict(&judged(0.125, 7), &asked(Level::Default), None).unwrap();
        assert_eq!(wire.anomalous, None);
        assert!(warning.unwrap().contains("12 more than the 7"), "19 calibration graphs are needed");
    }

    #[test]
    fn a_level_that_was_asked_for_is_refused_out_of_reach_and_taken_at_its_edge() {
        let problem = verdict(&judged(0.125, 7), &asked(Level::Alpha(0.1)), None).unwrap_err();
        assert_eq!(problem.status.as_u16(), 422);
        assert_eq!(problem.errors[0].pointer, "/options/alpha");
        let (wire, _) = verdict(&judged(0.125, 7), &asked(Level::Alpha(0.125)), None).unwrap();
        assert_eq!(wire.anomalous, Some(true));
        let problem = verdict(&judged(0.125, 7), &asked(Level::Fdr(0.1)), None).unwrap_err();
        assert_eq!(problem.errors[0].pointer, "/options/fdr");
    }

    #[test]
    fn an_alpha_that_detectors_without_shared_calibration_cannot_reach_is_refused_too() {
        let two = Verdict { min_p: 0.25, ..judged(0.25, 7) };
        let problem = verdict(&two, &asked(Level::Alpha(0.2)), None).unwrap_err();
        assert!(problem.detail.contains("below 0.25"), "{}", problem.detail);
    }

    #[test]
    fn over_all_graphs_the_q_value_decides() {
        let among = |q_value| Some(Among { graphs: 5, q_value });
        for (q_value, anomalous) in [(0.1, true), (0.101, false)] {
            let (wire, warning) = verdict(&judged(0.02, 99), &asked(Level::Fdr(0.1)), among(q_value)).unwrap();
            assert_eq!((wire.anomalous, wire.q_value), (Some(anomalous), Some(q_value)));
            assert_eq!((wire.alpha, wire.fdr, warning), (None, Some(0.1), None));
        }
        let (_, warning) = verdict(&judged(0.05, 19), &asked(Level::Fdr(0.1)), among(0.25)).unwrap();
        assert!(warning.unwrap().contains("unless 3 of them"), "3 × 0.1 / 5 is the first above 0.05");
    }

    #[test]
    fn a_warning_is_given_once_in_the_order_of_the_first() {
        let given = ["b", "a", "b", "c", "a"].map(str::to_owned);
        assert_eq!(once_each(given.into_iter()), ["b", "a", "c"]);
    }
}

//! Asks the detectors of every graph, as the service would.

use rayon::prelude::*;

use super::report::{Findings, Sample, SampleDistribution};
use super::{EvaluateError, Steps};
use crate::detector::{self, Detector, FoldScore, Portrait, Score, ScoreOptions, Verdict, verdict};
use crate::graph::Graph;
use crate::id::DetectorId;
use crate::stats::histogram::Histogram;

/// Graphs that a thread scores in one call, and graphs between two looks at the observer.
const GRAPHS_AT_ONCE: usize = 8;
const GRAPHS_A_STEP: usize = 64;

/// Bins of every histogram.
pub(super) const BINS: usize = 50;

/// Graphs of one sample.
#[derive(Debug)]
pub(super) struct Lot<'a> {
    pub(super) sample: Sample,
    pub(super) graphs: Vec<&'a Graph>,
    /// The isomorphism class of each graph, the same in all lots; of the train split none, whose graphs nobody ranks.
    pub(super) classes: Vec<usize>,
}

/// What was heard of every lot.
#[derive(Debug)]
pub(super) struct Hearing {
    pub(super) detectors: Vec<Heard>,
    pub(super) combined: Heard,
}

/// What one detector, or all of them together, said; a [`Said`] for each lot.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) said: Vec<Said>,
    /// Of any one verdict: they all have the same.
    pub(super) min_p: f64,
    pub(super) calibration_size: usize,
    pub(super) warnings: Vec<String>,
}

/// What was said of a lot's graphs, one after the other.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) nonconformities: Vec<f64>,
    pub(super) p_values: Vec<f64>,
    /// Of each graph, a vector for each detector.
    pub(super) vectors: Vec<Vec<ScoreVector>>,
    /// Of each graph, what it is clustered by in place of them: the surprises of each detector one after the other, as
    /// ln(1 + nats), or the strangest graphs of all would be a cluster.
    pub(super) surprises: Vec<Vec<f64>>,
    /// Of one detector: surprises at what its model sees.
    pub(super) models: Vec<f64>,
    nll: Vec<f64>,
    completions: Option<[Tally; 2]>,
}

/// Values in [0, 1], counted and added up; there may be very many.
#[derive(Debug)]
struct Tally {
    histogram: Histogram,
    sum: f64,
}

pub(super) fn ask(
    detectors: &[(DetectorId, &Detector)],
    lots: &[Lot<'_>],
    steps: &mut Steps<'_>,
) -> Result<Hearing, EvaluateError> {
    let total = lots.iter().map(|lot| lot.graphs.len() as u64).sum();
    let mut hearing = Hearing {
        detectors: detectors.iter().map(|_| Heard::new(lots.len())).collect(),
        combined: Heard::new(lots.len()),
    };
    let mut done = 0;
    for (place, lot) in lots.iter().enumerate() {
        for graphs in lot.graphs.chunks(GRAPHS_A_STEP) {
            steps.tell("scoring", done, total)?;
            let portraits: Vec<Portrait<'_>> = graphs.iter().map(|graph| Portrait::of(graph)).collect();
            let scores: Vec<Vec<Score>> = detectors.iter().map(|(_, detector)| score(detector, &portraits)).collect();
            for index in 0..graphs.len() {
                let said: Vec<(&Detector, &Score)> =
                    detectors.iter().zip(&scores).map(|((_, detector), scores)| (*detector, &scores[index])).collect();
                hearing.note(place, &said);
            }
            done += graphs.len() as u64;
        }
    }
    steps.tell("scoring", total, total)?;
    Ok(hearing)
}

fn score(detector: &Detector, portraits: &[Portrait<'_>]) -> Vec<Score> {
    let options = ScoreOptions::default();
    let portraits: Vec<&Portrait<'_>> = portraits.iter().collect();
    portraits.par_chunks(GRAPHS_AT_ONCE).flat_map_iter(|some| detector.score_portraits(some, &options)).collect()
}

impl Hearing {
    /// Notes what the detectors say of one graph of the lot at `place`, each alone and all together.
    fn note(&mut self, place: usize, said: &[(&Detector, &Score)]) {
        let tail = ScoreOptions::default().tail;
        for (heard, one) in self.detectors.iter_mut().zip(said) {
            heard.note(place, &[*one], verdict(&[*one], tail));
            heard.said[place].note_model(one.1);
        }
        self.combined.note(place, said, verdict(said, tail));
    }
}

impl Heard {
    pub(super) fn new(lots: usize) -> Self {
        let said = (0..lots).map(|_| Said::default()).collect();
        Self { said, min_p: 1.0, calibration_size: 0, warnings: Vec::new() }
    }

    fn note(&mut self, place: usize, said: &[(&Detector, &Score)], verdict: Verdict) {
        let Verdict { nonconformity, p_value, min_p, calibration_size, warnings, .. } = verdict;
        let of_lot = &mut self.said[place];
        of_lot.nonconformities.push(nonconformity);
        of_lot.p_values.push(p_value);
        of_lot.vectors.push(said.iter().map(|(_, score)| vector(score)).collect());
        of_lot.surprises.push(said.iter().flat_map(|(_, score)| surprises(score)).map(f64::ln_1p).collect());
        (self.min_p, self.calibration_size, self.warnings) = (min_p, calibration_size, warnings);
    }

    /// What a detector found, of one kind for all lots.
    pub(super) fn findings(&self, lots: &[Lot<'_>]) -> Findings {
        let completions = |which: usize| -> Vec<SampleDistribution> {
            let of_lot = |(lot, said): (&Lot<'_>, &Said)| said.completions.as_ref()?[which].distribution(lot.sample);
            lots.iter().zip(&self.said).filter_map(of_lot).collect()
        };
        if self.said.iter().any(|said| said.completions.is_some()) {
            return Findings::Completion { edges: completions(0), non_edges: completions(1) };
        }
        Findings::Nll(distributions(lots.iter().zip(&self.said).map(|(lot, said)| (lot.sample, said.nll.as_slice()))))
    }
}

impl Said {
    fn note_model(&mut self, score: &Score) {
        self.models.push(surprises(score)[2]);
        match &score.findings {
            detector::Findings::Nll(nll) => self.nll.push(nll.per_node),
            detector::Findings::Completion(completion) => {
                let [edges, non_edges] = self.completions.get_or_insert_with(|| [Tally::new(), Tally::new()]);
                edges.add(&completion.values);
                non_edges.add(&completion.non_edges);
            }
        }
    }
}

impl Tally {
    fn new() -> Self {
        Self { histogram: Histogram::of(&[], 0.0, 1.0, BINS), sum: 0.0 }
    }

    fn add(&mut self, values: &[f64]) {
        self.histogram.add(&Histogram::of(values, 0.0, 1.0, BINS));
        self.sum += values.iter().sum::<f64>();
    }

    /// `None` where nothing was counted: a family without edges has no completions.
    fn distribution(&self, sample: Sample) -> Option<SampleDistribution> {
        let count = self.histogram.counts.iter().sum::<u64>() as usize;
        let mean = self.sum / count as f64;
        (count > 0).then(|| SampleDistribution { sample, count, mean, histogram: self.histogram.clone() })
    }
}

/// What a graph is clustered by.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ScoreVector {
    /// Of a masked kind: the ten shares of its histogram of completion scores, as in the study.
    Shares(Vec<f64>),
    /// Of a likelihood kind, which the study does not cluster: its statistics, each in a unit of its own.
    Statistics(Vec<f64>),
}

fn vector(score: &Score) -> ScoreVector {
    match score.findings.completion() {
        Some(completion) => {
            let count = completion.values.len().max(1) as f64;
            ScoreVector::Shares(completion.histogram.counts.iter().map(|&in_bin| in_bin as f64 / count).collect())
        }
        None => ScoreVector::Statistics(score.statistics.clone()),
    }
}

/// At the size, the shape and the model, each the mean over the folds.
fn surprises(score: &Score) -> [f64; 3] {
    let of: [fn(&FoldScore) -> f64; 3] = [|fold| fold.size, |fold| fold.shape, |fold| fold.model];
    of.map(|part| score.folds.iter().map(part).sum::<f64>() / score.folds.len() as f64)
}

/// The distribution of each sample that has finite values, over common bins.
pub(super) fn distributions<'a>(samples: impl Iterator<Item = (Sample, &'a [f64])>) -> Vec<SampleDistribution> {
    let finite = |values: &[f64]| values.iter().copied().filter(|value| value.is_finite()).collect::<Vec<f64>>();
    let samples: Vec<(Sample, Vec<f64>)> = samples.map(|(sample, values)| (sample, finite(values))).collect();
    let all = samples.iter().flat_map(|(_, values)| values);
    let (low, high) =
        all.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &value| (low.min(value), high.max(value)));
    samples
        .iter()
        .filter(|(_, values)| !values.is_empty())
        .map(|(sample, values)| SampleDistribution {
            sample: *sample,
            count: values.len(),
            mean: values.iter().sum::<f64>() / values.len() as f64,
            histogram: Histogram::of(values, low, high, BINS),
        })
        .collect()
}

//! Loaded detectors of one family, and what they are asked of its graphs.

use std::sync::Arc;

use super::cache::{Cache, Recalled};
use super::card::Card;
use super::compute::Compute;
use crate::artifact::LoadedDetector;
use crate::detector::{self, Detector, Portrait, Reference, Score, ScoreOptions, Tail, Verdict};
use crate::graph::{Graph, Limits};
use crate::id::DetectorId;
use crate::model::device::DeviceError;
use crate::model::{Cost, spread};

/// Loaded detectors of one family that score together; at least one.
#[derive(Debug, Clone)]
pub struct Jury(Arc<[Juror]>);

#[derive(Debug)]
pub(super) struct Juror {
    pub(super) id: DetectorId,
    pub(super) loaded: Arc<LoadedDetector>,
}

/// What the family's detectors say of one graph.
#[derive(Debug, Clone)]
pub struct Scored {
    /// In the order of the detectors asked for.
    pub scores: Vec<(DetectorId, Arc<Score>)>,
    pub verdict: Verdict,
}

impl Jury {
    pub(super) fn new(jurors: Vec<Juror>) -> Self {
        Self(jurors.into())
    }

    /// Graphs that the detector with the fewest was calibrated on.
    #[must_use]
    pub fn smallest_calibration(&self) -> usize {
        self.0.iter().map(|juror| juror.loaded.detector.manifest().calibration_size).min().unwrap_or(0)
    }

    /// Whether these options draw of a graph what was drawn of each detector's calibration graphs.
    #[must_use]
    pub fn is_as_calibrated(&self, options: &ScoreOptions) -> bool {
        self.0.iter().all(|juror| juror.loaded.detector.is_as_calibrated(options))
    }

    /// What graphs that the jury scored are compared with; `None` where the detectors share no calibration graphs.
    #[must_use]
    pub fn reference(&self) -> Option<Reference> {
        Reference::of(&self.0.iter().map(|juror| &juror.loaded.detector).collect::<Vec<_>>())
    }

    pub(super) fn jurors(&self) -> &[Juror] {
        &self.0
    }

    fn ids(&self) -> impl Iterator<Item = DetectorId> + '_ {
        self.0.iter().map(|juror| juror.id)
    }
}

/// What is asked of graphs, and where answers are kept.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) jury: Jury,
    pub(super) options: ScoreOptions,
    pub(super) cache: Cache,
    /// Where to compute, when not on the CPU.
    pub(super) card: Option<Arc<Card>>,
}

/// A graph to score, with what each juror is known to say of it.
#[derive(Debug)]
pub(super) struct Candidate {
    graph: Graph,
    recalled: Vec<Recalled>,
}

impl Question {
    pub(super) fn candidate(&self, graph: Graph) -> Candidate {
        let recalled = self.cache.recall(&self.jury, &graph, &self.options);
        Candidate { graph, recalled }
    }

    /// What all jurors say of a graph, if that is known of each of them.
    pub(super) fn recall(&self, candidate: &Candidate) -> Option<Scored> {
        let known = |(id, recalled): (DetectorId, &Recalled)| match recalled {
            Recalled::Known(score) => Some((id, Arc::clone(score))),
            Recalled::Unknown(_) => None,
        };
        let scores: Option<_> = self.jury.ids().zip(&candidate.recalled).map(known).collect();
        scores.map(|scores| self.judged(scores))
    }

    fn judged(&self, scores: Vec<(DetectorId, Arc<Score>)>) -> Scored {
        let judged: Vec<(&Detector, &Score)> =
            self.jury.0.iter().zip(&scores).map(|(juror, (_, score))| (&juror.loaded.detector, &**score)).collect();
        let verdict = detector::verdict(&judged, self.options.tail);
        Scored { scores, verdict }
    }
}

impl Compute for Question {
    type Unit = Candidate;
    type Output = Scored;

    /// The same detectors, by name: one of them may have been loaded anew in between.
    fn joins(&self, other: &Self) -> bool {
        self.options == other.options && self.jury.ids().eq(other.jury.ids())
    }

    /// Of all jurors whose answer isn't known, one after another: a lone graph's go at once, but then no other graph does.
    fn cost(&self, Candidate { graph, recalled }: &Candidate) -> Cost {
        let unknown = self.jury.0.iter().zip(recalled).filter(|(_, recalled)| matches!(recalled, Recalled::Unknown(_)));
        let of_one = |juror: &Juror| juror.loaded.detector.cost(graph.node_count(), graph.edge_count(), &self.options);
        unknown.map(|(juror, _)| of_one(juror)).fold(Cost::default(), Cost::after)
    }

    fn compute(&self, candidates: &[&Candidate]) -> Result<Vec<Scored>, DeviceError> {
        let places: Vec<usize> = (0..self.jury.0.len()).collect();
        let portraits: Vec<Portrait<'_>> = candidates.iter().map(|candidate| Portrait::of(&candidate.graph)).collect();
        let by_juror = spread::map(&places, |&place| self.heard(place, candidates, &portraits));
        let mut by_juror =
            by_juror.into_iter().map(|scores| Ok(scores?.into_iter())).collect::<Result<Vec<_>, DeviceError>>()?;
        let scores_of_next = |_: &&Candidate| {
            let scores = self.jury.ids().zip(&mut by_juror);
            self.judged(scores.filter_map(|(id, scores)| Some((id, scores.next()?))).collect())
        };
        Ok(candidates.iter().map(scores_of_next).collect())
    }
}

impl Question {
    /// What the juror at `place` says of each candidate: computed where it isn't known.
    fn heard(
        &self,
        place: usize,
        candidates: &[&Candidate],
        portraits: &[Portrait<'_>],
    ) -> Result<Vec<Arc<Score>>, DeviceError> {
        let asked = candidates.iter().zip(portraits);
        let asked = asked.filter(|(candidate, _)| matches!(candidate.recalled[place], Recalled::Unknown(_)));
        let asked: Vec<&Portrait<'_>> = asked.map(|(_, portrait)| portrait).collect();
        let juror = &self.jury.0[place];
        let detector = &juror.loaded.detector;
        let computed = match &self.card {
            None => detector.score_portraits(&asked, &self.options),
            Some(card) => card.score(juror.id, detector, &asked, &self.options)?,
        };
        assert_eq!(computed.len(), asked.len(), "a score for each graph, or they would be mixed up");
        let mut computed = computed.into_iter();
        let score_of = |candidate: &&Candidate| match &candidate.recalled[place] {
            Recalled::Known(score) => Some(Arc::clone(score)),
            Recalled::Unknown(key) => computed.next().map(|score| self.cache.keep(key.as_ref(), score)),
        };
        Ok(candidates.iter().filter_map(score_of).collect())
    }
}

/// Scores a triangle with a tail: the smallest graph with an edge on a cycle and a bridge.
///
/// # Errors
/// When the device fails.
pub(super) fn probe(id: DetectorId, detector: &Detector, card: Option<&Card>) -> Result<(), DeviceError> {
    let edges = [(0, 1), (1, 2), (2, 0), (2, 3)];
    if let Ok((graph, _)) = Graph::new(4, &edges, None, &Limits::default()) {
        let options =
            ScoreOptions { tail: Tail::default(), samples: Some(1), orderings: Some(1), seed: 0, explain: false };
        std::hint::black_box(match card {
            None => vec![detector.score(&graph, &options)],
            Some(card) => card.score(id, detector, &[&Portrait::of(&graph)], &options)?,
        });
    }
    Ok(())
}

//! Answers that were given before. A score is a pure function of graph, detector and options, so an answer is as good the
//! second time, to the bit.
//!
//! It keeps what one detector says, not what a family's detectors say together: an answer then serves every route and
//! every choice of kinds, and outlives the retraining of the family's other kinds.

use std::sync::Arc;

use moka::sync::Cache as Kept;
use sha2::{Digest as _, Sha256};

use super::jury::{Juror, Jury};
use crate::detector::{Completion, Explanation, Findings, Score, ScoreOptions, Tail};
use crate::graph::{Graph, blob};
use crate::id::DetectorId;

/// What an entry takes besides its score: its key, and about as much as the cache's own books.
const ENTRY_BYTES: usize = 256;

/// A cheap handle on the answers.
#[derive(Debug, Clone)]
pub(super) struct Cache(Option<Kept<Key, Arc<Score>>>);

/// What was asked of whom. The detector stands beside the hash so that all its answers can be found when it is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    detector: DetectorId,
    digest: [u8; 32],
}

/// A detector's answer, or where to keep it once there is one.
#[derive(Debug)]
pub(super) enum Recalled {
    Known(Arc<Score>),
    Unknown(Option<Key>),
}

impl Cache {
    /// Holds at most `max_bytes`; those little used go first. Nothing is kept, or counted, with 0.
    pub(super) fn new(max_bytes: u64) -> Self {
        let kept = || {
            Kept::builder()
                .max_capacity(max_bytes)
                .weigher(|_, score: &Arc<Score>| u32::try_from(size_bytes(score)).unwrap_or(u32::MAX))
                .support_invalidation_closures()
                .build()
        };
        Self((max_bytes > 0).then(kept))
    }

    /// What each juror has said of the graph, in their order.
    pub(super) fn recall(&self, jury: &Jury, graph: &Graph, options: &ScoreOptions) -> Vec<Recalled> {
        let Some(kept) = &self.0 else { return jury.jurors().iter().map(|_| Recalled::Unknown(None)).collect() };
        let asked = Asked::new(graph, options);
        let recall = |juror| {
            let key = asked.of(juror);
            let score = kept.get(&key);
            let counted = if score.is_some() {
                metrics::counter!("graphkin_score_cache_hits_total")
            } else {
                metrics::counter!("graphkin_score_cache_misses_total")
            };
            counted.increment(1);
            score.map_or(Recalled::Unknown(Some(key)), Recalled::Known)
        };
        jury.jurors().iter().map(recall).collect()
    }

    /// Keeps an answer, if there is a place for it.
    pub(super) fn keep(&self, place: Option<&Key>, score: Score) -> Arc<Score> {
        let score = Arc::new(score);
        if let (Some(kept), Some(key)) = (&self.0, place) {
            kept.insert(key.clone(), Arc::clone(&score));
        }
        score
    }

    /// Drops a deleted detector's answers. One that is being computed meanwhile may still come in; nobody can ask for it
    /// any more, and it ages out.
    pub(super) fn forget(&self, detector: DetectorId) {
        if let Some(kept) = &self.0 {
            // It fails only for a cache that was built without support for it.
            let _ = kept.invalidate_entries_if(move |key, _| key.detector == detector);
        }
    }

    /// Does what the cache has put off, and tells how much it holds.
    pub(super) fn keep_up(&self) {
        let Some(kept) = &self.0 else { return };
        kept.run_pending_tasks();
        metrics::gauge!("graphkin_score_cache_entries").set(kept.entry_count() as f64);
        metrics::gauge!("graphkin_score_cache_bytes").set(kept.weighted_size() as f64);
    }
}

/// What is asked of a graph, hashed as far as it is the same for every juror.
///
/// Equal graphs are those of equal numbering: orderings are drawn by the nodes' numbers, so another numbering of the same
/// graph has another score.
struct Asked(Sha256);

impl Asked {
    fn new(graph: &Graph, options: &ScoreOptions) -> Self {
        // All of them by name: a new option must not be forgotten here.
        let ScoreOptions { tail, samples, orderings, seed, explain } = *options;
        let tail = match tail {
            Tail::TwoSided => 0,
            Tail::Upper => 1,
        };
        let number = |given: Option<usize>| given.map_or(u64::MAX, |number| number as u64).to_le_bytes();
        let hasher = Sha256::new()
            .chain_update([tail, u8::from(explain)])
            .chain_update(number(samples))
            .chain_update(number(orderings))
            .chain_update(seed.to_le_bytes())
            .chain_update(blob::encode(graph));
        Self(hasher)
    }

    /// The weights' hash is there beside the id, which should stand for it: an artefact put in another's place by hand
    /// must not be answered for with the other's answers.
    fn of(&self, juror: &Juror) -> Key {
        let hasher = self.0.clone().chain_update(&juror.loaded.weights_sha256);
        Key { detector: juror.id, digest: hasher.finalize().into() }
    }
}

/// The memory that an entry takes, about.
fn size_bytes(score: &Score) -> usize {
    let Score { statistics, findings, explanation, warnings, folds, .. } = score;
    let found = match findings {
        Findings::Completion(Completion { values, non_edges, histogram, .. }) => {
            size_of_val(values.as_slice())
                + size_of_val(non_edges.as_slice())
                + size_of_val(histogram.bin_edges.as_slice())
                + size_of_val(histogram.counts.as_slice())
        }
        Findings::Nll(_) => 0,
    };
    let explained = explanation.as_ref().map_or(0, |Explanation { edges, absent_edges, nodes, .. }| {
        size_of_val(edges.as_slice()) + size_of_val(absent_edges.as_slice()) + size_of_val(nodes.as_slice())
    });
    let told = warnings.iter().map(|warning| size_of::<String>() + warning.len()).sum::<usize>();
    ENTRY_BYTES
        + size_of::<Score>()
        + size_of_val(statistics.as_slice())
        + size_of_val(folds.as_slice())
        + found
        + explained
        + told
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;

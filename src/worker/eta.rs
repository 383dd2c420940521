//! How long a job still takes, from what it did and the time that took.

use std::time::Duration;

use crate::job::Progress;

/// Measures from the first progress of an attempt on, since a resumed run did its earlier epochs at another time.
#[derive(Debug, Default)]
pub(super) struct Eta {
    first: Option<(u64, Duration)>,
}

impl Eta {
    /// The seconds left, told at `elapsed` since the attempt began; `None` while it can't be known. It is an upper bound:
    /// training that stops early ends sooner.
    pub(super) fn estimate(&mut self, progress: &Progress, elapsed: Duration) -> Option<f64> {
        let (now, total) = counted(progress)?;
        let (first, first_at) = *self.first.get_or_insert((now, elapsed));
        let done = now.checked_sub(first).filter(|&done| done > 0)?;
        let left = total.saturating_sub(now);
        Some(elapsed.saturating_sub(first_at).as_secs_f64() / done as f64 * left as f64)
    }
}

/// What is done and what there is to do, in the phase that takes the time: epochs of a training, graphs of an evaluation.
fn counted(progress: &Progress) -> Option<(u64, u64)> {
    match progress {
        Progress::Training(training) if training.phase == "training" => Some((training.epoch, training.epochs)),
        Progress::Evaluation(evaluation) if evaluation.phase == "scoring" => Some((evaluation.done, evaluation.total)),
        Progress::Training(_) | Progress::Evaluation(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{evaluate, train};

    fn at(epoch: u64, phase: &str) -> Progress {
        let phase = phase.to_owned();
        Progress::Training(train::Progress { phase, epoch, epochs: 100, loss: None, validation_loss: None })
    }

    #[test]
    fn an_evaluation_counts_graphs() {
        let at =
            |phase: &str, done| Progress::Evaluation(evaluate::Progress { phase: phase.to_owned(), done, total: 90 });
        let mut eta = Eta::default();
        assert_eq!(eta.estimate(&at("scoring", 0), Duration::from_secs(1)), None);
        assert_eq!(eta.estimate(&at("scoring", 30), Duration::from_secs(4)), Some(6.0));
        assert_eq!(eta.estimate(&at("floors", 2), Duration::from_secs(9)), None);
    }

    #[test]
    fn a_resumed_run_counts_its_own_epochs_only() {
        let mut eta = Eta::default();
        assert_eq!(eta.estimate(&at(40, "training"), Duration::from_secs(5)), None, "nothing measured yet");
        assert_eq!(eta.estimate(&at(50, "training"), Duration::from_secs(25)), Some(100.0));
        assert_eq!(eta.estimate(&at(100, "training"), Duration::from_secs(125)), Some(0.0));
        assert_eq!(eta.estimate(&at(100, "calibrating"), Duration::from_secs(126)), None);
    }

    #[test]
    fn nonsense_gives_no_estimate() {
        let mut eta = Eta::default();
        eta.estimate(&at(50, "training"), Duration::from_secs(9));
        assert_eq!(eta.estimate(&at(3, "training"), Duration::from_secs(10)), None);
        assert_eq!(eta.estimate(&at(200, "training"), Duration::from_secs(11)), Some(0.0));
    }
}

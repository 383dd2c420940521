//! How long a training run still takes, from the epochs it did and the time they took.

use std::time::Duration;

use crate::train::Progress;

/// Measures from the first progress of an attempt on, since a resumed run did its earlier epochs at another time.
#[derive(Debug, Default)]
pub(super) struct Eta {
    first: Option<(u64, Duration)>,
}

impl Eta {
    /// The seconds left, told at `elapsed` since the attempt began; `None` while it can't be known. It is an upper bound:
    /// training that stops early ends sooner.
    pub(super) fn estimate(&mut self, progress: &Progress, elapsed: Duration) -> Option<f64> {
        if progress.phase != "training" {
            return None;
        }
        let (first_epoch, first_at) = *self.first.get_or_insert((progress.epoch, elapsed));
        let done = progress.epoch.checked_sub(first_epoch).filter(|&done| done > 0)?;
        let left = progress.epochs.saturating_sub(progress.epoch);
        Some(elapsed.saturating_sub(first_at).as_secs_f64() / done as f64 * left as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: u64, phase: &str) -> Progress {
        Progress { phase: phase.to_owned(), epoch, epochs: 100, loss: None, validation_loss: None }
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

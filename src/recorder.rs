//! The recorder: served scores on their way to the store, off the path of the requests that they come from.
//!
//! A bounded channel and one task that writes what is in it, many scores a transaction. A request waits for neither: what
//! finds the channel full is dropped, and counted. A crash loses what arrived within [`FLUSH_AFTER`]; a stop loses nothing.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};
use tracing::warn;

use crate::store::{Retention, ServedScore, Store};

/// Scores that may wait to be written: a few MB, and what a second of the fastest traffic brings.
const CAPACITY: usize = 16_384;
/// How long a score waits for others to be written with.
const FLUSH_AFTER: Duration = Duration::from_millis(500);
/// Scores written in one transaction.
const MAX_BATCH: usize = 1_000;
/// How often what is too old is deleted.
const TRIM_EVERY: Duration = Duration::from_secs(60);

const DROPPED: &str = "graphkin_served_scores_dropped_total";

/// A cheap handle on the task that writes.
#[derive(Debug, Clone)]
pub struct Recorder {
    sender: mpsc::Sender<Message>,
    retention: Retention,
}

#[derive(Debug)]
enum Message {
    Score(ServedScore),
    Settle(Settle),
}

/// To be answered once all that came before is written.
#[derive(Debug)]
struct Settle {
    answer: oneshot::Sender<()>,
    /// Whether that is the end: nothing more is taken.
    and_stop: bool,
}

impl Recorder {
    /// Starts the task on the current runtime.
    #[must_use]
    pub fn start(retention: Retention, store: Store) -> Self {
        Self::with_capacity(CAPACITY, retention, store)
    }

    fn with_capacity(capacity: usize, retention: Retention, store: Store) -> Self {
        let (sender, receiver) = mpsc::channel(capacity);
        tokio::spawn(Writer { receiver, retention, store, waiting: Vec::new() }.run());
        metrics::counter!(DROPPED).increment(0); // so that it is seen from the start
        Self { sender, retention }
    }

    #[must_use]
    pub const fn retention(&self) -> Retention {
        self.retention
    }

    /// Whether any scores are kept.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.retention.scores > 0
    }

    /// Takes a score, if there is room for it.
    pub fn record(&self, score: ServedScore) {
        if self.is_on() && self.sender.try_send(Message::Score(score)).is_err() {
            metrics::counter!(DROPPED).increment(1);
        }
    }

    /// Waits until everything recorded before is in the store.
    pub async fn settle(&self) {
        self.ask(false).await;
    }

    /// Writes what is waiting, and ends.
    pub async fn stop(&self) {
        self.ask(true).await;
    }

    /// The answer doesn't come when the task has ended: then nothing is waiting either.
    async fn ask(&self, and_stop: bool) {
        let (answer, answered) = oneshot::channel();
        if self.sender.send(Message::Settle(Settle { answer, and_stop })).await.is_ok() {
            let _ = answered.await;
        }
    }
}

/// The task that writes.
struct Writer {
    receiver: mpsc::Receiver<Message>,
    retention: Retention,
    store: Store,
    waiting: Vec<ServedScore>,
}

impl Writer {
    async fn run(mut self) {
        let mut trim = interval(TRIM_EVERY);
        trim.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let message = tokio::select! {
                message = self.receiver.recv() => message,
                // The first comes at once: the settings may have changed since the last start.
                _ = trim.tick() => {
                    self.trim().await;
                    continue;
                }
            };
            let asked = match message {
                Some(Message::Score(score)) => self.write_with_others(score).await,
                Some(Message::Settle(settle)) => Some(settle),
                None => return,
            };
            if let Some(Settle { answer, and_stop }) = asked {
                let _ = answer.send(());
                if and_stop {
                    return;
                }
            }
        }
    }

    /// Waits a while for more scores, or until it is asked to write them, which it then does.
    async fn write_with_others(&mut self, first: ServedScore) -> Option<Settle> {
        let deadline = Instant::now() + FLUSH_AFTER;
        let mut asked = None;
        self.waiting.push(first);
        while self.waiting.len() < MAX_BATCH && asked.is_none() {
            match timeout_at(deadline, self.receiver.recv()).await {
                Ok(Some(Message::Score(score))) => self.waiting.push(score),
                Ok(Some(Message::Settle(settle))) => asked = Some(settle),
                Ok(None) | Err(_) => break,
            }
        }
        self.flush().await;
        asked
    }

    async fn flush(&mut self) {
        if let Err(error) = self.store.add_served_scores(&self.waiting, &self.retention).await {
            warn!(error = &error as &dyn std::error::Error, scores = self.waiting.len(), "served scores were not kept");
            metrics::counter!(DROPPED).increment(self.waiting.len() as u64);
        }
        self.waiting.clear();
    }

    async fn trim(&self) {
        if let Err(error) = self.store.trim_served_scores(&self.retention).await {
            warn!(error = &error as &dyn std::error::Error, "old served scores were not deleted");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use time::OffsetDateTime;
    use uuid::Uuid;

    use super::*;
    use crate::detector::Arrival;
    use crate::id::{DetectorId, FamilyId};
    use crate::store::{Config, NewFamily, Window};

    const DETECTOR: DetectorId = DetectorId::new(Uuid::nil());
    const KEEP: Retention = Retention { scores: 5_000, age: Duration::from_secs(3_600) };

    async fn store(directory: &Path) -> (Store, FamilyId) {
        let store = Store::open(&Config { path: directory.join("store.db"), readers: 1 }).await.unwrap();
        let family = NewFamily { name: "rings".to_owned(), description: None, class_label: None };
        let family = store.create_family(&family).await.unwrap().id;
        (store, family)
    }

    fn score(family: FamilyId, value: f64) -> ServedScore {
        let score = Arrival { folds: vec![value], tie_break: 0.5 };
        ServedScore { family, detectors: Arc::new([DETECTOR]), at: OffsetDateTime::now_utc(), score }
    }

    async fn kept(store: &Store, family: FamilyId) -> usize {
        store.served_scores(family, &[DETECTOR], Window::Count(u32::MAX), &KEEP).await.unwrap().len()
    }

    #[tokio::test]
    async fn what_was_recorded_is_there_once_settled_and_after_a_stop() {
        let directory = tempfile::tempdir().unwrap();
        let (store, family) = store(directory.path()).await;
        let recorder = Recorder::start(KEEP, store.clone());
        recorder.settle().await;
        (0..2_500).for_each(|i| recorder.record(score(family, f64::from(i))));
        recorder.settle().await;
        assert_eq!(kept(&store, family).await, 2_500, "in more than one transaction");
        (0..3).for_each(|_| recorder.record(score(family, 0.5)));
        recorder.stop().await;
        assert_eq!(kept(&store, family).await, 2_503);
        recorder.record(score(family, 0.5));
        recorder.settle().await;
        recorder.stop().await;
        assert_eq!(kept(&store, family).await, 2_503, "nothing more after the end");
    }

    #[tokio::test]
    async fn scores_are_written_without_being_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let (store, family) = store(directory.path()).await;
        let recorder = Recorder::start(KEEP, store.clone());
        let began = Instant::now();
        recorder.record(score(family, 1.0));
        while kept(&store, family).await == 0 {
            assert!(began.elapsed() < Duration::from_secs(30), "they are never written");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn a_full_channel_drops_and_holds_nobody_up() {
        let directory = tempfile::tempdir().unwrap();
        let (store, family) = store(directory.path()).await;
        // On this runtime's one thread nothing is written before the first await.
        let recorder = Recorder::with_capacity(10, KEEP, store.clone());
        (0..25).for_each(|i| recorder.record(score(family, f64::from(i))));
        recorder.settle().await;
        assert_eq!(kept(&store, family).await, 10);
    }

    #[tokio::test]
    async fn a_retention_of_none_takes_nothing_and_deletes_what_there_was() {
        let directory = tempfile::tempdir().unwrap();
        let (store, family) = store(directory.path()).await;
        store.add_served_scores(&[score(family, 1.0)], &KEEP).await.unwrap();
        let recorder = Recorder::start(Retention { scores: 0, ..KEEP }, store.clone());
        recorder.record(score(family, 2.0));
        let began = Instant::now();
        while kept(&store, family).await > 0 {
            assert!(began.elapsed() < Duration::from_secs(30), "it is never deleted");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        recorder.settle().await;
        assert_eq!(kept(&store, family).await, 0);
    }
}

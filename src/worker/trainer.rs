//! The child process of a training: reads a job's graphs, trains, stores checkpoints and the detector.

use std::error::Error;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tracing::{info, warn};

use super::child::{self, AttemptConfig, StopFlag, Unfinished, Voice};
use super::protocol::ChildEvent;
use crate::artifact::Artifacts;
use crate::detector::Detector;
use crate::graph::split::Split;
use crate::id::{DetectorId, JobId};
use crate::job::{JobFailure, Progress, Task};
use crate::model::device::{ComputeDevice, Opened};
use crate::store::StoredGraph;
use crate::train::{self, Checkpoint, Observer, TrainError, TrainingData, TrainingSpec};

/// How long the epoch that runs may take to end once the process was asked to stop. What ends in time is in the
/// checkpoint; a longer epoch is given up.
const LAST_EPOCH: Duration = Duration::from_secs(2);
/// The autograd graph of a long recurrence is dropped recursively, which overflows the usual 2 MiB.
const STACK_BYTES: usize = 64 << 20;

/// Runs one attempt at a training, which makes `detector`, and tells its end, whatever it is, on standard output.
///
/// There is a checkpoint at most every `checkpoint_interval`: each is written to disk whole, and a resumed run repeats no
/// more than this.
///
/// # Errors
/// When standard output is gone, and with it whoever wanted to know.
pub async fn train(
    config: AttemptConfig,
    detector: DetectorId,
    checkpoint_interval: Duration,
    artifacts: Artifacts,
) -> io::Result<()> {
    child::run(|asked_to_stop| attempt(config, detector, checkpoint_interval, artifacts, asked_to_stop)).await
}

/// Where rayon reads its number of threads.
pub const THREADS_VARIABLE: &str = "RAYON_NUM_THREADS";

/// The environment of a process that computes on this many threads.
///
/// rayon reads its number of threads there, once. candle's own threads wait for work by spinning, on the cores where the
/// next batch is made: it has none. And what a step of training gives back to the allocator the next one asks for again: pages
/// that went back to the system in between would be cleared first (`docs/performance.md` says what that took).
#[must_use]
pub fn compute_environment(threads: usize) -> [(&'static str, String); 3] {
    let [one, never] = ["1", "-1"].map(str::to_owned);
    [(THREADS_VARIABLE, threads.to_string()), ("CANDLE_NUM_THREADS", one), ("MIMALLOC_PURGE_DELAY", never)]
}

/// Runs `work` on a thread whose stack is deep enough for `train::fit`; the inner error is a panic.
///
/// # Errors
/// When the thread can't be started.
pub fn with_training_stack<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<thread::Result<T>> {
    thread::scope(|scope| {
        let builder = thread::Builder::new().name("training".to_owned()).stack_size(STACK_BYTES);
        Ok(builder.spawn_scoped(scope, work)?.join())
    })
}

impl From<TrainError> for Unfinished {
    fn from(error: TrainError) -> Self {
        match error {
            TrainError::Stopped => Self::Stopped,
            TrainError::Unusable(detail) => Self::unusable(detail),
            error => Self::internal("The training met an error.", &error),
        }
    }
}

async fn attempt(
    config: AttemptConfig,
    detector: DetectorId,
    checkpoint_interval: Duration,
    artifacts: Artifacts,
    asked_to_stop: StopFlag,
) -> Result<(), Unfinished> {
    let (spec, data) = read_job(&config).await?;
    let resume = artifacts
        .load_checkpoint(config.job)
        .await
        .map_err(|error| Unfinished::internal("The checkpoint could not be read.", &error))?;
    let reporter = Reporter::new(config.job, artifacts.clone(), checkpoint_interval, asked_to_stop);
    let fitted = tokio::task::spawn_blocking(move || {
        let device = open(&spec)?;
        match with_training_stack(|| fit(&spec, &device, &data, resume, reporter)) {
            Ok(Ok(fitted)) => Ok(fitted?),
            // The panic hook has logged what and where.
            Ok(Err(_)) => Err(Unfinished::internal("The training panicked.", &io::Error::other("a panic"))),
            Err(error) => Err(Unfinished::internal("No thread could be started for the training.", &error)),
        }
    });
    let fitted = match fitted.await {
        Ok(fitted) => fitted?,
        Err(error) => return Err(Unfinished::internal("The training met an error.", &error)),
    };
    artifacts
        .put_detector(detector, &fitted)
        .await
        .map_err(|error| Unfinished::internal("The detector could not be stored.", &error))?;
    Ok(())
}

/// The job's spec and graphs. The database is closed again before the training begins.
async fn read_job(config: &AttemptConfig) -> Result<(TrainingSpec, TrainingData), Unfinished> {
    let (store, job) = child::open(config).await?;
    let Task::Training(spec) = job.task else {
        return Err(Unfinished::unusable("This job is no training.".to_owned()));
    };
    let graphs = store.load_graphs(job.family).await;
    let graphs = graphs.map_err(|error| Unfinished::internal("The family's graphs could not be read.", &error))?;
    store.close().await;
    Ok((spec, by_split(graphs)))
}

/// The device that the job asks for. It was there when the job was queued; another attempt may find it again.
fn open(spec: &TrainingSpec) -> Result<ComputeDevice, Unfinished> {
    match spec.device.open() {
        Ok(Opened { device, passed_over }) => {
            info!(%device, asked = %spec.device, passed_over = passed_over.map(tracing::field::display), "training");
            Ok(device)
        }
        Err(error) => {
            let failure = JobFailure { code: "device_unusable".to_owned(), detail: error.to_string() };
            Err(Unfinished::Failed { failure, retryable: true })
        }
    }
}

/// The graphs as `train::fit` takes them.
#[must_use]
pub fn by_split(graphs: Vec<StoredGraph>) -> TrainingData {
    let mut data = TrainingData::default();
    for StoredGraph { row, split, graph, .. } in graphs {
        let part = match split {
            Split::Train => &mut data.train,
            Split::Calibration => &mut data.calibration,
            Split::Test => &mut data.test,
        };
        part.push((row, graph));
    }
    data
}

/// Trains from the checkpoint, or from the beginning where it can't be used: an update may have changed its form.
fn fit(
    spec: &TrainingSpec,
    device: &ComputeDevice,
    data: &TrainingData,
    resume: Option<Checkpoint>,
    mut reporter: Reporter,
) -> Result<Detector, TrainError> {
    if let Some(checkpoint) = resume {
        match train::fit(spec, device, data, Some(&checkpoint), &mut reporter) {
            Err(TrainError::Checkpoint(detail)) => warn!(detail, "training begins anew without its checkpoint"),
            fitted => return fitted,
        }
    }
    train::fit(spec, device, data, None, &mut reporter)
}

/// Tells the pool how the training goes, and decides by the clock when a checkpoint is worth its price.
struct Reporter {
    job: JobId,
    artifacts: Artifacts,
    runtime: Handle,
    voice: Voice,
    asked_to_stop: StopFlag,
    checkpoint_interval: Duration,
    checkpointed: Instant,
    epoch: u64,
}

impl Reporter {
    fn new(job: JobId, artifacts: Artifacts, checkpoint_interval: Duration, asked_to_stop: StopFlag) -> Self {
        let (runtime, checkpointed) = (Handle::current(), Instant::now());
        let voice = Voice::new(asked_to_stop.clone());
        Self { job, artifacts, runtime, voice, asked_to_stop, checkpoint_interval, checkpointed, epoch: 0 }
    }
}

impl Observer for Reporter {
    fn progress(&mut self, progress: &train::Progress) {
        self.epoch = progress.epoch;
        let last = progress.epoch == progress.epochs;
        self.voice.progress(Progress::Training(progress.clone()), &progress.phase, last);
    }

    /// A checkpoint that can't be written costs the training nothing now: it is logged, and the next is tried in time.
    fn checkpoint(&mut self, make: &dyn Fn() -> Result<Checkpoint, TrainError>) -> Result<(), TrainError> {
        let stopping = self.asked_to_stop.is_raised();
        if !stopping && self.checkpointed.elapsed() < self.checkpoint_interval {
            return Ok(());
        }
        let checkpoint = make()?;
        match self.runtime.block_on(self.artifacts.put_checkpoint(self.job, &checkpoint)) {
            Ok(()) => self.voice.say(&ChildEvent::Checkpoint { epoch: self.epoch }),
            Err(error) => warn!(error = &error as &dyn Error, "a checkpoint was not written"),
        }
        self.checkpointed = Instant::now();
        if stopping { Err(TrainError::Stopped) } else { Ok(()) }
    }

    fn should_stop(&self) -> bool {
        self.asked_to_stop.is_raised_since(LAST_EPOCH)
    }
}

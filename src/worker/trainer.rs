//! The child process: reads a job's graphs, trains, stores checkpoints and the detector, and tells of it line by line.

use std::error::Error;
use std::io::{self, BufRead, Write};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tracing::{error, info, warn};

use super::protocol::{ChildEvent, STOP};
use crate::artifact::Artifacts;
use crate::detector::Detector;
use crate::graph::split::Split;
use crate::id::{DetectorId, JobId};
use crate::job::{JobFailure, JobState};
use crate::model::device::{ComputeDevice, Opened};
use crate::store::{self, Store, StoredGraph};
use crate::train::{self, Checkpoint, Observer, Progress, TrainError, TrainingData, TrainingSpec};

/// A checkpoint at most this often: each is written to disk whole, and a resumed run repeats no more than this.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(5);
/// A progress line at most this often: each becomes an event of the job.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);
/// How long the epoch that runs may take to end once the process was asked to stop. What ends in time is in the
/// checkpoint; a longer epoch is given up.
const LAST_EPOCH: Duration = Duration::from_secs(2);
/// After this the process ends whatever it does: its parent may be gone, and nobody would kill it.
const LAST_MOMENT: Duration = Duration::from_secs(60);
/// The autograd graph of a long recurrence is dropped recursively, which overflows the usual 2 MiB.
const STACK_BYTES: usize = 64 << 20;

/// What the pool tells the process on its command line.
#[derive(Debug, Clone)]
pub struct TrainerConfig {
    pub job: JobId,
    pub attempt: u32,
    /// The detector to make.
    pub detector: DetectorId,
    pub store: store::Config,
}

/// Runs one attempt at a job and tells its end, whatever it is, on standard output.
///
/// # Errors
/// When standard output is gone, and with it whoever wanted to know.
pub async fn train(config: TrainerConfig, artifacts: Artifacts) -> io::Result<()> {
    let asked_to_stop = StopFlag::default();
    watch_stdin(asked_to_stop.clone())?;
    let event = match attempt(&config, artifacts, asked_to_stop).await {
        Ok(()) => ChildEvent::Finished,
        Err(Unfinished::Stopped) => ChildEvent::Stopped,
        Err(Unfinished::Failed { failure, retryable }) => ChildEvent::Failed { failure, retryable },
    };
    say(&event)
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

enum Unfinished {
    Stopped,
    Failed { failure: JobFailure, retryable: bool },
}

impl Unfinished {
    /// A failure that isn't the family's: the log has the cause, the user is spared it.
    fn internal(detail: &str, cause: &(dyn Error + 'static)) -> Self {
        error!(error = cause, "{detail}");
        let failure = JobFailure { code: "internal".to_owned(), detail: detail.to_owned() };
        Self::Failed { failure, retryable: true }
    }
}

impl From<TrainError> for Unfinished {
    fn from(error: TrainError) -> Self {
        match error {
            TrainError::Stopped => Self::Stopped,
            TrainError::Unusable(detail) => {
                let failure = JobFailure { code: "family_unusable".to_owned(), detail };
                Self::Failed { failure, retryable: false }
            }
            error => Self::internal("The training met an error.", &error),
        }
    }
}

async fn attempt(config: &TrainerConfig, artifacts: Artifacts, asked_to_stop: StopFlag) -> Result<(), Unfinished> {
    let (spec, data) = read_job(config).await?;
    let resume = artifacts
        .load_checkpoint(config.job)
        .await
        .map_err(|error| Unfinished::internal("The checkpoint could not be read.", &error))?;
    let reporter = Reporter::new(config.job, artifacts.clone(), asked_to_stop);
    let fitted = tokio::task::spawn_blocking(move || {
        let device = open(&spec)?;
        match with_training_stack(|| fit(&spec, &device, &data, resume, reporter)) {
            Ok(Ok(fitted)) => Ok(fitted?),
            // The panic hook has logged what and where.
            Ok(Err(_)) => Err(Unfinished::internal("The training panicked.", &io::Error::other("a panic"))),
            Err(error) => Err(Unfinished::internal("No thread could be started for the training.", &error)),
        }
    });
    let detector = match fitted.await {
        Ok(fitted) => fitted?,
        Err(error) => return Err(Unfinished::internal("The training met an error.", &error)),
    };
    artifacts
        .put_detector(config.detector, &detector)
        .await
        .map_err(|error| Unfinished::internal("The detector could not be stored.", &error))?;
    Ok(())
}

/// The job's spec and graphs. The database is closed again before the training begins.
async fn read_job(config: &TrainerConfig) -> Result<(TrainingSpec, TrainingData), Unfinished> {
    let failed = |error| Unfinished::internal("The family's graphs could not be read.", &error);
    let store = Store::open(&config.store).await.map_err(failed)?;
    let job = store.find_job(config.job).await.map_err(failed)?;
    if !matches!(job.state, JobState::Running { attempt, .. } if attempt == config.attempt) {
        return Err(Unfinished::Stopped);
    }
    let graphs = store.load_graphs(job.family).await.map_err(failed)?;
    store.close().await;
    Ok((job.spec, by_split(graphs)))
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

/// When the process was asked to stop, once it was.
#[derive(Debug, Clone, Default)]
struct StopFlag(Arc<OnceLock<Instant>>);

impl StopFlag {
    fn raise(&self) {
        self.0.get_or_init(Instant::now);
    }

    fn is_raised(&self) -> bool {
        self.0.get().is_some()
    }

    fn is_raised_since(&self, period: Duration) -> bool {
        self.0.get().is_some_and(|at| at.elapsed() >= period)
    }
}

/// Raises the flag on a `stop` line, or when the input ends: the parent is gone then, by `kill -9` perhaps.
fn watch_stdin(asked_to_stop: StopFlag) -> io::Result<()> {
    thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        let lines = io::stdin().lock().lines();
        for line in lines.map_while(Result::ok) {
            if line.trim_end() == STOP.trim_end() {
                break;
            }
        }
        asked_to_stop.raise();
        thread::sleep(LAST_MOMENT);
        error!("the training did not stop when asked to");
        std::process::exit(1);
    })?;
    Ok(())
}

fn say(event: &ChildEvent) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(event.to_line()?.as_bytes())?;
    stdout.flush()
}

/// Tells the pool how the training goes, and decides by the clock when a checkpoint is worth its price.
struct Reporter {
    job: JobId,
    artifacts: Artifacts,
    runtime: Handle,
    asked_to_stop: StopFlag,
    told: Option<(Instant, String)>,
    checkpointed: Instant,
    epoch: u64,
}

impl Reporter {
    fn new(job: JobId, artifacts: Artifacts, asked_to_stop: StopFlag) -> Self {
        let (runtime, checkpointed) = (Handle::current(), Instant::now());
        Self { job, artifacts, runtime, asked_to_stop, told: None, checkpointed, epoch: 0 }
    }

    fn say(&self, event: &ChildEvent) {
        if let Err(error) = say(event) {
            warn!(%error, "nobody listens to this training");
            self.asked_to_stop.raise();
        }
    }
}

impl Observer for Reporter {
    fn progress(&mut self, progress: &Progress) {
        self.epoch = progress.epoch;
        let fresh =
            self.told.as_ref().is_some_and(|(at, phase)| at.elapsed() < PROGRESS_EVERY && *phase == progress.phase);
        if !fresh || progress.epoch == progress.epochs {
            self.told = Some((Instant::now(), progress.phase.clone()));
            self.say(&ChildEvent::Progress { progress: progress.clone() });
        }
    }

    /// A checkpoint that can't be written costs the training nothing now: it is logged, and the next is tried in time.
    fn checkpoint(&mut self, make: &dyn Fn() -> Result<Checkpoint, TrainError>) -> Result<(), TrainError> {
        let stopping = self.asked_to_stop.is_raised();
        if !stopping && self.checkpointed.elapsed() < CHECKPOINT_EVERY {
            return Ok(());
        }
        let checkpoint = make()?;
        match self.runtime.block_on(self.artifacts.put_checkpoint(self.job, &checkpoint)) {
            Ok(()) => self.say(&ChildEvent::Checkpoint { epoch: self.epoch }),
            Err(error) => warn!(error = &error as &dyn Error, "a checkpoint was not written"),
        }
        self.checkpointed = Instant::now();
        if stopping { Err(TrainError::Stopped) } else { Ok(()) }
    }

    fn should_stop(&self) -> bool {
        self.asked_to_stop.is_raised_since(LAST_EPOCH)
    }
}

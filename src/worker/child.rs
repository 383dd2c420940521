//! What every child process does, whatever its task: it reads its job, listens for `stop`, and speaks on standard output.

use std::error::Error;
use std::io::{self, BufRead, Write};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use tracing::{error, warn};

use super::protocol::{ChildEvent, STOP};
use crate::id::JobId;
use crate::job::{Job, JobFailure, JobState, Progress};
use crate::store::{self, Store};

/// A progress line at most this often: each becomes an event of the job.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);
/// After this the process ends whatever it does: its parent may be gone, and nobody would kill it.
const LAST_MOMENT: Duration = Duration::from_secs(60);

/// Which attempt a process is.
#[derive(Debug, Clone)]
pub struct AttemptConfig {
    pub job: JobId,
    pub attempt: u32,
    pub store: store::Config,
}

/// Why an attempt made nothing.
pub(super) enum Unfinished {
    Stopped,
    Failed { failure: JobFailure, retryable: bool },
}

impl Unfinished {
    /// A failure that isn't the family's: the log has the cause, the user is spared it.
    pub(super) fn internal(detail: &str, cause: &(dyn Error + 'static)) -> Self {
        error!(error = cause, "{detail}");
        let failure = JobFailure { code: "internal".to_owned(), detail: detail.to_owned() };
        Self::Failed { failure, retryable: true }
    }

    /// What is asked can't be done with these graphs or detectors, however often it is tried.
    pub(super) fn unusable(detail: String) -> Self {
        Self::Failed { failure: JobFailure { code: "family_unusable".to_owned(), detail }, retryable: false }
    }
}

/// Runs one attempt at a job and tells its end, whatever it is, on standard output.
///
/// # Errors
/// When standard output is gone, and with it whoever wanted to know.
pub(super) async fn run<F: Future<Output = Result<(), Unfinished>>>(
    attempt: impl FnOnce(StopFlag) -> F,
) -> io::Result<()> {
    let asked_to_stop = StopFlag::default();
    watch_stdin(asked_to_stop.clone())?;
    say(&match attempt(asked_to_stop).await {
        Ok(()) => ChildEvent::Finished,
        Err(Unfinished::Stopped) => ChildEvent::Stopped,
        Err(Unfinished::Failed { failure, retryable }) => ChildEvent::Failed { failure, retryable },
    })
}

/// The job, if this attempt still holds it, and the store to read its graphs from.
pub(super) async fn open(config: &AttemptConfig) -> Result<(Store, Job), Unfinished> {
    let failed = |error| Unfinished::internal("The job could not be read.", &error);
    let store = Store::open(&config.store).await.map_err(failed)?;
    let job = store.find_job(config.job).await.map_err(failed)?;
    if !matches!(job.state, JobState::Running { attempt, .. } if attempt == config.attempt) {
        return Err(Unfinished::Stopped);
    }
    Ok((store, job))
}

/// When the process was asked to stop, once it was.
#[derive(Debug, Clone, Default)]
pub(super) struct StopFlag(Arc<OnceLock<Instant>>);

impl StopFlag {
    pub(super) fn raise(&self) {
        self.0.get_or_init(Instant::now);
    }

    pub(super) fn is_raised(&self) -> bool {
        self.0.get().is_some()
    }

    pub(super) fn is_raised_since(&self, period: Duration) -> bool {
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
        error!("the job did not stop when asked to");
        std::process::exit(1);
    })?;
    Ok(())
}

pub(super) fn say(event: &ChildEvent) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(event.to_line()?.as_bytes())?;
    stdout.flush()
}

/// Tells the pool how the job goes; stops it when nobody listens any more.
pub(super) struct Voice {
    asked_to_stop: StopFlag,
    told: Option<(Instant, String)>,
}

impl Voice {
    pub(super) fn new(asked_to_stop: StopFlag) -> Self {
        Self { asked_to_stop, told: None }
    }

    pub(super) fn say(&self, event: &ChildEvent) {
        if let Err(error) = say(event) {
            warn!(%error, "nobody listens to this job");
            self.asked_to_stop.raise();
        }
    }

    /// Tells of progress in `phase`: of each phase's begin, of the `last` of it, and else not too often.
    pub(super) fn progress(&mut self, progress: Progress, phase: &str, last: bool) {
        let fresh = self.told.as_ref().is_some_and(|(at, told)| at.elapsed() < PROGRESS_EVERY && told == phase);
        if !fresh || last {
            self.told = Some((Instant::now(), phase.to_owned()));
            self.say(&ChildEvent::Progress { progress });
        }
    }
}

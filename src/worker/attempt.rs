//! One attempt at a job: a child process followed from its start to its end.

use std::ffi::OsString;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Config;
use super::eta::Eta;
use super::pool::Pool;
use super::protocol::{ChildEvent, MAX_LINE, MAX_REPORT, STOP};
use super::trainer::compute_environment;
use crate::id::DetectorId;
use crate::job::{Job, JobFailure, Progress};
use crate::store::StoreError;

/// How long the last lines of a process that has ended are waited for. They are in the pipe already; only a stray
/// grandchild could keep it open longer.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Ways in which the rest of the service speaks to an attempt.
#[derive(Debug, Clone)]
pub(super) struct Signals {
    /// The job was cancelled: end the process now.
    pub(super) cancel: CancellationToken,
    /// The service stops: ask the process to end.
    pub(super) stop: CancellationToken,
    /// The service's patience is over: end the process now.
    pub(super) kill: CancellationToken,
}

#[derive(Debug)]
pub(super) struct Attempt<'a> {
    pub(super) job: &'a Job,
    /// The fence of every commit.
    pub(super) number: u32,
    pub(super) errand: Errand,
    pub(super) signals: Signals,
}

/// What the process is to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Errand {
    Detector(DetectorId),
    Report,
}

impl Errand {
    /// What the process does, in the words of a log or a failure.
    pub(super) const fn noun(self) -> &'static str {
        match self {
            Self::Detector(_) => "training",
            Self::Report => "evaluation",
        }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// The detector is durable, or this is the report; it is believed when it has been read.
    Finished { report: String },
    /// Another attempt would fail as well.
    Failed(JobFailure),
    /// Another attempt may succeed; the failure is told if it was the last one.
    Broken(JobFailure),
    /// The process died without a word.
    Died(String),
    /// The service stops; the job isn't to blame.
    Stopped,
    /// The job is no longer this attempt's: cancelled, or claimed by another.
    Lost,
}

impl Attempt<'_> {
    pub(super) async fn conduct(&self, pool: &Pool) -> Ending {
        // A cancel that came between the claim and our knowing of it would otherwise be noticed a heartbeat late.
        if self.beat(pool, None).await.is_err() {
            return Ending::Lost;
        }
        let mut child = match self.command(&pool.config).spawn() {
            Ok(child) => child,
            Err(error) => {
                warn!(job.id = %self.job.id, %error, "the job's process could not be started");
                return Ending::Died("its process could not be started".to_owned());
            }
        };
        self.follow(pool, &mut child).await
    }

    /// Reads what the child says and keeps the job's lease until the child has ended.
    async fn follow(&self, pool: &Pool, child: &mut Child) -> Ending {
        let mut stdin = child.stdin.take();
        let mut lines = child.stdout.take().map_or_else(closed, read_lines);
        let mut complaints = child.stderr.take().map_or_else(closed, read_lines);
        let mut heartbeat = tokio::time::interval(pool.config.lease / 3);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = Told::new();
        let mut asked_to_stop = false;
        let status = loop {
            tokio::select! {
                biased;
                () = self.signals.cancel.cancelled() => return end(child, Ending::Lost).await,
                () = self.signals.kill.cancelled() => return end(child, Ending::Stopped).await,
                () = self.signals.stop.cancelled(), if !asked_to_stop => {
                    asked_to_stop = true;
                    ask_to_stop(&mut stdin).await;
                }
                Some(line) = lines.recv() => {
                    if self.heed(pool, &mut told, &line).await.is_err() {
                        return end(child, Ending::Lost).await;
                    }
                }
                Some(line) = complaints.recv() => self.log(&line),
                status = child.wait() => break status,
                _ = heartbeat.tick() => {
                    if self.beat(pool, None).await.is_err() {
                        return end(child, Ending::Lost).await;
                    }
                }
            }
        };
        let last_words = async {
            while let Some(line) = lines.recv().await {
                if self.heed(pool, &mut told, &line).await.is_err() {
                    return Some(Ending::Lost);
                }
            }
            while let Some(line) = complaints.recv().await {
                self.log(&line);
            }
            None
        };
        if let Ok(Some(lost)) = tokio::time::timeout(LAST_WORDS, last_words).await {
            return lost;
        }
        match status {
            Ok(status) => verdict(told.ending, status, asked_to_stop),
            Err(error) => Ending::Died(format!("its process could not be waited for: {error}")),
        }
    }

    /// # Errors
    /// When the job is no longer this attempt's.
    async fn heed(&self, pool: &Pool, told: &mut Told, line: &str) -> Result<(), Lost> {
        match ChildEvent::parse(line) {
            Ok(ChildEvent::Progress { progress }) => {
                let eta = told.eta.estimate(&progress, told.began.elapsed());
                self.beat(pool, Some((&progress, eta))).await
            }
            Ok(ChildEvent::Checkpoint { epoch }) => {
                self.held(pool.store.note_checkpoint(self.job.id, self.number, epoch).await)
            }
            Ok(ChildEvent::Report { part }) => {
                // What is cut off can't be read, and so won't be believed.
                if told.report.len() + part.len() <= MAX_REPORT {
                    told.report += &part;
                }
                Ok(())
            }
            Ok(ChildEvent::Finished) => {
                let report = std::mem::take(&mut told.report);
                told.end(Ending::Finished { report })
            }
            Ok(ChildEvent::Stopped) => told.end(Ending::Stopped),
            Ok(ChildEvent::Failed { failure, retryable: false }) => told.end(Ending::Failed(failure)),
            Ok(ChildEvent::Failed { failure, retryable: true }) => told.end(Ending::Broken(failure)),
            Err(error) => {
                warn!(job.id = %self.job.id, %error, "the job's process said what can't be read");
                Ok(())
            }
        }
    }

    /// Extends the lease, with progress where there is some.
    ///
    /// # Errors
    /// When the job is no longer this attempt's.
    async fn beat(&self, pool: &Pool, progress: Option<(&Progress, Option<f64>)>) -> Result<(), Lost> {
        self.held(pool.store.heartbeat_job(self.job.id, self.number, pool.config.lease, progress).await)
    }

    /// A database that fails for a moment doesn't end the job: the next heartbeat tries again, and if the lease runs
    /// out meanwhile, the fence says so.
    fn held(&self, committed: Result<(), StoreError>) -> Result<(), Lost> {
        match committed {
            Ok(()) => Ok(()),
            Err(StoreError::Fenced) => Err(Lost),
            Err(error) => {
                warn!(job.id = %self.job.id, error = &error as &dyn std::error::Error, "the job's row was not updated");
                Ok(())
            }
        }
    }

    fn log(&self, line: &str) {
        info!(job.id = %self.job.id, line, "the job's process says");
    }

    fn command(&self, config: &Config) -> Command {
        let (command, detector) = match self.errand {
            Errand::Detector(detector) => ("train", Some(detector)),
            Errand::Report => ("evaluate", None),
        };
        let mut arguments: Vec<OsString> = vec![command.into()];
        let mut option = |name: &str, value: OsString| arguments.extend([name.into(), value]);
        option("--job", self.job.id.to_string().into());
        option("--attempt", self.number.to_string().into());
        if let Some(detector) = detector {
            option("--detector", detector.to_string().into());
            option("--checkpoint-interval", config.checkpoint_interval.as_secs_f64().to_string().into());
        }
        option("--data-dir", config.data_dir.clone().into());
        if let Some(url) = &config.artifact_url {
            option("--artifact-url", url.into());
        }
        let mut command = Command::new(&config.executable);
        command
            .args(arguments)
            .envs(compute_environment(config.threads))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A Ctrl-C in the terminal is for the service, which then asks its children to stop in its own time.
            .process_group(0)
            .kill_on_drop(true);
        command
    }
}

/// The job is no longer this attempt's.
#[derive(Debug)]
struct Lost;

/// What the child has said so far.
struct Told {
    began: Instant,
    eta: Eta,
    /// The parts so far.
    report: String,
    ending: Option<Ending>,
}

impl Told {
    fn new() -> Self {
        Self { began: Instant::now(), eta: Eta::default(), report: String::new(), ending: None }
    }

    fn end(&mut self, ending: Ending) -> Result<(), Lost> {
        self.ending = Some(ending);
        Ok(())
    }
}

/// What the child's last event and its exit say together. `finished` is believed whatever the exit was, for the artefact
/// is durable before that line; it is checked again before the commit.
fn verdict(told: Option<Ending>, status: ExitStatus, asked_to_stop: bool) -> Ending {
    match told {
        // Nobody asked it to: its standard input broke.
        Some(Ending::Stopped) if !asked_to_stop => Ending::Died("its process stopped unasked".to_owned()),
        Some(ending) => ending,
        None if asked_to_stop => Ending::Stopped,
        None => Ending::Died(describe(status)),
    }
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.signal(), status.code()) {
        (Some(9), _) => "its process was killed (signal 9): it may have run out of memory".to_owned(),
        (Some(signal), _) => format!("its process was ended by signal {signal}"),
        (None, Some(code)) => format!("its process ended with exit code {code} and no result"),
        (None, None) => "its process ended without a result".to_owned(),
    }
}

/// Ends the child at once and waits until it is gone, so that nothing of it writes after the job's end is committed.
async fn end(child: &mut Child, ending: Ending) -> Ending {
    if let Err(error) = child.kill().await {
        warn!(%error, "a job's process could not be ended");
    }
    ending
}

/// Says it twice: the line, and the end of the input.
async fn ask_to_stop(stdin: &mut Option<ChildStdin>) {
    if let Some(mut stdin) = stdin.take() {
        // A child that has just died can't be asked; its exit is noticed elsewhere.
        let _ = stdin.write_all(STOP.as_bytes()).await;
    }
}

/// The lines of a pipe, read by a task of their own so that none is lost when another branch wins a `select!`. What is
/// longer than [`MAX_LINE`] comes in pieces, which then are no events.
fn read_lines(pipe: impl AsyncRead + Send + Unpin + 'static) -> mpsc::Receiver<String> {
    let (send, receive) = mpsc::channel(64);
    tokio::spawn(async move {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while matches!((&mut pipe).take(MAX_LINE).read_until(b'\n', &mut line).await, Ok(read) if read > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if send.send(text).await.is_err() {
                return;
            }
            line.clear();
        }
    });
    receive
}

fn closed() -> mpsc::Receiver<String> {
    mpsc::channel(1).1
}

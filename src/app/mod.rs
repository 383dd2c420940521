//! The composition root: open, load, spawn, serve, drain; and the other commands, a file each.

pub mod backup;
mod data_dir;
pub mod experiment;
pub mod health;
pub mod keys;
pub mod samples;
mod stop;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info, warn};

use self::data_dir::DataDir;
use crate::config::{Config, Settings};
use crate::http::{self, Services};
use crate::model::device::{ComputeDevice, DeviceChoice, Opened};
use crate::recorder::Recorder;
use crate::registry::Registry;
use crate::scorer::Scorer;
use crate::store::{Scope, Store};
use crate::worker::{self, AttemptConfig, WorkerPool};
use crate::{cli, telemetry};

/// How often histograms are folded and gauges that nobody else sets are set.
const UPKEEP: Duration = Duration::from_secs(5);
/// What scoring may still take once no request waits for it.
const SCORER_DEADLINE: Duration = Duration::from_secs(2);

/// The running service.
#[derive(Debug)]
pub struct App {
    address: SocketAddr,
    config: Config,
    store: Store,
    scorer: Scorer,
    recorder: Recorder,
    worker: WorkerPool,
    /// Unready, and event streams end.
    stopping: CancellationToken,
    /// No more connections.
    closing: CancellationToken,
    server: JoinHandle<()>,
    _upkeep: AbortOnDropHandle<()>,
    /// Last: it is let go of when all the others are gone.
    _data_dir: DataDir,
}

impl App {
    /// Opens the data directory, brings it in order, and serves. When this returns, requests are answered.
    ///
    /// # Errors
    /// When the device isn't there, when another process serves the directory, when something can't be opened or bound, or when the address needs an
    /// admin key that is not there.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let device = open_device(config.device)?;
        let data_dir = DataDir::take(&config.place.data_dir)?;
        // Its clock is calibrated first, which takes milliseconds: the database is opened meanwhile.
        let metrics = tokio::task::spawn_blocking(telemetry::metrics);
        let store = Store::open(&config.store).await.context("the database cannot be opened")?;
        check_keys(&config, &store).await?;
        let artifacts = config.place.artifacts().context("the artefact storage cannot be opened")?;
        let recovered = store.recover_jobs().await?;
        if recovered > 0 {
            warn!(jobs = recovered, "jobs were cut off when the service last ended: they go on");
        }
        worker::drop_lost_detectors(&store, &artifacts).await?;
        if config.load_samples {
            data_dir.once("samples", || samples::load(&store, &artifacts)).await?;
        }

        let metrics = metrics.await??;
        let registry = Registry::new(artifacts.clone(), config.registry_capacity);
        let scorer =
            Scorer::start(&config.scorer, registry.clone(), device).context("the compute threads cannot be started")?;
        let listener =
            TcpListener::bind(config.listen).await.with_context(|| format!("cannot listen on {}", config.listen))?;
        let address = listener.local_addr()?;
        let worker = WorkerPool::start(config.worker.clone(), store.clone(), artifacts, registry);
        let recorder = Recorder::start(config.retention, store.clone());
        let (stopping, closing) = (CancellationToken::new(), CancellationToken::new());
        let upkeep = tokio::spawn(keep_up(metrics.clone(), store.clone(), scorer.clone()));
        let router = http::router(Services {
            config: Arc::new(config.http.clone()),
            store: store.clone(),
            scorer: scorer.clone(),
            recorder: recorder.clone(),
            worker: worker.clone(),
            stopping: stopping.clone(),
            closing: closing.clone(),
            metrics,
        });
        let server = tokio::spawn(http::serve(listener, router, config.http.idle_timeout, closing.clone()));
        info!(%address, data_dir = %config.place.data_dir.display(), "serving");
        let _upkeep = AbortOnDropHandle::new(upkeep);
        Ok(Self {
            address,
            config,
            store,
            scorer,
            recorder,
            worker,
            stopping,
            closing,
            server,
            _upkeep,
            _data_dir: data_dir,
        })
    }

    /// Where it listens: the real port, if 0 was asked for.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `signal` comes, then stops. A device that fails for good stops it, too: in a new process it may work.
    ///
    /// # Errors
    /// When the server ended by itself, or the device failed.
    pub async fn run(mut self, signal: impl Future<Output = ()>) -> anyhow::Result<()> {
        let scorer = self.scorer.clone();
        tokio::select! {
            () = signal => {
                self.stop().await;
                Ok(())
            }
            () = scorer.lost() => {
                self.stop().await;
                bail!("the device that scores has failed for good")
            }
            ended = &mut self.server => {
                error!("the server ended by itself");
                self.closing.cancel();
                self.end_work().await;
                ended.context("the server failed")
            }
        }
    }

    /// Stops in order: unready → keep serving for the grace period → stop accepting and end open streams → drain with a
    /// deadline, training processes meanwhile checkpoint and end → close.
    pub async fn stop(mut self) {
        info!("stopping: unready from now on");
        self.stopping.cancel();
        tokio::time::sleep(self.config.grace_period).await;
        info!("stopping: no more connections");
        self.closing.cancel();
        let deadline = self.config.drain_deadline;
        let drained = async {
            if tokio::time::timeout(deadline, &mut self.server).await.is_err() {
                warn!("requests were cut off: they took longer than the drain deadline");
                self.server.abort();
            }
        };
        let worker = self.worker.clone();
        tokio::join!(drained, worker.stop(deadline));
        self.end_work().await;
        info!("stopped");
    }

    /// Ends what needs no connection.
    async fn end_work(&self) {
        self.worker.stop(Duration::ZERO).await;
        if tokio::time::timeout(SCORER_DEADLINE, self.scorer.stop()).await.is_err() {
            warn!("a score that nobody waits for was cut off");
        }
        self.recorder.stop().await;
        self.store.close().await;
    }
}

/// `graphkin serve`.
///
/// # Errors
/// See [`App::start`] and [`App::run`].
pub async fn serve(settings: &Settings) -> anyhow::Result<()> {
    telemetry::log(&settings.logging)?;
    let signal = stop::signal()?;
    let app = App::start(Config::new(settings)?).await?;
    print(&format!("listening on http://{}\n", app.address()))?;
    app.run(signal).await
}

/// `graphkin train`: the child process of a worker.
///
/// # Errors
/// When standard output is gone, or the artefact storage can't be opened.
pub async fn train(arguments: cli::Train) -> anyhow::Result<()> {
    telemetry::log(&arguments.logging)?;
    let artifacts = arguments.place.artifacts()?;
    let cli::Train { job, attempt, detector, checkpoint_interval, place, .. } = arguments;
    let config = AttemptConfig { job, attempt, store: place.store(1) };
    worker::train(config, detector, checkpoint_interval, artifacts).await.context("nobody listens")
}

/// `graphkin evaluate`: the child process of a worker.
///
/// # Errors
/// When standard output is gone, or the artefact storage can't be opened.
pub async fn evaluate(arguments: cli::Evaluate) -> anyhow::Result<()> {
    telemetry::log(&arguments.logging)?;
    let artifacts = arguments.place.artifacts()?;
    let cli::Evaluate { job, attempt, place, .. } = arguments;
    let config = AttemptConfig { job, attempt, store: place.store(1) };
    worker::evaluate(config, artifacts).await.context("nobody listens")
}

/// Writes to standard output at once, whether a terminal or a pipe reads it.
///
/// # Errors
/// When standard output is gone.
pub fn print(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Opens the device that scores, and says which it is.
fn open_device(choice: DeviceChoice) -> anyhow::Result<ComputeDevice> {
    let Opened { device, passed_over } = choice.open().with_context(|| format!("--device {choice} cannot be used"))?;
    match passed_over {
        Some(why) => info!(%device, why = %why, "scoring on the device that `auto` came to"),
        None => info!(%device, "scoring"),
    }
    Ok(device)
}

/// Off loopback nobody gets in without a key, so there must be one that can make others.
async fn check_keys(config: &Config, store: &Store) -> anyhow::Result<()> {
    if !config.http.open && store.count_keys(Scope::Admin).await? == 0 {
        bail!(
            "{} can be reached from other machines, so an admin key is needed first: \
             graphkin keys create --scope admin --name NAME --data-dir {}",
            config.listen,
            config.place.data_dir.display()
        );
    }
    if config.http.open && store.list_keys().await?.is_empty() {
        warn!("no key was made yet: everyone on this machine may do everything, until `graphkin keys create`");
    }
    Ok(())
}

async fn keep_up(metrics: PrometheusHandle, store: Store, scorer: Scorer) {
    let mut tick = tokio::time::interval(UPKEEP);
    loop {
        tick.tick().await;
        metrics.run_upkeep();
        scorer.keep_up();
        match store.count_queued_jobs().await {
            Ok(jobs) => metrics::gauge!("graphkin_training_queue_jobs").set(jobs as f64),
            Err(error) => warn!(error = &error as &dyn std::error::Error, "the queued jobs could not be counted"),
        }
    }
}

#[cfg(test)]
mod tests;

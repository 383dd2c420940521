//! Settings: what the operator may say, and what the program makes of it. The only reader of the environment.
//!
//! `settings` is what can be typed, `layers` where it may be typed (a file, the environment, flags), and [`Config`] what
//! the program means by it: each part's own configuration, in range.

mod layers;
mod settings;

pub use layers::{LayerError, Source, parse, parse_process};
pub(crate) use settings::seconds;
pub use settings::{Limits, LogFormat, Logging, Place, Settings};

use std::net::SocketAddr;
use std::num::NonZero;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;
use std::{env, io, thread};

use anyhow::Context;

use crate::model::device::DeviceChoice;
use crate::{http, scorer, store, worker};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The whole service's configuration, made of each part's own.
#[derive(Debug, Clone)]
pub struct Config {
    pub listen: SocketAddr,
    pub place: Place,
    /// Detectors kept in memory.
    pub registry_capacity: u64,
    /// How long requests are still taken after the service has said that it is unready.
    pub grace_period: Duration,
    /// How long requests and training processes may then take to end.
    pub drain_deadline: Duration,
    /// Whether an empty data directory gets the sample family.
    pub load_samples: bool,
    /// Where graphs are scored.
    pub device: DeviceChoice,
    pub store: store::Config,
    pub http: http::Config,
    pub scorer: scorer::Config,
    /// Of the scores that were served.
    pub retention: store::Retention,
    pub worker: worker::Config,
}

impl Config {
    /// What `settings` mean on this machine.
    ///
    /// # Errors
    /// When the path of this program is unknown.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        let Settings { place, limits, .. } = settings;
        let graph = crate::graph::Limits { max_nodes: limits.max_nodes, max_edges: limits.max_edges };
        let archive = crate::graph::format::tu::ArchiveLimits {
            max_entries: 64,
            max_unpacked_bytes: limits.max_unpacked,
            max_graphs: limits.max_dataset_graphs,
            graph,
        };
        let http = http::Config {
            max_body_bytes: limits.max_body,
            max_line_bytes: limits.max_line,
            max_upload_bytes: limits.max_upload,
            archive,
            graph,
            max_batch: limits.max_batch,
            max_samples: limits.max_samples,
            request_timeout: settings.request_timeout,
            idle_timeout: settings.idle_timeout,
            rate_limit: settings.rate_limit,
            open: settings.listen.ip().is_loopback(),
            device: settings.device,
        };
        let scorer = scorer::Config {
            threads: settings.threads,
            max_requests: settings.max_requests,
            max_cost: settings.max_cost,
            max_batch_cost: settings.max_batch_cost,
            max_graph_memory: settings.max_graph_memory,
            cache_bytes: settings.score_cache,
        };
        let retention = store::Retention { scores: settings.served_scores, age: DAY * settings.served_score_days };
        let worker = worker::Config {
            workers: settings.workers,
            lease: settings.lease,
            max_attempts: settings.max_attempts,
            retry_delay: settings.retry_delay,
            checkpoint_interval: settings.checkpoint_interval,
            threads: match settings.training_threads {
                0 => cores(),
                threads => threads,
            },
            executable: env::current_exe().context("this program's own path, to start training processes")?,
            data_dir: place.data_dir.clone(),
            artifact_url: place.artifact_url.clone(),
        };
        Ok(Self {
            listen: settings.listen,
            place: place.clone(),
            registry_capacity: settings.registry_capacity,
            grace_period: settings.grace_period,
            drain_deadline: settings.drain_deadline,
            load_samples: settings.load_samples,
            device: settings.device,
            store: place.store(settings.readers),
            http,
            scorer,
            retention,
            worker,
        })
    }
}

/// Starts this program anew, in this process and with the same command line, if its environment lacks one of `variables`.
///
/// Allocators and thread pools read them once, at the start, and a process can't safely change its own. What is set stays.
///
/// # Errors
/// When the program can't be started anew; it returns otherwise only where nothing is lacking.
pub fn ensure_environment(variables: &[(&str, String)]) -> io::Result<()> {
    let lacking: Vec<&(&str, String)> = variables.iter().filter(|(name, _)| env::var_os(name).is_none()).collect();
    if lacking.is_empty() {
        return Ok(());
    }
    let lacking = lacking.into_iter().map(|(name, value)| (name, value));
    Err(Command::new(env::current_exe()?).args(env::args_os().skip(1)).envs(lacking).exec())
}

/// As many threads as there are cores for this process.
#[must_use]
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

#[cfg(test)]
mod tests;

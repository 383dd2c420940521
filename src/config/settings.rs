//! What can be typed: each setting with its default, its unit and its range.
#![expect(clippy::doc_markdown, reason = "most of these comments are help texts, printed as they are")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{RangedU64ValueParser, TypedValueParser};
use clap::{Args, ValueEnum};

use crate::artifact::{ArtifactError, Artifacts};
use crate::model::device::DeviceChoice;
use crate::store;

/// Where the service keeps what it knows: what every command asks for.
#[derive(Debug, Clone, Args)]
pub struct Place {
    /// A TOML file of settings, named as the flags are but with `_` for `-`
    ///
    /// A variable GRAPHKIN_LISTEN, GRAPHKIN_DATA_DIR, … overrides the file, and a flag overrides both.
    #[arg(long, value_name = "FILE", help_heading = "Where")]
    pub config: Option<PathBuf>,

    /// Directory of the database and, unless --artifact-url says otherwise, of the detectors
    #[arg(long, value_name = "DIRECTORY", default_value = "./graphkin-data", help_heading = "Where")]
    pub data_dir: PathBuf,

    /// Storage of detectors and checkpoints, as a URL (file:///…) [default: DATA_DIR/artifacts]
    #[arg(long, value_name = "URL", help_heading = "Where")]
    pub artifact_url: Option<String>,
}

impl Place {
    /// The database's configuration, with this many connections that read.
    #[must_use]
    pub fn store(&self, readers: u32) -> store::Config {
        store::Config { path: self.data_dir.join("graphkin.sqlite3"), readers }
    }

    /// Where local artefacts are, when no URL says otherwise.
    #[must_use]
    pub fn artifact_dir(&self) -> PathBuf {
        self.data_dir.join("artifacts")
    }

    /// # Errors
    /// When the storage can't be opened.
    pub fn artifacts(&self) -> Result<Artifacts, ArtifactError> {
        match &self.artifact_url {
            Some(url) => Artifacts::at_url(url),
            None => Artifacts::local(&self.artifact_dir()),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// An object a line, for machines.
    Json,
}

/// What the log says and how.
#[derive(Debug, Clone, Args)]
pub struct Logging {
    /// What is logged to standard error: a level, or a filter like `info,graphkin::worker=debug`
    #[arg(long, value_name = "FILTER", default_value = "info", help_heading = "Log")]
    pub log: String,

    /// How the log is written
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = LogFormat::Text, help_heading = "Log")]
    pub log_format: LogFormat,
}

/// Everything that can be set about the service.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    #[command(flatten)]
    pub place: Place,

    #[command(flatten)]
    pub logging: Logging,

    /// Address and port to listen on; port 0 takes a free one. Off loopback the service needs an admin key first
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", help_heading = "Serving")]
    pub listen: SocketAddr,

    /// Time for an answer to begin, in seconds; for a streamed upload, between two pieces of it
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds(0.01, 3_600.0), help_heading = "Serving")]
    pub request_timeout: Duration,

    /// Time for a client to send the head of its next request, or to take in any more of an answer, in seconds; then its
    /// connection is closed
    #[arg(long, value_name = "SECONDS", default_value = "75", value_parser = seconds(0.01, 3_600.0), help_heading = "Serving")]
    pub idle_timeout: Duration,

    /// Requests a second of one key, and as many at once; 0 is no limit
    #[arg(long, value_name = "COUNT", default_value = "0", help_heading = "Serving")]
    pub rate_limit: u32,

    /// Database connections that read at once
    #[arg(long, value_name = "COUNT", default_value = "4", value_parser = whole::<u32>(1, 64), help_heading = "Serving")]
    pub readers: u32,

    /// Time for which requests are still taken once the service, asked to stop, has said that it is unready, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds(0.0, 600.0), help_heading = "Serving")]
    pub grace_period: Duration,

    /// Time that requests and training processes then have to end, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = seconds(0.0, 3_600.0), help_heading = "Serving")]
    pub drain_deadline: Duration,

    /// Whether an empty data directory gets the sample family and its detectors
    #[arg(long, value_name = "BOOL", default_value = "true", action = clap::ArgAction::Set, help_heading = "Serving")]
    pub load_samples: bool,

    /// Where graphs are scored, and models trained whose jobs name no device: auto, cpu, cuda or cuda:N
    ///
    /// auto takes the first CUDA device that this binary can use, else the CPU, and the log says which. Of the others, what
    /// is not there is an error at start.
    #[arg(long, value_name = "DEVICE", default_value_t = DeviceChoice::Auto, help_heading = "Scoring")]
    pub device: DeviceChoice,

    /// Threads that score; 0 is one per core. A CUDA device is fed by one, whatever this says
    #[arg(long, value_name = "COUNT", default_value = "0", value_parser = whole::<usize>(0, 1_024), help_heading = "Scoring")]
    pub threads: usize,

    /// Scoring requests that may wait or be computed at once; one more is answered 429
    #[arg(long, value_name = "COUNT", default_value = "512", value_parser = whole::<usize>(1, 65_536), help_heading = "Scoring")]
    pub max_requests: usize,

    /// Work that may wait or be computed at once, in estimated multiply-adds; more is answered 429
    #[arg(long, value_name = "COST", default_value = "1000000000000", value_parser = whole::<u64>(1, u64::MAX >> 1), help_heading = "Scoring")]
    pub max_cost: u64,

    // A core does 2 to 20 thousand million a second: 20 to 200 ms, and two dozen molecules under all four kinds.
    /// Work that a thread does in one go, in estimated multiply-adds, of several graphs that wait for the same detectors; one
    /// graph may take more
    #[arg(long, value_name = "COST", default_value = "400000000", value_parser = whole::<u64>(1, u64::MAX >> 1), help_heading = "Scoring")]
    pub max_batch_cost: u64,

    /// Memory that scoring one graph may take, in estimated bytes; a graph that takes more is answered 422
    #[arg(long, value_name = "BYTES", default_value = "2147483648", value_parser = whole::<u64>(1, u64::MAX >> 1), help_heading = "Scoring")]
    pub max_graph_memory: u64,

    /// Answers kept, to be given again when the same is asked of the same graph, in bytes; 0 keeps none
    #[arg(long, value_name = "BYTES", default_value = "67108864", value_parser = whole::<u64>(0, 1 << 40), help_heading = "Scoring")]
    pub score_cache: u64,

    /// Scores kept of each family, the newest, for its drift to be told from; 0 keeps none
    #[arg(long, value_name = "COUNT", default_value = "10000", value_parser = whole::<u64>(0, 1_000_000), help_heading = "Scoring")]
    pub served_scores: u64,

    /// Age up to which these are kept, in days
    #[arg(long, value_name = "DAYS", default_value = "30", value_parser = whole::<u32>(1, 3_650), help_heading = "Scoring")]
    pub served_score_days: u32,

    /// Detectors kept in memory
    #[arg(long, value_name = "COUNT", default_value = "64", value_parser = whole::<u64>(1, 65_536), help_heading = "Scoring")]
    pub registry_capacity: u64,

    /// Jobs trained at once; 0 trains none, they wait
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = whole::<usize>(0, 256), help_heading = "Training")]
    pub workers: usize,

    /// Numeric threads of one training process; 0 is one per core
    #[arg(long, value_name = "COUNT", default_value = "0", value_parser = whole::<usize>(0, 1_024), help_heading = "Training")]
    pub training_threads: usize,

    /// Time of a training between two checkpoints, in seconds; after a crash it repeats no more than this
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds(0.01, 86_400.0), help_heading = "Training")]
    pub checkpoint_interval: Duration,

    /// Silence after which a worker is taken for dead and its job given to another, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds(1.0, 3_600.0), help_heading = "Training")]
    pub lease: Duration,

    /// Deaths of a job's process, or of the service with it, after which the job is failed
    #[arg(long, value_name = "COUNT", default_value = "3", value_parser = whole::<u32>(1, 100), help_heading = "Training")]
    pub max_attempts: u32,

    /// Wait before another attempt after the first death, in seconds; it doubles with each
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds(0.0, 300.0), help_heading = "Training")]
    pub retry_delay: Duration,

    #[command(flatten)]
    pub limits: Limits,
}

/// The largest that a client may send.
#[derive(Debug, Clone, Args)]
pub struct Limits {
    /// Body of a JSON request, in bytes
    #[arg(long, value_name = "BYTES", default_value = "33554432", value_parser = bytes(), help_heading = "Limits")]
    pub max_body: usize,

    /// One line of an NDJSON stream, in bytes
    #[arg(long, value_name = "BYTES", default_value = "16777216", value_parser = bytes(), help_heading = "Limits")]
    pub max_line: usize,

    /// An uploaded dataset, packed, in bytes
    #[arg(long, value_name = "BYTES", default_value = "268435456", value_parser = bytes(), help_heading = "Limits")]
    pub max_upload: usize,

    /// An uploaded dataset, unpacked, in bytes
    #[arg(long, value_name = "BYTES", default_value = "4294967296", value_parser = whole::<u64>(1, 1 << 40), help_heading = "Limits")]
    pub max_unpacked: u64,

    /// Graphs in an uploaded dataset
    #[arg(long, value_name = "COUNT", default_value = "1000000", value_parser = whole::<usize>(1, 100_000_000), help_heading = "Limits")]
    pub max_dataset_graphs: usize,

    /// Nodes of a graph
    #[arg(long, value_name = "COUNT", default_value = "100000", value_parser = whole::<usize>(1, 100_000_000), help_heading = "Limits")]
    pub max_nodes: usize,

    /// Edges of a graph, as given
    #[arg(long, value_name = "COUNT", default_value = "1000000", value_parser = whole::<usize>(1, 1_000_000_000), help_heading = "Limits")]
    pub max_edges: usize,

    /// Graphs in one request's `graphs`
    #[arg(long, value_name = "COUNT", default_value = "1000", value_parser = whole::<usize>(1, 1_000_000), help_heading = "Limits")]
    pub max_batch: usize,

    /// Completions that one score may sample
    #[arg(long, value_name = "COUNT", default_value = "10000", value_parser = whole::<usize>(1, 1_000_000), help_heading = "Limits")]
    pub max_samples: usize,
}

/// A whole number within the range, both ends included.
fn whole<T>(least: u64, most: u64) -> RangedU64ValueParser<T>
where
    T: TryFrom<u64> + Clone + Send + Sync,
{
    RangedU64ValueParser::new().range(least..=most)
}

fn bytes() -> RangedU64ValueParser<usize> {
    whole(1, 1 << 40)
}

/// A time in seconds, with decimals if need be.
pub(crate) fn seconds(least: f64, most: f64) -> impl TypedValueParser<Value = Duration> {
    clap::builder::StringValueParser::new().try_map(move |text| {
        let seconds: f64 = text.parse().map_err(|_| format!("`{text}` is no number of seconds"))?;
        if !(least..=most).contains(&seconds) {
            return Err(format!("{text} is not in {least}..={most}"));
        }
        Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
    })
}

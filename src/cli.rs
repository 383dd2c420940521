//! The command line as it can be typed.
#![expect(clippy::doc_markdown, reason = "most of these comments are help texts, printed as they are")]

use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use serde_json::{Map, Value};

use crate::config::{Logging, Place, Settings, seconds};
use crate::id::{DetectorId, JobId};
use crate::model::Kind;
use crate::store::Scope;

/// Says whether a graph is kin to a family: graph-level anomaly detection learnt from normal graphs alone
#[derive(Debug, Parser)]
#[command(name = "graphkin", version, args_override_self = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve graph families, training and verdicts over HTTP
    ///
    /// Settings come, in rising order, from these defaults, the --config file, GRAPHKIN_* variables and flags:
    /// --max-cost is GRAPHKIN_MAX_COST, and max_cost in the file.
    Serve(Box<Settings>),
    /// Make, list and revoke API keys, also while the service runs
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Copy the database and the detectors into one file, also while the service runs
    Backup(Archive),
    /// Fill an empty data directory from a backup
    Restore(Archive),
    /// Run the study's experiments offline and write a report of tables and pictures
    ///
    /// What is done is kept in the directory: the same command goes on where it was cut off.
    Experiment(Experiment),
    /// Print the HTTP interface's OpenAPI document
    Openapi,
    /// Ask the service on this machine whether it is ready: exit code 0 when it is
    Health(Health),
    /// Run one attempt at a training job: the service starts this itself
    #[command(hide = true)]
    Train(Train),
    /// Run one attempt at an evaluation: the service starts this itself
    #[command(hide = true)]
    Evaluate(Evaluate),
    /// Make what ships with the service
    #[command(hide = true, subcommand)]
    Samples(SamplesCommand),
}

#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a key and print it, once
    Create {
        #[command(flatten)]
        place: Place,
        /// What the key may do: read, score or admin, each with what comes before it
        #[arg(long)]
        scope: Scope,
        /// The name to know it by
        #[arg(long)]
        name: String,
    },
    /// List all keys, revoked ones too
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Revoke a key: it stops at once
    Revoke {
        #[command(flatten)]
        place: Place,
        /// The key's name
        name: String,
    },
}

#[derive(Debug, Args)]
pub struct Archive {
    #[command(flatten)]
    pub place: Place,
    /// The backup's file
    pub file: PathBuf,
}

#[derive(Debug, Args)]
pub struct Health {
    /// The address that the service listens on; one for all interfaces is asked on loopback
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: std::net::SocketAddr,
    /// A TOML file of settings
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Experiment {
    /// The directory of the TU datasets' archives: AIDS.zip, DD.zip, IMDB-MULTI.zip
    #[arg(long, value_name = "DIRECTORY")]
    pub data: PathBuf,
    /// The directory of the report and of what was found so far
    #[arg(long, value_name = "DIRECTORY", default_value = "experiment")]
    pub out: PathBuf,
    /// One repeat with few graphs and short trainings: a look at everything in minutes, no figures to quote
    #[arg(long)]
    pub quick: bool,
    /// Repeats of each task, 1 to 5: seeds or folds [default: 5, or 1 if --quick]
    #[arg(long, value_name = "NUMBER")]
    pub repeats: Option<u64>,
    /// Kinds to train [default: all]
    #[arg(long, value_name = "KIND", num_args = 1.., value_parser = parse_kind)]
    pub kinds: Vec<Kind>,
    /// Hyper-parameters other than the defaults, such as '{"layers": 2}'; each kind takes those that it has
    #[arg(long, value_name = "JSON", value_parser = parse_object, conflicts_with = "quick")]
    pub hyperparameters: Option<Map<String, Value>>,
    /// Repeats that are run side by side [default: as many as there are cores, 4 at most]
    #[arg(long, value_name = "NUMBER")]
    pub at_once: Option<NonZero<usize>>,
    /// Only tasks whose name begins with one of these, such as dd, dd-0, folds or synthetic
    #[arg(long, value_name = "TEXT", num_args = 1..)]
    pub only: Vec<String>,
}

fn parse_kind(text: &str) -> Result<Kind, String> {
    text.parse().map_err(|()| format!("`{text}` is no kind: {}", Kind::ALL.map(Kind::as_str).join(", ")))
}

fn parse_object(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|why| format!("not a JSON object: {why}"))
}

#[derive(Debug, Args)]
pub struct Train {
    #[command(flatten)]
    pub place: Place,
    #[command(flatten)]
    pub logging: Logging,
    #[arg(long)]
    pub job: JobId,
    #[arg(long)]
    pub attempt: u32,
    /// The detector to make
    #[arg(long)]
    pub detector: DetectorId,
    /// The least time between two checkpoints
    #[arg(long, value_name = "SECONDS", value_parser = seconds(0.01, 86_400.0))]
    pub checkpoint_interval: Duration,
}

#[derive(Debug, Args)]
pub struct Evaluate {
    #[command(flatten)]
    pub place: Place,
    #[command(flatten)]
    pub logging: Logging,
    #[arg(long)]
    pub job: JobId,
    #[arg(long)]
    pub attempt: u32,
}

#[derive(Debug, Subcommand)]
pub enum SamplesCommand {
    /// Train the sample detectors and write them
    Make {
        /// The directory to write to
        #[arg(long, default_value = "models")]
        out: PathBuf,
    },
}

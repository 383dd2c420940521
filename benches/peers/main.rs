//! Each model beside its counterpart in PyTorch: the same weights, graphs, orderings and samples, the sides in turn.
//!
//! `README.md` says how to run it, what is compared, and what favours whom.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a table is what this program is for")]

mod arithmetic;
mod case;
mod family;
mod ordered;
mod peak;
mod peer;
mod report;
mod scoring;
mod shape;
mod training;

use std::env;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use graphkin::model::Kind;
use graphkin::model::graph_rnn::Variant;
use graphkin::worker::{THREADS_VARIABLE, compute_environment};
use rayon::ThreadPool;

use case::Case;
use family::Family;
use peer::Peer;
use report::{Measured, Table};

/// Runs whose values are compared and whose times are not looked at: the second step of a training shows the first.
const WARM_UPS: usize = 2;

/// Between the two sides: threads that wait for more work keep their cores busy for a while.
const REST: Duration = Duration::from_millis(100);

/// Compares graphkin's models with their counterparts in PyTorch.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only rows whose name contains all of these, such as `score` and `aids`.
    filter: Vec<String>,
    /// Runs of either side whose median is told.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    runs: u64,
    /// Threads of either side: graphkin spreads graphs over them, PyTorch what its operations are made of.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=256))]
    threads: u64,
    /// Given by `cargo bench`, without a meaning here.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy)]
enum Task {
    Score,
    Train,
}

#[derive(Debug, Clone, Copy)]
enum Model {
    GraphRnn(Variant),
    Gran,
    Masked(Kind),
}

const TASKS: [(Task, &str); 2] = [(Task::Score, "score"), (Task::Train, "train")];

const MODELS: [(Model, &str); 5] = [
    (Model::GraphRnn(Variant::Rnn), "graphrnn-rnn"),
    (Model::GraphRnn(Variant::Mlp), "graphrnn-mlp"),
    (Model::Masked(Kind::FullMask), "full-mask"),
    (Model::Masked(Kind::FullEdgePrediction), "full-edge-prediction"),
    (Model::Gran, "gran"),
];

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<()> {
    let Arguments { filter, runs, threads, bench: _ } = Arguments::parse();
    if env::var(THREADS_VARIABLE).ok() != Some(threads.to_string()) {
        // A process can't safely change its own environment, so another does the work, in that of the service's trainings.
        let status = Command::new(env::current_exe()?)
            .args(env::args_os().skip(1))
            .envs(compute_environment(threads as usize))
            .status()?;
        ensure!(status.success(), "the comparison failed: {status}");
        return Ok(());
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads as usize).build()?;
    let families = [Family::aids()?, Family::dd()?];
    let peak = peak::measure(&pool, runs)?;
    println!("{peak}\n");
    let mut table = Table::new(peak);
    for (task, task_name) in TASKS {
        for (model, model_name) in MODELS {
            for family in &families {
                let name = format!("{task_name} {model_name} {}", family.name());
                if filter.iter().all(|part| name.contains(part)) {
                    eprintln!("{name} …");
                    let case = build(task, model, family)?;
                    table.push(&name, measure(&name, case, &pool, runs).with_context(|| name.clone())?);
                }
            }
        }
    }
    println!("{table}");
    ensure!(table.scores_agree(), "the two sides find different values");
    Ok(())
}

fn build(task: Task, model: Model, family: &Family) -> Result<Case> {
    match (task, model) {
        (Task::Score, Model::GraphRnn(variant)) => scoring::graph_rnn(family, variant),
        (Task::Score, Model::Gran) => scoring::gran(family),
        (Task::Score, Model::Masked(kind)) => scoring::masked(family, kind),
        (Task::Train, Model::GraphRnn(variant)) => training::graph_rnn(family, variant),
        (Task::Train, Model::Gran) => training::gran(family),
        (Task::Train, Model::Masked(kind)) => training::masked(family, kind),
    }
}

/// Runs both sides in turn.
fn measure(name: &str, mut case: Case, pool: &ThreadPool, runs: u64) -> Result<Measured> {
    let mut peer = Peer::start(name, &case.file, pool.current_num_threads())?;
    let mut measured = Measured::new(case.graphs, case.multiply_adds);
    for _ in 0..WARM_UPS {
        measured.compare(&pool.install(&mut case.run)?, &peer.run()?.values)?;
    }
    for _ in 0..runs {
        sleep(REST);
        let begun = Instant::now();
        pool.install(&mut case.run)?;
        let elapsed = begun.elapsed().as_secs_f64();
        sleep(REST);
        measured.push(elapsed, &peer.run()?);
    }
    Ok(measured)
}

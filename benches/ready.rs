//! From start to ready, and the memory that the service takes.

#[path = "support/dataset.rs"]
mod dataset;
#[path = "support/samples.rs"]
mod samples;
#[path = "support/service.rs"]
mod service;
mod support;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use graphkin::artifact::Artifacts;
use graphkin::graph::Graph;
use graphkin::graph::format::json;
use graphkin::id::DetectorId;
use graphkin::model::Kind;
use graphkin::store::{self, NewDetector, NewFamily, Store};
use serde_json::json;
use service::Service;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use support::{Report, medians, seconds};
use uuid::Uuid;

const DATABASE: &str = "graphkin.sqlite3";
const FAMILIES: [&str; 2] = ["one", "two"];
const STARTS: usize = 15;
/// After which a started service that nobody asks anything is at rest.
const REST: Duration = Duration::from_secs(2);
const MEGABYTE: f64 = 1e6;
/// Over the dataset that is scored again and again.
const PASSES: u64 = 10;

fn main() -> Result<()> {
    if let Some(file) = service::bare_service() {
        return open(Path::new(&file));
    }
    let mut report = Report::new("ready")?;
    let place = tempfile::tempdir()?;
    furnish(place.path())?;
    start(&mut report, place.path())?;
    remember(&mut report, place.path())?;
    repeat(&mut report, place.path())
}

/// A data directory with two families and a detector of each kind for both: eight.
#[tokio::main]
async fn furnish(place: &Path) -> Result<()> {
    let store = Store::open(&store::Config { path: place.join(DATABASE), readers: 1 }).await?;
    let artifacts = Artifacts::local(&place.join("artifacts"))?;
    for name in FAMILIES {
        let family = NewFamily { name: name.to_owned(), description: None, class_label: None };
        let family = store.create_family(&family).await?;
        for kind in Kind::ALL {
            let id = DetectorId::new(Uuid::now_v7());
            let artifact = artifacts.put_detector(id, &samples::detector(kind)?).await?;
            store.add_detector(NewDetector { id, family: family.id, job: None, artifact }).await?;
        }
    }
    store.close().await;
    Ok(())
}

fn graphkin(place: &Path, options: &[&str]) -> Result<Service> {
    let mut arguments = vec![format!("--data-dir={}", place.display()), "--load-samples=false".to_owned()];
    arguments.extend(options.iter().map(|&option| option.to_owned()));
    Service::graphkin(&arguments)
}

/// Until the first answer that says so, from the start of the process.
fn start(report: &mut Report, place: &Path) -> Result<()> {
    let database = place.join(DATABASE).display().to_string();
    let is_ready = |service: Service| service.client()?.ask("GET", "/health/ready", "").map(|_| service);
    let [ours, bare] = medians(
        STARTS,
        [&mut || seconds(|| graphkin(place, &[]).and_then(is_ready)), &mut || {
            seconds(|| Service::bare(&database).and_then(is_ready))
        }],
    )?;
    let made_of =
        format!("{:.1} ms against {:.1} ms of a bare axum service that opens the file", ours * 1e3, bare * 1e3);
    report.tell("ready with 8 detectors", &made_of, (ours / bare, "x"), ..=4.0)
}

/// Memory at rest, and at most while a real dataset is scored.
fn remember(report: &mut Report, place: &Path) -> Result<()> {
    let service = graphkin(place, &[])?;
    service.client()?.ask("GET", "/health/ready", "")?;
    thread::sleep(REST);
    let idle = memory(&service, "VmRSS")?;
    report.tell("memory when idle", "resident, 8 detectors in the store", (idle / MEGABYTE, "MB"), ..=60.0)?;

    let graphs = dataset::graphs(&dataset::read("DD")?)?;
    score_all(&service, &graphs, 1)?;
    let peak = memory(&service, "VmHWM")?;
    let made_of = format!("the peak over {} graphs, 4 kinds", graphs.len());
    report.tell("memory for all of DD", &made_of, (peak / MEGABYTE, "MB"), ..=1_000.0)
}

/// Memory after one and after more passes over a real dataset, without the answers that are kept: those take up to 64 MiB
/// more, on purpose. What the allocator keeps comes and goes by a tenth, hence the median.
fn repeat(report: &mut Report, place: &Path) -> Result<()> {
    let service = graphkin(place, &["--score-cache=0"])?;
    let graphs = dataset::graphs(&dataset::read("DD")?)?;
    score_all(&service, &graphs, 1)?;
    let first = memory(&service, "VmRSS")?;
    let again = |seed| {
        score_all(&service, &graphs, seed)?;
        memory(&service, "VmRSS")
    };
    let mut later = (2..=PASSES).map(again).collect::<Result<Vec<f64>>>()?;
    later.sort_unstable_by(f64::total_cmp);
    let later = later[later.len() / 2];
    let made_of = format!(
        "{:.0} MB after {} more passes against {:.0} MB, no answers kept",
        later / MEGABYTE,
        PASSES - 1,
        first / MEGABYTE
    );
    report.tell("memory after more passes", &made_of, (later / first, "x"), ..=1.1)
}

/// Asks for a score of every graph, from as many clients as there are cores, each a graph a request.
fn score_all(service: &Service, graphs: &[Graph], seed: u64) -> Result<()> {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let ask = || -> Result<()> {
            let mut client = service.client()?;
            while let Some(graph) = graphs.get(next.fetch_add(1, Ordering::Relaxed)) {
                let options = json!({"seed": seed, "orderings": 1, "samples": 10});
                let body = json!({"graph": json::to_canonical(graph, None), "options": options});
                client.ask("POST", "/v1/families/one/score", &body.to_string())?;
            }
            Ok(())
        };
        let clients = (0..thread::available_parallelism()?.get()).map(|_| scope.spawn(ask)).collect::<Vec<_>>();
        clients.into_iter().try_for_each(|client| client.join().map_err(|_| anyhow!("a client panicked"))?)
    })
}

/// Bytes, by the name that Linux has for them.
fn memory(service: &Service, name: &str) -> Result<f64> {
    let status: PathBuf = format!("/proc/{}/status", service.process.id()).into();
    let status = std::fs::read_to_string(&status).with_context(|| format!("{}: is this Linux?", status.display()))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kibibytes: f64 = line.and_then(|line| line.split_whitespace().next()).context("no such figure")?.parse()?;
    Ok(kibibytes * 1024.0)
}

/// The bare service: it opens the file and answers when that does.
#[tokio::main]
async fn open(file: &Path) -> Result<()> {
    let pool = SqlitePool::connect_with(SqliteConnectOptions::new().filename(file)).await?;
    let ready = |State(pool): State<SqlitePool>| async move {
        let asked = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM active_detectors").fetch_one(&pool).await;
        asked.map(|count| count.to_string()).map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
    };
    service::serve(axum::Router::new().route("/health/ready", get(ready)).with_state(pool)).await
}

//! What HTTP costs: the time that a request takes beside its score, the throughput of many clients, and the batches that their
//! requests form.
//!
//! Both services are processes of their own, asked by the same client over loopback. No answer is remembered.

#[path = "support/samples.rs"]
mod samples;
#[path = "support/service.rs"]
mod service;
mod support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use axum::Json;
use axum::routing::post;
use graphkin::detector::{Detector, ScoreOptions, verdict};
use graphkin::graph::Graph;
use graphkin::graph::format::json;
use graphkin::graph::synthetic::{self, SyntheticSpec, SyntheticType};
use graphkin::model::Kind;
use serde_json::{Value, json};
use service::Service;
use support::{Report, medians, seconds};

const SCORE: &str = "/v1/families/ladder/score";
const REQUESTS: usize = 2_000;
const CLIENTS: usize = 64;
const WINDOW: Duration = Duration::from_secs(4);
const ROUNDS: usize = 3;

fn main() -> Result<()> {
    if service::bare_service().is_some() {
        return echo();
    }
    let mut report = Report::new("http")?;
    let place = tempfile::tempdir()?;
    let flags = [format!("--data-dir={}", place.path().display()), "--score-cache=0".to_owned()];
    let service = Service::graphkin(&flags)?;
    let graphs = ladder(CLIENTS)?;
    latency(&mut report, &service, graphs.first().context("no graph")?)?;
    throughput(&mut report, &service, &graphs)?;
    batches(&mut report, &service, &graphs)
}

/// The cheapest score there is, so that what else a request takes can be seen beside it.
fn latency(report: &mut Report, service: &Service, graph: &Graph) -> Result<()> {
    let bare = Service::bare("echo")?;
    let options = json!({"kinds": [Kind::FullEdgePrediction.as_str()], "samples": 1});
    let body = json!({"graph": json::to_canonical(graph, None), "options": options}).to_string();
    let detector = samples::detector(Kind::FullEdgePrediction)?;
    let options = ScoreOptions { samples: Some(1), ..ScoreOptions::default() };
    let (mut client, mut bare) = (service.client()?, bare.client().map(|client| (client, bare))?);
    let [served, echoed, scored] = medians(
        REQUESTS,
        [
            &mut || seconds(|| client.ask("POST", SCORE, &body)),
            &mut || seconds(|| bare.0.ask("POST", "/", &body)),
            &mut || seconds(|| Ok(judge(std::slice::from_ref(&detector), &[graph], &options))),
        ],
    )?;
    let made_of = format!(
        "{:.0} us less {:.0} us of scoring against {:.0} us of a bare axum handler that echoes the JSON",
        served * 1e6,
        scored * 1e6,
        echoed * 1e6
    );
    report.tell("a request beside its score, p50", &made_of, ((served - scored) / echoed, "x"), ..=2.0)
}

/// Scores of all kinds, a graph a request, against the same scores without a service.
fn throughput(report: &mut Report, service: &Service, graphs: &[Graph]) -> Result<()> {
    let detectors = Kind::ALL.into_iter().map(samples::detector).collect::<Result<Vec<_>>>()?;
    let [served, in_process] = medians(
        ROUNDS,
        [&mut || serve_for_a_while(service, graphs, &json!({})), &mut || score_for_a_while(&detectors, graphs)],
    )?;
    let made_of = format!("{served:.0} graphs/s against {in_process:.0} graphs/s in one process");
    let what = format!("throughput of {CLIENTS} clients");
    report.tell(&what, &made_of, (100.0 * served / in_process, "%"), 90.0..)
}

/// Graphs computed in one call while so many clients ask. Nothing waits for a batch to fill: it is what came meanwhile, as
/// long as it is no more work than `max_batch_cost`, which a graph of all kinds is by itself here.
fn batches(report: &mut Report, service: &Service, graphs: &[Graph]) -> Result<()> {
    let before = formed(service)?;
    serve_for_a_while(service, graphs, &json!({"kinds": [Kind::FullMask.as_str()]}))?;
    let [graphs, batches] = formed(service)?;
    let (graphs, batches) = (graphs - before[0], batches - before[1]);
    let what = format!("graphs in a batch of {CLIENTS} clients, full-mask");
    report.tell(&what, &format!("{graphs:.0} graphs in {batches:.0} batches"), (graphs / batches, "graphs"), ..)
}

/// Graphs that the service has computed, and the batches that they were in.
fn formed(service: &Service) -> Result<[f64; 2]> {
    let metrics = String::from_utf8(service.client()?.ask("GET", "/metrics", "")?)?;
    let number = |name: &str| -> Result<f64> {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)).context("no such metric")?;
        Ok(line.trim().parse()?)
    };
    Ok([number("graphkin_score_batch_graphs_sum ")?, number("graphkin_score_batch_graphs_count ")?])
}

/// Graphs a second that as many clients get scored, each a graph of its own, one request after the other.
fn serve_for_a_while(service: &Service, graphs: &[Graph], options: &Value) -> Result<f64> {
    let done = AtomicU64::new(0);
    let begun = Instant::now();
    thread::scope(|scope| {
        let ask = |graph: &Graph| -> Result<()> {
            let body = json!({"graph": json::to_canonical(graph, None), "options": options}).to_string();
            let mut client = service.client()?;
            while begun.elapsed() < WINDOW {
                client.ask("POST", SCORE, &body)?;
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        };
        let clients: Vec<_> = graphs.iter().map(|graph| scope.spawn(move || ask(graph))).collect();
        clients.into_iter().try_for_each(|client| client.join().map_err(|_| anyhow!("a client panicked"))?)
    })?;
    Ok(done.into_inner() as f64 / begun.elapsed().as_secs_f64())
}

/// Graphs a second that a thread for each core scores, its share of the graphs in one call.
fn score_for_a_while(detectors: &[Detector], graphs: &[Graph]) -> Result<f64> {
    let threads = thread::available_parallelism()?.get();
    let done = AtomicU64::new(0);
    let begun = Instant::now();
    thread::scope(|scope| {
        for share in graphs.chunks(graphs.len().div_ceil(threads)) {
            let done = &done;
            scope.spawn(move || {
                let share: Vec<&Graph> = share.iter().collect();
                while begun.elapsed() < WINDOW {
                    std::hint::black_box(judge(detectors, &share, &ScoreOptions::default()));
                    done.fetch_add(share.len() as u64, Ordering::Relaxed);
                }
            });
        }
    });
    Ok(done.into_inner() as f64 / begun.elapsed().as_secs_f64())
}

/// What the service computes for graphs of one family.
fn judge(detectors: &[Detector], graphs: &[&Graph], options: &ScoreOptions) -> Vec<f64> {
    let scores: Vec<_> = detectors.iter().map(|detector| detector.score_batch(graphs, options)).collect();
    let of_graph = |index: usize| {
        let judged: Vec<_> =
            detectors.iter().zip(&scores).map(|(detector, scores)| (detector, &scores[index])).collect();
        verdict(&judged, options.tail).p_value
    };
    (0..graphs.len()).map(of_graph).collect()
}

/// Graphs of the sample family.
fn ladder(count: usize) -> Result<Vec<Graph>> {
    Ok(synthetic::generate(&SyntheticSpec { kind: SyntheticType::Type1, width: 6, height: 10, count, seed: 2 })?)
}

#[tokio::main]
async fn echo() -> Result<()> {
    service::serve(axum::Router::new().route("/", post(|Json(body): Json<Value>| async { Json(body) }))).await
}

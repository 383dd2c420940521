//! The HTTP interface: the router on one screen, a file per resource.

pub mod error;
pub mod extract;

mod active;
mod auth;
mod bins;
mod blocking;
mod connections;
mod datasets;
mod detectors;
mod distributions;
mod docs;
mod drift;
mod evaluations;
mod families;
mod family_name;
mod graph_json;
mod graphs;
mod health;
mod intake;
mod jobs;
mod limits;
mod ndjson;
mod page;
mod request_id;
mod schema;
mod score;
mod svg;
mod trace;
mod training_jobs;

use std::any::Any;
use std::ops::Deref;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

pub use self::connections::serve;
use self::error::Problem;
use crate::graph::Limits;
use crate::graph::format::tu::ArchiveLimits;
use crate::model::device::DeviceChoice;
use crate::recorder::Recorder;
use crate::scorer::Scorer;
use crate::store::Store;
use crate::worker::WorkerPool;

/// Limits and habits of the HTTP interface. Tests use tiny ones.
#[derive(Debug, Clone)]
pub struct Config {
    /// Bytes of a JSON request body.
    pub max_body_bytes: usize,
    /// Bytes of one NDJSON line.
    pub max_line_bytes: usize,
    /// Bytes of an uploaded dataset.
    pub max_upload_bytes: usize,
    pub archive: ArchiveLimits,
    pub graph: Limits,
    /// Graphs in one `{"graphs": [...]}`.
    pub max_batch: usize,
    pub max_samples: usize,
    pub request_timeout: std::time::Duration,
    /// What a client may take to send the head of its next request, or to take in more of an answer.
    pub idle_timeout: std::time::Duration,
    /// Requests a second of one key (or of all, while there are no keys), and its burst; 0 is no limit.
    pub rate_limit: u32,
    /// Whether requests without a key are let through: a loopback address and no key made yet.
    pub open: bool,
    /// Where jobs that name no device are trained.
    pub device: DeviceChoice,
}

/// What every handler may reach: a handle, as each request takes a few.
#[derive(Debug, Clone)]
pub struct AppState(Arc<Services>);

/// The parts of the service that handlers speak to.
#[derive(Debug)]
pub struct Services {
    pub config: Arc<Config>,
    pub store: Store,
    pub scorer: Scorer,
    pub recorder: Recorder,
    pub worker: WorkerPool,
    /// Turned true when the service begins to stop: unready from then on.
    pub stopping: tokio_util::sync::CancellationToken,
    /// Turned true after the grace period, when no more connections are accepted: open streams end.
    pub closing: tokio_util::sync::CancellationToken,
    pub metrics: metrics_exporter_prometheus::PrometheusHandle,
}

impl Deref for AppState {
    type Target = Services;

    fn deref(&self) -> &Services {
        &self.0
    }
}

/// The whole service. Each resource's router carries its own documentation; the layers are listed from the outside in.
pub fn router(services: Services) -> axum::Router {
    let state = AppState(Arc::new(services));
    let (routes, document) = documented_routes().split_for_parts();
    let document = docs::complete(document);
    let gate = auth::Gate::new(state.store.clone(), state.config.open, &document);
    let rates = limits::Rates::new(state.config.rate_limit);
    let layers = ServiceBuilder::new()
        .layer(from_fn(request_id::assign_request_id))
        .layer(from_fn(trace::trace_request))
        .layer(CatchPanicLayer::custom(answer_panic))
        .layer(CompressionLayer::new().compress_when(compressible()))
        .layer(from_fn_with_state(gate, auth::require_scope))
        .layer(from_fn_with_state(rates, limits::limit_rate))
        .layer(from_fn_with_state(Arc::clone(&state.config), limits::limit_body))
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(Arc::clone(&state.config), limits::limit_time));
    routes
        .merge(docs::router(document))
        .fallback(answer_unknown_path)
        .method_not_allowed_fallback(answer_unknown_method)
        .layer(layers)
        .with_state(state)
}

/// The routes with the documentation each of them carries.
fn documented_routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(docs::head())
        .merge(families::router())
        .merge(graphs::router())
        .merge(datasets::router())
        .merge(training_jobs::router())
        .merge(evaluations::router())
        .merge(detectors::router())
        .merge(active::router())
        .merge(score::router())
        .merge(distributions::router())
        .merge(drift::router())
        .merge(health::router())
}

/// The contract: what the router serves, by construction.
#[must_use]
pub fn openapi() -> OpenApi {
    docs::complete(documented_routes().into_openapi())
}

/// The contract as `openapi.yaml` has it and `/openapi.yaml` serves it.
#[must_use]
pub fn openapi_yaml() -> String {
    to_yaml(&openapi())
}

fn to_yaml(document: &OpenApi) -> String {
    // Only a map with keys that aren't strings could fail, and the document has none; a test reads it back.
    document.to_yaml().unwrap_or_default()
}

/// Everything worth it but streams, whose lines would wait for the compressor's buffer to fill.
fn compressible() -> impl Predicate {
    DefaultPredicate::new().and(NotForContentType::const_new(limits::NDJSON))
}

#[expect(clippy::needless_pass_by_value, reason = "the layer hands the panic over")]
fn answer_panic(panic: Box<dyn Any + Send + 'static>) -> Response {
    let message = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    Problem::internal_because(format!("a handler panicked: {}", message.unwrap_or("no message"))).into_response()
}

async fn answer_unknown_path(request: Request) -> Problem {
    Problem::not_found(format!("nothing is at {}", request.uri().path()))
}

async fn answer_unknown_method(request: Request) -> Problem {
    Problem::method_not_allowed(format!("{} does not take {}", request.uri().path(), request.method()))
}

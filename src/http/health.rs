//! For probes and monitoring: open to anybody, and never rate-limited.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::AppState;

/// A probe that takes longer has failed: orchestrators give up after about as long.
const PROBE_DEADLINE: Duration = Duration::from_secs(2);

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(get_liveness)).routes(routes!(get_readiness)).routes(routes!(get_metrics))
}

#[derive(Debug, Serialize, ToSchema)]
struct Liveness {
    live: bool,
}

/// Whether requests can be served now.
#[derive(Debug, Serialize, ToSchema)]
struct Readiness {
    /// All checks passed.
    ready: bool,
    checks: Checks,
}

#[derive(Debug, Serialize, ToSchema)]
struct Checks {
    /// The database answers.
    store: bool,
    /// A compute thread did real work recently, or does now.
    scorer: bool,
    /// The device that scores has not failed for good. When it has, the service ends, to be started anew.
    device: bool,
    /// The service is not stopping.
    running: bool,
}

/// Whether the process answers at all
///
/// A failure means: restart it.
#[utoipa::path(get, path = "/health/live", tag = "health", operation_id = "get_liveness",
    responses((status = 200, description = "It does.", body = Liveness)))]
async fn get_liveness() -> Json<Liveness> {
    Json(Liveness { live: true })
}

/// Whether requests can be served now
///
/// A failure means: send requests elsewhere, and wait. It checks the database and the compute threads, within 2 s.
#[utoipa::path(get, path = "/health/ready", tag = "health", operation_id = "get_readiness",
    responses(
        (status = 200, description = "They can.", body = Readiness),
        (status = 503, description = "They can't; `checks` says why.", body = Readiness),
    ))]
async fn get_readiness(State(state): State<AppState>) -> Response {
    let store = async { matches!(timeout(PROBE_DEADLINE, state.store.ping()).await, Ok(Ok(()))) };
    let scorer = async { timeout(PROBE_DEADLINE, state.scorer.probe()).await.unwrap_or(false) };
    let (store, scorer) = tokio::join!(store, scorer);
    // Asked last: the probe may have found out.
    let device = !state.scorer.is_lost();
    let running = !state.stopping.is_cancelled();
    let ready = store && scorer && device && running;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, checks: Checks { store, scorer, device, running } })).into_response()
}

/// Metrics for Prometheus
///
/// Durations are in seconds, sizes in bytes.
#[utoipa::path(get, path = "/metrics", tag = "health", operation_id = "get_metrics",
    responses((status = 200, description = "The text exposition format, version 0.0.4.", body = String,
        content_type = "text/plain; version=0.0.4")))]
async fn get_metrics(State(state): State<AppState>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], state.metrics.render()).into_response()
}

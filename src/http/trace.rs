//! One span, one log line and one observation for each request.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use tracing::{Instrument, error, info, info_span};

use super::error::Problem;
use super::request_id::RequestId;

/// Measures until the head of the answer is there: a stream's body goes on after it.
pub(super) async fn trace_request(request: Request, next: Next) -> Response {
    let method = request.method().clone();
    // The template, not the path: names of families and jobs would make a metric's series unbounded.
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let id = request.extensions().get::<RequestId>().map(|RequestId(id)| id.clone()).unwrap_or_default();
    let span = info_span!("request", request.id = %id, method = %method, route = %route);
    let begun = Instant::now();

    let response = next.run(request).instrument(span.clone()).await;

    let duration = begun.elapsed();
    let status = response.status();
    let _entered = span.entered();
    if let Some(cause) = response.extensions().get::<Problem>().and_then(Problem::cause) {
        error!(status = status.as_u16(), cause, "the request failed");
    }
    let quiet = route.starts_with("/health/") || route == "/metrics";
    if quiet && status.is_success() {
        tracing::debug!(status = status.as_u16(), duration_ms = duration.as_secs_f64() * 1e3, "answered");
    } else {
        info!(status = status.as_u16(), duration_ms = duration.as_secs_f64() * 1e3, "answered");
    }
    let method = method_label(&method);
    let status = status.as_str().to_owned();
    metrics::counter!("graphkin_http_requests_total", "method" => method, "route" => route.clone(), "status" => status)
        .increment(1);
    metrics::histogram!("graphkin_http_request_duration_seconds", "method" => method, "route" => route)
        .record(duration.as_secs_f64());
    response
}

/// Known methods by name; a client's inventions share one series.
fn method_label(method: &axum::http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        _ => "other",
    }
}

//! Scoring: graphs in, verdicts out; one graph, a batch, or a stream of lines.

mod explanation;
mod judge;
mod options;
mod panel;
mod stream;
mod wire;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::judge::Judge;
use self::options::QueryOptions;
use self::panel::Panel;
use self::stream::LineError;
use self::wire::{Answer, ScoreRequest};
use super::AppState;
use super::error::Problem;
use super::extract::{Path, Query, content_type, from_json, read_body, unsupported};
use super::limits::NDJSON;
use crate::id::DetectorId;
use crate::scorer::Timing;

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(score_under_family)).routes(routes!(score_under_detector))
}

/// Score graphs under a family
///
/// Under its active detectors, or the `kinds` asked for: one graph, several as `{"graphs": [...]}`, or a stream of
/// `application/x-ndjson`. A stream has a graph a line, in any of the forms of `Graph`, and its options in the query string;
/// it is answered a line each (`ScoreResponse`), in order and as they are ready. A line that can't be scored is answered
/// by its number and a problem (`LineError`) and costs no other. The service reads as fast as it scores and the client
/// takes the answers, so read while you write.
///
/// The same graph, detectors, options and seed give the same numbers: alone, in a batch, in a stream, and after a restart.
#[utoipa::path(post, path = "/v1/families/{family}/score", tag = "score", operation_id = "score_under_family",
    security(("key" = ["score"])),
    params(("family" = String, Path, description = "The family's name.", example = "aids-0"), QueryOptions),
    request_body(
        content((ScoreRequest = "application/json"), (String = "application/x-ndjson")),
        description = "As `application/x-ndjson`: a graph a line, in any of the forms of `Graph`."
    ),
    responses(
        (status = 200, description = "The verdicts.",
            content((Answer = "application/json"), (LineError = "application/x-ndjson")),
            headers(("Server-Timing" = String, description = "How long the work waited (`queue`) and computed (`compute`), in ms; both 0 for what was asked before. Not with a stream."))),
        (status = 400, description = "The body is not JSON or broke off, or an option in the query string can't be read."),
        (status = 404, description = "There is no such family."),
        (status = 408, description = "The body stalled."),
        (status = 409, description = "The family has no active detector: train one first."),
        (status = 413, description = "The JSON body is too large: stream it as NDJSON."),
        (status = 415, description = "The body is neither JSON nor NDJSON."),
        (status = 422, description = "A graph can't be read, or is too large to be scored; an option is unknown or out of range; a kind has no active detector; or no p-value can reach the `alpha` asked for. `errors` names the places."),
        (status = 429, description = "The scoring queue is full, or the key is over its rate. `Retry-After` says when to come back. A stream that has begun is kept waiting instead."),
    ))]
async fn score_under_family(
    State(state): State<AppState>,
    Path(family): Path<String>,
    Query(options): Query<QueryOptions>,
    request: Request,
) -> Result<Response, Problem> {
    let panel = Panel::of_family(&state, &family).await?;
    answer(&state, panel, options, request).await
}

/// Score graphs under one detector
///
/// Active or not. Else as `score_under_family`; the verdict is against the calibration distribution of this detector alone.
#[utoipa::path(post, path = "/v1/detectors/{id}/score", tag = "score", operation_id = "score_under_detector",
    security(("key" = ["score"])),
    params(("id" = uuid::Uuid, Path, description = "The detector's id."), QueryOptions),
    request_body(
        content((ScoreRequest = "application/json"), (String = "application/x-ndjson")),
        description = "As `application/x-ndjson`: a graph a line, in any of the forms of `Graph`."
    ),
    responses(
        (status = 200, description = "The verdicts.",
            content((Answer = "application/json"), (LineError = "application/x-ndjson")),
            headers(("Server-Timing" = String, description = "How long the work waited (`queue`) and computed (`compute`), in ms; both 0 for what was asked before. Not with a stream."))),
        (status = 400, description = "The body is not JSON or broke off, or an option in the query string can't be read."),
        (status = 404, description = "There is no such detector."),
        (status = 408, description = "The body stalled."),
        (status = 413, description = "The JSON body is too large: stream it as NDJSON."),
        (status = 415, description = "The body is neither JSON nor NDJSON."),
        (status = 422, description = "A graph can't be read, or is too large to be scored; an option is unknown or out of range; the detector is of no kind asked for; or no p-value can reach the `alpha` asked for. `errors` names the places."),
        (status = 429, description = "The scoring queue is full, or the key is over its rate. `Retry-After` says when to come back. A stream that has begun is kept waiting instead."),
    ))]
async fn score_under_detector(
    State(state): State<AppState>,
    Path(id): Path<DetectorId>,
    Query(options): Query<QueryOptions>,
    request: Request,
) -> Result<Response, Problem> {
    let panel = Panel::of_detector(&state, id).await?;
    answer(&state, panel, options, request).await
}

async fn answer(state: &AppState, panel: Panel, query: QueryOptions, request: Request) -> Result<Response, Problem> {
    match content_type(request.headers()).as_deref() {
        Some("application/json") => {
            query.expect_none()?;
            answer_json(state, panel, read_body(request).await?).await
        }
        Some(NDJSON) => {
            let options = query.check(state.config.max_samples)?;
            let judge = Judge::new(state, panel, options).await?;
            stream::answer(state, judge, request).await
        }
        other => Err(unsupported(other, "application/json or application/x-ndjson")),
    }
}

async fn answer_json(state: &AppState, panel: Panel, body: Bytes) -> Result<Response, Problem> {
    let (asked, options) = from_json::<ScoreRequest>(&body)?.split(state.config.max_batch)?;
    let judge = Judge::new(state, panel, options.check(asked.scope(), state.config.max_samples)?).await?;
    let asked = Arc::new(asked);
    let (reader, limits) = (Arc::clone(&asked), state.config.graph);
    let case = judge.open(body.len(), move || reader.parse(&limits)).await?;
    let permit = judge.permit(&case)?;
    let (answers, timing) = judge.judge(permit, case).await?;
    let headers = [("server-timing", server_timing(timing))];
    Ok((headers, axum::Json(asked.answer(answers))).into_response())
}

/// The `Server-Timing` header: milliseconds.
fn server_timing(Timing { queued, computed }: Timing) -> String {
    format!("queue;dur={:.3}, compute;dur={:.3}", queued.as_secs_f64() * 1e3, computed.as_secs_f64() * 1e3)
}

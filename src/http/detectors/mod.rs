//! Detectors: `/v1/detectors`.

mod wire;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::wire::{DetectorDetail, DetectorFilter, DetectorSummary};
use super::AppState;
use super::error::Problem;
use super::extract::{Path, Query};
use super::page::{List, PageQuery, Pagination};
use crate::id::DetectorId;

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list_detectors)).routes(routes!(get_detector, delete_detector))
}

/// List the detectors
///
/// The newest first.
#[utoipa::path(get, path = "/v1/detectors", tag = "detectors", operation_id = "list_detectors",
    security(("key" = ["read"])), params(DetectorFilter, PageQuery),
    responses(
        (status = 200, description = "A page of detectors.", body = List<DetectorSummary>),
        (status = 400, description = "No such page."),
        (status = 404, description = "There is no family of the name asked for."),
    ))]
async fn list_detectors(
    State(state): State<AppState>,
    Query(filter): Query<DetectorFilter>,
    Pagination(page): Pagination,
) -> Result<Response, Problem> {
    let family = match filter.family {
        Some(name) => Some(state.store.find_family(&name).await?.id),
        None => None,
    };
    let detectors = state.store.list_detectors(family, &page).await?;
    Ok(axum::Json(List::new(detectors, |row| DetectorSummary::from(&row))).into_response())
}

/// Get a detector
///
/// With its hyper-parameters, training curve, sizes and hashes.
#[utoipa::path(get, path = "/v1/detectors/{id}", tag = "detectors", operation_id = "get_detector",
    security(("key" = ["read"])), params(("id" = uuid::Uuid, Path, description = "Its id.")),
    responses(
        (status = 200, description = "The detector.", body = DetectorDetail),
        (status = 404, description = "There is none of this id."),
    ))]
async fn get_detector(State(state): State<AppState>, Path(id): Path<DetectorId>) -> Result<Response, Problem> {
    let row = state.store.find_detector(id).await?;
    Ok(axum::Json(DetectorDetail::from(row)).into_response())
}

/// Delete a detector
///
/// With its weights and distributions. The active one can't be deleted: make another active first.
#[utoipa::path(delete, path = "/v1/detectors/{id}", tag = "detectors", operation_id = "delete_detector",
    security(("key" = ["admin"])), params(("id" = uuid::Uuid, Path, description = "Its id.")),
    responses(
        (status = 204, description = "It is gone."),
        (status = 404, description = "There is none of this id."),
        (status = 409, description = "It is the active detector of its family and kind."),
    ))]
async fn delete_detector(State(state): State<AppState>, Path(id): Path<DetectorId>) -> Result<StatusCode, Problem> {
    state.store.delete_detector(id).await?;
    state.scorer.forget(id).await;
    // The pool's repairs delete the artefact that lost its row.
    state.worker.wake();
    Ok(StatusCode::NO_CONTENT)
}

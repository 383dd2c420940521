//! Families: `/v1/families`.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::AppState;
use super::error::Problem;
use super::extract::{Json, Path};
use super::family_name::FamilyName;
use super::page::{List, PageQuery, Pagination};
use crate::model::Kind;
use crate::store::{ActiveDetector, FamilyOverview, FamilyRow, NewFamily, SizeStatistics};

const MAX_DESCRIPTION_CHARS: usize = 2000;

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list_families, create_family)).routes(routes!(get_family, delete_family))
}

/// A family to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CreateFamily {
    #[schema(value_type = String, pattern = "^[a-z0-9][a-z0-9._-]{0,62}$", example = "mutagens")]
    name: FamilyName,
    /// For people.
    #[schema(max_length = 2000, example = "Molecules that mutate bacteria")]
    description: Option<String>,
}

/// A family: a named set of graphs of one class.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Family {
    #[schema(example = "aids-0")]
    name: String,
    #[schema(required = true)]
    description: Option<String>,
    /// The label that the class had in the dataset it came from.
    #[schema(required = true)]
    class_label: Option<i64>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    graphs: GraphCounts,
    /// Nodes a graph; null while the family is empty.
    #[schema(required = true)]
    nodes: Option<SizeRange>,
    /// Edges a graph; null while the family is empty.
    #[schema(required = true)]
    edges: Option<SizeRange>,
    /// Whether its graphs have node labels.
    labelled: bool,
}

/// How many graphs there are, and in which split: about 68 % train, 12 % calibrate and 20 % test, and graphs that are
/// the same up to the names of their nodes go to one split.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
struct GraphCounts {
    total: usize,
    train: usize,
    calibration: usize,
    test: usize,
}

#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
struct SizeRange {
    min: u64,
    max: u64,
    mean: f64,
}

/// A family with the detectors that score for it.
#[derive(Debug, Serialize, ToSchema)]
struct FamilyDetail {
    #[serde(flatten)]
    family: Family,
    /// At most one of each kind.
    active_detectors: Vec<ActiveDetectorItem>,
}

#[derive(Debug, Serialize, ToSchema)]
struct ActiveDetectorItem {
    #[schema(value_type = String, example = "full-mask")]
    kind: Kind,
    #[schema(value_type = uuid::Uuid)]
    detector_id: crate::id::DetectorId,
}

impl From<FamilyOverview> for Family {
    fn from(overview: FamilyOverview) -> Self {
        let FamilyOverview { family, splits, nodes, edges, labelled } = overview;
        let FamilyRow { id: _, name, description, class_label, created_at } = family;
        let graphs = GraphCounts {
            total: splits.train + splits.calibration + splits.test,
            train: splits.train,
            calibration: splits.calibration,
            test: splits.test,
        };
        let (nodes, edges) = (nodes.map(SizeRange::from), edges.map(SizeRange::from));
        Self { name, description, class_label, created_at, graphs, nodes, edges, labelled }
    }
}

impl From<SizeStatistics> for SizeRange {
    fn from(SizeStatistics { min, max, mean }: SizeStatistics) -> Self {
        Self { min, max, mean }
    }
}

impl From<ActiveDetector> for ActiveDetectorItem {
    fn from(ActiveDetector { id, kind }: ActiveDetector) -> Self {
        Self { kind, detector_id: id }
    }
}

/// List the families
///
/// By name.
#[utoipa::path(get, path = "/v1/families", tag = "families", operation_id = "list_families", params(PageQuery),
    security(("key" = ["read"])),
    responses(
        (status = 200, description = "A page of families.", body = List<Family>),
        (status = 400, description = "No such page."),
    ))]
async fn list_families(State(state): State<AppState>, Pagination(page): Pagination) -> Result<Response, Problem> {
    let families = state.store.list_families(&page).await?;
    Ok(axum::Json(List::new(families, Family::from)).into_response())
}

/// Create a family
///
/// It is empty; add graphs to it, then train detectors on it.
#[utoipa::path(post, path = "/v1/families", tag = "families", operation_id = "create_family",
    security(("key" = ["admin"])), request_body = CreateFamily,
    responses(
        (status = 201, description = "It is made.", body = Family, headers(("Location" = String, description = "Its path."))),
        (status = 400, description = "The body is not JSON."),
        (status = 409, description = "The name is taken."),
        (status = 413, description = "The body is too large."),
        (status = 415, description = "The body is not `application/json`."),
        (status = 422, description = "The name or description can't be used."),
    ))]
async fn create_family(State(state): State<AppState>, Json(body): Json<CreateFamily>) -> Result<Response, Problem> {
    let CreateFamily { name, description } = body;
    if description.as_ref().is_some_and(|text| text.chars().count() > MAX_DESCRIPTION_CHARS) {
        return Err(Problem::invalid_at("/description", format!("more than {MAX_DESCRIPTION_CHARS} characters")));
    }
    let family = NewFamily { name: name.as_str().to_owned(), description, class_label: None };
    let FamilyRow { name, .. } = state.store.create_family(&family).await?;
    let overview = state.store.family_overview(&name).await?;
    let location = format!("/v1/families/{name}");
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], axum::Json(Family::from(overview))).into_response())
}

/// Get a family
///
/// With its counts for each split, the sizes of its graphs, and its active detectors.
#[utoipa::path(get, path = "/v1/families/{family}", tag = "families", operation_id = "get_family",
    security(("key" = ["read"])), params(("family" = String, Path, description = "Its name.", example = "aids-0")),
    responses(
        (status = 200, description = "The family.", body = FamilyDetail),
        (status = 404, description = "There is none of this name."),
    ))]
async fn get_family(State(state): State<AppState>, Path(name): Path<FamilyName>) -> Result<Response, Problem> {
    let overview = state.store.family_overview(name.as_str()).await?;
    let active = state.store.active_detectors(overview.family.id).await?;
    let active_detectors = active.into_iter().map(ActiveDetectorItem::from).collect();
    Ok(axum::Json(FamilyDetail { family: overview.into(), active_detectors }).into_response())
}

/// Delete a family
///
/// With its graphs, jobs, detectors and distributions. There is no way back but a backup.
#[utoipa::path(delete, path = "/v1/families/{family}", tag = "families", operation_id = "delete_family",
    security(("key" = ["admin"])), params(("family" = String, Path, description = "Its name.", example = "aids-0")),
    responses(
        (status = 204, description = "It is gone."),
        (status = 404, description = "There is none of this name."),
        (status = 409, description = "A job that needs it is queued or running: cancel that first."),
    ))]
async fn delete_family(State(state): State<AppState>, Path(name): Path<FamilyName>) -> Result<StatusCode, Problem> {
    for detector in state.store.delete_family(name.as_str()).await? {
        state.scorer.forget(detector).await;
    }
    // The pool's repairs delete the artefacts that lost their rows.
    state.worker.wake();
    Ok(StatusCode::NO_CONTENT)
}

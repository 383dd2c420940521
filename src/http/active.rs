//! Which detectors score for a family: `/v1/families/{family}/active/{kind}`.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::AppState;
use super::error::Problem;
use super::extract::{Json, Path};
use crate::id::{DetectorId, FamilyId};
use crate::model::Kind;
use crate::store::{ActiveDetector, StoreError};

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(set_active_detector))
}

/// The detector that is to score.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Activation {
    #[schema(value_type = uuid::Uuid)]
    detector_id: DetectorId,
}

/// The detectors that score for a family.
#[derive(Debug, Serialize, ToSchema)]
struct ActiveDetectors {
    #[schema(example = "aids-0")]
    family: String,
    /// At most one of each kind.
    active_detectors: Vec<ActiveDetectorOfKind>,
}

#[derive(Debug, Serialize, ToSchema)]
struct ActiveDetectorOfKind {
    kind: Kind,
    #[schema(value_type = uuid::Uuid)]
    detector_id: DetectorId,
}

impl From<ActiveDetector> for ActiveDetectorOfKind {
    fn from(ActiveDetector { id, kind }: ActiveDetector) -> Self {
        Self { kind, detector_id: id }
    }
}

/// Make a detector the one that scores
///
/// Of its kind, for its family, from the next request on. A newly trained detector becomes active by itself; this is the
/// way back to an older one.
#[utoipa::path(put, path = "/v1/families/{family}/active/{kind}", tag = "detectors", operation_id = "set_active_detector",
    security(("key" = ["admin"])),
    params(
        ("family" = String, Path, description = "The family's name.", example = "aids-0"),
        ("kind" = Kind, Path, description = "The kind of the detector."),
    ),
    request_body = Activation,
    responses(
        (status = 200, description = "It is active. All that are, now.", body = ActiveDetectors),
        (status = 400, description = "The body is not JSON."),
        (status = 404, description = "There is no such family or kind."),
        (status = 413, description = "The body is too large."),
        (status = 415, description = "The body is not `application/json`."),
        (status = 422, description = "There is no such detector, or it is of another family or kind."),
    ))]
async fn set_active_detector(
    State(state): State<AppState>,
    Path((family, kind)): Path<(String, Kind)>,
    Json(Activation { detector_id }): Json<Activation>,
) -> Result<Response, Problem> {
    let family = state.store.find_family(&family).await?;
    check_detector(&state, family.id, kind, detector_id).await?;
    state.store.set_active_detector(family.id, kind, detector_id).await?;
    let active = state.store.active_detectors(family.id).await?;
    let active_detectors = active.into_iter().map(ActiveDetectorOfKind::from).collect();
    Ok(axum::Json(ActiveDetectors { family: family.name, active_detectors }).into_response())
}

/// The store refuses what doesn't fit as well, but cannot know that the body named it.
async fn check_detector(state: &AppState, family: FamilyId, kind: Kind, id: DetectorId) -> Result<(), Problem> {
    let row = match state.store.find_detector(id).await {
        Err(StoreError::NotFound { what }) => {
            return Err(Problem::invalid_at("/detector_id", format!("there is no {what}")));
        }
        found => found?,
    };
    if row.family != family || row.kind != kind {
        let detail = format!("it is a {} detector of family `{}`", row.kind, row.family_name);
        return Err(Problem::invalid_at("/detector_id", detail));
    }
    Ok(())
}

//! Whether the graphs scored under a family are still of it: `/v1/families/{family}/drift`.

mod query;
mod wire;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use time::OffsetDateTime;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::query::{Checked, DriftQuery};
use self::wire::DriftWire;
use super::AppState;
use super::blocking::blocking;
use super::error::Problem;
use super::extract::{Path, Query};
use crate::detector::{Arrival, Conclusion, Drift};
use crate::id::DetectorId;
use crate::store::{FamilyPanel, KeptScores};

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(get_drift))
}

/// Tell whether a family's traffic is still of the family
///
/// Every graph scored under the family by all its active detectors counts, unless `options.record` is false. Those in the
/// window are compared with the graphs that the detectors were calibrated on, which they are exchangeable with as long as
/// nothing has changed: by a two-sample test, which sees how much has changed, and by a conformal test martingale, which sees
/// when. Each gets half of `alpha`. Scores under other detectors can't be compared, so the window begins anew when an active
/// detector changes, and goes on when the old one is made active again.
///
/// The two-sample test's half of the promise is for one look; the martingale's is for all looks together while the window
/// grows. Once the window is full and moves on, each answer is a test of its own.
#[utoipa::path(get, path = "/v1/families/{family}/drift", tag = "score", operation_id = "get_drift",
    security(("key" = ["read"])),
    params(("family" = String, Path, description = "The family's name.", example = "aids-0"), DriftQuery),
    responses(
        (status = 200, description = "What the tests say.", body = DriftWire),
        (status = 400, description = "The query string can't be read."),
        (status = 404, description = "There is no such family."),
        (status = 422, description = "The window or the level makes no sense."),
    ))]
async fn get_drift(
    State(state): State<AppState>,
    Path(family): Path<String>,
    Query(query): Query<DriftQuery>,
) -> Result<Response, Problem> {
    let query = query.check()?;
    let panel = state.store.panel(&family).await?;
    let compared = compare(&state, &panel, &query).await?;
    Ok(axum::Json(DriftWire::new(&panel, &query, compared)).into_response())
}

/// The served graphs of a window against the calibration graphs.
#[derive(Debug)]
struct Comparison {
    calibration_size: usize,
    kept: KeptScores,
    /// When each graph of the window arrived.
    times: Vec<OffsetDateTime>,
    drift: Drift,
    conclusion: Conclusion,
}

/// Why there is nothing to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// No served scores are kept.
    Scores,
    Detectors,
    /// The detectors have no calibration graphs in common.
    Calibration,
}

async fn compare(
    state: &AppState,
    panel: &FamilyPanel,
    query: &Checked,
) -> Result<Result<Comparison, Missing>, Problem> {
    if !state.recorder.is_on() {
        return Ok(Err(Missing::Scores));
    }
    if panel.detectors.is_empty() {
        return Ok(Err(Missing::Detectors));
    }
    let ids: Vec<DetectorId> = panel.detectors.iter().map(|detector| detector.id).collect();
    let jury = state.scorer.load(&ids).await?;
    // What was answered before this was asked counts.
    state.recorder.settle().await;
    let retention = state.recorder.retention();
    let kept = state.store.kept_scores(panel.id, &ids, &retention).await?;
    let served = state.store.served_scores(panel.id, &ids, query.window, &retention).await?;
    let alpha = query.alpha;
    let compare = move || {
        let reference = jury.reference().ok_or(Missing::Calibration)?;
        let (times, arrivals): (Vec<_>, Vec<Arrival>) = served.into_iter().unzip();
        let drift = reference.compare(&arrivals);
        let conclusion = drift.conclude(alpha);
        Ok(Comparison { calibration_size: reference.size(), kept, times, drift, conclusion })
    };
    blocking(compare).await
}

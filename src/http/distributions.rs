//! What is stored of a family's score distributions: `/v1/families/{family}/distributions`, and as a picture.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::AppState;
use super::bins::Bins;
use super::error::Problem;
use super::extract::Path;
use super::svg;
use crate::detector::Distribution;
use crate::graph::split::Split;
use crate::id::DetectorId;
use crate::model::Kind;
use crate::picture;
use crate::stats::summary::QUANTILES;

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(get_distributions)).routes(routes!(get_distributions_picture))
}

/// The distributions of a family's active detectors.
#[derive(Debug, Serialize, ToSchema)]
struct FamilyDistributions {
    #[schema(example = "aids-0")]
    family: String,
    /// One for each active detector; none before the first training.
    detectors: Vec<DetectorDistributions>,
}

/// The distributions of one detector's statistics.
#[derive(Debug, Serialize, ToSchema)]
struct DetectorDistributions {
    kind: Kind,
    #[schema(value_type = uuid::Uuid)]
    detector_id: DetectorId,
    distributions: Vec<StatisticDistribution>,
}

/// How one statistic is distributed over one split of the family's graphs.
#[derive(Debug, Serialize, ToSchema)]
struct StatisticDistribution {
    split: Split,
    /// `nonconformity`, `p_value`, `completion` (of single edges), `completion_mean` (of graphs), or another of the
    /// detector's statistics.
    #[schema(example = "nonconformity")]
    statistic: String,
    /// Values in the sample: graphs, or edges for `completion`.
    count: usize,
    mean: f64,
    /// Of the sample (n - 1); 0 for fewer than two values.
    standard_deviation: f64,
    /// By probability, from `0` (the least) to `1` (the greatest); linearly interpolated.
    #[schema(example = json!({"0": 0.1, "0.01": 0.12, "0.05": 0.2, "0.25": 0.5, "0.5": 0.9, "0.75": 1.3, "0.95": 2.1, "0.99": 3.0, "1": 3.4}))]
    quantiles: BTreeMap<String, f64>,
    histogram_10: Bins,
    histogram_50: Bins,
}

impl From<Distribution> for StatisticDistribution {
    fn from(distribution: Distribution) -> Self {
        let Distribution { split, statistic, summary, histogram_10, histogram_50 } = distribution;
        let quantiles = QUANTILES.iter().map(ToString::to_string).zip(summary.quantiles).collect();
        Self {
            split,
            statistic,
            count: summary.count,
            mean: summary.mean,
            standard_deviation: summary.std,
            quantiles,
            histogram_10: histogram_10.into(),
            histogram_50: histogram_50.into(),
        }
    }
}

/// Get the score distributions of a family
///
/// For each active detector, split and statistic. The p-values of `calibration` are what a verdict counts among; `test`
/// graphs were seen by neither training nor calibration.
#[utoipa::path(get, path = "/v1/families/{family}/distributions", tag = "detectors", operation_id = "get_distributions",
    security(("key" = ["read"])), params(("family" = String, Path, description = "The family's name.", example = "aids-0")),
    responses(
        (status = 200, description = "The distributions.", body = FamilyDistributions),
        (status = 404, description = "There is no such family."),
    ))]
async fn get_distributions(State(state): State<AppState>, Path(family): Path<String>) -> Result<Response, Problem> {
    let family = state.store.find_family(&family).await?;
    let mut detectors = Vec::new();
    for active in state.store.active_detectors(family.id).await? {
        let distributions = state.store.distributions(active.id).await?;
        let distributions = distributions.into_iter().map(StatisticDistribution::from).collect();
        detectors.push(DetectorDistributions { kind: active.kind, detector_id: active.id, distributions });
    }
    Ok(axum::Json(FamilyDistributions { family: family.name, detectors }).into_response())
}

/// Get the score distributions of a family as a picture
///
/// A row of charts for each active detector: the likelihood or the completion scores, the nonconformity and the p-values,
/// each split over the others.
#[utoipa::path(get, path = "/v1/families/{family}/distributions.svg", tag = "detectors",
    operation_id = "get_distributions_picture", security(("key" = ["read"])),
    params(("family" = String, Path, description = "The family's name.", example = "aids-0")),
    responses(
        (status = 200, description = "The picture.", body = String, content_type = "image/svg+xml"),
        (status = 404, description = "There is no such family."),
    ))]
async fn get_distributions_picture(
    State(state): State<AppState>,
    Path(family): Path<String>,
) -> Result<Response, Problem> {
    let family = state.store.find_family(&family).await?;
    let mut detectors = Vec::new();
    for active in state.store.active_detectors(family.id).await? {
        let distributions = state.store.distributions(active.id).await?;
        detectors.push(picture::DetectorDistributions { kind: active.kind, distributions });
    }
    svg::answer(picture::distributions(&family.name, &detectors))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_named_by_their_probability_in_ascending_order() {
        let names: BTreeMap<String, ()> = QUANTILES.iter().map(|q| (q.to_string(), ())).collect();
        let names: Vec<String> = names.into_keys().collect();
        assert_eq!(names, ["0", "0.01", "0.05", "0.25", "0.5", "0.75", "0.95", "0.99", "1"]);
    }
}

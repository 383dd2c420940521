//! Who judges: the detectors that a request is scored under.

use super::options::{Checked, Place, Refused};
use crate::http::AppState;
use crate::http::error::Problem;
use crate::id::DetectorId;
use crate::model::Kind;
use crate::stats::conformal::min_p;
use crate::store::ActiveDetector;

/// Detectors of one family, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Panel {
    pub(super) family: String,
    pub(super) detectors: Vec<ActiveDetector>,
}

impl Panel {
    /// The family's active detectors.
    ///
    /// # Errors
    /// 404 without such a family; 409 while it has no active detector.
    pub(super) async fn of_family(state: &AppState, family: &str) -> Result<Self, Problem> {
        let panel = state.store.panel(family).await?;
        if panel.detectors.is_empty() {
            return Err(Problem::conflict(format!(
                "family `{family}` has no active detector: train one by POST /v1/admin/training-jobs"
            )));
        }
        Ok(Self { family: panel.family.clone(), detectors: panel.detectors.clone() })
    }

    /// That one detector, active or not.
    ///
    /// # Errors
    /// 404.
    pub(super) async fn of_detector(state: &AppState, id: DetectorId) -> Result<Self, Problem> {
        let row = state.store.find_detector(id).await?;
        Ok(Self { family: row.family_name, detectors: vec![ActiveDetector { id: row.id, kind: row.kind }] })
    }

    /// Those of the kinds asked for.
    ///
    /// # Errors
    /// 422 for a kind that isn't here.
    pub(super) fn asked(self, options: &Checked) -> Result<Self, Problem> {
        match &options.kinds {
            Some(kinds) => self.select(kinds, options.place),
            None => Ok(self),
        }
    }

    fn select(mut self, kinds: &[Kind], place: Place) -> Result<Self, Problem> {
        let absent: Vec<Refused> = kinds
            .iter()
            .enumerate()
            .filter(|(_, kind)| !self.detectors.iter().any(|detector| detector.kind == **kind))
            .map(|(index, kind)| {
                Refused::new(format!("kinds/{index}"), format!("family `{}` has no {kind} detector here", self.family))
            })
            .collect();
        if !absent.is_empty() {
            return Err(place.problem(absent));
        }
        self.detectors.retain(|detector| kinds.contains(&detector.kind));
        Ok(self)
    }

    pub(super) fn ids(&self) -> Vec<DetectorId> {
        self.detectors.iter().map(|detector| detector.id).collect()
    }
}

/// # Errors
/// 422 when no score against `calibration_size` graphs has a p-value of `alpha` or less.
pub(super) fn refuse_unreachable(alpha: f64, calibration_size: usize, place: Place) -> Result<(), Problem> {
    let min_p = min_p(calibration_size);
    if alpha >= min_p {
        return Ok(());
    }
    let detail = format!("no p-value can be below {min_p}: {}", shortage(alpha, calibration_size));
    Err(place.problem(vec![Refused::new("alpha", detail)]))
}

/// How many more calibration graphs it takes for a p-value to reach `alpha`, in words.
pub(super) fn shortage(alpha: f64, calibration_size: usize) -> String {
    // The smallest n with 1 / (n + 1) <= alpha; alpha is below 1, so the quotient is above 1, and the cast saturates.
    let needed = (1.0 / alpha).ceil() as usize - 1;
    format!(
        "alpha {alpha} takes at least {needed} calibration graphs, {} more than the {calibration_size} there are",
        needed.saturating_sub(calibration_size)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(kinds: &[Kind]) -> Panel {
        let detectors =
            kinds.iter().map(|&kind| ActiveDetector { id: DetectorId::new(uuid::Uuid::nil()), kind }).collect();
        Panel { family: "rings".to_owned(), detectors }
    }

    #[test]
    fn kinds_select_and_keep_the_order_of_the_panel() {
        let both = panel(&[Kind::FullMask, Kind::FullEdgePrediction]);
        let chosen = both.clone().select(&[Kind::FullEdgePrediction, Kind::FullMask], Place::Body).unwrap();
        assert_eq!(chosen, both);
        let one = both.select(&[Kind::FullEdgePrediction, Kind::FullEdgePrediction], Place::Body).unwrap();
        assert_eq!(one, panel(&[Kind::FullEdgePrediction]));
    }

    #[test]
    fn a_kind_that_is_not_there_is_named_by_its_place() {
        let kinds = [Kind::FullMask, Kind::FullEdgePrediction];
        let problem = panel(&[Kind::FullMask]).select(&kinds, Place::Body).unwrap_err();
        assert_eq!(problem.status.as_u16(), 422);
        assert_eq!(problem.errors[0].pointer, "/options/kinds/1");
    }

    #[test]
    fn an_alpha_is_reachable_from_min_p_on() {
        assert!(refuse_unreachable(0.05, 19, Place::Body).is_ok());
        let problem = refuse_unreachable(0.05, 18, Place::Body).unwrap_err();
        assert_eq!(problem.errors[0].pointer, "/options/alpha");
        assert!(problem.detail.contains("at least 19 calibration graphs, 1 more"), "{}", problem.detail);
    }

    #[test]
    fn the_shortage_of_an_absurd_alpha_is_told_without_overflow() {
        assert!(shortage(f64::MIN_POSITIVE, 10).contains("more than the 10 there are"));
        assert!(shortage(5e-324, 10).contains("more than the 10 there are"));
    }
}

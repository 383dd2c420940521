//! Who judges: the detectors that a request is scored under.

use super::options::{Checked, Level, Place, Refused};
use crate::http::AppState;
use crate::http::error::Problem;
use crate::id::{DetectorId, FamilyId};
use crate::model::Kind;
use crate::stats::conformal::min_p;
use crate::store::{ActiveDetector, FamilyPanel};

/// Detectors of one family, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Panel {
    pub(super) family: String,
    /// The family whose traffic the graphs are; none when another than its active detectors is asked, or not all of them.
    pub(super) traffic_of: Option<FamilyId>,
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
        let FamilyPanel { id, family, detectors } = &*panel;
        Ok(Self { family: family.clone(), traffic_of: Some(*id), detectors: detectors.clone() })
    }

    /// That one detector, active or not.
    ///
    /// # Errors
    /// 404.
    pub(super) async fn of_detector(state: &AppState, id: DetectorId) -> Result<Self, Problem> {
        let row = state.store.find_detector(id).await?;
        let detectors = vec![ActiveDetector { id: row.id, kind: row.kind }];
        Ok(Self { family: row.family_name, traffic_of: None, detectors })
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
        if !self.detectors.iter().all(|detector| kinds.contains(&detector.kind)) {
            self.traffic_of = None;
        }
        self.detectors.retain(|detector| kinds.contains(&detector.kind));
        Ok(self)
    }

    pub(super) fn ids(&self) -> Vec<DetectorId> {
        self.detectors.iter().map(|detector| detector.id).collect()
    }
}

/// # Errors
/// 422 when no p-value can be as small as the level asked for.
pub(super) fn refuse_unreachable(level: Level, reach: Reach, place: Place) -> Result<(), Problem> {
    if level.value() >= reach.min_p {
        return Ok(());
    }
    let detail = format!("no p-value can be below {}: {}", reach.min_p, reach.shortage(level));
    Err(place.problem(vec![Refused::new(level.name(), detail)]))
}

/// How small a p-value can be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reach {
    pub(super) min_p: f64,
    pub(super) calibration_size: usize,
}

impl Reach {
    /// Of a conformal p-value.
    pub(super) fn of(calibration_size: usize) -> Self {
        Self { min_p: min_p(calibration_size), calibration_size }
    }

    /// How many more calibration graphs it takes for a p-value to reach the level, in words.
    pub(super) fn shortage(self, level: Level) -> String {
        let Self { min_p, calibration_size } = self;
        // 1 for a conformal p-value, the number of detectors where these are combined by Bonferroni's rule.
        let factor = (min_p * (calibration_size as f64 + 1.0)).round();
        // The smallest n with factor / (n + 1) <= level; the quotient is above 1, and the cast saturates.
        let needed = (factor / level.value()).ceil() as usize - 1;
        format!(
            "{} {} takes at least {needed} calibration graphs, {} more than the {calibration_size} there are",
            level.name(),
            level.value(),
            needed.saturating_sub(calibration_size)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(kinds: &[Kind]) -> Panel {
        let detectors =
            kinds.iter().map(|&kind| ActiveDetector { id: DetectorId::new(uuid::Uuid::nil()), kind }).collect();
        Panel { family: "rings".to_owned(), traffic_of: Some(FamilyId::new(7)), detectors }
    }

    #[test]
    fn kinds_select_and_keep_the_order_of_the_panel() {
        let both = panel(&[Kind::FullMask, Kind::FullEdgePrediction]);
        let chosen = both.clone().select(&[Kind::FullEdgePrediction, Kind::FullMask], Place::Body).unwrap();
        assert_eq!(chosen, both);
        let one = both.select(&[Kind::FullEdgePrediction, Kind::FullEdgePrediction], Place::Body).unwrap();
        assert_eq!(one, Panel { traffic_of: None, ..panel(&[Kind::FullEdgePrediction]) });
    }

    #[test]
    fn a_kind_that_is_not_there_is_named_by_its_place() {
        let kinds = [Kind::FullMask, Kind::FullEdgePrediction];
        let problem = panel(&[Kind::FullMask]).select(&kinds, Place::Body).unwrap_err();
        assert_eq!(problem.status.as_u16(), 422);
        assert_eq!(problem.errors[0].pointer, "/options/kinds/1");
    }

    #[test]
    fn a_level_is_reachable_from_min_p_on() {
        assert!(refuse_unreachable(Level::Alpha(0.05), Reach::of(19), Place::Body).is_ok());
        for (level, pointer) in [(Level::Alpha(0.05), "/options/alpha"), (Level::Fdr(0.05), "/options/fdr")] {
            let problem = refuse_unreachable(level, Reach::of(18), Place::Body).unwrap_err();
            assert_eq!(problem.errors[0].pointer, pointer);
            assert!(problem.detail.contains("at least 19 calibration graphs, 1 more"), "{}", problem.detail);
        }
    }

    #[test]
    fn two_detectors_that_share_no_calibration_take_twice_as_many() {
        let reach = Reach { min_p: 2.0 * min_p(19), calibration_size: 19 };
        let problem = refuse_unreachable(Level::Alpha(0.05), reach, Place::Body).unwrap_err();
        assert!(problem.detail.contains("at least 39 calibration graphs, 20 more"), "{}", problem.detail);
    }

    #[test]
    fn the_shortage_of_an_absurd_level_is_told_without_overflow() {
        assert!(Reach::of(10).shortage(Level::Alpha(f64::MIN_POSITIVE)).contains("more than the 10 there are"));
        assert!(Reach::of(10).shortage(Level::Alpha(5e-324)).contains("more than the 10 there are"));
    }
}

//! What is answered.

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::ToSchema;

use super::query::Checked;
use super::{Comparison, Missing};
use crate::detector::FEWEST_ARRIVALS;
use crate::http::bins::Bins;
use crate::id::DetectorId;
use crate::model::Kind;
use crate::stats::histogram::Histogram;
use crate::stats::two_sample::TwoSample;
use crate::store::{ActiveDetector, FamilyPanel};

/// Whether a family's traffic is still of the family.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DriftWire {
    #[schema(example = "aids-0")]
    family: String,
    /// The active detectors, under which all that follows was scored.
    detectors: Vec<ScoringDetector>,
    /// Whether either test alarms. `null` when nothing can be said.
    #[schema(required = true, example = true)]
    drifted: Option<bool>,
    /// The same in words: which test alarmed and when, or why nothing can be said.
    reason: String,
    /// The chance of an alarm while nothing has changed is at most this, half for each test: of one look, and of all looks of
    /// the martingale while its window only grows.
    #[schema(example = 0.01)]
    alpha: f64,
    /// Scores in the window.
    #[schema(example = 431)]
    count: usize,
    /// When the first graph of the window arrived, and the last.
    #[schema(required = true)]
    #[serde(with = "time::serde::rfc3339::option")]
    from: Option<OffsetDateTime>,
    #[schema(required = true)]
    #[serde(with = "time::serde::rfc3339::option")]
    to: Option<OffsetDateTime>,
    /// Scores under these detectors that are kept, in the window or not.
    #[schema(example = 431)]
    kept: u64,
    /// When the oldest of them arrived. Scores under other detectors can't be compared.
    #[schema(required = true)]
    #[serde(with = "time::serde::rfc3339::option")]
    since: Option<OffsetDateTime>,
    /// Calibration graphs that the scores are compared with.
    #[schema(example = 320)]
    calibration_size: usize,
    /// The window's p-values in 10 bins: about level while nothing has changed, high on the left for strange graphs.
    p_values: Bins,
    /// `null` without scores.
    #[schema(required = true)]
    two_sample: Option<TwoSampleWire>,
    /// `null` without scores.
    #[schema(required = true)]
    martingale: Option<MartingaleWire>,
}

#[derive(Debug, Serialize, ToSchema)]
struct ScoringDetector {
    kind: Kind,
    #[schema(value_type = uuid::Uuid)]
    detector_id: DetectorId,
}

/// The nonconformities of the window against those of the calibration graphs (Kolmogorov-Smirnov).
#[derive(Debug, Serialize, ToSchema)]
struct TwoSampleWire {
    /// The largest distance between the two distribution functions.
    #[schema(example = 0.31)]
    statistic: f64,
    /// Exact, ties or not, up to ten million pairs of scores, and by the law in the limit beyond. Under detectors calibrated by folds, the smallest of the folds' times their number.
    #[schema(example = 0.0004)]
    p_value: f64,
    /// Whether the p-value is at most `alpha` / 2.
    alarm: bool,
}

/// A conformal test martingale over the window, in the order in which the graphs arrived: what a gambler who starts with 1 and
/// bets that the graphs are not of the family has by then. All values are decimal logarithms.
#[derive(Debug, Serialize, ToSchema)]
struct MartingaleWire {
    /// At the end of the window.
    #[schema(example = 3.4)]
    log10_value: f64,
    /// The largest so far.
    #[schema(example = 3.7)]
    log10_maximum: f64,
    /// Of 2 / `alpha`.
    #[schema(example = 2.301)]
    log10_alarm_at: f64,
    /// Whether it was ever so large.
    alarm: bool,
    /// When the graph arrived with which it first was.
    #[schema(required = true)]
    #[serde(with = "time::serde::rfc3339::option")]
    first_alarm: Option<OffsetDateTime>,
}

impl From<&ActiveDetector> for ScoringDetector {
    fn from(ActiveDetector { id, kind }: &ActiveDetector) -> Self {
        Self { kind: *kind, detector_id: *id }
    }
}

impl DriftWire {
    pub(super) fn new(panel: &FamilyPanel, query: &Checked, compared: Result<Comparison, Missing>) -> Self {
        let nothing = Self {
            family: panel.family.clone(),
            detectors: panel.detectors.iter().map(ScoringDetector::from).collect(),
            drifted: None,
            reason: String::new(),
            alpha: query.alpha,
            count: 0,
            from: None,
            to: None,
            kept: 0,
            since: None,
            calibration_size: 0,
            p_values: Histogram::of(&[], 0.0, 1.0, 10).into(),
            two_sample: None,
            martingale: None,
        };
        match compared {
            Err(missing) => Self { reason: missing.told().to_owned(), ..nothing },
            Ok(comparison) => nothing.with(&comparison),
        }
    }

    fn with(self, comparison: &Comparison) -> Self {
        let Comparison { calibration_size, kept, times, drift, .. } = comparison;
        Self {
            drifted: comparison.conclusion.drifted,
            reason: comparison.told(),
            count: times.len(),
            from: times.first().copied(),
            to: times.last().copied(),
            kept: kept.count,
            since: kept.since,
            calibration_size: *calibration_size,
            p_values: Histogram::of(&drift.p_values, 0.0, 1.0, 10).into(),
            two_sample: (!times.is_empty()).then(|| TwoSampleWire::new(comparison)),
            martingale: drift.log10_martingale.last().map(|last| MartingaleWire::new(*last, comparison)),
            ..self
        }
    }
}

impl TwoSampleWire {
    fn new(comparison: &Comparison) -> Self {
        let TwoSample { statistic, p_value } = comparison.drift.two_sample;
        Self { statistic, p_value, alarm: comparison.conclusion.two_sample_rejects }
    }
}

impl MartingaleWire {
    fn new(log10_value: f64, comparison: &Comparison) -> Self {
        Self {
            log10_value,
            log10_maximum: comparison.drift.log10_martingale.iter().copied().fold(log10_value, f64::max),
            log10_alarm_at: comparison.conclusion.log10_alarm_at,
            alarm: comparison.conclusion.first_alarm.is_some(),
            first_alarm: comparison.first_alarm(),
        }
    }
}

impl Missing {
    fn told(self) -> &'static str {
        match self {
            Self::Scores => "no scores are kept to compare: the setting served_scores is 0",
            Self::Detectors => "the family has no active detector: train one",
            Self::Calibration => {
                "the detectors share no calibration graphs to compare with; train them again on the family as it is now"
            }
        }
    }
}

impl Comparison {
    fn first_alarm(&self) -> Option<OffsetDateTime> {
        self.times.get(self.conclusion.first_alarm?).copied()
    }

    /// What was found, in words.
    fn told(&self) -> String {
        let count = self.times.len();
        let p_value = self.drift.two_sample.p_value;
        let alarmed = self.first_alarm().map(|time| match time.format(&Rfc3339) {
            Ok(time) => format!("the martingale alarmed with the graph that arrived at {time}"),
            Err(_) => "the martingale alarmed".to_owned(), // no such year has four digits
        });
        let rejects = self.conclusion.two_sample_rejects.then(|| {
            format!("the two-sample test finds the {count} graphs unlike the calibration graphs (p {p_value:.1e})")
        });
        let alarms: Vec<String> = alarmed.into_iter().chain(rejects).collect();
        if !alarms.is_empty() {
            return format!("the traffic is no longer of the family: {}", alarms.join(", and "));
        }
        match self.conclusion.drifted {
            None => format!("{count} scores under these detectors are too few to say: it takes {FEWEST_ARRIVALS}"),
            Some(_) => format!("nothing shows that the {count} graphs are not of the family"),
        }
    }
}

//! How well a score tells the classes apart, and how often its verdict is wrong.

use super::clusters;
use super::report::{AlarmRate, RankingReport, Sample, Standing};
use super::scoring::{Heard, Lot, Said, distributions};
use crate::nn::seed::stream;
use crate::stats::bootstrap::{COVERAGE, RankingEstimates};
use crate::stats::conformal::{false_positive_band, min_p};
use crate::stats::ranking::{Ranking, Scores, auroc};

/// Samples of the bootstrap.
const REPLICATES: u64 = 1000;

/// The levels at which the verdict is watched.
const ALPHAS: [f64; 3] = [0.01, 0.05, 0.1];

/// Points of a stored ROC curve, about: no picture shows more.
const ROC_POINTS: usize = 200;

pub(super) fn of(heard: &Heard, lots: &[Lot<'_>], seed: u64) -> Standing {
    Standing {
        ranking: ranking_by(|said| &said.nonconformities, heard, lots, seed),
        alarms: ALPHAS.map(|alpha| alarms(heard, lots, alpha)).into(),
        nonconformity: distributions(samples(|said| &said.nonconformities, heard, lots)),
        clusters: clusters::of(heard, lots),
        warnings: heard.warnings.clone(),
    }
}

/// How well what one detector's model sees tells the classes apart.
pub(super) fn of_model(heard: &Heard, lots: &[Lot<'_>], seed: u64) -> RankingReport {
    ranking_by(|said| &said.models, heard, lots, seed)
}

fn ranking_by(scores: fn(&Said) -> &[f64], heard: &Heard, lots: &[Lot<'_>], seed: u64) -> RankingReport {
    let unseen = lots.iter().zip(&heard.said).filter(|(lot, _)| lot.sample != Sample::Train);
    ranking(&unseen.map(|(lot, said)| (lot, scores(said))).collect::<Vec<_>>(), seed)
}

fn samples<'a>(
    scores: fn(&Said) -> &[f64],
    heard: &'a Heard,
    lots: &'a [Lot<'_>],
) -> impl Iterator<Item = (Sample, &'a [f64])> {
    lots.iter().zip(&heard.said).map(move |(lot, said)| (lot.sample, scores(said)))
}

/// How well scores, one-sided-high and one of each graph of a lot, tell the test graphs from each anomalous family and from
/// all of them.
pub(super) fn ranking(scores: &[(&Lot<'_>, &[f64])], seed: u64) -> RankingReport {
    let all = |anomalous: bool| -> (Vec<f64>, Vec<usize>) {
        let of_class = scores.iter().filter(|(lot, _)| lot.sample.is_anomalous() == anomalous);
        of_class.flat_map(|(lot, scores)| scores.iter().copied().zip(lot.classes.iter().copied())).unzip()
    };
    let ((normal, normal_classes), (anomalous, anomalous_classes)) = (all(false), all(true));
    let families = scores.iter().filter(|(lot, _)| lot.sample.is_anomalous());
    RankingReport {
        estimates: RankingEstimates::of(
            Scores { scores: &normal, units: &normal_classes },
            Scores { scores: &anomalous, units: &anomalous_classes },
            REPLICATES,
            // The same draws for every score: their intervals differ by what they say, not by luck.
            |index| stream(seed, "bootstrap", index),
        ),
        auroc_by_family: families.map(|(_, of_family)| auroc(&normal, of_family)).collect(),
        roc: thinned(&Ranking::of(&normal, &anomalous).roc_curve()),
    }
}

/// Evenly spaced points of a curve, both ends among them.
fn thinned(curve: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let last = curve.len() - 1;
    if last <= ROC_POINTS {
        return curve.to_vec();
    }
    (0..=ROC_POINTS).map(|index| curve[index * last / ROC_POINTS]).collect()
}

fn alarms(heard: &Heard, lots: &[Lot<'_>], alpha: f64) -> AlarmRate {
    let p_values = |anomalous: bool| {
        let of_class = lots.iter().zip(&heard.said).filter(move |(lot, _)| match lot.sample {
            Sample::Train => false,
            sample => sample.is_anomalous() == anomalous,
        });
        of_class.flat_map(|(_, said)| said.p_values.iter().copied())
    };
    let alarmed = |anomalous: bool| p_values(anomalous).filter(|&p_value| p_value <= alpha).count();
    let (calibration_size, tested) = (heard.calibration_size, p_values(false).count());
    // Combined by Bonferroni's rule, p-values are valid but no ranks among calibration scores.
    let ranks = heard.min_p == min_p(calibration_size);
    AlarmRate {
        alpha,
        reachable: alpha >= heard.min_p,
        calibration_size,
        false_positives: alarmed(false),
        tested,
        band: ranks.then(|| false_positive_band(calibration_size, tested, alpha, COVERAGE)),
        caught: alarmed(true),
        anomalous: p_values(true).count(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_ranked_each_and_together() {
        let lots = [Sample::Test, Sample::Anomalous(0), Sample::Anomalous(1)].map(|sample| Lot {
            sample,
            graphs: Vec::new(),
            classes: vec![0, 1],
        });
        let scores: [(&Lot<'_>, &[f64]); 3] =
            [(&lots[0], &[1.0, 2.0]), (&lots[1], &[3.0, 4.0]), (&lots[2], &[0.0, 3.0])];
        let report = ranking(&scores, 1);
        assert_eq!(report.auroc_by_family, [1.0, 0.5]);
        assert_eq!(report.estimates.auroc.value, 0.75);
        assert!(report.estimates.auroc.low < 0.75);
        assert_eq!(report, ranking(&scores, 1));
    }

    #[test]
    fn isomorphic_graphs_are_drawn_together() {
        let lots = [Sample::Test, Sample::Anomalous(0)];
        let lots = lots.map(|sample| Lot { sample, graphs: Vec::new(), classes: vec![4; 3] });
        let report = ranking(&[(&lots[0], &[1.0, 2.0, 3.0]), (&lots[1], &[2.5, 2.5, 4.0])], 1);
        let auroc = report.estimates.auroc;
        assert_eq!([auroc.low, auroc.high], [auroc.value; 2], "every sample is these graphs");
    }

    #[test]
    fn a_thinned_curve_keeps_its_ends() {
        let curve: Vec<(f64, f64)> = (0..=1000).map(|i| (f64::from(i), 1.0)).collect();
        let thin = thinned(&curve);
        assert_eq!((thin.len(), thin[0], thin[ROC_POINTS]), (ROC_POINTS + 1, curve[0], curve[1000]));
        assert_eq!(thinned(&curve[..5]), curve[..5]);
    }
}

//! The distributions of a family's active detectors, as the service has stored them.

use super::PictureError;
use super::panel::{Colour, Mark, Panel, Series, document};
use super::steps::outline;
use crate::detector::Distribution;
use crate::graph::split::Split;
use crate::model::Kind;

/// Samples smaller than this are drawn in 10 bins: in 50 they would be mostly gaps.
const FEW: usize = 500;

/// A statistic that people ask for first: its name as stored and in a title, and its axes. A detector has some of them.
struct Shown {
    statistic: &'static str,
    title: &'static str,
    x: &'static str,
    y: &'static str,
}

const SHOWN: [Shown; 4] = [
    Shown {
        statistic: "nll_per_node",
        title: "likelihood",
        x: "negative log-likelihood a node (nats)",
        y: "share of graphs (%)",
    },
    Shown {
        statistic: "completion",
        title: "completion",
        x: "completion score of an edge (probability)",
        y: "share of edges (%)",
    },
    Shown {
        statistic: "nonconformity",
        title: "nonconformity",
        x: "nonconformity (nats of surprise)",
        y: "share of graphs (%)",
    },
    Shown { statistic: "p_value", title: "p-value", x: "p-value (probability)", y: "share of graphs (%)" },
];

/// One detector's distributions.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectorDistributions {
    pub kind: Kind,
    pub distributions: Vec<Distribution>,
}

/// A row of charts a detector, the splits over one another in each.
///
/// # Errors
/// When the backend fails.
pub fn distributions(family: &str, detectors: &[DetectorDistributions]) -> Result<String, PictureError> {
    let mut rows: Vec<Vec<Panel>> = detectors.iter().map(|detector| row(family, detector)).collect();
    if rows.is_empty() {
        let title = format!("{family} has no active detector: there is nothing to show");
        rows.push(vec![Panel { title, x: String::new(), y: String::new(), series: Vec::new() }]);
    }
    document(&rows)
}

fn row(family: &str, DetectorDistributions { kind, distributions }: &DetectorDistributions) -> Vec<Panel> {
    let panel = |&Shown { statistic, title, x, y }: &Shown| {
        let of_splits: Vec<&Distribution> =
            distributions.iter().filter(|distribution| distribution.statistic == statistic).collect();
        // All splits in the same bins, or they could not be compared.
        let few = of_splits.iter().any(|distribution| distribution.summary.count < FEW);
        let series = of_splits.iter().map(|distribution| series(distribution, few)).collect();
        let title = format!("{family}, {kind}: {title}");
        (!of_splits.is_empty()).then(|| Panel { title, x: x.to_owned(), y: y.to_owned(), series })
    };
    SHOWN.iter().filter_map(panel).collect()
}

fn series(distribution: &Distribution, few: bool) -> Series {
    let (colour, mark) = match distribution.split {
        Split::Train => (Colour::SkyBlue, Mark::Shaded),
        Split::Calibration => (Colour::Orange, Mark::Dashed),
        Split::Test => (Colour::Blue, Mark::Line),
    };
    let name = format!("{} ({})", distribution.split.as_str(), distribution.summary.count);
    let histogram = if few { &distribution.histogram_10 } else { &distribution.histogram_50 };
    Series { name, colour, mark, points: outline(histogram) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::histogram::Histogram;
    use crate::stats::summary::Summary;

    fn distribution(split: Split, statistic: &str) -> Distribution {
        let values = [0.1, 0.2, 0.7];
        let histogram = |bins| Histogram::of(&values, 0.0, 1.0, bins);
        Distribution {
            split,
            statistic: statistic.to_owned(),
            summary: Summary::of(&values).unwrap(),
            histogram_10: histogram(10),
            histogram_50: histogram(50),
        }
    }

    #[test]
    fn a_detector_has_a_row_of_what_it_knows() {
        let known = ["completion", "p_value", "edge_logit_mean"];
        let all = known.iter().flat_map(|name| Split::ALL.map(|split| distribution(split, name))).collect();
        let detector = DetectorDistributions { kind: Kind::FullMask, distributions: all };
        let panels = row("rings", &detector);
        let titles: Vec<&str> = panels.iter().map(|panel| panel.title.as_str()).collect();
        assert_eq!(titles, ["rings, full-mask: completion", "rings, full-mask: p-value"]);
        let names: Vec<&str> = panels[0].series.iter().map(|series| series.name.as_str()).collect();
        assert_eq!(names, ["train (3)", "calibration (3)", "test (3)"]);
        assert_eq!(panels[0].series[0].points.len(), 2 + 2 * 10, "ten bins for so few");
        assert!(distributions("rings", &[detector]).unwrap().contains("completion score of an edge"));
    }

    #[test]
    fn a_family_without_detectors_says_so() {
        assert!(distributions("rings", &[]).unwrap().contains("rings has no active detector"));
    }
}

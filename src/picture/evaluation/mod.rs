//! An evaluation as pictures, like the study's figures.

use std::fmt;
use std::str::FromStr;

use super::PictureError;
use super::panel::{Colour, Mark, Panel, Series, document};
use super::steps::outline;
use crate::evaluate::{
    DetectorStanding, Evaluation, Findings, Point, RankingReport, Sample, SampleDistribution, Standing,
};

/// Points of a class that a scatter plot shows; more are a blot.
const MOST_DOTS: usize = 150;

/// A picture of an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Picture {
    /// Receiver operating characteristics, of the detectors and of the floors.
    Roc,
    /// The nonconformity that the verdict is about, by sample.
    Nonconformity,
    /// The negative log-likelihood a node, by sample.
    Nll,
    /// The completion scores of edges, by sample.
    Completion,
    /// The completion scores of edges against those of non-edges.
    EdgesAndNonEdges,
    /// The score vectors' principal components, the classes and the clusters side by side.
    Clusters,
}

impl Picture {
    pub const ALL: [Self; 6] =
        [Self::Roc, Self::Nonconformity, Self::Nll, Self::Completion, Self::EdgesAndNonEdges, Self::Clusters];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Roc => "roc",
            Self::Nonconformity => "nonconformity",
            Self::Nll => "nll",
            Self::Completion => "completion",
            Self::EdgesAndNonEdges => "edges-and-non-edges",
            Self::Clusters => "clusters",
        }
    }
}

impl fmt::Display for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Picture {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|picture| picture.as_str() == text).ok_or(())
    }
}

/// One picture of an evaluation, or all of them on a sheet.
///
/// # Errors
/// When the backend fails.
pub fn evaluation(evaluation: &Evaluation, picture: Option<Picture>) -> Result<String, PictureError> {
    let subject = Subject { evaluation };
    let chosen: Vec<Picture> = picture.map_or_else(|| Picture::ALL.to_vec(), |picture| vec![picture]);
    let mut rows: Vec<Vec<Panel>> = chosen.iter().flat_map(|&picture| subject.rows(picture)).collect();
    if rows.is_empty() {
        let title = "No detector of this evaluation has such a picture".to_owned();
        rows.push(vec![Panel { title, x: String::new(), y: String::new(), series: Vec::new() }]);
    }
    document(&rows)
}

#[derive(Clone, Copy)]
struct Subject<'a> {
    evaluation: &'a Evaluation,
}

impl<'a> Subject<'a> {
    fn rows(self, picture: Picture) -> Vec<Vec<Panel>> {
        match picture {
            Picture::Roc => vec![vec![self.roc_of_detectors(), self.roc_of_floors()]],
            Picture::Nonconformity => in_pairs(self.standings().map(|(who, standing)| {
                let x = "nonconformity (nats of surprise)";
                self.histogram(&format!("{who}: nonconformity"), x, "share of graphs (%)", &standing.nonconformity)
            })),
            Picture::Nll => in_pairs(self.detectors().filter_map(|detector| match &detector.findings {
                Findings::Nll(nll) => {
                    let x = "negative log-likelihood a node (nats)";
                    Some(self.histogram(&format!("{}: likelihood", detector.kind), x, "share of graphs (%)", nll))
                }
                Findings::Completion { .. } => None,
            })),
            Picture::Completion => in_pairs(self.detectors().filter_map(|detector| match &detector.findings {
                Findings::Completion { edges, .. } => {
                    let x = "completion score of an edge (probability)";
                    Some(self.histogram(&format!("{}: completion", detector.kind), x, "share of edges (%)", edges))
                }
                Findings::Nll(_) => None,
            })),
            Picture::EdgesAndNonEdges => in_pairs(self.detectors().filter_map(|detector| match &detector.findings {
                Findings::Completion { edges, non_edges } => Some(self.edges_and_non_edges(detector, edges, non_edges)),
                Findings::Nll(_) => None,
            })),
            Picture::Clusters => self.standings().map(|(who, standing)| self.clusters(&who, standing)).collect(),
        }
    }

    fn detectors(self) -> impl Iterator<Item = &'a DetectorStanding> {
        self.evaluation.detectors.iter()
    }

    /// All detectors together, where they are several, and each alone.
    fn standings(self) -> impl Iterator<Item = (String, &'a Standing)> {
        let several = self.evaluation.detectors.len() > 1;
        let combined = several.then_some(("combined".to_owned(), &self.evaluation.combined));
        combined.into_iter().chain(self.detectors().map(|of| (of.kind.to_string(), &of.standing)))
    }

    fn name(self, sample: Sample) -> String {
        let Evaluation { normal, anomalous, .. } = self.evaluation;
        match sample {
            Sample::Train => format!("{}, train", normal.family),
            Sample::Test => format!("{}, test", normal.family),
            Sample::Anomalous(index) => anomalous.get(index).map(|other| other.family.clone()).unwrap_or_default(),
        }
    }

    fn task(self) -> String {
        let others = match self.evaluation.anomalous.as_slice() {
            [other] => other.family.clone(),
            others => format!("{} families", others.len()),
        };
        format!("{} against {others}", self.evaluation.normal.family)
    }

    fn histogram(self, title: &str, x: &str, y: &str, samples: &[SampleDistribution]) -> Panel {
        let series = |of: &SampleDistribution| Series {
            name: format!("{} ({})", self.name(of.sample), of.count),
            colour: colour(of.sample),
            mark: match of.sample {
                Sample::Train => Mark::Dashed,
                Sample::Test => Mark::Shaded,
                Sample::Anomalous(index) => {
                    if index < ANOMALOUS.len() {
                        Mark::Line
                    } else {
                        Mark::Thick
                    }
                }
            },
            points: outline(&of.histogram),
        };
        let series = samples.iter().map(series).collect();
        Panel { title: title.to_owned(), x: x.to_owned(), y: y.to_owned(), series }
    }

    /// Of the test graphs and of each anomalous family.
    fn edges_and_non_edges(
        self,
        detector: &DetectorStanding,
        edges: &'a [SampleDistribution],
        non_edges: &'a [SampleDistribution],
    ) -> Panel {
        let series = |(what, mark, of): (&str, Mark, &'a SampleDistribution)| Series {
            name: format!("{}, {what}", self.name(of.sample)),
            colour: colour(of.sample),
            mark,
            points: outline(&of.histogram),
        };
        let unseen = |of: &&SampleDistribution| of.sample != Sample::Train;
        let edges = edges.iter().filter(unseen).map(|of| ("edges", Mark::Line, of));
        let non_edges = non_edges.iter().filter(unseen).map(|of| ("non-edges", Mark::Dashed, of));
        Panel {
            title: format!("{}: edges against non-edges", detector.kind),
            x: "completion score (probability)".to_owned(),
            y: "share of pairs (%)".to_owned(),
            series: edges.chain(non_edges).map(series).collect(),
        }
    }

    fn roc_of_detectors(self) -> Panel {
        let several = self.evaluation.detectors.len() > 1;
        let combined = several.then(|| roc("combined", Colour::Black, Mark::Thick, &self.evaluation.combined.ranking));
        let detectors = self.detectors().enumerate();
        let detectors =
            detectors.map(|(index, of)| roc(of.kind.as_str(), Colour::of(index), Mark::Line, &of.standing.ranking));
        self.roc_panel("detectors", combined.into_iter().chain(detectors).collect())
    }

    fn roc_of_floors(self) -> Panel {
        let combined = roc("the detectors", Colour::Black, Mark::Thick, &self.evaluation.combined.ranking);
        let floors = self.evaluation.floors.iter().enumerate();
        let floors = floors.map(|(index, of)| roc(of.floor.as_str(), Colour::of(index), Mark::Dashed, &of.ranking));
        self.roc_panel("floors", std::iter::once(combined).chain(floors).collect())
    }

    fn roc_panel(self, of: &str, series: Vec<Series>) -> Panel {
        Panel {
            title: format!("ROC of the {of}, with AUROC: {}", self.task()),
            x: "false-positive rate".to_owned(),
            y: "true-positive rate".to_owned(),
            series,
        }
    }

    /// The truth, and beside it what Ward made of it.
    fn clusters(self, who: &str, standing: &Standing) -> Vec<Panel> {
        let clusters = &standing.clusters;
        let scatter = |title: String, series: Vec<Series>| Panel {
            title,
            x: format!("first principal component ({:.0} % of variance)", 100.0 * clusters.explained[0]),
            y: format!("second component ({:.0} %)", 100.0 * clusters.explained[1]),
            series,
        };
        let others = (0..self.evaluation.anomalous.len()).map(Sample::Anomalous);
        let samples: Vec<Sample> = std::iter::once(Sample::Test).chain(others).collect();
        // The same points in both panels, some of each class.
        let drawn = samples.iter().flat_map(|sample| {
            let of_sample: Vec<&Point> = clusters.points.iter().filter(|point| point.sample == *sample).collect();
            let every = of_sample.len().div_ceil(MOST_DOTS).max(1);
            of_sample.into_iter().step_by(every)
        });
        let drawn: Vec<&Point> = drawn.collect();
        let how_many = if drawn.len() < clusters.points.len() {
            format!(", {} of {} graphs drawn", drawn.len(), clusters.points.len())
        } else {
            String::new()
        };
        let series = |name: String, colour, mark, of: &dyn Fn(&Point) -> bool| {
            let points = drawn.iter().filter(|point| of(point)).map(|point| (point.x, point.y)).collect();
            Series { name, colour, mark, points }
        };
        let truth = samples.iter().map(|&sample| {
            let mark = match sample {
                Sample::Anomalous(index) if index < ANOMALOUS.len() => Mark::Triangles,
                Sample::Anomalous(_) => Mark::Crosses,
                Sample::Train | Sample::Test => Mark::Dots,
            };
            series(self.name(sample), colour(sample), mark, &|point| point.sample == sample)
        });
        let found = [(0, Colour::Green, Mark::Dots), (1, Colour::Purple, Mark::Triangles)];
        let found = found.map(|(cluster, colour, mark)| {
            series(format!("cluster {}", cluster + 1), colour, mark, &|point| point.cluster == cluster)
        });
        let told = format!(
            "{who}: clusters, accuracy {:.1} % (majority {:.1} %)",
            100.0 * clusters.accuracy,
            100.0 * clusters.majority
        );
        vec![scatter(format!("{who}: classes{how_many}"), truth.collect()), scatter(told, found.into())]
    }
}

/// Of the anomalous families. The sixth and those after it have them again, with another stroke or mark.
const ANOMALOUS: [Colour; 5] = [Colour::Vermillion, Colour::Orange, Colour::Purple, Colour::Green, Colour::Black];

const fn colour(sample: Sample) -> Colour {
    match sample {
        Sample::Train => Colour::SkyBlue,
        Sample::Test => Colour::Blue,
        Sample::Anomalous(index) => ANOMALOUS[index % ANOMALOUS.len()],
    }
}

fn roc(name: &str, colour: Colour, mark: Mark, ranking: &RankingReport) -> Series {
    let name = format!("{name} {:.3}", ranking.estimates.auroc.value);
    Series { name, colour, mark, points: ranking.roc.clone() }
}

/// Two charts side by side.
fn in_pairs(panels: impl Iterator<Item = Panel>) -> Vec<Vec<Panel>> {
    let panels: Vec<Panel> = panels.collect();
    panels.chunks(2).map(<[Panel]>::to_vec).collect()
}

#[cfg(test)]
mod tests;

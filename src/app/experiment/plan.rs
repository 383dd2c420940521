//! The programme: which families are set against which, what the study reached, and what is to be reached.

use serde::{Deserialize, Serialize};

use crate::graph::rewire::Kept;
use crate::graph::synthetic::SyntheticType;

/// A normal family against others.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Task {
    /// Names its files.
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) normal: Source,
    pub(super) anomalous: &'static [Source],
    pub(super) protocol: Protocol,
    /// The least mean AUROC of the combined verdict (the figures to reach of the project's own design); none where there
    /// is no such figure.
    pub(super) goal: Option<f64>,
    /// Whether each kind but `gran` is to reach the goal by itself.
    pub(super) each_kind: bool,
    /// Whether the same kinds' score vectors are to fall into the classes without a mistake.
    pub(super) clusters: bool,
    /// The best AUROC known without learning, of the design's own trials; which side is anomalous may have been looked up.
    pub(super) known_floor: Option<f64>,
    /// A mean AUROC above this would mean a leak: isomorphic graphs bound it over the whole dataset.
    pub(super) leak_above: Option<f64>,
    /// The best AUROC published, in %.
    pub(super) published: &'static str,
    /// What the study reports, in its words: clustering accuracy.
    pub(super) study: &'static str,
}

/// Where the graphs of a family come from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Source {
    Synthetic(SyntheticType),
    /// Double edge swaps of the graphs of a synthetic type.
    Rewired(SyntheticType, Kept),
    /// The class at this place among the sorted labels of a TU dataset.
    Class(&'static str, usize),
}

/// How graphs are dealt to training and test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Protocol {
    /// The study's: 80 to 20, dealt as the service deals them (twins share a split), and all graphs of the other families.
    /// A repeat is a seed.
    Splits,
    /// The field's: five folds of either class. Normal graphs of the other folds train, the fold's graphs of both classes
    /// test. A repeat is a fold.
    Folds,
}

impl Source {
    pub(super) fn family(self) -> String {
        match self {
            Self::Synthetic(kind) => format!("type-{kind}"),
            Self::Rewired(kind, Kept::Degrees) => format!("type-{kind}-degrees-kept"),
            Self::Rewired(kind, Kept::Triangles) => format!("type-{kind}-triangles-kept"),
            Self::Class(dataset, class) => format!("{}-{class}", dataset.to_lowercase()),
        }
    }

    pub(super) fn dataset(self) -> Option<&'static str> {
        match self {
            Self::Class(dataset, _) => Some(dataset),
            Self::Synthetic(_) | Self::Rewired(..) => None,
        }
    }
}

impl Task {
    pub(super) fn sources(&self) -> impl Iterator<Item = Source> + '_ {
        std::iter::once(self.normal).chain(self.anomalous.iter().copied())
    }
}

const T1: Source = Source::Synthetic(SyntheticType::Type1);
const T2C: Source = Source::Synthetic(SyntheticType::Type2c);

/// All tasks, in the report's order.
pub(super) fn tasks() -> Vec<Task> {
    let splits = |name, title, normal, anomalous, goal: Option<f64>, study| Task {
        name,
        title,
        normal,
        anomalous,
        protocol: Protocol::Splits,
        goal,
        each_kind: false,
        clusters: false,
        known_floor: None,
        leak_above: None,
        published: "none",
        study,
    };
    let folds = |name, title, normal, anomalous| Task {
        protocol: Protocol::Folds,
        ..splits(name, title, normal, anomalous, None, "none")
    };
    vec![
        Task {
            each_kind: true,
            clusters: true,
            known_floor: Some(1.0),
            ..splits(
                "synthetic-similarity",
                "Type 1 against types 2a and 3 and random 6-regular graphs",
                T1,
                &[
                    Source::Synthetic(SyntheticType::Type2a),
                    Source::Synthetic(SyntheticType::Type3),
                    Source::Synthetic(SyntheticType::RandomRegular),
                ],
                Some(1.0),
                "100 %",
            )
        },
        Task {
            clusters: true,
            known_floor: Some(0.999),
            ..splits(
                "synthetic-fine",
                "Type 2c against type 3",
                T2C,
                &[Source::Synthetic(SyntheticType::Type3)],
                Some(1.0),
                "100 % (full-mask), 99.7 % (full-edge-prediction)",
            )
        },
        Task {
            known_floor: Some(0.5),
            ..splits(
                "rewired-degrees",
                "Type 2c against its own rewirings with the same degrees",
                T2C,
                &[Source::Rewired(SyntheticType::Type2c, Kept::Degrees)],
                Some(0.95),
                "none",
            )
        },
        Task {
            known_floor: Some(0.5),
            ..splits(
                "rewired-triangles",
                "Type 2c against its own rewirings with the same degrees and as many triangles",
                T2C,
                &[Source::Rewired(SyntheticType::Type2c, Kept::Triangles)],
                Some(0.95),
                "none",
            )
        },
        Task {
            known_floor: Some(0.997),
            published: "99.7",
            ..splits(
                "aids-inactive",
                "AIDS, inactive normal",
                AIDS_INACTIVE,
                &[AIDS_ACTIVE],
                Some(0.997),
                "none as AUROC",
            )
        },
        Task {
            known_floor: Some(0.993),
            ..splits("aids-active", "AIDS, active normal", AIDS_ACTIVE, &[AIDS_INACTIVE], Some(0.993), "none as AUROC")
        },
        Task {
            known_floor: Some(0.828),
            ..splits("dd-0", "DD, class 0 normal", DD_0, &[DD_1], Some(0.85), "none as AUROC")
        },
        Task {
            known_floor: Some(0.813),
            published: "80.6",
            ..splits("dd-1", "DD, class 1 normal", DD_1, &[DD_0], Some(0.83), "none as AUROC")
        },
        Task {
            known_floor: Some(0.57),
            leak_above: Some(0.84),
            ..splits("imdb-0-1", "IMDB-MULTI, class 0 against class 1", IMDB_0, &[IMDB_1], Some(0.62), "about 50 %")
        },
        Task {
            known_floor: Some(0.626),
            leak_above: Some(0.836),
            ..splits("imdb-0-2", "IMDB-MULTI, class 0 against class 2", IMDB_0, &[IMDB_2], Some(0.66), "none")
        },
        splits("imdb-1-0", "IMDB-MULTI, class 1 against class 0", IMDB_1, &[IMDB_0], None, "none"),
        splits("imdb-2-0", "IMDB-MULTI, class 2 against class 0", IMDB_2, &[IMDB_0], None, "none"),
        folds("folds-aids-inactive", "AIDS, inactive normal, the field's folds", AIDS_INACTIVE, &[AIDS_ACTIVE]),
        folds("folds-aids-active", "AIDS, active normal, the field's folds", AIDS_ACTIVE, &[AIDS_INACTIVE]),
        folds("folds-dd-1", "DD, class 1 normal, the field's folds", DD_1, &[DD_0]),
        folds("folds-dd-0", "DD, class 0 normal, the field's folds", DD_0, &[DD_1]),
    ]
}

const AIDS_ACTIVE: Source = Source::Class("AIDS", 0);
const AIDS_INACTIVE: Source = Source::Class("AIDS", 1);
const DD_0: Source = Source::Class("DD", 0);
const DD_1: Source = Source::Class("DD", 1);
const IMDB_0: Source = Source::Class("IMDB-MULTI", 0);
const IMDB_1: Source = Source::Class("IMDB-MULTI", 1);
const IMDB_2: Source = Source::Class("IMDB-MULTI", 2);

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn tasks_have_names_of_their_own_and_families_too() {
        let tasks = tasks();
        let names: HashSet<_> = tasks.iter().map(|task| task.name).collect();
        assert_eq!(names.len(), tasks.len());
        for task in tasks {
            let families: Vec<String> = task.sources().map(Source::family).collect();
            assert_eq!(families.iter().collect::<HashSet<_>>().len(), families.len(), "{}", task.name);
        }
    }
}

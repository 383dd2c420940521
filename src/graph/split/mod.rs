//! Which graphs train, calibrate and test: 68, 12 and 20 % (80/20, then 15 % of the training part for calibration).

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Graph;
use super::isomorphism::{Effort, Fingerprint, WlHash, are_isomorphic};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    Train,
    Calibration,
    Test,
}

/// The shares of a family that calibrate and test; the rest trains.
const CALIBRATION_SHARE: f64 = 0.12;
const TEST_SHARE: f64 = 0.20;

/// Below this many graphs a family is too small to aim at fractions of a graph: calibration and test get their whole
/// graphs only, and training fills first.
const SMALL_FAMILY: usize = 10;

impl Split {
    pub const ALL: [Self; 3] = [Self::Train, Self::Calibration, Self::Test];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Calibration => "calibration",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Split {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|split| split.as_str() == text).ok_or(())
    }
}

/// How many graphs of a family are in each split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SplitCounts {
    pub train: usize,
    pub calibration: usize,
    pub test: usize,
}

impl SplitCounts {
    const fn total(&self) -> usize {
        self.train + self.calibration + self.test
    }

    const fn of(&self, split: Split) -> usize {
        match split {
            Split::Train => self.train,
            Split::Calibration => self.calibration,
            Split::Test => self.test,
        }
    }

    const fn add(&mut self, split: Split, graphs: usize) {
        match split {
            Split::Train => self.train += graphs,
            Split::Calibration => self.calibration += graphs,
            Split::Test => self.test += graphs,
        }
    }
}

/// Gives graphs their split: isomorphic twins share one, shares stay near their targets, and nothing depends on the
/// order of the graphs in a batch or the names of their nodes.
///
/// Of graphs of one fingerprint, which colour refinement and what lies between the ends of edges don't tell apart, the first in
/// the batch counts as the first; and what can't be told apart with bounded work joins the first that it may be a twin of.
///
/// Twins share a split because a test graph whose twin was trained on tests nothing (81 % of IMDB-MULTI's graphs have
/// one). A batch's new classes of twins are visited in an order shuffled by the seed, and each draws its split at random,
/// in proportion to what each split still lacks. Filling up the split that lacks most would be nearer to the targets, but
/// would put every large class into training, and the held-out graphs would no longer look like the family.
#[derive(Debug)]
pub struct SplitAssigner {
    seed: u64,
    counts: SplitCounts,
    /// The classes of twins seen so far. Graphs of one hash are nearly always one class.
    classes: HashMap<WlHash, Vec<Class>>,
    effort: Effort,
}

impl SplitAssigner {
    /// `already` counts the family's graphs that have a split, whether or not [`Self::know`] is told of them.
    #[must_use]
    pub fn new(seed: u64, already: SplitCounts) -> Self {
        Self { seed, counts: already, classes: HashMap::new(), effort: Effort::default() }
    }

    /// Tells of a graph that has its split already, so that its twins get the same.
    pub fn know(&mut self, fingerprint: Fingerprint, graph: &Graph, split: Split) {
        self.effort.add(graph);
        // Where it isn't sure that there is a twin, the graph's own split is what its twins have to get.
        if !matches!(self.twin_of(fingerprint, graph), Some(Twin::Sure(_))) {
            let class = Class { fingerprint, graph: graph.clone(), split };
            self.classes.entry(fingerprint.hash).or_default().push(class);
        }
    }

    /// The splits of a batch of graphs, in their order.
    pub fn assign(&mut self, graphs: &[(Fingerprint, &Graph)]) -> Vec<Split> {
        let total = self.counts.total() + graphs.len();
        let mut splits: Vec<Option<Split>> = Vec::with_capacity(graphs.len());
        let mut new_classes: HashMap<WlHash, Vec<NewClass<'_>>> = HashMap::new();
        for (index, &(fingerprint, graph)) in graphs.iter().enumerate() {
            self.effort.add(graph);
            let known = self.twin_of(fingerprint, graph).map(Twin::of);
            splits.push(known);
            if let Some(split) = known {
                self.counts.add(split, 1);
                continue;
            }
            let same_hash = new_classes.entry(fingerprint.hash).or_default();
            let classes = (0..).zip(&*same_hash).map(|(place, class)| (class.fingerprint, class.graph, place));
            match Twin::find(classes, (fingerprint, graph), &mut self.effort).map(Twin::of) {
                Some(place) => same_hash[place].members.push(index),
                None => same_hash.push(NewClass { fingerprint, graph, members: vec![index] }),
            }
        }

        let mut drawn: Vec<(u64, u64, NewClass<'_>)> = Vec::new();
        for (hash, mut classes) in new_classes {
            // Numbered by their structure, not by their places in the batch.
            classes.sort_by_key(|class| class.fingerprint);
            let known = self.classes.get(&hash).map_or(0, Vec::len);
            for (number, class) in (known..).zip(classes) {
                let (order, draw) = self.random_of(hash, number);
                drawn.push((order, draw, class));
            }
        }
        drawn.sort_unstable_by_key(|&(order, draw, ..)| (order, draw));
        for (_, draw, NewClass { fingerprint, graph, members }) in drawn {
            let split = self.draw_split(draw, total);
            self.counts.add(split, members.len());
            for index in members {
                splits[index] = Some(split);
            }
            self.classes.entry(fingerprint.hash).or_default().push(Class { fingerprint, graph: graph.clone(), split });
        }
        splits.into_iter().flatten().collect()
    }

    /// The split of a known twin.
    fn twin_of(&mut self, fingerprint: Fingerprint, graph: &Graph) -> Option<Twin<Split>> {
        let classes = self.classes.get(&fingerprint.hash)?.iter();
        let classes = classes.map(|class| (class.fingerprint, &class.graph, class.split));
        Twin::find(classes, (fingerprint, graph), &mut self.effort)
    }

    /// Two random numbers for a class, by the seed and its structure alone: its place in the order, and its draw.
    /// `number` counts the classes of one hash.
    fn random_of(&self, hash: WlHash, number: usize) -> (u64, u64) {
        let digest = Sha256::new()
            .chain_update(self.seed.to_le_bytes())
            .chain_update(hash.0)
            .chain_update((number as u64).to_le_bytes())
            .finalize();
        let word = |at: usize| digest[at..at + 8].iter().fold(0, |word, &byte| word << 8 | u64::from(byte));
        (word(0), word(8))
    }

    /// The split that `draw` falls on, where each takes as much room as it lacks of its target among `total` graphs.
    fn draw_split(&self, draw: u64, total: usize) -> Split {
        let whole_graphs = |target: f64| if total < SMALL_FAMILY { target.floor() } else { target };
        let calibration = whole_graphs(total as f64 * CALIBRATION_SHARE);
        let test = whole_graphs(total as f64 * TEST_SHARE);
        let train = total as f64 - calibration - test;
        let lacking = [(Split::Train, train), (Split::Calibration, calibration), (Split::Test, test)]
            .map(|(split, target)| (split, (target - self.counts.of(split) as f64).max(0.0)));
        let sum: f64 = lacking.iter().map(|(_, lack)| lack).sum();
        // The top 53 bits make a uniform number in 0..1.
        let mut left = (draw >> 11) as f64 / (1_u64 << 53) as f64 * sum;
        for (split, lack) in lacking {
            if left < lack {
                return split;
            }
            left -= lack;
        }
        Split::Train
    }
}

/// One graph of a class of twins.
#[derive(Debug)]
struct Class {
    fingerprint: Fingerprint,
    graph: Graph,
    split: Split,
}

/// Graphs of a batch that are twins of each other and of no graph known before.
struct NewClass<'a> {
    fingerprint: Fingerprint,
    graph: &'a Graph,
    /// Places in the batch.
    members: Vec<usize>,
}

/// What is known of a graph's twin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Twin<T> {
    Sure(T),
    /// Of the first that the graph can't be told from with bounded work.
    Perhaps(T),
}

impl<T> Twin<T> {
    /// What the class that a graph is of comes with. A sure one is looked for in all classes: whatever was given a split
    /// keeps its exact copies with it, however alike others are.
    fn find<'a>(
        classes: impl Iterator<Item = (Fingerprint, &'a Graph, T)>,
        (fingerprint, graph): (Fingerprint, &Graph),
        effort: &mut Effort,
    ) -> Option<Self> {
        let mut perhaps = None;
        for (_, class, with) in classes.filter(|(of_class, ..)| *of_class == fingerprint) {
            match are_isomorphic(class, graph, effort) {
                Some(true) => return Some(Self::Sure(with)),
                Some(false) => {}
                None => perhaps = perhaps.or(Some(Self::Perhaps(with))),
            }
        }
        perhaps
    }

    fn of(self) -> T {
        match self {
            Self::Sure(with) | Self::Perhaps(with) => with,
        }
    }
}

#[cfg(test)]
mod tests;

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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::graph::Limits;
    use crate::graph::testing::{any_graph, complete, hardly_alike, path, permutation, random_graph};

    fn assign(assigner: &mut SplitAssigner, graphs: &[Graph]) -> Vec<Split> {
        let hashed: Vec<_> = graphs.iter().map(|graph| (Fingerprint::of(graph), graph)).collect();
        assigner.assign(&hashed)
    }

    fn assign_new(seed: u64, graphs: &[Graph]) -> Vec<Split> {
        assign(&mut SplitAssigner::new(seed, SplitCounts::default()), graphs)
    }

    fn count(splits: &[Split]) -> SplitCounts {
        let mut counts = SplitCounts::default();
        splits.iter().for_each(|&split| counts.add(split, 1));
        counts
    }

    fn distinct_graphs(count: usize) -> Vec<Graph> {
        (0..count).map(|index| random_graph(20, 30, index as u64)).collect()
    }

    #[test]
    fn shares_of_distinct_graphs_meet_their_targets() {
        for seed in 0..5 {
            let counts = count(&assign_new(seed, &distinct_graphs(200)));
            assert!(counts.train.abs_diff(136) <= 1, "{counts:?}");
            assert!(counts.calibration.abs_diff(24) <= 1, "{counts:?}");
            assert!(counts.test.abs_diff(40) <= 1, "{counts:?}");
        }
    }

    #[test]
    fn shares_meet_their_targets_when_graphs_come_one_by_one() {
        let mut assigner = SplitAssigner::new(1, SplitCounts::default());
        let splits: Vec<Split> =
            distinct_graphs(200).iter().flat_map(|graph| assign(&mut assigner, std::slice::from_ref(graph))).collect();
        let counts = count(&splits);
        assert!(counts.train.abs_diff(136) <= 3, "{counts:?}");
        assert!(counts.calibration.abs_diff(24) <= 3, "{counts:?}");
        assert!(counts.test.abs_diff(40) <= 3, "{counts:?}");
    }

    #[test]
    fn a_class_of_any_size_is_in_each_split_as_often_as_its_share() {
        let mut graphs = vec![complete(5); 15];
        graphs.extend(distinct_graphs(85));
        let hashed: Vec<_> = graphs.iter().map(|graph| (Fingerprint::of(graph), graph)).collect();
        let mut of_the_class = SplitCounts::default();
        let seeds = 1_000;
        for seed in 0..seeds {
            let splits = SplitAssigner::new(seed, SplitCounts::default()).assign(&hashed);
            assert!(splits[..15].iter().all(|&split| split == splits[0]));
            of_the_class.add(splits[0], 1);
        }
        // Four standard deviations of a binomial, and some room for what earlier classes took.
        for (split, share) in [(Split::Train, 0.68), (Split::Calibration, 0.12), (Split::Test, 0.20)] {
            let seen = of_the_class.of(split) as f64 / seeds as f64;
            assert!((seen - share).abs() < 0.06, "{split}: {seen} for {share}");
        }
    }

    #[test]
    fn tiny_families_train_first() {
        let expected = |train, calibration, test| SplitCounts { train, calibration, test };
        for seed in 0..20 {
            assert_eq!(assign_new(seed, &[path(3)]), [Split::Train]);
            assert_eq!(count(&assign_new(seed, &distinct_graphs(4))), expected(4, 0, 0));
            assert_eq!(count(&assign_new(seed, &distinct_graphs(5))), expected(4, 0, 1));
            assert_eq!(count(&assign_new(seed, &distinct_graphs(9))), expected(7, 1, 1));
        }
        assert_eq!(assign_new(0, &[]), []);
    }

    #[test]
    fn twins_of_a_known_graph_join_it_wherever_it_is() {
        let graphs = distinct_graphs(30);
        for split in Split::ALL {
            let mut assigner = SplitAssigner::new(3, SplitCounts::default());
            assigner.know(Fingerprint::of(&graphs[0]), &graphs[0], split);
            let twin = graphs[0].relabelled(&permutation(20, 9));
            let batch = [&graphs[1..], &[twin]].concat();
            assert_eq!(assign(&mut assigner, &batch).last(), Some(&split));
        }
    }

    #[test]
    fn equal_fingerprints_make_no_twins() {
        let mut assigner = SplitAssigner::new(0, SplitCounts::default());
        let fingerprint = Fingerprint::of(&path(4));
        assigner.know(fingerprint, &path(4), Split::Test);
        let asked = [(fingerprint, &complete(4)), (fingerprint, &path(4))];
        assert_eq!(assigner.assign(&asked), [Split::Train, Split::Test]);
    }

    #[test]
    fn a_copy_joins_its_own_however_alike_others_are() {
        let [one, other] = hardly_alike();
        // As if no fingerprint told them apart.
        let fingerprint = Fingerprint::of(&one);
        assert_eq!(are_isomorphic(&one, &other, &mut Effort::default()), None, "else this tests nothing");
        for (first, second) in [(Split::Train, Split::Test), (Split::Test, Split::Train)] {
            let mut assigner = SplitAssigner::new(0, SplitCounts::default());
            assigner.know(fingerprint, &one, first);
            assigner.know(fingerprint, &other, second);
            let copies = [&one, &other].map(|graph| graph.relabelled(&permutation(graph.node_count(), 1)));
            let asked = [&other, &copies[1], &one, &copies[0]].map(|graph| (fingerprint, graph));
            assert_eq!(assigner.assign(&asked), [second, second, first, first]);
        }
    }

    #[test]
    fn what_cannot_be_told_apart_shares_a_split() {
        let [one, other] = hardly_alike();
        let fingerprint = Fingerprint::of(&one);
        let mut together = SplitAssigner::new(0, SplitCounts::default());
        let others = distinct_graphs(20);
        let hashed = others.iter().map(|graph| (Fingerprint::of(graph), graph));
        let asked: Vec<_> = [(fingerprint, &one), (fingerprint, &other)].into_iter().chain(hashed).collect();
        let splits = together.assign(&asked);
        assert_eq!(splits[0], splits[1]);
    }

    #[test]
    fn graphs_of_one_hash_have_their_splits_whatever_their_order() {
        let matching = |edges: &[(u64, u64)]| {
            let labels = Some(vec![0, 1, 2, 3]);
            Graph::new(4, edges, labels, &Limits::default()).expect("a valid graph").0
        };
        let matchings = [&[(0, 1), (2, 3)], &[(0, 2), (1, 3)], &[(0, 3), (1, 2)]].map(|edges| matching(edges));
        let [first, second, third] = matchings.each_ref().map(Fingerprint::of);
        assert_eq!([first.hash, first.hash], [second.hash, third.hash]);
        assert!(first != second && second != third && third != first);
        let others = distinct_graphs(9);
        let mut in_several = 0;
        for seed in 0..50 {
            let splits = assign_new(seed, &[matchings.as_slice(), &others].concat());
            for order in [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
                let moved = order.map(|index: usize| matchings[index].clone());
                let of_moved = assign_new(seed, &[moved.as_slice(), &others].concat());
                assert_eq!(of_moved[..3], order.map(|index| splits[index]), "{seed}, {order:?}");
            }
            in_several += usize::from(splits[..3].iter().any(|&split| split != splits[0]));
        }
        assert!(in_several > 10, "they are nearly always together: {in_several} of 50");
    }

    proptest! {
        #[test]
        fn twins_share_a_split_across_batches_and_names_and_order_do_not_matter(
            graphs in prop::collection::vec(any_graph(5), 1..30),
            shuffle_seed: u32,
            seed: u64,
        ) {
            let moved: Vec<Graph> = graphs
                .iter()
                .zip(u64::from(shuffle_seed)..)
                .map(|(graph, seed)| graph.relabelled(&permutation(graph.node_count(), seed)))
                .collect();
            let mut assigner = SplitAssigner::new(seed, SplitCounts::default());
            let first = assign(&mut assigner, &graphs);
            prop_assert_eq!(first.len(), graphs.len());
            prop_assert_eq!(&assign(&mut assigner, &moved), &first);

            let order = permutation(graphs.len(), shuffle_seed.into());
            let shuffled: Vec<Graph> = order.iter().map(|&index| moved[index as usize].clone()).collect();
            let splits_shuffled: Vec<Split> = order.iter().map(|&index| first[index as usize]).collect();
            prop_assert_eq!(assign_new(seed, &shuffled), splits_shuffled);
        }
    }
}

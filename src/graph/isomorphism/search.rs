//! Exact isomorphism by individualisation and refinement, within a budget.
//!
//! Refine the colours of both graphs; if their bags of colours differ, the graphs do. Where a class keeps several nodes,
//! give one of them in `a` a colour of its own, try each node of that class in `b` in its place, and go on. When every
//! node has its own colour, the colours are a mapping, and it is checked edge by edge: a "yes" rests on that alone. A
//! "no" is exact too, since colours depend on structure alone: an isomorphism would lead through all of these steps.
//!
//! Not petgraph's VF2, which can't be bounded: two strongly regular graphs can keep it busy for years, and graphs come
//! from outside.

use std::collections::HashMap;
use std::hash::Hash;

use super::{bag, chain, class_count, refine, surroundings};
use crate::graph::Graph;

/// Work left, counted in nodes and arcs visited.
#[derive(Debug)]
pub(super) struct Budget(usize);

/// About a tenth of a second of work, and at least [`LEAST_ROUNDS`] rounds of refinement of a large graph.
const WORK: usize = 1 << 24;
const LEAST_ROUNDS: usize = 64;

/// What [`super::Effort`] begins with, and the rounds of refinement of a graph that it grows by: many tests of plain twins.
const FIRST_WORK: usize = 16 * WORK;
const ROUNDS_A_GRAPH: usize = 256;

impl Budget {
    pub(super) fn for_graph(graph: &Graph) -> Self {
        Self(WORK.max(LEAST_ROUNDS * round_work(graph)))
    }

    pub(super) const fn for_many() -> Self {
        Self(FIRST_WORK)
    }

    pub(super) fn grow_by(&mut self, graph: &Graph) {
        self.0 = self.0.saturating_add(ROUNDS_A_GRAPH * round_work(graph));
    }

    /// A part of this budget for one test; what is left of it is to be given back.
    pub(super) fn take_for(&mut self, graph: &Graph) -> Self {
        let taken = self.0.min(Self::for_graph(graph).0);
        self.0 -= taken;
        Self(taken)
    }

    pub(super) fn give_back(&mut self, Self(rest): Self) {
        self.0 += rest;
    }

    fn spend(&mut self, work: usize) -> Option<()> {
        self.0 = self.0.checked_sub(work)?;
        Some(())
    }
}

/// A round of refinement follows each arc, and sorts the nodes' colours.
fn round_work(graph: &Graph) -> usize {
    4 * graph.node_count() + 2 * graph.edge_count()
}

/// Whether `a` and `b` are isomorphic; `None` when the budget ran out before an answer.
pub(super) fn isomorphic_within(a: &Graph, b: &Graph, budget: &mut Budget) -> Option<bool> {
    if a == b {
        return Some(true);
    }
    if !could_be_isomorphic(a, b) {
        return Some(false);
    }
    let descent = Descent::of(a, budget)?;
    let mut colours = first_settled(b, budget)?;
    if bag_of(&colours) != descent.first_bag {
        return Some(false);
    }
    let mut open: Vec<Branch> = Vec::new();
    loop {
        match descent.steps.get(open.len()) {
            None if is_isomorphism(a, &descent.last_colours, b, &colours) => return Some(true),
            None => {}
            Some(step) => open.push(Branch { untried: members(&colours, step.class), colours }),
        }
        colours = loop {
            let depth = open.len();
            let Some(branch) = open.last_mut() else { return Some(false) };
            let Some(node) = branch.untried.pop() else {
                open.pop();
                continue;
            };
            let candidate = settle(b, individualised(&branch.colours, node), budget)?;
            if bag_of(&candidate) == descent.steps[depth - 1].bag {
                break candidate;
            }
        };
    }
}

/// A choice to be made in `b`: its colours before, and the nodes that were not tried yet.
struct Branch {
    colours: Vec<u64>,
    untried: Vec<u32>,
}

/// The choices made in `a`, from its first colours down to where each node has its own.
struct Descent {
    first_bag: u64,
    steps: Vec<Step>,
    last_colours: Vec<u64>,
}

struct Step {
    /// The colour of the class in which a node was chosen.
    class: u64,
    /// All colours after it was.
    bag: u64,
}

impl Descent {
    fn of(graph: &Graph, budget: &mut Budget) -> Option<Self> {
        let mut colours = first_settled(graph, budget)?;
        let first_bag = bag_of(&colours);
        let mut steps = Vec::new();
        while let Some(class) = smallest_open_class(&colours) {
            let chosen = *members(&colours, class).last()?;
            colours = settle(graph, individualised(&colours, chosen), budget)?;
            steps.push(Step { class, bag: bag_of(&colours) });
        }
        Some(Self { first_bag, steps, last_colours: colours })
    }
}

/// The cheap rejections.
fn could_be_isomorphic(a: &Graph, b: &Graph) -> bool {
    let degrees = |graph: &Graph| bag(graph.nodes().map(|node| graph.degree(node) as u64));
    let labels = |graph: &Graph| graph.labels().map(|labels| bag(labels.iter().map(|&label| label as u64)));
    a.node_count() == b.node_count()
        && a.edge_count() == b.edge_count()
        && labels(a) == labels(b)
        && degrees(a) == degrees(b)
}

/// The surroundings of each node, and its number among its twins.
///
/// Twins are nodes of one label with the same neighbours, themselves aside. Any two can be exchanged without touching
/// the rest, so every numbering of them is as good as another, and saves choosing among them one by one: the leaves of
/// a star, the members of a clique.
fn first_colours(graph: &Graph) -> Vec<u64> {
    let label = |node: u32| graph.labels().map(|labels| labels[node as usize]);
    let apart = numbers_within(graph.nodes().map(|node| (label(node), graph.neighbours(node))));
    let adjacent = numbers_within(graph.nodes().map(|node| {
        let mut neighbourhood = graph.neighbours(node).to_vec();
        neighbourhood.insert(neighbourhood.partition_point(|&neighbour| neighbour < node), node);
        (label(node), neighbourhood)
    }));
    // No node has twins of both sorts.
    let twins = apart.into_iter().zip(adjacent).map(|(apart, adjacent)| chain(apart, adjacent));
    surroundings(graph).into_iter().zip(twins).map(|(colour, twin)| chain(colour, twin)).collect()
}

/// For each item, how many equal ones came before it.
fn numbers_within<T: Eq + Hash>(items: impl Iterator<Item = T>) -> Vec<u64> {
    let mut seen: HashMap<T, u64> = HashMap::new();
    items
        .map(|item| {
            let count = seen.entry(item).or_default();
            *count += 1;
            *count - 1
        })
        .collect()
}

fn first_settled(graph: &Graph, budget: &mut Budget) -> Option<Vec<u64>> {
    // Looking at the surroundings takes at least a round's work.
    budget.spend(round_work(graph))?;
    settle(graph, first_colours(graph), budget)
}

/// Refines until no class splits further.
fn settle(graph: &Graph, mut colours: Vec<u64>, budget: &mut Budget) -> Option<Vec<u64>> {
    let mut classes = class_count(&colours);
    loop {
        budget.spend(round_work(graph))?;
        let refined = refine(graph, &colours);
        let refined_classes = class_count(&refined);
        // A settled colouring has been refined once more than needed, in both graphs alike, so that the bags of two
        // graphs can tell what their equal classes hide.
        if refined_classes <= classes {
            return Some(refined);
        }
        (colours, classes) = (refined, refined_classes);
    }
}

fn individualised(colours: &[u64], node: u32) -> Vec<u64> {
    const CHOSEN: u64 = 1;
    let mut colours = colours.to_vec();
    let colour = &mut colours[node as usize];
    *colour = chain(*colour, CHOSEN);
    colours
}

fn bag_of(colours: &[u64]) -> u64 {
    bag(colours.iter().copied())
}

/// The colour of the smallest class of several nodes; the lowest colour of those.
fn smallest_open_class(colours: &[u64]) -> Option<u64> {
    let mut sorted = colours.to_vec();
    sorted.sort_unstable();
    sorted.chunk_by(|a, b| a == b).filter(|class| class.len() > 1).min_by_key(|class| class.len()).map(|class| class[0])
}

fn members(colours: &[u64], class: u64) -> Vec<u32> {
    (0..).zip(colours).filter(|&(_, &colour)| colour == class).map(|(node, _)| node).collect()
}

/// Whether sending each node of `a` to the node of `b` with its colour keeps labels and edges. Each colour is a node's
/// own in `a`.
fn is_isomorphism(a: &Graph, colours_a: &[u64], b: &Graph, colours_b: &[u64]) -> bool {
    let by_colour: HashMap<u64, u32> = colours_b.iter().copied().zip(b.nodes()).collect();
    let Some(image) = colours_a.iter().map(|colour| by_colour.get(colour).copied()).collect::<Option<Vec<u32>>>()
    else {
        return false;
    };
    let keeps_labels = match (a.labels(), b.labels()) {
        (Some(of_a), Some(of_b)) => of_a.iter().zip(&image).all(|(label, &to)| *label == of_b[to as usize]),
        (None, None) => true,
        _ => false,
    };
    // Distinct colours have distinct images, so a mapping into all edges of as many is onto.
    keeps_labels && a.edges().all(|(u, v)| b.has_edge(image[u as usize], image[v as usize]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::isomorphism::{Effort, are_isomorphic};
    use crate::graph::testing::{complete, cycle, graph, hardly_alike, permutation, rook, shrikhande, star};

    fn compare(a: &Graph, b: &Graph) -> Option<bool> {
        isomorphic_within(a, b, &mut Budget::for_graph(a))
    }

    #[test]
    fn strongly_regular_graphs_are_told_apart_and_recognised() {
        let (rook, shrikhande) = (graph(16, &rook()), graph(16, &shrikhande()));
        assert_eq!(compare(&rook, &shrikhande), Some(false));
        assert_eq!(compare(&rook, &rook.relabelled(&permutation(16, 1))), Some(true));
        assert_eq!(compare(&shrikhande, &shrikhande.relabelled(&permutation(16, 2))), Some(true));
    }

    #[test]
    fn work_is_bounded_where_backtracking_explodes() {
        let [all_alike, all_but_one_alike] = hardly_alike();
        assert_eq!(compare(&all_alike, &all_but_one_alike), None);
    }

    #[test]
    fn tests_together_take_what_they_may_and_no_more() {
        let (rook, shrikhande) = (graph(16, &rook()), graph(16, &shrikhande()));
        let mut effort = Effort::default();
        assert_eq!(are_isomorphic(&rook, &shrikhande, &mut effort), Some(false));
        let all = Budget::for_many().0;
        let one_test = all - effort.0.0;
        assert!((1..all / 100).contains(&one_test), "{one_test}");
        effort.0.0 = one_test - 1;
        assert_eq!(are_isomorphic(&rook, &shrikhande, &mut effort), None);
        (0..100).for_each(|_| effort.add(&rook));
        assert_eq!(are_isomorphic(&rook, &shrikhande, &mut effort), Some(false), "more graphs bring work of their own");
        let none = || Effort(Budget(0));
        assert_eq!(are_isomorphic(&rook, &cycle(16), &mut none()), Some(false));
        assert_eq!(are_isomorphic(&rook, &rook.clone(), &mut none()), Some(true));
    }

    #[test]
    fn large_symmetric_graphs_are_recognised_within_the_budget() {
        let hypercube: Vec<(u64, u64)> = (0..512_u64)
            .flat_map(|node| (0..9).map(move |bit| (node, node ^ (1 << bit))))
            .filter(|(a, b)| a < b)
            .collect();
        for graph in [graph(512, &hypercube), cycle(1_000), complete(300), star(5_000), graph(5_000, &[])] {
            let twin = graph.relabelled(&permutation(graph.node_count(), 3));
            assert_eq!(compare(&graph, &twin), Some(true), "{} nodes", graph.node_count());
        }
    }
}

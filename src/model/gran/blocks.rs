//! The blocks of a sequence, each as the graph that the GNN sees, packed into batches.

use std::ops::Range;

use super::Shape;
use crate::model::Mode;
use crate::model::sequence::Sequence;
use crate::nn::edges::EdgeList;

/// How many blocks a graph of `nodes` nodes is told in. In mode `faithful` only whole ones count.
#[must_use]
pub fn block_count(shape: &Shape, nodes: usize) -> usize {
    let stride = shape.stride.clamp(1, shape.block_size);
    match shape.mode {
        Mode::Proper => nodes.div_ceil(stride),
        Mode::Faithful if nodes < shape.block_size => 0,
        Mode::Faithful => (nodes - shape.block_size) / stride + 1,
    }
}

/// A sequence with what its blocks are made of.
///
/// In mode `faithful` a block sees the whole graph before it. In mode `proper` it may link to the last W positions that its
/// frontier leaves open; a slot that the rows before it in the block close is certain to be empty and costs nothing, so
/// that the probabilities of all breadth-first sequences add up to one; links that span more than W are no messages' ways;
/// and of the graph before it only what messages can come from in all rounds is gathered, which changes no number.
pub(super) struct Blocks<'a> {
    pub(super) sequence: &'a Sequence,
    shape: Shape,
    ways: &'a Ways,
}

/// Neighbours of each position along which messages pass, ascending, as compressed rows.
#[derive(Debug, Default)]
pub(super) struct Ways {
    offsets: Vec<u32>,
    neighbours: Vec<u32>,
    /// Where the next neighbour of each position goes, while they are found.
    next: Vec<u32>,
}

impl<'a> Blocks<'a> {
    /// The blocks of a sequence; what `ways` held before is lost.
    pub(super) fn new(sequence: &'a Sequence, shape: Shape, ways: &'a mut Ways) -> Self {
        let n = sequence.node_count();
        let span = match shape.mode {
            Mode::Faithful => n,
            Mode::Proper => shape.max_prev_node,
        };
        let links = |t: usize| sequence.row(t).iter().copied().filter(move |&p| t - p as usize <= span);
        let Ways { offsets, neighbours, next } = ways;
        offsets.clear();
        offsets.resize(n + 1, 0);
        for t in 0..n {
            for p in links(t) {
                offsets[t + 1] += 1;
                offsets[p as usize + 1] += 1;
            }
        }
        (0..n).for_each(|t| offsets[t + 1] += offsets[t]);
        next.clone_from(offsets);
        neighbours.clear();
        neighbours.resize(offsets[n] as usize, 0);
        let mut put = |of: usize, other: u32| {
            neighbours[next[of] as usize] = other;
            next[of] += 1;
        };
        // In the order of the later ends: a position meets its earlier neighbours first, then the later ones, ascending.
        for t in 0..n {
            for p in links(t) {
                put(t, p);
                put(p as usize, t as u32);
            }
        }
        Self { sequence, shape, ways }
    }

    fn stride(&self) -> usize {
        self.shape.stride.clamp(1, self.shape.block_size)
    }

    /// The positions that block `index` adds, and those of them that count in mode `proper`.
    fn added(&self, index: usize) -> (Range<usize>, Range<usize>) {
        let (n, first) = (self.sequence.node_count(), index * self.stride());
        (first..(first + self.shape.block_size).min(n), first..(first + self.stride()).min(n))
    }

    /// The first position that a block beginning at `first` may link to.
    fn window(&self, first: usize) -> usize {
        match self.shape.mode {
            Mode::Faithful => 0,
            Mode::Proper => self.sequence.frontier(first).max(first.saturating_sub(self.shape.max_prev_node)),
        }
    }

    /// Whether a position may link to an earlier one in a breadth-first ordering: the rows before it, those of its own block
    /// included, settle that.
    fn open(&self, position: usize, earlier: usize) -> bool {
        (self.sequence.frontier(position)..position).contains(&earlier)
    }

    /// Slots and edges of a position that its block doesn't reach; none in mode `faithful`.
    pub(super) fn far(&self, position: usize) -> (u64, u64) {
        if self.shape.mode == Mode::Faithful {
            return (0, 0);
        }
        let reached = self.window(position - position % self.stride());
        let edges = self.sequence.row(position).iter().take_while(|&&p| (p as usize) < reached).count();
        (reached.saturating_sub(self.sequence.frontier(position)) as u64, edges as u64)
    }

    fn neighbours(&self, position: u32) -> &[u32] {
        let Ways { offsets, neighbours, .. } = self.ways;
        &neighbours[offsets[position as usize] as usize..offsets[position as usize + 1] as usize]
    }

    fn linked(&self, a: usize, b: usize) -> bool {
        self.sequence.row(a.max(b)).binary_search(&(a.min(b) as u32)).is_ok()
    }

    /// The existing positions that matter to a block beginning at `first`, ascending: to `field`.
    fn field(&self, first: usize, window: usize, marks: &mut Marks, field: &mut Vec<u32>) {
        field.clear();
        if self.shape.mode == Mode::Faithful {
            field.extend(0..first as u32);
            return;
        }
        field.extend(window as u32..first as u32);
        marks.clear(self.sequence.node_count());
        field.iter().for_each(|&p| marks.set(p, 0));
        let mut from = 0;
        for _ in 0..self.shape.layers * self.shape.propagations {
            let to = field.len();
            for index in from..to {
                for &p in self.neighbours(field[index]).iter().take_while(|&&p| (p as usize) < first) {
                    if marks.get(p).is_none() {
                        marks.set(p, 0);
                        field.push(p);
                    }
                }
            }
            from = to;
        }
        field.sort_unstable();
    }
}

/// A number for some positions, forgotten all at once.
#[derive(Debug, Default)]
struct Marks {
    values: Vec<(u32, u32)>,
    round: u32,
}

impl Marks {
    fn clear(&mut self, positions: usize) {
        self.round += 1;
        if self.values.len() < positions {
            self.values.resize(positions, (0, 0));
        }
    }

    fn set(&mut self, position: u32, value: u32) {
        self.values[position as usize] = (self.round, value);
    }

    fn get(&self, position: u32) -> Option<u32> {
        let (round, value) = self.values[position as usize];
        (round == self.round).then_some(value)
    }
}

/// Room to make a block in.
#[derive(Debug, Default)]
pub(super) struct BlockRoom {
    marks: Marks,
    field: Vec<u32>,
}

/// Blocks of one or several sequences, side by side.
#[derive(Debug, Default)]
pub struct Batch {
    /// 0 for a node that exists, 1..=K for the nodes that a block adds.
    pub(super) codes: Vec<u32>,
    /// The inputs that are one, of each node, as compressed rows.
    pub(super) feature_offsets: Vec<u32>,
    pub(super) features: Vec<u32>,
    pub(super) edges: EdgeList,
    /// Pairs of a node added (the source) and one that it may link to: column by column, and all rows of each.
    pub(super) entries: EdgeList,
    pub(super) labels: Vec<bool>,
    pub(super) counted: Vec<bool>,
    /// The positions of each entry's two ends.
    pub(super) positions: Vec<(u32, u32)>,
    pub(super) blocks: Vec<Block>,
}

/// A block in a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    /// Which of the sequences pushed it is of.
    pub(super) sequence: usize,
    pub(super) entries: Range<usize>,
    /// Rows that count.
    pub(super) rows: usize,
}

impl Batch {
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.codes.len()
    }

    /// Directed edges, tentative ones included.
    #[must_use]
    pub fn edge_count(&self) -> usize {
        self.edges.len()
    }

    /// Pairs of a node added and one that it may link to.
    #[must_use]
    pub fn entry_count(&self) -> usize {
        self.labels.len()
    }

    pub(super) fn clear(&mut self) {
        self.codes.clear();
        self.feature_offsets.clear();
        self.features.clear();
        self.edges.sources.clear();
        self.edges.destinations.clear();
        self.entries.sources.clear();
        self.entries.destinations.clear();
        self.labels.clear();
        self.counted.clear();
        self.positions.clear();
        self.blocks.clear();
    }

    /// Adds block `index` of a sequence.
    pub(super) fn push(&mut self, blocks: &Blocks<'_>, index: usize, sequence: usize, room: &mut BlockRoom) {
        let BlockRoom { marks, field } = room;
        let (added, counting) = blocks.added(index);
        let window = blocks.window(added.start);
        blocks.field(added.start, window, marks, field);
        let base = self.codes.len() as u32;
        let new = base + field.len() as u32;
        marks.clear(blocks.sequence.node_count());
        for (place, &position) in (base..).zip(field.iter()) {
            marks.set(position, place);
        }
        if self.feature_offsets.is_empty() {
            self.feature_offsets.push(0);
        }
        for &position in field.iter() {
            self.codes.push(0);
            self.push_features(blocks, position as usize);
        }
        for code in 1..=added.len() as u32 {
            self.codes.push(code);
            self.feature_offsets.push(self.features.len() as u32);
        }
        // The window is the end of the field.
        let in_window = (added.start - window) as u32;
        let fresh = new..new + added.len() as u32;
        let edges = &mut self.edges;
        let mut edge = |source: u32, destination: u32| {
            edges.sources.push(source);
            edges.destinations.push(destination);
        };
        for (place, &position) in (base..).zip(field.iter()) {
            let earlier = blocks.neighbours(position).iter().take_while(|&&p| (p as usize) < added.start);
            earlier.filter_map(|&p| marks.get(p)).for_each(|source| edge(source, place));
            if place >= new - in_window {
                fresh.clone().for_each(|source| edge(source, place));
            }
        }
        for place in fresh.clone() {
            (new - in_window..fresh.end).filter(|&source| source != place).for_each(|source| edge(source, place));
        }
        let first_entry = self.labels.len();
        for (column, place) in (window..added.end).zip(new - in_window..) {
            for (row, of_row) in added.clone().zip(fresh.clone()) {
                self.entries.sources.push(of_row);
                self.entries.destinations.push(place);
                self.labels.push(row != column && blocks.linked(row, column));
                self.positions.push((row as u32, column as u32));
                self.counted.push(match blocks.shape.mode {
                    Mode::Faithful => true,
                    Mode::Proper => counting.contains(&row) && blocks.open(row, column),
                });
            }
        }
        let rows = match blocks.shape.mode {
            Mode::Faithful => added.len(),
            Mode::Proper => counting.len(),
        };
        self.blocks.push(Block { sequence, entries: first_entry..self.labels.len(), rows });
    }

    /// A node's links to the nodes before it: by position in mode `faithful`, the nearest first in mode `proper`.
    fn push_features(&mut self, blocks: &Blocks<'_>, position: usize) {
        let row = blocks.sequence.row(position).iter().copied();
        match blocks.shape.mode {
            Mode::Faithful => {
                self.features.extend(row.filter(|&p| (p as usize) < blocks.shape.max_num_nodes));
            }
            Mode::Proper => {
                let spans = row.map(|p| (position - p as usize - 1) as u32);
                self.features.extend(spans.filter(|&span| (span as usize) < blocks.shape.max_prev_node));
            }
        }
        self.feature_offsets.push(self.features.len() as u32);
    }
}

/// Gathers blocks of several graphs into a batch to train on.
#[derive(Debug)]
pub struct BatchBuilder {
    shape: Shape,
    sequences: usize,
    batch: Batch,
    ways: Ways,
    room: BlockRoom,
}

impl BatchBuilder {
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        Self { shape, sequences: 0, batch: Batch::default(), ways: Ways::default(), room: BlockRoom::default() }
    }

    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Adds those blocks of a sequence; each is less than its [`block_count`].
    pub fn push(&mut self, sequence: &Sequence, blocks: impl Iterator<Item = usize>) {
        let told = Blocks::new(sequence, self.shape, &mut self.ways);
        for index in blocks {
            self.batch.push(&told, index, self.sequences, &mut self.room);
        }
        self.sequences += 1;
    }

    /// The batch of what was pushed.
    pub fn finish(&mut self) -> Batch {
        self.sequences = 0;
        std::mem::take(&mut self.batch)
    }
}

/// The width of a node's input.
pub(super) fn input_dim(shape: &Shape) -> usize {
    match shape.mode {
        Mode::Faithful => shape.max_num_nodes,
        Mode::Proper => shape.max_prev_node,
    }
}

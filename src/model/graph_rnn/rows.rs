//! A sequence as GraphRNN reads and predicts it.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor};

use super::Shape;
use crate::model::Mode;
use crate::model::likelihood::FarEdges;
use crate::model::sequence::Sequence;

/// The rows of a graph of N nodes: row t, for t in 1..=N, is of position t, and the last ends the sequence.
///
/// Slot k of row t is the link of position t to position t - 1 - k: the nearest first (the authors' `encode_adj`).
///
/// In mode `faithful` a row has min(t, M) slots, nodes that the search from the first doesn't reach leave empty rows behind,
/// and so does the end. In mode `proper` a row has the slots that a breadth-first ordering leaves open, those beyond M are
/// out of reach and counted apart, an empty row starts a component, and the end is said by a stop bit instead of a row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    /// Slots in reach of each row.
    widths: Vec<u32>,
    /// `offsets[i]..offsets[i + 1]` is the range of row i + 1 in `ones`.
    offsets: Vec<u32>,
    /// The slots that hold an edge, ascending within a row.
    ones: Vec<u32>,
    /// Slots and edges out of reach of each row.
    far: Vec<(u32, u32)>,
    /// Nodes that no row is about.
    lost_nodes: usize,
}

impl Rows {
    #[must_use]
    pub fn new(sequence: &Sequence, shape: &Shape) -> Self {
        let mut rows = Self::default();
        rows.read(sequence, shape);
        rows
    }

    /// Becomes the rows of a sequence.
    pub(super) fn read(&mut self, sequence: &Sequence, shape: &Shape) {
        let (n, m) = (sequence.node_count(), shape.max_prev_node);
        let told = match shape.mode {
            Mode::Proper => n,
            Mode::Faithful => sequence.first_component(),
        };
        let Self { widths, offsets, ones, far, lost_nodes } = self;
        *lost_nodes = n - told;
        widths.clear();
        widths.reserve(n);
        far.clear();
        far.reserve(n);
        ones.clear();
        offsets.clear();
        offsets.reserve(n + 1);
        offsets.push(0);
        for t in 1..=n {
            let open = match shape.mode {
                Mode::Proper => t - sequence.frontier(t),
                Mode::Faithful => t,
            };
            let width = open.min(m);
            let links = if t < told { sequence.row(t) } else { &[] };
            let slots = links.iter().rev().map(|&p| t as u32 - 1 - p);
            let before = ones.len();
            ones.extend(slots.take_while(|&k| (k as usize) < width));
            let far_edges = links.len() - (ones.len() - before);
            widths.push(width as u32);
            far.push(((open - width) as u32, far_edges as u32));
            offsets.push(ones.len() as u32);
        }
    }

    /// Bytes that they hold room for.
    pub(super) fn bytes(&self) -> usize {
        let Self { widths, offsets, ones, far, lost_nodes: _ } = self;
        [widths, offsets, ones].iter().map(|list| list.capacity() * size_of::<u32>()).sum::<usize>()
            + far.capacity() * size_of::<(u32, u32)>()
    }

    /// N: rows, the last one's end of the sequence included.
    #[must_use]
    pub fn count(&self) -> usize {
        self.widths.len()
    }

    /// Slots in reach of row `index + 1`.
    #[must_use]
    pub fn width(&self, index: usize) -> usize {
        self.widths[index] as usize
    }

    /// The slots of row `index + 1` that hold an edge, ascending.
    #[must_use]
    pub fn ones(&self, index: usize) -> &[u32] {
        &self.ones[self.offsets[index] as usize..self.offsets[index + 1] as usize]
    }

    /// Slots and edges out of reach of row `index + 1`.
    #[must_use]
    pub fn far(&self, index: usize) -> (u64, u64) {
        let (slots, edges) = self.far[index];
        (slots.into(), edges.into())
    }

    #[must_use]
    pub fn lost_nodes(&self) -> usize {
        self.lost_nodes
    }

    /// Whether the last row predicts slots: the original's empty row, where `proper` has a stop bit.
    #[must_use]
    pub fn predicted(&self, mode: Mode) -> usize {
        match mode {
            Mode::Proper => self.count() - 1,
            Mode::Faithful => self.count(),
        }
    }
}

/// The width of the graph-level RNN's input: a row, and in mode `proper` the slots open to the row that is to come.
#[must_use]
pub(super) fn input_dim(shape: &Shape) -> usize {
    match shape.mode {
        Mode::Proper => shape.max_prev_node + 1,
        Mode::Faithful => shape.max_prev_node,
    }
}

/// The last input of mode `proper`: the slots open to the coming row, as a share of M.
#[must_use]
pub(super) fn openness(rows: &Rows, index: usize, shape: &Shape) -> f32 {
    rows.width(index) as f32 / shape.max_prev_node as f32
}

/// What a model has besides its trained parameters, learnt from orderings of the training graphs.
///
/// # Errors
/// When candle fails.
pub fn buffers<'a>(sequences: impl Iterator<Item = &'a Sequence>, shape: &Shape) -> Result<BTreeMap<String, Tensor>> {
    let (mut edges, mut slots, mut count) = (0, 0, 0);
    for sequence in sequences {
        let rows = Rows::new(sequence, shape);
        for index in 0..rows.predicted(Mode::Proper) {
            let (far_slots, far_edges) = rows.far(index);
            slots += far_slots;
            edges += far_edges;
            count += 1;
        }
    }
    let far = FarEdges::fit(edges, slots, count);
    Ok(BTreeMap::from([(FarEdges::BUFFER.to_owned(), far.to_buffer()?)]))
}

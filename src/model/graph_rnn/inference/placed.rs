//! The differentiable network on a device, to score with.

use std::cmp::Reverse;
use std::sync::Arc;

use candle_core::{Device, Result, Tensor};

use super::super::Variant;
use super::super::batch::{DependentSlots, inputs, pack};
use super::super::network::GraphRnnNetwork;
use super::super::rows::{Rows, input_dim};
use super::slots::SlotRow;
use super::tally::Tally;
use super::{GraphRnnModel, order_by_length};
use crate::model::likelihood::{OrderingLikelihood, Terms};
use crate::model::sequence::Sequence;
use crate::nn::gru::Steps;
use crate::nn::loss::binary_cross_entropy;
use crate::nn::parameters::stored;

/// Numbers of a row's width, slots or inputs, computed at once, about: enough to fill a GPU, few enough for its memory.
const SLOTS_AT_ONCE: usize = 1 << 18;

/// A trained GraphRNN on a device.
#[derive(Debug, Clone)]
pub struct PlacedGraphRnn {
    /// For what isn't computed by the network.
    model: GraphRnnModel,
    network: GraphRnnNetwork,
    device: Device,
}

/// What sequences cost, in nats.
struct Costs {
    /// Of each sequence and row, whether it ends there; none in mode `faithful`.
    stops: Vec<Vec<f32>>,
    /// Of each sequence the slots of all rows, row by row.
    slots: Vec<Vec<f64>>,
}

impl PlacedGraphRnn {
    /// # Errors
    /// When the device fails.
    pub fn new(model: &GraphRnnModel, device: &Device) -> Result<Self> {
        let network = GraphRnnNetwork::new(&model.shape, &stored(&model.weights, device))?;
        Ok(Self { model: model.clone(), network, device: device.clone() })
    }

    /// [`GraphRnnModel::likelihoods`], but for rounding.
    ///
    /// # Errors
    /// When the device fails.
    pub fn likelihoods<T: Terms>(&self, sequences: &[Sequence], terms: &mut T) -> Result<Vec<OrderingLikelihood>> {
        let shape = &self.model.shape;
        let rows: Vec<Rows> = sequences.iter().map(|sequence| Rows::new(sequence, shape)).collect();
        let (mut longest_first, mut room) = (Vec::new(), Vec::new());
        order_by_length(&rows, &mut longest_first);
        let mut tally = Tally::new(shape.mode, sequences, &rows, terms, &mut room);
        tally.charge_far(&self.model.far);
        let mut rest = longest_first.as_slice();
        while !rest.is_empty() {
            let (members, others) = rest.split_at(self.fitting(rest, &rows));
            let of_members: Vec<&Rows> = members.iter().map(|&index| &rows[index]).collect();
            let costs = self.costs(&of_members)?;
            self.charge(&mut tally, members, &of_members, &costs);
            rest = others;
        }
        Ok(tally.likelihoods())
    }

    /// How many sequences, the longest first, are computed together.
    fn fitting(&self, members: &[usize], rows: &[Rows]) -> usize {
        let width = input_dim(&self.model.shape);
        let mut room = SLOTS_AT_ONCE;
        let fits = members.iter().take_while(|&&index| {
            let fits = room > 0;
            room = room.saturating_sub(rows[index].count() * width);
            fits
        });
        fits.count()
    }

    /// What sequences cost, the longest first.
    fn costs(&self, graphs: &[&Rows]) -> Result<Costs> {
        let (shape, mode) = (&self.model.shape, self.model.shape.mode);
        let lengths: Vec<usize> = graphs.iter().map(|rows| rows.count()).collect();
        let steps = Arc::new(Steps::of_lengths(&lengths));
        let packed = pack(graphs, &steps);
        let inputs = Tensor::from_vec(inputs(shape, &packed), (packed.len(), input_dim(shape)), &self.device)?;
        let state = self.network.states(&inputs, graphs.len(), &steps)?; // [S, H]
        // The graph of each row: a step's rows are those of the first graphs.
        let owners: Vec<usize> = steps.sizes().iter().flat_map(|&alive| 0..alive).collect();
        let first_slot = |rows: &Rows| {
            let ends = (0..rows.count()).scan(0, |end, index| {
                *end += rows.width(index);
                Some(*end)
            });
            std::iter::once(0).chain(ends).collect::<Vec<usize>>()
        };
        let first_slots: Vec<Vec<usize>> = graphs.iter().map(|rows| first_slot(rows)).collect();
        let mut costs = Costs {
            stops: vec![Vec::new(); graphs.len()],
            slots: first_slots.iter().map(|first| vec![0.0; first.last().copied().unwrap_or(0)]).collect(),
        };
        if let Some(stops) = self.network.stops(&state)? {
            for ((&owner, &(rows, index)), logit) in owners.iter().zip(&packed).zip(stops.to_vec1::<f32>()?) {
                let cost = binary_cross_entropy(logit.into(), index + 1 == rows.count());
                costs.stops[owner].push(cost as f32);
            }
        }
        let mut chosen: Vec<(usize, &Rows, usize)> = packed
            .iter()
            .enumerate()
            .map(|(place, &(rows, index))| (place, rows, index))
            .filter(|(_, rows, index)| *index < rows.predicted(mode) && rows.width(*index) > 0)
            .collect();
        let mut charge = |&(place, rows, index): &(usize, &Rows, usize), slot: usize, logit: f32| {
            let present = rows.ones(index).binary_search(&(slot as u32)).is_ok();
            let owner = owners[place];
            costs.slots[owner][first_slots[owner][index] + slot] = binary_cross_entropy(logit.into(), present);
        };
        match shape.variant {
            Variant::Mlp => {
                let logits = self.network.slots(&state, None)?.to_vec2::<f32>()?;
                for row in &chosen {
                    let width = row.1.width(row.2);
                    logits[row.0][..width].iter().enumerate().for_each(|(slot, &logit)| charge(row, slot, logit));
                }
            }
            Variant::Rnn => {
                chosen.sort_by_key(|(_, rows, index)| Reverse(rows.width(*index)));
                let mut rest = chosen.as_slice();
                while let Some((_, rows, index)) = rest.first() {
                    let most = (SLOTS_AT_ONCE / rows.width(*index)).clamp(1, rest.len());
                    let (some, others) = rest.split_at(most);
                    let slots = DependentSlots::of(some);
                    let logits = self.network.slots(&state, Some(&slots))?.to_vec1::<f32>()?;
                    // Slot by slot, and of each slot the rows that are wide enough.
                    let places = slots.steps.sizes().iter().enumerate();
                    let places = places.flat_map(|(slot, &alive)| some[..alive].iter().map(move |row| (row, slot)));
                    places.zip(logits).for_each(|((row, slot), logit)| charge(row, slot, logit));
                    rest = others;
                }
            }
        }
        Ok(costs)
    }

    /// Charges sequences, the longest first.
    fn charge<'a, T: Terms>(&self, tally: &mut Tally<'a, T>, members: &'a [usize], group: &[&Rows], costs: &Costs) {
        let (longest, count) = (group.first().map_or(0, |rows| rows.count()), members.len());
        let mut stops = Vec::new();
        if costs.stops.iter().any(|of_sequence| !of_sequence.is_empty()) {
            stops.resize(longest * count, 0.0);
            for (member, of_sequence) in costs.stops.iter().enumerate() {
                stops[member..].iter_mut().step_by(count).zip(of_sequence).for_each(|(to, &cost)| *to = cost);
            }
        }
        tally.begin(members, 0..longest, &stops);
        for (member, (rows, of_sequence)) in group.iter().zip(&costs.slots).enumerate() {
            let mut slots = of_sequence.as_slice();
            for index in 0..rows.predicted(self.model.shape.mode) {
                let width = rows.width(index);
                let (of_row, others) = slots.split_at(width);
                if width > 0 {
                    let row = SlotRow { place: index * count + member, width, sequence: members[member], index };
                    tally.charge_row(&row, of_row.iter().copied());
                }
                slots = others;
            }
        }
        tally.end();
    }
}

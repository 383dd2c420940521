//! A trained model's network on a device, to score with there.
//!
//! The packed models are for the CPU alone. Here the differentiable networks compute the same, without autograd, in few and
//! large steps; what isn't a matter of tensors (orderings, paths, sums in double precision) stays on the CPU. The numbers
//! differ from the packed ones by rounding.

use super::autoregressive::{Network, Surprises, in_orderings, observation};
use super::device::{ComputeDevice, DeviceError};
use super::gran::PlacedGran;
use super::graph_rnn::PlacedGraphRnn;
use super::likelihood::{Likelihood, NoTerms, Terms};
use super::masked::PlacedMasked;
use super::sequence::Sequence;
use super::{Grounds, Hyperparameters, Kind, Model, Observation};
use crate::graph::Graph;

/// A trained model on a device.
#[derive(Debug, Clone)]
pub struct PlacedModel {
    device: ComputeDevice,
    network: PlacedNetwork,
}

#[derive(Debug, Clone)]
enum PlacedNetwork {
    Masked(PlacedMasked),
    GraphRnn(PlacedGraphRnn),
    Gran(PlacedGran),
}

impl PlacedModel {
    /// `model`, which is of this kind and these hyper-parameters.
    ///
    /// # Errors
    /// When the device fails.
    pub fn new(
        model: &Model,
        kind: Kind,
        hyperparameters: &Hyperparameters,
        device: &ComputeDevice,
    ) -> Result<Self, DeviceError> {
        let on = device.tensors();
        let network = match (model, hyperparameters) {
            (Model::Masked(model), Hyperparameters::Masked(config)) => {
                PlacedMasked::new(kind, config, model.vocabulary(), model.weights(), on).map(PlacedNetwork::Masked)
            }
            (Model::Masked(_), _) => Err(candle_core::Error::Msg(format!("these are no hyper-parameters of {kind}"))),
            (Model::Autoregressive(model), _) => match model.network() {
                Network::GraphRnn(model) => PlacedGraphRnn::new(model, on).map(PlacedNetwork::GraphRnn),
                Network::Gran(model) => PlacedGran::new(model, on).map(PlacedNetwork::Gran),
            },
        };
        Ok(Self { network: network.map_err(|error| device.failed(error))?, device: device.clone() })
    }

    /// [`Model::observe_batch`], but for rounding.
    ///
    /// # Errors
    /// When the device fails.
    pub fn observe_batch(&self, graphs: &[&Graph], draws: usize, seed: u64) -> Result<Vec<Observation>, DeviceError> {
        let observed = match &self.network {
            PlacedNetwork::Masked(model) => model.observe_batch(graphs, draws, seed),
            _ => {
                let likelihoods = self.likelihoods(graphs, draws, seed, &mut NoTerms);
                likelihoods.map(|likelihoods| likelihoods.into_iter().map(observation).collect())
            }
        };
        observed.map_err(|error| self.device.failed(error))
    }

    /// [`Model::observe_and_explain`], but for rounding.
    ///
    /// # Errors
    /// When the device fails.
    pub fn observe_and_explain(
        &self,
        graph: &Graph,
        edges: &[(u32, u32)],
        draws: usize,
        seed: u64,
    ) -> Result<(Vec<Observation>, Grounds), DeviceError> {
        let told = match &self.network {
            PlacedNetwork::Masked(model) => model
                .observe_batch(&[graph], draws, seed)
                .and_then(|observed| Ok((observed, Grounds::Completions(model.edge_completions(graph, edges)?)))),
            _ => {
                let mut surprises = Surprises::new(graph, draws);
                let likelihoods = self.likelihoods(&[graph], draws, seed, &mut surprises);
                likelihoods.map(|found| (found.into_iter().map(observation).collect(), Grounds::Surprises(surprises)))
            }
        };
        told.map_err(|error| self.device.failed(error))
    }

    /// Each graph's likelihood; none of a kind that has none. `terms` is for one graph.
    fn likelihoods<T: Terms>(
        &self,
        graphs: &[&Graph],
        orderings: usize,
        seed: u64,
        terms: &mut T,
    ) -> candle_core::Result<Vec<Likelihood>> {
        let compute = |sequences: &[Sequence]| match &self.network {
            PlacedNetwork::Masked(_) => Ok(Vec::new()),
            PlacedNetwork::GraphRnn(model) => model.likelihoods(sequences, terms),
            PlacedNetwork::Gran(model) => model.likelihoods(sequences, terms),
        };
        let found = in_orderings(graphs, orderings, seed, compute)?;
        let nodes = graphs.iter().map(|graph| graph.node_count());
        Ok(nodes.zip(found).map(|(nodes, orderings)| Likelihood { nodes, orderings }).collect())
    }
}

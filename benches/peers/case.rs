//! What both sides compute, and the file that tells the peer.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use candle_nn::{VarBuilder, VarMap};
use graphkin::graph::Graph;
use graphkin::nn::parameters::{Parameters, Scheme};
use serde_json::Value;

use crate::family::SEED;

/// Something that both sides compute.
pub(crate) struct Case {
    /// Graphs that a run goes through.
    pub(crate) graphs: usize,
    /// Of the matrix products of a run, where they were counted.
    pub(crate) multiply_adds: Option<u64>,
    /// Our side: computes it once, and gives the values to compare.
    pub(crate) run: Box<dyn FnMut() -> Result<Vec<f64>> + Send>,
    pub(crate) file: CaseFile,
}

/// The peer's side: a safetensors file with weights by name, arrays, and in its metadata what shapes the network.
#[derive(Debug)]
pub(crate) struct CaseFile {
    about: Value,
    tensors: BTreeMap<String, Tensor>,
}

impl CaseFile {
    /// `about` is an object with the `task`, and with the `kind` and `shape` of its network.
    pub(crate) fn new(about: Value) -> Self {
        Self { about, tensors: BTreeMap::new() }
    }

    pub(crate) fn weights(&mut self, weights: &BTreeMap<String, Tensor>) {
        self.tensors.extend(weights.iter().map(|(name, tensor)| (format!("weights/{name}"), tensor.clone())));
    }

    pub(crate) fn integers(&mut self, name: &str, values: impl IntoIterator<Item = i64>) -> Result<()> {
        let values: Vec<i64> = values.into_iter().collect();
        self.put(name, Tensor::from_slice(&values, values.len(), &Device::Cpu)?);
        Ok(())
    }

    pub(crate) fn floats(&mut self, name: &str, values: &[f32]) -> Result<()> {
        self.put(name, Tensor::from_slice(values, values.len(), &Device::Cpu)?);
        Ok(())
    }

    /// The graphs, each edge once.
    pub(crate) fn graphs<'a>(&mut self, graphs: impl Iterator<Item = &'a Graph> + Clone) -> Result<()> {
        self.integers("node_counts", graphs.clone().map(|graph| graph.node_count() as i64))?;
        self.integers("edge_counts", graphs.clone().map(|graph| graph.edge_count() as i64))?;
        self.integers("edges", graphs.flat_map(Graph::edges).flat_map(|(a, b)| [a.into(), b.into()]))
    }

    fn put(&mut self, name: &str, tensor: Tensor) {
        self.tensors.insert(name.to_owned(), tensor);
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let metadata = HashMap::from([("case".to_owned(), self.about.to_string())]);
        Ok(fs::write(path, safetensors::serialize(&self.tensors, Some(metadata))?)?)
    }
}

/// A network in single precision with its initial parameters, as training starts it.
pub(crate) fn network<N>(
    scheme: Scheme,
    build: impl FnOnce(&VarBuilder) -> candle_core::Result<N>,
) -> Result<(N, Parameters)> {
    let map = VarMap::new();
    let network = build(&VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu))?;
    Ok((network, Parameters::initialise(&map, scheme, SEED)?))
}

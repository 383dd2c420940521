//! Cases that train: a step on one batch after another, always the same batch.

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Tensor};
use graphkin::model::gran::{self, GranNetwork};
use graphkin::model::graph_rnn::{self, GraphRnnNetwork, Rows, Variant};
use graphkin::model::masked::Masking;
use graphkin::model::masked::batch::BatchBuilder;
use graphkin::model::masked::network::MaskedNetwork;
use graphkin::model::masked::sample::draw;
use graphkin::model::{Hyperparameters, Kind, Schedule};
use graphkin::nn::adam::{Adam, AdamConfig};
use graphkin::nn::parameters::{Parameters, Scheme};
use graphkin::nn::seed::stream;
use rand::seq::index;
use serde_json::{Value, json};

use crate::case::{Case, CaseFile, network};
use crate::family::{Family, SEED};
use crate::{ordered, shape};

pub(crate) fn graph_rnn(family: &Family, variant: Variant) -> Result<Case> {
    let hyperparameters = family.hyperparameters(Kind::GraphRnn, &json!({"variant": variant}))?;
    let schedule = hyperparameters.schedule()?;
    let Hyperparameters::GraphRnn(config) = hyperparameters else { bail!("another kind") };
    let shape = config.shape()?;
    let (network, parameters) = network(Scheme::GraphRnn, |vb| GraphRnnNetwork::new(&shape, vb))?;

    // The largest first, as the batch has them, so that both sides number its rows alike.
    let mut ordered = ordered::draw(family.pick(schedule.batch_size), 1);
    ordered.sort_by_key(|(graph, _)| std::cmp::Reverse(graph.node_count()));
    let mut builder = graph_rnn::batch::BatchBuilder::new(shape, config.slots_per_step);
    for sequence in ordered.iter().flat_map(ordered::sequences) {
        builder.push(Rows::new(&sequence, &shape));
    }
    let batch = builder.finish(&mut stream(SEED, "samples", 0));

    let mut file = ordered::file(about(Kind::GraphRnn, &shape::graph_rnn(&shape), &schedule), 1, &ordered)?;
    file.weights(&parameters.snapshot()?);
    file.weights(&graph_rnn::buffers(family.sequences().iter(), &shape)?);
    if let Some(rows) = batch.told_rows() {
        file.integers("told_rows", rows.iter().copied().map(i64::from))?;
    }
    let loss = move || network.loss(&batch, DType::F32, &Device::Cpu);
    Ok(Case { graphs: ordered.len(), multiply_adds: None, file, run: steps(&schedule, parameters, loss) })
}

pub(crate) fn gran(family: &Family) -> Result<Case> {
    let hyperparameters = family.hyperparameters(Kind::Gran, &json!({}))?;
    let schedule = hyperparameters.schedule()?;
    let Hyperparameters::Gran(config) = hyperparameters else { bail!("another kind") };
    let shape = config.shape()?;
    let (network, parameters) = network(Scheme::PyTorch, |vb| GranNetwork::new(&shape, vb))?;

    let ordered = ordered::draw(family.pick(schedule.batch_size), 1);
    let mut builder = gran::BatchBuilder::new(shape);
    let mut rng = stream(SEED, "samples", 0);
    let mut told: Vec<[i64; 2]> = Vec::new();
    for (graph, sequence) in (0..).zip(ordered.iter().flat_map(ordered::sequences)) {
        let count = gran::block_count(&shape, sequence.node_count());
        let mut blocks = index::sample(&mut rng, count, count.min(config.blocks_per_graph)).into_vec();
        blocks.sort_unstable();
        told.extend(blocks.iter().map(|&block| [graph, block as i64]));
        builder.push(&sequence, blocks.into_iter());
    }
    let batch = builder.finish();

    let mut file = ordered::file(about(Kind::Gran, &shape::gran(&shape), &schedule), 1, &ordered)?;
    file.weights(&parameters.snapshot()?);
    file.weights(&gran::buffers(&shape, &family.sequences(), &family.sizes())?);
    file.integers("blocks", told.into_iter().flatten())?;
    let loss = move || network.loss(&batch, DType::F32, &Device::Cpu);
    Ok(Case { graphs: ordered.len(), multiply_adds: None, file, run: steps(&schedule, parameters, loss) })
}

pub(crate) fn masked(family: &Family, kind: Kind) -> Result<Case> {
    let hyperparameters = family.hyperparameters(kind, &json!({}))?;
    let schedule = hyperparameters.schedule()?;
    let Hyperparameters::Masked(config) = hyperparameters else { bail!("another kind") };
    let masking = Masking::of(kind).with_context(|| format!("{kind} masks nothing"))?;
    let vocabulary = family.vocabulary();
    let (network, parameters) = network(Scheme::Glorot, |vb| MaskedNetwork::new(&config, &vocabulary, vb))?;

    let graphs = family.pick(schedule.batch_size);
    let mut builder = BatchBuilder::new(masking, config.layers, vocabulary);
    let mut rng = stream(SEED, "samples", 0);
    for graph in &graphs {
        builder.push(graph, &draw(graph, config.edges_per_graph, &mut rng));
    }
    let batch = builder.finish();

    let mut file = CaseFile::new(about(kind, &shape::masked(masking, &config)?, &schedule));
    file.weights(&parameters.snapshot()?);
    file.floats("features", &batch.node_features)?;
    file.integers("labels", batch.labels.iter().copied().map(i64::from))?;
    file.integers("degrees", batch.adjacency.offsets.windows(2).map(|pair| i64::from(pair[1] - pair[0])))?;
    file.integers("neighbours", batch.adjacency.neighbours.iter().copied().map(i64::from))?;
    file.integers("pairs", batch.pairs.sources.iter().chain(&batch.pairs.destinations).copied().map(i64::from))?;
    file.integers("path_classes", batch.path_classes.iter().copied().map(i64::from))?;
    file.floats("targets", &batch.targets)?;
    let loss = move || network.loss(&batch, DType::F32, &Device::Cpu);
    Ok(Case { graphs: graphs.len(), multiply_adds: None, file, run: steps(&schedule, parameters, loss) })
}

/// Our side of a case: each run a step further; its value is the loss before the step.
fn steps(
    schedule: &Schedule,
    parameters: Parameters,
    loss: impl Fn() -> candle_core::Result<Tensor> + Send + 'static,
) -> Box<dyn FnMut() -> Result<Vec<f64>> + Send> {
    let mut adam = Adam::new(AdamConfig {
        learning_rate: schedule.learning_rate(0),
        weight_decay: schedule.weight_decay,
        grad_clip: schedule.grad_clip,
    });
    Box::new(move || {
        let loss = loss()?;
        adam.update(&parameters, &loss.backward()?)?;
        Ok(vec![loss.to_scalar::<f32>()?.into()])
    })
}

fn about(kind: Kind, shape: &Value, schedule: &Schedule) -> Value {
    json!({
        "task": "train",
        "kind": kind,
        "shape": shape,
        "learning_rate": schedule.learning_rate(0),
        "weight_decay": schedule.weight_decay,
        "grad_clip": schedule.grad_clip,
    })
}

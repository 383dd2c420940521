//! Cases that score: the likelihood of each ordering, the completion of each sample.

use anyhow::{Result, bail};
use graphkin::graph::Graph;
use graphkin::model::gran::{self, GranModel, GranNetwork};
use graphkin::model::graph_rnn::{self, GraphRnnModel, GraphRnnNetwork, Variant};
use graphkin::model::likelihood::{NoTerms, OrderingLikelihood};
use graphkin::model::masked::batch::BatchBuilder;
use graphkin::model::masked::network::MaskedNetwork;
use graphkin::model::masked::sample::{EdgeSample, draw};
use graphkin::model::masked::{MaskedModel, Masking};
use graphkin::model::{Hyperparameters, Kind};
use graphkin::nn::parameters::Scheme;
use graphkin::nn::seed::stream;
use rayon::prelude::*;
use serde_json::json;

use crate::arithmetic;
use crate::case::{Case, CaseFile, network};
use crate::family::{Family, SEED};
use crate::ordered::told;
use crate::{ordered, shape};

pub(crate) fn graph_rnn(family: &Family, variant: Variant) -> Result<Case> {
    let given = json!({"variant": variant});
    let Hyperparameters::GraphRnn(config) = family.hyperparameters(Kind::GraphRnn, &given)? else {
        bail!("another kind")
    };
    let shape = config.shape()?;
    let (_, parameters) = network(Scheme::GraphRnn, |vb| GraphRnnNetwork::new(&shape, vb))?;
    let mut weights = parameters.snapshot()?;
    weights.extend(graph_rnn::buffers(family.sequences().iter(), &shape)?);
    let model = GraphRnnModel::new(shape, weights)?;

    let ordered = ordered::draw(family.scored(), config.orderings);
    let about = json!({"task": "score", "kind": Kind::GraphRnn, "shape": shape::graph_rnn(&shape)});
    let mut file = ordered::file(about, config.orderings, &ordered)?;
    file.weights(model.weights());
    Ok(Case {
        graphs: ordered.len(),
        multiply_adds: Some(
            ordered.iter().map(|graph| arithmetic::graph_rnn(&shape, &ordered::sequences(graph))).sum(),
        ),
        file,
        run: over_graphs(ordered, move |graph, orders| totals(&model.likelihoods(&told(graph, orders), &mut NoTerms))),
    })
}

pub(crate) fn gran(family: &Family) -> Result<Case> {
    let Hyperparameters::Gran(config) = family.hyperparameters(Kind::Gran, &json!({}))? else { bail!("another kind") };
    let shape = config.shape()?;
    let (_, parameters) = network(Scheme::PyTorch, |vb| GranNetwork::new(&shape, vb))?;
    let mut weights = parameters.snapshot()?;
    weights.extend(gran::buffers(&shape, &family.sequences(), &family.sizes())?);
    let model = GranModel::new(shape, weights)?;

    let ordered = ordered::draw(family.scored(), config.orderings);
    let about = json!({"task": "score", "kind": Kind::Gran, "shape": shape::gran(&shape)});
    let mut file = ordered::file(about, config.orderings, &ordered)?;
    file.weights(model.weights());
    Ok(Case {
        graphs: ordered.len(),
        multiply_adds: Some(ordered.iter().map(|graph| arithmetic::gran(&shape, &ordered::sequences(graph))).sum()),
        file,
        run: over_graphs(ordered, move |graph, orders| totals(&model.likelihoods(&told(graph, orders), &mut NoTerms))),
    })
}

pub(crate) fn masked(family: &Family, kind: Kind) -> Result<Case> {
    let Hyperparameters::Masked(config) = family.hyperparameters(kind, &json!({}))? else { bail!("another kind") };
    let Some(masking) = Masking::of(kind) else { bail!("{kind} masks nothing") };
    let vocabulary = family.vocabulary();
    let (_, parameters) = network(Scheme::Glorot, |vb| MaskedNetwork::new(&config, &vocabulary, vb))?;
    let model = MaskedModel::new(kind, &config, vocabulary.clone(), parameters.snapshot()?)?;

    let sampled = |graph: Graph| {
        let samples = draw(&graph, config.samples, &mut stream(SEED, "scoring", 0));
        (graph, samples)
    };
    let drawn: Vec<(Graph, Vec<EdgeSample>)> = family.scored().into_iter().map(sampled).collect();
    let mut file = CaseFile::new(json!({"task": "score", "kind": kind, "shape": shape::masked(masking, &config)?}));
    file.weights(model.weights());
    file.graphs(drawn.iter().map(|(graph, _)| graph))?;
    let (mut labels, mut samples) = (Vec::new(), Vec::new());
    let mut kept = BatchBuilder::new(Masking::Kept, config.layers, vocabulary.clone());
    let mut asked = BatchBuilder::new(masking, config.layers, vocabulary);
    for (graph, of_graph) in &drawn {
        kept.push(graph, &[]);
        labels.extend(kept.finish().labels.into_iter().map(i64::from));
        asked.push(graph, of_graph);
        let edges: Vec<(u32, u32)> = graph.edges().collect();
        samples.extend(sample_rows(&edges, of_graph, asked.finish().path_classes));
    }
    file.integers("labels", labels)?;
    file.integers("sample_counts", drawn.iter().map(|(_, samples)| samples.len() as i64))?;
    file.integers("samples", samples.into_iter().flatten())?;
    Ok(Case {
        graphs: drawn.len(),
        multiply_adds: None,
        file,
        run: over_graphs(drawn, move |graph, samples| {
            let logits = model.logits(graph, samples);
            logits.edges.into_iter().chain(logits.non_edges).map(|logit| sigmoid(logit.into())).collect()
        }),
    })
}

/// Of each sample: the number of its edge and the class of its path, its non-edge (-1 where there is none) and the class of
/// that one's path. `classes` has those of an edge and its non-edge after one another.
fn sample_rows(edges: &[(u32, u32)], samples: &[EdgeSample], classes: Vec<u32>) -> Vec<[i64; 5]> {
    let mut classes = classes.into_iter().map(i64::from);
    let mut class = || classes.next().unwrap_or(-1);
    samples
        .iter()
        .map(|sample| {
            let edge = edges.partition_point(|&edge| edge < sample.edge) as i64;
            let of_edge = class();
            match sample.non_edge {
                Some((a, b)) => [edge, of_edge, a.into(), b.into(), class()],
                None => [edge, of_edge, -1, -1, -1],
            }
        })
        .collect()
}

/// Our side of a case: the values of every graph by what was drawn of it, the graphs spread over the threads there are.
fn over_graphs<T: Send + Sync + 'static>(
    drawn: Vec<(Graph, Vec<T>)>,
    score: impl Fn(&Graph, &[T]) -> Vec<f64> + Send + Sync + 'static,
) -> Box<dyn FnMut() -> Result<Vec<f64>> + Send> {
    Box::new(move || Ok(drawn.par_iter().flat_map_iter(|(graph, draws)| score(graph, draws)).collect()))
}

fn totals(likelihoods: &[OrderingLikelihood]) -> Vec<f64> {
    likelihoods.iter().map(OrderingLikelihood::total).collect()
}

fn sigmoid(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}

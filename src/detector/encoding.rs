//! A detector as a manifest and safetensors, and back.
//!
//! The manifest is for people; every number that a score depends on is in the tensors, bit for bit.

use std::collections::{BTreeMap, HashMap};

use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;
use thiserror::Error;

use super::colours::Palette;
use super::member::View;
use super::{CalibrationScore, Detector, FoldScore, Manifest, Member};
use crate::id::GraphId;
use crate::model::{Model, Vocabulary};
use crate::stats::density::{Points, Regression, SizeTrend, Surprises};

/// The newest on-disk format that this version writes and reads.
pub const FORMAT: u32 = 5;

#[derive(Debug, Error)]
pub enum DecodeError {
    #[error("the detector's format {found} is not one this version reads (up to {newest})")]
    Format { found: u32, newest: u32 },
    #[error("the detector's weights don't fit its manifest: {0}")]
    Mismatch(String),
}

impl From<candle_core::Error> for DecodeError {
    fn from(error: candle_core::Error) -> Self {
        Self::Mismatch(error.to_string())
    }
}

impl Detector {
    /// The manifest, and the weights and reference points as safetensors.
    ///
    /// # Errors
    /// When a tensor can't be serialised.
    pub fn encode(&self) -> candle_core::Result<(Manifest, Vec<u8>)> {
        let mut tensors = BTreeMap::new();
        for (index, member) in self.members.iter().enumerate() {
            member.put(&format!("members.{index}"), &mut tensors)?;
        }
        let calibration = &self.calibration;
        let graphs: Vec<i64> = calibration.iter().map(|score| score.graph.get()).collect();
        let folds: Vec<i64> = calibration.iter().map(|score| score.fold as i64).collect();
        let scores: Vec<f64> = calibration
            .iter()
            .flat_map(|&CalibrationScore { score, .. }| {
                let FoldScore { size, shape, model, upper } = score;
                [size, shape, model, upper]
            })
            .collect();
        let n = calibration.len();
        tensors.insert("calibration.graphs".to_owned(), Tensor::from_vec(graphs, n, &Device::Cpu)?);
        tensors.insert("calibration.folds".to_owned(), Tensor::from_vec(folds, n, &Device::Cpu)?);
        tensors.insert("calibration.scores".to_owned(), Tensor::from_vec(scores, (n, 4), &Device::Cpu)?);
        Ok((self.manifest.clone(), serialise(&tensors, None)?))
    }

    /// # Errors
    /// When the parts are not what [`Detector::encode`] gives.
    pub fn decode(manifest: Manifest, weights: &[u8]) -> Result<Self, DecodeError> {
        if manifest.format != FORMAT {
            return Err(DecodeError::Format { found: manifest.format, newest: FORMAT });
        }
        let mut tensors = candle_core::safetensors::load_buffer(weights, &Device::Cpu)?.into_iter().collect();
        let members = (0..manifest.folds)
            .map(|index| Member::take(&format!("members.{index}"), &manifest, &mut tensors))
            .collect::<Result<Vec<_>, _>>()?;
        let graphs = take(&mut tensors, "calibration.graphs")?.to_vec1::<i64>()?;
        let folds = take(&mut tensors, "calibration.folds")?.to_vec1::<i64>()?;
        let scores = take(&mut tensors, "calibration.scores")?.to_vec2::<f64>()?;
        if let Some(name) = tensors.keys().next() {
            return Err(DecodeError::Mismatch(format!("{name} is unknown")));
        }
        if members.is_empty() || graphs.len() != folds.len() || graphs.len() != scores.len() || graphs.is_empty() {
            return Err(DecodeError::Mismatch("the calibration scores are incomplete".to_owned()));
        }
        let calibration = graphs
            .into_iter()
            .zip(folds)
            .zip(scores)
            .map(|((graph, fold), scores)| {
                let fold = usize::try_from(fold).ok().filter(|&fold| fold < members.len());
                match (fold, scores.as_slice()) {
                    (Some(fold), &[size, shape, model, upper]) => Ok(CalibrationScore {
                        graph: GraphId::new(graph),
                        fold,
                        score: FoldScore { size, shape, model, upper },
                    }),
                    _ => Err(DecodeError::Mismatch("a calibration score names no fold".to_owned())),
                }
            })
            .collect::<Result<_, _>>()?;
        Ok(Self::new(manifest, members, calibration))
    }
}

impl Member {
    fn put(&self, prefix: &str, tensors: &mut BTreeMap<String, Tensor>) -> candle_core::Result<()> {
        for (name, weight) in self.model.weights() {
            tensors.insert(format!("{prefix}.model.{name}"), weight.clone());
        }
        let labels = self.model.vocabulary().node_labels.as_slice();
        tensors.insert(format!("{prefix}.node_labels"), Tensor::from_slice(labels, labels.len(), &Device::Cpu)?);
        let mut put = |name: &str, values: &[f64]| -> candle_core::Result<()> {
            tensors.insert(format!("{prefix}.{name}"), Tensor::from_slice(values, values.len(), &Device::Cpu)?);
            Ok(())
        };
        for (part, view) in [("size", &self.size), ("statistics", &self.statistics), ("structure", &self.structure)] {
            let (points, units) = view.normals.parts();
            put(&format!("{part}.points"), points)?;
            put(&format!("{part}.units"), units)?;
            put(&format!("{part}.trend"), &view.trend.to_array())?;
            put(&format!("{part}.surprises"), view.surprises.reference())?;
        }
        put("colours.scales", &self.colours.normals.scales)?;
        put("colours.trend", &self.colours.trend.to_array())?;
        put("colours.surprises", self.colours.surprises.reference())?;
        put("regression", self.regression.coefficients())?;
        put("unlikeliness", &self.unlikeliness)?;
        let Palette { colours, offsets, graphs, roots, scales: _ } = &self.colours.normals;
        let signed = |values: &[u64]| values.iter().map(|value| value.cast_signed()).collect::<Vec<i64>>();
        let mut tensor = |name: &str, tensor: Tensor| tensors.insert(format!("{prefix}.{name}"), tensor);
        tensor("twins", Tensor::from_vec(signed(&self.twins), self.twins.len(), &Device::Cpu)?);
        tensor("colours.colours", Tensor::from_vec(signed(colours), colours.len(), &Device::Cpu)?);
        tensor("colours.offsets", Tensor::from_slice(offsets, offsets.len(), &Device::Cpu)?);
        tensor("colours.graphs", Tensor::from_slice(graphs, graphs.len(), &Device::Cpu)?);
        tensor("colours.roots", Tensor::from_slice(roots, roots.len(), &Device::Cpu)?);
        Ok(())
    }

    fn take(prefix: &str, manifest: &Manifest, tensors: &mut BTreeMap<String, Tensor>) -> Result<Self, DecodeError> {
        let model_prefix = format!("{prefix}.model.");
        let names: Vec<String> = tensors.keys().filter(|name| name.starts_with(&model_prefix)).cloned().collect();
        let weights: BTreeMap<String, Tensor> = names
            .into_iter()
            .filter_map(|name| Some((name.strip_prefix(&model_prefix)?.to_owned(), tensors.remove(&name)?)))
            .collect();
        let node_labels = take(tensors, &format!("{prefix}.node_labels"))?.to_vec1::<i64>()?;
        let incomplete = |part: &str| incomplete(&format!("{prefix}.{part}"));
        let (size, statistics) = (take_points(tensors, prefix, "size")?, take_points(tensors, prefix, "statistics")?);
        let structure = take_points(tensors, prefix, "structure")?;
        let mut numbers = |name: &str| take_numbers(tensors, &format!("{prefix}.{name}"));
        let regression =
            Regression::from_coefficients(numbers("regression")?, 2).ok_or_else(|| incomplete("regression"))?;
        let unlikeliness = <[f64; 2]>::try_from(numbers("unlikeliness")?).map_err(|_| incomplete("unlikeliness"))?;
        let unsigned = |tensor: Tensor| -> Result<Vec<u64>, DecodeError> {
            Ok(tensor.to_vec1::<i64>()?.into_iter().map(i64::cast_unsigned).collect())
        };
        let twins = unsigned(take(tensors, &format!("{prefix}.twins"))?)?;
        let scales = take_numbers(tensors, &format!("{prefix}.colours.scales"))?;
        let mut part = |name: &str| take(tensors, &format!("{prefix}.colours.{name}"));
        let palette = Palette::from_parts(
            unsigned(part("colours")?)?,
            part("offsets")?.to_vec1()?,
            part("graphs")?.to_vec1()?,
            part("roots")?.to_vec1()?,
            scales,
        );
        let normals = palette.ok_or_else(|| incomplete("colours"))?;
        let colours = take_view(tensors, &format!("{prefix}.colours"), normals)?;
        let counts = [&size, &statistics, &structure].map(|view| view.normals.len());
        if counts.into_iter().chain([colours.normals.scales.len()]).any(|count| count != twins.len()) {
            return Err(incomplete("twins"));
        }
        let model = Model::new(manifest.kind, &manifest.hyperparameters, Vocabulary { node_labels }, weights)?;
        Ok(Self { model, twins, size, regression, statistics, structure, colours, unlikeliness })
    }
}

fn take(tensors: &mut BTreeMap<String, Tensor>, name: &str) -> Result<Tensor, DecodeError> {
    tensors.remove(name).ok_or_else(|| DecodeError::Mismatch(format!("{name} is missing")))
}

fn take_points(tensors: &mut BTreeMap<String, Tensor>, member: &str, part: &str) -> Result<View<Points>, DecodeError> {
    let prefix = format!("{member}.{part}");
    let points = take_numbers(tensors, &format!("{prefix}.points"))?;
    let units = take_numbers(tensors, &format!("{prefix}.units"))?;
    let normals = Points::from_parts(points, units).ok_or_else(|| incomplete(&prefix))?;
    take_view(tensors, &prefix, normals)
}

/// A view of normals, with its trend and surprises.
fn take_view<P>(tensors: &mut BTreeMap<String, Tensor>, prefix: &str, normals: P) -> Result<View<P>, DecodeError> {
    let trend = <[f64; 4]>::try_from(take_numbers(tensors, &format!("{prefix}.trend"))?);
    let trend = trend.ok().and_then(SizeTrend::from_array).ok_or_else(|| incomplete(prefix))?;
    let surprises = Surprises::from_reference(take_numbers(tensors, &format!("{prefix}.surprises"))?);
    Ok(View { normals, trend, surprises: surprises.ok_or_else(|| incomplete(prefix))? })
}

fn incomplete(part: &str) -> DecodeError {
    DecodeError::Mismatch(format!("{part} is incomplete"))
}

fn take_numbers(tensors: &mut BTreeMap<String, Tensor>, name: &str) -> Result<Vec<f64>, DecodeError> {
    let tensor = take(tensors, name)?;
    if tensor.dtype() != DType::F64 {
        return Err(DecodeError::Mismatch(format!("{name} is {:?}, not F64", tensor.dtype())));
    }
    Ok(tensor.to_vec1()?)
}

/// The same tensors and metadata give the same bytes: one metadata key at most, for a map's order is random.
pub(crate) fn serialise(tensors: &BTreeMap<String, Tensor>, metadata: Option<String>) -> candle_core::Result<Vec<u8>> {
    let metadata = metadata.map(|text| HashMap::from([("graphkin".to_owned(), text)]));
    safetensors::serialize(tensors, metadata).map_err(candle_core::Error::wrap)
}

/// The metadata that [`serialise`] was given.
pub(crate) fn metadata(bytes: &[u8]) -> Option<String> {
    let (_, header) = SafeTensors::read_metadata(bytes).ok()?;
    header.metadata().as_ref()?.get("graphkin").cloned()
}

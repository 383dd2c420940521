//! Hyper-parameters: defaults that hold for every family, ranges, and where each came from.

use garde::Validate;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Kind;
use crate::nn::graph_convolution::Convolution;

/// A hyper-parameter that can't be used: `name` is its key, or empty for the whole object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HyperparameterError {
    pub name: String,
    pub detail: String,
}

/// The hyper-parameters of a kind, every one in range. Only [`Hyperparameters::from_json`] makes one of a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Hyperparameters {
    Masked(MaskedHyperparameters),
}

/// The masked kinds: a GNN over the graph, an MLP over pairs of its embeddings.
///
/// One default for all families; chosen on normal graphs alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct MaskedHyperparameters {
    #[garde(skip)]
    pub convolution: Convolution,
    /// Convolutions, so how many hops an embedding sees.
    #[garde(range(min = 1, max = 8))]
    pub layers: usize,
    /// H: width of embeddings and of the MLP.
    #[garde(range(min = 4, max = 512))]
    pub hidden_dim: usize,
    /// Whether node labels are an input, where the family has them.
    #[garde(skip)]
    pub node_labels: bool,
    /// Upper bound on epochs; training ends earlier when the validation loss stops falling.
    #[garde(range(min = 1, max = 10_000))]
    pub epochs: u64,
    #[garde(range(min = 1, max = 10_000))]
    pub steps_per_epoch: u64,
    /// B: graphs a step.
    #[garde(range(min = 1, max = 1_024))]
    pub batch_size: usize,
    /// Edges drawn of each graph in a step, each with a non-edge.
    #[garde(range(min = 1, max = 256))]
    pub edges_per_graph: usize,
    #[garde(range(min = 1e-7, max = 1.0))]
    pub learning_rate: f64,
    #[garde(range(min = 0.0, max = 1.0))]
    pub weight_decay: f64,
    /// Largest norm of all gradients together.
    #[garde(range(min = 1e-3, max = 1e6))]
    pub grad_clip: f64,
    /// Epochs without a lower validation loss before training ends.
    #[garde(range(min = 1, max = 10_000))]
    pub patience: u64,
    /// Completions sampled of a graph when it is scored; the reference distributions are made with as many.
    #[garde(range(min = 10, max = 10_000))]
    pub samples: usize,
}

impl Default for MaskedHyperparameters {
    fn default() -> Self {
        Self {
            convolution: Convolution::Gin,
            layers: 3,
            hidden_dim: 32,
            node_labels: true,
            epochs: 30,
            steps_per_epoch: 32,
            batch_size: 16,
            edges_per_graph: 8,
            learning_rate: 2e-3,
            weight_decay: 1e-4,
            grad_clip: 1.0,
            patience: 8,
            samples: 100,
        }
    }
}

impl Hyperparameters {
    /// The defaults of `kind`, overridden by what `given` (a JSON object, or nothing) names.
    ///
    /// # Errors
    /// Every unknown name and every value out of range, by name.
    pub fn from_json(kind: Kind, given: Option<&Value>) -> Result<Self, Vec<HyperparameterError>> {
        let empty = Map::new();
        let given = match given {
            None | Some(Value::Null) => &empty,
            Some(Value::Object(given)) => given,
            Some(_) => return Err(vec![error("", "must be an object of names and values")]),
        };
        match kind {
            Kind::FullMask | Kind::FullEdgePrediction => override_defaults(given).map(Self::Masked),
        }
    }
}

/// The defaults of `T` with the values of `given`, each checked by itself so that every wrong one is told.
fn override_defaults<T>(given: &Map<String, Value>) -> Result<T, Vec<HyperparameterError>>
where
    T: Default + Serialize + for<'de> Deserialize<'de> + Validate<Context = ()>,
{
    let Ok(Value::Object(defaults)) = serde_json::to_value(T::default()) else {
        return Err(vec![error("", "the defaults are no object")]);
    };
    let known = defaults.keys().cloned().collect::<Vec<_>>().join(", ");
    let mut merged = defaults.clone();
    let mut errors = Vec::new();
    for (name, value) in given {
        if !defaults.contains_key(name) {
            errors.push(error(name, &format!("is not a hyper-parameter of this kind, which has {known}")));
            continue;
        }
        let mut alone = defaults.clone();
        alone.insert(name.clone(), value.clone());
        match serde_json::from_value::<T>(Value::Object(alone)) {
            Err(why) => errors.push(error(name, &why.to_string())),
            Ok(candidate) => {
                if let Err(report) = candidate.validate() {
                    errors.extend(report.iter().map(|(_, why)| error(name, why.message())));
                } else {
                    merged.insert(name.clone(), value.clone());
                }
            }
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    serde_json::from_value(Value::Object(merged)).map_err(|why| vec![error("", &why.to_string())])
}

fn error(name: &str, detail: &str) -> HyperparameterError {
    HyperparameterError { name: name.to_owned(), detail: detail.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Hyperparameters, MaskedHyperparameters};
    use crate::model::Kind;

    #[test]
    fn nothing_given_is_the_default() {
        let default = Hyperparameters::Masked(MaskedHyperparameters::default());
        assert_eq!(Hyperparameters::from_json(Kind::FullMask, None), Ok(default.clone()));
        assert_eq!(Hyperparameters::from_json(Kind::FullMask, Some(&json!({}))), Ok(default));
    }

    #[test]
    fn what_is_given_overrides() {
        let given = json!({"hidden_dim": 8, "convolution": "sage", "learning_rate": 0.5});
        let Ok(Hyperparameters::Masked(masked)) = Hyperparameters::from_json(Kind::FullEdgePrediction, Some(&given))
        else {
            panic!("these are in range");
        };
        assert_eq!((masked.hidden_dim, masked.layers), (8, MaskedHyperparameters::default().layers));
    }

    #[test]
    fn every_wrong_one_is_named() {
        let given = json!({"hidden_dim": 100_000, "layers": "three", "colour": 1, "epochs": 5, "learning_rate": 0});
        let mut names: Vec<String> = Hyperparameters::from_json(Kind::FullMask, Some(&given))
            .unwrap_err()
            .into_iter()
            .map(|error| error.name)
            .collect();
        names.sort();
        assert_eq!(names, ["colour", "hidden_dim", "layers", "learning_rate"]);
        assert_eq!(Hyperparameters::from_json(Kind::FullMask, Some(&json!([1]))).unwrap_err()[0].name, "");
    }

    #[test]
    fn json_round_trips() {
        let before = Hyperparameters::Masked(MaskedHyperparameters::default());
        let text = serde_json::to_string(&before).unwrap();
        assert_eq!(serde_json::from_str::<Hyperparameters>(&text).unwrap(), before);
    }
}

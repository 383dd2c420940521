//! Hyper-parameters: defaults that hold for every family, ranges, and where each came from.

use garde::Validate;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::figures::FamilyFigures;
use super::gran::GranHyperparameters;
use super::graph_rnn::GraphRnnHyperparameters;
use super::{Kind, Unresolved};
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
    GraphRnn(GraphRnnHyperparameters),
    Gran(GranHyperparameters),
}

/// How a training run goes, whatever it trains.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    pub epochs: u64,
    pub steps_per_epoch: u64,
    pub batch_size: usize,
    pub learning_rate: f64,
    /// Steps after which the learning rate is multiplied by `gamma`.
    pub milestones: Vec<u64>,
    pub gamma: f64,
    pub weight_decay: f64,
    pub grad_clip: f64,
    pub patience: u64,
}

impl Schedule {
    /// The learning rate of a step, counted from 0.
    #[must_use]
    pub fn learning_rate(&self, step: u64) -> f64 {
        let passed = self.milestones.iter().filter(|&&milestone| milestone <= step).count();
        self.learning_rate * self.gamma.powf(passed as f64)
    }
}

/// The masked kinds: a GNN over the graph, an MLP over pairs of its embeddings.
///
/// One default for all families.
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
            Kind::GraphRnn => override_defaults(given).map(Self::GraphRnn),
            Kind::Gran => {
                let gran: GranHyperparameters = override_defaults(given)?;
                match (gran.stride, gran.block_size) {
                    (Some(stride), Some(block_size)) if stride > block_size => {
                        Err(vec![error("stride", "must be at most block_size, or nodes between blocks are never told")])
                    }
                    _ => Ok(Self::Gran(gran)),
                }
            }
        }
    }

    /// Chooses what was left to the family by figures of its training graphs.
    #[must_use]
    pub fn resolve(&self, figures: &FamilyFigures) -> Self {
        match self {
            Self::Masked(_) => self.clone(),
            Self::GraphRnn(graph_rnn) => Self::GraphRnn(graph_rnn.resolve(figures)),
            Self::Gran(gran) => Self::Gran(gran.resolve(figures)),
        }
    }

    /// # Errors
    /// When something was left to the family and no family has been seen yet.
    pub fn schedule(&self) -> Result<Schedule, Unresolved> {
        Ok(match self {
            Self::Masked(masked) => Schedule {
                epochs: masked.epochs,
                steps_per_epoch: masked.steps_per_epoch,
                batch_size: masked.batch_size,
                learning_rate: masked.learning_rate,
                milestones: Vec::new(),
                gamma: 1.0,
                weight_decay: masked.weight_decay,
                grad_clip: masked.grad_clip,
                patience: masked.patience,
            },
            Self::GraphRnn(graph_rnn) => graph_rnn.schedule()?,
            Self::Gran(gran) => gran.schedule()?,
        })
    }

    /// Whether node labels are looked at, where the family has them.
    #[must_use]
    pub fn node_labels(&self) -> bool {
        match self {
            Self::Masked(masked) => masked.node_labels,
            Self::GraphRnn(graph_rnn) => graph_rnn.node_labels,
            Self::Gran(gran) => gran.node_labels,
        }
    }

    /// What is drawn of a graph when it is scored, unless the request says otherwise, and what the reference
    /// distributions were made with: completions of the masked kinds, orderings of the others.
    #[must_use]
    pub fn draws(&self) -> usize {
        match self {
            Self::Masked(masked) => masked.samples,
            Self::GraphRnn(graph_rnn) => graph_rnn.orderings,
            Self::Gran(gran) => gran.orderings,
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
    use crate::model::figures::FamilyFigures;

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
    fn json_round_trips_to_the_kind_it_came_from() {
        for kind in Kind::ALL {
            let before = Hyperparameters::from_json(kind, None).unwrap();
            let resolved = before.resolve(&FIGURES);
            for hyperparameters in [before, resolved] {
                let text = serde_json::to_string(&hyperparameters).unwrap();
                assert_eq!(serde_json::from_str::<Hyperparameters>(&text).unwrap(), hyperparameters);
            }
        }
    }

    const FIGURES: FamilyFigures =
        FamilyFigures { graphs: 100, median_nodes: 300, max_nodes: 5_000, bandwidth: 235, median_bandwidth: 46 };

    #[test]
    fn what_is_left_open_is_chosen_by_the_family_and_what_is_given_stays() {
        for kind in [Kind::GraphRnn, Kind::Gran] {
            let open = Hyperparameters::from_json(kind, None).unwrap();
            assert!(open.schedule().is_err(), "{kind}: no family has been seen");
            assert!(open.resolve(&FIGURES).schedule().is_ok());
            let given = Hyperparameters::from_json(kind, Some(&json!({"epochs": 3, "max_prev_node": 7}))).unwrap();
            let resolved = serde_json::to_value(given.resolve(&FIGURES)).unwrap();
            assert_eq!((&resolved["epochs"], &resolved["max_prev_node"]), (&json!(3), &json!(7)));
            assert!(
                !resolved.as_object().unwrap().values().any(serde_json::Value::is_null),
                "all is chosen: {resolved}"
            );
        }
    }

    #[test]
    fn wrong_values_of_the_likelihood_kinds_are_named() {
        for (kind, given, name) in [
            (Kind::GraphRnn, json!({"max_prev_node": 0}), "max_prev_node"),
            (Kind::GraphRnn, json!({"variant": "lstm"}), "variant"),
            (Kind::GraphRnn, json!({"mode": "exact"}), "mode"),
            (Kind::GraphRnn, json!({"orderings": 101}), "orderings"),
            (Kind::GraphRnn, json!({"block_size": 2}), "block_size"),
            (Kind::Gran, json!({"block_size": 64}), "block_size"),
            (Kind::Gran, json!({"stride": 3, "block_size": 2}), "stride"),
            (Kind::Gran, json!({"mixtures": 0}), "mixtures"),
        ] {
            let errors = Hyperparameters::from_json(kind, Some(&given)).unwrap_err();
            assert_eq!(errors.iter().map(|error| error.name.as_str()).collect::<Vec<_>>(), [name], "{kind} {given}");
        }
    }

    #[test]
    fn the_learning_rate_falls_at_its_milestones() {
        let given = json!({"learning_rate": 0.1, "milestones": [2, 4], "gamma": 0.5});
        let schedule =
            Hyperparameters::from_json(Kind::GraphRnn, Some(&given)).unwrap().resolve(&FIGURES).schedule().unwrap();
        let rates: Vec<f64> = [0, 1, 2, 3, 4].map(|step| schedule.learning_rate(step)).to_vec();
        assert_eq!(rates, [0.1, 0.1, 0.05, 0.05, 0.025]);
    }
}

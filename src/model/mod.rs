//! The kinds of model, their hyper-parameters, and the one interface that all kinds meet.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    FullMask,
    FullEdgePrediction,
}

impl Kind {
    pub const ALL: [Self; 2] = [Self::FullMask, Self::FullEdgePrediction];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FullMask => "full-mask",
            Self::FullEdgePrediction => "full-edge-prediction",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(())
    }
}

/// A hyper-parameter that can't be used: `name` is its key, or empty for the whole object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HyperparameterError {
    pub name: String,
    pub detail: String,
}

/// The hyper-parameters of a kind, every one in range. Only [`Hyperparameters::from_json`] makes one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Hyperparameters {
    Masked(MaskedHyperparameters),
}

/// Filled in by the model's author.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MaskedHyperparameters {
    pub hidden_dim: usize,
}

impl Hyperparameters {
    /// The defaults of `kind`, overridden by what `given` (a JSON object, or nothing) names.
    ///
    /// # Errors
    /// Every unknown name and every value out of range, by name.
    pub fn from_json(_kind: Kind, _given: Option<&serde_json::Value>) -> Result<Self, Vec<HyperparameterError>> {
        todo!()
    }
}

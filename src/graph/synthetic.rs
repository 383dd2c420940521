//! The study's synthetic families (its Figure 1).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Graph;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SyntheticType {
    #[serde(rename = "1")]
    Type1,
    #[serde(rename = "2a")]
    Type2a,
    #[serde(rename = "2b")]
    Type2b,
    #[serde(rename = "2c")]
    Type2c,
    #[serde(rename = "3")]
    Type3,
    #[serde(rename = "random-regular")]
    RandomRegular,
}

impl SyntheticType {
    pub const ALL: [Self; 6] =
        [Self::Type1, Self::Type2a, Self::Type2b, Self::Type2c, Self::Type3, Self::RandomRegular];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Type1 => "1",
            Self::Type2a => "2a",
            Self::Type2b => "2b",
            Self::Type2c => "2c",
            Self::Type3 => "3",
            Self::RandomRegular => "random-regular",
        }
    }
}

impl fmt::Display for SyntheticType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SyntheticType {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(())
    }
}

/// What to generate: `count` graphs of `width × height` nodes in `height` layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyntheticSpec {
    pub kind: SyntheticType,
    pub width: usize,
    pub height: usize,
    pub count: usize,
    pub seed: u64,
}

#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum SyntheticError {
    /// `field` is the offending field of [`SyntheticSpec`].
    #[error("{field}: {detail}")]
    OutOfRange { field: &'static str, detail: String },
}

/// # Errors
/// When the spec is out of range.
pub fn generate(_spec: &SyntheticSpec) -> Result<Vec<Graph>, SyntheticError> {
    todo!()
}

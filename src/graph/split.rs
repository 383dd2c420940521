//! Which graphs train, calibrate and test: 68, 12 and 20 % (80/20, then 15 % of the training part for calibration).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Graph;
use super::isomorphism::WlHash;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    Train,
    Calibration,
    Test,
}

impl Split {
    pub const ALL: [Self; 3] = [Self::Train, Self::Calibration, Self::Test];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Calibration => "calibration",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Split {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|split| split.as_str() == text).ok_or(())
    }
}

/// How many graphs of a family are in each split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SplitCounts {
    pub train: usize,
    pub calibration: usize,
    pub test: usize,
}

/// Gives graphs their split: isomorphic twins share one, shares stay near their targets, and nothing depends on the
/// order of the graphs in a batch beyond the seed.
#[derive(Debug)]
pub struct SplitAssigner {
    _todo: (),
}

impl SplitAssigner {
    #[must_use]
    pub fn new(_seed: u64, _already: SplitCounts) -> Self {
        todo!()
    }

    /// Tells of a graph that has its split already, so that its twins get the same.
    pub fn know(&mut self, _hash: WlHash, _graph: &Graph, _split: Split) {
        todo!()
    }

    /// The splits of a batch of graphs, in their order.
    pub fn assign(&mut self, _graphs: &[(WlHash, &Graph)]) -> Vec<Split> {
        todo!()
    }
}

//! Pictures: what was found in, an SVG document out.
//!
//! `panel` draws one chart, whatever it shows; `evaluation` and `distributions` say what charts there are. Colours are those
//! of Okabe and Ito (2008), told apart by colour-blind people; what matters is told apart by its stroke or its mark as well.

mod distributions;
mod evaluation;
mod panel;
mod steps;

pub use distributions::{DetectorDistributions, distributions};
pub use evaluation::{Picture, evaluation};

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
#[error("the picture cannot be drawn: {0}")]
pub struct PictureError(String);

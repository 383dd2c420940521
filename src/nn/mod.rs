//! What candle lacks or gets wrong: seeded initialisation, stable losses, message passing, Adam with a state.
//!
//! Knows nothing of anomalies. Letters: N nodes, E edges, F features, H hidden units.

pub mod adam;
pub mod edges;
pub mod graph_convolution;
pub mod gru;
pub mod lanes;
pub mod layer;
pub mod loss;
pub mod matmul;
pub mod message_passing;
pub mod packed;
pub mod parameters;
pub mod real;
pub mod seed;
pub mod simd;

//! What candle lacks, gets wrong or does slowly.
//!
//! Seeded initialisation, stable losses, message passing, Adam with a state; layers as single operations with gradients of
//! their own on the CPU, and composed of candle's elsewhere; and layers without autograd, for whatever vectors the processor
//! has.
//!
//! Knows nothing of anomalies. Letters: N nodes, E edges, F features, H hidden units.

pub mod adam;
mod dense;
pub(crate) mod dispatch;
pub mod edges;
pub mod gated_messages;
pub mod graph_convolution;
pub mod gru;
pub mod lanes;
pub mod layer;
pub mod loss;
pub mod matmul;
pub mod message_passing;
pub mod packed;
pub mod pairs;
pub mod parameters;
pub mod real;
pub mod rows;
pub mod seed;
pub mod simd;

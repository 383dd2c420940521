//! graphkin says whether a graph belongs to a family of graphs, learnt from normal graphs alone.
//!
//! The quiet core (pure, synchronous: no files, no clock, no globals), in reading order:
//! identifiers, graphs, layers, models, statistics, detectors, training, evaluation, jobs. Then the shell, which touches the world.
//! `ARCHITECTURE.md` tells who may import whom; `tests/api/architecture.rs` holds it.

pub mod graph;
pub mod id;
pub mod key;
pub mod nn;
pub mod stats;

pub mod model;

pub mod detector;

pub mod evaluate;
pub mod train;

pub mod job;
pub mod picture;

pub mod artifact;
pub mod registry;
pub mod store;

pub mod recorder;
pub mod scorer;
pub mod worker;

pub mod http;

pub mod app;
pub mod cli;
pub mod config;
pub mod telemetry;

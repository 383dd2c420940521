//! The one integration binary: the real server, over HTTP, on a free port and a data directory of its own.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "helpers of tests fail tests, and say why"
)]

mod support;
mod test_data;
mod trained;

mod architecture;
mod auth;
mod contract;
mod crashes;
mod datasets;
mod detection;
mod detectors;
mod distributions;
mod drift;
mod errors;
mod evaluations;
mod families;
mod floors;
mod graphs;
mod health;
mod likelihood;
mod same_bits;
mod samples;
mod score;
mod training_jobs;

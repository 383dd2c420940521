//! The one integration binary: the real server, over HTTP, on a free port and a data directory of its own.

mod support;

mod auth;
mod contract;
mod datasets;
mod errors;
mod families;
mod graphs;
mod health;

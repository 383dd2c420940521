//! Statistics without models: histograms, conformal p-values, one-class densities, clustering, ranking.

pub mod cluster;
pub mod conformal;
pub mod density;
pub mod histogram;
pub mod ranking;
pub mod summary;

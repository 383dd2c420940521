//! The HTTP interface: the router on one screen, a file per resource.

pub mod error;
pub mod extract;

use std::sync::Arc;

use crate::graph::Limits;
use crate::graph::format::tu::ArchiveLimits;
use crate::scorer::Scorer;
use crate::store::Store;
use crate::worker::WorkerPool;

/// Limits and habits of the HTTP interface. Tests use tiny ones.
#[derive(Debug, Clone)]
pub struct Config {
    /// Bytes of a JSON request body.
    pub max_body_bytes: usize,
    /// Bytes of one NDJSON line.
    pub max_line_bytes: usize,
    /// Bytes of an uploaded dataset.
    pub max_upload_bytes: usize,
    pub archive: ArchiveLimits,
    pub graph: Limits,
    /// Graphs in one `{"graphs": [...]}`.
    pub max_batch: usize,
    pub max_samples: usize,
    pub request_timeout: std::time::Duration,
    /// Requests a second of one key (or of all, while there are no keys), and its burst; 0 is no limit.
    pub rate_limit: u32,
    /// Whether requests without a key are let through: a loopback address and no key made yet.
    pub open: bool,
}

/// What every handler may reach.
#[derive(Debug, Clone)]
pub struct AppState {
    pub config: Arc<Config>,
    pub store: Store,
    pub scorer: Scorer,
    pub worker: WorkerPool,
    /// Turned true when the service begins to stop: unready, event streams end.
    pub stopping: tokio_util::sync::CancellationToken,
    pub metrics: metrics_exporter_prometheus::PrometheusHandle,
}

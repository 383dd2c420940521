//! Logs to standard error, metrics for Prometheus.

use std::sync::OnceLock;

use anyhow::Context;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogFormat, Logging};

/// From a tenth of a millisecond to about two minutes, each bucket twice as wide as the one before.
const FIRST_BUCKET_SECONDS: f64 = 1e-4;
const BUCKETS: i32 = 21;
/// Of counts of graphs: powers of two, from one on.
const COUNT_BUCKETS: i32 = 11;

/// Starts the log, once in a process. Panics are logged too, wherever they are caught later.
///
/// # Errors
/// When the filter can't be read, or there is a log already.
pub fn log(logging: &Logging) -> anyhow::Result<()> {
    let filter: EnvFilter = logging.log.parse().with_context(|| format!("--log: `{}` is no filter", logging.log))?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    match logging.log_format {
        LogFormat::Text => registry.with(lines.with_ansi(false)).try_init()?,
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init()?,
    }
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let backtrace = std::backtrace::Backtrace::capture();
        tracing::error!(thread = thread.name(), %panic, %backtrace, "a panic");
    }));
    Ok(())
}

/// The process's metrics. There is one recorder in a process, whoever asks first.
///
/// # Errors
/// When another recorder was installed before.
pub fn metrics() -> anyhow::Result<PrometheusHandle> {
    static HANDLE: OnceLock<Result<PrometheusHandle, String>> = OnceLock::new();
    HANDLE.get_or_init(|| install().map_err(|error| error.to_string())).clone().map_err(anyhow::Error::msg)
}

fn install() -> Result<PrometheusHandle, metrics_exporter_prometheus::BuildError> {
    let doubling = |first: f64, buckets| (0..buckets).map(|power| first * 2_f64.powi(power)).collect::<Vec<f64>>();
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &doubling(FIRST_BUCKET_SECONDS, BUCKETS))?
        .set_buckets_for_metric(Matcher::Suffix("_graphs".to_owned()), &doubling(1.0, COUNT_BUCKETS))?
        .install_recorder()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_recorder_however_often_it_is_asked_for() {
        let (first, second) = (metrics().unwrap(), metrics().unwrap());
        metrics::histogram!("graphkin_telemetry_test_seconds").record(0.5);
        assert!(first.render().contains("graphkin_telemetry_test_seconds_bucket"));
        assert!(second.render().contains("graphkin_telemetry_test_seconds_bucket"));
    }
}

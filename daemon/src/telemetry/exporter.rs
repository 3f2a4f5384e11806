//! Prometheus text, without a listener of its own: `/-/metrics` is a path like any other.

use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;

use super::{build, metrics};

/// Latency buckets in seconds: a cached row at the left, a film's tail at the right.
const SECONDS: [f64; 14] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
];

/// How often recorded samples are folded into buckets, which bounds their memory.
const UPKEEP: Duration = Duration::from_secs(5);

/// Why metrics cannot be recorded.
#[derive(Debug, thiserror::Error)]
pub enum ExporterError {
    /// A process has one recorder.
    #[error("metrics are recorded already: {0}")]
    Installed(String),
}

/// Renders what was recorded.
#[derive(Clone)]
pub struct Exporter(PrometheusHandle);

impl Exporter {
    /// Installs the recorder of this process and describes every metric.
    pub fn install() -> Result<Self, ExporterError> {
        let refuse = |error: &dyn std::fmt::Display| ExporterError::Installed(error.to_string());
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
            .map_err(|error| refuse(&error))?
            .build_recorder();
        let handle = recorder.handle();
        ::metrics::set_global_recorder(recorder).map_err(|error| refuse(&error))?;
        metrics::describe();
        ::metrics::gauge!(metrics::BUILD_INFO, "version" => build::VERSION, "build" => build::ID)
            .set(1.0);
        Ok(Self(handle))
    }

    /// The exposition text, as `text/plain; version=0.0.4`.
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Folds samples until told to stop; run it once, as a task.
    pub async fn keep(self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(UPKEEP);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            self.0.run_upkeep();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_is_rendered_with_its_description() {
        let exporter = Exporter::install().expect("the only recorder of the test process");
        ::metrics::counter!(metrics::HTTP_REQUESTS_TOTAL, "door" => "s3", "status" => "2xx")
            .increment(2);
        ::metrics::histogram!(metrics::HTTP_REQUEST_SECONDS, "door" => "s3").record(0.003);
        let text = exporter.render();
        assert!(
            text.contains("# HELP nebula_http_requests_total "),
            "{text}"
        );
        assert!(
            text.contains("nebula_http_requests_total{door=\"s3\",status=\"2xx\"} 2"),
            "{text}"
        );
        assert!(
            text.contains("nebula_http_request_seconds_bucket{door=\"s3\",le=\"0.005\"} 1"),
            "{text}"
        );
        assert!(text.contains("nebula_build_info{"), "{text}");
        assert!(Exporter::install().is_err());
    }
}

//! Why a job failed, in a form that goes over the wire.

use nebula_hwaccel::protocol::{Failure, FromWorker, ProtocolError};

use crate::av::AvError;

/// A failed job.
#[derive(Debug, Clone)]
pub struct JobError {
    pub reason: Failure,
    pub detail: String,
    pub retryable: bool,
}

impl JobError {
    pub fn new(reason: Failure, detail: impl Into<String>) -> Self {
        let retryable = matches!(
            reason,
            Failure::Read | Failure::Internal | Failure::Cancelled
        );
        Self {
            reason,
            detail: detail.into(),
            retryable,
        }
    }

    /// Because the parent wanted it.
    pub fn cancelled() -> Self {
        Self::new(Failure::Cancelled, "cancelled")
    }

    pub fn into_message(self) -> FromWorker {
        FromWorker::Failed {
            reason: self.reason,
            detail: self.detail,
            retryable: self.retryable,
        }
    }

    /// A failure of FFmpeg, seen as `reason`.
    pub fn av(reason: Failure, error: &AvError) -> Self {
        Self::new(reason, error.to_string())
    }
}

impl From<ProtocolError> for JobError {
    fn from(error: ProtocolError) -> Self {
        let reason = if matches!(error, ProtocolError::TooLong(_)) {
            Failure::TooLarge
        } else {
            Failure::Internal
        };
        Self::new(reason, error.to_string())
    }
}

impl From<std::io::Error> for JobError {
    fn from(error: std::io::Error) -> Self {
        Self::new(Failure::Internal, error.to_string())
    }
}

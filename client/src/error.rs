//! What can go wrong, sorted by what a person can do about it.

use nebula_api::{Problem, problem::code};
use std::{io, path::PathBuf, time::Duration};

/// A failure of the client, by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The node does not answer, or the connection broke; trying again may help.
    #[error("Cannot reach {url}: {reason}.")]
    Unreachable {
        /// The origin that was tried.
        url: String,
        /// What the network said.
        reason: String,
    },
    /// Something answers there, but not Nebula.
    #[error("{url} answers, but not like a Nebula node: {reason}.")]
    NotNebula {
        /// The origin that was tried.
        url: String,
        /// What was odd.
        reason: String,
    },
    /// The address cannot be used.
    #[error("'{url}' is no address of a node: {reason}.")]
    BadAddress {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// 401: no credentials, or ones the node does not take.
    #[error("{url} wants to know who you are: {reason}")]
    NeedsLogin {
        /// The node's origin.
        url: String,
        /// What it said.
        reason: String,
    },
    /// 403: known, but not allowed.
    #[error("{}", said(.0))]
    Refused(Box<Problem>),
    /// 404: not there.
    #[error("{}", said(.0))]
    NotFound(Box<Problem>),
    /// 409, 412: the state there is does not fit the request.
    #[error("{}", said(.0))]
    Conflict(Box<Problem>),
    /// 413, 507: no room for it.
    #[error("{}", said(.0))]
    Full(Box<Problem>),
    /// 423, 425, 429, 502, 503, 504: not now; trying again may help.
    #[error("{}", said(.problem))]
    Busy {
        /// What the node said.
        problem: Box<Problem>,
        /// How long it asks to be left alone (`Retry-After`).
        retry_after: Option<Duration>,
    },
    /// Anything else the node said no with.
    #[error("{}", said(.0))]
    Said(Box<Problem>),
    /// Something of this machine, not of the node.
    #[error("Cannot {doing} {path}: {source}.", path = .path.display())]
    Local {
        /// A verb: `read`, `write`.
        doing: &'static str,
        /// What was touched.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The source file changed while it was being sent.
    #[error("{path} changed while it was being sent; nothing of it was kept.", path = .path.display())]
    SourceChanged {
        /// The file.
        path: PathBuf,
    },
    /// Both ends finished, and the content differs.
    #[error("{what} is not equal on both sides: {detail}.")]
    Mismatch {
        /// The object or file.
        what: String,
        /// Sizes or hashes.
        detail: String,
    },
    /// Another process works on the same transfer.
    #[error("Another nebula is already transferring {what}.")]
    InUse {
        /// The file.
        what: String,
    },
    /// The command cannot be understood as it stands.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What to type instead.
        hint: Option<String>,
    },
}

/// The exit codes of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All done.
    Ok = 0,
    /// Failed.
    Failure = 1,
    /// Not understood.
    Usage = 2,
    /// Some of it failed.
    Partly = 3,
    /// Needs `nebula login`.
    NeedsLogin = 4,
    /// The node does not answer.
    Unreachable = 5,
    /// Not there.
    NotFound = 6,
    /// Not allowed.
    Refused = 7,
    /// Ctrl-C.
    Interrupted = 130,
}

impl Error {
    /// The exit code a command line ends with.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Unreachable { .. } | Self::NotNebula { .. } => Exit::Unreachable,
            Self::BadAddress { .. } | Self::Usage { .. } => Exit::Usage,
            Self::NeedsLogin { .. } => Exit::NeedsLogin,
            Self::Refused(_) => Exit::Refused,
            Self::NotFound(_) => Exit::NotFound,
            _ => Exit::Failure,
        }
    }

    /// What a person can do next, as a sentence or a command.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unreachable { .. } => {
                Some("Is the node running? nebula profiles shows which one is asked.".into())
            }
            Self::NotNebula { .. } => {
                Some("Check the port; a node listens on 8000 unless told otherwise.".into())
            }
            Self::BadAddress { url, .. } => Some(match url.strip_prefix("https://") {
                Some(rest) => format!("nebula login http://{rest}"),
                None => "nebula login http://127.0.0.1:8000".into(),
            }),
            Self::NeedsLogin { url, .. } => Some(format!("nebula login {url}")),
            Self::Refused(p)
            | Self::NotFound(p)
            | Self::Conflict(p)
            | Self::Full(p)
            | Self::Busy { problem: p, .. }
            | Self::Said(p) => p.hint.clone(),
            Self::SourceChanged { .. } => Some("Push it again once it has settled.".into()),
            Self::Mismatch { .. } => Some("Run the same command again.".into()),
            Self::Usage { hint, .. } => hint.clone(),
            Self::Local { .. } | Self::InUse { .. } => None,
        }
    }

    /// The machine word for `--json`.
    pub fn code(&self) -> &str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::NotNebula { .. } => "not_nebula",
            Self::BadAddress { .. } => "bad_address",
            Self::NeedsLogin { .. } => code::UNAUTHENTICATED,
            Self::Local { .. } => "local",
            Self::SourceChanged { .. } => "source_changed",
            Self::Mismatch { .. } => "mismatch",
            Self::InUse { .. } => "in_use",
            Self::Usage { .. } => "usage",
            _ => self.problem().map_or("error", |p| p.code.as_str()),
        }
    }

    /// The node's own words, where it had any.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(p)
            | Self::NotFound(p)
            | Self::Conflict(p)
            | Self::Full(p)
            | Self::Busy { problem: p, .. }
            | Self::Said(p) => Some(p),
            _ => None,
        }
    }

    /// Whether the same request may succeed a moment later: the network, a restart, a busy node.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Busy { .. } => true,
            Self::Said(p) => {
                let broke_off = p.status == 408 || p.code == code::INCOMPLETE_BODY;
                broke_off || (p.status >= 500 && p.status != 501)
            }
            _ => false,
        }
    }

    /// How long the node asks to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Notes how long the node asks to be left alone.
    pub(crate) fn after(mut self, asked: Option<Duration>) -> Self {
        if let Self::Busy { retry_after, .. } = &mut self {
            *retry_after = asked;
        }
        self
    }

    /// Sorts what the node said by its status.
    pub fn from_problem(origin: &str, problem: Problem) -> Self {
        let reason = said(&problem);
        let problem = Box::new(problem);
        match problem.status {
            401 => Self::NeedsLogin {
                url: origin.to_owned(),
                reason,
            },
            403 => Self::Refused(problem),
            404 => Self::NotFound(problem),
            409 | 412 => Self::Conflict(problem),
            413 | 507 => Self::Full(problem),
            423 | 425 | 429 | 502..=504 => Self::Busy {
                problem,
                retry_after: None,
            },
            _ => Self::Said(problem),
        }
    }

    /// A failure of this machine.
    pub fn local(doing: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Local {
            doing,
            path: path.into(),
            source,
        }
    }
}

/// A problem as one or two sentences.
fn said(problem: &Problem) -> String {
    let sentence = |s: &str| {
        let s = s.trim().to_owned();
        if s.ends_with(['.', '!', '?']) {
            s
        } else {
            s + "."
        }
    };
    match &problem.detail {
        // The detail alone, when it already says what the title says.
        Some(detail)
            if detail
                .to_lowercase()
                .contains(&problem.title.to_lowercase()) =>
        {
            sentence(detail)
        }
        Some(detail) => format!("{} {}", sentence(&problem.title), sentence(detail)),
        None => sentence(&problem.title),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_its_exit_code() {
        let table = [
            (401, Exit::NeedsLogin),
            (403, Exit::Refused),
            (404, Exit::NotFound),
            (409, Exit::Failure),
            (503, Exit::Failure),
            (507, Exit::Failure),
        ];
        for (status, exit) in table {
            let error = Error::from_problem("http://n", Problem::new(status, "x", "X"));
            assert_eq!(error.exit(), exit, "{status}");
        }
    }

    #[test]
    fn only_what_passes_is_tried_again() {
        let error = |status| Error::from_problem("http://n", Problem::new(status, "x", "X"));
        let mut broken = Problem::new(400, code::INCOMPLETE_BODY, "X");
        assert!(Error::from_problem("http://n", broken.clone()).is_passing());
        broken.code = code::INVALID_REQUEST.into();
        assert!(!Error::from_problem("http://n", broken).is_passing());
        assert!(error(503).is_passing() && error(500).is_passing() && error(423).is_passing());
        assert!(!error(403).is_passing() && !error(507).is_passing() && !error(501).is_passing());
    }
}

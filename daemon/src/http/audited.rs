//! Changes leave a line in the audit, whichever door they came through: what was refused, what was done, what failed.

use std::future::Future;

use axum::http::Extensions;

use super::gate::{Gate, require_here};
use super::problem::Problem;
use crate::identity::{Action, Caller, Identity, Outcome, Resource, Rule};

/// Asks for the right to change something; a refusal of a known caller is noted.
///
/// What strangers try is not noted: they could fill the audit.
///
/// # Errors
/// The refusal.
pub async fn permit(
    identity: &Identity,
    caller: &Caller,
    action: Action,
    resource: &Resource<'_>,
) -> Result<Rule, Problem> {
    match require_here(identity, caller, action, resource).await {
        Ok(rule) => Ok(rule),
        Err(problem) => {
            if !caller.is_anonymous() {
                let rule = identity.decide(caller, action, resource).await?.rule;
                identity
                    .audit(caller, action, resource, Outcome::Refused, &rule)
                    .await;
            }
            Err(problem)
        }
    }
}

/// The same, then does the work and notes how it ended.
///
/// # Errors
/// The refusal, or the problem of the work.
pub fn audited<T>(
    identity: &Identity,
    caller: &Caller,
    action: Action,
    resource: &Resource<'_>,
    work: impl Future<Output = Result<T, Problem>>,
) -> impl Future<Output = Result<T, Problem>> {
    // The caller's future has room for it already.
    let work = Box::pin(work);
    async move {
        let rule = permit(identity, caller, action, resource).await?;
        let result = work.await;
        let outcome = if result.is_ok() {
            Outcome::Done
        } else {
            Outcome::Failed
        };
        identity
            .audit(caller, action, resource, outcome, &rule)
            .await;
        result
    }
}

/// The identity room behind a request that came through [`super::context`].
///
/// # Errors
/// 500 when the router was built without that layer.
pub fn identity_of(extensions: &Extensions) -> Result<Identity, Problem> {
    let gate = extensions.get::<Gate>();
    gate.map(|gate| gate.identity().clone())
        .ok_or_else(|| Problem::internal("the router has no gate"))
}

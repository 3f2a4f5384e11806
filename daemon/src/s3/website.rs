//! A bucket as a website: its configuration. The pages themselves are another door's.

use http::StatusCode;
use s3s::dto::{
    Condition, DeleteBucketWebsiteInput, DeleteBucketWebsiteOutput, ErrorDocument,
    GetBucketWebsiteInput, GetBucketWebsiteOutput, IndexDocument, Protocol, PutBucketWebsiteInput,
    PutBucketWebsiteOutput, RedirectAllRequestsTo, RoutingRule, WebsiteConfiguration,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::access::bucket_name;
use super::error::{self, say};
use super::operations::Operations;
use crate::kernel::limits::OBJECT_KEY_BYTES_MAX;
use crate::website::{Elsewhere, RULES_MAX, Redirect, Rule, SETTING, Settings};

/// Statuses that a rule may redirect with.
const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];

fn argument(text: impl Into<String>) -> S3Error {
    say(S3ErrorCode::InvalidArgument, text.into())
}

fn request_error(text: &'static str) -> S3Error {
    say(S3ErrorCode::InvalidRequest, text)
}

fn protocol(sent: Option<Protocol>) -> S3Result<Option<String>> {
    let sent = sent.map(|protocol| protocol.as_str().to_owned());
    match sent.as_deref() {
        None | Some("") => Ok(None),
        Some("http" | "https") => Ok(sent),
        Some(_) => Err(request_error(
            "Invalid protocol, protocol can be http or https. If not defined the protocol will be selected automatically.",
        )),
    }
}

/// A host name as it can stand in an address.
fn host(sent: String) -> S3Result<String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    if sent.is_empty() || sent.len() > 255 || !sent.bytes().all(fits) {
        return Err(argument(
            "a host name has letters, digits, hyphens and dots",
        ));
    }
    Ok(sent)
}

/// A key as a document or a part of an address.
fn key(sent: String, what: &str) -> S3Result<String> {
    if sent.len() > OBJECT_KEY_BYTES_MAX {
        return Err(argument(format!(
            "{what} has more than {OBJECT_KEY_BYTES_MAX} bytes"
        )));
    }
    Ok(sent)
}

fn rule(sent: RoutingRule) -> S3Result<Rule> {
    let (mut prefix, mut status) = (None, None);
    if let Some(condition) = sent.condition {
        if let Some(code) = condition.http_error_code_returned_equals {
            let code = code.parse().ok().filter(|code| (400..600).contains(code));
            status = Some(code.ok_or_else(|| {
                request_error(
                    "The provided HTTP error code is not valid. Valid codes are 4XX or 5XX.",
                )
            })?);
        }
        prefix = condition.key_prefix_equals;
        if prefix.is_none() && status.is_none() {
            return Err(request_error(
                "Condition cannot be empty. To redirect all requests without a condition, the condition element shouldn't be present.",
            ));
        }
    }
    let to = sent.redirect;
    if to.replace_key_with.is_some() && to.replace_key_prefix_with.is_some() {
        return Err(request_error(
            "You can only define ReplaceKeyPrefix or ReplaceKey but not both.",
        ));
    }
    let code = match to.http_redirect_code {
        None => None,
        Some(code) => {
            let code = code.parse().ok().filter(|code| REDIRECTS.contains(code));
            Some(code.ok_or_else(|| {
                request_error("The provided HTTP redirect code is not valid. Valid codes are 301, 302, 303, 307 and 308.")
            })?)
        }
    };
    let redirect = Redirect {
        host: to.host_name.map(host).transpose()?,
        protocol: protocol(to.protocol)?,
        key: to.replace_key_with.map(|k| key(k, "a key")).transpose()?,
        key_prefix: to
            .replace_key_prefix_with
            .map(|k| key(k, "a prefix"))
            .transpose()?,
        code,
    };
    if redirect == Redirect::default() {
        return Err(request_error(
            "a rule changes host, protocol, key or status",
        ));
    }
    Ok(Rule {
        prefix: prefix.map(|p| key(p, "a prefix")).transpose()?,
        status,
        redirect,
    })
}

fn settings(sent: WebsiteConfiguration) -> S3Result<Settings> {
    if let Some(all) = sent.redirect_all_requests_to {
        if sent.index_document.is_some()
            || sent.error_document.is_some()
            || sent.routing_rules.is_some()
        {
            return Err(argument(
                "RedirectAllRequestsTo cannot be provided in conjunction with other Routing Rules.",
            ));
        }
        return Ok(Settings {
            redirect_all: Some(Elsewhere {
                host: host(all.host_name)?,
                protocol: protocol(all.protocol)?,
            }),
            ..Settings::default()
        });
    }
    let index = sent.index_document.map(|index| index.suffix);
    let index = index.ok_or_else(|| {
        argument(
            "A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty",
        )
    })?;
    if index.is_empty() || index.contains('/') {
        return Err(argument("The IndexDocument Suffix is not well formed"));
    }
    let rules = sent.routing_rules.unwrap_or_default();
    if rules.len() > RULES_MAX {
        return Err(argument(format!(
            "a website has at most {RULES_MAX} routing rules"
        )));
    }
    let error = sent.error_document.map(|error| error.key);
    if error.as_ref().is_some_and(String::is_empty) {
        return Err(argument("The ErrorDocument Key is empty"));
    }
    Ok(Settings {
        index: Some(key(index, "the IndexDocument Suffix")?),
        error: error.map(|k| key(k, "the ErrorDocument Key")).transpose()?,
        redirect_all: None,
        rules: rules.into_iter().map(rule).collect::<S3Result<_>>()?,
    })
}

fn shown(rule: Rule) -> RoutingRule {
    let condition = (rule.prefix.is_some() || rule.status.is_some()).then(|| Condition {
        http_error_code_returned_equals: rule.status.map(|status| status.to_string()),
        key_prefix_equals: rule.prefix,
    });
    let to = rule.redirect;
    RoutingRule {
        condition,
        redirect: s3s::dto::Redirect {
            host_name: to.host,
            http_redirect_code: to.code.map(|code| code.to_string()),
            protocol: to.protocol.map(Protocol::from),
            replace_key_prefix_with: to.key_prefix,
            replace_key_with: to.key,
        },
    }
}

impl Operations {
    /// The website of a bucket.
    pub(super) async fn website(
        &self,
        request: S3Request<GetBucketWebsiteInput>,
    ) -> S3Result<S3Response<GetBucketWebsiteOutput>> {
        let bucket = bucket_name(&request.input.bucket)?;
        self.expect_owner(&bucket, request.input.expected_bucket_owner.as_deref())
            .await?;
        let row = self.store.bucket(&bucket).await.map_err(error::of)?;
        let settings = Settings::of(&row.settings).ok_or_else(|| {
            let mut error = say(
                S3ErrorCode::NoSuchWebsiteConfiguration,
                "The specified bucket does not have a website configuration",
            );
            error.set_status_code(StatusCode::NOT_FOUND);
            error
        })?;
        let rules: Vec<_> = settings.rules.into_iter().map(shown).collect();
        Ok(S3Response::new(GetBucketWebsiteOutput {
            error_document: settings.error.map(|key| ErrorDocument { key }),
            index_document: settings.index.map(|suffix| IndexDocument { suffix }),
            redirect_all_requests_to: settings.redirect_all.map(|all| RedirectAllRequestsTo {
                host_name: all.host,
                protocol: all.protocol.map(Protocol::from),
            }),
            routing_rules: (!rules.is_empty()).then_some(rules),
        }))
    }

    /// Makes a bucket a website, or another one.
    pub(super) async fn put_website(
        &self,
        request: S3Request<PutBucketWebsiteInput>,
    ) -> S3Result<S3Response<PutBucketWebsiteOutput>> {
        let bucket = bucket_name(&request.input.bucket)?;
        self.expect_owner(&bucket, request.input.expected_bucket_owner.as_deref())
            .await?;
        let settings = settings(request.input.website_configuration)?;
        self.store
            .set_bucket_setting(&bucket, SETTING, Some(serde_json::json!(settings)))
            .await
            .map_err(error::of)?;
        Ok(S3Response::new(PutBucketWebsiteOutput::default()))
    }

    /// Makes it no website.
    pub(super) async fn delete_website(
        &self,
        request: S3Request<DeleteBucketWebsiteInput>,
    ) -> S3Result<S3Response<DeleteBucketWebsiteOutput>> {
        let bucket = bucket_name(&request.input.bucket)?;
        self.expect_owner(&bucket, request.input.expected_bucket_owner.as_deref())
            .await?;
        self.store
            .set_bucket_setting(&bucket, SETTING, None)
            .await
            .map_err(error::of)?;
        Ok(S3Response::new(DeleteBucketWebsiteOutput::default()))
    }
}

//! Cross-origin requests of browsers: the rules of a bucket, the preflight, and the headers of answers.
//!
//! A preflight carries no credential and reads nothing but the rules (Fetch Standard, CORS protocol).

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use s3s::dto::{
    CORSRule, DeleteBucketCorsInput, DeleteBucketCorsOutput, GetBucketCorsInput,
    GetBucketCorsOutput, PutBucketCorsInput, PutBucketCorsOutput,
};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};
use serde::{Deserialize, Serialize};

use super::access::bucket_name;
use super::error::{self, say};
use super::operations::Operations;
use crate::kernel::BucketName;
use crate::store::Store;

/// The setting of a bucket that holds its rules.
const SETTING: &str = "cors";
/// Rules of one bucket (Amazon S3).
const RULES_MAX: usize = 100;
const METHODS: [&str; 5] = ["GET", "PUT", "POST", "DELETE", "HEAD"];

/// One rule as stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Rule {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    origins: Vec<String>,
    methods: Vec<String>,
    #[serde(default)]
    headers: Vec<String>,
    #[serde(default)]
    exposes: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_age_s: Option<i32>,
}

/// What a browser asks.
pub(super) struct Question {
    origin: String,
    method: String,
    headers: Vec<String>,
    preflight: bool,
}

impl Question {
    /// Reads a request that a page of another origin makes, or a preflight of it.
    pub(super) fn of(method: &Method, headers: &HeaderMap) -> Option<Self> {
        let text = |name: HeaderName| {
            headers
                .get(name)
                .and_then(|v| v.to_str().ok())
                .map(str::to_owned)
        };
        let origin = text(header::ORIGIN);
        let preflight = method == Method::OPTIONS;
        if origin.is_none() && !preflight {
            return None;
        }
        let asked = text(header::ACCESS_CONTROL_REQUEST_METHOD);
        let headers = text(header::ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default();
        Some(Self {
            origin: origin.unwrap_or_default(),
            // A request that is no preflight may name a method as well, and is then answered as one would be (as Ceph does).
            method: match asked {
                Some(asked) => asked,
                None if preflight => String::new(),
                None => method.to_string(),
            },
            headers: headers
                .split(',')
                .map(|h| h.trim().to_ascii_lowercase())
                .filter(|h| !h.is_empty())
                .collect(),
            preflight,
        })
    }

    /// Whether only permission is asked.
    pub(super) fn is_preflight(&self) -> bool {
        self.preflight
    }
}

impl Rule {
    fn admits(&self, question: &Question) -> bool {
        self.origins
            .iter()
            .any(|pattern| matches(pattern, &question.origin))
            && self.methods.contains(&question.method)
            && question.headers.iter().all(|asked| {
                self.headers
                    .iter()
                    .any(|pattern| matches(&pattern.to_ascii_lowercase(), asked))
            })
    }

    fn answer(&self, question: &Question, into: &mut HeaderMap) {
        let any = self.origins.iter().any(|origin| origin == "*");
        let mut set = |name: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                into.insert(name, value);
            }
        };
        set(
            header::ACCESS_CONTROL_ALLOW_ORIGIN,
            if any { "*" } else { &question.origin },
        );
        if !any {
            set(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
        }
        set(
            header::ACCESS_CONTROL_ALLOW_METHODS,
            &self.methods.join(", "),
        );
        if !question.headers.is_empty() {
            set(
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                &question.headers.join(", "),
            );
        }
        if !self.exposes.is_empty() {
            set(
                header::ACCESS_CONTROL_EXPOSE_HEADERS,
                &self.exposes.join(", "),
            );
        }
        if let Some(age) = self.max_age_s {
            set(header::ACCESS_CONTROL_MAX_AGE, &age.to_string());
        }
        set(
            header::VARY,
            "Origin, Access-Control-Request-Headers, Access-Control-Request-Method",
        );
    }
}

/// A pattern with at most one `*`.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => {
            text.len() >= head.len() + tail.len() && text.starts_with(head) && text.ends_with(tail)
        }
    }
}

async fn rules(store: &Store, bucket: &BucketName) -> Vec<Rule> {
    let setting = store.bucket_setting(bucket, SETTING).await.ok().flatten();
    setting
        .and_then(|value| serde_json::from_value(value).ok())
        .unwrap_or_default()
}

/// Answers a preflight.
///
/// # Errors
/// `BadRequest` for one that asks nothing; `AccessForbidden` where no rule admits it, whether or not the bucket is there.
pub(super) async fn preflight(
    store: &Store,
    bucket: Option<&BucketName>,
    question: &Question,
) -> S3Result<HeaderMap> {
    if question.origin.is_empty() || question.method.is_empty() {
        return Err(error::bad_request(
            "BadRequest",
            "Insufficient information. Origin and Access-Control-Request-Method request headers needed.",
        ));
    }
    let rules = match bucket {
        Some(bucket) => rules(store, bucket).await,
        None => Vec::new(),
    };
    let rule = rules
        .iter()
        .find(|rule| rule.admits(question))
        .ok_or_else(|| {
            let mut error = say(
                S3ErrorCode::Custom("AccessForbidden".into()),
                "CORSResponse: This CORS request is not allowed.",
            );
            error.set_status_code(http::StatusCode::FORBIDDEN);
            error
        })?;
    let mut headers = HeaderMap::new();
    rule.answer(question, &mut headers);
    Ok(headers)
}

/// Adds to an answer what lets the page read it, where a rule admits it.
pub(super) async fn decorate(
    store: &Store,
    bucket: &BucketName,
    question: &Question,
    headers: &mut HeaderMap,
) {
    if let Some(rule) = rules(store, bucket)
        .await
        .iter()
        .find(|rule| rule.admits(question))
    {
        rule.answer(question, headers);
    }
}

impl Operations {
    /// The rules of a bucket.
    pub(super) async fn get_cors(
        &self,
        request: S3Request<GetBucketCorsInput>,
    ) -> S3Result<S3Response<GetBucketCorsOutput>> {
        let bucket = bucket_name(&request.input.bucket)?;
        self.expect_owner(&bucket, request.input.expected_bucket_owner.as_deref())
            .await?;
        self.store.bucket(&bucket).await.map_err(error::of)?;
        let rules = rules(&self.store, &bucket).await;
        if rules.is_empty() {
            return Err(say(
                S3ErrorCode::NoSuchCORSConfiguration,
                "The CORS configuration does not exist",
            ));
        }
        let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
        let shown = rules.into_iter().map(|rule| CORSRule {
            allowed_headers: some(rule.headers),
            allowed_methods: rule.methods,
            allowed_origins: rule.origins,
            expose_headers: some(rule.exposes),
            id: rule.id,
            max_age_seconds: rule.max_age_s,
        });
        Ok(S3Response::new(GetBucketCorsOutput {
            cors_rules: Some(shown.collect()),
        }))
    }

    /// Replaces the rules of a bucket.
    pub(super) async fn put_cors(
        &self,
        request: S3Request<PutBucketCorsInput>,
    ) -> S3Result<S3Response<PutBucketCorsOutput>> {
        let bucket = bucket_name(&request.input.bucket)?;
        self.expect_owner(&bucket, request.input.expected_bucket_owner.as_deref())
            .await?;
        let sent = request.input.cors_configuration.cors_rules;
        if sent.is_empty() || sent.len() > RULES_MAX {
            return Err(say(
                S3ErrorCode::MalformedXML,
                format!("a bucket has 1 to {RULES_MAX} CORS rules"),
            ));
        }
        let mut rules = Vec::with_capacity(sent.len());
        for rule in sent {
            if let Some(method) = rule
                .allowed_methods
                .iter()
                .find(|method| !METHODS.contains(&method.as_str()))
            {
                return Err(say(
                    S3ErrorCode::InvalidRequest,
                    format!(
                        "Found unsupported HTTP method in CORS config. Unsupported method is {method}"
                    ),
                ));
            }
            let stars = rule
                .allowed_origins
                .iter()
                .chain(rule.allowed_headers.iter().flatten())
                .any(|p| p.matches('*').count() > 1);
            if stars {
                return Err(say(
                    S3ErrorCode::InvalidRequest,
                    "an allowed origin or header holds at most one `*`",
                ));
            }
            rules.push(Rule {
                id: rule.id,
                origins: rule.allowed_origins,
                methods: rule.allowed_methods,
                headers: rule.allowed_headers.unwrap_or_default(),
                exposes: rule.expose_headers.unwrap_or_default(),
                max_age_s: rule.max_age_seconds,
            });
        }
        self.store
            .set_bucket_setting(&bucket, SETTING, Some(serde_json::json!(rules)))
            .await
            .map_err(error::of)?;
        Ok(S3Response::new(PutBucketCorsOutput::default()))
    }

    /// Drops the rules of a bucket.
    pub(super) async fn delete_cors(
        &self,
        request: S3Request<DeleteBucketCorsInput>,
    ) -> S3Result<S3Response<DeleteBucketCorsOutput>> {
        let bucket = bucket_name(&request.input.bucket)?;
        self.expect_owner(&bucket, request.input.expected_bucket_owner.as_deref())
            .await?;
        self.store
            .set_bucket_setting(&bucket, SETTING, None)
            .await
            .map_err(error::of)?;
        Ok(S3Response::new(DeleteBucketCorsOutput::default()))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn ask(method: Method, pairs: &[(&'static str, &str)]) -> Option<Question> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        Question::of(&method, &headers)
    }

    #[test]
    fn a_rule_admits_by_origin_method_and_headers() {
        let rule = Rule {
            origins: vec!["https://*.example.org".into()],
            methods: vec!["PUT".into()],
            headers: vec!["X-Amz-*".into(), "content-type".into()],
            ..Rule::default()
        };
        let preflight = |origin: &str, method: &str, headers: &str| {
            let pairs = [
                ("origin", origin),
                ("access-control-request-method", method),
                ("access-control-request-headers", headers),
            ];
            rule.admits(&ask(Method::OPTIONS, &pairs).unwrap())
        };
        assert!(preflight(
            "https://a.example.org",
            "PUT",
            "x-amz-date, Content-Type"
        ));
        assert!(!preflight("https://example.org", "PUT", ""));
        assert!(!preflight("https://a.example.org", "GET", ""));
        assert!(!preflight("https://a.example.org", "PUT", "x-other"));
    }

    #[test]
    fn only_a_request_with_an_origin_is_a_question() {
        assert!(ask(Method::GET, &[]).is_none());
        assert!(
            ask(Method::GET, &[("origin", "https://a")])
                .is_some_and(|q| !q.is_preflight() && q.method == "GET")
        );
        assert!(ask(Method::OPTIONS, &[]).is_some_and(|q| q.is_preflight()));
    }

    #[test]
    fn any_origin_comes_without_credentials() {
        let rule = Rule {
            origins: vec!["*".into()],
            methods: vec!["GET".into()],
            ..Rule::default()
        };
        let mut headers = HeaderMap::new();
        rule.answer(
            &ask(Method::GET, &[("origin", "https://a")]).unwrap(),
            &mut headers,
        );
        assert_eq!(headers.get("access-control-allow-origin").unwrap(), "*");
        assert!(!headers.contains_key("access-control-allow-credentials"));
    }
}

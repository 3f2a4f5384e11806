//! Which changes of a bucket are told to which webhook.

use s3s::dto::{
    EventList, FilterRule, FilterRuleName, GetBucketNotificationConfigurationInput,
    GetBucketNotificationConfigurationOutput, LambdaFunctionConfiguration,
    NotificationConfigurationFilter, PutBucketNotificationConfigurationInput,
    PutBucketNotificationConfigurationOutput, QueueConfiguration, S3KeyFilter, TopicConfiguration,
};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::access::bucket_name;
use super::error::{self, not_built, say};
use super::operations::Operations;
use crate::kernel::Id;
use crate::notify::{self, Form, Rule};

/// Rules of one bucket (Amazon S3).
const RULES_MAX: usize = 100;
/// Longest id of a rule.
const ID_BYTES_MAX: usize = 255;
/// Longest prefix or suffix (Amazon S3).
const FILTER_BYTES_MAX: usize = 1024;

fn invalid(text: impl Into<String>) -> s3s::S3Error {
    say(S3ErrorCode::InvalidArgument, text.into())
}

/// Longer texts of a request are cut in answers.
fn cut(text: &str) -> String {
    text.chars().take(120).collect()
}

/// Prefix and suffix of a filter.
fn filter(
    filter: Option<NotificationConfigurationFilter>,
) -> S3Result<(Option<String>, Option<String>)> {
    let rules = filter.and_then(|filter| filter.key?.filter_rules);
    let (mut prefix, mut suffix) = (None, None);
    for rule in rules.unwrap_or_default() {
        let name = rule.name.as_ref().map_or("", FilterRuleName::as_str);
        let place = match name.to_ascii_lowercase().as_str() {
            "prefix" => &mut prefix,
            "suffix" => &mut suffix,
            _ => return Err(invalid("filter rule name must be either prefix or suffix")),
        };
        let value = rule.value.unwrap_or_default();
        if value.len() > FILTER_BYTES_MAX {
            return Err(invalid(format!(
                "Size of filter rule value cannot exceed {FILTER_BYTES_MAX} bytes in UTF-8 representation"
            )));
        }
        if place.replace(value).is_some() {
            return Err(invalid(
                "Cannot specify more than one prefix rule and one suffix rule in a filter",
            ));
        }
    }
    Ok((prefix, suffix))
}

/// The same as it is shown.
fn shown(rule: &Rule) -> Option<NotificationConfigurationFilter> {
    let line = |name: &'static str, value: &Option<String>| {
        value.clone().map(|value| FilterRule {
            name: Some(FilterRuleName::from_static(name)),
            value: Some(value),
        })
    };
    let lines: Vec<_> = [
        line(FilterRuleName::PREFIX, &rule.prefix),
        line(FilterRuleName::SUFFIX, &rule.suffix),
    ]
    .into_iter()
    .flatten()
    .collect();
    (!lines.is_empty()).then_some(NotificationConfigurationFilter {
        key: Some(S3KeyFilter {
            filter_rules: Some(lines),
        }),
    })
}

fn events(rule: &Rule) -> EventList {
    rule.events.iter().cloned().map(Into::into).collect()
}

impl Operations {
    /// One rule of a request.
    fn notification_rule(
        &self,
        form: Form,
        id: Option<String>,
        arn: String,
        events: &EventList,
        sent: Option<NotificationConfigurationFilter>,
    ) -> S3Result<Rule> {
        let Some(name) = notify::name_in(&arn) else {
            return Err(invalid(format!(
                "the ARN `{}` is not of this appliance: a webhook's is {}",
                cut(&arn),
                notify::arn_of("NAME")
            )));
        };
        if !self.webhooks.has(name) {
            return Err(invalid(format!(
                "Unable to validate the following destination configurations: no webhook `{}` is configured on this appliance",
                cut(name)
            )));
        }
        if events.is_empty() {
            return Err(say(
                S3ErrorCode::MalformedXML,
                "a rule names at least one event",
            ));
        }
        let events: Vec<String> = events.iter().map(|e| e.as_ref().to_owned()).collect();
        if let Some(unknown) = events.iter().find(|event| !notify::is_event(event)) {
            return Err(invalid(format!(
                "The event `{}` is not supported for notifications: this appliance tells s3:ObjectCreated:* and s3:ObjectRemoved:*, and each event of theirs",
                cut(unknown)
            )));
        }
        let id = id.filter(|id| !id.is_empty());
        if id.as_ref().is_some_and(|id| id.len() > ID_BYTES_MAX) {
            return Err(invalid(format!(
                "a rule's id has at most {ID_BYTES_MAX} bytes"
            )));
        }
        let (prefix, suffix) = filter(sent)?;
        Ok(Rule {
            id: id.unwrap_or_else(|| Id::random().to_string()),
            form,
            arn,
            events,
            prefix,
            suffix,
        })
    }

    /// The rules of a bucket.
    pub(super) async fn notification(
        &self,
        request: S3Request<GetBucketNotificationConfigurationInput>,
    ) -> S3Result<S3Response<GetBucketNotificationConfigurationOutput>> {
        let bucket = bucket_name(&request.input.bucket)?;
        self.expect_owner(&bucket, request.input.expected_bucket_owner.as_deref())
            .await?;
        let row = self.store.bucket(&bucket).await.map_err(error::of)?;
        let (mut queues, mut topics, mut lambdas) = (Vec::new(), Vec::new(), Vec::new());
        for rule in notify::of_settings(&row.settings) {
            let (events, filter) = (events(&rule), shown(&rule));
            let id = Some(rule.id);
            match rule.form {
                Form::Queue => queues.push(QueueConfiguration {
                    events,
                    filter,
                    id,
                    queue_arn: rule.arn,
                }),
                Form::Topic => topics.push(TopicConfiguration {
                    events,
                    filter,
                    id,
                    topic_arn: rule.arn,
                }),
                Form::Lambda => lambdas.push(LambdaFunctionConfiguration {
                    events,
                    filter,
                    id,
                    lambda_function_arn: rule.arn,
                }),
            }
        }
        Ok(S3Response::new(GetBucketNotificationConfigurationOutput {
            event_bridge_configuration: None,
            lambda_function_configurations: (!lambdas.is_empty()).then_some(lambdas),
            queue_configurations: (!queues.is_empty()).then_some(queues),
            topic_configurations: (!topics.is_empty()).then_some(topics),
        }))
    }

    /// Replaces the rules of a bucket; each target that they name is sent a test event.
    pub(super) async fn put_notification(
        &self,
        request: S3Request<PutBucketNotificationConfigurationInput>,
    ) -> S3Result<S3Response<PutBucketNotificationConfigurationOutput>> {
        let bucket = bucket_name(&request.input.bucket)?;
        self.expect_owner(&bucket, request.input.expected_bucket_owner.as_deref())
            .await?;
        let sent = request.input.notification_configuration;
        if sent.event_bridge_configuration.is_some() {
            return Err(not_built("EventBridge"));
        }
        let mut rules = Vec::new();
        for one in sent.queue_configurations.into_iter().flatten() {
            let (id, arn) = (one.id, one.queue_arn);
            rules.push(self.notification_rule(Form::Queue, id, arn, &one.events, one.filter)?);
        }
        for one in sent.topic_configurations.into_iter().flatten() {
            let (id, arn) = (one.id, one.topic_arn);
            rules.push(self.notification_rule(Form::Topic, id, arn, &one.events, one.filter)?);
        }
        for one in sent.lambda_function_configurations.into_iter().flatten() {
            let (id, arn) = (one.id, one.lambda_function_arn);
            rules.push(self.notification_rule(Form::Lambda, id, arn, &one.events, one.filter)?);
        }
        if rules.len() > RULES_MAX {
            return Err(invalid(format!(
                "a bucket has at most {RULES_MAX} notification rules"
            )));
        }
        for (at, rule) in rules.iter().enumerate() {
            for other in &rules[..at] {
                if rule.id == other.id {
                    return Err(invalid(format!(
                        "two rules have the id `{}`",
                        cut(&rule.id)
                    )));
                }
                if rule.overlaps(other) {
                    return Err(invalid(
                        "Configurations overlap. Rules for one webhook cannot share a common event type, prefix and suffix",
                    ));
                }
            }
        }
        let mut targets: Vec<_> = rules.iter().map(|rule| rule.target().to_owned()).collect();
        targets.sort();
        targets.dedup();
        self.store
            .set_notification(&bucket, serde_json::json!(rules), targets)
            .await
            .map_err(error::of)?;
        Ok(S3Response::new(
            PutBucketNotificationConfigurationOutput::default(),
        ))
    }
}

//! Notification rules as the Rust SDK sets them, and what a webhook is told.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::types::{
    Event, FilterRule, FilterRuleName, NotificationConfiguration, NotificationConfigurationFilter,
    QueueConfiguration, S3KeyFilter, TopicConfiguration,
};
use axum::Router;
use axum::extract::State;
use nebula_daemon::notify::{Notifier, NotifierParts, Target, Targets, Terms};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::sdk::{house, put, refused};
use super::server::SECRET_KEY;

const ARN: &str = "arn:nebula:webhook:::hall";

fn queue(arn: &str, event: &str, prefix: &str) -> QueueConfiguration {
    let rule = FilterRule::builder()
        .name(FilterRuleName::Prefix)
        .value(prefix);
    let key = S3KeyFilter::builder().filter_rules(rule.build()).build();
    let filter = NotificationConfigurationFilter::builder().key(key).build();
    QueueConfiguration::builder()
        .id(format!("{event} {prefix}"))
        .queue_arn(arn)
        .events(Event::from(event))
        .filter(filter)
        .build()
        .unwrap()
}

async fn set(client: &Client, rules: &[QueueConfiguration]) -> Result<(), (String, u16)> {
    let rules = NotificationConfiguration::builder().set_queue_configurations(Some(rules.to_vec()));
    let sent = client
        .put_bucket_notification_configuration()
        .bucket("films")
        .notification_configuration(rules.build())
        .send()
        .await;
    match sent {
        Ok(_) => Ok(()),
        Err(_) => Err(refused(sent)),
    }
}

#[tokio::test]
async fn rules_are_checked_kept_and_shown() {
    let (_server, client) = house().await;
    let get = || {
        client
            .get_bucket_notification_configuration()
            .bucket("films")
            .send()
    };
    assert!(get().await.unwrap().queue_configurations().is_empty());
    let mine = [
        queue(ARN, "s3:ObjectCreated:*", "a/"),
        queue(ARN, "s3:ObjectRemoved:Delete", "a/"),
    ];
    set(&client, &mine).await.unwrap();
    assert_eq!(get().await.unwrap().queue_configurations(), mine);
    let bad = [
        queue("arn:nebula:webhook:::attic", "s3:ObjectCreated:*", ""),
        queue("arn:aws:sqs:us-east-1:1:hall", "s3:ObjectCreated:*", ""),
        queue(ARN, "s3:ObjectRestore:Post", ""),
        queue(ARN, "s3:ObjectCreated:Nothing", ""),
    ];
    for rule in bad {
        let refusal = set(&client, &[rule]).await;
        assert_eq!(refusal, Err(("InvalidArgument".into(), 400)));
    }
    let twice = [
        queue(ARN, "s3:ObjectCreated:*", "a/"),
        queue(ARN, "s3:ObjectCreated:Put", "a/b"),
    ];
    assert_eq!(
        set(&client, &twice).await,
        Err(("InvalidArgument".into(), 400))
    );
    assert_eq!(
        get().await.unwrap().queue_configurations(),
        mine,
        "a refusal changes nothing"
    );
    let topic = TopicConfiguration::builder()
        .id("t")
        .topic_arn(ARN)
        .events(Event::S3ObjectCreatedPut)
        .build()
        .unwrap();
    client
        .put_bucket_notification_configuration()
        .bucket("films")
        .notification_configuration(
            NotificationConfiguration::builder()
                .topic_configurations(topic.clone())
                .build(),
        )
        .send()
        .await
        .unwrap();
    let shown = get().await.unwrap();
    assert!(shown.queue_configurations().is_empty());
    assert_eq!(shown.topic_configurations(), [topic]);
    set(&client, &[]).await.unwrap();
    assert!(get().await.unwrap().topic_configurations().is_empty());
}

#[tokio::test]
async fn a_webhook_hears_what_an_s3_client_does() {
    let (server, client) = house().await;
    let (sender, mut heard) = mpsc::channel::<Value>(64);
    let take = |State(sender): State<mpsc::Sender<Value>>, body: String| async move {
        let _ = sender.send(serde_json::from_str(&body).unwrap()).await;
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(take).with_state(sender);
    tokio::spawn(async move { axum::serve(listener, router).await });
    let notifier = Notifier::new(NotifierParts {
        store: server.store.clone(),
        targets: Targets::new(vec![Target::new("hall", &url, SECRET_KEY)]),
        region: "us-east-1".into(),
        terms: Terms::default(),
    });
    let stop = CancellationToken::new();
    let task = tokio::spawn(notifier.unwrap().run(stop.clone()));
    let mut next = async || {
        let next = tokio::time::timeout(Duration::from_secs(30), heard.recv()).await;
        next.expect("a notification arrives").unwrap()
    };
    // The place of a new webhook in the log is noted before anything is told.
    nebula_tests::wait::until_async("the webhook is known", async || {
        let known = server.store.catalog().consumers().await.unwrap();
        !known.is_empty()
    })
    .await;
    let rules = [
        queue(ARN, "s3:ObjectCreated:*", ""),
        queue(ARN, "s3:ObjectRemoved:*", ""),
    ];
    set(&client, &rules).await.unwrap();
    assert_eq!(next().await["Event"], "s3:TestEvent");
    put(&client, "a b", "0123456789").await;
    let told = next().await;
    assert_eq!(told["EventName"], "s3:ObjectCreated:Put");
    let object = &told["Records"][0]["s3"]["object"];
    assert_eq!(
        (&object["key"], &object["size"]),
        (&"a+b".into(), &10.into())
    );
    let copy = client.copy_object().bucket("films").key("copy");
    copy.copy_source("films/a%20b").send().await.unwrap();
    assert_eq!(next().await["EventName"], "s3:ObjectCreated:Copy");
    let gone = client.delete_object().bucket("films").key("copy");
    gone.send().await.unwrap();
    assert_eq!(next().await["EventName"], "s3:ObjectRemoved:Delete");
    stop.cancel();
    task.await.unwrap();
}

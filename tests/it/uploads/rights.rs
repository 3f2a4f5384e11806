//! Rights are asked for again at the end: what was taken back while a body came makes no object.

use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use nebula_client::api::{CreatedKey, PatchKey, Role};
use nebula_tests::{Appliance, wait, within};
use reqwest::{Method, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::promises::key;
use super::{LIMIT, RUFH, TUS, begin_as, content, house, metadata, offset, received, send};

const BODY: &[u8] = b"hello world";

/// A body of which all but the last byte was received, and the request that carries it.
struct Held {
    body: futures::channel::mpsc::Sender<Result<Bytes, std::io::Error>>,
    answer: tokio::task::JoinHandle<reqwest::Result<Response>>,
}

impl Held {
    async fn before_its_last_byte(appliance: &Appliance, by: &CreatedKey, path: &str) -> Self {
        let (body, pieces) = futures::channel::mpsc::channel(1);
        let is_tus = path.starts_with("/-/tus");
        let mut request = reqwest::Client::new()
            .request(Method::PATCH, appliance.at(path))
            .basic_auth(&by.key.id, Some(&by.secret))
            .header("Content-Type", if is_tus { TUS } else { RUFH })
            .header("Upload-Offset", 0)
            .body(reqwest::Body::wrap_stream(pieces));
        request = if is_tus {
            request.header("Tus-Resumable", "1.0.0")
        } else {
            request.header("Upload-Complete", "?1")
        };
        let mut held = Self {
            body,
            answer: tokio::spawn(request.send()),
        };
        held.send(&BODY[..BODY.len() - 1]).await;
        wait::until_async("the bytes have come", async || {
            received(appliance, path).await == BODY.len() - 1
        })
        .await;
        held
    }

    async fn send(&mut self, bytes: &'static [u8]) {
        let piece = Bytes::from_static(bytes);
        futures::SinkExt::send(&mut self.body, Ok(piece))
            .await
            .unwrap();
    }

    /// The status of the whole.
    async fn end(mut self) -> u16 {
        self.send(&BODY[BODY.len() - 1..]).await;
        drop(self.body);
        self.answer.await.unwrap().unwrap().status().as_u16()
    }
}

fn deny(key: &CreatedKey) -> String {
    serde_json::json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Deny",
        "Principal": { "AWS": key.key.id },
        "Action": "s3:PutObject",
        "Resource": "arn:aws:s3:::films/*",
    }]})
    .to_string()
}

/// A way to take a right back.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Taken {
    KeyRevoked,
    KeyOff,
    DeniedByTheBucket,
}

const WAYS: [Taken; 3] = [Taken::KeyRevoked, Taken::KeyOff, Taken::DeniedByTheBucket];

impl Taken {
    /// What the request is answered.
    fn status(self) -> u16 {
        match self {
            Self::KeyRevoked | Self::KeyOff => 401,
            Self::DeniedByTheBucket => 403,
        }
    }

    async fn take(self, appliance: &Appliance, from: &CreatedKey) {
        let client = appliance.client();
        match self {
            Self::KeyRevoked => client.delete_key(&from.key.id).await.unwrap(),
            Self::KeyOff => Self::switch(appliance, from, true).await,
            Self::DeniedByTheBucket => {
                let put = appliance.s3().put_bucket_policy().bucket("films");
                put.policy(deny(from)).send().await.unwrap();
            }
        }
    }

    async fn switch(appliance: &Appliance, key: &CreatedKey, disabled: bool) {
        let patch = PatchKey {
            disabled: Some(disabled),
            ..PatchKey::default()
        };
        let patched = appliance.client().patch_key(&key.key.id, &patch).await;
        patched.unwrap();
    }

    async fn give_back(self, appliance: &Appliance, to: &CreatedKey) {
        match self {
            Self::KeyRevoked => {}
            Self::KeyOff => Self::switch(appliance, to, false).await,
            Self::DeniedByTheBucket => {
                let delete = appliance.s3().delete_bucket_policy().bucket("films");
                delete.send().await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_right_that_was_taken_back_during_a_body_makes_no_object_of_it() {
    within(LIMIT, async {
        let mut appliance = house("").await;
        for protocol in ["tus", "rufh"] {
            for way in WAYS {
                let by = key(&appliance, "films", Role::Write).await;
                let name = format!("{protocol}-{way:?}");
                let path = begin_as(&appliance, &by, protocol, &name, BODY.len()).await;
                let held = Held::before_its_last_byte(&appliance, &by, &path).await;
                way.take(&appliance, &by).await;
                assert_eq!(held.end().await, way.status(), "{name}");
                assert_eq!(content(&appliance, &name).await, None, "{name}");
                assert_eq!(received(&appliance, &path).await, BODY.len(), "{name}");
                way.give_back(&appliance, &by).await;
                if protocol == "tus" && way != Taken::KeyRevoked {
                    // Every byte was kept: whoever has the right again need only ask.
                    let asked = reqwest::Client::new()
                        .head(appliance.at(&path))
                        .basic_auth(&by.key.id, Some(&by.secret))
                        .header("Tus-Resumable", "1.0.0");
                    assert_eq!(asked.send().await.unwrap().status(), 200);
                    assert!(content(&appliance, &name).await == Some(BODY.to_vec()));
                }
            }
        }
        assert!(appliance.stop().await.success());
        appliance.fsck(true).await;
    })
    .await;
}

/// A partial upload by a key.
async fn partial(appliance: &Appliance, by: &CreatedKey) -> String {
    let headers = [
        ("Upload-Concat", "partial".to_owned()),
        ("Upload-Length", BODY.len().to_string()),
    ];
    super::location(&post(appliance, by, &headers).await)
}

async fn post(appliance: &Appliance, by: &CreatedKey, headers: &[(&str, String)]) -> Response {
    let mut request = reqwest::Client::new()
        .post(appliance.at("/-/tus/"))
        .basic_auth(&by.key.id, Some(&by.secret))
        .header("Tus-Resumable", "1.0.0");
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    request.send().await.unwrap()
}

#[tokio::test]
async fn a_final_upload_that_was_joined_early_needs_its_right_at_its_end() {
    within(LIMIT, async {
        let mut appliance = house("").await;
        for way in WAYS {
            let by = key(&appliance, "films", Role::Write).await;
            let name = format!("joined-{way:?}");
            let part = partial(&appliance, &by).await;
            let whole = super::location(
                &post(
                    &appliance,
                    &by,
                    &[
                        ("Upload-Concat", format!("final;{part}")),
                        (
                            "Upload-Metadata",
                            metadata(&[("bucket", "films"), ("filename", &name)]),
                        ),
                    ],
                )
                .await,
            );
            let held = Held::before_its_last_byte(&appliance, &by, &part).await;
            way.take(&appliance, &by).await;
            assert_eq!(held.end().await, way.status(), "{name}");
            assert_eq!(content(&appliance, &name).await, None, "{name}");
            way.give_back(&appliance, &by).await;
            // Whoever may manage the bucket's uploads ends what is left by asking for it.
            if way != Taken::DeniedByTheBucket {
                assert_eq!(offset(&appliance, &part).await, BODY.len());
            }
            assert_eq!(offset(&appliance, &whole).await, BODY.len(), "{name}");
            assert!(content(&appliance, &name).await == Some(BODY.to_vec()));
        }
        assert!(appliance.stop().await.success());
        appliance.fsck(true).await;
    })
    .await;
}

/// Passes on all of a request but its last byte, which waits; returns its address, and what lets the byte through.
async fn hold_back(to: String) -> (String, oneshot::Receiver<()>, oneshot::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (is_held, held) = oneshot::channel();
    let (go, going) = oneshot::channel::<()>();
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut server = TcpStream::connect(to).await.unwrap();
        let mut request = Vec::new();
        let whole = loop {
            client.read_buf(&mut request).await.unwrap();
            let text = String::from_utf8_lossy(&request).to_lowercase();
            let Some(head) = text.find("\r\n\r\n") else {
                continue;
            };
            let length = text
                .lines()
                .find_map(|l| l.strip_prefix("content-length: "));
            let whole = head + 4 + length.unwrap().trim().parse::<usize>().unwrap();
            if request.len() == whole {
                break whole;
            }
        };
        server.write_all(&request[..whole - 1]).await.unwrap();
        is_held.send(()).unwrap();
        going.await.unwrap();
        server.write_all(&request[whole - 1..]).await.unwrap();
        let _closed = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    });
    (address, held, go)
}

#[tokio::test]
async fn a_completion_needs_its_right_when_its_body_has_come() {
    within(LIMIT, async {
        let mut appliance = house("").await;
        for way in WAYS {
            let by = key(&appliance, "films", Role::Write).await;
            let name = format!("parts-{way:?}");
            let s3 = appliance.s3_as(&by.key.id, &by.secret);
            let begun = s3.create_multipart_upload().bucket("films").key(&name);
            let id = begun.send().await.unwrap().upload_id.unwrap();
            let part = s3.upload_part().bucket("films").key(&name).upload_id(&id);
            let part = part.part_number(1).body(BODY.to_vec().into()).send();
            let etag = part.await.unwrap().e_tag.unwrap();
            let part = CompletedPart::builder().part_number(1).e_tag(&etag).build();
            let parts = CompletedMultipartUpload::builder().parts(part).build();
            let (through, held, go) = hold_back(appliance.address().to_owned()).await;
            let config = s3.config().to_builder().endpoint_url(through).build();
            let complete = aws_sdk_s3::Client::from_conf(config)
                .complete_multipart_upload()
                .bucket("films")
                .key(&name)
                .upload_id(&id)
                .multipart_upload(parts.clone())
                .send();
            let complete = tokio::spawn(complete);
            held.await.unwrap();
            way.take(&appliance, &by).await;
            go.send(()).unwrap();
            let refused = complete.await.unwrap().unwrap_err();
            let status = refused.raw_response().unwrap().status().as_u16();
            assert_eq!(status, 403, "{name}");
            assert_eq!(content(&appliance, &name).await.as_deref(), None, "{name}");
            way.give_back(&appliance, &by).await;
            if way != Taken::KeyRevoked {
                let again = s3.complete_multipart_upload().bucket("films").key(&name);
                let again = again.upload_id(&id).multipart_upload(parts).send();
                again.await.unwrap();
                assert!(content(&appliance, &name).await == Some(BODY.to_vec()));
            }
        }
        assert!(appliance.stop().await.success());
        appliance.fsck(true).await;
    })
    .await;
}

#[tokio::test]
async fn the_address_of_a_finished_upload_gives_its_bytes_to_its_owner() {
    within(LIMIT, async {
        let mut appliance = house("").await;
        let by = key(&appliance, "films", Role::Write).await;
        let stranger = key(&appliance, "films", Role::Read).await;
        let path = begin_as(&appliance, &by, "tus", "read", BODY.len()).await;
        let held = Held::before_its_last_byte(&appliance, &by, &path).await;
        let read = |by: &CreatedKey| {
            reqwest::Client::new()
                .get(appliance.at(&path))
                .basic_auth(&by.key.id, Some(&by.secret))
        };
        // Whoever looks does not end the body that is coming.
        assert_eq!(read(&by).send().await.unwrap().status(), 409);
        assert_eq!(held.end().await, 204);
        let whole = read(&by).send().await.unwrap();
        assert_eq!(whole.status(), 200);
        assert_eq!(super::of(&whole, "cache-control"), "private, no-cache");
        assert_eq!(whole.bytes().await.unwrap(), BODY);
        let some = read(&by).header("Range", "bytes=6-").send().await.unwrap();
        assert_eq!(some.status(), 206);
        assert_eq!(some.bytes().await.unwrap(), &BODY[6..]);
        assert_eq!(read(&stranger).send().await.unwrap().status(), 404);
        let nobody = reqwest::get(appliance.at(&path)).await.unwrap();
        assert_eq!(nobody.status(), 401);
        // What stands under the name now is not what was uploaded here.
        let put = appliance.s3().put_object().bucket("films").key("read");
        put.body(b"other".to_vec().into()).send().await.unwrap();
        assert_eq!(read(&by).send().await.unwrap().status(), 404);
        let part = partial(&appliance, &by).await;
        let answer = send(&appliance, "GET", &part, &[], "").await;
        assert_eq!(answer.status(), 409);
        let metrics = appliance.get("/-/metrics").send().await.unwrap();
        let metrics = metrics.text().await.unwrap();
        for line in [
            "nebula_http_received_bytes_total{door=\"tus\"} 11",
            "nebula_http_received_bytes_total{door=\"s3\"} 5",
        ] {
            assert!(
                metrics.lines().any(|found| found == line),
                "{line}: {metrics}"
            );
        }
        assert!(metrics.contains("nebula_http_requests_total{door=\"tus\",status=\"2xx\"}"));
        assert!(appliance.stop().await.success());
    })
    .await;
}

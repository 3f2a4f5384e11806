//! What can be read of an upload while it arrives, over real sockets: the bytes here, the film in `film`.

#![expect(clippy::unwrap_used, reason = "tests")]

mod film;
mod player;
mod sender;

use std::time::Duration;

use bytes::Bytes;
use nebula_tests::{Appliance, Seed, wait, within};
use reqwest::{Method, Response, StatusCode};
use sender::{BUCKET, Upload, bucket};

/// For one test.
const LIMIT: Duration = Duration::from_mins(2);
/// The pace of an upload here.
const PACE_BITS_PER_S: u64 = 20_000_000;
const MIB: usize = 1 << 20;

fn path(key: &str) -> String {
    format!("/-/file/{BUCKET}/{key}")
}

async fn ranged(appliance: &Appliance, key: &str, range: &str) -> Response {
    let request = appliance.get(&path(key)).header("Range", range);
    request.send().await.unwrap()
}

fn header<'a>(answer: &'a Response, name: &str) -> Option<&'a str> {
    answer
        .headers()
        .get(name)
        .map(|text| text.to_str().unwrap())
}

#[tokio::test]
async fn a_reader_follows_an_upload_to_its_end_at_the_same_address() {
    within(LIMIT, async {
        let appliance = Appliance::start().await;
        bucket(&appliance).await;
        let bytes = Bytes::from(Seed::new("arriving 1").bytes(6 * MIB));
        let upload = Upload::begin(&appliance, "film.bin", Some(bytes.len())).await;
        // Begun before the first byte is sent.
        let whole = tokio::spawn(appliance.get(&path("film.bin")).send());
        let sending = upload.pace(0, bytes.clone(), PACE_BITS_PER_S);

        let mut whole = whole.await.unwrap().unwrap();
        assert_eq!(whole.status(), StatusCode::OK);
        assert_eq!(whole.content_length(), Some(bytes.len() as u64));
        assert_eq!(header(&whole, "cache-control"), Some("no-store"));
        assert_eq!(header(&whole, "upload-complete"), Some("?0"));
        for none in ["etag", "last-modified"] {
            assert_eq!(header(&whole, none), None, "{none}");
        }
        let first = whole.chunk().await.unwrap().unwrap();
        let sent = sending.sent.load(std::sync::atomic::Ordering::SeqCst);
        assert!(sent < bytes.len() as u64, "read while it arrives");

        // A range that is there, one that is coming, one beyond the end, and what a saved tag says.
        let there = ranged(&appliance, "film.bin", "bytes=100-199").await;
        assert_eq!(there.status(), StatusCode::PARTIAL_CONTENT);
        let place = format!("bytes 100-199/{}", bytes.len());
        assert_eq!(header(&there, "content-range"), Some(&*place));
        assert_eq!(there.bytes().await.unwrap(), bytes[100..200]);
        let beyond = ranged(&appliance, "film.bin", "bytes=99999999-").await;
        assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
        let tagged = appliance
            .get(&path("film.bin"))
            .header("Range", "bytes=0-9");
        let tagged = tagged.header("If-Range", "\"old\"").send().await.unwrap();
        assert_eq!(tagged.status(), StatusCode::OK);
        drop(tagged);
        let head = appliance.request(Method::HEAD, &path("film.bin"));
        let head = head.send().await.unwrap();
        assert_eq!(
            header(&head, "content-length"),
            Some(&*bytes.len().to_string())
        );
        assert_eq!(header(&head, "etag"), None);
        let tail = ranged(&appliance, "film.bin", "bytes=-1000").await;
        assert_eq!(tail.bytes().await.unwrap(), bytes[bytes.len() - 1000..]);

        let mut got = first.to_vec();
        while let Some(piece) = whole.chunk().await.unwrap() {
            got.extend_from_slice(&piece);
        }
        assert!(got == bytes, "every byte, once, in order");
        sending.task.await.unwrap();

        let after = appliance.get(&path("film.bin")).send().await.unwrap();
        assert!(header(&after, "etag").is_some() && header(&after, "upload-complete").is_none());
        assert_eq!(after.bytes().await.unwrap(), bytes);
    })
    .await;
}

#[tokio::test]
async fn a_reader_of_an_upload_that_goes_away_is_cut_off() {
    within(LIMIT, async {
        let appliance = Appliance::start().await;
        bucket(&appliance).await;
        let bytes = Seed::new("arriving 2").bytes(MIB);
        let upload = Upload::begin(&appliance, "gone.bin", Some(2 * MIB)).await;
        upload.send(0, &bytes).await;
        let mut reader = appliance.get(&path("gone.bin")).send().await.unwrap();
        let mut got = Vec::new();
        while got.len() < MIB {
            got.extend_from_slice(&reader.chunk().await.unwrap().unwrap());
        }
        assert!(got == bytes);
        upload.end().await;
        assert!(reader.chunk().await.is_err(), "told a length and cut off");
        let after = appliance.get(&path("gone.bin")).send().await.unwrap();
        assert_eq!(after.status(), StatusCode::NOT_FOUND);
    })
    .await;
}

#[tokio::test]
async fn an_upload_of_unknown_length_is_read_to_its_end() {
    within(LIMIT, async {
        let appliance = Appliance::start().await;
        bucket(&appliance).await;
        let bytes = Seed::new("arriving 3").bytes(2 * MIB);
        let upload = Upload::begin(&appliance, "endless.bin", None).await;
        upload.send(0, &bytes[..MIB]).await;
        let whole = appliance.get(&path("endless.bin")).send().await.unwrap();
        assert_eq!(
            (whole.status(), whole.content_length()),
            (StatusCode::OK, None)
        );
        let part = ranged(&appliance, "endless.bin", "bytes=1000-").await;
        assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
        let place = format!("bytes 1000-{}/*", MIB - 1);
        assert_eq!(header(&part, "content-range"), Some(&*place));
        assert_eq!(part.bytes().await.unwrap(), bytes[1000..MIB]);
        let rest = upload.patch(MIB).header("Upload-Length", 2 * MIB);
        let rest = rest.body(bytes[MIB..].to_vec()).send().await.unwrap();
        assert_eq!(rest.status(), StatusCode::NO_CONTENT);
        assert!(whole.bytes().await.unwrap() == bytes);
    })
    .await;
}

#[tokio::test]
async fn bytes_that_are_not_verified_are_not_read() {
    within(LIMIT, async {
        let appliance = Appliance::start().await;
        bucket(&appliance).await;
        let upload = Upload::begin(&appliance, "checked.bin", Some(MIB)).await;
        upload.send(0, &[7; 1000]).await;
        let mut reader = appliance.get(&path("checked.bin")).send().await.unwrap();
        assert_eq!(reader.chunk().await.unwrap().unwrap().len(), 1000);
        // All of it came, and none of it counts.
        let wrong = upload
            .patch(1000)
            .header("Upload-Checksum", "sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        let wrong = wrong.body(vec![8; MIB - 1000]).send().await.unwrap();
        assert_eq!(wrong.status().as_u16(), 460);
        upload.send(1000, &vec![9; MIB - 1000]).await;
        let mut rest = Vec::new();
        while let Some(piece) = reader.chunk().await.unwrap() {
            rest.extend_from_slice(&piece);
        }
        assert!(rest.len() == MIB - 1000 && rest.iter().all(|byte| *byte == 9));
    })
    .await;
}

#[tokio::test]
async fn only_who_may_read_the_object_reads_it_while_it_arrives() {
    within(LIMIT, async {
        let appliance = Appliance::start().await;
        bucket(&appliance).await;
        let upload = Upload::begin(&appliance, "secret.bin", Some(2000)).await;
        upload.send(0, &[1; 1000]).await;
        let address = appliance.at(&path("secret.bin"));
        let stranger = reqwest::get(&address).await.unwrap();
        assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED);
        let policy = format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::{BUCKET}/*"}}]}}"#
        );
        let s3 = appliance.s3();
        s3.delete_public_access_block().bucket(BUCKET).send().await.unwrap();
        s3.put_bucket_policy().bucket(BUCKET).policy(policy).send().await.unwrap();
        let mut opened = reqwest::get(&address).await.unwrap();
        assert_eq!(opened.status(), StatusCode::OK);
        assert_eq!(opened.chunk().await.unwrap().unwrap().len(), 1000);
    })
    .await;
}

#[tokio::test]
async fn an_object_that_is_there_is_read_until_its_replacement_is_whole() {
    within(LIMIT, async {
        let appliance = Appliance::start().await;
        bucket(&appliance).await;
        let old = Upload::begin(&appliance, "same.bin", Some(1000)).await;
        old.send(0, &[1; 1000]).await;
        let new = Upload::begin(&appliance, "same.bin", Some(2000)).await;
        new.send(0, &[2; 1000]).await;
        let now = appliance.get(&path("same.bin")).send().await.unwrap();
        assert_eq!(now.bytes().await.unwrap(), vec![1; 1000]);
        new.send(1000, &[2; 1000]).await;
        let now = appliance.get(&path("same.bin")).send().await.unwrap();
        assert_eq!(now.bytes().await.unwrap(), vec![2; 2000]);
    })
    .await;
}

#[tokio::test]
async fn the_tail_of_a_parallel_upload_is_read_before_its_middle() {
    within(LIMIT, async {
        let appliance = Appliance::start().await;
        bucket(&appliance).await;
        let bytes = Seed::new("arriving 4").bytes(3 * MIB);
        let mut lanes = Vec::new();
        for _ in 0..3 {
            let concat = [("Upload-Concat", "partial".to_owned())];
            lanes.push(Upload::begin_with(&appliance, "lanes.bin", Some(MIB), &concat).await);
        }
        let paths: Vec<&str> = lanes.iter().map(|lane| lane.path.as_str()).collect();
        let concat = [("Upload-Concat", format!("final;{}", paths.join(" ")))];
        Upload::begin_with(&appliance, "lanes.bin", None, &concat).await;
        lanes[2].send(0, &bytes[2 * MIB..]).await;
        lanes[0].send(0, &bytes[..1000]).await;
        let tail = ranged(&appliance, "lanes.bin", "bytes=-5000").await;
        let place = format!("bytes {}-{}/{}", 3 * MIB - 5000, 3 * MIB - 1, 3 * MIB);
        assert_eq!(header(&tail, "content-range"), Some(&*place));
        assert!(tail.bytes().await.unwrap() == bytes[3 * MIB - 5000..]);
        let mut whole = appliance.get(&path("lanes.bin")).send().await.unwrap();
        assert_eq!(whole.chunk().await.unwrap().unwrap(), bytes[..1000]);
        lanes[1].send(0, &bytes[MIB..2 * MIB]).await;
        lanes[0].send(1000, &bytes[1000..MIB]).await;
        let mut got = bytes[..1000].to_vec();
        while let Some(piece) = whole.chunk().await.unwrap() {
            got.extend_from_slice(&piece);
        }
        assert!(got == bytes);
    })
    .await;
}

#[tokio::test]
async fn parts_are_read_up_to_the_first_that_is_missing() {
    within(LIMIT, async {
        let appliance = Appliance::start().await;
        bucket(&appliance).await;
        let bytes = Seed::new("arriving 5").bytes(11 * MIB);
        let s3 = appliance.s3();
        let begun = s3.create_multipart_upload().bucket(BUCKET).key("parts.bin");
        let id = begun.send().await.unwrap().upload_id.unwrap();
        let put = |number: i32, bytes: &[u8]| {
            let part = s3
                .upload_part()
                .bucket(BUCKET)
                .key("parts.bin")
                .upload_id(&id);
            part.part_number(number).body(bytes.to_vec().into()).send()
        };
        let cut = 5 * MIB;
        let first = put(1, &bytes[..cut]).await.unwrap();
        let third = put(3, &bytes[2 * cut..]).await.unwrap();
        let mut whole = appliance.get(&path("parts.bin")).send().await.unwrap();
        assert_eq!(whole.content_length(), None);
        let mut got = Vec::new();
        while got.len() < cut {
            got.extend_from_slice(&whole.chunk().await.unwrap().unwrap());
        }
        assert!(
            got == bytes[..cut],
            "the third part is not there without the second"
        );
        let second = put(2, &bytes[cut..2 * cut]).await.unwrap();
        let mut parts = aws_sdk_s3::types::CompletedMultipartUpload::builder();
        for (number, tag) in [(1, first.e_tag), (2, second.e_tag), (3, third.e_tag)] {
            let part = aws_sdk_s3::types::CompletedPart::builder();
            parts = parts.parts(part.part_number(number).set_e_tag(tag).build());
        }
        let done = s3
            .complete_multipart_upload()
            .bucket(BUCKET)
            .key("parts.bin");
        let done = done
            .upload_id(&id)
            .multipart_upload(parts.build())
            .send()
            .await;
        done.unwrap();
        while let Some(piece) = whole.chunk().await.unwrap() {
            got.extend_from_slice(&piece);
        }
        assert!(got == bytes);
    })
    .await;
}

#[tokio::test]
async fn a_reader_comes_back_after_a_restart_and_reads_on() {
    within(LIMIT, async {
        let mut appliance = Appliance::start().await;
        bucket(&appliance).await;
        let bytes = Seed::new("arriving 6").bytes(2 * MIB);
        let upload = Upload::begin(&appliance, "kept.bin", Some(bytes.len())).await;
        upload.send(0, &bytes[..MIB]).await;
        let mut reader = appliance.get(&path("kept.bin")).send().await.unwrap();
        let mut got = reader.chunk().await.unwrap().unwrap().to_vec();
        appliance.kill();
        while let Ok(Some(piece)) = reader.chunk().await {
            got.extend_from_slice(&piece);
        }
        assert!(got.len() < bytes.len() && got == bytes[..got.len()]);
        appliance.restart().await;
        let range = format!("bytes={}-", got.len());
        let rest = tokio::spawn(
            appliance
                .get(&path("kept.bin"))
                .header("Range", range)
                .send(),
        );
        wait::until_async("the upload is there again", async || {
            upload.offset().await == MIB
        })
        .await;
        upload.send(MIB, &bytes[MIB..]).await;
        let rest = rest.await.unwrap().unwrap();
        assert_eq!(rest.status(), StatusCode::PARTIAL_CONTENT);
        got.extend_from_slice(&rest.bytes().await.unwrap());
        assert!(got == bytes);
    })
    .await;
}

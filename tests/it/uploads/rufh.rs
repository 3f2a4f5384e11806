//! The IETF's resumable uploads.

use nebula_tests::{Seed, wait, within};

use super::{
    LIMIT, MIB, RUFH, append, begin, content, early, house, location, of, offset, received, send,
    status,
};

#[tokio::test]
async fn an_upload_begins_carefully_and_ends_where_its_client_says() {
    within(LIMIT, async {
        let mut appliance = house("").await;
        let bytes = Seed::new("careful").bytes(3 * MIB + 5);
        let begun = [("Upload-Complete", "?0"), ("Content-Type", "video/mp4")];
        let begun = send(
            &appliance,
            "POST",
            "/-/upload/films/a/b%20c.mp4",
            &begun,
            "",
        )
        .await;
        assert!(of(&begun, "upload-limit").contains("max-age="));
        assert_eq!(of(&begun, "upload-complete"), "?0");
        assert_eq!(of(&begun, "upload-draft-interop-version"), "8");
        let path = location(&begun);
        let first = append(&appliance, &path, 0, false, bytes[..MIB].to_vec()).await;
        assert_eq!(
            (first.status().as_u16(), of(&first, "upload-complete")),
            (204, "?0")
        );
        let head = send(&appliance, "HEAD", &path, &[], "").await;
        assert_eq!(head.status(), 204);
        assert_eq!(of(&head, "upload-offset"), MIB.to_string());
        assert_eq!(of(&head, "upload-complete"), "?0");
        assert_eq!(of(&head, "upload-length"), "", "nobody said one");
        assert_eq!(of(&head, "cache-control"), "no-store");

        // All bytes are there, and the upload is not over: the client has not said so.
        let rest = bytes[MIB..].to_vec();
        let second = append(&appliance, &path, MIB, false, rest).await;
        assert_eq!(second.status(), 204);
        assert_eq!(content(&appliance, "a/b%20c.mp4").await, None);
        let last = append(&appliance, &path, bytes.len(), true, "").await;
        assert_eq!(
            (last.status().as_u16(), of(&last, "upload-complete")),
            (201, "?1")
        );
        assert_eq!(of(&last, "location"), "/-/file/films/a/b%20c.mp4");
        let replay = append(&appliance, &path, bytes.len(), true, "").await;
        assert_eq!(
            (replay.status().as_u16(), of(&replay, "upload-complete")),
            (201, "?1")
        );
        let late = append(&appliance, &path, bytes.len(), false, "x").await;
        assert_eq!(
            (late.status().as_u16(), of(&late, "upload-complete")),
            (409, "?0")
        );
        let head = send(&appliance, "GET", &path, &[], "").await;
        assert_eq!(of(&head, "upload-complete"), "?1");
        let answer = appliance
            .get("/-/file/films/a/b%20c.mp4")
            .send()
            .await
            .unwrap();
        assert_eq!(of(&answer, "content-type"), "video/mp4");
        assert!(answer.bytes().await.unwrap() == bytes);
        let gone = send(&appliance, "DELETE", &path, &[], "").await;
        assert_eq!(gone.status(), 204);
        let gone = send(&appliance, "HEAD", &path, &[], "").await;
        assert_eq!(gone.status(), 404);
        assert!(appliance.stop().await.success());
        appliance.fsck(true).await;
    })
    .await;
}

#[tokio::test]
async fn one_request_may_bring_everything_and_a_cut_one_is_resumed_by_either_protocol() {
    within(LIMIT, async {
        let mut appliance = house("").await;
        let bytes = Seed::new("at once").bytes(2 * MIB + 11);
        for (key, headers) in [
            ("whole", &[("Upload-Complete", "?1")][..]),
            ("plain", &[][..]),
        ] {
            let path = format!("/-/upload/films/{key}");
            let stored = send(&appliance, "PUT", &path, headers, bytes.clone()).await;
            assert_eq!(
                (stored.status().as_u16(), of(&stored, "upload-complete")),
                (201, "?1")
            );
            assert!(of(&stored, "etag").len() > 2);
            assert!(
                content(&appliance, key).await == Some(bytes.clone()),
                "{key}"
            );
        }
        // Nobody knows the length until the end: the body is chunked.
        let pieces = bytes
            .chunks(MIB)
            .map(|piece| Ok::<_, std::io::Error>(piece.to_vec()));
        let pieces: Vec<_> = pieces.collect();
        let stream = reqwest::Body::wrap_stream(futures::stream::iter(pieces));
        let ends = [("Upload-Complete", "?1")];
        let stored = send(&appliance, "POST", "/-/upload/films/stream", &ends, stream).await;
        assert_eq!(stored.status(), 201);
        assert!(content(&appliance, "stream").await == Some(bytes.clone()));
        let empty = send(&appliance, "POST", "/-/upload/films/empty", &ends, "").await;
        assert_eq!(empty.status(), 201);
        assert_eq!(content(&appliance, "empty").await, Some(Vec::new()));

        // Begun by one protocol, cut, and continued by the other.
        for (from, to) in [("rufh", "/-/tus/"), ("tus", "/-/upload/")] {
            let path = begin(&appliance, from, from, bytes.len()).await;
            let mut slow = super::Slow::append(&appliance, &path, 0);
            slow.send(&bytes[..MIB + 3]).await;
            wait::until_async("the bytes have come", async || {
                received(&appliance, &path).await == MIB + 3
            })
            .await;
            slow.answer.abort();
            drop(slow.body);
            let other = format!("{to}{}", path.rsplit('/').next().unwrap());
            assert_eq!(offset(&appliance, &other).await, MIB + 3);
            let rest = bytes[MIB + 3..].to_vec();
            let done = append(&appliance, &other, MIB + 3, true, rest).await;
            assert!(done.status().is_success(), "{done:?}");
            assert!(
                content(&appliance, from).await == Some(bytes.clone()),
                "{from}"
            );
        }
        assert!(appliance.stop().await.success());
    })
    .await;
}

/// What is refused is refused by the head of the request: no body follows any of these.
#[tokio::test]
async fn what_cannot_be_taken_is_refused_before_the_body() {
    within(LIMIT, async {
        let mut appliance = house("[limits]\nobject_bytes_max = 4194304\n").await;
        let stored = send(&appliance, "PUT", "/-/upload/films/there", &[], "x").await;
        assert_eq!(stored.status(), 201);
        let path = begin(&appliance, "rufh", "film", 100).await;
        let sent = append(&appliance, &path, 0, false, vec![7; 40]).await;
        assert_eq!(sent.status(), 204);
        let complete = ("Upload-Complete", "?1");
        let partial = ("Content-Type", RUFH);
        let length = ("Content-Length", "60");
        let at = ("Upload-Offset", "40");
        let missing = format!("/-/upload/{}", "0".repeat(32));
        for (expected, method, path, headers) in [
            (
                415,
                "PATCH",
                &*path,
                &[at, complete, length, ("Content-Type", "text/plain")][..],
            ),
            (400, "PATCH", &path, &[complete, partial, length]),
            (400, "PATCH", &path, &[at, partial, length]),
            (
                400,
                "PATCH",
                &path,
                &[at, partial, length, ("Upload-Complete", "1")],
            ),
            (
                409,
                "PATCH",
                &path,
                &[("Upload-Offset", "39"), complete, partial, length],
            ),
            (
                409,
                "PATCH",
                &path,
                &[("Upload-Offset", "41"), complete, partial, length],
            ),
            (
                400,
                "PATCH",
                &path,
                &[at, complete, partial, ("Content-Length", "61")],
            ),
            (
                400,
                "PATCH",
                &path,
                &[at, complete, partial, ("Content-Length", "59")],
            ),
            (
                400,
                "PATCH",
                &path,
                &[at, complete, partial, length, ("Upload-Length", "101")],
            ),
            (404, "PATCH", &missing, &[at, complete, partial, length]),
            (
                413,
                "POST",
                "/-/upload/films/x",
                &[complete, ("Content-Length", "4194305")],
            ),
            (
                413,
                "POST",
                "/-/upload/films/x",
                &[
                    ("Upload-Complete", "?0"),
                    ("Upload-Length", "4194305"),
                    length,
                ],
            ),
            (
                400,
                "POST",
                "/-/upload/films/x",
                &[complete, ("Upload-Length", "61"), length],
            ),
            (
                412,
                "PUT",
                "/-/upload/films/there",
                &[complete, ("If-None-Match", "*"), length],
            ),
            (404, "PUT", "/-/upload/nowhere/x", &[complete, length]),
            (400, "PUT", "/-/upload/NOT/x", &[complete, length]),
            (405, "PATCH", "/-/upload/films/x", &[complete, length]),
            (405, "PUT", &path, &[complete, length]),
        ] {
            let answer = early(&appliance, method, path, headers).await;
            assert_eq!(
                status(&answer),
                expected,
                "{method} {path} {headers:?}: {answer}"
            );
            assert!(
                expected != 413 || answer.contains("upload-limit: max-size=4194304"),
                "{answer}"
            );
            assert!(
                expected != 409 || answer.contains("upload-offset: 40\r"),
                "{answer}"
            );
        }
        let answer = append(&appliance, &path, 7, true, vec![7; 60]).await;
        let problem: serde_json::Value = answer.json().await.unwrap();
        let kind = problem["type"].as_str().unwrap();
        assert!(kind.ends_with("#mismatching-upload-offset"), "{problem}");
        assert_eq!(problem["expected-offset"], 40);
        assert_eq!(problem["provided-offset"], 7);
        let answer = append(&appliance, &path, 40, true, vec![7; 61]).await;
        let problem: serde_json::Value = answer.json().await.unwrap();
        let kind = problem["type"].as_str().unwrap();
        assert!(kind.ends_with("#inconsistent-upload-length"), "{problem}");
        // Nothing of this has touched the upload.
        let done = append(&appliance, &path, 40, true, vec![7; 60]).await;
        assert_eq!(done.status(), 201);
        // The condition is decided again at the end.
        let only_new = [("Upload-Complete", "?0"), ("If-None-Match", "*")];
        let late = send(&appliance, "POST", "/-/upload/films/late", &only_new, "").await;
        let late = location(&late);
        send(&appliance, "PUT", "/-/upload/films/late", &[], "first").await;
        let second = append(&appliance, &late, 0, true, "second").await;
        assert_eq!(second.status(), 412);
        assert_eq!(content(&appliance, "late").await, Some(b"first".to_vec()));
        let known = send(&appliance, "OPTIONS", "/-/upload/films/x", &[], "").await;
        assert_eq!(known.status(), 204);
        assert_eq!(of(&known, "upload-limit"), "max-size=4194304, min-size=0");
        assert!(appliance.stop().await.success());
    })
    .await;
}

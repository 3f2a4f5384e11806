//! What tus 1.0 says in so many words: the version, the numbers, the extensions, and pages of other origins.

use nebula_tests::{Seed, within};

use super::{
    LIMIT, TUS, append, begin, content, early, house, location, metadata, of, offset, send, status,
};

#[tokio::test]
async fn the_version_is_negotiated_and_the_server_says_what_it_can() {
    within(LIMIT, async {
        let mut appliance = house("[limits]\nobject_bytes_max = 1048576\n").await;
        let known = appliance
            .request(reqwest::Method::OPTIONS, "/-/tus/")
            .send()
            .await
            .unwrap();
        assert_eq!(known.status(), 204);
        assert_eq!(
            (of(&known, "tus-version"), of(&known, "tus-max-size")),
            ("1.0.0", "1048576")
        );
        let extensions: Vec<&str> = of(&known, "tus-extension").split(',').collect();
        for extension in [
            "creation",
            "creation-with-upload",
            "creation-defer-length",
            "termination",
            "expiration",
            "checksum",
            "checksum-trailer",
            "concatenation",
        ] {
            assert!(extensions.contains(&extension), "{extension}");
        }
        assert!(
            of(&known, "tus-checksum-algorithm")
                .split(',')
                .any(|one| one == "sha1")
        );
        let path = begin(&appliance, "tus", "a", 5).await;
        for version in ["0.2.2", "1.0.1", "", "garbage"] {
            for (method, path) in [
                ("POST", "/-/tus/"),
                ("PATCH", &path),
                ("HEAD", &path),
                ("DELETE", &path),
            ] {
                let answer = early(&appliance, method, path, &[("Tus-Resumable", version)]).await;
                assert_eq!(status(&answer), 412, "{method} {version}");
                assert!(
                    answer.contains("tus-version: 1.0.0")
                        && answer.contains("tus-resumable: 1.0.0")
                );
            }
        }
        // What was refused changed nothing.
        assert_eq!(offset(&appliance, &path).await, 0);
        for (method, path) in [
            ("GET", "/-/tus/"),
            ("PUT", "/-/tus/"),
            ("POST", &path),
            ("PUT", &path),
        ] {
            let answer = send(&appliance, method, path, &[], "").await;
            assert_eq!(answer.status(), 405, "{method} {path}");
            assert!(!of(&answer, "allow").is_empty());
        }
        let page = [
            ("Origin", "https://page.example"),
            ("Access-Control-Request-Method", "PATCH"),
            (
                "Access-Control-Request-Headers",
                "upload-offset, tus-resumable",
            ),
        ];
        let answer = send(&appliance, "OPTIONS", &path, &page, "").await;
        assert_eq!(of(&answer, "access-control-allow-origin"), "*");
        assert!(of(&answer, "access-control-allow-methods").contains("PATCH"));
        assert!(of(&answer, "access-control-allow-headers").contains("upload-offset"));
        let answer = send(&appliance, "HEAD", &path, &page[..1], "").await;
        let exposed = of(&answer, "access-control-expose-headers").to_lowercase();
        for name in [
            "upload-offset",
            "upload-length",
            "location",
            "upload-expires",
            "upload-metadata",
        ] {
            assert!(exposed.contains(name), "{name}");
        }
        assert!(appliance.stop().await.success());
    })
    .await;
}

#[tokio::test]
async fn a_creation_is_judged_by_its_head() {
    within(LIMIT, async {
        let mut appliance = house("[limits]\nobject_bytes_max = 1048576\n").await;
        let five = ("Upload-Length", "5");
        for (expected, headers) in [
            (400, &[][..]),
            (400, &[five, ("Upload-Defer-Length", "1")]),
            (400, &[("Upload-Defer-Length", "2")]),
            (400, &[("Upload-Length", "-1")]),
            (400, &[("Upload-Length", "5x")]),
            (400, &[("Upload-Length", "18446744073709551616")]),
            (413, &[("Upload-Length", "1048577")]),
            (201, &[("Upload-Length", "1048576")]),
            (201, &[("Upload-Length", "0")]),
            (201, &[("Upload-Defer-Length", "1")]),
            (400, &[five, ("Upload-Metadata", "a,,b")]),
            (400, &[five, ("Upload-Metadata", "filename !!")]),
            (400, &[five, ("Upload-Metadata", "a Zm9v,a YmFy")]),
            (404, &[five, ("Upload-Metadata", "bucket bm93aGVyZQ==")]),
            (
                415,
                &[
                    five,
                    ("Content-Type", "text/plain"),
                    ("Content-Length", "5"),
                ],
            ),
            (
                400,
                &[
                    five,
                    ("Content-Type", TUS),
                    ("Content-Length", "5"),
                    ("Upload-Checksum", "foo99 eA=="),
                ],
            ),
            (400, &[five, ("Upload-Concat", "sometimes")]),
            (400, &[five, ("Upload-Concat", "final;/-/tus/x")]),
        ] {
            let answer = early(&appliance, "POST", "/-/tus/", headers).await;
            assert_eq!(status(&answer), expected, "{headers:?}: {answer}");
            assert!(expected != 201 || answer.contains("location: "), "{answer}");
        }
        // Metadata comes back as it was sent; bytes may come along, all of them or some.
        let names = format!(
            "{},empty",
            metadata(&[("bucket", "films"), ("filename", "k\u{e4}se")])
        );
        let headers = [five, ("Upload-Metadata", &*names), ("Content-Type", TUS)];
        let begun = send(&appliance, "POST", "/-/tus/", &headers, "hel").await;
        assert_eq!(of(&begun, "upload-offset"), "3");
        assert!(of(&begun, "upload-expires").ends_with(" GMT"));
        let path = location(&begun);
        let head = send(&appliance, "HEAD", &path, &[], "").await;
        assert_eq!(
            (of(&head, "upload-metadata"), of(&head, "upload-length")),
            (&*names, "5")
        );
        assert_eq!(
            (of(&head, "cache-control"), of(&head, "upload-offset")),
            ("no-store", "3")
        );
        assert_eq!(append(&appliance, &path, 3, true, "lo").await.status(), 204);
        assert_eq!(
            content(&appliance, "k%C3%A4se").await.as_deref(),
            Some(&b"hello"[..])
        );
        assert!(appliance.stop().await.success());
    })
    .await;
}

#[tokio::test]
async fn a_continuation_is_judged_by_its_head_and_its_offset() {
    within(LIMIT, async {
        let mut appliance = house("[limits]\nobject_bytes_max = 1048576\n").await;
        let path = begin(&appliance, "tus", "film", 100).await;
        assert_eq!(
            append(&appliance, &path, 0, false, vec![1; 40])
                .await
                .status(),
            204
        );
        let (at, kind, length) = (
            ("Upload-Offset", "40"),
            ("Content-Type", TUS),
            ("Content-Length", "60"),
        );
        let missing = format!("/-/tus/{}", "0".repeat(32));
        for (expected, path, headers) in [
            (415, &path, &[at, length][..]),
            (
                415,
                &path,
                &[at, length, ("Content-Type", "application/octet-stream")],
            ),
            (400, &path, &[kind, length]),
            (400, &path, &[("Upload-Offset", "-1"), kind, length]),
            (400, &path, &[("Upload-Offset", "4x"), kind, length]),
            (409, &path, &[("Upload-Offset", "0"), kind, length]),
            (409, &path, &[("Upload-Offset", "41"), kind, length]),
            (
                409,
                &path,
                &[("Upload-Offset", "18446744073709551615"), kind, length],
            ),
            (413, &path, &[at, kind, ("Content-Length", "61")]),
            (409, &path, &[at, kind, length, ("Upload-Length", "101")]),
            (
                400,
                &path,
                &[at, kind, length, ("Upload-Checksum", "sha1 AAAA")],
            ),
            (404, &missing, &[at, kind, length]),
        ] {
            let answer = early(&appliance, "PATCH", path, headers).await;
            assert_eq!(status(&answer), expected, "{headers:?}: {answer}");
        }
        assert_eq!(offset(&appliance, &path).await, 40);
        // An empty body is a body; a repeated last one finds all there.
        assert_eq!(append(&appliance, &path, 40, false, "").await.status(), 204);
        for (at, rest) in [(40, 60), (100, 0)] {
            let last = append(&appliance, &path, at, true, vec![1; rest]).await;
            let said = (last.status().as_u16(), of(&last, "upload-offset"));
            assert_eq!(said, (204, "100"));
        }
        assert_eq!(
            append(&appliance, &path, 40, true, vec![1; 60])
                .await
                .status(),
            409
        );

        // A length that was left open is declared once.
        let open = send(
            &appliance,
            "POST",
            "/-/tus/",
            &[("Upload-Defer-Length", "1")],
            "",
        )
        .await;
        let open = location(&open);
        let head = send(&appliance, "HEAD", &open, &[], "").await;
        assert_eq!(
            (of(&head, "upload-defer-length"), of(&head, "upload-length")),
            ("1", "")
        );
        assert_eq!(
            append(&appliance, &open, 0, false, "he").await.status(),
            204
        );
        for (expected, length) in [
            (413, "1048577"),
            (400, "1"),
            (204, "5"),
            (409, "6"),
            (204, "5"),
        ] {
            let at = offset(&appliance, &open).await.to_string();
            let headers = [
                ("Upload-Offset", &*at),
                ("Content-Type", TUS),
                ("Upload-Length", length),
            ];
            let answer = send(&appliance, "PATCH", &open, &headers, "").await;
            assert_eq!(answer.status(), expected, "{length}");
        }
        let head = send(&appliance, "HEAD", &open, &[], "").await;
        assert_eq!(
            (of(&head, "upload-defer-length"), of(&head, "upload-length")),
            ("", "5")
        );
        let gone = send(&appliance, "DELETE", &open, &[], "").await;
        assert_eq!(gone.status(), 204);
        for method in ["HEAD", "PATCH", "DELETE"] {
            let headers = [("Upload-Offset", "2"), ("Content-Type", TUS)];
            let answer = send(&appliance, method, &open, &headers, "").await;
            assert_eq!(answer.status(), 404, "{method}");
        }
        assert!(appliance.stop().await.success());
    })
    .await;
}

#[tokio::test]
async fn two_writers_never_mix_their_bytes() {
    within(LIMIT, async {
        let mut appliance = house("").await;
        let size = 8 * super::MIB;
        let path = begin(&appliance, "tus", "one", size).await;
        let mut seed = Seed::new("writers");
        let sides = [seed.split().bytes(size), seed.split().bytes(size)];
        let write = |n: usize| append(&appliance, &path, 0, true, sides[n].clone());
        let (a, b) = tokio::join!(write(0), write(1));
        let won = [a, b]
            .iter()
            .filter(|answer| answer.status() == 204)
            .count();
        assert!(won <= 1, "{won} writers were told that they wrote all");
        let at = offset(&appliance, &path).await;
        if at < size {
            // Who was ended first left its beginning: a client goes on from there with its own bytes.
            let rest = append(&appliance, &path, at, true, sides[0][at..].to_vec()).await;
            assert_eq!(rest.status(), 204);
        }
        let stored = content(&appliance, "one").await.unwrap();
        let first = sides.iter().position(|side| side[..1024] == stored[..1024]);
        let first = &sides[first.expect("one of them was first")];
        let common = stored.iter().zip(first).take_while(|(a, b)| a == b).count();
        assert!(
            common == size || common >= at,
            "mixed at byte {common}, resumed at {at}"
        );
        assert!(appliance.stop().await.success());
    })
    .await;
}

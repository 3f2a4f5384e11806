//! Films that are played while they arrive.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_sdk_s3::types::{
    ServerSideEncryption, ServerSideEncryptionByDefault, ServerSideEncryptionConfiguration,
    ServerSideEncryptionRule,
};
use bytes::Bytes;
use nebula_client::api::CreateLink;
use nebula_tests::{Appliance, Seed, films, wait, within};
use reqwest::{Response, StatusCode};

use super::sender::{BUCKET, Upload, bucket};
use crate::exact::probe::{self, Playlist, attribute};

/// For one test.
const LIMIT: Duration = Duration::from_mins(3);
/// A player waits no longer for a playlist, by the defaults of hls.js.
const PLAYER_WAITS: Duration = Duration::from_secs(10);

/// A fragment for each key picture, its sound behind it.
pub const FRAGMENTED: [&str; 2] = ["-movflags", "+frag_keyframe+empty_moov+default_base_moof"];

/// H.264 with B-frames, a key every two seconds, and AAC; 13 s of it.
fn film(name: &str, more: &[&str]) -> Option<PathBuf> {
    #[rustfmt::skip]
    let mut arguments = vec![
        "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=24",
        "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000",
        "-t", "13", "-pix_fmt", "yuv420p", "-preset", "ultrafast", "-c:v", "libx264", "-bf", "2", "-b_strategy", "0",
        "-g", "48", "-sc_threshold", "0", "-c:a", "aac", "-ac", "2",
    ];
    arguments.extend(more);
    films::made(name, &arguments)
}

fn moov_first() -> Option<PathBuf> {
    film("arriving-first.mp4", &["-movflags", "+faststart"])
}

/// An appliance, and an address of its films that needs no credentials.
struct House {
    appliance: Appliance,
    films: String,
    http: reqwest::Client,
}

impl House {
    async fn start() -> Self {
        let appliance = Appliance::start().await;
        bucket(&appliance).await;
        let wanted = CreateLink {
            bucket: BUCKET.into(),
            prefix: Some("all/".into()),
            expires_in_s: 3600,
            ..CreateLink::default()
        };
        let client = appliance.client();
        let link = client.create_link(&wanted).await.unwrap();
        let films = client.absolute(&link.urls.unwrap().file);
        Self {
            appliance,
            films: films.replacen("/file/", "/hls/", 1),
            http: reqwest::Client::new(),
        }
    }

    fn address(&self, film: &str, leaf: &str) -> String {
        format!("{}{film}/{leaf}", self.films)
    }

    async fn get(&self, film: &str, leaf: &str) -> Response {
        let answer = self.http.get(self.address(film, leaf)).send().await;
        answer.unwrap()
    }

    async fn bytes(&self, film: &str, leaf: &str) -> Bytes {
        let answer = self.get(film, leaf).await;
        let status = answer.status();
        let bytes = answer.bytes().await.unwrap();
        let said = || String::from_utf8_lossy(&bytes).into_owned();
        assert_eq!(status, StatusCode::OK, "{film}/{leaf}: {}", said());
        bytes
    }

    async fn text(&self, film: &str, leaf: &str) -> String {
        String::from_utf8(self.bytes(film, leaf).await.to_vec()).unwrap()
    }

    /// The playlist of each stream, by the stream's name.
    async fn streams(&self, film: &str) -> BTreeMap<String, String> {
        let master = self.text(film, "master.m3u8").await;
        let uri = |line: &str| match line.strip_prefix('#') {
            Some(_) if line.starts_with("#EXT-X-MEDIA:") => {
                attribute(line, "URI").map(str::to_owned)
            }
            Some(_) => None,
            None => Some(line.to_owned()),
        };
        let streams = master.lines().filter_map(uri);
        streams
            .map(|uri| (uri.split_once(".m3u8").unwrap().0.to_owned(), uri))
            .collect()
    }

    /// A playlist once it tells the end, which a follower may still be reading towards when the last byte is there.
    async fn ended(&self, film: &str, uri: &str) -> String {
        let mut text = String::new();
        wait::until_async("the playlist tells the end", async || {
            text = self.text(film, uri).await;
            Playlist::read(&text).ended
        })
        .await;
        text
    }

    async fn upload(&self, film: &str, bytes: usize) -> Upload {
        Upload::begin(&self.appliance, &format!("all/{film}"), Some(bytes)).await
    }
}

fn name(film: &Path) -> &str {
    film.file_name().unwrap().to_str().unwrap()
}

fn read(film: &Path) -> Bytes {
    std::fs::read(film).unwrap().into()
}

/// Names and lengths, without what stands for the content.
fn entries(text: &str) -> Vec<(String, String)> {
    let list = Playlist::read(text);
    let plain = |uri: &str| uri.split('?').next().unwrap().to_owned();
    let segments = list.segments.iter();
    segments
        .map(|(length, uri)| (format!("{length:.6}"), plain(uri)))
        .collect()
}

/// Everything that a player sees of a film: while parts of it are there, as the rest comes, and when it is whole.
async fn plays_while_it_arrives(house: &House, film: &Path, is_altered: bool) {
    let (key, bytes) = (name(film), read(film));
    let at = |percent: usize| bytes.len() * percent / 100;
    let upload = house.upload(key, bytes.len()).await;
    // A player that is there before the first byte.
    let early = tokio::spawn(house.http.get(house.address(key, "master.m3u8")).send());
    upload.send(0, &bytes[..at(45)]).await;
    assert_eq!(
        early.await.unwrap().unwrap().status(),
        StatusCode::OK,
        "{key}"
    );

    let streams = house.streams(key).await;
    assert_eq!(streams.len(), 2, "{key}: {streams:?}");
    let mut known = BTreeMap::new();
    for (stream, uri) in &streams {
        let text = house.text(key, uri).await;
        assert!(text.contains("#EXT-X-PLAYLIST-TYPE:EVENT"), "{key}: {text}");
        let list = Playlist::read(&text);
        assert!(
            !list.ended && list.total_s() >= 2.0 && list.total_s() < 8.0,
            "{key}: {text}"
        );
        let mut first = vec![house.bytes(key, &list.init).await];
        for (_, segment) in &list.segments {
            first.push(house.bytes(key, segment).await);
        }
        known.insert(stream.clone(), (list, first));
    }

    // Whoever asks for what comes next has it when it is there.
    let (picture, uri) = streams.iter().next_back().unwrap();
    let count = known[picture].0.segments.len();
    let address = house.address(key, &format!("{uri}&_HLS_msn={count}"));
    let next = tokio::spawn(house.http.get(address).send());
    let (_, segment) = &known[picture].0.segments[0];
    let coming = segment.replace("-0.m4s", &format!("-{count}.m4s"));
    let coming = tokio::spawn(house.http.get(house.address(key, &coming)).send());
    upload.send(at(45), &bytes[at(45)..at(80)]).await;
    let next = next.await.unwrap().unwrap().text().await.unwrap();
    assert!(
        Playlist::read(&next).segments.len() > count,
        "{key}: {next}"
    );
    assert_eq!(
        coming.await.unwrap().unwrap().status(),
        StatusCode::OK,
        "{key}"
    );

    // Afterwards everything is at the same addresses, and the end is told.
    upload.send(at(80), &bytes[at(80)..]).await;
    let source = probe::packets(film.to_str().unwrap()).await;
    for (stream, uri) in &streams {
        let (before, first) = &known[stream];
        let text = house.ended(key, uri).await;
        let after = Playlist::read(&text);
        assert_eq!(
            after.segments[..before.segments.len()],
            before.segments,
            "{key}"
        );
        let mut whole = Vec::new();
        let parts = [&after.init].into_iter();
        for (place, part) in parts
            .chain(after.segments.iter().map(|(_, uri)| uri))
            .enumerate()
        {
            let part = house.bytes(key, part).await;
            if let Some(first) = first.get(place) {
                assert!(*first == part, "{key} {stream}: part {place} has changed");
            }
            whole.extend_from_slice(&part);
        }
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("played.mp4");
        std::fs::write(&file, whole).unwrap();
        let played = probe::packets(file.to_str().unwrap()).await.packets;
        let id: u64 = stream[1..].parse().unwrap();
        let source = source.packets.iter().filter(|packet| packet.stream == id);
        let hashes = if is_altered {
            probe::remuxed(film.to_str().unwrap(), id).await
        } else {
            source.map(|packet| packet.hash.clone()).collect()
        };
        let played: Vec<String> = played.into_iter().map(|packet| packet.hash).collect();
        assert!(
            !hashes.is_empty() && played == hashes,
            "{key} {stream}: packet for packet"
        );

        // Whoever comes now finds the same cuts under the content's own name.
        let own = house.streams(key).await;
        assert_ne!(own[stream], *uri, "{key}");
        let own = house.text(key, &own[stream]).await;
        assert_eq!(entries(&own), entries(&text), "{key}");
        // And the index of the object answers for the old name too.
        wait::until_async("the object's own index answers", async || {
            let answer = house.get(key, &after.segments[0].1).await;
            answer.headers().contains_key("etag")
        })
        .await;
        let again = house.text(key, uri).await;
        assert_eq!(again, text, "{key}");
        assert!(
            house.bytes(key, &after.segments[0].1).await == first[1],
            "{key}"
        );
    }
}

#[tokio::test]
async fn an_mp4_with_its_table_first_plays_while_it_arrives() {
    within(LIMIT, async {
        let Some(film) = moov_first() else { return };
        plays_while_it_arrives(&House::start().await, &film, false).await;
    })
    .await;
}

#[tokio::test]
async fn a_fragmented_mp4_plays_while_it_arrives() {
    within(LIMIT, async {
        let Some(film) = film("arriving-fragmented.mp4", &FRAGMENTED) else {
            return;
        };
        plays_while_it_arrives(&House::start().await, &film, false).await;
    })
    .await;
}

#[tokio::test]
async fn a_fragment_plays_before_the_sound_of_the_next_is_there() {
    within(LIMIT, async {
        // Pictures that are moved against the sound would need the sound of the next fragment.
        let plain = [&FRAGMENTED[..], &["-bf", "0"]].concat();
        let Some(film) = film("arriving-fragmented-plain.mp4", &plain) else {
            return;
        };
        let (key, bytes) = (name(&film), read(&film));
        let tables = bytes.windows(4).enumerate();
        let tables = tables.filter(|(_, word)| word == b"moof");
        let tables: Vec<usize> = tables.map(|(at, _)| at - 4).collect();
        // The sound of a fragment lies behind all of its pictures: of this one, some pictures are there.
        let some = tables[1] + (tables[2] - tables[1]) * 2 / 5;
        let house = House::start().await;
        let upload = house.upload(key, bytes.len()).await;
        upload.send(0, &bytes[..some]).await;
        let streams = house.streams(key).await;
        assert_eq!(streams.len(), 2, "{streams:?}");
        for uri in streams.values() {
            let list = Playlist::read(&house.text(key, uri).await);
            assert_eq!(list.segments.len(), 1, "{list:?}");
            house.bytes(key, &list.segments[0].1).await;
        }
    })
    .await;
}

#[tokio::test]
async fn matroska_plays_while_it_arrives() {
    within(LIMIT, async {
        let Some(film) = film("arriving.mkv", &[]) else {
            return;
        };
        plays_while_it_arrives(&House::start().await, &film, false).await;
    })
    .await;
}

#[tokio::test]
async fn webm_plays_while_it_arrives() {
    within(LIMIT, async {
        #[rustfmt::skip]
        let codecs = [
            "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "48", "-c:a", "libopus",
        ];
        let Some(film) = film("arriving.webm", &codecs) else {
            return;
        };
        plays_while_it_arrives(&House::start().await, &film, false).await;
    })
    .await;
}

#[tokio::test]
async fn a_transport_stream_plays_while_it_arrives() {
    within(LIMIT, async {
        let Some(film) = film("arriving.ts", &[]) else {
            return;
        };
        plays_while_it_arrives(&House::start().await, &film, true).await;
    })
    .await;
}

#[tokio::test]
async fn a_film_plays_on_its_way_into_a_bucket_that_encrypts() {
    within(LIMIT, async {
        let Some(film) = film("arriving.mkv", &[]) else {
            return;
        };
        let house = House::start().await;
        let kind = ServerSideEncryptionByDefault::builder()
            .sse_algorithm(ServerSideEncryption::Aes256)
            .build()
            .unwrap();
        let rule = ServerSideEncryptionRule::builder();
        let rule = rule.apply_server_side_encryption_by_default(kind).build();
        let rules = ServerSideEncryptionConfiguration::builder().rules(rule);
        let s3 = house.appliance.s3();
        let set = s3.put_bucket_encryption().bucket(BUCKET);
        let rules = rules.build().unwrap();
        let set = set.server_side_encryption_configuration(rules).send();
        set.await.unwrap();
        plays_while_it_arrives(&house, &film, false).await;
    })
    .await;
}

#[tokio::test]
async fn an_mp4_with_its_table_last_plays_once_its_tail_is_there() {
    within(LIMIT, async {
        // Long enough in bytes that nobody waits for its table.
        let large = ["-vf", "noise=alls=30:allf=t", "-b:v", "7M"];
        let Some(film) = film("arriving-last.mp4", &large) else {
            return;
        };
        let (key, bytes) = (name(&film), read(&film));
        let house = House::start().await;
        let table = bytes.windows(4).rposition(|word| word == b"moov").unwrap() - 4;
        let middle = table / 2;

        // From the front on, nothing can be told before the end.
        let forward = house.upload("forward.mp4", bytes.len()).await;
        forward.send(0, &bytes[..table / 4]).await;
        let answer = house.get("forward.mp4", "master.m3u8").await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(answer.headers().contains_key("retry-after"));
        let said = answer.text().await.unwrap();
        assert!(said.contains(&format!("byte {table},")), "{said}");

        // Tail first, it plays as it comes.
        let cuts = [0, middle, table, bytes.len()];
        let mut lanes = Vec::new();
        for pair in cuts.windows(2) {
            let concat = [("Upload-Concat", "partial".to_owned())];
            let (key, length) = (format!("all/{key}"), pair[1] - pair[0]);
            let lane = Upload::begin_with(&house.appliance, &key, Some(length), &concat).await;
            lanes.push(lane);
        }
        let paths: Vec<&str> = lanes.iter().map(|lane| lane.path.as_str()).collect();
        let concat = [("Upload-Concat", format!("final;{}", paths.join(" ")))];
        Upload::begin_with(&house.appliance, &format!("all/{key}"), None, &concat).await;
        lanes[2].send(0, &bytes[table..]).await;
        lanes[0].send(0, &bytes[..middle]).await;
        let streams = house.streams(key).await;
        assert_eq!(streams.len(), 2);
        let mut begun = BTreeMap::new();
        for (stream, uri) in &streams {
            let list = Playlist::read(&house.text(key, uri).await);
            assert!(!list.ended && !list.segments.is_empty(), "{list:?}");
            let last = house.bytes(key, &list.segments.last().unwrap().1).await;
            begun.insert(stream, (list, last));
        }
        lanes[1].send(0, &bytes[middle..table]).await;
        for (stream, uri) in &streams {
            let (before, last) = &begun[stream];
            let after = Playlist::read(&house.ended(key, uri).await);
            let known = before.segments.len();
            assert_eq!(after.segments[..known], before.segments);
            assert!(house.bytes(key, &before.segments[known - 1].1).await == *last);
            assert!((after.total_s() - 13.0).abs() < 0.1, "{}", after.total_s());
        }
    })
    .await;
}

#[tokio::test]
async fn a_player_of_an_upload_that_goes_away_hears_of_it() {
    within(LIMIT, async {
        let Some(film) = film("arriving.mkv", &[]) else {
            return;
        };
        let (key, bytes) = (name(&film), read(&film));
        let house = House::start().await;
        let upload = house.upload(key, bytes.len()).await;
        // As much as settles two segments, and no more.
        upload.send(0, &bytes[..bytes.len() * 45 / 100]).await;
        let streams = house.streams(key).await;
        let (_, uri) = streams.iter().next_back().unwrap();
        let list = Playlist::read(&house.text(key, &format!("{uri}&_HLS_msn=1")).await);
        let waiting = house.address(key, &format!("{uri}&_HLS_msn={}", list.segments.len()));
        let waiting = tokio::spawn(house.http.get(waiting).send());
        upload.end().await;
        let waiting = tokio::time::timeout(PLAYER_WAITS, waiting).await;
        let answer = waiting.unwrap().unwrap().unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
        for leaf in ["master.m3u8", uri.as_str(), list.segments[0].1.as_str()] {
            let answer = house.get(key, leaf).await;
            assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{leaf}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_player_of_an_upload_that_stalls_is_answered_and_goes_on_after_it() {
    within(LIMIT, async {
        let Some(film) = film("arriving.mkv", &[]) else {
            return;
        };
        let (key, bytes) = (name(&film), read(&film));
        // As much as settles two segments: the third is there but for its last pictures.
        let sent = bytes.len() * 45 / 100;
        let mut house = House::start().await;
        let upload = house.upload(key, bytes.len()).await;
        upload.send(0, &bytes[..sent]).await;
        let streams = house.streams(key).await;
        let (_, uri) = streams.iter().next_back().unwrap();
        let text = house.text(key, &format!("{uri}&_HLS_msn=1")).await;
        let list = Playlist::read(&text);
        let count = list.segments.len();
        assert_eq!(count, 2);
        let first = house.bytes(key, &list.segments[0].1).await;

        // Nothing comes: both questions for what is next are answered before a player gives up.
        let next = format!("{uri}&_HLS_msn={count}");
        let segment = list.segments[0]
            .1
            .replace("-0.m4s", &format!("-{count}.m4s"));
        let both = async { tokio::join!(house.get(key, &next), house.get(key, &segment)) };
        let (next, segment) = tokio::time::timeout(PLAYER_WAITS, both).await.unwrap();
        assert_eq!(next.text().await.unwrap(), text);
        assert_eq!(segment.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(segment.headers().contains_key("retry-after"));

        // Not even a kill of the daemon changes what was told.
        house.appliance.kill();
        house.appliance.restart().await;
        wait::until_async("the upload is there again", async || {
            upload.offset().await == sent
        })
        .await;
        let again = Playlist::read(&house.text(key, &format!("{uri}&_HLS_msn=1")).await);
        assert_eq!(again.segments[..count], list.segments);
        assert!(house.bytes(key, &list.segments[0].1).await == first);
        upload.send(sent, &bytes[sent..]).await;
        let after = Playlist::read(&house.ended(key, uri).await);
        assert_eq!(after.segments[..count], list.segments);
    })
    .await;
}

#[tokio::test]
async fn only_who_may_read_the_film_plays_it_while_it_arrives() {
    within(LIMIT, async {
        let Some(film) = moov_first() else { return };
        let bytes = read(&film);
        let house = House::start().await;
        let appliance = &house.appliance;
        let upload = Upload::begin(appliance, "secret.mp4", Some(bytes.len())).await;
        upload.send(0, &bytes[..bytes.len() / 2]).await;
        let path = format!("/-/hls/{BUCKET}/secret.mp4/");
        let master = appliance.get(&format!("{path}master.m3u8")).send().await;
        let master = master.unwrap().text().await.unwrap();
        let uri = master.lines().find(|line| !line.starts_with('#')).unwrap();

        // A stranger, and a link to other films, learn what they would learn of nothing.
        for leaf in ["master.m3u8", uri] {
            let stranger = |key: &str| {
                let at = appliance.at(&format!("/-/hls/{BUCKET}/{key}/{leaf}"));
                house.http.get(at).send()
            };
            let (there, nothing) = tokio::join!(stranger("secret.mp4"), stranger("nothing.mp4"));
            assert_eq!(there.unwrap().status(), StatusCode::UNAUTHORIZED);
            assert_eq!(nothing.unwrap().status(), StatusCode::UNAUTHORIZED);
        }
        let foreign = house.films.replace("/all/", "/");
        let foreign = house.http.get(format!("{foreign}secret.mp4/master.m3u8"));
        assert_eq!(
            foreign.send().await.unwrap().status(),
            StatusCode::NOT_FOUND
        );

        // The upload's own id is in no address, and no other stand-in leads to it.
        let id = upload.path.rsplit('/').next().unwrap();
        assert!(!master.contains(id), "{master}");
        let (name, tag) = uri.split_once("?c=").unwrap();
        assert_eq!(tag.len(), 16, "{uri}");
        for wrong in ["", "0", "0000000000000000", id] {
            let leaf = appliance.get(&format!("{path}{name}?c={wrong}"));
            let status = leaf.send().await.unwrap().status();
            assert_eq!(status, StatusCode::NOT_FOUND, "{wrong}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_no_film_is_said_not_to_play() {
    within(LIMIT, async {
        let house = House::start().await;
        let noise = Seed::new("arriving noise").bytes(3 << 19);
        let cases = [
            ("noise.mp4", StatusCode::SERVICE_UNAVAILABLE),
            ("notes.txt", StatusCode::UNPROCESSABLE_ENTITY),
        ];
        for (key, expected) in cases {
            let upload = house.upload(key, 2 * noise.len()).await;
            upload.send(0, &noise).await;
            let answer = house.get(key, "master.m3u8").await;
            assert_eq!(answer.status(), expected, "{key}");
            // Its bytes are read all the same.
            let file = house.films.replacen("/hls/", "/file/", 1);
            let range = house.http.get(format!("{file}{key}"));
            let range = range.header("Range", "bytes=0-99").send().await.unwrap();
            assert_eq!(range.bytes().await.unwrap(), noise[..100]);
        }
    })
    .await;
}

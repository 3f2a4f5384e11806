//! RFC 9110 §14 and what players send, check by check, on each door that gives an object's bytes to plain HTTP.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

use aws_sdk_s3::types::{ChecksumMode, CorsConfiguration, CorsRule};
use nebula_api::CreateLink;
use nebula_tests::{Appliance, Seed, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// For both doors.
const LIMIT: Duration = Duration::from_mins(1);
/// Of the object; no block's or frame's multiple.
const BYTES: usize = 300_007;
/// Checks of one door.
const CHECKS: usize = 44;
const LONG_AGO: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

struct Answer {
    status: u16,
    head: HashMap<String, String>,
    body: Vec<u8>,
}

impl Answer {
    fn of(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let (head, body) = bytes.split_at(end.expect("a head") + 4);
        let mut lines = std::str::from_utf8(head).expect("text").lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let pairs = lines.filter_map(|line| line.split_once(": "));
        Self {
            status: status.expect("a status").parse().expect("a number"),
            head: pairs
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect(),
            body: body.to_vec(),
        }
    }

    fn says(&self, name: &str) -> &str {
        self.head.get(name).map_or("", String::as_str)
    }

    /// Whether it is exactly this run of the object.
    fn is_run(&self, content: &[u8], first: usize, end: usize) -> bool {
        self.status == 206
            && self.body == content[first..end]
            && self.says("content-range") == format!("bytes {first}-{}/{BYTES}", end - 1)
            && self.says("content-length") == (end - first).to_string()
    }

    /// First byte, last byte and content of each part of a `multipart/byteranges`, whose fields are all there.
    fn parts(&self) -> Vec<(usize, usize, Vec<u8>)> {
        let kind = self.says("content-type");
        let Some(boundary) = kind.strip_prefix("multipart/byteranges; boundary=") else {
            return Vec::new();
        };
        assert!(!self.head.contains_key("content-range"));
        assert_eq!(self.says("content-length"), self.body.len().to_string());
        let (mut parts, mut rest) = (Vec::new(), &self.body[..]);
        let begin = format!("--{boundary}\r\n");
        while let Some(behind) = rest.strip_prefix(begin.as_bytes()) {
            let end = behind.windows(4).position(|four| four == b"\r\n\r\n");
            let (head, body) = behind.split_at(end.expect("a part's head") + 4);
            let head = std::str::from_utf8(head).expect("text");
            assert!(head.contains("Content-Type: video/mp4\r\n"), "{head}");
            let place = head.split_once("Content-Range: bytes ").expect("a place").1;
            let (range, size) = place.trim_end().split_once('/').expect("a length");
            assert_eq!(size, BYTES.to_string());
            let (first, last) = range.split_once('-').expect("a range");
            let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
            parts.push((first, last, body[..=last - first].to_vec()));
            rest = body[last - first + 1..].strip_prefix(b"\r\n").unwrap();
        }
        assert_eq!(rest, format!("--{boundary}--\r\n").as_bytes());
        parts
    }
}

/// A door, by an address that needs no credential.
struct Door<'a> {
    host: String,
    path: String,
    content: &'a [u8],
    checked: usize,
    wrong: String,
}

impl Door<'_> {
    async fn send(&self, text: &str) -> Vec<u8> {
        let mut stream = TcpStream::connect(&self.host).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        bytes
    }

    fn request(&self, first: &str, headers: &[(&str, &str)]) -> String {
        let (method, version) = first.split_once(' ').unwrap();
        let mut text = format!(
            "{method} {} {version}\r\nHost: {}\r\n",
            self.path, self.host
        );
        for (name, value) in headers {
            write!(text, "{name}: {value}\r\n").unwrap();
        }
        text + "\r\n"
    }

    async fn ask(&self, first: &str, headers: &[(&str, &str)]) -> Answer {
        let mut all = vec![("Connection", "close")];
        all.extend(headers);
        Answer::of(&self.send(&self.request(first, &all)).await)
    }

    async fn get(&self, headers: &[(&str, &str)]) -> Answer {
        self.ask("GET HTTP/1.1", headers).await
    }

    fn check(&mut self, what: &str, holds: bool, answer: &Answer) {
        self.checked += 1;
        if !holds {
            let (status, head) = (answer.status, &answer.head);
            let length = answer.body.len();
            writeln!(self.wrong, "{what}: {status}, {length} bytes, {head:?}").unwrap();
        }
    }

    async fn check_ranges(&mut self) {
        const N: usize = BYTES;
        for (range, first, end) in [
            ("bytes=0-0", 0, 1),
            ("bytes=0-1", 0, 2),
            ("bytes=0-", 0, N),
            ("bytes=100002-165537", 100_002, 165_538),
            ("bytes=230006-", 230_006, N),
            ("bytes=-500", N - 500, N),
            ("bytes=-600014", 0, N),
            ("bytes=299997-301007", 299_997, N),
            ("bytes=300006-300006", N - 1, N),
            ("bytes=5-9223372036854775807", 5, N),
            ("Bytes=0-4", 0, 5),
        ] {
            let answer = self.get(&[("Range", range)]).await;
            self.check(range, answer.is_run(self.content, first, end), &answer);
        }
        for range in ["bytes=300007-", "bytes=300012-300016", "bytes=-0"] {
            let answer = self.get(&[("Range", range)]).await;
            let says = answer.says("content-range") == format!("bytes */{N}");
            self.check(range, answer.status == 416 && says, &answer);
        }
        let many = format!("bytes={}", ["0-"; 200].join(","));
        for range in ["items=0-5", "bytes=5-4", "bytes=abc-def", &many] {
            let answer = self.get(&[("Range", range)]).await;
            let is_whole = answer.status == 200 && answer.body == self.content;
            self.check(range, is_whole, &answer);
        }
        let range = "bytes=0-99999999999999999999999";
        let answer = self.get(&[("Range", range)]).await;
        self.check(range, answer.is_run(self.content, 0, N), &answer);

        let ends = |answer: &Answer| -> Vec<(usize, usize)> {
            let parts = answer.parts();
            let right = |(first, last, body): &(usize, usize, Vec<u8>)| {
                *body == self.content[*first..=*last]
            };
            assert!(parts.iter().all(right), "bytes of another place");
            parts.iter().map(|part| (part.0, part.1)).collect()
        };
        let answer = self.get(&[("Range", "bytes=0-99,1000-1099,-50")]).await;
        let wanted = [(0, 99), (1000, 1099), (N - 50, N - 1)];
        let right = answer.status == 206 && ends(&answer) == wanted;
        self.check("three ranges", right, &answer);
        let answer = self.get(&[("Range", "bytes=0-99,1000-1099")]).await;
        self.check("two ranges are 206", answer.status == 206, &answer);
        let answer = self.get(&[("Range", "bytes=0-4 , 10-14")]).await;
        let right = answer.status == 206 && answer.parts().len() == 2;
        self.check("spaces in a list", right, &answer);
        let answer = self.get(&[("Range", "bytes=0-9,300008-300012")]).await;
        let right = answer.is_run(self.content, 0, 10);
        self.check("what is not there is left out", right, &answer);
    }

    async fn check_conditions(&mut self, whole: &Answer) {
        let (tag, date) = (whole.says("etag"), whole.says("last-modified"));
        let weak = format!("W/{tag}");
        for (what, status, headers) in [
            ("its own tag", 206, ("If-Range", tag)),
            ("another tag", 200, ("If-Range", "\"nope\"")),
            ("a weak tag", 200, ("If-Range", weak.as_str())),
            ("its own date", 206, ("If-Range", date)),
            ("an older date", 200, ("If-Range", LONG_AGO)),
            ("a tag that is known", 304, ("If-None-Match", tag)),
            ("another tag is wanted", 412, ("If-Match", "\"nope\"")),
            ("changed since", 412, ("If-Unmodified-Since", LONG_AGO)),
        ] {
            let answer = self.get(&[("Range", "bytes=5-9"), headers]).await;
            let body = match answer.status {
                206 => answer.body == self.content[5..10],
                200 => answer.body == self.content,
                304 => answer.body.is_empty() && answer.says("etag") == tag,
                _ => true,
            };
            self.check(what, answer.status == status && body, &answer);
        }
        let answer = self.get(&[("If-Modified-Since", date)]).await;
        self.check("not changed since", answer.status == 304, &answer);
        let answer = self.get(&[("Range", "bytes=0-4")]).await;
        let right = answer.status == 206 && answer.says("etag") == tag;
        self.check("a part has the tag of the whole", right, &answer);
    }

    async fn check_whole(&mut self) -> Answer {
        let answer = self.get(&[]).await;
        let length = answer.says("content-length") == BYTES.to_string();
        let right = answer.status == 200 && answer.body == self.content && length;
        self.check("the whole", right, &answer);
        let right = answer.says("accept-ranges") == "bytes";
        self.check("ranges are offered", right, &answer);
        let right = answer.says("etag").starts_with('"');
        self.check("a strong tag", right, &answer);
        let date = httpdate(answer.says("last-modified"));
        self.check("a date that is over", date, &answer);
        let head = self.ask("HEAD HTTP/1.1", &[]).await;
        let same = ["content-length", "etag", "last-modified", "content-type"];
        let same = same.iter().all(|name| head.says(name) == answer.says(name));
        let right = head.status == 200 && head.body.is_empty() && same;
        self.check("HEAD tells the same", right, &head);
        let head = self.ask("HEAD HTTP/1.1", &[("Range", "bytes=0-9")]).await;
        let right = head.status == 200 && head.says("content-length") == BYTES.to_string();
        self.check("HEAD has no range", right, &head);
        answer
    }

    async fn check_players(&mut self) {
        let range = ("Range", "bytes=0-99");
        let answer = self
            .get(&[range, ("Accept-Encoding", "gzip, deflate, br, zstd")])
            .await;
        let plain = !answer.head.contains_key("content-encoding");
        let right = plain && answer.is_run(self.content, 0, 100);
        self.check("a part is never squeezed", right, &answer);
        let answer = self.ask("GET HTTP/1.0", &[range]).await;
        let plain = !answer.head.contains_key("transfer-encoding");
        let right = plain && answer.is_run(self.content, 0, 100);
        self.check("HTTP/1.0", right, &answer);
        let (mode, features) = ("transferMode.dlna.org", "getcontentFeatures.dlna.org");
        let answer = self
            .get(&[range, (mode, "Streaming"), (features, "1")])
            .await;
        let right = answer.says("transfermode.dlna.org") == "Streaming"
            && answer
                .says("contentfeatures.dlna.org")
                .contains("DLNA.ORG_OP=01");
        self.check("a television", right, &answer);
        let answer = self.get(&[range, ("Origin", "http://x.example")]).await;
        let exposed = answer.says("access-control-expose-headers");
        let right = answer.says("access-control-allow-origin") == "*"
            && exposed.to_ascii_lowercase().contains("content-range");
        self.check("a page of another site", right, &answer);
        let first = self.request("GET HTTP/1.1", &[("Range", "bytes=0-9")]);
        let last = [("Range", "bytes=20-29"), ("Connection", "close")];
        let last = self.request("GET HTTP/1.1", &last);
        let both = self.send(&(first + &last)).await;
        let at = |run: &[u8]| both.windows(10).position(|ten| ten == run);
        let right = matches!(
            (at(&self.content[..10]), at(&self.content[20..30])),
            (Some(one), Some(other)) if one < other
        );
        let answer = Answer::of(&both);
        self.check("two requests at once, in order", right, &answer);
    }
}

fn httpdate(text: &str) -> bool {
    let read = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc2822);
    read.is_ok_and(|date| date <= time::OffsetDateTime::now_utc())
}

#[tokio::test]
async fn every_door_answers_every_range_as_http_has_it() {
    within(LIMIT, async {
        let appliance = Appliance::start().await;
        let content = Seed::new("range checks").bytes(BYTES);
        let s3 = appliance.s3();
        s3.create_bucket().bucket("films").send().await.unwrap();
        let put = s3.put_object().bucket("films").key("film.mp4");
        let put = put.content_type("video/mp4").body(content.clone().into());
        put.send().await.unwrap();
        // Everybody reads, and pages of other sites may: said as S3 says it.
        let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::films/*"}]}"#;
        let blocked = s3.delete_public_access_block().bucket("films");
        blocked.send().await.unwrap();
        let open = s3.put_bucket_policy().bucket("films").policy(policy);
        open.send().await.unwrap();
        let rule = CorsRule::builder()
            .allowed_origins("*")
            .allowed_methods("GET")
            .expose_headers("Content-Range");
        let rules = CorsConfiguration::builder().cors_rules(rule.build().unwrap());
        let cors = s3.put_bucket_cors().bucket("films");
        let cors = cors.cors_configuration(rules.build().unwrap());
        cors.send().await.unwrap();
        let wanted = CreateLink {
            bucket: "films".into(),
            key: Some("film.mp4".into()),
            expires_in_s: 600,
            ..CreateLink::default()
        };
        let link = appliance.client().create_link(&wanted).await.unwrap();
        let file = link.urls.unwrap().file;
        for path in ["/films/film.mp4", &file] {
            let mut door = Door {
                host: appliance.address().to_string(),
                path: path.to_owned(),
                content: &content,
                checked: 0,
                wrong: String::new(),
            };
            let whole = door.check_whole().await;
            door.check_ranges().await;
            door.check_conditions(&whole).await;
            door.check_players().await;
            assert!(door.wrong.is_empty(), "{path}:\n{}", door.wrong);
            assert_eq!(door.checked, CHECKS);
        }
    })
    .await;
}

/// Who signs speaks S3, whose HEAD has a range; several of them are parts for everybody.
#[tokio::test]
async fn a_signed_request_has_the_ranges_of_s3() {
    let (_server, client) = super::sdk::house().await;
    super::sdk::put(&client, "a", "0123456789").await;
    let head = client.head_object().bucket("films").key("a");
    let head = head.range("bytes=2-4").send().await.unwrap();
    assert_eq!(head.content_length(), Some(3));
    assert_eq!(head.content_range(), Some("bytes 2-4/10"));
    super::sdk::put(&client, "empty", "").await;
    let get = client.get_object().bucket("films").key("empty");
    let refused = super::sdk::refused(get.range("bytes=0-1").send().await);
    assert_eq!(refused, ("InvalidRange".into(), 416));

    let get = client.get_object().bucket("films").key("a");
    let get = get.range("bytes=0-1,-2").response_content_type("video/mp4");
    let parts = get.checksum_mode(ChecksumMode::Enabled).send();
    let parts = parts.await.unwrap();
    let kind = parts.content_type().unwrap().to_owned();
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=");
    let boundary = boundary.expect("parts").to_owned();
    assert_eq!(parts.content_range(), None);
    assert_eq!(
        parts.checksum_crc32(),
        None,
        "that of the whole says nothing"
    );
    let body = parts.body.collect().await.unwrap().into_bytes();
    let part = |range: &str, text: &str| {
        format!(
            "--{boundary}\r\nContent-Type: video/mp4\r\nContent-Range: bytes {range}/10\r\n\r\n{text}\r\n"
        )
    };
    let wanted = part("0-1", "01") + &part("8-9", "89") + &format!("--{boundary}--\r\n");
    assert_eq!(std::str::from_utf8(&body).unwrap(), wanted);
    let get = client.get_object().bucket("films").key("a");
    let far = super::sdk::refused(get.range("bytes=10-11,20-").send().await);
    assert_eq!(far, ("InvalidRange".into(), 416));
}

//! Ranges of a large file at `/-/file/`, whose bytes go from the page cache to the socket without passing the daemon.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::ops::Range;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nebula_tests::{Appliance, Seed, within};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// For one test.
const LIMIT: Duration = Duration::from_mins(1);
const BYTES: usize = 6 << 20;

/// An appliance with `films/large.bin`, and what is in it.
async fn furnished() -> (Appliance, Vec<u8>) {
    let appliance = Appliance::start().await;
    let content = Seed::new("ranges").bytes(BYTES);
    let s3 = appliance.s3();
    s3.create_bucket().bucket("films").send().await.unwrap();
    let put = s3.put_object().bucket("films").key("large.bin");
    let put = put.body(content.clone().into());
    put.send().await.unwrap();
    (appliance, content)
}

fn request(appliance: &Appliance, extra: &str) -> String {
    let key = appliance.key();
    let pair = STANDARD.encode(format!("{}:{}", key.access_key, key.secret_key));
    format!(
        "GET /-/file/films/large.bin HTTP/1.1\r\nhost: {}\r\nauthorization: Basic {pair}\r\n{extra}\r\n",
        appliance.address()
    )
}

fn range_line(range: &Range<usize>) -> String {
    format!("range: bytes={}-{}\r\n", range.start, range.end - 1)
}

/// Reads one answer: its head, and the body that its length announces.
async fn answer(stream: &mut BufReader<TcpStream>) -> (String, Vec<u8>) {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(
            stream.read_line(&mut head).await.unwrap() > 0,
            "cut: {head}"
        );
    }
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.unwrap().parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    (head, body)
}

#[tokio::test]
async fn pipelined_ranges_of_a_large_file_are_its_bytes() {
    within(LIMIT, async {
        let (appliance, content) = furnished().await;
        let ranges: Vec<Range<usize>> = (0..60)
            .map(|n: usize| {
                let start = n * 1_234_567 % BYTES;
                // From one byte to more than one run of the file.
                let len = [1, 4096, 32 << 10, 65_537, 256 << 10, 1_000_003][n % 6];
                start..(start + len).min(BYTES)
            })
            .collect();
        let stream = TcpStream::connect(appliance.address()).await.unwrap();
        let mut stream = BufReader::new(stream);
        for few in ranges.chunks(4) {
            let asked: String = few
                .iter()
                .map(|range| request(&appliance, &range_line(range)))
                .collect();
            stream.write_all(asked.as_bytes()).await.unwrap();
            for range in few {
                let (head, body) = answer(&mut stream).await;
                assert!(head.starts_with("HTTP/1.1 206"), "{head}");
                assert!(body == content[range.clone()], "{range:?} differs");
            }
        }
        // Several in one answer, with text of ours between them.
        let two = "range: bytes=100000-299999,5000000-5300000\r\n";
        stream
            .write_all(request(&appliance, two).as_bytes())
            .await
            .unwrap();
        let (_, body) = answer(&mut stream).await;
        for range in [100_000..300_000, 5_000_000..5_300_001] {
            let found = body
                .windows(range.len())
                .any(|bytes| bytes == &content[range.clone()]);
            assert!(found, "{range:?} is not in the answer");
        }
    })
    .await;
}

#[tokio::test]
async fn a_slow_reader_and_one_that_leaves_disturb_nobody() {
    within(LIMIT, async {
        let (appliance, content) = furnished().await;
        let whole = request(&appliance, "");
        // Reads nothing until everybody else is done.
        let mut slow = BufReader::new(TcpStream::connect(appliance.address()).await.unwrap());
        slow.write_all(whole.as_bytes()).await.unwrap();
        for _ in 0..8 {
            let mut leaving = TcpStream::connect(appliance.address()).await.unwrap();
            leaving.write_all(whole.as_bytes()).await.unwrap();
            leaving.read_exact(&mut [0; 10_000]).await.unwrap();
        }
        let mut quick = BufReader::new(TcpStream::connect(appliance.address()).await.unwrap());
        quick.write_all(whole.as_bytes()).await.unwrap();
        assert!(answer(&mut quick).await.1 == content);
        assert!(answer(&mut slow).await.1 == content);
    })
    .await;
}

/// Frames of HTTP/2 are copied, so nothing may stand in for bytes there.
#[tokio::test]
async fn http2_gets_the_same_bytes() {
    within(LIMIT, async {
        let (appliance, content) = furnished().await;
        let key = appliance.key();
        let curl = tokio::process::Command::new("curl")
            .args(["--silent", "--fail", "--http2-prior-knowledge", "--user"])
            .arg(format!("{}:{}", key.access_key, key.secret_key))
            .arg(appliance.at("/-/file/films/large.bin"))
            .output()
            .await
            .unwrap();
        assert!(curl.status.success(), "{:?}", curl.stderr);
        assert!(curl.stdout == content);
    })
    .await;
}

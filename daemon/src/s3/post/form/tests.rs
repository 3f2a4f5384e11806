//! Forms as browsers send them, and as nobody should.

#![expect(clippy::unwrap_used, reason = "tests")]
use std::collections::VecDeque;
use std::convert::Infallible;

use proptest::prelude::*;

use super::*;

struct Pieces(VecDeque<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|bytes| Ok(Frame::data(bytes))))
    }
}

fn cut(bytes: &[u8], size: usize) -> Pieces {
    Pieces(
        bytes
            .chunks(size.max(1))
            .map(Bytes::copy_from_slice)
            .collect(),
    )
}

fn written(fields: &[(&str, &str)], file: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        let part =
            format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        out.extend_from_slice(part.as_bytes());
    }
    out.extend_from_slice(
        b"--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a \\\"b\\\".txt\"\r\nContent-Type: text/plain\r\n\r\n",
    );
    out.extend_from_slice(file);
    out.extend_from_slice(
        b"\r\n--XX\r\nContent-Disposition: form-data; name=\"submit\"\r\n\r\ngo\r\n--XX--\r\n",
    );
    out
}

async fn read(
    bytes: &[u8],
    size: usize,
    range: Option<(u64, u64)>,
) -> Result<(Form, Vec<u8>), FormError> {
    let (form, file) = open(cut(bytes, size), "XX").await?;
    let file = file.within(range).collect().await?.to_bytes().to_vec();
    Ok((form, file))
}

#[tokio::test]
async fn fields_come_before_the_file_and_the_rest_is_passed_over() {
    let fields = [("key", "k"), ("Empty", ""), ("policy", "a\r\nb\r\n--X")];
    let whole = written(&fields, b"one\r\n--Xtwo\r\n\r");
    for size in [1, 2, 7, 1000] {
        let (form, file) = read(&whole, size, None).await.unwrap();
        assert_eq!(file, b"one\r\n--Xtwo\r\n\r");
        assert_eq!(form.filename, "a \"b\".txt");
        assert_eq!(form.fields.len(), 3);
        assert_eq!(form.field("empty"), Some(""));
        assert_eq!(form.field("policy"), Some("a\r\nb\r\n--X"));
    }
}

#[tokio::test]
async fn what_is_no_form_is_refused() {
    let whole = written(&[("key", "k")], b"file");
    let last = b"file\r\n--XX";
    let behind = find(&whole, last).unwrap() + last.len();
    for end in 0..behind {
        let refused = read(&whole[..end], 5, None).await;
        assert!(matches!(refused, Err(FormError::Malformed(_))), "{end}");
    }
    for noise in [
        &b"--XX--\r\n"[..],
        b"--XX\r\n\r\nvalue\r\n--XX--",
        b"--XX\r\nContent-Disposition: form-data\r\n\r\nvalue\r\n--XX--",
        b"--XXjunk\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n",
        b"--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\xff\r\n--XX\r\n",
    ] {
        let refused = read(noise, 3, None).await;
        assert!(matches!(refused, Err(FormError::Malformed(_))), "{noise:?}");
    }
    let twice = written(&[("key", "a"), ("KEY", "b")], b"");
    assert!(matches!(
        read(&twice, 9, None).await,
        Err(FormError::Malformed(_))
    ));
}

#[tokio::test]
async fn fields_and_file_are_bounded() {
    let long = "x".repeat(FIELDS_BYTES_MAX);
    let whole = written(&[("a", &long)], b"");
    assert!(matches!(
        read(&whole, 4096, None).await,
        Err(FormError::Fields)
    ));
    let endless = vec![b'x'; FIELDS_BYTES_MAX * 2];
    assert!(matches!(
        read(&endless, 4096, None).await,
        Err(FormError::Fields)
    ));
    let whole = written(&[], b"12345");
    assert!(matches!(
        read(&whole, 3, Some((0, 4))).await,
        Err(FormError::TooLarge)
    ));
    assert!(matches!(
        read(&whole, 3, Some((6, 9))).await,
        Err(FormError::TooSmall)
    ));
    assert!(read(&whole, 3, Some((5, 5))).await.is_ok());
}

#[test]
fn a_boundary_is_found_in_the_content_type() {
    let of = |text: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", text.parse().unwrap());
        boundary(&headers).ok()
    };
    assert_eq!(
        of("multipart/form-data; boundary=ab").as_deref(),
        Some("ab")
    );
    assert_eq!(
        of("multipart/form-data; charset=x; BOUNDARY=\"a b\"").as_deref(),
        Some("a b")
    );
    assert_eq!(of("multipart/form-data"), None);
    assert_eq!(
        of(&format!("multipart/form-data; boundary={}", "x".repeat(71))),
        None
    );
}

proptest! {
    #[test]
    fn cuts_of_the_connection_do_not_matter(file in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'-'), Just(b'X'), any::<u8>()], 0..200), size in 1_usize..40) {
        prop_assume!(find(&file, b"\r\n--XX").is_none());
        // The line end before the boundary must not complete one within the file.
        let whole = written(&[("key", "k")], &file);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (_, got) = runtime.block_on(read(&whole, size, None)).unwrap();
        prop_assert_eq!(got, file);
    }

    #[test]
    fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), size in 1_usize..40) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _ = runtime.block_on(read(&bytes, size, None));
        let mut framed = b"--XX\r\n".to_vec();
        framed.extend_from_slice(&bytes);
        let _ = runtime.block_on(read(&framed, size, None));
    }
}

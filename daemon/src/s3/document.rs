//! Bodies that are documents, XML or a policy, compared with the digests that came with them.
//!
//! `s3s` reads such a body whole, forgets its `Content-MD5`, and takes a body that does not fit its hash for a fault of ours.
//! What is wrong is noted in [`access::refuse`] as the last byte passes, and becomes the answer.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Method;
use http::request::Parts;
use http_body::{Body, Frame};
use md5::Digest as _;
use s3s::{S3Error, S3Result, StdError};

use super::access;
use super::error::bad_request;
use super::intake::Expected;
use crate::store::Hashers;

/// Parameters that make the body of a request a document; an upload's completion has one as well.
const PARAMETERS: [&str; 24] = [
    "accelerate",
    "acl",
    "analytics",
    "cors",
    "delete",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "policy",
    "publicAccessBlock",
    "replication",
    "requestPayment",
    "restore",
    "retention",
    "tagging",
    "versioning",
    "website",
];

fn has(parts: &Parts, wanted: impl Fn(&str) -> bool) -> bool {
    let query = parts.uri.query().unwrap_or_default();
    query
        .split('&')
        .any(|pair| wanted(pair.split('=').next().unwrap_or_default()))
}

/// Whether the body of a request is a document.
pub(super) fn is_one(parts: &Parts) -> bool {
    (parts.method == Method::PUT || parts.method == Method::POST)
        && (has(parts, |name| PARAMETERS.contains(&name)) || is_completion(parts))
}

fn is_completion(parts: &Parts) -> bool {
    parts.method == Method::POST && has(parts, |name| name == "uploadId")
}

/// Why reading stopped; the reason itself is noted beside.
#[derive(Debug, thiserror::Error)]
pub(super) enum DocumentError {
    /// It is not what its head says.
    #[error("the document does not fit its digest")]
    Refused,
    /// The connection broke.
    #[error("reading the document failed")]
    Body(#[source] StdError),
}

/// A document on its way to `s3s`.
pub(super) struct Document<B> {
    body: B,
    expected: Expected,
    /// `x-amz-content-sha256`, where it is a hash; `s3s` verifies it too, and says it wrong.
    sha256: Option<[u8; 32]>,
    md5: md5::Md5,
    seen: sha2::Sha256,
    sums: Hashers,
}

impl<B> Document<B> {
    /// Wraps the body of a request.
    ///
    /// # Errors
    /// `InvalidDigest` for a digest that is none.
    pub(super) fn new(body: B, parts: &Parts) -> S3Result<Self> {
        let expected = if is_completion(parts) {
            // Its checksums are of the object.
            Expected::of_md5_alone(&parts.headers)?
        } else {
            Expected::of(&parts.headers)?
        };
        let sha256 = parts
            .headers
            .get("x-amz-content-sha256")
            .and_then(|value| hex::decode(value.as_bytes()).ok()?.try_into().ok());
        Ok(Self {
            body,
            sums: Hashers::new(&expected.algorithms(None)),
            expected,
            sha256,
            md5: md5::Md5::new(),
            seen: sha2::Sha256::new(),
        })
    }

    fn take(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        self.seen.update(bytes);
        self.sums.update(bytes);
    }

    fn end(&mut self) -> Result<(), S3Error> {
        let seen: [u8; 32] = std::mem::take(&mut self.seen).finalize().into();
        if self.sha256.is_some_and(|expected| expected != seen) {
            return Err(bad_request(
                "XAmzContentSHA256Mismatch",
                "the x-amz-content-sha256 does not match the body",
            ));
        }
        let md5 = std::mem::take(&mut self.md5).finalize().into();
        let sums = std::mem::take(&mut self.sums).finish();
        self.expected.verify(md5, &sums, None)
    }
}

impl<B> Body for Document<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<StdError>,
{
    type Data = Bytes;
    type Error = DocumentError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, DocumentError>>> {
        let this = self.get_mut();
        let Some(frame) = ready!(Pin::new(&mut this.body).poll_frame(cx)) else {
            return Poll::Ready(this.end().err().map(|error| {
                access::refuse(error);
                Err(DocumentError::Refused)
            }));
        };
        Poll::Ready(Some(match frame {
            Ok(frame) => {
                if let Some(bytes) = frame.data_ref() {
                    this.take(bytes);
                }
                Ok(frame)
            }
            Err(error) => Err(DocumentError::Body(error.into())),
        }))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use http_body_util::{BodyExt as _, Full};

    use super::*;

    fn parts(method: &str, uri: &str, headers: &[(&'static str, &str)]) -> Parts {
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn documents_are_told_from_objects() {
        for (method, uri, is) in [
            ("PUT", "/b?tagging", true),
            ("PUT", "/b/k?tagging=&versionId=1", true),
            ("POST", "/b?delete", true),
            ("POST", "/b/k?uploadId=1", true),
            ("PUT", "/b/k?partNumber=1&uploadId=1", false),
            ("PUT", "/b/k", false),
            ("PUT", "/b/tagging", false),
            ("GET", "/b?tagging", false),
        ] {
            assert_eq!(is_one(&parts(method, uri, &[])), is, "{method} {uri}");
        }
    }

    async fn read(uri: &str, headers: &[(&'static str, &str)]) -> bool {
        let body = Full::new(Bytes::from_static(b"<a/>"));
        let document = Document::new(body, &parts("POST", uri, headers)).unwrap();
        document.collect().await.is_ok()
    }

    #[tokio::test]
    async fn a_document_that_does_not_fit_is_refused() {
        let (md5, crc) = ("BVPwGnmQU0ObWnCuJZ2QFA==", "AAAAAA==");
        let hash = "00".repeat(32);
        assert!(read("/b?delete", &[]).await);
        assert!(!read("/b?delete", &[("content-md5", md5)]).await);
        assert!(!read("/b?delete", &[("x-amz-checksum-crc32", crc)]).await);
        assert!(!read("/b?delete", &[("x-amz-content-sha256", &hash)]).await);
        assert!(read("/b?delete", &[("x-amz-content-sha256", "UNSIGNED-PAYLOAD")]).await);
        // The checksum of a completion is the object's.
        assert!(read("/b/k?uploadId=1", &[("x-amz-checksum-crc32", crc)]).await);
        assert!(read("/b/k?uploadId=1", &[("x-amz-checksum-crc32", "AAAAAA==-3")]).await);
        assert!(!read("/b/k?uploadId=1", &[("content-md5", md5)]).await);
        let wrong = parts("POST", "/b?delete", &[("content-md5", "x")]);
        assert!(Document::new(Full::new(Bytes::new()), &wrong).is_err());
    }
}

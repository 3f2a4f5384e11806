//! GetObject and HeadObject.

use std::ops::Range;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::Stream;
use http::{HeaderMap, HeaderValue, Method, header};
use http_body::Body;
use s3s::dto::{
    self, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, StreamingBlob,
};
use s3s::stream::{ByteStream, RemainingLength};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, StdError};

use super::access::{bucket_name, object_key};
use super::encryption;
use super::error::{self, say};
use super::headers::DEFAULT_CONTENT_TYPE;
use super::lenient::conditions;
use super::operations::Operations;
use super::wire::{Sums, etag, fill_checksums, kind_out, timestamp, version_id};
use crate::http::condition::{self, Verdict};
use crate::http::ranges::{Selection, select};
use crate::http::{Multipart, dlna};
use crate::kernel::ByteRange;
use crate::store::{Object, StoreError};

/// The bytes of an answer, for `s3s`, which wants its streams to be `Sync`; the lock is never taken, as `poll` has the only reference.
struct Outgoing<B>(Mutex<B>);

impl<B> Outgoing<B>
where
    B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static>,
    B: Unpin + Send + 'static,
{
    fn blob(body: B) -> StreamingBlob {
        StreamingBlob::new(Self(Mutex::new(body)))
    }
}

impl<B> Stream for Outgoing<B>
where
    B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin,
{
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let body = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        loop {
            match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => {
                    tracing::error!(%error, "a body broke off: {error}");
                    return Poll::Ready(Some(Err(Box::new(error))));
                }
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                }
            }
        }
    }
}

impl<B> ByteStream for Outgoing<B>
where
    B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin,
{
    fn remaining_length(&self) -> RemainingLength {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .size_hint()
            .into()
    }
}

/// What to send of an object.
struct Slice {
    range: Range<u64>,
    /// Further runs behind it, each apart from the others; nearly always none.
    more: Vec<Range<u64>>,
    /// `Content-Range`, when it is a part of the whole.
    content_range: Option<String>,
    /// How many parts the object has, when a part was asked for.
    parts: Option<i32>,
    /// The checksums of that part.
    sums: Option<Sums>,
}

impl Slice {
    fn is_whole(&self) -> bool {
        self.content_range.is_none() && self.more.is_empty()
    }
}

/// Decides which bytes are meant by `Range` or `partNumber`.
fn slice(object: &Object, asked: Selection, part: Option<i32>) -> S3Result<Slice> {
    let size = object.size;
    let content_range = |range: &Range<u64>| {
        (range.start < range.end).then(|| format!("bytes {}-{}/{size}", range.start, range.end - 1))
    };
    if asked != Selection::Whole && part.is_some() {
        return Err(say(
            S3ErrorCode::InvalidRequest,
            "Cannot specify both Range header and partNumber query parameter",
        ));
    }
    if let Some(number) = part {
        let number = u32::try_from(number)
            .ok()
            .filter(|n| (1..=10_000).contains(n));
        let number = number.ok_or_else(|| {
            say(
                S3ErrorCode::InvalidArgument,
                "Part number must be an integer between 1 and 10000, inclusive",
            )
        })?;
        let parts = &object.checksums.parts;
        if parts.is_empty() && number == 1 {
            return Ok(Slice {
                content_range: content_range(&(0..size)),
                range: 0..size,
                more: Vec::new(),
                parts: None,
                sums: None,
            });
        }
        let part = parts.get(number as usize - 1).ok_or_else(|| {
            say(
                S3ErrorCode::InvalidPart,
                format!("there is no part {number}"),
            )
        })?;
        let start: u64 = parts[..number as usize - 1]
            .iter()
            .map(|p| p.size_bytes)
            .sum();
        let range = start..start + part.size_bytes;
        return Ok(Slice {
            content_range: content_range(&range),
            range,
            more: Vec::new(),
            parts: i32::try_from(parts.len()).ok(),
            sums: (!part.values.is_empty()).then(|| part.values.clone()),
        });
    }
    let (range, content_range, more) = match asked {
        Selection::Whole => (0..size, None, Vec::new()),
        Selection::Single(range) => (range.clone(), content_range(&range), Vec::new()),
        Selection::Multiple(mut ranges) => (ranges.remove(0), None, ranges),
        Selection::Unsatisfiable => {
            return Err(error::of(StoreError::InvalidRange { size_bytes: size }));
        }
    };
    Ok(Slice {
        range,
        more,
        content_range,
        parts: None,
        sums: None,
    })
}

/// The bytes that are asked for; what is no range is ignored (RFC 9110 §14.2).
fn selection(method: &Method, headers: &HeaderMap, object: &Object) -> Selection {
    if !condition::if_range(headers, &object.etag, object.modified_ms) {
        return Selection::Whole;
    }
    // S3 has a range of HEAD; who does not sign as S3 has it speaks plain HTTP, where GET alone has one.
    let is_get = method == Method::GET || headers.contains_key(header::AUTHORIZATION);
    let read_as = if is_get { &Method::GET } else { method };
    match select(read_as, headers, object.size) {
        Selection::Multiple(_) if method == Method::HEAD => Selection::Whole,
        // Amazon S3 finds no range in an empty object, where the RFC leaves the choice.
        Selection::Whole if is_get && object.size == 0 && is_range(headers) => {
            Selection::Unsatisfiable
        }
        selection => selection,
    }
}

fn is_range(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(header::RANGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return false;
    };
    line.to_str()
        .is_ok_and(|line| ByteRange::parse_header(line).is_some())
}

/// 304 or 412, with what a cache needs.
fn refuse(verdict: Verdict, object: &Object) -> S3Result<()> {
    let (code, mut headers) = match verdict {
        Verdict::Proceed => return Ok(()),
        Verdict::NotModified => (S3ErrorCode::NotModified, HeaderMap::new()),
        Verdict::PreconditionFailed => (S3ErrorCode::PreconditionFailed, error::xml()),
    };
    let pairs = [
        (header::ETAG, object.etag.quoted()),
        (
            header::LAST_MODIFIED,
            condition::http_date(object.modified_ms),
        ),
    ];
    let cache = object
        .headers
        .cache_control
        .clone()
        .map(|value| (header::CACHE_CONTROL, value));
    for (name, value) in pairs.into_iter().chain(cache) {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    let mut error = S3Error::new(code);
    error.set_message("At least one of the pre-conditions you specified did not hold");
    error.set_headers(headers);
    Err(error)
}

/// A version that was named and says that the object is gone is no object to read (Amazon S3, GetObject).
pub(super) fn missing(error: StoreError, named: bool) -> S3Error {
    let is_marker = named && matches!(error, StoreError::DeleteMarker { .. });
    let mut out = error::of(error);
    if is_marker {
        out.set_code(S3ErrorCode::MethodNotAllowed);
        out.set_message("The specified method is not allowed against this resource.");
    }
    out
}

/// Headers that `s3s` has no field for, or would print its own way.
fn further(object: &Object) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let pairs = [(header::EXPIRES, object.headers.expires.clone())];
    for (name, value) in pairs {
        if let Some(value) = value.and_then(|v| HeaderValue::from_str(&v).ok()) {
            headers.insert(name, value);
        }
    }
    headers
}

/// The fields that both answers share.
macro_rules! describe {
    ($output:expr, $object:expr, $slice:expr, $sums:expr, $named:expr) => {{
        let object: &Object = $object;
        $output.accept_ranges = Some("bytes".to_owned());
        $output.content_length = i64::try_from($slice.range.end - $slice.range.start).ok();
        $output.content_range = $slice.content_range.clone();
        $output.parts_count = $slice.parts;
        $output.e_tag = Some(etag(&object.etag));
        $output.last_modified = Some(timestamp(object.modified_ms));
        $output.content_type = Some(
            object
                .headers
                .content_type
                .clone()
                .unwrap_or_else(|| DEFAULT_CONTENT_TYPE.to_owned()),
        );
        $output.content_encoding = object.headers.content_encoding.clone();
        $output.content_language = object.headers.content_language.clone();
        $output.content_disposition = object.headers.content_disposition.clone();
        $output.cache_control = object.headers.cache_control.clone();
        $output.website_redirect_location = object.headers.website_redirect.clone();
        $output.version_id =
            ($named || !object.version_id.is_null()).then(|| object.version_id.to_string());
        if let Some(lock) = object.extras.lock {
            let mode = lock.retention.map(|kept| kept.mode.as_str());
            $output.object_lock_mode = mode.map(dto::ObjectLockMode::from_static);
            $output.object_lock_retain_until_date =
                lock.retention.map(|kept| timestamp(kept.until_ms));
            $output.object_lock_legal_hold_status = lock.legal_hold.map(super::lock::hold_out);
        }
        if !object.headers.user.is_empty() {
            $output.metadata = Some(object.headers.user.clone().into_iter().collect());
        }
        if let Some(sums) = &$slice.sums {
            fill_checksums!($output, sums);
            $output.checksum_type = Some(kind_out(object.checksums.kind));
        } else if $sums && $slice.is_whole() && !object.checksums.values.is_empty() {
            fill_checksums!($output, &object.checksums.values);
            $output.checksum_type = Some(kind_out(object.checksums.kind));
        }
    }};
}

impl Operations {
    /// Sends an object or a range of it.
    pub(super) async fn get(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let asked = conditions(&request.extensions, &request.headers);
        let input = request.input;
        let (bucket, key) = (bucket_name(&input.bucket)?, object_key(&input.key)?);
        self.expect_owner(&bucket, input.expected_bucket_owner.as_deref())
            .await?;
        let version = version_id(input.version_id.as_deref())?;
        let object = self
            .store
            .object(&bucket, &key, version.as_ref())
            .await
            .map_err(|e| missing(e, version.is_some()))?;
        let sent = encryption::of_read(&request.headers, &object)?;
        refuse(
            condition::evaluate(&request.method, asked, &object.etag, object.modified_ms),
            &object,
        )?;
        let range = selection(&request.method, asked, &object);
        let slice = slice(&object, range, input.part_number)?;
        let open = async |range: Range<u64>| {
            let reader = self
                .store
                .reader_within(&object, sent.as_ref(), range.clone());
            let reader = reader.await?;
            reader.check(range.clone())?;
            Ok(reader.body(range))
        };
        let first = open(slice.range.clone()).await.map_err(error::of)?;
        let mut output = GetObjectOutput {
            expiration: self.expiration(&object).await,
            ..GetObjectOutput::default()
        };
        describe!(
            output,
            &object,
            slice,
            input.checksum_mode.is_some(),
            version.is_some()
        );
        output.tag_count = i32::try_from(object.tags.len()).ok().filter(|n| *n > 0);
        let mut headers = further(&object);
        encryption::tell(&mut headers, object.encrypted(), &request.headers);
        dlna(asked, &mut headers);
        if input.response_expires.is_some() {
            headers.remove(header::EXPIRES);
        }
        if slice.more.is_empty() {
            output.body = Some(Outgoing::blob(first));
            // What the query overrides is set by s3s after this, and these headers after that.
            return Ok(S3Response::with_headers(output, headers));
        }
        let mut parts = vec![(slice.range, first)];
        for range in slice.more {
            let body = open(range.clone()).await.map_err(error::of)?;
            parts.push((range, body));
        }
        let kind = input.response_content_type.as_ref();
        let kind = kind.or(output.content_type.as_ref());
        let kind = kind.and_then(|kind| HeaderValue::from_str(kind).ok());
        let kind = kind.unwrap_or(HeaderValue::from_static(DEFAULT_CONTENT_TYPE));
        let body = Multipart::new(parts, object.size, &kind);
        output.content_length = i64::try_from(body.length_bytes()).ok();
        if let Ok(kind) = HeaderValue::from_str(&body.content_type()) {
            headers.insert(header::CONTENT_TYPE, kind);
        }
        output.body = Some(Outgoing::blob(body));
        let mut response = S3Response::with_headers(output, headers);
        response.extensions.insert(super::Partial);
        Ok(response)
    }

    /// The same without the bytes.
    pub(super) async fn head(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let asked = conditions(&request.extensions, &request.headers);
        let input = request.input;
        let (bucket, key) = (bucket_name(&input.bucket)?, object_key(&input.key)?);
        self.expect_owner(&bucket, input.expected_bucket_owner.as_deref())
            .await?;
        let version = version_id(input.version_id.as_deref())?;
        let object = self
            .store
            .head(&bucket, &key, version.as_ref())
            .await
            .map_err(|e| missing(e, version.is_some()))?;
        encryption::of_read(&request.headers, &object)?;
        refuse(
            condition::evaluate(&request.method, asked, &object.etag, object.modified_ms),
            &object,
        )?;
        let range = selection(&request.method, asked, &object);
        let slice = slice(&object, range, input.part_number)?;
        let mut output = HeadObjectOutput {
            expiration: self.expiration(&object).await,
            ..HeadObjectOutput::default()
        };
        describe!(
            output,
            &object,
            slice,
            input.checksum_mode.is_some(),
            version.is_some()
        );
        let mut headers = further(&object);
        encryption::tell(&mut headers, object.encrypted(), &request.headers);
        dlna(asked, &mut headers);
        if !object.tags.is_empty() {
            headers.insert("x-amz-tagging-count", HeaderValue::from(object.tags.len()));
        }
        let overrides = [
            (header::CONTENT_TYPE, input.response_content_type),
            (header::CONTENT_LANGUAGE, input.response_content_language),
            (header::CACHE_CONTROL, input.response_cache_control),
            (
                header::CONTENT_DISPOSITION,
                input.response_content_disposition,
            ),
            (header::CONTENT_ENCODING, input.response_content_encoding),
        ];
        for (name, value) in overrides {
            if let Some(value) = value.and_then(|v| HeaderValue::from_str(&v).ok()) {
                headers.insert(name, value);
            }
        }
        Ok(S3Response::with_headers(output, headers))
    }
}

//! Forms as browsers send them (RFC 7578): small fields first, then one file, which is passed on as it arrives.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use s3s::{S3ErrorCode, S3Result, StdError};

use crate::s3::error::say;

/// All that may come before the file.
pub(super) const FIELDS_BYTES_MAX: usize = 64 * 1024;
/// Fields of one form.
const FIELDS_MAX: usize = 256;
/// Longest boundary (RFC 2046 §5.1.1).
const BOUNDARY_BYTES_MAX: usize = 70;
/// What may follow the file, and is passed over.
const REST_BYTES_MAX: u64 = 1024 * 1024;

/// Why a form cannot be read.
#[derive(Debug, thiserror::Error)]
pub(in crate::s3) enum FormError {
    /// It is no form, or ends in the middle.
    #[error("{text}: {0}", text = Self::MALFORMED)]
    Malformed(&'static str),
    /// The fields are too large or too many.
    #[error("{}", Self::FIELDS)]
    Fields,
    /// The file is larger than the policy of the form allows.
    #[error("{}", Self::TOO_LARGE)]
    TooLarge,
    /// The file is smaller than the policy of the form allows.
    #[error("{}", Self::TOO_SMALL)]
    TooSmall,
    /// The connection broke.
    #[error("reading the form failed")]
    Body(#[source] StdError),
}

impl FormError {
    /// What a client reads.
    pub(in crate::s3) const MALFORMED: &'static str =
        "The body of your POST request is not well-formed multipart/form-data";
    /// What a client reads.
    pub(in crate::s3) const FIELDS: &'static str =
        "Your POST request fields preceding the upload file were too large";
    /// What a client reads.
    pub(in crate::s3) const TOO_LARGE: &'static str =
        "Your proposed upload exceeds the maximum allowed size";
    /// What a client reads.
    pub(in crate::s3) const TOO_SMALL: &'static str =
        "Your proposed upload is smaller than the minimum allowed size";
}

/// The boundary in a content type.
pub(super) fn boundary(headers: &HeaderMap) -> S3Result<String> {
    let malformed = || {
        say(
            S3ErrorCode::MalformedPOSTRequest,
            "the content type of the form names no boundary of 1 to 70 characters",
        )
    };
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok());
    let found = value.unwrap_or_default().split(';').find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("boundary")
            .then(|| value.trim().trim_matches('"').to_owned())
    });
    found
        .filter(|text| (1..=BOUNDARY_BYTES_MAX).contains(&text.len()))
        .ok_or_else(malformed)
}

/// The fields of a form that came before its file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Form {
    /// By name in lower case, in the order in which they came.
    pub(super) fields: Vec<(String, String)>,
    /// What the browser says the file is called.
    pub(super) filename: String,
}

impl Form {
    /// The value of a field, by its name in lower case.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Reads up to the first byte of the file.
pub(super) async fn open<B>(mut body: B, boundary: &str) -> Result<(Form, File<B>), FormError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<StdError>,
{
    let mut reader = Fields::new(boundary);
    loop {
        if let Some(form) = reader.step()? {
            let file = File {
                body,
                // The line end before the first delimiter was ours.
                before: reader.taken as u64 - 2,
                cut: Cut::new(boundary),
                pending: reader.buffer.freeze(),
                state: State::InFile,
                size: 0,
                range: None,
            };
            return Ok((form, file));
        }
        match body.frame().await {
            None => return Err(FormError::Malformed("it has no field named file")),
            Some(Err(error)) => return Err(FormError::Body(error.into())),
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data() {
                    reader.feed(&bytes);
                }
            }
        }
    }
}

/// Reads fields out of what has arrived.
struct Fields {
    /// `--boundary`.
    delimiter: Vec<u8>,
    buffer: BytesMut,
    taken: usize,
    form: Form,
    begun: bool,
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|part| part == needle)
}

impl Fields {
    fn new(boundary: &str) -> Self {
        Self {
            delimiter: format!("\r\n--{boundary}").into_bytes(),
            // A form may begin with its first delimiter, without the line end that belongs to every other.
            buffer: BytesMut::from(&b"\r\n"[..]),
            taken: 0,
            form: Form::default(),
            begun: false,
        }
    }

    fn feed(&mut self, bytes: &[u8]) {
        // One chunk may hold the begin of the file as well, so the bound is on what is read, not on what is held.
        self.buffer.extend_from_slice(bytes);
    }

    fn bound(&self, taken: usize) -> Result<(), FormError> {
        if self.taken + taken > FIELDS_BYTES_MAX || self.form.fields.len() > FIELDS_MAX {
            return Err(FormError::Fields);
        }
        Ok(())
    }

    fn take(&mut self, count: usize) -> Result<(), FormError> {
        self.bound(count)?;
        self.taken += count;
        self.buffer.advance(count);
        Ok(())
    }

    /// Reads what is whole; the form once the file begins, `None` when more must arrive.
    fn step(&mut self) -> Result<Option<Form>, FormError> {
        if !self.begun {
            let Some(at) = find(&self.buffer, &self.delimiter) else {
                self.bound(self.buffer.len())?;
                return Ok(None);
            };
            self.take(at + self.delimiter.len())?;
            self.begun = true;
        }
        // The buffer stands behind a delimiter here.
        loop {
            if self.buffer.starts_with(b"--") {
                return Err(FormError::Malformed("it has no field named file"));
            }
            let Some(end) = find(&self.buffer, b"\r\n\r\n") else {
                self.bound(self.buffer.len())?;
                return Ok(None);
            };
            if !self.buffer.starts_with(b"\r\n") {
                return Err(FormError::Malformed(
                    "a boundary is not followed by a line end",
                ));
            }
            let (name, filename) = disposition(&self.buffer[..end])?;
            let name = name.to_ascii_lowercase();
            if name == "file" {
                self.take(end + 4)?;
                self.form.filename = filename.unwrap_or_default();
                return Ok(Some(std::mem::take(&mut self.form)));
            }
            let Some(length) = find(&self.buffer[end + 2..], &self.delimiter) else {
                self.bound(self.buffer.len())?;
                return Ok(None);
            };
            // The line end of an empty value is that of its delimiter.
            let value = self.buffer[end + 2..end + 2 + length].strip_prefix(b"\r\n");
            let value = std::str::from_utf8(value.unwrap_or_default())
                .map_err(|_| FormError::Malformed("a field is not UTF-8"))?
                .to_owned();
            self.take(end + 2 + length + self.delimiter.len())?;
            if self.form.field(&name).is_some() {
                return Err(FormError::Malformed("a field comes twice"));
            }
            self.form.fields.push((name, value));
        }
    }
}

/// The name in the head of a part, and the name of its file.
fn disposition(head: &[u8]) -> Result<(String, Option<String>), FormError> {
    let head = String::from_utf8_lossy(head);
    let line = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim()
            .eq_ignore_ascii_case("content-disposition")
            .then_some(value)
    });
    let line = line.ok_or(FormError::Malformed("a part has no Content-Disposition"))?;
    let name = parameter(line, "name").ok_or(FormError::Malformed("a part has no name"))?;
    Ok((name, parameter(line, "filename")))
}

/// A parameter of a header, quoted or not; a quoted one ends at the next quote that is not escaped.
fn parameter(line: &str, wanted: &str) -> Option<String> {
    let mut rest = line.split_once(';')?.1;
    loop {
        let (name, value) = rest.split_once('=')?;
        let name = name.trim_matches(|c: char| c == ';' || c.is_whitespace());
        let value = value.trim_start();
        let (text, behind) = match value.strip_prefix('"') {
            None => {
                let end = value.find(';').unwrap_or(value.len());
                (value[..end].trim().to_owned(), &value[end..])
            }
            Some(quoted) => {
                let mut text = String::new();
                let mut chars = quoted.char_indices();
                let end = loop {
                    match chars.next() {
                        // Browsers escape a quote and nothing else: a backslash stands for itself.
                        Some((at, '\\')) if quoted[at + 1..].starts_with('"') => {
                            chars.next();
                            text.push('"');
                        }
                        Some((at, '"')) => break at + 1,
                        Some((_, c)) => text.push(c),
                        None => return None,
                    }
                };
                (text, &quoted[end..])
            }
        };
        if name.eq_ignore_ascii_case(wanted) {
            return Some(text);
        }
        rest = behind;
    }
}

/// Finds the end of the file in what passes by.
struct Cut {
    /// `CRLF--boundary`.
    delimiter: Vec<u8>,
}

/// What is known of some bytes of the file.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// So many bytes belong to the file, and then it ends.
    End(usize),
    /// So many bytes belong to it; those behind may be the begin of its end.
    Some(usize),
}

impl Cut {
    fn new(boundary: &str) -> Self {
        Self {
            delimiter: format!("\r\n--{boundary}").into_bytes(),
        }
    }

    fn look(&self, bytes: &[u8]) -> Found {
        let mut from = 0;
        while let Some(at) = bytes[from..].iter().position(|b| *b == b'\r') {
            let at = from + at;
            let rest = &bytes[at..];
            if rest.starts_with(&self.delimiter) {
                return Found::End(at);
            }
            if self.delimiter.starts_with(rest) {
                return Found::Some(at);
            }
            from = at + 1;
        }
        Found::Some(bytes.len())
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    InFile,
    /// Behind the file: so many bytes were passed over.
    Behind(u64),
    Done,
}

/// The file of a form: a body that ends where the file does.
pub(super) struct File<B> {
    body: B,
    /// Bytes of the form that came before it.
    before: u64,
    cut: Cut,
    pending: Bytes,
    state: State,
    size: u64,
    range: Option<(u64, u64)>,
}

impl<B> File<B> {
    /// What the file has at least, in a form of so many bytes.
    pub(super) fn at_least(&self, form_bytes: u64) -> u64 {
        let last = self.cut.delimiter.len() as u64 + REST_BYTES_MAX;
        form_bytes.saturating_sub(self.before + last)
    }

    /// Refuses fewer or more bytes than this.
    pub(super) fn within(mut self, range: Option<(u64, u64)>) -> Self {
        self.range = range;
        self
    }

    fn pass(&mut self, bytes: Bytes) -> Result<Bytes, FormError> {
        self.size += bytes.len() as u64;
        if self.range.is_some_and(|(_, most)| self.size > most) {
            return Err(FormError::TooLarge);
        }
        Ok(bytes)
    }

    fn end(&mut self) -> Result<(), FormError> {
        if self.range.is_some_and(|(least, _)| self.size < least) {
            return Err(FormError::TooSmall);
        }
        self.state = State::Behind(0);
        self.pending = Bytes::new();
        Ok(())
    }

    /// What of the pending bytes can be passed on now.
    fn step(&mut self) -> Result<Option<Bytes>, FormError> {
        if self.state != State::InFile || self.pending.is_empty() {
            return Ok(None);
        }
        match self.cut.look(&self.pending) {
            Found::End(at) => {
                let bytes = self.pending.split_to(at);
                let bytes = self.pass(bytes)?;
                self.end()?;
                Ok(Some(bytes).filter(|bytes| !bytes.is_empty()))
            }
            Found::Some(0) => Ok(None),
            Found::Some(count) => {
                let bytes = self.pending.split_to(count);
                Ok(Some(self.pass(bytes)?))
            }
        }
    }

    fn feed(&mut self, bytes: Bytes) -> Result<(), FormError> {
        if let State::Behind(passed) = &mut self.state {
            *passed += bytes.len() as u64;
            if *passed > REST_BYTES_MAX {
                return Err(FormError::Malformed("too much follows the file"));
            }
            return Ok(());
        }
        self.pending = if self.pending.is_empty() {
            bytes
        } else {
            // At most a boundary was held back.
            let mut both = BytesMut::with_capacity(self.pending.len() + bytes.len());
            both.extend_from_slice(&self.pending);
            both.extend_from_slice(&bytes);
            both.freeze()
        };
        Ok(())
    }
}

impl<B> Body for File<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<StdError>,
{
    type Data = Bytes;
    type Error = FormError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, FormError>>> {
        let this = self.get_mut();
        loop {
            if this.state == State::Done {
                return Poll::Ready(None);
            }
            match this.step() {
                Ok(Some(bytes)) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Ok(None) => {}
                Err(error) => {
                    this.state = State::Done;
                    return Poll::Ready(Some(Err(error)));
                }
            }
            let fed = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                None if this.state == State::InFile => {
                    Err(FormError::Malformed("it ends before its last boundary"))
                }
                None => {
                    this.state = State::Done;
                    return Poll::Ready(None);
                }
                Some(Err(error)) => Err(FormError::Body(error.into())),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => this.feed(bytes),
                    Err(_) => Ok(()),
                },
            };
            if let Err(error) = fed {
                this.state = State::Done;
                return Poll::Ready(Some(Err(error)));
            }
        }
    }
}

#[cfg(test)]
mod tests;

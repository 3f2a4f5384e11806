//! POST Object: uploads from forms in browsers, streamed.
//!
//! `s3s` would read the file of a form into memory, so forms never reach it as such.
//! The fields are read here, at most [`form::FIELDS_BYTES_MAX`] of them; their signature is verified, and the policy document that it covers is held against every field.
//! What is left is a PUT of the same object with the fields as its headers and the file as its body, which goes the way of every other: the same decision, the same intake, the same checks of sums, tags and lists.
//! Its answer is turned into the one that the form asked for.

mod answer;
mod conditions;
mod fields;
mod form;
mod signature;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response, header};
use s3s::{S3ErrorCode, S3Result};

use super::error::{of_form, say};
use super::{DEFAULT_REGION, S3Door, access, host};
use conditions::Conditions;
pub(super) use form::FormError;

/// What a body has at least, where nothing says how much it has.
#[derive(Clone, Copy)]
pub(super) struct AtLeast(pub(super) u64);

/// The length of a form, as declared; 0 when it is not.
fn declared(headers: &http::HeaderMap) -> u64 {
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse().ok());
    length.unwrap_or(0)
}

/// Whether a request is a form.
pub(super) fn is_form(parts: &Parts) -> bool {
    let content_type = parts.headers.get(header::CONTENT_TYPE);
    parts.method == Method::POST
        && content_type.is_some_and(|value| {
            value
                .as_bytes()
                .get(..19)
                .is_some_and(|kind| kind.eq_ignore_ascii_case(b"multipart/form-data"))
        })
}

impl S3Door {
    /// Answers a form.
    pub(super) async fn form<B>(&self, parts: Parts, body: B) -> S3Result<Response<s3s::Body>>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let bucket = host::bucket_of_form(&parts, self.0.domain.as_deref())?;
        let query = parts.uri.query().unwrap_or_default();
        if parts.headers.contains_key(header::AUTHORIZATION) || query.contains("X-Amz-Signature=") {
            return Err(say(
                S3ErrorCode::InvalidArgument,
                "a form is signed by its fields, not by a header or its address",
            ));
        }
        let boundary = form::boundary(&parts.headers)?;
        let (form, file) = form::open(body, &boundary).await.map_err(|e| of_form(&e))?;
        let signed = signature::of(&form, &[&self.0.region, DEFAULT_REGION])?;
        let now_ms = self.0.store.clock().now_ms();
        let mut object = fields::object(&form, &bucket, &parts)?;
        let least = file.at_least(declared(&parts.headers));
        object.parts.extensions.insert(AtLeast(least));
        let context = access::form_context(
            &self.0.gate,
            signed.as_ref().map(|signed| signed.access_key.as_str()),
            &parts,
            &object.parts,
        )
        .await?;
        let mut range = None;
        if let Some(signed) = &signed {
            signed.verify(context.secret(), now_ms)?;
        }
        if let Some(policy) = form.field("policy") {
            let conditions = Conditions::parse(policy)?;
            conditions.check(&form, &bucket, &object.key, now_ms)?;
            range = conditions.length();
        }
        if range.is_some_and(|(_, most)| least > most) {
            return Err(of_form(&FormError::TooLarge));
        }
        let wish = answer::Wish::of(&form, &parts, &bucket, &object.key);
        let body = s3s::Body::http_body_unsync(file.within(range));
        let call = Box::pin(self.0.s3.call(Request::from_parts(object.parts, body)));
        let response = access::scoped(context, call).await.map_err(super::failed)?;
        Ok(wish.answer(response))
    }
}

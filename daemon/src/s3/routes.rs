//! What passes by the operations of `s3s`, which takes one route: requests that are here for their signature alone, and temporary keys.

use http::{Extensions, HeaderMap, Method, Uri};
use s3s::route::S3Route;
use s3s::{Body, S3Request, S3Response, S3Result};

use super::access::is_first_of_two;
use super::lenient::Verified;
use super::sts::Sts;

/// Both routes as one.
pub(super) struct Routes(pub(super) Sts);

#[async_trait::async_trait]
impl S3Route for Routes {
    fn is_match(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        extensions: &mut Extensions,
    ) -> bool {
        Verified.is_match(method, uri, headers, extensions)
            || self.0.is_match(method, uri, headers, extensions)
    }

    async fn check_access(&self, request: &mut S3Request<Body>) -> S3Result<()> {
        if is_first_of_two() {
            return Verified.check_access(request).await;
        }
        self.0.check_access(request).await
    }

    async fn call(&self, request: S3Request<Body>) -> S3Result<S3Response<Body>> {
        if is_first_of_two() {
            return Verified.call(request).await;
        }
        self.0.call(request).await
    }
}

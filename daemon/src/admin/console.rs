//! The web console: static files inside the binary, under a policy that lets it talk to this node alone.
//!
//! A build made without Node.js has no console; it serves one page that says how to get it.

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use axum::routing::get;
use nebula_api::routes;
use rust_embed::{EmbeddedFile, RustEmbed};

use super::no_route;

/// What `npm run build` writes: `index.html`, and `assets/` whose names carry a hash of their content.
#[derive(RustEmbed)]
#[folder = "console/dist"]
#[allow_missing = true]
struct Dist;

/// The page of a build without the console; it has one style and no script.
const FALLBACK: &str = include_str!("../../console/fallback.html");
const INDEX: &str = "index.html";
/// What the build appends to the name of a file's squeezed twin.
const SQUEEZED: &str = ".gz";
const ASSET: &str = "/-/assets/{*path}";

/// Hashed names never change their content.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// The index names the assets, so it is asked for each time.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");

/// Own scripts, own styles, own data; pictures and films also from memory, where credentials fetched them.
/// The player fills texts into tracks that begin as an empty document in their address.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; media-src 'self' blob: data:; img-src 'self' blob: data:; worker-src 'self' blob:; \
     object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
const FALLBACK_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// The console's addresses. They are open to everyone: the pages hold nothing, the API behind them asks who is there.
pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route(routes::CONSOLE, get(index))
        .route("/-", get(|| async { Redirect::permanent(routes::CONSOLE) }))
        .route(ASSET, get(asset))
}

async fn index(headers: HeaderMap) -> Response {
    let (mut response, policy) = match Dist::get(INDEX) {
        Some(file) => (serve(INDEX, file, &headers), POLICY),
        None => (Html(FALLBACK).into_response(), FALLBACK_POLICY),
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    headers.insert(header::CACHE_CONTROL, ASK_AGAIN);
    headers.insert(OPENER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

async fn asset(Path(path): Path<String>, headers: HeaderMap) -> Response {
    let path = format!("assets/{path}");
    // The squeezed twin of a file is a way to send it, not an address.
    let climbs = path.split('/').any(|part| part == "..");
    let found = if climbs || path.ends_with(SQUEEZED) {
        None
    } else {
        Dist::get(&path)
    };
    let Some(file) = found else {
        return no_route().await.into_response();
    };
    let mut response = serve(&path, file, &headers);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, FOR_EVER);
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    response
}

/// One embedded file, squeezed where the build made it smaller and the browser takes it so.
fn serve(path: &str, file: EmbeddedFile, asked: &HeaderMap) -> Response {
    let twin = takes_gzip(asked)
        .then(|| Dist::get(&format!("{path}{SQUEEZED}")))
        .flatten();
    let squeezed = twin.is_some();
    let file = twin.unwrap_or(file);
    let etag = format!("\"{}\"", hex::encode(&file.metadata.sha256_hash()[..16]));
    let mut response = if asked
        .get(header::IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == etag.as_bytes())
    {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        file.data.into_response()
    };
    let headers = response.headers_mut();
    let kind = match path.rsplit_once('.').map_or("", |(_, ending)| ending) {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        _ => "application/octet-stream",
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if squeezed {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(header::ETAG, etag);
    }
    response
}

/// Whether `Accept-Encoding` names gzip without refusing it (RFC 9110 §12.5.3).
fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers
        .get(header::ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    accepted.split(',').any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().trim_start_matches("q=").trim();
        name.trim().eq_ignore_ascii_case("gzip") && weight.parse::<f32>() != Ok(0.0)
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt as _;

    use super::*;

    /// Far above the page's size.
    const PAGE_BYTES_MAX: usize = 1 << 20;

    async fn ask(path: &str, encoding: &str) -> Response {
        let request = Request::get(path)
            .header(header::ACCEPT_ENCODING, encoding)
            .body(Body::empty())
            .unwrap();
        router::<()>()
            .with_state(())
            .oneshot(request)
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn the_index_is_there_with_or_without_a_built_console() {
        let response = ask("/-/", "identity").await;
        assert_eq!(response.status(), StatusCode::OK);
        let policy = response.headers()[header::CONTENT_SECURITY_POLICY].clone();
        let policy = policy.to_str().unwrap();
        assert!(!policy.contains("script-src 'unsafe"), "{policy}");
        assert_eq!(response.headers()[header::CACHE_CONTROL], ASK_AGAIN);
        let page = to_bytes(response.into_body(), PAGE_BYTES_MAX)
            .await
            .unwrap();
        let page = std::str::from_utf8(&page).unwrap();
        assert!(page.contains("<title>Nebula"), "{page}");
        assert!(!page.contains("<script>"), "no inline script: {page}");
    }

    #[tokio::test]
    async fn what_was_not_built_is_not_there() {
        for path in [
            "/-/assets/nothing.js",
            "/-/assets/../index.html",
            "/-/assets/a.js.gz",
        ] {
            assert_eq!(
                ask(path, "gzip").await.status(),
                StatusCode::NOT_FOUND,
                "{path}"
            );
        }
    }

    #[test]
    fn gzip_is_sent_to_who_takes_it() {
        let table = [
            ("gzip, deflate", true),
            ("br;q=1.0, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("", false),
            ("identity", false),
        ];
        for (value, expected) in table {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, value.parse().unwrap());
            assert_eq!(takes_gzip(&headers), expected, "{value}");
        }
    }
}

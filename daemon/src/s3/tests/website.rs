//! A bucket as a website: configured at this door, read at the other.

use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;

use super::House;
use crate::website::{Website, WebsiteParts};

const OPEN: &str = r#"{"Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::films/*"}]}"#;
const CONFIGURATION: &str = "<WebsiteConfiguration>\
    <IndexDocument><Suffix>index.html</Suffix></IndexDocument><ErrorDocument><Key>error.html</Key></ErrorDocument>\
    <RoutingRules>\
    <RoutingRule><Condition><KeyPrefixEquals>old/</KeyPrefixEquals></Condition>\
    <Redirect><ReplaceKeyPrefixWith>new/</ReplaceKeyPrefixWith></Redirect></RoutingRule>\
    <RoutingRule><Condition><HttpErrorCodeReturnedEquals>404</HttpErrorCodeReturnedEquals><KeyPrefixEquals>moved/</KeyPrefixEquals></Condition>\
    <Redirect><HostName>other.org</HostName><Protocol>https</Protocol><HttpRedirectCode>302</HttpRedirectCode></Redirect></RoutingRule>\
    </RoutingRules></WebsiteConfiguration>";

struct Page {
    status: u16,
    headers: http::HeaderMap,
    text: String,
}

impl Page {
    fn place(&self) -> &str {
        self.headers
            .get("location")
            .map_or("", |place| place.to_str().unwrap())
    }
}

struct Site {
    house: House,
    door: Website,
}

async fn site() -> Site {
    let house = House::open().await;
    let root = house.root.clone();
    let key = Some(&root);
    house.put(key, "/films", &[]).await;
    for uri in [
        "/films/index.html",
        "/films/a/index.html",
        "/films/error.html",
        "/films/new/x",
    ] {
        let html = [("content-type", "text/html")];
        let put = house
            .ask(key, Method::PUT, uri, &html, format!("<p>{uri}"))
            .await;
        assert_eq!(put.status, StatusCode::OK, "{}", put.text);
    }
    let leads = [("x-amz-website-redirect-location", "/new/x")];
    house.put(key, "/films/leads", &leads).await;
    let set = house
        .ask(key, Method::PUT, "/films?website", &[], CONFIGURATION)
        .await;
    assert_eq!(set.status, StatusCode::OK, "{}", set.text);
    let door = Website::new(WebsiteParts {
        store: house.store.clone(),
        identity: house.identity.clone(),
        domain: Some("web.home".into()),
    });
    Site { house, door }
}

impl Site {
    async fn open(&self) {
        let root = self.house.root.clone();
        let set = self
            .house
            .ask(Some(&root), Method::PUT, "/films?policy", &[], OPEN)
            .await;
        assert_eq!(set.status, StatusCode::NO_CONTENT, "{}", set.text);
    }

    async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Page {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .header("host", "films.web.home:8000")
            .body(())
            .unwrap();
        assert!(self.door.is_named(request.headers(), request.uri()));
        page(self.door.by_host(request).await).await
    }

    async fn get(&self, path: &str) -> Page {
        self.ask(Method::GET, path, &[]).await
    }

    /// Without a domain.
    async fn by_path(&self, path: &str) -> Page {
        use tower::ServiceExt as _;
        let request = Request::get(path).body(axum::body::Body::empty()).unwrap();
        page(self.door.router().oneshot(request).await.unwrap()).await
    }
}

async fn page(response: axum::response::Response) -> Page {
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    Page {
        status: parts.status.as_u16(),
        headers: parts.headers,
        text: String::from_utf8_lossy(&bytes).into_owned(),
    }
}

#[tokio::test]
async fn only_what_is_open_to_everybody_is_served() {
    let site = site().await;
    let closed = site.get("/").await;
    assert_eq!(
        (
            closed.status,
            closed.headers["content-type"].to_str().unwrap()
        ),
        (403, "text/html; charset=utf-8")
    );
    assert!(closed.text.contains("AccessDenied"), "{}", closed.text);
    let root = site.house.root.clone();
    let list = [("x-amz-acl", "public-read")];
    let put = site.house.put(Some(&root), "/films/open.txt", &list).await;
    assert_eq!(put.status, StatusCode::OK, "{}", put.text);
    assert_eq!(
        site.get("/open.txt").await.text,
        "hello",
        "by its access list"
    );
    assert_eq!(site.get("/a/index.html").await.status, 403);
    site.open().await;
    assert_eq!(site.get("/a/index.html").await.status, 200);
    site.house.put(Some(&root), "/films?website", &[]).await;
    let gone = site
        .house
        .ask(Some(&root), Method::DELETE, "/films?website", &[], "")
        .await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    let none = site.get("/").await;
    assert_eq!(none.status, 404);
    assert!(none.text.contains("NoSuchWebsiteConfiguration"));
}

#[tokio::test]
async fn folders_pages_errors_and_redirects() {
    let site = site().await;
    site.open().await;
    for (path, text) in [
        ("/", "<p>/films/index.html"),
        ("/a/", "<p>/films/a/index.html"),
        ("/a/index.html", "<p>/films/a/index.html"),
    ] {
        let page = site.get(path).await;
        assert_eq!((page.status, page.text.as_str()), (200, text), "{path}");
        assert!(
            !page.headers.contains_key("content-security-policy"),
            "its own origin"
        );
    }
    let folder = site.get("/a").await;
    assert_eq!((folder.status, folder.place()), (302, "/a/"));
    let leads = site.get("/leads").await;
    assert_eq!((leads.status, leads.place()), (301, "/new/x"));
    let old = site.get("/old/a%20b").await;
    assert_eq!((old.status, old.place()), (301, "/new/a%20b"));
    // Who may not list is not told what is missing.
    let missing = site.get("/missing").await;
    assert_eq!(
        (missing.status, missing.text.as_str()),
        (403, "<p>/films/error.html")
    );
    let root = site.house.root.clone();
    let listing = OPEN.replace("\"s3:GetObject\"", "[\"s3:GetObject\",\"s3:ListBucket\"]");
    let listing = listing.replace(
        "\"arn:aws:s3:::films/*\"",
        "[\"arn:aws:s3:::films\",\"arn:aws:s3:::films/*\"]",
    );
    let set = site
        .house
        .ask(Some(&root), Method::PUT, "/films?policy", &[], listing)
        .await;
    assert_eq!(set.status, StatusCode::NO_CONTENT, "{}", set.text);
    let missing = site.get("/missing").await;
    assert_eq!(
        (missing.status, missing.text.as_str()),
        (404, "<p>/films/error.html")
    );
    let moved = site.get("/moved/x").await;
    assert_eq!(
        (moved.status, moved.place()),
        (302, "https://other.org/moved/x")
    );
    let head = site.ask(Method::HEAD, "/missing", &[]).await;
    assert_eq!((head.status, head.text.as_str()), (404, ""));
    assert_eq!(site.ask(Method::PUT, "/a", &[]).await.status, 405);
    assert_eq!(site.get("/%ff").await.status, 400);
}

#[tokio::test]
async fn conditions_and_ranges_as_everywhere() {
    let site = site().await;
    site.open().await;
    let whole = site.get("/index.html").await;
    let etag = whole.headers["etag"].to_str().unwrap();
    let same = site
        .ask(Method::GET, "/index.html", &[("if-none-match", etag)])
        .await;
    assert_eq!((same.status, same.text.as_str()), (304, ""));
    let part = site
        .ask(Method::GET, "/index.html", &[("range", "bytes=0-2")])
        .await;
    assert_eq!((part.status, part.text.as_str()), (206, "<p>"));
    let none = site
        .ask(Method::GET, "/index.html", &[("range", "bytes=900-")])
        .await;
    assert_eq!(none.status, 416);
    assert!(none.text.contains("<h1>416") && none.headers.contains_key("content-range"));
    let other = site
        .ask(Method::GET, "/index.html", &[("if-match", "\"x\"")])
        .await;
    assert_eq!(other.status, 412);
}

#[tokio::test]
async fn without_a_domain_a_site_lies_under_a_path_in_a_sandbox() {
    let site = site().await;
    site.open().await;
    let front = site.by_path("/-/web/films/").await;
    assert_eq!(front.text, "<p>/films/index.html");
    let policy = front.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("sandbox") && !policy.contains("allow-same-origin"));
    for (path, place) in [
        ("/-/web/films", "/-/web/films/"),
        ("/-/web/films/a", "/-/web/films/a/"),
        ("/-/web/films/leads", "/-/web/films/new/x"),
        ("/-/web/films/old/x", "/-/web/films/new/x"),
    ] {
        assert_eq!(site.by_path(path).await.place(), place, "{path}");
    }
    assert_eq!(site.by_path("/-/web/nobody/").await.status, 404);
    assert_eq!(site.by_path("/-/web/No_Name/").await.status, 404);
}

#[tokio::test]
async fn a_configuration_is_checked_and_comes_back() {
    let site = site().await;
    let root = site.house.root.clone();
    let got = site.house.get(Some(&root), "/films?website").await;
    for part in [
        "<Suffix>index.html</Suffix>",
        "<Key>error.html</Key>",
        "<KeyPrefixEquals>old/</KeyPrefixEquals>",
        "<HttpRedirectCode>302</HttpRedirectCode>",
        "<Protocol>https</Protocol>",
    ] {
        assert!(got.text.contains(part), "{part}: {}", got.text);
    }
    let wrap = |inner: &str| format!("<WebsiteConfiguration>{inner}</WebsiteConfiguration>");
    let index = "<IndexDocument><Suffix>i</Suffix></IndexDocument>";
    let rule = |inner: &str| {
        wrap(&format!(
            "{index}<RoutingRules><RoutingRule>{inner}</RoutingRule></RoutingRules>"
        ))
    };
    for (body, code) in [
        (wrap(""), "InvalidArgument"),
        (
            wrap("<IndexDocument><Suffix>a/b</Suffix></IndexDocument>"),
            "InvalidArgument",
        ),
        (
            wrap(&format!(
                "{index}<RedirectAllRequestsTo><HostName>h</HostName></RedirectAllRequestsTo>"
            )),
            "InvalidArgument",
        ),
        (
            wrap("<RedirectAllRequestsTo><HostName>a b</HostName></RedirectAllRequestsTo>"),
            "InvalidArgument",
        ),
        (
            rule("<Redirect><Protocol>ftp</Protocol></Redirect>"),
            "InvalidRequest",
        ),
        (
            rule("<Redirect><HttpRedirectCode>200</HttpRedirectCode></Redirect>"),
            "InvalidRequest",
        ),
        (
            rule(
                "<Redirect><ReplaceKeyWith>a</ReplaceKeyWith><ReplaceKeyPrefixWith>b</ReplaceKeyPrefixWith></Redirect>",
            ),
            "InvalidRequest",
        ),
        (
            rule(
                "<Condition><HttpErrorCodeReturnedEquals>200</HttpErrorCodeReturnedEquals></Condition><Redirect><HostName>h</HostName></Redirect>",
            ),
            "InvalidRequest",
        ),
    ] {
        let answer = site
            .house
            .ask(
                Some(&root),
                Method::PUT,
                "/films?website",
                &[],
                body.clone(),
            )
            .await;
        assert_eq!(
            (answer.code(), answer.status.as_u16()),
            (code, 400),
            "{body}"
        );
    }
    let all = wrap(
        "<RedirectAllRequestsTo><HostName>new.org</HostName><Protocol>https</Protocol></RedirectAllRequestsTo>",
    );
    let set = site
        .house
        .ask(Some(&root), Method::PUT, "/films?website", &[], all)
        .await;
    assert_eq!(set.status, StatusCode::OK, "{}", set.text);
    let away = site.get("/a/b%20c?d=e").await;
    assert_eq!(
        (away.status, away.place()),
        (301, "https://new.org/a/b%20c?d=e")
    );
    let bare = site.house.put(Some(&root), "/other", &[]).await;
    assert_eq!(bare.status, StatusCode::OK);
    let none = site.house.get(Some(&root), "/other?website").await;
    assert_eq!(
        (none.code(), none.status.as_u16()),
        ("NoSuchWebsiteConfiguration", 404)
    );
}

#[tokio::test]
async fn what_no_bucket_here_has_is_said_so() {
    let house = House::open().await;
    let root = house.root.clone();
    house.put(Some(&root), "/films", &[]).await;
    let payer = house.get(Some(&root), "/films?requestPayment").await;
    assert!(
        payer.text.contains("<Payer>BucketOwner</Payer>"),
        "{}",
        payer.text
    );
    for uri in [
        "logging",
        "accelerate",
        "analytics",
        "inventory",
        "metrics",
        "intelligent-tiering",
    ] {
        let answer = house.get(Some(&root), &format!("/films?{uri}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{uri}: {}", answer.text);
        let nowhere = house.get(Some(&root), &format!("/nowhere?{uri}")).await;
        assert_eq!(nowhere.code(), "NoSuchBucket", "{uri}");
    }
    let replication = house.get(Some(&root), "/films?replication").await;
    assert_eq!(replication.code(), "ReplicationConfigurationNotFoundError");
    let put = async |uri: &str, body: &str| {
        let body = body.to_owned();
        house.ask(Some(&root), Method::PUT, uri, &[], body).await
    };
    let off = put("/films?logging", "<BucketLoggingStatus/>").await;
    assert_eq!(off.status, StatusCode::OK, "{}", off.text);
    let on = "<BucketLoggingStatus><LoggingEnabled><TargetBucket>films</TargetBucket><TargetPrefix>l</TargetPrefix></LoggingEnabled></BucketLoggingStatus>";
    assert_eq!(put("/films?logging", on).await.code(), "NotImplemented");
    let pays = |who: &str| {
        format!("<RequestPaymentConfiguration><Payer>{who}</Payer></RequestPaymentConfiguration>")
    };
    assert_eq!(
        put("/films?requestPayment", &pays("BucketOwner"))
            .await
            .status,
        StatusCode::OK
    );
    assert_eq!(
        put("/films?requestPayment", &pays("Requester"))
            .await
            .code(),
        "NotImplemented"
    );
}

//! A stand-in for the daemon: a bucket, objects and tus uploads in memory, answering as the contract says.

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::StreamExt as _;
use nebula_client::api::{
    Bucket, CreateBucket, Discovery, Durability, Hardware, JobCounts, Me, Object, ObjectDetails,
    ObjectPage, ObjectsQuery, Page, Problem, Role, Scrub, Status, Storage, Urls, Versioning,
    problem, routes,
};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

/// The key pair it takes.
pub const KEY: (&str, &str) = ("NBTEST", "geheim");

/// What the node holds, and how it is to misbehave.
#[derive(Default)]
pub struct Inner {
    pub buckets: Vec<String>,
    pub objects: BTreeMap<(String, String), Vec<u8>>,
    pub uploads: BTreeMap<String, Upload>,
    /// Every content byte that tus took in.
    pub received_bytes: u64,
    /// How many uploads were begun.
    pub begun: u64,
    /// Where the parts began whose first bytes came, in the order in which they came.
    pub lanes: Vec<u64>,
    /// Which uploads are joined to which object, in order.
    pub joined: Vec<(String, String, Vec<String>)>,
    /// The largest body of an upload, as it is told and kept to.
    pub body_bytes_max: Option<u64>,
    /// Answer the next requests of these methods with these, from the last on.
    pub refusals: Vec<(Method, u16)>,
    /// How many requests were answered.
    pub requests: u64,
    /// Flip the first byte of the next object.
    pub corrupt: bool,
    /// Forget every upload once this much was received.
    pub forget_after_bytes: Option<u64>,
}

pub struct Upload {
    bucket: String,
    key: String,
    size: Option<u64>,
    content: Vec<u8>,
    /// Where in the whole it begins, when it is a part.
    pub lane_start: Option<u64>,
    /// What its creation was called.
    once: String,
}

impl Upload {
    fn is_whole(&self) -> bool {
        self.size == Some(self.content.len() as u64)
    }
}

impl Inner {
    fn publish(&mut self, bucket: &str, key: &str, mut content: Vec<u8>) {
        if self.corrupt && !content.is_empty() {
            content[0] ^= 1;
        }
        self.objects.insert((bucket.into(), key.into()), content);
    }

    /// Makes the objects of which every byte is there.
    fn finish(&mut self, id: &str) {
        let Some(upload) = self.uploads.get(id).filter(|upload| upload.is_whole()) else {
            return;
        };
        if upload.lane_start.is_none() {
            let (bucket, key) = (upload.bucket.clone(), upload.key.clone());
            let content = upload.content.clone();
            self.publish(&bucket, &key, content);
        }
        for (bucket, key, parts) in self.joined.clone() {
            let parts: Option<Vec<&Upload>> = parts.iter().map(|id| self.uploads.get(id)).collect();
            let Some(parts) = parts.filter(|parts| parts.iter().all(|part| part.is_whole())) else {
                continue;
            };
            let mut whole = Vec::new();
            for part in parts {
                assert_eq!(part.lane_start, Some(whole.len() as u64));
                whole.extend_from_slice(&part.content);
            }
            self.publish(&bucket, &key, whole);
        }
    }

    /// Takes in what came for an upload.
    fn receive(&mut self, id: &str, piece: &[u8]) {
        self.received_bytes += piece.len() as u64;
        if let Some(upload) = self.uploads.get_mut(id) {
            if upload.content.is_empty() {
                self.lanes.extend(upload.lane_start);
            }
            upload.content.extend_from_slice(piece);
        }
        let limit = self.forget_after_bytes;
        if limit.is_some_and(|limit| self.received_bytes >= limit) {
            self.forget_after_bytes = None;
            self.uploads.clear();
        }
    }
}

#[derive(Clone, Default)]
pub struct Node(pub Arc<Mutex<Inner>>);

impl Node {
    /// Starts it on a free port; it ends with the test's runtime.
    pub async fn start() -> (Self, SocketAddr) {
        let node = Self::default();
        node.0.lock().unwrap().buckets.push("films".into());
        let app = Router::new()
            .route(routes::DISCOVERY, get(discovery))
            .route(routes::STATUS, get(status))
            .route(routes::BUCKETS, get(buckets).post(create_bucket))
            .route(routes::BUCKET, get(bucket))
            .route(routes::OBJECTS, get(objects))
            .route(routes::OBJECT, get(object).delete(delete_object))
            .route(routes::FILE, get(file))
            .route(routes::TUS, post(create))
            .route(
                "/-/tus/{id}",
                axum::routing::head(offset).patch(patch).delete(terminate),
            )
            .layer(axum::middleware::from_fn_with_state(node.clone(), gate))
            .with_state(node.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        (node, address)
    }

    pub fn with<T>(&self, f: impl FnOnce(&mut Inner) -> T) -> T {
        f(&mut self.0.lock().unwrap())
    }

    pub fn content(&self, key: &str) -> Option<Vec<u8>> {
        self.with(|n| n.objects.get(&("films".into(), key.into())).cloned())
    }
}

fn no(status: u16, code: &str) -> Response {
    let problem = Problem::new(status, code, code);
    let mut response = (StatusCode::from_u16(status).unwrap(), Json(problem)).into_response();
    let kind = HeaderValue::from_static(problem::CONTENT_TYPE);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

async fn gate(
    State(node): State<Node>,
    request: Request<Body>,
    next: axum::middleware::Next,
) -> Response {
    let want = STANDARD.encode(format!("{}:{}", KEY.0, KEY.1));
    let given = request.headers().get(header::AUTHORIZATION);
    let known = given.is_some_and(|g| g.as_bytes() == format!("Basic {want}").as_bytes());
    if !known && request.uri().path() != routes::DISCOVERY {
        return no(401, problem::code::UNAUTHENTICATED);
    }
    let is_upload = request.uri().path().starts_with(routes::TUS);
    let refusal = node.with(|n| {
        n.requests += 1;
        let is_next = |(method, _): &mut (Method, u16)| method == request.method();
        n.refusals.pop_if(is_next)
    });
    if let Some((_, status)) = refusal {
        return no(status, problem::code::UNAVAILABLE);
    }
    let mut response = next.run(request).await;
    if let Some(most) = node.with(|n| n.body_bytes_max).filter(|_| is_upload) {
        let limit = format!("min-size=0, max-append-size={most}").parse();
        response
            .headers_mut()
            .insert("upload-limit", limit.unwrap());
    }
    response
}

async fn discovery() -> Json<Discovery> {
    Json(Discovery {
        product: "nebula".into(),
        version: "0.0.0".into(),
        api: routes::API.into(),
        tus: routes::TUS.into(),
        console: routes::CONSOLE.into(),
        upload: None,
        upload_chunk_bytes: None,
        s3_region: "us-east-1".into(),
    })
}

async fn status() -> Json<Status> {
    Json(Status {
        version: "0.0.0".into(),
        build_id: "test".into(),
        node: "testnode".into(),
        started_at_ms: 0,
        uptime_ms: 1,
        listen: vec![],
        storage: Storage::default(),
        scrub: Scrub::default(),
        database: "none".into(),
        queue: "none".into(),
        hardware: Hardware::default(),
        jobs: JobCounts::default(),
        me: Me {
            actor: format!("key:{}", KEY.0),
            role: Role::Admin,
            rule: "root key".into(),
            usage: nebula_client::api::Usage::default(),
            quota: nebula_client::api::Quota::default(),
        },
    })
}

fn bucket_named(name: &str) -> Bucket {
    Bucket {
        name: name.into(),
        created_at_ms: 0,
        versioning: Versioning::Off,
        durability: Durability::Strict,
        objects: 0,
        size_bytes: 0,
        quota: nebula_client::api::Quota::default(),
    }
}

async fn buckets(State(node): State<Node>) -> Json<Page<Bucket>> {
    let names = node.with(|n| n.buckets.clone());
    Json(Page::last(names.iter().map(|n| bucket_named(n)).collect()))
}

async fn create_bucket(State(node): State<Node>, Json(new): Json<CreateBucket>) -> Response {
    if node.with(|n| n.buckets.contains(&new.name)) {
        return no(409, problem::code::BUCKET_EXISTS);
    }
    node.with(|n| n.buckets.push(new.name.clone()));
    (StatusCode::CREATED, Json(bucket_named(&new.name))).into_response()
}

async fn bucket(State(node): State<Node>, Path(name): Path<String>) -> Response {
    if node.with(|n| n.buckets.contains(&name)) {
        Json(bucket_named(&name)).into_response()
    } else {
        no(404, problem::code::BUCKET_NOT_FOUND)
    }
}

fn entry(bucket: &str, key: &str, content: &[u8]) -> Object {
    Object {
        bucket: bucket.into(),
        key: key.into(),
        version: None,
        latest: true,
        delete_marker: false,
        size_bytes: content.len() as u64,
        etag: blake3::hash(content).to_hex()[..32].to_owned(),
        content_type: Some("application/octet-stream".into()),
        modified_at_ms: 0,
    }
}

async fn objects(
    State(node): State<Node>,
    Path(bucket): Path<String>,
    Query(query): Query<ObjectsQuery>,
) -> Response {
    if !node.with(|n| n.buckets.contains(&bucket)) {
        return no(404, problem::code::BUCKET_NOT_FOUND);
    }
    let prefix = query.prefix.unwrap_or_default();
    // Pages of two, so that every walk has to turn them.
    let after = query.cursor.unwrap_or_default();
    let mut items: Vec<Object> = node.with(|n| {
        n.objects
            .iter()
            .filter(|((b, key), _)| *b == bucket && key.starts_with(&prefix) && *key > after)
            .map(|((b, key), content)| entry(b, key, content))
            .take(3)
            .collect()
    });
    let more = items.len() > 2;
    items.truncate(2);
    let next = items.last().filter(|_| more).map(|o| o.key.clone());
    Json(ObjectPage {
        items,
        prefixes: vec![],
        next,
    })
    .into_response()
}

async fn object(State(node): State<Node>, Path((b, key)): Path<(String, String)>) -> Response {
    let Some(content) = node.with(|n| n.objects.get(&(b.clone(), key.clone())).cloned()) else {
        return no(404, problem::code::OBJECT_NOT_FOUND);
    };
    Json(ObjectDetails {
        object: entry(&b, &key, &content),
        blake3: Some(blake3::hash(&content).to_hex().to_string()),
        metadata: BTreeMap::new(),
        asset: None,
        urls: Urls {
            file: routes::file(&b, &key),
            hls: None,
            poster: None,
        },
    })
    .into_response()
}

async fn delete_object(State(node): State<Node>, Path(at): Path<(String, String)>) -> Response {
    match node.with(|n| n.objects.remove(&at)) {
        Some(_) => StatusCode::NO_CONTENT.into_response(),
        None => no(404, problem::code::OBJECT_NOT_FOUND),
    }
}

async fn file(
    State(node): State<Node>,
    Path(at): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let Some(content) = node.with(|n| n.objects.get(&at).cloned()) else {
        return no(404, problem::code::OBJECT_NOT_FOUND);
    };
    let size = content.len();
    let etag = format!("\"{}\"", entry(&at.0, &at.1, &content).etag);
    let is_same = headers
        .get(header::IF_MATCH)
        .is_none_or(|e| e.as_bytes() == etag.as_bytes());
    if !is_same {
        return no(412, problem::code::PRECONDITION_FAILED);
    }
    let range = headers.get(header::RANGE).and_then(|r| r.to_str().ok());
    let range: Option<(usize, usize)> = range.and_then(|r| {
        let (from, to) = r.strip_prefix("bytes=")?.split_once('-')?;
        Some((from.parse().ok()?, to.parse().ok()?))
    });
    let (from, to) = range.unwrap_or((0, size.saturating_sub(1)));
    // In pieces, so that a cut in the middle leaves some of it.
    let pieces: Vec<Vec<u8>> = content[from..(to + 1).min(size)]
        .chunks(64 << 10)
        .map(<[u8]>::to_vec)
        .collect();
    let body = Body::from_stream(futures::stream::iter(pieces).map(Ok::<_, std::io::Error>));
    let mut builder = Response::builder()
        .header(header::ETAG, etag)
        .header(header::CONTENT_LENGTH, (to + 1).min(size) - from);
    if range.is_some() {
        builder = builder
            .status(206)
            .header(header::CONTENT_RANGE, format!("bytes {from}-{to}/{size}"));
    }
    builder.body(body).unwrap()
}

async fn create(State(node): State<Node>, headers: HeaderMap, body: Body) -> Response {
    let metadata: BTreeMap<String, String> = headers["upload-metadata"]
        .to_str()
        .unwrap()
        .split(',')
        .filter_map(|pair| {
            let (name, value) = pair.trim().split_once(' ')?;
            let value = STANDARD.decode(value).ok()?;
            Some((name.to_owned(), String::from_utf8(value).ok()?))
        })
        .collect();
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let concat = text("upload-concat").unwrap_or_default();
    let upload = Upload {
        bucket: metadata["bucket"].clone(),
        key: metadata["filename"].clone(),
        size: text("upload-length").map(|length| length.parse().unwrap()),
        content: Vec::new(),
        lane_start: metadata.get("lane-start").map(|at| at.parse().unwrap()),
        once: text("idempotency-key").unwrap_or_default().to_owned(),
    };
    if !node.with(|n| n.buckets.contains(&upload.bucket)) {
        return no(404, problem::code::BUCKET_NOT_FOUND);
    }
    if let Some(urls) = concat.strip_prefix("final;") {
        let ids = urls.split(' ').map(|url| url.rsplit('/').next().unwrap());
        let ids: Vec<String> = ids.map(str::to_owned).collect();
        return node.with(|n| {
            if ids.iter().any(|id| !n.uploads.contains_key(id)) {
                return no(404, problem::code::UPLOAD_NOT_FOUND);
            }
            let joined = (upload.bucket, upload.key, ids.clone());
            if !n.joined.contains(&joined) {
                n.joined.push(joined);
                n.finish(&ids[0]);
            }
            let location = format!("{}final", routes::TUS);
            (StatusCode::CREATED, [(header::LOCATION, location)]).into_response()
        });
    }
    let id = node.with(|n| {
        let known = n
            .uploads
            .iter()
            .find(|(_, known)| known.once == upload.once);
        if let Some((id, _)) = known {
            return id.clone();
        }
        n.begun += 1;
        let id = format!("u{}", n.begun);
        n.uploads.insert(id.clone(), upload);
        id
    });
    let is_new = node.with(|n| n.uploads[&id].content.is_empty());
    if headers.contains_key(header::CONTENT_TYPE) && is_new {
        let mut body = body.into_data_stream();
        while let Some(Ok(piece)) = body.next().await {
            node.with(|n| n.receive(&id, &piece));
        }
        node.with(|n| n.finish(&id));
    }
    let offset = node.with(|n| n.uploads.get(&id).map_or(0, |upload| upload.content.len()));
    let location = format!("{}{id}", routes::TUS);
    Response::builder()
        .status(StatusCode::CREATED)
        .header(header::LOCATION, location)
        .header("upload-offset", offset)
        .body(Body::empty())
        .unwrap()
}

async fn offset(State(node): State<Node>, Path(id): Path<String>) -> Response {
    node.with(|n| match n.uploads.get(&id) {
        Some(u) => {
            let mut builder = Response::builder().header("upload-offset", u.content.len());
            if let Some(size) = u.size {
                builder = builder.header("upload-length", size);
            }
            builder.body(Body::empty()).unwrap()
        }
        None => no(404, problem::code::UPLOAD_NOT_FOUND),
    })
}

async fn terminate(State(node): State<Node>, Path(id): Path<String>) -> Response {
    match node.with(|n| n.uploads.remove(&id)) {
        Some(_) => StatusCode::NO_CONTENT.into_response(),
        None => no(404, problem::code::UPLOAD_NOT_FOUND),
    }
}

async fn patch(
    State(node): State<Node>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let at: usize = headers["upload-offset"].to_str().unwrap().parse().unwrap();
    match node.with(|n| n.uploads.get(&id).map(|u| u.content.len())) {
        None => return no(404, problem::code::UPLOAD_NOT_FOUND),
        Some(offset) if offset != at => return no(409, problem::code::CONFLICT),
        Some(_) => {}
    }
    if let Some(length) = headers.get("upload-length") {
        let length = length.to_str().unwrap().parse().unwrap();
        node.with(|n| n.uploads.get_mut(&id).unwrap().size = Some(length));
    }
    let length = headers.get(header::CONTENT_LENGTH);
    let length: u64 = length.map_or(0, |length| length.to_str().unwrap().parse().unwrap());
    assert!(
        node.with(|n| n.body_bytes_max)
            .is_none_or(|most| length <= most),
        "{length}"
    );
    let mut body = body.into_data_stream();
    while let Some(Ok(piece)) = body.next().await {
        // Every byte counts, also of a request that breaks off later.
        node.with(|n| n.receive(&id, &piece));
    }
    let new = node.with(|n| {
        n.uploads.get(&id)?;
        n.finish(&id);
        Some(n.uploads[&id].content.len())
    });
    match new {
        Some(new) => Response::builder()
            .status(204)
            .header("upload-offset", new)
            .body(Body::empty())
            .unwrap(),
        None => no(404, problem::code::UPLOAD_NOT_FOUND),
    }
}

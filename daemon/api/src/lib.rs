//! The wire types of Nebula's JSON API: what the daemon says and what every client hears.
//!
//! This crate is serde and nothing else: no I/O, no clock, no HTTP library.
//! The daemon's admin room serialises these types, the client library deserialises them,
//! and both build their addresses from [`routes`], so the two cannot drift apart.
//!
//! # Conventions
//!
//! - JSON with `snake_case` names; an absent value is a missing member, never `null`
//!   (a reader accepts both).
//! - A moment is an integer named `…_at_ms`: milliseconds since the Unix epoch, UTC.
//!   A length of time is an integer named `…_ms` or `…_s`. Sizes are integers named `…_bytes`.
//! - A list is a [`Page`]: `{"items": […], "next": "cursor"}`; without `next` it was the last one.
//!   Ask on with `?cursor=`; `?limit=` is capped at [`MAX_PAGE_ITEMS`].
//! - An address inside an answer ([`Urls`]) is a path from the origin, ready to be joined
//!   to whatever host name the caller reached the node by.
//! - An error is `application/problem+json`: a [`Problem`] (RFC 9457) with a stable `code` and a `hint`.
//! - New members and new enum values may appear at any time: a reader ignores the members it
//!   does not know, and every enum here has an `Other` that takes the values it does not know.
//! - Credentials: HTTP Basic with access key id and secret on every route below, a tailnet
//!   identity without any, or (file and stream doors only) a signed link.
//!
//! # The contract
//!
//! | route | request | answer |
//! |---|---|---|
//! | `GET /.well-known/nebula` (open to all) | | [`Discovery`] |
//! | `GET /-/api/v1/status` | | [`Status`] |
//! | `GET /-/api/v1/openapi.json` (open to all) | | the OpenAPI document |
//! | `GET /-/api/v1/buckets` | [`PageQuery`] | [`Page`] of [`Bucket`] |
//! | `POST /-/api/v1/buckets` | [`CreateBucket`] | 201 [`Bucket`]; 409 `bucket_exists` |
//! | `GET /-/api/v1/buckets/{bucket}` | | [`Bucket`] |
//! | `PATCH /-/api/v1/buckets/{bucket}` | [`PatchBucket`] | [`Bucket`] |
//! | `DELETE /-/api/v1/buckets/{bucket}` | | 204; 409 `bucket_not_empty` |
//! | `GET /-/api/v1/buckets/{bucket}/objects` | [`ObjectsQuery`] | [`ObjectPage`] |
//! | `GET /-/api/v1/buckets/{bucket}/objects/{key…}` | [`VersionQuery`] | [`ObjectDetails`] |
//! | `DELETE /-/api/v1/buckets/{bucket}/objects/{key…}` | [`VersionQuery`] | 204; 404 `object_not_found`; 403 `object_locked` |
//! | `POST /-/api/v1/buckets/{bucket}/objects/{key…}` | [`VersionQuery`] | [`Object`], undeleted or restored; 409 `not_deleted` |
//! | `POST /-/api/v1/contents/{blake3}` | [`ClaimContent`] | 201 [`ObjectDetails`], made of content that is there; 404 `content_not_found` |
//! | `GET /-/api/v1/assets` | [`AssetsQuery`] | [`Page`] of [`Asset`] |
//! | `GET /-/api/v1/assets/{bucket}/{key…}` | [`PlayerQuery`] | [`Asset`]; 404 `asset_not_found` |
//! | `GET /-/api/v1/posters/{bucket}/{key…}` | | the poster, `image/jpeg` |
//! | `GET /-/api/v1/library` | [`LibraryQuery`] | [`Page`] of [`LibraryItem`]: films and series |
//! | `GET /-/api/v1/positions` | [`PositionsQuery`] | [`Page`] of [`Position`] of the caller, latest first |
//! | `GET /-/api/v1/positions/{bucket}/{key…}` | | [`Position`]; 404 `position_not_found` |
//! | `PUT /-/api/v1/positions/{bucket}/{key…}` | [`PutPosition`] | [`Position`]; 404 `asset_not_found` |
//! | `DELETE /-/api/v1/positions/{bucket}/{key…}` | | 204; 404 `position_not_found` |
//! | `GET /-/api/v1/streams` | | [`Page`] of [`Stream`]: who watches now |
//! | `GET /-/api/v1/jobs` | [`JobsQuery`] | [`Page`] of [`Job`], newest first |
//! | `GET /-/api/v1/jobs/{id}` | | [`Job`] |
//! | `POST /-/api/v1/jobs/{id}/cancel` | | [`Job`]; 409 `job_finished` |
//! | `POST /-/api/v1/jobs/{id}/retry` | | [`Job`]; 409 `job_active` |
//! | `GET /-/api/v1/keys` | [`PageQuery`] | [`Page`] of [`AccessKey`] |
//! | `POST /-/api/v1/keys` | [`CreateKey`] | 201 [`CreatedKey`], the only time the secret is shown |
//! | `PATCH /-/api/v1/keys/{id}` | [`PatchKey`] | [`AccessKey`] |
//! | `DELETE /-/api/v1/keys/{id}` | | 204 |
//! | `GET /-/api/v1/sessions` | [`PageQuery`] | [`Page`] of [`Session`] |
//! | `POST /-/api/v1/sessions` | [`CreateSession`] | 201 [`CreatedSession`]: a temporary key of the caller's |
//! | `DELETE /-/api/v1/sessions/{id}` | | 204: takes it back |
//! | `GET /-/api/v1/drains` | | [`Page`] of [`Drain`] |
//! | `POST /-/api/v1/drains` | [`BeginDrain`] | 201 [`Drain`]; 404 `disk_not_found` |
//! | `DELETE /-/api/v1/drains/{disk}` | | 204: new files may go there again |
//! | `GET /-/api/v1/links` | [`PageQuery`] | [`Page`] of [`Link`] |
//! | `POST /-/api/v1/links` | [`CreateLink`] | 201 [`Link`] with its addresses |
//! | `DELETE /-/api/v1/links/{id}` | | 204; the link stops working at once |
//! | `GET /-/api/v1/uploads` | [`PageQuery`] | [`Page`] of [`Upload`] |
//! | `DELETE /-/api/v1/uploads/{id}` | | 204; the bytes received so far are given up |
//! | `GET /-/api/v1/events` | [`EventsQuery`] or `Last-Event-ID` | `text/event-stream` of [`Event`] |
//!
//! `{key…}` is the object's key percent-encoded by [`routes::encode_key`]; slashes stay slashes.
//! Deletes of what is not there answer 404, except where the table says otherwise.
//!
//! ## Events
//!
//! Each server-sent event has `id:` = the sequence number, `event:` = the type (`object.created`),
//! `data:` = the [`Event`] as one line of JSON. `Last-Event-ID` (or `?after=`) replays everything
//! after that number that the log still holds; without either, the stream starts now.
//! A comment line keeps an idle stream alive. An event of a bucket that the actor may not read
//! is left out.
//!
//! ## Beside the JSON
//!
//! | route | door |
//! |---|---|
//! | `/-/tus/` | tus 1.0; `Upload-Metadata`: `bucket`, `filename` (the key), `filetype` |
//! | `/-/file/{bucket}/{key…}` | the object with byte ranges |
//! | `/-/hls/{bucket}/{key…}/master.m3u8` | adaptive streaming |
//! | `/-/hls/{bucket}/{key…}/manifest.mpd` | the same as DASH |
//! | `/-/link/{token}/file/…`, `/-/link/{token}/hls/…` | the same behind a signed link |
//! | `/-/web/{bucket}/…` | the bucket as a website, for everybody |
//!
//! A temporary key (`POST /-/api/v1/sessions`) works as HTTP Basic too, with its token in `x-amz-security-token`.

#![forbid(unsafe_code)]

pub mod asset;
pub mod bucket;
pub mod choices;
pub mod contract;
pub mod discovery;
pub mod drain;
pub mod event;
pub mod job;
pub mod key;
pub mod link;
pub mod object;
pub mod page;
pub mod playback;
pub mod problem;
pub mod routes;
pub mod session;
pub mod status;
pub mod upload;
pub mod usage;
pub mod watch;

pub use asset::{
    Asset, AssetState, AssetsQuery, Episode, Rendition, RenditionState, Track, TrackKind,
};
pub use bucket::{Bucket, CreateBucket, Durability, PatchBucket, Versioning};
pub use choices::{Chapter, Sound, Storyboard, SubtitleFormat, Subtitles};
pub use discovery::Discovery;
pub use drain::{BeginDrain, Drain, DrainState};
pub use event::{Event, EventBody, EventsQuery};
pub use job::{Job, JobState, JobsQuery, ObjectRef};
pub use key::{AccessKey, CreateKey, CreatedKey, Grant, PatchKey, Role};
pub use link::{CreateLink, Link};
pub use object::{
    ClaimContent, Object, ObjectDetails, ObjectPage, ObjectsQuery, Urls, VersionQuery,
};
pub use page::{DEFAULT_PAGE_ITEMS, MAX_PAGE_ITEMS, Page, PageQuery};
pub use playback::{KnownBy, PLAYER_HEADER, Playback, PlaybackMode, PlaybackStream, PlayerQuery};
pub use problem::Problem;
pub use session::{CreateSession, CreatedSession, Session};
pub use status::{Disk, Hardware, JobCounts, Me, Scrub, Status, Storage};
pub use upload::{Upload, UploadProtocol};
pub use usage::{Quota, Usage};
pub use watch::{LibraryItem, LibraryQuery, Position, PositionsQuery, PutPosition, Stream};

//! The workbench of this daemon: jobs begin here and what they make is kept here, whoever runs the process.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use nebula_hwaccel::protocol::{self, RungInit, RungKind, Segment};
use serde_json::json;

use super::info::Info;
use super::ladder;
use super::library::{Media, read};
use super::order::{About, Opening, Order, Report, Wanted, WantedShape};
use super::payload::{
    about, catalog_error, content, event, kind_of, known, media_error, store_error, wanted,
};
use super::process::{RangeRead, Source};
use super::worker::{BenchError, Workbench};
use crate::catalog::{
    AssetState, EventKind, NewAsset, NewRendition, RenditionShape, RenditionState,
};
use crate::kernel::ContentId;
use crate::queue::{Job, kind};
use crate::store::{Object, ObjectReader, SegmentOf};

/// A job that reads an object may take so long, whatever its size, in seconds.
const INDEX_S: u64 = 120;
/// And a second more for so many bytes: a slow disk's pace.
const INDEX_BYTES_PER_S: u64 = 4 << 20;
/// A ladder job may take so long, in seconds.
const LADDER_S: u64 = 600;
/// And so much more per second of film: the pace of a slow machine.
const LADDER_FACTOR: f64 = 40.0;

#[async_trait]
impl Workbench for Media {
    async fn open(&self, job: &Job) -> Result<(Opening, Source), BenchError> {
        let about = about(job)?;
        let content = content(&about)?;
        let Some(object) = self.object_of(&about, content).await? else {
            return Ok(nothing("the object was deleted"));
        };
        let order = match job.kind.as_str() {
            kind::INDEX => self.open_index(&about, &object).await?,
            kind::LADDER | kind::SOUND => self.open_ladder(job, content).await?,
            kind::SUBTITLES => self.open_texts(job, &object).await?,
            kind::STORYBOARD => self.open_storyboard(content).await?,
            other => {
                return Err(BenchError::Refused(format!(
                    "this worker knows no `{other}` jobs"
                )));
            }
        };
        let mut order = match order {
            Ok(order) => order,
            Err(reason) => return Ok(nothing(reason)),
        };
        order.size_bytes = object.size;
        let reader = self
            .0
            .store
            .reader(&object)
            .await
            .map_err(|error| store_error(&error))?;
        let source = source(reader).map_err(BenchError::Unavailable)?;
        Ok((Opening::Work(Box::new(order)), source))
    }

    async fn report(&self, job: &Job, report: Report) -> Result<(), BenchError> {
        match report {
            Report::Indexed { index, poster } => self.keep_index(job, index, poster).await,
            Report::Init(init) => self.keep_init(job, init).await,
            Report::Segment(segment) => self.keep_segment(job, segment).await,
            Report::Texts(track) => self.keep_texts(job, track).await,
            Report::Pictures(track) => self.keep_pictures(job, track).await,
            Report::Sheet(sheet) => self.keep_sheet(job, sheet).await,
            Report::Encoded => match job.kind.as_str() {
                kind::SUBTITLES => self.end_texts(job).await,
                kind::STORYBOARD => self.end_storyboard(job, true).await,
                _ => self.finish_ladder(job).await,
            },
            Report::Refused(reason) => self.refuse(job, &reason).await,
        }
    }
}

impl Media {
    /// The reader that a remote worker's questions for bytes are answered from.
    pub async fn input(&self, job: &Job) -> Result<Option<ObjectReader>, BenchError> {
        let about = about(job)?;
        let content = content(&about)?;
        match self.object_of(&about, content).await? {
            None => Ok(None),
            Some(object) => Ok(Some(
                self.0
                    .store
                    .reader(&object)
                    .await
                    .map_err(|error| store_error(&error))?,
            )),
        }
    }

    /// The object that caused the job, or any other with its content.
    pub(super) async fn object_of(
        &self,
        about: &About,
        content: ContentId,
    ) -> Result<Option<Object>, BenchError> {
        if let Some((bucket, key, version)) = about.object()
            && let Ok(object) = self.0.store.head(&bucket, &key, Some(&version)).await
            && object.content_id == content
        {
            return Ok(Some(object));
        }
        self.0
            .store
            .object_with_content(content)
            .await
            .map_err(|error| store_error(&error))
    }

    async fn open_index(
        &self,
        about: &About,
        object: &Object,
    ) -> Result<Result<Order, &'static str>, BenchError> {
        let content = object.content_id;
        let now_ms = self.0.store.clock().now_ms();
        let known = self
            .0
            .store
            .catalog()
            .asset(content)
            .await
            .map_err(|error| catalog_error(&error))?;
        if let Some(row) = known
            && row.state().map_err(|error| catalog_error(&error))? == AssetState::Ready
        {
            // The same content under another name: say that it plays, and make whole what is not.
            let payload = json!({ "content_id": about.content, "duration_ms": row.duration_ms });
            let event = event(EventKind::AssetReady, about, &payload, now_ms);
            let follow = self.unfinished(about, content, now_ms).await;
            let follow = follow.map_err(|error| media_error(&error))?;
            self.write(move |tx| {
                Box::pin(async move {
                    tx.insert_event(&event).await?;
                    for job in &follow {
                        tx.insert_job(job).await?;
                    }
                    Ok(())
                })
            })
            .await?;
            self.0.jobs.bell().ring();
            return Ok(Err("the content is known"));
        }
        self.write(move |tx| Box::pin(async move { tx.begin_asset(content, now_ms).await }))
            .await?;
        Ok(Ok(Order {
            job: protocol::Job::Index { poster: true },
            size_bytes: 0,
            deadline_s: reading_s(object),
        }))
    }

    async fn open_ladder(
        &self,
        job: &Job,
        content: ContentId,
    ) -> Result<Result<Order, &'static str>, BenchError> {
        let wanted = wanted(job)?;
        let Some(film) = self
            .film(content)
            .await
            .map_err(|error| media_error(&error))?
        else {
            return Ok(Err("the object has no index any more"));
        };
        let Some(timeline) = &film.timeline else {
            return Err(BenchError::Refused(
                "nothing in this film can be timed".into(),
            ));
        };
        let total = timeline.segments() as i64;
        let now_ms = self.0.store.clock().now_ms();
        let rows: Vec<NewRendition> = wanted
            .iter()
            .map(|one| NewRendition {
                content,
                recipe: one.recipe.clone(),
                name: one.name.clone(),
                kind: kind_of(&one.shape),
                segments_total: total,
                now_ms,
            })
            .collect();
        self.write(move |tx| {
            Box::pin(async move {
                for row in &rows {
                    tx.begin_rendition(row).await?;
                }
                Ok(())
            })
        })
        .await?;
        let catalog = self.0.store.catalog();
        let states: HashMap<String, RenditionState> = catalog
            .renditions(content)
            .await
            .map_err(|error| catalog_error(&error))?
            .into_iter()
            .filter_map(|row| Some((row.recipe.clone(), row.state().ok()?)))
            .collect();
        let missing: Vec<Wanted> = wanted
            .into_iter()
            .filter(|one| states.get(&one.recipe) != Some(&RenditionState::Ready))
            .collect();
        if missing.is_empty() {
            return Ok(Err("every rendition is there"));
        }
        let mut first = total;
        for one in &missing {
            let there = catalog
                .rendition_segments(content, &one.recipe)
                .await
                .map_err(|error| catalog_error(&error))?;
            let gap = (0..)
                .zip(&there)
                .find(|(number, row)| row.number != *number)
                .map(|(number, _)| number);
            first = first.min(gap.unwrap_or(there.len() as i64));
        }
        // Everything is there but for the last word: encode the last segment again to hear it.
        let first = first.min(total - 1).max(0);
        let spec = ladder::spec(&film, &missing, first as u32)
            .ok_or_else(|| BenchError::Refused("the film has no picture to encode".into()))?;
        let film_s = timeline.total_s();
        Ok(Ok(Order {
            job: protocol::Job::Ladder(spec),
            size_bytes: 0,
            deadline_s: LADDER_S + (film_s * LADDER_FACTOR) as u64,
        }))
    }

    async fn keep_index(
        &self,
        job: &Job,
        index: Vec<u8>,
        poster: Option<Vec<u8>>,
    ) -> Result<(), BenchError> {
        let about = about(job)?;
        let content = content(&about)?;
        let film = match read(index.clone()).await {
            Ok(film) if film.timeline.is_some() => film,
            Ok(_) => return self.refuse(job, "nothing in it can be played").await,
            Err(error) => return Err(BenchError::Refused(error.to_string())),
        };
        let (index, poster) = self.sealed(&about, content, index, poster).await?;
        let facts = &film.index.facts;
        let now_ms = self.0.store.clock().now_ms();
        let duration_ms = (facts.duration_us / 1000) as i64;
        let asset = NewAsset {
            content,
            state: AssetState::Ready,
            reason: None,
            title: facts.title.clone(),
            duration_ms: Some(duration_ms),
            info: Info::from(facts).to_json(),
            sample_index: Some(index),
            poster,
            now_ms,
        };
        let payload = json!({ "content_id": about.content, "duration_ms": duration_ms });
        let event = event(EventKind::AssetReady, &about, &payload, now_ms);
        let follow = self.following(job, &about, &film, now_ms);
        self.0.films.forget(&content);
        self.write(move |tx| {
            Box::pin(async move {
                tx.put_asset(&asset).await?;
                tx.insert_event(&event).await?;
                for job in &follow {
                    tx.insert_job(job).await?;
                }
                Ok(())
            })
        })
        .await?;
        self.0.films.put(content, Arc::new(film));
        self.0.jobs.bell().ring();
        Ok(())
    }

    async fn keep_init(&self, job: &Job, init: RungInit) -> Result<(), BenchError> {
        let content = content(&about(job)?)?;
        known(job, &init.rung)?;
        let (width, height, frame_rate) = match init.kind {
            RungKind::Video {
                width,
                height,
                frame_rate,
            } => (
                Some(i64::from(width)),
                Some(i64::from(height)),
                Some(frame_rate.as_f64()),
            ),
            RungKind::Audio { .. } => (None, None, None),
        };
        let shape = RenditionShape {
            codecs: init.codecs,
            width,
            height,
            frame_rate,
            timescale: i64::from(init.timescale),
        };
        let now_ms = self.0.store.clock().now_ms();
        let (recipe, bytes) = (init.rung, init.bytes);
        self.write(move |tx| {
            Box::pin(async move {
                // A job that goes on after another counts from 0 again; equal bytes are the same init segment.
                let number = match tx.last_rendition_init(content, &recipe).await? {
                    Some((_, last)) if last == bytes => return Ok(()),
                    Some((number, _)) => number + 1,
                    None => 0,
                };
                tx.put_rendition_init(content, &recipe, number, &bytes)
                    .await?;
                tx.shape_rendition(content, &recipe, &shape, now_ms).await
            })
        })
        .await
    }

    async fn keep_segment(&self, job: &Job, segment: Segment) -> Result<(), BenchError> {
        let content = content(&about(job)?)?;
        known(job, &segment.rung)?;
        let recipe = segment.rung.clone();
        let init = self
            .write(move |tx| {
                Box::pin(async move { tx.last_rendition_init(content, &recipe).await })
            })
            .await?;
        let Some((init_number, _)) = init else {
            return Err(BenchError::Unavailable(
                "a segment came before its init segment".into(),
            ));
        };
        let of = SegmentOf {
            content,
            recipe: segment.rung,
            number: i64::from(segment.number),
            init_number,
            start_ticks: segment.start_ticks as i64,
            duration_ticks: segment.duration_ticks as i64,
        };
        self.put_segment_bytes(&about(job)?, of, segment.bytes)
            .await
    }

    async fn finish_ladder(&self, job: &Job) -> Result<(), BenchError> {
        let about = about(job)?;
        let content = content(&about)?;
        let wanted = wanted(job)?;
        let Some(film) = self
            .film(content)
            .await
            .map_err(|error| media_error(&error))?
        else {
            return Ok(());
        };
        let total = film
            .timeline
            .as_ref()
            .map_or(0, super::timeline::Timeline::segments) as i64;
        let now_ms = self.0.store.clock().now_ms();
        let short = self
            .write(move |tx| {
                Box::pin(async move {
                    let mut short = Vec::new();
                    for one in &wanted {
                        let count = tx.count_rendition_segments(content, &one.recipe).await?;
                        // Sound may end before the picture; a picture is there in every segment.
                        let whole = match one.shape {
                            WantedShape::Video { .. } => count == total,
                            WantedShape::Audio { .. } => count > 0,
                        };
                        if !whole {
                            short.push(format!("{} has {count} of {total} segments", one.name));
                            continue;
                        }
                        let turned = tx
                            .set_rendition_state(
                                content,
                                &one.recipe,
                                RenditionState::Ready,
                                now_ms,
                            )
                            .await?;
                        if turned {
                            let payload =
                                json!({ "content_id": about.content, "rendition": one.name });
                            tx.insert_event(&event(
                                EventKind::RenditionReady,
                                &about,
                                &payload,
                                now_ms,
                            ))
                            .await?;
                        }
                    }
                    Ok(short)
                })
            })
            .await?;
        if short.is_empty() {
            Ok(())
        } else {
            Err(BenchError::Unavailable(format!(
                "the worker left gaps: {}",
                short.join(", ")
            )))
        }
    }

    async fn refuse(&self, job: &Job, reason: &str) -> Result<(), BenchError> {
        let about = about(job)?;
        let content = content(&about)?;
        let now_ms = self.0.store.clock().now_ms();
        let reason = reason.to_owned();
        if job.kind == kind::INDEX {
            self.0.films.forget(&content);
            let payload = json!({ "content_id": about.content, "reason": reason });
            let event = event(EventKind::AssetFailed, &about, &payload, now_ms);
            let asset = NewAsset {
                content,
                state: AssetState::Failed,
                reason: Some(reason),
                title: None,
                duration_ms: None,
                info: "{}".into(),
                sample_index: None,
                poster: None,
                now_ms,
            };
            return self
                .write(move |tx| {
                    Box::pin(async move {
                        // Whoever succeeded meanwhile was right.
                        let known = tx.asset(content).await?;
                        if known.is_some_and(|row| {
                            row.state().is_ok_and(|state| state == AssetState::Ready)
                        }) {
                            return Ok(());
                        }
                        tx.put_asset(&asset).await?;
                        tx.insert_event(&event).await
                    })
                })
                .await;
        }
        // The job says why; the film goes without.
        match job.kind.as_str() {
            kind::SUBTITLES => return self.end_texts(job).await,
            kind::STORYBOARD => return self.end_storyboard(job, false).await,
            _ => {}
        }
        let wanted = wanted(job)?;
        let ready: Vec<String> = self
            .0
            .store
            .catalog()
            .renditions(content)
            .await
            .map_err(|error| catalog_error(&error))?
            .into_iter()
            .filter(|row| {
                row.state()
                    .is_ok_and(|state| state == RenditionState::Ready)
            })
            .map(|row| row.recipe)
            .collect();
        self.write(move |tx| {
            Box::pin(async move {
                for one in wanted.iter().filter(|one| !ready.contains(&one.recipe)) {
                    tx.set_rendition_state(content, &one.recipe, RenditionState::Failed, now_ms)
                        .await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// A change of rows, after which whoever waits looks again.
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T, BenchError>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(
                &'t mut crate::catalog::Tx,
            )
                -> crate::catalog::TxFuture<'t, T, crate::catalog::CatalogError>
            + Send
            + 'static,
    {
        let outcome = self
            .0
            .store
            .catalog()
            .write(work)
            .await
            .map_err(|error| catalog_error(&error))?;
        self.0.store.touch();
        Ok(outcome)
    }
}

/// How long reading the whole of an object may take, in seconds.
pub(super) fn reading_s(object: &Object) -> u64 {
    INDEX_S + object.size / INDEX_BYTES_PER_S
}

/// The bytes of an object for a process: a descriptor where they lie in one file, else ranges.
fn source(reader: ObjectReader) -> Result<Source, String> {
    let size_bytes = reader.size();
    if let Some(files) = reader.files()
        && let [(file, offset_bytes, length)] = files.as_slice()
        && *length == size_bytes
    {
        let file = file
            .try_clone()
            .map_err(|error| format!("no descriptor for the worker: {error}"))?;
        return Ok(Source::File {
            file: file.into(),
            offset_bytes: *offset_bytes,
            size_bytes,
        });
    }
    Ok(Source::Ranges {
        size_bytes,
        bytes: Arc::new(Stored(reader)),
    })
}

/// Answers a worker from stored bytes.
struct Stored(ObjectReader);

#[async_trait]
impl RangeRead for Stored {
    async fn read(&self, offset: u64, len: u32) -> Result<Bytes, String> {
        let end = offset.saturating_add(u64::from(len)).min(self.0.size());
        self.0
            .read(offset.min(end)..end)
            .await
            .map_err(|error| error.to_string())
    }
}

fn nothing(reason: &str) -> (Opening, Source) {
    (
        Opening::Nothing {
            reason: reason.into(),
        },
        Source::None,
    )
}

//! A demuxer over callbacks.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ffmpeg_next::ffi;
use nebula_hwaccel::index::{Chapter, Rational};

use super::decoder::Parameters;
use super::{AvError, Options, Packet, allowed, check, rational, text, timestamp};
use crate::source::Source;

/// libav's buffer over the callbacks.
const BUFFER_BYTES: usize = 64 << 10;
/// How much may be looked at to find out what the tracks are.
const PROBE_BYTES: i64 = 16 << 20;
/// How much media time may be looked at for the same.
const ANALYZE_US: i64 = 10_000_000;
/// More streams than this are not looked at.
pub const STREAMS_MAX: u32 = 64;

/// What the callbacks hold.
struct Reader {
    source: Source,
    at: u64,
    /// See [`Input::skip_payload`].
    hollow: bool,
}

/// How a demuxer may move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everything is there.
    Random,
    /// The container's table is there; of the rest, only the beginning is needed.
    Table,
    /// From the beginning to the end, as it arrives.
    Forward,
}

/// An open file.
pub struct Input {
    context: *mut ffi::AVFormatContext,
    io: *mut ffi::AVIOContext,
    reader: *mut Reader,
    _cancel: Arc<AtomicBool>,
}

// SAFETY: libav's demuxer contexts belong to no thread; this one is used by its owner alone.
unsafe impl Send for Input {}

/// What a container says of one track.
pub struct StreamInfo {
    /// The container's own number of it: the PID of a transport stream.
    pub number: i32,
    pub parameters: Parameters,
    pub time_base: Rational,
    pub start: Option<i64>,
    pub frame_rate: Rational,
    pub real_frame_rate: Rational,
    pub default: bool,
    pub forced: bool,
    pub picture_only: bool,
    pub rotation_deg: u16,
    pub tags: Vec<(String, String)>,
}

unsafe extern "C" fn read(opaque: *mut c_void, into: *mut u8, length: c_int) -> c_int {
    // SAFETY: libav passes back the reader given to avio_alloc_context, from one thread at a time, and a buffer of
    // `length` writable bytes.
    let (reader, into) = unsafe {
        let length = usize::try_from(length).unwrap_or(0);
        (
            &mut *opaque.cast::<Reader>(),
            std::slice::from_raw_parts_mut(into, length),
        )
    };
    if reader.hollow {
        let left =
            usize::try_from(reader.source.size().saturating_sub(reader.at)).unwrap_or(usize::MAX);
        let count = into.len().min(left);
        into[..count].fill(0);
        reader.at += count as u64;
        return if count == 0 {
            ffi::AVERROR_EOF
        } else {
            count as c_int
        };
    }
    match reader.source.read_at(reader.at, into) {
        Ok(0) => ffi::AVERROR_EOF,
        Ok(count) => {
            reader.at += count as u64;
            count as c_int
        }
        Err(_) if reader.source.link().cancelled() => ffi::AVERROR_EXIT,
        Err(_) => -libc::EIO,
    }
}

unsafe extern "C" fn seek(opaque: *mut c_void, offset: i64, whence: c_int) -> i64 {
    // SAFETY: as in `read`.
    let reader = unsafe { &mut *opaque.cast::<Reader>() };
    let size = reader.source.size() as i64;
    if whence & ffi::AVSEEK_SIZE != 0 {
        let known = reader.source.known_size().map(|size| size as i64);
        return known.unwrap_or(i64::from(-libc::ENOSYS));
    }
    let base = match whence & !ffi::AVSEEK_FORCE {
        libc::SEEK_SET => 0,
        libc::SEEK_CUR => reader.at as i64,
        libc::SEEK_END => size,
        _ => return i64::from(-libc::EINVAL),
    };
    match base
        .checked_add(offset)
        .and_then(|at| u64::try_from(at).ok())
    {
        Some(at) => {
            reader.at = at;
            at as i64
        }
        None => i64::from(-libc::EINVAL),
    }
}

unsafe extern "C" fn interrupted(opaque: *mut c_void) -> c_int {
    // SAFETY: the flag outlives the context: `Input` holds a reference to it.
    c_int::from(unsafe { &*opaque.cast::<AtomicBool>() }.load(Ordering::Relaxed))
}

impl Input {
    /// Opens and probes.
    pub fn open(source: &Source) -> Result<Self, AvError> {
        Self::open_as(source, Access::Random)
    }

    /// The same for a source that is not all there.
    pub fn open_as(source: &Source, access: Access) -> Result<Self, AvError> {
        Self::open_with(source, access, allowed::DEMUXERS)
    }

    /// Opens a file of subtitles.
    pub fn open_texts(source: &Source) -> Result<Self, AvError> {
        Self::open_with(source, Access::Random, allowed::TEXT_DEMUXERS)
    }

    fn open_with(source: &Source, access: Access, demuxers: &str) -> Result<Self, AvError> {
        let cancel = source.link().cancel_flag();
        let reader = Box::into_raw(Box::new(Reader {
            source: source.clone(),
            at: 0,
            hollow: false,
        }));
        // SAFETY: everything allocated here is put into `input` at once, whose Drop frees it; the reader stays at its
        // address until then. avformat_open_input frees the context itself when it fails.
        unsafe {
            let buffer = ffi::av_malloc(BUFFER_BYTES).cast::<u8>();
            let io = ffi::avio_alloc_context(
                buffer,
                BUFFER_BYTES as c_int,
                0,
                reader.cast(),
                Some(read),
                None,
                Some(seek),
            );
            let mut input = Self {
                context: ffi::avformat_alloc_context(),
                io,
                reader,
                _cancel: Arc::clone(&cancel),
            };
            if buffer.is_null() || io.is_null() || input.context.is_null() {
                return Err(AvError::new(-libc::ENOMEM, "opening"));
            }
            (*input.context).pb = io;
            (*input.context).flags |= ffi::AVFMT_FLAG_CUSTOM_IO;
            match access {
                Access::Random => {}
                // Nothing behind the table and the head of the data is looked for.
                Access::Table => (*input.context).flags |= ffi::AVFMT_FLAG_IGNIDX,
                Access::Forward => (*io).seekable = 0,
            }
            (*input.context).interrupt_callback.callback = Some(interrupted);
            (*input.context).interrupt_callback.opaque = Arc::as_ptr(&cancel).cast_mut().cast();
            (*input.context).probesize = PROBE_BYTES;
            (*input.context).max_analyze_duration = ANALYZE_US;
            (*input.context).max_streams = STREAMS_MAX as c_int;
            let mut options = Options::new(&[
                ("format_whitelist", demuxers),
                ("codec_whitelist", allowed::DECODERS),
                ("protocol_whitelist", ""),
            ]);
            let opened = ffi::avformat_open_input(
                &raw mut input.context,
                ptr::null(),
                ptr::null(),
                options.as_mut_ptr(),
            );
            check(opened, "no demuxer accepts it")?;
            check(
                ffi::avformat_find_stream_info(input.context, ptr::null_mut()),
                "the tracks cannot be read",
            )?;
            Ok(input)
        }
    }

    fn raw(&self) -> &ffi::AVFormatContext {
        // SAFETY: the context is valid as long as self.
        unsafe { &*self.context }
    }

    /// libav's name of the demuxer, such as `mov,mp4,m4a,3gp,3g2,mj2`.
    pub fn format(&self) -> String {
        // SAFETY: an opened context has a demuxer, whose name is a static string.
        unsafe { text((*self.raw().iformat).name) }.unwrap_or_default()
    }

    /// Microseconds, as the container has it.
    pub fn duration_us(&self) -> Option<i64> {
        timestamp(self.raw().duration)
    }

    pub fn tags(&self) -> Vec<(String, String)> {
        dictionary(self.raw().metadata)
    }

    pub fn stream_count(&self) -> usize {
        self.raw().nb_streams.min(STREAMS_MAX) as usize
    }

    fn stream_ptr(&self, index: usize) -> Option<*mut ffi::AVStream> {
        // SAFETY: the array has nb_streams valid entries.
        (index < self.stream_count()).then(|| unsafe { *self.raw().streams.add(index) })
    }

    pub fn stream(&self, index: usize) -> Option<StreamInfo> {
        let stream = self.stream_ptr(index)?;
        // SAFETY: the stream and its parameters are valid as long as the context; everything is copied.
        unsafe {
            let raw = &*stream;
            Some(StreamInfo {
                number: raw.id,
                parameters: Parameters::copy(raw.codecpar).ok()?,
                time_base: rational(raw.time_base),
                start: timestamp(raw.start_time),
                frame_rate: rational(raw.avg_frame_rate),
                real_frame_rate: rational(raw.r_frame_rate),
                default: raw.disposition & ffi::AV_DISPOSITION_DEFAULT != 0,
                forced: raw.disposition & ffi::AV_DISPOSITION_FORCED != 0,
                picture_only: raw.disposition & ffi::AV_DISPOSITION_ATTACHED_PIC != 0,
                rotation_deg: rotation(stream),
                tags: dictionary(raw.metadata),
            })
        }
    }

    /// Reads only the named tracks from now on.
    pub fn only(&mut self, wanted: &[usize]) {
        for index in 0..self.raw().nb_streams as usize {
            let discard = if wanted.contains(&index) {
                ffi::AVDiscard::AVDISCARD_DEFAULT
            } else {
                ffi::AVDiscard::AVDISCARD_ALL
            };
            // SAFETY: the array has nb_streams valid entries, and the context is borrowed exclusively.
            unsafe { (**self.raw().streams.add(index)).discard = discard };
        }
    }

    pub fn chapters(&self, most: usize) -> Vec<Chapter> {
        let count = (self.raw().nb_chapters as usize).min(most);
        let mut chapters = Vec::with_capacity(count);
        for index in 0..count {
            // SAFETY: the array has nb_chapters valid entries.
            let raw = unsafe { &**self.raw().chapters.add(index) };
            let base = rational(raw.time_base);
            let title = dictionary(raw.metadata)
                .into_iter()
                .find(|(key, _)| key == "title")
                .map(|(_, value)| value);
            chapters.push(Chapter {
                start_us: base.micros(raw.start),
                end_us: base.micros(raw.end),
                title,
            });
        }
        chapters
    }

    /// The next packet, or false at the end.
    pub fn read(&mut self, packet: &mut Packet) -> Result<bool, AvError> {
        packet.clear();
        // SAFETY: context and packet are valid and borrowed exclusively.
        match unsafe { ffi::av_read_frame(self.context, packet.as_mut_ptr()) } {
            ffi::AVERROR_EOF => Ok(false),
            code => check(code, "reading a packet").map(|_| true),
        }
    }

    /// From now on gives zeros instead of the object's bytes: packets keep their times, sizes and positions, and
    /// nothing is read. Only for containers whose tables have all been read, and codecs that no parser looks into.
    pub fn skip_payload(&mut self) {
        // SAFETY: the reader lives as long as self; libav calls back only inside calls made through self.
        unsafe { (*self.reader).hollow = true };
    }

    /// Whether the container's own table calls the packet at this place a key; nothing when it does not list it.
    pub fn table_key(&self, packet: &Packet) -> Option<bool> {
        let stream = self.stream_ptr(packet.stream())?;
        // SAFETY: the stream is valid; the entry is valid until the next call into the context, and copied before.
        unsafe {
            let flags = ffi::AVSEEK_FLAG_ANY | ffi::AVSEEK_FLAG_BACKWARD;
            let entry = ffi::avformat_index_get_entry_from_timestamp(stream, packet.dts()?, flags);
            if entry.is_null() || u64::try_from((*entry).pos).ok() != packet.position() {
                return None;
            }
            Some((*entry).flags() & ffi::AVINDEX_KEYFRAME != 0)
        }
    }

    /// Time, place and length of at most so many samples behind the one at this time and place, as the container's own table lists them.
    pub fn table_after(
        &self,
        stream: usize,
        dts: i64,
        position: u64,
        most: usize,
    ) -> Vec<(i64, u64, u32)> {
        let Some(stream) = self.stream_ptr(stream) else {
            return Vec::new();
        };
        // SAFETY: the stream is valid; an entry is valid until the next call into the context, and copied before.
        let entry = |at: c_int| unsafe {
            let entry = ffi::avformat_index_get_entry(stream, at);
            (!entry.is_null()).then(|| *entry)
        };
        let place = |entry: &ffi::AVIndexEntry| u64::try_from(entry.pos).ok();
        // SAFETY: the stream is valid.
        let at = unsafe { ffi::av_index_search_timestamp(stream, dts, ffi::AVSEEK_FLAG_ANY) };
        let this = entry(at).filter(|this| this.timestamp == dts && place(this) == Some(position));
        if at < 0 || this.is_none() {
            return Vec::new();
        }
        let listed = |entry: ffi::AVIndexEntry| {
            let is_shown = entry.flags() & ffi::AVINDEX_DISCARD_FRAME == 0;
            let length = u32::try_from(entry.size()).ok()?;
            is_shown.then_some((entry.timestamp, place(&entry)?, length))
        };
        (at.saturating_add(1)..c_int::MAX)
            .map_while(|at| entry(at).and_then(listed))
            .take(most)
            .collect()
    }

    /// Goes to the last key packet of a track at or before a time.
    pub fn seek(&mut self, stream: usize, ticks: i64) -> Result<(), AvError> {
        let flags = ffi::AVSEEK_FLAG_BACKWARD;
        // SAFETY: the context is valid and borrowed exclusively; a wrong stream index is refused by libav.
        let code = unsafe { ffi::av_seek_frame(self.context, stream as c_int, ticks, flags) };
        check(code, "seeking").map(|_| ())
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        // SAFETY: each is freed once, the context first as it uses the I/O, which uses the reader. libav may have
        // replaced the buffer, so the one freed is the one the context holds now. Null is allowed throughout.
        unsafe {
            ffi::avformat_close_input(&raw mut self.context);
            if !self.io.is_null() {
                ffi::av_freep((&raw mut (*self.io).buffer).cast());
                ffi::avio_context_free(&raw mut self.io);
            }
            drop(Box::from_raw(self.reader));
        }
    }
}

/// Clockwise turn for showing, from the display matrix.
///
/// # Safety
/// `stream` is a valid stream.
unsafe fn rotation(stream: *mut ffi::AVStream) -> u16 {
    let mut size = 0usize;
    // SAFETY: the stream is valid; side data of this kind is nine 32-bit integers, which is checked by its size.
    unsafe {
        let kind = ffi::AVPacketSideDataType::AV_PKT_DATA_DISPLAYMATRIX;
        let matrix = ffi::av_stream_get_side_data(stream, kind, &raw mut size);
        if matrix.is_null() || size < 36 {
            return 0;
        }
        let angle = ffi::av_display_rotation_get(matrix.cast::<c_void>().cast::<i32>());
        if !angle.is_finite() {
            return 0;
        }
        let quarters = (-angle / 90.0).round() as i64;
        (quarters.rem_euclid(4) * 90) as u16
    }
}

/// All pairs of a dictionary, bounded.
fn dictionary(dictionary: *mut ffi::AVDictionary) -> Vec<(String, String)> {
    const MOST: usize = 64;
    const LONGEST_CHARS: usize = 1024;
    let mut pairs = Vec::new();
    let mut entry: *const ffi::AVDictionaryEntry = ptr::null();
    while pairs.len() < MOST {
        // SAFETY: a null dictionary has no entries; an entry stays valid while the dictionary is not changed.
        unsafe {
            let empty = c"".as_ptr();
            entry = ffi::av_dict_get(
                dictionary,
                empty,
                entry.cast_mut(),
                ffi::AV_DICT_IGNORE_SUFFIX,
            );
            if entry.is_null() {
                break;
            }
            if let (Some(key), Some(value)) = (text((*entry).key), text((*entry).value)) {
                pairs.push((
                    key.to_lowercase(),
                    value.chars().take(LONGEST_CHARS).collect(),
                ));
            }
        }
    }
    pairs
}

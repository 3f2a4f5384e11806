//! Filter graphs with one way in and one way out.

use std::ffi::CString;
use std::ptr;

use ffmpeg_next::ffi;
use nebula_hwaccel::index::Rational;

use super::{AGAIN, AvError, Device, Frame, av_rational, check};

/// A configured graph.
pub struct Graph {
    graph: *mut ffi::AVFilterGraph,
    source: *mut ffi::AVFilterContext,
    sink: *mut ffi::AVFilterContext,
}

// SAFETY: a graph belongs to no thread; this one is used by its owner alone.
unsafe impl Send for Graph {}

/// Pictures that go into a graph.
pub struct PictureInput<'a> {
    /// One of them: the graph is made for its size, format and surfaces.
    pub like: &'a Frame,
    pub time_base: Rational,
    pub frame_rate: Rational,
    /// Shape of a pixel as the container has it.
    pub pixel_aspect: Rational,
}

/// Sound that goes into a graph.
pub struct SoundInput<'a> {
    /// A piece of it: the graph is made for its format, rate and channels.
    pub like: &'a Frame,
    pub time_base: Rational,
}

impl Graph {
    /// Whether this libav has a filter.
    pub fn has_filter(name: &std::ffi::CStr) -> bool {
        // SAFETY: the name is a valid string; filters are static.
        unsafe { !ffi::avfilter_get_by_name(name.as_ptr()).is_null() }
    }

    /// A graph such as `scale=640:360,format=yuv420p`; filters that need a GPU find `device`.
    pub fn picture(
        input: &PictureInput<'_>,
        filters: &str,
        device: Option<&Device>,
    ) -> Result<Self, AvError> {
        Self::build(c"buffer", c"buffersink", filters, device, |parameters| {
            let raw = input.like.raw();
            parameters.format = raw.format;
            parameters.width = raw.width;
            parameters.height = raw.height;
            parameters.time_base = av_rational(input.time_base);
            parameters.frame_rate = av_rational(input.frame_rate);
            parameters.sample_aspect_ratio = av_rational(input.pixel_aspect);
            // Must be there before the source is initialised; libav takes a reference of its own.
            parameters.hw_frames_ctx = raw.hw_frames_ctx;
        })
    }

    /// A graph such as `aresample=48000`.
    pub fn sound(input: &SoundInput<'_>, filters: &str) -> Result<Self, AvError> {
        Self::build(c"abuffer", c"abuffersink", filters, None, |parameters| {
            let raw = input.like.raw();
            parameters.format = raw.format;
            parameters.sample_rate = raw.sample_rate;
            parameters.time_base = av_rational(input.time_base);
            // Borrowed: av_buffersrc_parameters_set copies it, and only a layout by mask or order comes this way.
            parameters.ch_layout = raw.ch_layout;
        })
    }

    fn build(
        source: &std::ffi::CStr,
        sink: &std::ffi::CStr,
        filters: &str,
        device: Option<&Device>,
        describe: impl FnOnce(&mut ffi::AVBufferSrcParameters),
    ) -> Result<Self, AvError> {
        const DOING: &str = "building a filter graph";
        let filters = CString::new(filters).map_err(|_| AvError::missing(DOING))?;
        // SAFETY: the graph is put into `own` at once, whose Drop frees it with all its filters; the two lists of open
        // ends are freed in any case; the parameters are freed by av_free, which leaves what they borrow alone.
        unsafe {
            let mut own = Self {
                graph: ffi::avfilter_graph_alloc(),
                source: ptr::null_mut(),
                sink: ptr::null_mut(),
            };
            if own.graph.is_null() {
                return Err(AvError::new(-libc::ENOMEM, DOING));
            }
            (*own.graph).nb_threads = 1;
            own.source = ffi::avfilter_graph_alloc_filter(
                own.graph,
                ffi::avfilter_get_by_name(source.as_ptr()),
                c"in".as_ptr(),
            );
            own.sink = ffi::avfilter_graph_alloc_filter(
                own.graph,
                ffi::avfilter_get_by_name(sink.as_ptr()),
                c"out".as_ptr(),
            );
            if own.source.is_null() || own.sink.is_null() {
                return Err(AvError::new(-libc::ENOMEM, DOING));
            }
            let parameters = ffi::av_buffersrc_parameters_alloc();
            if parameters.is_null() {
                return Err(AvError::new(-libc::ENOMEM, DOING));
            }
            describe(&mut *parameters);
            let set = ffi::av_buffersrc_parameters_set(own.source, parameters);
            ffi::av_free(parameters.cast());
            check(set, DOING)?;
            check(ffi::avfilter_init_str(own.source, ptr::null()), DOING)?;
            check(ffi::avfilter_init_str(own.sink, ptr::null()), DOING)?;
            own.connect(&filters, device)?;
            check(
                ffi::avfilter_graph_config(own.graph, ptr::null_mut()),
                DOING,
            )?;
            Ok(own)
        }
    }

    /// # Safety
    /// Source and sink are filters of the graph.
    unsafe fn connect(
        &mut self,
        filters: &CString,
        device: Option<&Device>,
    ) -> Result<(), AvError> {
        // SAFETY: avfilter_graph_parse_ptr takes and replaces the two lists, which are freed afterwards whatever is
        // left of them; the names are allocated by libav, as it frees them.
        unsafe {
            let mut outputs = ffi::avfilter_inout_alloc();
            let mut inputs = ffi::avfilter_inout_alloc();
            let mut code = -libc::ENOMEM;
            if !outputs.is_null() && !inputs.is_null() {
                (*outputs).name = ffi::av_strdup(c"in".as_ptr());
                (*outputs).filter_ctx = self.source;
                (*inputs).name = ffi::av_strdup(c"out".as_ptr());
                (*inputs).filter_ctx = self.sink;
                code = ffi::avfilter_graph_parse_ptr(
                    self.graph,
                    filters.as_ptr(),
                    &raw mut inputs,
                    &raw mut outputs,
                    ptr::null_mut(),
                );
            }
            ffi::avfilter_inout_free(&raw mut inputs);
            ffi::avfilter_inout_free(&raw mut outputs);
            check(code, "parsing a filter graph")?;
            if let Some(device) = device {
                for index in 0..(*self.graph).nb_filters as usize {
                    let filter = *(*self.graph).filters.add(index);
                    if (*filter).hw_device_ctx.is_null() {
                        (*filter).hw_device_ctx = device.reference();
                    }
                }
            }
        }
        Ok(())
    }

    /// Puts a frame in (taking it), or the end.
    pub fn push(&mut self, frame: Option<&mut Frame>) -> Result<(), AvError> {
        let frame = frame.map_or(ptr::null_mut(), Frame::as_mut_ptr);
        // SAFETY: the source is valid; the frame's contents move into the graph, null means the end.
        check(
            unsafe { ffi::av_buffersrc_add_frame_flags(self.source, frame, 0) },
            "filtering",
        )
        .map(|_| ())
    }

    /// Takes a frame out; false when it wants more or has ended.
    pub fn pull(&mut self, frame: &mut Frame) -> Result<bool, AvError> {
        frame.clear();
        // SAFETY: the sink is valid and the frame empty.
        match unsafe { ffi::av_buffersink_get_frame(self.sink, frame.as_mut_ptr()) } {
            AGAIN | ffi::AVERROR_EOF => Ok(false),
            code => check(code, "filtering").map(|_| true),
        }
    }

    /// The surfaces that come out, for a hardware encoder; borrowed, null in software.
    pub(super) fn surfaces(&self) -> *mut ffi::AVBufferRef {
        // SAFETY: the sink of a configured graph is valid.
        unsafe { ffi::av_buffersink_get_hw_frames_ctx(self.sink) }
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: frees the graph and all filters in it, once.
        unsafe { ffi::avfilter_graph_free(&raw mut self.graph) };
    }
}

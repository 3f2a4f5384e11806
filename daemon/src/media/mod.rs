//! Probe, timeline, ladder, packaging, transcode plan, thumbnails.
